"""Management canister: settings, their ranges and effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mainer_nb.localnet import cycles
from mainer_nb.localnet.charging import charge_storage
from mainer_nb.localnet.errors import Reject, Reply
from tests.localnet.acceptance.proxy import Proxy, rejected
from tests.localnet.driver import ALICE, BOB, EMPTY, INSTALL, UPGRADE, Driver, eventually, module

DOES_NOT_HOLD = {
    "a compute allocation guarantees its share of the processors": "threads are shared by all, allocated or not",
    "a new canister has a wasm_memory_limit of 3 GiB, as mainnet gives it": "the specification's default is no limit",
}

#: Grows its memories as it is told; remembers whether the low memory hook ran.
GROWER = module(
    """
  (global $hooks (mut i64) (i64.const 0))
  (func $pages (result i32) (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 4)) (i32.load (i32.const 0)))
  (func (export "canister_update heap") (call $reply_i64 (i64.extend_i32_s (memory.grow (call $pages)))))
  (func (export "canister_query heap_query") (call $reply_i64 (i64.extend_i32_s (memory.grow (call $pages)))))
  (func (export "canister_update stable")
    (call $reply_i64 (call $stable_grow (i64.extend_i32_u (call $pages)))))
  (func (export "canister_global_timer") (drop (memory.grow (i32.const 40))))
  (func (export "canister_update timer") (drop (call $timer_set (i64.const 1))) (call $reply))
  (func (export "canister_query size") (call $reply_i32 (memory.size)))
  (func (export "canister_on_low_wasm_memory") (global.set $hooks (i64.add (global.get $hooks) (i64.const 1))))
  (func (export "canister_query hooks") (call $reply_i64 (global.get $hooks)))
