"""The embedded network starts again with the state of a full run: until it has answered its first call.

    python bench/restart.py [--quick]

The state: both canisters, three uploads, four mAIners and three LLMs with the model in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import measure
import stage
from measure import Figure

from mainer_nb import create, network, operate, places
from mainer_nb.create import Plan
from mainer_nb.localnet import server


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    repeats = 2 if chosen.quick else 5
    with measure.network() as net:
        gguf = stage.model(places.config(), chosen.quick)
        stage.uploaded(net, gguf)
        mainers = create.ensure(net, Plan())
        size = sum(path.stat().st_blocks * 512 for path in places.state().rglob("*") if path.is_file())
        controller, llm = mainers[0].controller_id, mainers[0].llm_ids[0]
        first = [_restart(lambda again: operate.mainer_canister(again, controller).health()) for _ in range(repeats)]
        model = [_restart(lambda again: _answer(again, llm)) for _ in range(repeats)]
    figures = [
        Figure(
            "start to first answered call", measure.p50(first), "s", target=1, lower_is_better=True,
            note=f"state of {size / 1e6:.0f} MB on disk; the call is a query of a mAIner",
        ),
        Figure("start to a token of the LLM", measure.p50(model), "s"),
    ]  # fmt: skip
    measure.report("restart", "Second start of the embedded network", figures, chosen)


def _restart(call: Callable[[network.Network], object]) -> float:
    """Seconds from starting the network to the answer of `call(connection)`."""
    server.stop(places.state())

    def start() -> None:
        again = network.connect()
        call(again)
        again.close()

    return measure.seconds_of(start)


def _answer(net: network.Network, llm: str) -> object:
    return net.canister_at(llm, "llama_cpp").run_query({"args": ["-n", "1", "-p", "The"]})


if __name__ == "__main__":
    main()
