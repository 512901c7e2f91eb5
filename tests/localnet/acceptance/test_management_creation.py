"""Management canister: creating and deleting canisters."""

from __future__ import annotations

import pytest

from mainer_nb.localnet import cycles
from mainer_nb.localnet.errors import Reject
from mainer_nb.protocol import principal
from tests.localnet.acceptance.proxy import PROXY, Proxy, rejected
from tests.localnet.driver import ALICE, BOB, INSTALL, Driver, eventually

CREATE = "provisional_create_canister_with_cycles"


def test_a_created_canister_is_empty_and_running(ic: Driver) -> None:
    """a created canister is empty, running and controlled by its creator"""
    status = ic.manage("canister_status", {"canister_id": ic.create()})
    assert status["status"] == {"running": None}
    assert status["module_hash"] is None
    assert status["settings"]["controllers"] == [ALICE]
    assert status["version"] == 0


def test_provisional_amount(ic: Driver) -> None:
    """provisional_create_canister_with_cycles gives the amount asked for, or 100 T cycles"""
    given = ic.manage(CREATE, {"amount": 7_000_000_000_000})["canister_id"]
    default = ic.manage(CREATE, {})["canister_id"]
    assert ic.cycles(given) == 7_000_000_000_000
    assert ic.cycles(default) == 100_000_000_000_000


def test_specified_id(ic: Driver) -> None:
    """provisional_create_canister_with_cycles uses specified_id"""
    wanted = principal.canister_id(1234)
    assert ic.manage(CREATE, {"specified_id": wanted}) == {"canister_id": wanted}


def test_specified_id_taken(ic: Driver) -> None:
    """a specified_id that is taken is rejected with code 5"""
    taken = ic.create()
    rejected(ic.manage(CREATE, {"specified_id": taken}), 5, "already installed", "IC0538")


def test_specified_id_out_of_range(ic: Driver) -> None:
    """a specified_id outside of the canister ranges of the subnet is rejected with code 4"""
    rejected(ic.manage(CREATE, {"specified_id": ALICE}), 4, "specified ID", "IC0405")


def test_ids_are_not_given_twice(ic: Driver) -> None:
    """new canisters step over ids that were specified, and ids of deleted canisters are not used again"""
    first = ic.create()
    ic.manage(CREATE, {"specified_id": principal.canister_id(principal.canister_index(first) + 1)})
    ic.manage("stop_canister", {"canister_id": first})
    assert ic.manage("delete_canister", {"canister_id": first}) is None
    third = ic.create()
    assert principal.canister_index(third) == principal.canister_index(first) + 2


@pytest.mark.parametrize("distance", [0, 1000])
def test_specified_id_deleted(ic: Driver, distance: int) -> None:
    """the id of a deleted canister, specified or not, can neither be specified nor is it given to a new canister"""
    wanted = principal.canister_id(principal.canister_index(ic.create()) + 1 + distance)
    for _ in range(2):
        created = ic.manage(CREATE, {"specified_id": wanted})
        if isinstance(created, Reject):
            break
        ic.manage("stop_canister", {"canister_id": wanted})
        ic.manage("delete_canister", {"canister_id": wanted})
        ic.restart()
    rejected(created, 4, "was deleted", "IC0408")
    assert ic.create() != wanted


def test_create_canister_by_a_canister(ic: Driver) -> None:
    """create_canister called by a canister makes a canister with the cycles of the call, controlled by the caller"""
    proxy = Proxy(ic)
    made = proxy.manage("create_canister", {}, 3 * cycles.CANISTER_CREATION)["canister_id"]
    assert ic.cycles(made) == 2 * cycles.CANISTER_CREATION
    assert proxy.refunded == 0
    assert proxy.manage("canister_status", {"canister_id": made})["settings"]["controllers"] == [proxy.id]


def test_create_canister_needs_the_fee(ic: Driver) -> None:
    """create_canister with less than the fee is rejected, and the cycles go back"""
    proxy = Proxy(ic)
    sent = cycles.CANISTER_CREATION - 1
    outcome = proxy.manage("create_canister", {}, sent)
    rejected(outcome, 4, f"requires a fee of {cycles.CANISTER_CREATION}")
    assert f"only {sent} cycles were received" in outcome.message
    assert proxy.refunded == sent