""",
    "(memory 1 200)",
)
PAGE = 65536


def pages(count: int) -> bytes:
    return count.to_bytes(4, "little")


def settings(ic: Driver, canister: bytes) -> dict[str, Any]:
    found: dict[str, Any] = ic.manage("canister_status", {"canister_id": canister})["settings"]
    return found


def change(ic: Driver, canister: bytes, sender: bytes = ALICE, **values: Any) -> Any:
    return ic.manage("update_settings", {"canister_id": canister, "settings": values}, sender)


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("compute_allocation", 100),
        ("memory_allocation", 2**64 - 1),
        ("freezing_threshold", 2**64 - 1),
        ("reserved_cycles_limit", 2**128 - 1),
        ("wasm_memory_limit", 2**48),
        ("wasm_memory_threshold", 2**48),
    ],
)
def test_ranges(ic: Driver, name: str, largest: int) -> None:
    """a value beyond the range of a numeric setting is rejected and changes nothing"""
    canister = ic.create()
    before = settings(ic, canister)
    outcome = change(ic, canister, ALICE, **{name: largest + 1})
    rejected(outcome, 5, f"{name} expected to be in the range [0..{largest}]")
    assert settings(ic, canister) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("compute_allocation", 1),
        ("memory_allocation", 2**30),
        ("freezing_threshold", 0),
        ("reserved_cycles_limit", 2**128 - 1),
        ("wasm_memory_limit", 2**48),
        ("wasm_memory_threshold", 2**48),
        ("log_visibility", {"public": None}),
        ("log_visibility", {"allowed_viewers": [BOB]}),
        ("environment_variables", [{"name": "MODEL", "value": "qwen"}]),
    ],
)
def test_values_are_kept(ic: Driver, name: str, value: object) -> None:
    """a setting takes the value given, keeps it over a restart, and leaves the other settings as they are"""
    canister = ic.create()
    before = settings(ic, canister)
    assert change(ic, canister, ALICE, **{name: value}) is None
    assert settings(ic, canister) == {**before, name: value}
    ic.restart()
    assert settings(ic, canister) == {**before, name: value}


def test_defaults(ic: Driver) -> None:
    """the defaults are those of the specification"""
    assert settings(ic, ic.create()) == {
        "controllers": [ALICE],
        "compute_allocation": 0,
        "memory_allocation": 0,
        "freezing_threshold": 2_592_000,
        "reserved_cycles_limit": 5_000_000_000_000,
        "log_visibility": {"controllers": None},
        "wasm_memory_limit": 0,
        "wasm_memory_threshold": 0,
        "environment_variables": [],
        "minimum_incoming_canister_call_cycles": 0,
        "log_memory_limit": 4096,
        "snapshot_visibility": {"controllers": None},
        "status_visibility": {"controllers": None},
    }


def test_change_of_controllers(ic: Driver) -> None:
    """controllers can be replaced; the former ones lose their rights at once"""
    canister = ic.create()
    assert change(ic, canister, controllers=[BOB]) is None
    rejected(change(ic, canister, controllers=[ALICE]), 5, "Only controllers", "IC0512")
    assert change(ic, canister, BOB, controllers=[ALICE, BOB]) is None


def test_number_of_controllers(ic: Driver) -> None:
    """a canister has at most 10 controllers"""
    canister = ic.create()
    many = [ALICE, *(bytes([i]) * 29 for i in range(10))]
    rejected(change(ic, canister, controllers=many), 5, "'controllers' length exceeds maximum size allowed of 10.")
    assert change(ic, canister, controllers=many[:10]) is None


def test_no_controllers(ic: Driver) -> None:
    """a canister may have no controllers at all"""
    canister = ic.create()
    assert change(ic, canister, controllers=[]) is None
    rejected(change(ic, canister, controllers=[ALICE]), 5, "Only controllers")


def test_canister_as_controller(ic: Driver) -> None:
    """a canister can control another, and itself"""
    proxy = Proxy(ic)
    other = ic.create(controllers=[proxy.id])
    for canister in (other, proxy.id):
        changed = {"canister_id": canister, "settings": {"freezing_threshold": 12345}}
        assert proxy.manage("update_settings", changed) is None
        assert proxy.manage("canister_status", {"canister_id": canister})["settings"]["freezing_threshold"] == 12345


def test_foreign_canister(ic: Driver) -> None:
    """a canister that is no controller cannot change settings"""
    outcome = Proxy(ic).manage("update_settings", {"canister_id": ic.create(), "settings": {}})
    rejected(outcome, 5, "Only the controllers of the canister")


def test_log_viewers(ic: Driver) -> None:
    """at most 10 principals may be allowed to view the logs"""
    canister, many = ic.create(), [bytes([i]) * 29 for i in range(11)]
    rejected(change(ic, canister, log_visibility={"allowed_viewers": many}), 5, "allowed_viewers")
    assert change(ic, canister, log_visibility={"allowed_viewers": many[:10]}) is None


def test_variables_limits(ic: Driver) -> None:
    """there are at most 20 environment variables, with names and values of at most 128 bytes"""
    canister = ic.create()
    many = [{"name": f"N{i}", "value": ""} for i in range(21)]
    rejected(
        change(ic, canister, environment_variables=many), 4, "Too many environment variables: 21 (max: 20)", "IC0408"
    )
    for part in ("name", "value"):
        long = {"name": "N", "value": "V", part: "x" * 129}
        outcome = change(ic, canister, environment_variables=[long])
        rejected(outcome, 4, "exceeds the maximum allowed length of 128")
    longest = [{"name": "n" * 128, "value": "v" * 128}, *many[:19]]
    assert change(ic, canister, environment_variables=longest) is None


def test_variables_names_differ(ic: Driver) -> None:
    """environment variables must have different names"""
    twice = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    rejected(change(ic, ic.create(), environment_variables=twice), 5, "different names")


def test_memory_allocation_is_no_bound(ic: Driver) -> None:
    """heap, stable memory, code and snapshots may take more memory than the memory allocation"""
    canister = ic.create(GROWER)
    used = ic.manage("canister_status", {"canister_id": canister})["memory_size"]
    assert change(ic, canister, memory_allocation=used + 12 * PAGE) is None
    assert ic.update(canister, "heap", pages(20)) == Reply((1).to_bytes(8, "little"))
    assert ic.update(canister, "stable", pages(20)) == Reply((0).to_bytes(8, "little"))
    assert ic.install(canister, GROWER, UPGRADE, EMPTY) is None
    assert not isinstance(ic.manage("take_canister_snapshot", {"canister_id": canister}), Reject)
    assert not isinstance(ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"chunk"}), Reject)
    assert ic.manage("canister_status", {"canister_id": canister})["memory_size"] > used + 30 * PAGE


def test_memory_allocation_below_use(ic: Driver) -> None:
    """a memory allocation below what the canister uses is accepted, and costs nothing more than what it uses"""
    canister = ic.create(GROWER)
    before = ic.manage("canister_status", {"canister_id": canister})["idle_cycles_burned_per_day"]
    assert change(ic, canister, memory_allocation=1000) is None
    assert settings(ic, canister)["memory_allocation"] == 1000
    assert ic.manage("canister_status", {"canister_id": canister})["idle_cycles_burned_per_day"] == before


def test_memory_allocation_of_subnet(ic: Driver) -> None:
    """a memory allocation beyond the memory of the subnet is rejected with code 1"""
    canister = ic.create()
    outcome = change(ic, canister, memory_allocation=2 * 2**40 + 1)
    rejected(outcome, 1, "are available in the subnet", "IC0101")


def test_memory_allocation_needs_cycles(ic: Driver) -> None:
    """a memory allocation that would freeze the canister is rejected"""
    canister = ic.create(cycles=10**12)
    outcome = change(ic, canister, memory_allocation=100 * 2**30)
    rejected(outcome, 5, "Cannot increase memory allocation to 107374182400 due to insufficient cycles.", "IC0531")


def test_compute_allocation_needs_cycles(ic: Driver) -> None:
    """a compute allocation that would freeze the canister is rejected"""
    outcome = change(ic, ic.create(cycles=10**12), compute_allocation=50)
    rejected(outcome, 5, "Cannot increase compute allocation to 50 due to insufficient cycles.", "IC0530")


def test_compute_capacity(ic: Driver) -> None:
    """compute allocations of more than the subnet can give, 299% in all, are rejected"""
    first, second = ic.create(cycles=10**17, compute_allocation=100), ic.create(cycles=10**17)
    ic.create(cycles=10**17, compute_allocation=100)
    ic.create(cycles=10**17, compute_allocation=40)
    text = (
        "Canister requested a compute allocation of 60% which cannot be satisfied because the Subnet's remaining"
        " compute capacity is 59%."
    )
    rejected(change(ic, second, compute_allocation=60), 1, text, "IC0101")
    creation = {"settings": {"compute_allocation": 60}, "amount": 10**17}
    rejected(ic.manage("provisional_create_canister_with_cycles", creation), 1, text, "IC0101")
    assert change(ic, second, compute_allocation=59) is None
    assert change(ic, second, compute_allocation=59) is None
    assert change(ic, first, compute_allocation=80) is None
    assert change(ic, second, compute_allocation=79) is None


def test_allocations_cost(ic: Driver) -> None:
    """allocations are part of the idle cycles burned per day"""
    canister = ic.create(cycles=10**16)

    def idle() -> int:
        return int(ic.manage("canister_status", {"canister_id": canister})["idle_cycles_burned_per_day"])

    assert change(ic, canister, compute_allocation=10) is None
    assert idle() - 10 * 10_000_000 * 86400 in range(10**7)
    assert change(ic, canister, compute_allocation=0, memory_allocation=2 * 2**30) is None
    assert idle() == 2 * 127_000 * 86400


def test_wasm_memory_limit_updates(ic: Driver) -> None:
    """an update method that leaves more heap than wasm_memory_limit traps"""
    canister = ic.create(GROWER)
    assert change(ic, canister, wasm_memory_limit=4 * PAGE) is None
    assert ic.update(canister, "heap", pages(3)) == Reply((1).to_bytes(8, "little"))
    outcome = ic.update(canister, "heap", pages(1))
    refused = rejected(outcome, 5, f"exceeded its current Wasm memory limit of {4 * PAGE} bytes", "IC0539")
    assert f"peak Wasm memory usage was {5 * PAGE} bytes" in refused.message
    assert ic.number(canister, "size") == 4


def test_wasm_memory_limit_queries(ic: Driver) -> None:
    """wasm_memory_limit is ignored for query methods"""
    canister = ic.create(GROWER)
    assert change(ic, canister, wasm_memory_limit=2 * PAGE) is None
    assert ic.query(canister, "heap_query", pages(5)) == Reply((1).to_bytes(8, "little"))


def test_wasm_memory_limit_timers(ic: Driver) -> None:
    """wasm_memory_limit is ignored for the global timer"""
    canister = ic.create(GROWER)
    assert change(ic, canister, wasm_memory_limit=2 * PAGE) is None
    ic.update(canister, "timer")
    eventually(lambda: ic.number(canister, "size") == 41)


def test_wasm_memory_limit_installation(ic: Driver) -> None:
    """an installation that leaves more heap than wasm_memory_limit is rejected"""
    canister = ic.create(wasm_memory_limit=PAGE - 1)
    rejected(ic.install(canister, GROWER, INSTALL), 5, "exceeded its current Wasm memory limit", "IC0539")
    assert change(ic, canister, wasm_memory_limit=PAGE) is None
    assert ic.install(canister, GROWER, INSTALL) is None


def test_low_memory_hook(ic: Driver) -> None:
    """the low memory hook runs once when less than wasm_memory_threshold is left"""
    canister = ic.create(GROWER)
    assert change(ic, canister, wasm_memory_limit=20 * PAGE, wasm_memory_threshold=10 * PAGE) is None
    ic.update(canister, "heap", pages(8))
    assert ic.network.scheduler.wait_until_idle(10)
    assert ic.number(canister, "hooks") == 0
    ic.update(canister, "heap", pages(2))
    eventually(lambda: ic.number(canister, "hooks") == 1)
    ic.update(canister, "heap", pages(1))
    assert ic.network.scheduler.wait_until_idle(10)
    assert ic.number(canister, "hooks") == 1


def test_low_memory_hook_again(ic: Driver) -> None:
    """the low memory hook runs again if there was enough memory in the meantime"""
    canister = ic.create(GROWER)
    assert change(ic, canister, wasm_memory_limit=20 * PAGE, wasm_memory_threshold=10 * PAGE) is None
    ic.update(canister, "heap", pages(11))
    eventually(lambda: ic.number(canister, "hooks") == 1)
    assert change(ic, canister, wasm_memory_limit=40 * PAGE) is None
    assert change(ic, canister, wasm_memory_limit=20 * PAGE) is None
    eventually(lambda: ic.number(canister, "hooks") == 2)


def test_low_memory_hook_by_settings(ic: Driver) -> None:
    """the low memory hook runs when a change of settings leaves too little memory"""
    canister = ic.create(GROWER)
    assert change(ic, canister, wasm_memory_limit=2 * PAGE, wasm_memory_threshold=2 * PAGE) is None
    eventually(lambda: ic.number(canister, "hooks") == 1)


def test_low_memory_hook_waits_for_start(ic: Driver) -> None:
    """the low memory hook of a stopped canister runs when the canister is started"""
    canister = ic.create(GROWER)
    ic.manage("stop_canister", {"canister_id": canister})
    assert change(ic, canister, wasm_memory_limit=2 * PAGE, wasm_memory_threshold=2 * PAGE) is None
    ic.manage("start_canister", {"canister_id": canister})
    eventually(lambda: ic.number(canister, "hooks") == 1)


def test_freezing_threshold_freezes(ic: Driver) -> None:
    """calls to a canister whose balance is below its freezing threshold are rejected with code 2"""
    canister = ic.create(GROWER, cycles=10**12)
    assert change(ic, canister, freezing_threshold=2**40) is None
    rejected(ic.update(canister, "heap", pages(1)), 2, "is out of cycles: please top up the canister with", "IC0207")
    rejected(ic.query(canister, "size"), 2, "is unable to process query calls because it's frozen", "IC0207")


def test_thawing(ic: Driver) -> None:
    """the settings of a frozen canister can be changed, which thaws it"""
    canister = ic.create(GROWER, cycles=10**12)
    assert change(ic, canister, freezing_threshold=2**40) is None
    rejected(ic.manage("stop_canister", {"canister_id": canister}), 2, "out of cycles")
    assert change(ic, canister, freezing_threshold=0) is None
    assert ic.update(canister, "heap", pages(1)) == Reply((1).to_bytes(8, "little"))


def test_growth_must_be_affordable(ic: Driver) -> None:
    """a message that grows the memory so that the canister would be frozen traps"""
    canister = ic.create(GROWER, cycles=10**12)
    assert change(ic, canister, freezing_threshold=3 * 10**9) is None
    outcome = ic.update(canister, "stable", pages(60_000))
    rejected(outcome, 5, "Canister cannot grow memory by 3932160000 bytes due to insufficient cycles.", "IC0532")
    assert ic.update(canister, "stable", pages(1)) == Reply(bytes(8))


def test_reservation(ic: Driver) -> None:
    """on a subnet with more than 750 GiB in use, a memory allocation sets cycles aside, which count as reserved"""
    first, second = ic.create(cycles=10**18), ic.create(cycles=10**18)
    assert change(ic, first, memory_allocation=1400 * 2**30) is None
    before = ic.cycles(second)
    assert change(ic, second, memory_allocation=10 * 2**30, reserved_cycles_limit=10**16) is None
    reserved = ic.manage("canister_status", {"canister_id": second})["reserved_cycles"]
    seconds = 10 * 365 * 86400 * (1400 - 750) // (2048 - 750)
    assert abs(reserved - 10 * 127_000 * seconds) < reserved / 100
    assert before - ic.cycles(second) >= reserved


def full(ic: Driver) -> None:
    """Has a canister be promised 1400 GiB of the subnet's memory."""
    assert change(ic, ic.create(cycles=10**18), memory_allocation=1400 * 2**30) is None


