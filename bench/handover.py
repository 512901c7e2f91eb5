"""The creator hands the model to a new LLM canister: how many rounds of messages that takes, and how long.

    python bench/handover.py [--quick]

A message is executed in the round after that of the message that sent it, were every message executed at once. One
awaited chunk after the other takes two rounds a chunk: there and back.
"""

from __future__ import annotations

from collections.abc import Sequence

import measure
import stage
from inside import rounds, served
from measure import Figure

from mainer_nb import create

METHOD = "file_upload_chunk"


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    with measure.own_places() as folder, served(folder) as inside, rounds() as seen:
        gguf = stage.model(folder, chosen.quick, width=512)
        stage.uploaded(inside.net, gguf)
        own = create.create_mainer(inside.net, "Own")
        seconds = measure.seconds_of(lambda: create.add_llm(inside.net, own.controller_id))
    chunks = len(seen.by_method[METHOD])
    taken = max(seen.by_method[METHOD]) - min(seen.by_method[METHOD]) + 2  # the last answer comes back too
    figures = [
        Figure(
            "rounds to hand over the model", taken, "rounds", "one awaited chunk after the other", 2 * chunks,
            target=4, lower_is_better=True, note=f"{gguf.size / 1e6:.0f} MB in {chunks} chunks",
        ),
        Figure(
            "an LLM canister, made, given its model and loaded", seconds, "s",
            note=f"{gguf.size / seconds / 1e6:.0f} MB/s over all of it",
        ),
    ]  # fmt: skip
    measure.report("handover", "From the creator to a new LLM canister", figures, chosen)


if __name__ == "__main__":
    main()
