"""What the LLM canister cannot load is refused from the header alone, and a file that was not chosen stops nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest

from mainer_nb import artifacts, expect, gguf_header, llm_build, loadable, places
from mainer_nb.errors import ArtifactError

Change = Callable[[gguf.GGUFWriter], None]
Make = Callable[..., Path]
TOKENS = ["<unk>", "<s>", "</s>", *(f"word{i}" for i in range(97))]


@pytest.fixture
def make(project: Path) -> Make:
    """Writes a model of one block into files/, with changes: `keys` instead of its own (None: without), `tensors`."""

    def write(
        keys: dict[str, Any] | None = None,
        tensors: dict[str, numpy.ndarray] | None = None,
        name: str = "model.gguf",
        architecture: str = "llama",
    ) -> Path:
        values: dict[str, Any] = {
            f"{architecture}.context_length": 512,
            f"{architecture}.embedding_length": 64,
            f"{architecture}.block_count": 1,
            f"{architecture}.attention.head_count": 4,
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": TOKENS,
            "tokenizer.ggml.scores": [0.0] * 100,
        } | (keys or {})
        path = project / "files" / name
        writer = gguf.GGUFWriter(path, architecture)
        for key, value in values.items():
            if isinstance(value, list):
                writer.add_array(key, value)
            elif isinstance(value, bool):
                writer.add_bool(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
        whole: dict[str, numpy.ndarray] = {
            "token_embd.weight": numpy.zeros((100, 64), dtype=numpy.float32),
            "blk.0.attn_q.weight": numpy.zeros((64, 64), dtype=numpy.float16),
        }
        for tensor, content in (whole if tensors is None else tensors).items():
            writer.add_tensor(tensor, content)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def test_a_usable_model_has_no_problem(make: Make) -> None:
    assert artifacts.model(make()).name == "model.gguf"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"general.type": "adapter"}, "an adapter"),
        ({"general.type": "mmproj"}, "projector"),
        ({"general.type": "imatrix"}, "importance matrix"),
        ({"general.type": "novelty"}, "of the type 'novelty'"),
        ({"adapter.type": "lora"}, "an adapter"),
        ({"llama.pooling_type": 3}, "makes embeddings"),
        ({"llama.attention.causal": False}, "makes embeddings"),
        ({"llama.context_length": None}, r"llama\.context_length must be a number above 0, and is nothing"),
        ({"llama.context_length": 0}, r"llama\.context_length must be a number above 0, and is 0"),
        ({"llama.context_length": "512"}, r"llama\.context_length must be a number above 0, and is '512'"),
        ({"llama.embedding_length": [64]}, r"llama\.embedding_length must be a number above 0, and is an array"),
        (
            {"llama.embedding_length": 32},
            r"of the shape \(64, 100\), its header says \(32, 100\)",
        ),
        ({"llama.block_count": None}, r"llama\.block_count must be"),
        ({"llama.block_count": 2}, "claims to have 2 blocks, its tensors are of 1, block 1 has none"),
        ({"llama.block_count": 4_000_000_000}, "claims to have 4000000000 blocks"),
        ({"llama.attention.head_count": None}, r"attention\.head_count must be"),
        ({"tokenizer.ggml.model": None}, r"tokenizer\.ggml\.model must be a text"),
        ({"tokenizer.ggml.model": "novel"}, "tokenizer 'novel' is unknown"),
        ({"tokenizer.ggml.model": "gpt2"}, r"tokenizer\.ggml\.merges must be a list of texts"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": [1]}, r"tokenizer\.ggml\.merges must be"),
        (
            {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "novel", "tokenizer.ggml.merges": ["a b"]},
            "pre-tokenizer 'novel'",
        ),
        ({"tokenizer.ggml.tokens": None}, r"tokenizer\.ggml\.tokens must be a list of texts"),
        ({"tokenizer.ggml.tokens": [1, 2]}, r"tokenizer\.ggml\.tokens must be a list of texts"),
        ({"tokenizer.ggml.tokens": TOKENS[:99]}, r"scores must be a list of 99 numbers"),
        ({"split.count": 3, "split.no": 1}, "one of 3 parts"),
    ],
)
def test_what_cannot_be_loaded_is_refused(make: Make, keys: dict[str, Any], says: str) -> None:
    path = make(keys)
    with pytest.raises(ArtifactError, match=says) as caught:
        artifacts.model("model")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["clip", "mamba", "bert", "qwen35moe", "llama "])
def test_an_unknown_architecture_is_refused_with_the_known_ones(make: Make, name: str) -> None:
    make(architecture=name)
    with pytest.raises(ArtifactError, match=rf"architecture '{name}' is not among .*gemma3.*llama.*qwen3"):
        artifacts.model("model")


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({}, "no tensors"),
        ({"v.patch_embd.weight": numpy.zeros(32, numpy.float32)}, "no tensor token_embd"),
        ({"token_embd.weight": numpy.zeros((100, 64), numpy.float64)}, "of the type F64.*Q4_K_M"),
    ],
)
def test_tensors_that_make_no_model_are_refused(make: Make, tensors: dict[str, Any], says: str) -> None:
    make(tensors=tensors)
    with pytest.raises(ArtifactError, match=says):
        artifacts.model("model")


def test_a_part_of_a_split_model_is_refused_with_the_command_that_joins_it(make: Make, project: Path) -> None:
    make({"split.count": 3, "split.no": 1}, name="big-00002-of-00003.gguf")
    first, whole = project / "files/big-00001-of-00003.gguf", project / "files/big.gguf"
    with pytest.raises(ArtifactError, match=re.escape(f"llama-gguf-split --merge {first} {whole}")):
        artifacts.model("big-00002-of-00003")
    make(name="big-00003-of-00003.gguf")  # told by its name alone
    with pytest.raises(ArtifactError, match="one of 3 parts of a model"):
        artifacts.model("big-00003-of-00003")
    make({"split.count": 1, "split.no": 0}, name="small-00001-of-00001.gguf")
    assert artifacts.model("small-00001-of-00001")


def test_a_vocabulary_that_is_no_utf8_is_refused(make: Make) -> None:
    path = make()
    path.write_bytes(path.read_bytes().replace(b"word50", b"wor\xff50"))
    with pytest.raises(ArtifactError, match=r"tokenizer\.ggml\.tokens is not valid UTF-8"):
        artifacts.model("model")


def test_a_model_that_is_too_large_is_refused(make: Make) -> None:
    path = make({"llama.block_count": 2}, {**rows(0), **rows(1)})
    header = gguf_header.read(path)
    large = gguf_header.Header(
        header.metadata,
        tuple(gguf_header.Tensor(one.name, one.kind, one.shape, one.offset, 1 << 31) for one in header.tensors),
        header.size,
    )
    assert "too large" in loadable.problem(large, path)
    assert loadable.problem(header, path) == ""


def rows(block: int) -> dict[str, numpy.ndarray]:
    return {
        "token_embd.weight": numpy.zeros((100, 64), numpy.float32),
        f"blk.{block}.attn_q.weight": numpy.zeros((64, 64), numpy.float32),
    }


def test_a_context_that_leaves_no_room_counts(make: Make) -> None:
    path = make({"llama.context_length": 1_000_000, "llama.attention.key_length": 1_000_000})
    with pytest.raises(ArtifactError, match="too large: its weights have"):
        artifacts.model(path)


def test_what_another_llm_canister_can_load_is_its_own_affair(make: Make, project: Path) -> None:
    make(architecture="mamba")
    wasm = project / "files/llama_cpp.wasm"
    wasm.write_bytes(b"\0asm\1\0\0\0" + b"\0\3\1x!")
    assert artifacts.model("model")
    wasm.write_bytes(wasm.read_bytes() + artifacts.OWN_BUILD_MARK)
    with pytest.raises(ArtifactError, match="architecture 'mamba'"):
        artifacts.model("model")


def test_files_that_were_not_chosen_are_listed_with_the_reason(make: Make, project: Path) -> None:
    make()
    make(architecture="mamba", name="unknown.gguf")
    whole = (project / "files/model.gguf").read_bytes()
    (project / "files/unfinished.gguf").write_bytes(whole[:700])
    (project / "files/endless.gguf").write_bytes(whole[:24] + b"\xff" * 100)
    (project / "files/folder.gguf").mkdir()
    (project / "files/dangling.gguf").symlink_to(project / "nothing")
    os.mkfifo(project / "files/pipe.gguf")  # which nobody writes to
    items = artifacts.inventory()
    problems = {item.name: item.problem for item in items if item.name != "model.gguf"}
    assert len(problems) == 6
    assert expect.whole(items) == (
        "All files of the project are whole. Of your own, dangling.gguf, endless.gguf, folder.gguf, pipe.gguf, "
        "unfinished.gguf, unknown.gguf cannot be used."
    )
    assert set(artifacts.unusable_models()) == {name.removesuffix(".gguf") for name in problems}
    assert all(problems.values())
    assert "architecture 'mamba'" in problems["unknown.gguf"]
    assert "more than fit into the file" in problems["unfinished.gguf"]
    assert "is not a file, but a folder, pipe or device" in problems["pipe.gguf"]
    assert artifacts.model("model")


# The lists are llama.cpp's


@pytest.fixture(scope="module")
def sources() -> Path:
    """The sources that the LLM canister is built from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MAINER_NB_CACHE", raising=False)
        cache = places.cache() / "llama_cpp"
    llm_build.fetch(cache)
    return llm_build.source_tree(cache)


