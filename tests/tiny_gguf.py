"""A gguf with random weights: small enough to load and run in an instant, whole enough to be a model.

Llama architecture, 2 layers of width 64 (or more), and a vocabulary in which any text can be written: printable ASCII
characters one by one, everything else byte by byte. What it says is noise, but the same noise each time.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

LAYERS, HEADS, KV_HEADS = 2, 4, 2
TokenType = gguf.TokenType
Quantization = gguf.GGMLQuantizationType


def write(
    path: Path,
    *,
    seed: int = 0,
    name: str = "tiny",
    context: int = 512,
    chat_template: str | None = None,
    architecture: str = "llama",
    width: int = 64,
    quantization: Quantization = Quantization.F32,
    as_float: bool = False,
    padding: int = 0,
) -> Path:
    """Write the model to `path` (some 0.5 MB). Equal arguments give equal bytes.

    `context`: tokens; `architecture`: "qwen2" gives that family's tensors and vocabulary, any other name is only what
    the file says of itself; `quantization` of the matrices, whose `width` must be a multiple of its block; with
    `as_float` the same numbers as floats; `padding`: so many more neurons in the feed-forward networks, before the
    others, whose weights are all zero: what the model says stays the same. A multiple of the quantization's block.
    """
    head_width = width // HEADS
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * width + padding)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(head_width)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    n_tokens = _add_qwen2_vocabulary(writer) if architecture == "qwen2" else _add_vocabulary(writer)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for tensor, shape in _shapes(n_tokens, width, biases=architecture == "qwen2").items():
        weights = _weights(tensor, shape, seed)
        if len(shape) == 1 or quantization == Quantization.F32:
            writer.add_tensor(tensor, _padded(tensor, weights, padding, Quantization.F32))
            continue
        packed = quantized(weights, quantization, seed)
        if as_float:
            floats = gguf.quants.dequantize(packed, quantization)
            writer.add_tensor(tensor, _padded(tensor, floats, padding, Quantization.F32))
        else:
            writer.add_tensor(tensor, _padded(tensor, packed, padding, quantization), raw_dtype=quantization)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: gguf.GGUFWriter) -> int:
    """As Llama's and Gemma's ("SPM"); the number of tokens."""
    tokens = ["<unk>", "<s>", "</s>"]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>")
        types.append(TokenType.BYTE)
    for character in ["\u2581", *map(chr, range(0x21, 0x7F))]:  # U+2581 stands for the space
        tokens.append(character)
        types.append(TokenType.NORMAL)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([int(kind) for kind in types])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    return len(tokens)


def _add_qwen2_vocabulary(writer: gguf.GGUFWriter) -> int:
    """As Qwen 2's: bytes written as characters, one merge, and the tokens of its chat form; the number of tokens."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]  # written as U+0100, U+0101, …
    tokens = [*map(chr, printable), *(chr(0x100 + i) for i in range(len(others))), "he"]
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens + special)
    writer.add_token_types([int(TokenType.NORMAL)] * len(tokens) + [int(TokenType.CONTROL)] * len(special))
    writer.add_token_merges(["h e"])
    writer.add_eos_token_id(len(tokens) + 2)
    writer.add_add_bos_token(False)
    return len(tokens) + len(special)


def _shapes(vocabulary: int, width: int, *, biases: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, width),
        "output.weight": (vocabulary, width),
        "output_norm.weight": (width,),
    }
    for layer in range(LAYERS):
        block = {
            "attn_norm": (width,),
            "attn_q": (width, width),
            "attn_k": (width // HEADS * KV_HEADS, width),
            "attn_v": (width // HEADS * KV_HEADS, width),
            "attn_output": (width, width),
            "ffn_norm": (width,),
            "ffn_gate": (2 * width, width),
            "ffn_up": (2 * width, width),
            "ffn_down": (width, 2 * width),
        }
        shapes |= {f"blk.{layer}.{part}.weight": shape for part, shape in block.items()}
        if biases:
            shapes |= {f"blk.{layer}.{part}.bias": block[part][:1] for part in ("attn_q", "attn_k", "attn_v")}
    return shapes


def _weights(tensor: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    random = np.random.default_rng([seed, *tensor.encode()])
    values = random.normal(0.0, shape[-1] ** -0.5, shape).astype(np.float32)
    if tensor == "output.weight":  # speak ASCII mostly, so that texts can be read
        values[3:259] *= 0.2
        values[2] *= 0.2
    return values


def _padded(tensor: str, weights: np.ndarray, neurons: int, quantization: Quantization) -> np.ndarray:
    """A matrix of a feed-forward network, packed in its quantization, with zeros before its rows (or columns)."""
    if neurons == 0 or "ffn" not in tensor or weights.ndim == 1:
        return weights
    rows, columns = weights.shape
    if "ffn_down" not in tensor:
        padded = np.zeros((neurons + rows, columns), weights.dtype)
        padded[neurons:] = weights
        return padded
    block, size = gguf.GGML_QUANT_SIZES[quantization]
    more = neurons // block * size // weights.itemsize
    padded = np.zeros((rows, more + columns), weights.dtype)
    padded[:, more:] = weights
    return padded


def quantized(weights: np.ndarray, quantization: Quantization, seed: int) -> np.ndarray:
    """The matrix in blocks; of types that gguf cannot make, random blocks with values of the same spread."""
    if quantization not in (Quantization.Q4_K, Quantization.Q5_K, Quantization.Q6_K):
        return gguf.quants.quantize(weights, quantization)
    block, size = gguf.GGML_QUANT_SIZES[quantization]
    rows, columns = weights.shape
    blocks = np.random.default_rng([seed, rows, columns]).integers(
        0, 256, (rows, columns // block, size), dtype=np.uint8
    )
    spread = weights.std()
    if quantization in (Quantization.Q4_K, Quantization.Q5_K):  # d, dmin, …: d * scale * value - dmin * offset
        largest = 15 if quantization == Quantization.Q4_K else 31
        blocks[..., 0:2] = np.frombuffer(np.float16(spread * 0.075 / largest).tobytes(), np.uint8)
        blocks[..., 2:4] = np.frombuffer(np.float16(spread * 0.0375).tobytes(), np.uint8)
    else:  # low bits, high bits, scales, d: d * scale * value
        blocks[..., -2:] = np.frombuffer(np.float16(spread / 1400).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)
