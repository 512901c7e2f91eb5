"""Management canister: starting and stopping."""

from __future__ import annotations

import pytest

from mainer_nb.localnet import cycles, management
from mainer_nb.localnet.errors import Reply
from mainer_nb.protocol import principal
from mainer_nb.protocol.candid import encode
from tests.localnet.acceptance.proxy import PROXY, Proxy, rejected
from tests.localnet.driver import BOB, UPGRADE, Driver, eventually


def status(ic: Driver, canister: bytes) -> str:
    return str(next(iter(ic.manage("canister_status", {"canister_id": canister})["status"])))


def open_call(ic: Driver, canister: bytes) -> tuple[bytes, bytes]:
    """A call to `canister`, a proxy, that stays open: its request, and the canister that holds it up."""
    waiting = ic.create(PROXY)
    ic.hold(waiting)
    request = ic.submit(canister, "call", bytes([len(waiting)]) + waiting + b"\4call" + bytes(8))
    assert isinstance(request, bytes)
    eventually(lambda: ic.network.subnet.canisters[canister].state.callbacks)
    return request, waiting


def stop(ic: Driver, canister: bytes) -> bytes:
    """Asks for `canister` to be stopped; the request."""
    described = management.INTERFACE.methods["stop_canister"]
    arg = encode(described.args, [{"canister_id": canister}])
    request = ic.submit(principal.MANAGEMENT, "stop_canister", arg)
    assert isinstance(request, bytes)
    return request


def test_stop_and_start(ic: Driver) -> None:
    """a canister without open calls is stopped at once, and can be started again"""
    canister = ic.create(PROXY)
    assert ic.manage("stop_canister", {"canister_id": canister}) is None
    assert status(ic, canister) == "stopped"
    assert ic.manage("start_canister", {"canister_id": canister}) is None
    assert status(ic, canister) == "running"


def test_repeated(ic: Driver) -> None:
    """stopping a stopped canister and starting a running one change nothing"""
    canister = ic.create(PROXY)
    for method in ("start_canister", "stop_canister", "stop_canister"):
        assert ic.manage(method, {"canister_id": canister}) is None
    assert status(ic, canister) == "stopped"


def test_stopped_canisters_reject(ic: Driver) -> None:
    """a stopped canister answers neither updates nor queries"""
    canister = ic.create(PROXY)
    ic.manage("stop_canister", {"canister_id": canister})
    for outcome in (ic.update(canister, "nothing"), ic.query(canister, "nothing")):
        rejected(outcome, 5, "is stopped", "IC0508")


def test_upgrade_while_stopped(ic: Driver) -> None:
    """a stopped canister can be upgraded and stays stopped"""
    canister = ic.create(PROXY)
    ic.manage("stop_canister", {"canister_id": canister})
    assert ic.install(canister, PROXY, UPGRADE) is None
    assert status(ic, canister) == "stopped"


def test_stopping(ic: Driver) -> None:
    """a canister with open calls is stopping: it rejects new calls and is stopped when the open ones are done"""
    proxy = Proxy(ic)
    request, waiting = open_call(ic, proxy.id)
    stopping = [stop(ic, proxy.id), stop(ic, proxy.id)]
    eventually(lambda: status(ic, proxy.id) == "stopping")
    rejected(ic.update(proxy.id, "call"), 5, "is stopping", "IC0509")
    rejected(ic.query(proxy.id, "nothing"), 5, "is not running", "IC0509")
    ic.go_on(waiting)
    assert isinstance(ic.response(request), Reply)
    for outcome in stopping:
        assert isinstance(ic.response(outcome), Reply)
    assert status(ic, proxy.id) == "stopped"


def test_start_while_stopping(ic: Driver) -> None:
    """starting a stopping canister rejects the calls that wait for it to stop"""
    proxy = Proxy(ic)
    _, waiting = open_call(ic, proxy.id)
    stopping = stop(ic, proxy.id)
    eventually(lambda: status(ic, proxy.id) == "stopping")
    assert ic.manage("start_canister", {"canister_id": proxy.id}) is None
    rejected(ic.response(stopping), 5, "stop request was cancelled", "IC0511")
    assert status(ic, proxy.id) == "running"
    ic.go_on(waiting)


def test_stop_times_out(ic: Driver) -> None:
    """a call to stop is rejected after five minutes; the canister goes on stopping"""
    proxy = Proxy(ic)
    _, waiting = open_call(ic, proxy.id)
    stopping = stop(ic, proxy.id)
    eventually(lambda: status(ic, proxy.id) == "stopping")
    ic.network.clock.advance(301 * cycles.SECOND)
    rejected(ic.response(stopping), 2, "Stop canister request timed out", "IC0206")
    assert status(ic, proxy.id) == "stopping"
    ic.go_on(waiting)
    eventually(lambda: status(ic, proxy.id) == "stopped")


def test_stopping_cannot_be_deleted(ic: Driver) -> None:
    """a stopping canister cannot be deleted"""
    proxy = Proxy(ic)
    _, waiting = open_call(ic, proxy.id)
    stop(ic, proxy.id)
    eventually(lambda: status(ic, proxy.id) == "stopping")
    rejected(ic.manage("delete_canister", {"canister_id": proxy.id}), 5, "must be stopped", "IC0510")
    ic.go_on(waiting)


@pytest.mark.parametrize("method", ["start_canister", "stop_canister"])
def test_only_controllers(ic: Driver, method: str) -> None:
    """only controllers start and stop a canister"""
    rejected(ic.manage(method, {"canister_id": ic.create(PROXY)}, BOB), 5, "Only controllers", "IC0512")


def test_version_counts_status(ic: Driver) -> None:
    """the canister version goes up when the status changes, and only then"""
    canister = ic.create()
    state = ic.network.subnet.canisters[canister].state
    ic.manage("start_canister", {"canister_id": canister})
    assert state.version == 0
    ic.manage("stop_canister", {"canister_id": canister})
    after = state.version
    assert after > 0
    ic.manage("start_canister", {"canister_id": canister})
    assert state.version == after + 1


def test_stopped_over_restart(ic: Driver) -> None:
    """a stopped canister is stopped after a restart of the network"""
    canister = ic.create(PROXY)
    ic.manage("stop_canister", {"canister_id": canister})
    ic.restart()
    assert status(ic, canister) == "stopped"


def test_stop_empty(ic: Driver) -> None:
    """an empty canister can be stopped and started"""
    canister = ic.create()
    assert ic.manage("stop_canister", {"canister_id": canister}) is None
    assert ic.manage("start_canister", {"canister_id": canister}) is None
