"""Cycles: what things cost, who pays, and what happens without."""

from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from mainer_nb.localnet import cycles
from mainer_nb.localnet.charging import charge_storage
from mainer_nb.localnet.errors import Reply
from tests.localnet.acceptance.proxy import PROXY, Proxy, rejected
from tests.localnet.driver import ALICE, BOB, INSTALL, Driver, eventually, module

#: Executes a loop as often as its argument says.
WORKER = """
  (func $loop (param $n i64)
    (loop $again
      (local.set $n (i64.sub (local.get $n) (i64.const 1)))
      (br_if $again (i64.gt_s (local.get $n) (i64.const 0)))))
  (func (export "canister_update work") (local $before i64)
    (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 8))
    (call $loop (i64.load (i32.const 0)))
    (call $reply_i64 (call $performance (i32.const 0))))
  (func (export "canister_update nothing") (call $reply))
  (func (export "canister_query look") (call $reply))
  (func (export "canister_update grow") (drop (memory.grow (i32.const 1000))) (call $reply))
"""
SMALL = module(WORKER)


def spent(ic: Driver, canister: bytes, before: int) -> int:
    return before - ic.cycles(canister)


def test_update_price(ic: Driver) -> None:
    """an update costs reception, bytes, execution and instructions"""
    canister = ic.create(SMALL)
    before = ic.cycles(canister)
    outcome = ic.update(canister, "work", (10_000_000).to_bytes(8, "little"))
    assert isinstance(outcome, Reply)
    instructions = int.from_bytes(outcome.data, "little")
    assert instructions > 30_000_000
    fixed = 1_200_000 + 2_000 * (len("work") + 8) + 5_000_000
    assert abs(spent(ic, canister, before) - fixed - instructions) < 100_000


def test_large_argument(ic: Driver) -> None:
    """each byte of an ingress message costs 2,000 cycles"""
    canister = ic.create(SMALL)
    prices = []
    for size in (0, 100_000):
        before = ic.cycles(canister)
        ic.update(canister, "nothing", bytes(size))
        prices.append(spent(ic, canister, before))
    assert abs(prices[1] - prices[0] - 2_000 * 100_000) < 10_000


def test_queries_are_free(ic: Driver) -> None:
    """query calls cost nothing"""
    canister = ic.create(SMALL)
    state = ic.network.subnet.canisters[canister].state
    burned = state.burned
    for _ in range(5):
        ic.query(canister, "look")
    assert state.burned - burned < 100_000  # storage


def test_call_price(ic: Driver) -> None:
    """a call costs its caller 260,000 cycles, 1,000 a byte, and the response's bytes and execution"""
    proxy, worker = Proxy(ic), ic.create(SMALL)
    before = ic.cycles(proxy.id)
    assert proxy.call(worker, "nothing", bytes(10_000)) == Reply(b"")
    sent = 1_200_000 + 2_000 * 10_100
    call = 260_000 + 1_000 * (10_000 + len("nothing"))
    assert abs(spent(ic, proxy.id, before) - sent - call - 2 * 5_000_000) < 500_000


def test_reserve_comes_back(ic: Driver) -> None:
    """a caller pays for the largest possible response in advance, and gets back what the real one does not cost"""
    proxy, worker = Proxy(ic), ic.create(SMALL)
    before = ic.cycles(proxy.id)
    proxy.call(worker, "nothing", b"")
    assert spent(ic, proxy.id, before) < 20_000_000 < cycles.response_reserve(40_000_000_000)


def test_memory64_instructions(ic: Driver) -> None:
    """instructions of a module with a 64-bit memory cost twice as much"""
    text = '(memory i64 1) (func (export "canister_init") (local $n i64) (local.set $n (i64.const 10000000))' + (
        "(loop $again (local.set $n (i64.sub (local.get $n) (i64.const 1)))"
        " (br_if $again (i64.gt_s (local.get $n) (i64.const 0)))))"
    )
    prices = []
    for memory in ("i64", ""):
        canister = ic.create()
        before = ic.cycles(canister)
        assert (
            ic.install(canister, bytes(wat2wasm(f"(module {text.replace('i64 1)', memory + ' 1)')})")), INSTALL) is None
        )
        prices.append(spent(ic, canister, before) - cycles.ingress(300) - 5_000_000)
    assert prices[0] == pytest.approx(2 * prices[1], rel=0.05)


def test_trapping_costs(ic: Driver) -> None:
    """a message that traps costs what it has executed"""
    canister = ic.create(
        module(WORKER + '(func (export "canister_update fail") (call $loop (i64.const 1000000)) unreachable)')
    )
    before = ic.cycles(canister)
    ic.update(canister, "fail")
    assert spent(ic, canister, before) > 1_200_000 + 5_000_000 + 3_000_000


def test_storage_price(ic: Driver) -> None:
    """memory costs 127,000 cycles a GiB and second"""
    canister = ic.create(SMALL)
    ic.update(canister, "grow")
    found = ic.network.subnet.canisters[canister]
    with ic.network.subnet.step() as step:
        charge_storage(step, found)
        before = found.state.cycles
        ic.network.clock.advance(10_000 * cycles.SECOND)
        charge_storage(step, found)
    expected = 127_000 * 10_000 * found.state.memory_size() // 2**30
    assert before - found.state.cycles == pytest.approx(expected, rel=0.01)