#: Cycles that are set aside for a byte when 1400 GiB of the subnet are in use.
SET_ASIDE = 127_000 * (10 * 365 * 86400 * (1400 - 750) // (2048 - 750)) / 2**30


def reserved_cycles(ic: Driver, canister: bytes) -> int:
    return int(ic.manage("canister_status", {"canister_id": canister})["reserved_cycles"])


def test_reservation_by_use(ic: Driver) -> None:
    """memory that a message, an installation, a snapshot or a chunk adds on a full subnet sets cycles aside"""
    full(ic)
    canister = ic.create(cycles=10**15)

    def set_aside(more: Callable[[], object]) -> float:
        """Cycles set aside for each byte of memory that `more` adds."""
        before, balance = ic.manage("canister_status", {"canister_id": canister}), ic.cycles(canister)
        assert not isinstance(more(), Reject)
        after = ic.manage("canister_status", {"canister_id": canister})
        # Meanwhile the canister pays for what it keeps, out of the reserved cycles.
        reserved = after["reserved_cycles"] - before["reserved_cycles"]
        assert balance - ic.cycles(canister) >= reserved
        return float(reserved / (after["memory_size"] - before["memory_size"]))

    for more in (
        lambda: ic.install(canister, GROWER, INSTALL),
        lambda: ic.update(canister, "heap", pages(5)),
        lambda: ic.update(canister, "stable", pages(5)),
        lambda: ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"chunk"}),
        lambda: ic.manage("take_canister_snapshot", {"canister_id": canister}),
        lambda: change(ic, canister, log_memory_limit=2**20),
    ):
        assert set_aside(more) == pytest.approx(SET_ASIDE, rel=0.01)


