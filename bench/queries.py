"""Query calls, signed, against stock clients and the bare wasm call.

python bench/queries.py [--quick]
"""

from __future__ import annotations

from collections.abc import Sequence

import measure
import stage
from clients import Key
from inside import bare_call, served
from measure import Figure

from mainer_nb import network
from mainer_nb.network import GAME_STATE

METHOD = "getGameStateThresholdsAdmin"
EMPTY = b"DIDL\0\0"
CLIENTS = 8


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    calls, seconds = (50, 1.0) if chosen.quick else (500, 5.0)
    with measure.own_places() as folder:
        with served(folder) as inside:
            stage.deployed(inside.net)
            game_state = inside.net.canister_id(GAME_STATE)
            bare = bare_call(inside, game_state, f"canister_query {METHOD}", EMPTY, "NRQ")
            bare()
            bare_rate = 1 / measure.p50(measure.latencies(bare, calls))
        key = Key()
        net = network.connect(identity=key.save(folder / "key.pem"))
        stage.deployed(net)
        game_state = net.canister_id(GAME_STATE)
        stock, core, ours = (
            [lambda call=call: call(game_state, METHOD, EMPTY)] * CLIENTS
            for call in (key.ic_py(net).query_raw, key.icp_py_core(net).query_raw, net.agent.query_bytes)
        )
        p50 = measure.p50(measure.latencies(ours[0], calls))
        one = measure.rate(ours[:1], seconds)
        eight = measure.rate(ours, seconds)
        stock_eight, core_eight = (measure.rate(client, seconds / 2) for client in (stock, core))
        net.close()
    most = max(one, eight)
    figures = [
        Figure("queries, the better of 1 and 8 clients", most, "/s", target=1000),
        Figure("queries, 1 client", one, "/s"),
        Figure(f"queries, {CLIENTS} clients", eight, "/s"),
        Figure("query call, p50", p50 * 1e3, "ms"),
        Figure("queries", most, "/s", "the bare wasm call", bare_rate),
        Figure(f"queries, {CLIENTS} clients", eight, "/s", "stock ic-py", stock_eight),
        Figure(f"queries, {CLIENTS} clients", eight, "/s", "stock icp-py-core", core_eight),
    ]
    measure.report("queries", "Queries", figures, chosen)


if __name__ == "__main__":
    main()