def test_create_canister_by_a_user(ic: Driver) -> None:
    """create_canister called by a user is refused"""
    rejected(ic.manage("create_canister", {}), 4, "Only canisters can call ic00 method create_canister", "IC0406")


def test_create_with_settings(ic: Driver) -> None:
    """a canister is created with the settings given"""
    canister = ic.create(controllers=[BOB, ALICE], freezing_threshold=1000, wasm_memory_limit=5 * 2**20)
    settings = ic.manage("canister_status", {"canister_id": canister})["settings"]
    assert settings["controllers"] == [BOB, ALICE]
    assert settings["freezing_threshold"] == 1000
    assert settings["wasm_memory_limit"] == 5 * 2**20


def test_create_with_wrong_settings(ic: Driver) -> None:
    """a canister with settings out of range is not created"""
    outcome = ic.manage(CREATE, {"settings": {"compute_allocation": 101}})
    rejected(outcome, 5, "compute_allocation expected to be in the range [0..100], got 101", "IC0504")
    assert ic.network.subnet.canisters == {}


def test_creator_need_not_control(ic: Driver) -> None:
    """the creator of a canister does not control it unless it is among the controllers given"""
    canister = ic.create(controllers=[BOB])
    rejected(ic.manage("canister_status", {"canister_id": canister}), 5, "Only controllers", "IC0512")
    assert ic.manage("canister_status", {"canister_id": canister}, BOB)["settings"]["controllers"] == [BOB]


def test_canister_needs_creation(ic: Driver) -> None:
    """installing on an id that was never created is rejected with code 3"""
    rejected(ic.install(principal.canister_id(99), PROXY, INSTALL), 3, "not found", "IC0301")


def test_delete_needs_stop(ic: Driver) -> None:
    """a running canister is not deleted"""
    canister = ic.create(PROXY)
    rejected(
        ic.manage("delete_canister", {"canister_id": canister}), 5, "must be stopped before it is deleted", "IC0510"
    )


def test_deleted_is_gone(ic: Driver) -> None:
    """a deleted canister answers nothing any more"""
    canister = ic.create(PROXY)
    ic.manage("stop_canister", {"canister_id": canister})
    assert ic.manage("delete_canister", {"canister_id": canister}) is None
    for outcome in (
        ic.query(canister, "nothing"),
        ic.update(canister, "call"),
        ic.manage("canister_status", {"canister_id": canister}),
        ic.manage("start_canister", {"canister_id": canister}),
        ic.install(canister, PROXY, INSTALL),
    ):
        rejected(outcome, 3, "not found", "IC0301")


def test_deletion_leaves_no_files(ic: Driver) -> None:
    """a deleted canister and its snapshots leave nothing in the folder of the network"""
    canister = ic.create(PROXY)
    ic.manage("take_canister_snapshot", {"canister_id": canister})
    ic.manage("stop_canister", {"canister_id": canister})
    assert ic.manage("delete_canister", {"canister_id": canister}) is None
    eventually(lambda: not list(ic.folder.rglob("heap*")))
    assert ic.network.store.snapshots(canister) == []


def test_cannot_delete_itself(ic: Driver) -> None:
    """a canister cannot delete itself"""
    proxy = Proxy(ic)
    rejected(proxy.manage("delete_canister", {"canister_id": proxy.id}), 5, "cannot delete itself")


def test_deletion_discards_cycles(ic: Driver) -> None:
    """the cycles of a deleted canister are discarded, not given to who deletes it"""
    proxy = Proxy(ic)
    made = proxy.manage("create_canister", {}, 10**14)["canister_id"]
    before = ic.cycles(proxy.id)
    proxy.manage("stop_canister", {"canister_id": made})
    assert proxy.manage("delete_canister", {"canister_id": made}) is None
    assert ic.cycles(proxy.id) < before


@pytest.mark.parametrize("method", ["uninstall_code", "stop_canister", "delete_canister", "canister_status"])
def test_unknown_canisters(ic: Driver, method: str) -> None:
    """methods about a canister that does not exist are rejected with code 3"""
    rejected(ic.manage(method, {"canister_id": principal.canister_id(5)}), 3, "not found", "IC0301")
