"""A thousand mAIner controllers on one network: how fast they are made, what each takes, how it answers at the end.

python bench/thousand.py [--quick]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import measure
import stage
from measure import Figure

from mainer_nb import artifacts, operate, places, upload
from mainer_nb.canister import Canister
from mainer_nb.network import CREATOR, Network

FEW = 10
IN_FLIGHT = 8
CYCLES_EACH = 4 * stage.T
MB = 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    many, calls = (30, 20) if chosen.quick else (1000, 200)
    with measure.network() as net:
        creator = stage.deployed(net)
        upload.upload_controller(net, artifacts.canister_wasm(upload.CONTROLLER))
        operate.top_up(net, net.canister_id(CREATOR), many * CYCLES_EACH)
        _create(creator, FEW)
        few_query, few_update = _latencies(net, creator, calls)
        memory, disk = measure.memory(), measure.disk(places.state())
        seconds = measure.seconds_of(lambda: _create(creator, many - FEW))
        memory_each = (measure.memory() - memory) / (many - FEW)
        disk_each = (measure.disk(places.state()) - disk) / (many - FEW)
        many_query, many_update = _latencies(net, creator, calls)
    figures = [
        Figure("mAIner controllers made, 8 at a time", (many - FEW) / seconds, "/s", target=50),
        Figure("memory of the network's process, each", memory_each / MB, "MB", target=4, lower_is_better=True),
        Figure("disk, each", disk_each / MB, "MB"),
        Figure(
            f"query p50 at {many} controllers", many_query * 1e3, "ms", f"at {FEW}", few_query * 1e3,
            target=0.8, lower_is_better=True,
        ),
        Figure(
            f"update p50 at {many} controllers", many_update * 1e3, "ms", f"at {FEW}", few_update * 1e3,
            target=0.8, lower_is_better=True,
        ),
    ]  # fmt: skip
    measure.report("thousand", f"{many} mAIner controllers", figures, chosen)


def _create(creator: Canister, count: int) -> None:
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        list(pool.map(lambda _: creator.testCreateMainerControllerCanister("Own", None), range(count)))


def _latencies(net: Network, creator: Canister, calls: int) -> tuple[float, float]:
    """p50 of a query and of an update call, each call to the next controller in turn."""
    ids = [mainer["controllerId"] for mainer in creator.getMainers()]
    turn = itertools.cycle([operate.mainer_canister(net, controller_id) for controller_id in ids])
    for _ in ids:  # each answers once before it is measured
        next(turn).health()
    query = measure.latencies(lambda: next(turn).health(), calls)
    update = measure.latencies(lambda: next(turn).setTimerIntervalAdmin(60), calls)
    return measure.p50(query), measure.p50(update)


if __name__ == "__main__":
    main()
