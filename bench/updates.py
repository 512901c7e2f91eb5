"""Update calls that change state, signature and certificate included, against stock clients and the bare wasm call.

python bench/updates.py [--quick]
"""

from __future__ import annotations

from collections.abc import Sequence

import measure
import stage
from clients import Key, Update
from inside import bare_call, served
from measure import Figure

from mainer_nb import network
from mainer_nb.network import GAME_STATE, Network
from mainer_nb.protocol import candid

METHOD = "setGameStateThresholdsAdmin"
CLIENTS = 8


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    calls, stock_calls, seconds = (20, 2, 1.0) if chosen.quick else (300, 5, 5.0)
    with measure.own_places() as folder:
        with served(folder) as inside:
            stage.deployed(inside.net)
            game_state = inside.net.canister_id(GAME_STATE)
            bare = bare_call(inside, game_state, f"canister_update {METHOD}", _argument(inside.net), "U")
            bare()
            bare_p50 = measure.p50(measure.latencies(bare, calls))
        key = Key()
        net = network.connect(identity=key.save(folder / "key.pem"))
        stage.deployed(net)
        stock = _p50(net, key.ic_py(net).update_raw, stock_calls)
        core = _p50(net, key.icp_py_core_update(net), stock_calls)
        ours = _p50(net, net.agent.update_bytes, calls)
        proxy = net.canister(GAME_STATE)
        thresholds = proxy.getGameStateThresholdsAdmin()
        with_proxy = measure.p50(measure.latencies(lambda: proxy.setGameStateThresholdsAdmin(thresholds), calls))
        one = _rate(net, net.agent.update_bytes, 1, seconds)
        eight = _rate(net, net.agent.update_bytes, CLIENTS, seconds)
        stock_eight = _rate(net, key.ic_py(net).update_raw, CLIENTS, max(seconds / 2, 2.0))
        net.close()
    figures = [
        Figure("update call, p50", ours * 1e3, "ms", target=5, lower_is_better=True),
        Figure("update call, p50", ours * 1e3, "ms", "stock ic-py", stock * 1e3, lower_is_better=True),
        Figure(
            "update call, p50", ours * 1e3, "ms", "stock icp-py-core, not verifying", core * 1e3, lower_is_better=True
        ),
        Figure("update call, p50", ours * 1e3, "ms", "the bare wasm call", bare_p50 * 1e3, lower_is_better=True),
        Figure("the same through the canister proxy, p50", with_proxy * 1e3, "ms"),
        Figure("update calls, 1 client", one, "/s"),
        Figure(f"update calls, {CLIENTS} clients", eight, "/s", target=400),
        Figure(f"update calls, {CLIENTS} clients", eight, "/s", f"stock ic-py, {CLIENTS} clients", stock_eight),
    ]
    measure.report("updates", "Update calls", figures, chosen)


def _argument(net: Network) -> bytes:
    """The thresholds as they are."""
    game_state = net.canister(GAME_STATE)
    return candid.encode(game_state.methods[METHOD].args, [game_state.getGameStateThresholdsAdmin()])


def _p50(net: Network, update: Update, calls: int) -> float:
    game_state, argument = net.canister_id(GAME_STATE), _argument(net)
    update(game_state, METHOD, argument)
    return measure.p50(measure.latencies(lambda: update(game_state, METHOD, argument), calls))


def _rate(net: Network, update: Update, clients: int, seconds: float) -> float:
    game_state, argument = net.canister_id(GAME_STATE), _argument(net)
    return measure.rate([lambda: update(game_state, METHOD, argument)] * clients, seconds)


if __name__ == "__main__":
    main()
