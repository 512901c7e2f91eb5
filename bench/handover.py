"""The creator makes LLM canisters: by copying the model, and of a template; rounds of messages, and how long it takes.

    python bench/handover.py [--quick]

A message is executed in the round after that of the message that sent it, were every message executed at once. One
awaited chunk after the other takes two rounds a chunk: there and back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import measure
import stage
from inside import Inside, Rounds, rounds, served
from measure import Figure

from mainer_nb import create

METHOD = "file_upload_chunk"
PROMPT = "The capital of France is"


@dataclass(frozen=True)
class Made:
    """An LLM: seconds until it was ready, rounds from the order to its answer, seconds of its first answer."""

    seconds: float
    rounds: int
    first_answer: float


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    with measure.own_places() as folder, served(folder) as inside, rounds() as seen:
        gguf = stage.model(folder, chosen.quick, width=512)
        stage.uploaded(inside.net, gguf)
        own = create.create_mainer(inside.net, "Own").controller_id
        copied = _made(inside, seen, own, of_template=False)
        chunks = len(seen.by_method[METHOD])
        taken = max(seen.by_method[METHOD]) - min(seen.by_method[METHOD]) + 2  # the last answer comes back too
        first, further = (_made(inside, seen, own, of_template=True) for _ in range(2))
    figures = [
        Figure(
            "rounds to hand over the model", taken, "rounds", "one awaited chunk after the other", 2 * chunks,
            target=4, lower_is_better=True, note=f"{gguf.size / 1e6:.0f} MB in {chunks} chunks",
        ),
        Figure(
            "an LLM canister, made, given its model and loaded", copied.seconds, "s",
            note=f"{gguf.size / copied.seconds / 1e6:.0f} MB/s over all of it; {copied.rounds} rounds",
        ),
        Figure("the first of a template, which is made for it", first.seconds, "s", target=4, lower_is_better=True),
        Figure(
            "the second of a template", further.seconds, "s", "copied", copied.seconds, target=6, lower_is_better=True
        ),
        Figure(
            "rounds of the second, from order to answer", further.rounds, "rounds", target=12, lower_is_better=True
        ),
        Figure(
            "first answer of the second", further.first_answer, "s", "copied", copied.first_answer,
            lower_is_better=True, note="5 tokens",
        ),
    ]  # fmt: skip
    measure.report("handover", "From the creator to a new LLM canister", figures, chosen)


def _made(inside: Inside, seen: Rounds, controller_id: str, of_template: bool) -> Made:
    seen.depth.clear()
    begun = time.perf_counter()
    llm_id = create.add_llm(inside.net, controller_id, of_template=of_template)
    seconds, taken = time.perf_counter() - begun, max(seen.depth.values())
    llm = inside.net.canister_at(llm_id, "llama_cpp")
    ask = {"args": ["--prompt-cache", "a.cache", "-n", "5", "--temp", "0", "--ignore-eos", "-p", PROMPT]}
    llm.new_chat({"args": ["--prompt-cache", "a.cache"]})
    return Made(seconds, taken, measure.seconds_of(lambda: llm.run_update(ask)))


if __name__ == "__main__":
    main()
