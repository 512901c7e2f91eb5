"""Whether the LLM canister can load a gguf: its header is checked before a byte is sent.

The lists are those of the llama.cpp that `llm_build` builds (tests compare them with its sources).
What another LLM canister, put into files/, can load is known to that canister only: `own_build` is False for it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .gguf_header import ArrayAt, Header, Tensor, invalid_text

HEAP = 1 << 32  # bytes; the canister is 32-bit wasm
BESIDE_WEIGHTS = 96 << 20  # bytes of heap for code, vocabulary and intermediate results, at least
USUAL_CONTEXT = 2048  # tokens, unless load_model says otherwise
KEPT_BYTES = 4  # of each number of the context

ARCHITECTURES = frozenset((
    "arcee", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3", "gemma3n", "gpt2", "granite", "hunyuan-dense",
    "hunyuan_vl", "lfm2", "llama", "minicpm", "mistral3", "olmo2", "phi2", "phi3", "qwen2", "qwen3", "smollm3",
    "stablelm",
))  # fmt: skip
TOKENIZERS = frozenset((
    "llama", "bert", "gpt2", "hybriddna", "whitespace", "t5", "rwkv", "test", "plamo2", "gemma4",
))  # fmt: skip
# Tokenizers that need merges.
MERGING = frozenset((
    "gpt2", "hybriddna", "whitespace", "gemma4",
))  # fmt: skip
PRE_TOKENIZERS = frozenset((
    "a.x-4.0", "afmoe", "bailingmoe", "bailingmoe2", "bloom", "chameleon", "chatglm-bpe", "codeshell",
    "cohere2moe", "command-r", "dbrx", "deepseek-coder", "deepseek-llm", "deepseek-r1-qwen", "deepseek-v3",
    "default", "exaone", "exaone-moe", "exaone4", "f2llmv2", "falcon", "falcon-h1", "falcon3", "gemma4",
    "gigachat", "glm4", "glm5", "gpt-2", "gpt-4o", "gpt3-finnish", "granite-docling", "granite-embed-multi-311m",
    "granite-embed-multi-97m", "grok-2", "hunyuan", "hunyuan-dense", "hy_v4", "jais", "jais-2", "jina-de",
    "jina-es", "jina-v1-en", "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-v5-nano", "joyai-llm", "kanana2",
    "kimi-k2", "kormo", "laguna", "lfm2", "llada-moe", "llama-bpe", "llama-v3", "llama3", "llama4", "megrez",
    "mellum", "mellum2", "midm-2.0", "minerva-7b", "minicpm5", "minimax-m2", "modern-bert", "mpt", "olmo", "phi-2",
    "pixtral", "poro-chat", "qwen2", "qwen35", "refact", "roberta-bpe", "sarvam-moe", "seed-coder", "smaug-bpe",
    "smollm", "solar-open", "spark2_5", "stablelm2", "starcoder", "superbpe", "talkie", "tekken", "tiny_aya",
    "trillion", "ufakzeka", "viking", "whitespace", "youtu",
))  # fmt: skip
# Those that put the beginning-of-text token in front unless the file says otherwise.
PRE_TOKENIZERS_WITH_BOS = frozenset((
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
    "tekken", "chameleon",
))  # fmt: skip
WEIGHT_TYPES = frozenset((
    "F32", "F16", "BF16", "Q1_0", "Q2_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4", "NVFP4", "Q2_K", "Q3_K",
    "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ3_S", "IQ2_S", "IQ1_S", "IQ1_M", "IQ4_NL", "IQ4_XS",
    "TQ1_0", "TQ2_0",
))  # fmt: skip

SHARD = re.compile(r"(?P<name>.*)-\d{5}-of-(?P<count>\d{5})\.gguf$")
OTHER_KINDS = {
    "adapter": "an adapter (LoRA), which changes a model and is none itself",
    "mmproj": "a projector for pictures or sound, which belongs to a model and is none itself",
    "imatrix": "an importance matrix, which is made from a model and is none itself",
    "vocab": "a vocabulary without a model",
}


def problem(header: Header, path: Path, own_build: bool = True) -> str:
    """Why the LLM canister cannot load this model, with what helps; "" if nothing is known to stand in the way."""
    return next(_problems(header, path, own_build), "")


def adds_bos(header: Header) -> bool:
    """Whether the tokenizer puts the beginning-of-text token in front of a prompt (llama-vocab.cpp)."""
    told = header.flag("tokenizer.ggml.add_bos_token")
    if told is not None:
        return told
    if header.text("tokenizer.ggml.model") == "gpt2":
        return header.text("tokenizer.ggml.pre") in PRE_TOKENIZERS_WITH_BOS
    return header.text("tokenizer.ggml.model") == "llama"


def _problems(header: Header, path: Path, own_build: bool) -> Iterator[str]:
    yield from _not_a_model(header, path)
    yield from _unknown_architecture(header, own_build)
    yield from _missing_numbers(header)
    yield from _unusable_vocabulary(header, path, own_build)
    yield from _unusable_tensors(header, own_build)
    yield from _too_large(header)


def _not_a_model(header: Header, path: Path) -> Iterator[str]:
    count = header.number("split.count") or 0
    named = SHARD.fullmatch(path.name)
    if count > 1 or (named and int(named["count"]) > 1):
        count = count if count > 1 else int(named["count"]) if named else 0
        stem = named["name"] if named else path.stem
        first, whole = path.with_name(f"{stem}-00001-of-{count:05}.gguf"), path.with_name(f"{stem}.gguf")
        yield (
            f"it is one of {count} parts of a model. Join them with llama.cpp's tool, then use {whole.name}: "
            f"llama-gguf-split --merge {shlex.quote(str(first))} {shlex.quote(str(whole))}"
        )
    kind = (header.text("general.type") or "model").lower()
    if "adapter.type" in header.metadata:
        kind = "adapter"
    if kind != "model":
        yield f"it is {OTHER_KINDS.get(kind, f'of the type {kind!r}, not a model')}. Get the model itself"
    if not header.tensors:
        yield "it has no tensors, only a vocabulary or settings. Get the model itself"


def _unknown_architecture(header: Header, own_build: bool) -> Iterator[str]:
    name = header.text("general.architecture")
    if not name:
        yield "it does not say its architecture (general.architecture). Get another conversion of the model"
    elif own_build and name not in ARCHITECTURES:
        yield (
            f"its architecture {name!r} is not among those that the LLM canister is built with: "
            f"{', '.join(sorted(ARCHITECTURES))}. Choose a model of one of these"
        )
    if header.number(f"{name}.pooling_type") or header.flag(f"{name}.attention.causal") is False:
        yield "it makes embeddings, not text. Choose a model that generates text"


def _missing_numbers(header: Header) -> Iterator[str]:
    name = header.text("general.architecture")
    for key in ("context_length", "embedding_length", "block_count"):
        if not header.number(f"{name}.{key}"):
            yield _wants(header, f"{name}.{key}", "a number above 0")
    if not isinstance(heads := header.metadata.get(f"{name}.attention.head_count"), ArrayAt) and not (
        type(heads) is int and heads > 0
    ):
        yield _wants(header, f"{name}.attention.head_count", "a number above 0")


def _wants(header: Header, key: str, what: str) -> str:
    value = header.metadata.get(key)
    shown = "nothing" if value is None else "an array" if isinstance(value, ArrayAt) else repr(value)[:40]
    return f"its {key} must be {what}, and is {shown}. Get another conversion of the model"


def _unusable_vocabulary(header: Header, path: Path, own_build: bool) -> Iterator[str]:
    kind, pre = header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")
    tokens = header.texts("tokenizer.ggml.tokens")
    if not kind:
        yield _wants(header, "tokenizer.ggml.model", "a text")
    elif own_build and kind not in TOKENIZERS:
        yield f"its tokenizer {kind!r} is unknown to the LLM canister, which knows {', '.join(sorted(TOKENIZERS))}"
    elif own_build and kind in MERGING and pre and pre not in PRE_TOKENIZERS:
        yield (
            f"its pre-tokenizer {pre!r} (tokenizer.ggml.pre) is unknown to the LLM canister. "
            "Choose another model, or a conversion with a known one"
        )
    if tokens is None or tokens.length == 0:
        yield _wants(header, "tokenizer.ggml.tokens", "a list of texts")
        return
    if kind in MERGING and pre != "kimi-k2" and header.texts("tokenizer.ggml.merges") is None:
        yield _wants(header, "tokenizer.ggml.merges", "a list of texts")
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        value = header.metadata.get(key)
        if value is not None and not (isinstance(value, ArrayAt) and value.length == tokens.length):
            yield _wants(header, key, f"a list of {tokens.length} numbers, one for each token")
    if key := invalid_text(path, header):
        yield f"its {key} is not valid UTF-8. Get another conversion of the model"


def _unusable_tensors(header: Header, own_build: bool) -> Iterator[str]:
    for tensor in header.tensors:
        if own_build and tensor.kind.name not in WEIGHT_TYPES:
            yield (
                f"its tensor {tensor.name!r} is of the type {tensor.kind.name}, with which the LLM canister cannot "
                "compute. Get the model in another quantization, such as Q4_K_M or Q8_0"
            )
    names = {tensor.name: tensor for tensor in header.tensors}
    embedding = names.get("token_embd.weight")
    if embedding is None:
        yield "it has no tensor token_embd.weight, so it is not a language model. Get the model itself"
    elif wrong := _wrong_shape(header, embedding):
        yield wrong
    blocks = {name.split(".")[1] for name in names if name.startswith("blk.")}
    count = header.number(f"{header.text('general.architecture')}.block_count") or 0
    if count > len(header.tensors) or (lacking := [n for n in range(count) if str(n) not in blocks]):
        first = "" if count > len(header.tensors) else f", block {lacking[0]} has none"
        yield f"it claims to have {count} blocks, its tensors are of {len(blocks)}{first}. Get the model file again"


def _wrong_shape(header: Header, embedding: Tensor) -> str:
    width = header.number(f"{header.text('general.architecture')}.embedding_length")
    tokens = header.texts("tokenizer.ggml.tokens")
    if tokens and embedding.shape != (width, tokens.length):
        return (
            f"its tensor token_embd.weight is of the shape {embedding.shape}, its header says "
            f"{(width, tokens.length)}. Get another conversion of the model"
        )
    return ""


def _too_large(header: Header) -> Iterator[str]:
    weights = sum(tensor.size for tensor in header.tensors)
    needed = weights + _context_bytes(header) + BESIDE_WEIGHTS
    if needed > HEAP:
        yield (
            f"it is too large: its weights have {weights:,} bytes, with the context it needs {needed:,}, and "
            f"an LLM canister has {HEAP:,}. Choose a smaller model or quantization"
        )


def _context_bytes(header: Header) -> int:
    """Of keys and values of the usual context; 0 where the header has lists instead of numbers."""
    name = header.text("general.architecture")

    def number(key: str, otherwise: Any = 0) -> int:
        return header.number(f"{name}.{key}") or otherwise

    heads = number("attention.head_count")
    if not heads:
        return 0
    width = number("embedding_length") // heads
    per_token = number("attention.key_length", width) + number("attention.value_length", width)
    tokens = min(USUAL_CONTEXT, number("context_length"))
    return number("block_count") * tokens * number("attention.head_count_kv", heads) * per_token * KEPT_BYTES