def test_no_reservation_within_allocation(ic: Driver) -> None:
    """memory that a canister was promised already sets no further cycles aside"""
    full(ic)
    canister = ic.create(GROWER, cycles=10**15)
    assert change(ic, canister, memory_allocation=2**30, reserved_cycles_limit=10**15) is None
    before = reserved_cycles(ic, canister)
    assert ic.update(canister, "stable", pages(100)) == Reply(bytes(8))
    assert reserved_cycles(ic, canister) <= before


def test_reservation_limit_of_growth(ic: Driver) -> None:
    """memory whose reservation is beyond reserved_cycles_limit is not added: the message or installation fails"""
    canister = ic.create(GROWER, cycles=10**15)
    assert change(ic, canister, reserved_cycles_limit=0) is None
    assert ic.update(canister, "stable", pages(1)) == Reply(bytes(8))
    full(ic)
    before = ic.cycles(canister)
    text = "due to its reserved cycles limit. The current limit (0) would be exceeded by"
    for entry in ("heap", "stable"):
        rejected(ic.update(canister, entry, pages(1)), 5, text, "IC0534")
    rejected(ic.manage("take_canister_snapshot", {"canister_id": canister}), 5, text, "IC0534")
    rejected(ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"x"}), 5, text, "IC0534")
    empty = ic.create(cycles=10**15, reserved_cycles_limit=0)
    rejected(ic.install(empty, GROWER, INSTALL), 5, text, "IC0534")
    assert ic.number(canister, "size") == 1
    assert reserved_cycles(ic, canister) == 0
    assert before - ic.cycles(canister) < 10**9


