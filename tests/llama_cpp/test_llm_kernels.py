"""The canister's own matrix multiplication: a quantized model says what the same numbers say as floats."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
import wasmtime

from mainer_nb import llm_build, places
from mainer_nb.canister import Canister
from tests import tiny_gguf
from tests.llm_canister import load, upload
from tests.tiny_gguf import Quantization

TEXT = "A prompt of some tokens, which are evaluated several at a time."
PROMPTS = [TEXT[:length] for length in range(1, 61, 3)]

QUANTIZATIONS = [
    Quantization.Q8_0, Quantization.Q5_0, Quantization.Q5_1, Quantization.Q4_0, Quantization.Q4_1, Quantization.Q4_K,
    Quantization.Q5_K, Quantization.Q6_K,
]  # fmt: skip
Multiply = Callable[[Quantization, np.ndarray, np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def multiply(wasm: bytes, tmp_path_factory: pytest.TempPathFactory) -> Multiply:
    """multiply(type, rows of weights as bytes, columns): the products, a row for each column."""
    assert wasm  # its objects are there
    instance, store = _kernels(tmp_path_factory.mktemp("kernels"))
    exports = instance.exports(store)
    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)

    def call(name: str, *arguments: int) -> int:
        function = exports[name]
        assert isinstance(function, wasmtime.Func)
        return int(function(store, *arguments))

    def put(array: np.ndarray) -> int:
        address = call("allocate", array.nbytes)
        memory.write(store, array.tobytes(), address)
        return address

    def compute(quantization: Quantization, weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
        result = np.full((len(columns), len(weights)), np.nan, np.float32)
        shape = (len(weights), columns.shape[1])
        address = put(result)
        assert call("multiply", quantization, put(weights), *shape, put(columns), len(columns), address)
        found = memory.read(store, address, address + result.nbytes)
        return np.frombuffer(found, np.float32).reshape(result.shape)

    return compute


def _kernels(work: Path) -> tuple[wasmtime.Instance, wasmtime.Store]:
    """The canister's kernels with ggml and kernels.cpp, linked as the canister is."""
    cache = places.cache() / "llama_cpp"
    tree = llm_build.source_tree(cache)
    for name, target in {"llama.cpp": tree, "shim": llm_build.SOURCES / "shim", "tests": Path(__file__).parent}.items():
        (work / name).symlink_to(target)
    units = llm_build.units(tree, work / "unity")
    ours = ("kernels.cpp", "backends.cpp")
    needed = [unit for unit in units if unit.source.is_relative_to(tree / "ggml") or unit.name in ours]
    objects = [cache / "obj" / f"{llm_build.object_key(unit)}.o" for unit in needed]
    flags = next(unit.flags for unit in needed if unit.name == "kernels.cpp")
    links = [flag for flag in llm_build.LINK_FLAGS if "--wrap" not in flag]
    command = ["c++", *flags, "tests/kernels.cpp", *map(str, objects), *links, "-o", "k.wasm"]
    llm_build.zig(command, work, cache, "building the kernels' test")
    store = wasmtime.Store()
    store.set_wasi(wasmtime.WasiConfig())
    module = wasmtime.Module(store.engine, (work / "k.wasm").read_bytes())
    linker = wasmtime.Linker(store.engine)
    linker.define_wasi()
    instance = linker.instantiate(store, module)
    start = instance.exports(store)["_initialize"]
    assert isinstance(start, wasmtime.Func)
    start(store)
    return instance, store


def _columns(count: int, n_elements: int) -> np.ndarray:
    """Random ones, with elements that are far larger than the others."""
    random = np.random.default_rng([count, n_elements])
    columns = random.normal(size=(count, n_elements)).astype(np.float32)
    columns[random.random(columns.shape) < 0.01] *= 30
    return columns


@pytest.mark.parametrize("quantization", [*QUANTIZATIONS, Quantization.F32])
def test_products_are_those_of_the_numbers_that_the_weights_stand_for(
    multiply: Multiply, quantization: Quantization
) -> None:
    block, _ = gguf.GGML_QUANT_SIZES[quantization]
    lengths = [256, 768] if block == 256 else [32, 224, 288, 640]
    for n_elements, n_rows, n_columns in itertools.product(
        lengths + [1, 7, 61] * (block == 1), [1, 2, 7, 8, 9, 17, 35], [1, 2, 3, 4, 5, 9, 16, 17, 33]
    ):
        weights = np.random.default_rng([n_rows, n_elements]).normal(size=(n_rows, n_elements)).astype(np.float32)
        numbers, packed = weights, weights
        if quantization != Quantization.F32:
            packed = tiny_gguf.quantized(weights, quantization, seed=1)
            numbers = gguf.quants.dequantize(packed, quantization)
        columns = _columns(n_columns, n_elements)
        expected = columns.astype(np.float64) @ numbers.T.astype(np.float64)
        # columns are rounded to 11 bits or more; sums of floats to 24
        allowed = np.abs(columns).max(axis=1)[:, None] * np.abs(numbers).sum(axis=1)[None, :] / 4000 + 1e-5
        assert (np.abs(multiply(quantization, packed, columns) - expected) <= allowed).all(), (
            n_elements,
            n_rows,
            n_columns,
        )


@pytest.mark.parametrize("quantization", [*QUANTIZATIONS, Quantization.F32])
def test_a_product_does_not_depend_on_what_is_multiplied_beside_it(
    multiply: Multiply, quantization: Quantization
) -> None:
    weights = np.random.default_rng(2).normal(size=(21, 512)).astype(np.float32)
    packed = weights if quantization == Quantization.F32 else tiny_gguf.quantized(weights, quantization, seed=2)
    columns = _columns(37, 512)
    together = multiply(quantization, packed, columns)
    for count in (1, 3, 4, 10, 16, 20):
        cut = [multiply(quantization, packed, columns[start : start + count]) for start in range(0, 37, count)]
        assert np.array_equal(np.concatenate(cut), together)
    assert np.array_equal(multiply(quantization, packed[5:], columns), together[:, 5:])


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_quantized_model_says_what_its_numbers_say(llm: Canister, tmp_path: Path, quantization: Quantization) -> None:
    def say(as_float: bool) -> list[str]:
        model = tiny_gguf.write(
            tmp_path / "model.gguf", seed=1, width=256, quantization=quantization, as_float=as_float
        )
        upload(llm, model.read_bytes(), "quantized.gguf")
        load(llm, "quantized.gguf")
        args = ["--temp", "0", "--ignore-eos", "-n", "1"]
        return [llm.run_update({"args": [*args, "-p", prompt]})["output"] for prompt in PROMPTS]

    floats, quantized = say(as_float=True), say(as_float=False)
    load(llm)
    assert len(set(floats)) > 4
    # what goes through the layers is rounded to 8 bits, so that a close decision may go the other way
    same = sum(one == other for one, other in zip(floats, quantized, strict=True))
    assert same >= 0.8 * len(PROMPTS)
