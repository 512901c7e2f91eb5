"""Tokens per second in the LLM canister, against native llama.cpp of the same sources, on the same file.

    python bench/generation.py [--quick]

Native is llama-cpp-python with one thread, compiled on this machine when it was installed. Rates are differences: of
answers of two lengths, and of prompts of two lengths, so that what a call costs besides its tokens cancels out.
"""

from __future__ import annotations

import importlib.util
import statistics
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import stage
from measure import Figure

from mainer_nb import network
from mainer_nb.canister import Canister

START = "The"
SENTENCE = "The quick brown fox jumps over the lazy dog. "
GREEDY = ["--temp", "0", "--ignore-eos"]


@dataclass(frozen=True)
class Sizes:
    """Tokens to generate and sentences in a prompt, few and many, and how often each is done."""

    generated: tuple[int, int]
    sentences: tuple[int, int]
    repeats: int


@dataclass(frozen=True)
class Rates:
    """Tokens per second."""

    generated: float
    prompt: float


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    sizes = Sizes((2, 12), (1, 4), 1) if chosen.quick else Sizes((2, 26), (1, 9), 5)
    with measure.own_places() as folder:
        gguf = stage.model(folder, chosen.quick)
        net = network.connect()
        mainer = stage.own_mainer(net, gguf, 2)
        first, second = (stage.llm(net, llm_id) for llm_id in mainer.llm_ids)
        count = _native_counter(gguf.path)
        alone = _canister_rates(first, sizes, count)
        native = _native_rates(gguf.path, sizes)
        both = _at_once((first, second), sizes)
        net.close()
    figures = [
        Figure("generation in the canister", alone.generated, "tokens/s", "native, one thread", native.generated, 0.7),
        Figure("prompt in the canister", alone.prompt, "tokens/s", "native, one thread", native.prompt, 0.5),
        Figure("generation, two canisters at once", both[1], "tokens/s", "one canister", both[0], 1.8),
    ]
    measure.report("generation", f"Tokens per second, {gguf.name}", figures, chosen)


# --- in the canister ---


def _answer(llm: Canister, tokens: int, prompt: str = START) -> None:
    result = llm.run_update({"args": [*GREEDY, "-n", str(tokens), "-p", prompt]})
    assert not result["prompt_remaining"], "the prompt does not fit into one call"


def _canister_rates(llm: Canister, sizes: Sizes, count: Callable[[str], int]) -> Rates:
    return Rates(
        _rate(lambda tokens: _answer(llm, tokens), sizes.generated, sizes.generated, sizes.repeats),
        _rate(
            lambda sentences: _answer(llm, 1, SENTENCE * sentences),
            sizes.sentences,
            tuple(count(SENTENCE * sentences) for sentences in sizes.sentences),
            sizes.repeats,
        ),
    )


def _at_once(llms: tuple[Canister, Canister], sizes: Sizes) -> tuple[float, float]:
    """Tokens per second of one canister alone, and of both together."""
    tokens = sizes.generated[1]

    def work(llm: Canister) -> None:
        for _ in range(sizes.repeats):
            _answer(llm, tokens)

    def together() -> None:
        threads = [threading.Thread(target=work, args=(llm,)) for llm in llms]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    done = tokens * sizes.repeats
    return done / measure.seconds_of(lambda: work(llms[0])), 2 * done / measure.seconds_of(together)


# --- native ---


def _native(gguf: Path) -> Any:
    if importlib.util.find_spec("llama_cpp") is None:
        raise SystemExit("llama-cpp-python is not installed: pip install -e '.[bench]' (it needs a C++ compiler)")
    return importlib.import_module("llama_cpp").Llama(
        str(gguf), n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False
    )


def _native_counter(gguf: Path) -> Callable[[str], int]:
    """How many tokens a text has."""
    llama = _native(gguf)
    return lambda text: len(llama.tokenize(text.encode()))


def _native_rates(gguf: Path, sizes: Sizes) -> Rates:
    llama = _native(gguf)
    prompts = {n: llama.tokenize((SENTENCE * n).encode()) for n in sizes.sentences}

    def generate(tokens: int) -> None:
        llama.reset()
        llama.eval(llama.tokenize(START.encode()))
        for _ in range(tokens):
            llama.eval([llama.sample(temp=0.0)])

    def read(sentences: int) -> None:
        llama.reset()
        llama.eval(prompts[sentences])

    lengths = tuple(len(prompts[n]) for n in sizes.sentences)
    return Rates(
        _rate(generate, sizes.generated, sizes.generated, sizes.repeats),
        _rate(read, sizes.sentences, lengths, sizes.repeats),
    )


def _rate(action: Callable[[int], None], amounts: tuple[int, ...], tokens: tuple[int, ...], repeats: int) -> float:
    """Tokens per second, from the difference between a small and a large amount."""
    action(amounts[1])
    small, large = (
        statistics.median(measure.seconds_of(lambda: action(amount)) for _ in range(repeats))  # noqa: B023
        for amount in amounts
    )
    return (tokens[1] - tokens[0]) / max(large - small, 1e-9)


if __name__ == "__main__":
    main()