def test_reserved_cycles_keep_alive(ic: Driver) -> None:
    """a canister whose balance is 0 keeps its code as long as it has reserved cycles"""
    full(ic)
    canister = ic.create(GROWER, cycles=10**15)
    assert change(ic, canister, memory_allocation=2**30, reserved_cycles_limit=10**15, freezing_threshold=0) is None
    state = ic.network.subnet.canisters[canister].state
    assert state.reserved > 0
    with ic.network.subnet.step() as step:
        state.cycles = 0
        step.touch(ic.network.subnet.canisters[canister])
    ic.tick()
    assert state.module is not None
    with ic.network.subnet.step() as step:
        state.reserved = 0
        step.touch(ic.network.subnet.canisters[canister])
    ic.tick()
    assert state.module is None


def test_reservation_limit(ic: Driver) -> None:
    """an allocation that needs more reserved cycles than reserved_cycles_limit is rejected"""
    first, second = ic.create(cycles=10**18), ic.create(cycles=10**18)
    assert change(ic, first, memory_allocation=1400 * 2**30) is None
    outcome = change(ic, second, memory_allocation=10 * 2**30, reserved_cycles_limit=10**12)
    rejected(outcome, 5, "due to its reserved cycles limit. The current limit (1000000000000)", "IC0533")