def test_idle_cycles(ic: Driver) -> None:
    """idle_cycles_burned_per_day is the price of memory and allocations for a day"""
    canister = ic.create(SMALL)
    ic.update(canister, "grow")
    status = ic.manage("canister_status", {"canister_id": canister})
    assert status["idle_cycles_burned_per_day"] == status["memory_size"] * 127_000 * 86400 // 2**30


def test_management_calls_are_paid_by_the_managed(ic: Driver) -> None:
    """a user's management call is paid by the canister that it is about"""
    canister = ic.create()
    before = ic.cycles(canister)
    ic.manage("canister_status", {"canister_id": canister})
    assert spent(ic, canister, before) >= 1_200_000
    before = ic.cycles(canister)
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": bytes(100_000)})
    assert spent(ic, canister, before) > 2_000 * 100_000 + 200_000_000


def test_deposit_cycles(ic: Driver) -> None:
    """deposit_cycles adds the cycles of the call to any canister"""
    proxy, canister = Proxy(ic), ic.create(controllers=[BOB])
    before = ic.cycles(canister)
    assert proxy.manage("deposit_cycles", {"canister_id": canister}, 10**12) is None
    assert ic.cycles(canister) == before + 10**12
    assert proxy.refunded == 0


def test_deposit_by_user(ic: Driver) -> None:
    """deposit_cycles called by a user is refused"""
    outcome = ic.manage("deposit_cycles", {"canister_id": ic.create()})
    rejected(outcome, 4, "Only canisters can call ic00 method deposit_cycles", "IC0406")


def test_deposit_to_nobody(ic: Driver) -> None:
    """cycles deposited to a canister that does not exist go back"""
    proxy = Proxy(ic)
    missing = (99).to_bytes(8, "big") + b"\1\1"
    rejected(proxy.manage("deposit_cycles", {"canister_id": missing}, 10**12), 3, "not found")
    assert proxy.refunded == 10**12


def test_provisional_top_up(ic: Driver) -> None:
    """provisional_top_up_canister adds cycles to any canister, for anybody"""
    canister = ic.create()
    before = ic.cycles(canister)
    assert ic.manage("provisional_top_up_canister", {"canister_id": canister, "amount": 7}, BOB) is None
    assert ic.cycles(canister) == before + 7


def test_balance_limit(ic: Driver) -> None:
    """a balance never exceeds 2**128 - 1"""
    canister = ic.create()
    assert ic.manage("provisional_top_up_canister", {"canister_id": canister, "amount": 2**130}) is None
    assert ic.cycles(canister) == 2**128 - 1


def test_refund_of_management_calls(ic: Driver) -> None:
    """cycles sent with management calls that need none come back"""
    proxy = Proxy(ic)
    proxy.manage("canister_status", {"canister_id": proxy.id}, 10**9)
    assert proxy.refunded == 10**9


def test_ingress_without_cycles(ic: Driver) -> None:
    """an ingress message to a canister that cannot pay for it is refused with code 2"""
    canister = ic.create(SMALL, cycles=10**12, freezing_threshold=0)
    ic.network.subnet.canisters[canister].state.cycles = 1000
    rejected(ic.submit(canister, "nothing"), 2, "is out of cycles", "IC0207")
    rejected(ic.manage("canister_status", {"canister_id": canister}), 2, "is out of cycles", "IC0207")


def test_install_without_cycles(ic: Driver) -> None:
    """an installation that the canister cannot pay for is rejected"""
    canister = ic.create(cycles=10**10, freezing_threshold=0)
    rejected(ic.install(canister, PROXY, INSTALL), 2, "Canister installation failed with `Canister", "IC0207")


def test_out_of_cycles(ic: Driver) -> None:
    """a canister without cycles loses code, history, snapshots, allocations and log_memory_limit, but no controllers"""
    proxy, canister = Proxy(ic), ic.create(SMALL, cycles=10**12, memory_allocation=2**20, log_memory_limit=2**20)
    ic.manage("take_canister_snapshot", {"canister_id": canister})
    state = ic.network.subnet.canisters[canister].state
    with ic.network.subnet.lock:
        state.cycles = 10
    ic.network.clock.advance(10**7 * cycles.SECOND)
    eventually(lambda: state.module is None)
    assert ic.network.scheduler.wait_until_idle(10)
    info = proxy.manage("canister_info", {"canister_id": canister, "num_requested_changes": 10})
    assert info["recent_changes"] == []
    assert info["total_num_changes"] == 2
    assert info["controllers"] == [ALICE]
    assert ic.network.store.snapshots(canister) == []
    assert (state.settings.memory_allocation, state.settings.log_memory_limit) == (0, 4096)
    assert ic.manage("provisional_top_up_canister", {"canister_id": canister, "amount": 10**13}) is None
    assert ic.install(canister, SMALL, INSTALL) is None


def test_call_perform_without_cycles(ic: Driver) -> None:
    """a call that its caller cannot pay for is not made"""
    proxy, worker = Proxy(ic, 10**12), ic.create(SMALL)
    need = cycles.response_reserve(40_000_000_000)
    with ic.network.subnet.lock:
        ic.network.subnet.canisters[proxy.id].state.cycles = need + 10**6
    outcome = ic.update(proxy.id, "call", bytes([len(worker)]) + worker + b"\7nothing" + bytes(8))
    rejected(outcome, 5, "call_perform failed")
