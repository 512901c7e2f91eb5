"""What a call on an LLM canister costs beyond the computing, with its model in memory.

    python bench/overhead.py [--quick]

The call is made as any client makes it. Its computing is the time inside the canister's exported function, measured in
the same call; the rest is signatures, HTTP, certificate, storing what the call changed, and so on.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import measure
import stage
from inside import computing, served
from measure import Figure

ANSWER = ["--temp", "0", "--ignore-eos", "-p", "Question: What is the capital of France?\nAnswer:"]


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    tokens, calls = (4, 2) if chosen.quick else (12, 10)
    with measure.own_places() as folder, served(folder) as inside:
        gguf = stage.model(folder, chosen.quick)
        mainer = stage.own_mainer(inside.net, gguf, 1)
        llm = stage.llm(inside.net, mainer.llm_ids[0])
        llm.run_update({"args": [*ANSWER, "-n", str(tokens)]})
        whole, parts = [], []
        for _ in range(calls):
            with computing() as measured:
                whole.append(measure.seconds_of(lambda: llm.run_update({"args": [*ANSWER, "-n", str(tokens)]})))
            parts.append((whole[-1] - measured.seconds) / measured.seconds)
        heap = inside.canister(mainer.llm_ids[0]).state.heap_pages * 65536
    figures = [
        Figure(
            "overhead of an answer, beyond the computing", 100 * statistics.median(parts), "%", target=5,
            lower_is_better=True, note=f"{tokens} tokens of {gguf.name}, heap of {heap / 2**20:.0f} MiB",
        ),
        Figure("the whole call, p50", measure.p50(whole) * 1e3, "ms"),
    ]  # fmt: skip
    measure.report("overhead", "A call on an LLM canister", figures, chosen)


if __name__ == "__main__":
    main()