def test_reservation_limit_too_low(ic: Driver) -> None:
    """reserved_cycles_limit cannot be set below the reserved cycles"""
    first, second = ic.create(cycles=10**18), ic.create(cycles=10**18)
    assert change(ic, first, memory_allocation=1400 * 2**30) is None
    assert change(ic, second, memory_allocation=10 * 2**30, reserved_cycles_limit=10**16) is None
    rejected(change(ic, second, reserved_cycles_limit=1), 5, "Cannot set the reserved cycles limit 1 below", "IC0540")


def test_reserved_cycles_pay_storage(ic: Driver) -> None:
    """reserved cycles pay for storage before the balance does"""
    first, second = ic.create(cycles=10**18), ic.create(cycles=10**18)
    assert change(ic, first, memory_allocation=1400 * 2**30) is None
    assert change(ic, second, memory_allocation=10 * 2**30, reserved_cycles_limit=10**16) is None
    state = ic.network.subnet.canisters[second].state
    balance, reserved = state.cycles, state.reserved
    ic.network.clock.advance(1000 * cycles.SECOND)
    with ic.network.subnet.step() as step:
        charge_storage(step, ic.network.subnet.canisters[second])
    assert state.cycles == balance
    assert reserved - state.reserved >= 10 * 127_000 * 1000


def test_settings_survive_upgrades(ic: Driver) -> None:
    """an upgrade leaves the settings as they are"""
    canister = ic.create(GROWER, freezing_threshold=77)
    assert ic.install(canister, GROWER, UPGRADE, EMPTY) is None
    assert settings(ic, canister)["freezing_threshold"] == 77


def test_version_counts_settings(ic: Driver) -> None:
    """every change of settings increments the canister version"""
    canister = ic.create()
    for version in (1, 2):
        change(ic, canister, freezing_threshold=5)
        assert ic.manage("canister_status", {"canister_id": canister})["version"] == version
    assert isinstance(change(ic, canister, compute_allocation=500), Reject)
    assert ic.manage("canister_status", {"canister_id": canister})["version"] == 2
