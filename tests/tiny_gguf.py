"""A gguf with random weights: small enough to load and run in an instant, whole enough to be a model.

Llama architecture, 2 layers of width 64, and a vocabulary in which any text can be written: printable ASCII characters
one by one, everything else byte by byte. What it says is noise, but the same noise each time.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS = 2, 64, 128, 4, 2
HEAD_WIDTH = WIDTH // HEADS
TokenType = gguf.TokenType


def write(
    path: Path,
    *,
    seed: int = 0,
    name: str = "tiny",
    context: int = 512,
    chat_template: str | None = None,
    architecture: str = "llama",
) -> Path:
    """Write the model to `path` (some 0.4 MB). Equal arguments give equal bytes.

    `context`: tokens; `architecture`: what the file says it is, whatever its tensors are.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens, types = _vocabulary()
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([int(kind) for kind in types])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for tensor, shape in _shapes(len(tokens)).items():
        writer.add_tensor(tensor, _weights(tensor, shape, seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[gguf.TokenType]]:
    tokens = ["<unk>", "<s>", "</s>"]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>")
        types.append(TokenType.BYTE)
    for character in ["\u2581", *map(chr, range(0x21, 0x7F))]:  # U+2581 stands for the space
        tokens.append(character)
        types.append(TokenType.NORMAL)
    return tokens, types


def _shapes(vocabulary: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocabulary, WIDTH),
        "output.weight": (vocabulary, WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        block = {
            "attn_norm": (WIDTH,),
            "attn_q": (HEADS * HEAD_WIDTH, WIDTH),
            "attn_k": (KV_HEADS * HEAD_WIDTH, WIDTH),
            "attn_v": (KV_HEADS * HEAD_WIDTH, WIDTH),
            "attn_output": (WIDTH, HEADS * HEAD_WIDTH),
            "ffn_norm": (WIDTH,),
            "ffn_gate": (HIDDEN, WIDTH),
            "ffn_up": (HIDDEN, WIDTH),
            "ffn_down": (WIDTH, HIDDEN),
        }
        shapes |= {f"blk.{layer}.{part}.weight": shape for part, shape in block.items()}
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