def test_the_lists_are_those_of_the_sources(sources: Path) -> None:
    kept = re.findall(r"LLM_ARCH_\w+", (sources / "src/kept-models.h").read_text())
    named = dict(re.findall(r'\{\s*(LLM_ARCH_\w+),\s*"([^"]+)"\s*\}', (sources / "src/llama-arch.cpp").read_text()))
    assert {named[one] for one in kept} == loadable.ARCHITECTURES
    vocabulary = (sources / "src/llama-vocab.cpp").read_text()
    assert set(re.findall(r'tokenizer_pre == "([^"]+)"', vocabulary)) == loadable.PRE_TOKENIZERS
    tokenizers = set(re.findall(r'tokenizer_model == "([^"]+)"', vocabulary)) - {"no_vocab", "none"}
    assert tokenizers == loadable.TOKENIZERS
    with_bos = [
        re.findall(r'tokenizer_pre == "([^"]+)"', condition)
        for condition, body in re.findall(r"else if \(([^{]*?)\) \{(.*?)\}", vocabulary, re.DOTALL)
        if "add_bos = true" in body and "tokenizer_pre" in condition
    ]
    assert {one for group in with_bos for one in group} == loadable.PRE_TOKENIZERS_WITH_BOS
    kernels = (sources / "ggml/src/ggml-cpu/ggml-cpu.c").read_text()
    table = kernels[kernels.index("type_traits_cpu[GGML_TYPE_COUNT] = {") :].partition("\n")[2]
    kernel_rows = re.findall(r"\[GGML_TYPE_(\w+)\] = \{(.*?)\n    \}", table[: table.index("\n};")], re.DOTALL)
    assert {name for name, row in kernel_rows if ".vec_dot " in row} == loadable.WEIGHT_TYPES


def test_the_mark_is_a_text_of_the_canister() -> None:
    source = places.project() / "canisters/llama_cpp/src/model.cpp"
    assert artifacts.OWN_BUILD_MARK.decode() in source.read_text()
