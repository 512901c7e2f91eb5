"""Calls between canisters: callbacks, traps after an await, cycles, stopping."""

from __future__ import annotations

import pytest

from mainer_nb.localnet.errors import Reject, Reply
from mainer_nb.protocol import candid, principal
from tests.localnet.driver import ALICE, BOB, INSTALL, UPGRADE, Driver, eventually, module

#: Calls method "work" of the canister whose id is its argument and passes on what comes back.
CALLER = module(
    """
  (table funcref (elem $on_reply $on_reject $on_reply_trap $on_cleanup))
  (func $start (param $reply_fun i32) (param $cycles i64)
    (call $arg_copy (i32.const 0) (i32.const 0) (call $arg_size))
    (call $call_new (i32.const 0) (call $arg_size) (i32.const 100) (i32.const 4)
      (local.get $reply_fun) (i32.const 7) (i32.const 1) (i32.const 8))
    (call $call_on_cleanup (i32.const 3) (i32.const 9))
    (call $call_append (i32.const 104) (i32.const 5))
    (if (i64.ne (local.get $cycles) (i64.const 0)) (then (call $call_cycles_add (local.get $cycles))))
    (i64.store (i32.const 300) (i64.add (i64.load (i32.const 300)) (i64.const 1)))
    (if (call $call_perform) (then (call $reject (i32.const 100) (i32.const 4)))))
  (func $on_reply (param $env i32)
    (i64.store (i32.const 308) (i64.extend_i32_u (local.get $env)))
    (i64.store (i32.const 316) (call $cycles_refunded))
    (call $arg_copy (i32.const 400) (i32.const 0) (call $arg_size))
    (call $append (i32.const 400) (call $arg_size)) (call $reply))
  (func $on_reject (param $env i32)
    (i64.store (i32.const 308) (i64.extend_i32_u (local.get $env)))
    (call $reject_msg_copy (i32.const 400) (i32.const 0) (call $reject_msg_size))
    (i32.store8 (i32.const 399) (i32.add (i32.const 48) (call $reject_code)))
    (call $reject (i32.const 399) (i32.add (i32.const 1) (call $reject_msg_size))))
  (func $on_reply_trap (param $env i32)
    (i64.store (i32.const 300) (i64.const 1000)) (call $trap (i32.const 109) (i32.const 5)))
  (func $on_cleanup (param $env i32) (i64.store (i32.const 324) (i64.extend_i32_u (local.get $env))))
  (func (export "canister_update go") (call $start (i32.const 0) (i64.const 0)))
  (func (export "canister_update pay") (call $start (i32.const 0) (i64.const 1000000000)))
  (func (export "canister_update trap_later") (call $start (i32.const 2) (i64.const 0)))
  (func (export "canister_update answer_twice")
    (call $reply_i64 (i64.const 5)) (call $start (i32.const 0) (i64.const 0)))
  (func (export "canister_query calls") (call $reply_i64 (i64.load (i32.const 300))))
  (func (export "canister_query environment") (call $reply_i64 (i64.load (i32.const 308))))
  (func (export "canister_query refunded") (call $reply_i64 (i64.load (i32.const 316))))
  (func (export "canister_query cleaned") (call $reply_i64 (i64.load (i32.const 324))))
  (data (i32.const 100) "workhellolater")
"""
)

#: Answers "work" in one way or another.
ECHO = module(
    """
  (func (export "canister_update work")
    (call $arg_copy (i32.const 0) (i32.const 0) (call $arg_size))
    (drop (call $cycles_accept (i64.const 400000000)))
    (call $append (i32.const 0) (call $arg_size)) (call $reply))
"""
)
REJECTER = module(
    '(func (export "canister_update work") (call $reject (i32.const 0) (i32.const 2))) (data (i32.const 0) "no")'
)
TRAPPER = module(
    """(func (export "canister_update work")
      (drop (call $cycles_accept (i64.const 400000000))) (call $trap (i32.const 0) (i32.const 2)))
      (data (i32.const 0) "ow")"""
)


def test_reply_and_environment_reach_the_callback(ic: Driver) -> None:
    caller, echo = ic.create(CALLER), ic.create(ECHO)
    assert ic.update(caller, "go", echo) == Reply(b"hello")
    assert ic.number(caller, "environment") == 7


@pytest.mark.parametrize(("callee", "code", "text"), [(REJECTER, "4", "no"), (TRAPPER, "5", "ow"), (None, "5", "Wasm")])
def test_reject_code_and_message_reach_the_callback(ic: Driver, callee: bytes | None, code: str, text: str) -> None:
    caller = ic.create(CALLER)
    outcome = ic.update(caller, "go", ic.create(callee))
    assert isinstance(outcome, Reject)
    assert outcome.message[0] == code
    assert text in outcome.message
    assert ic.number(caller, "environment") == 8


def test_a_call_to_nobody_is_rejected(ic: Driver) -> None:
    outcome = ic.update(ic.create(CALLER), "go", principal.canister_id(77))
    assert isinstance(outcome, Reject)
    assert outcome.message.startswith("3")


def test_a_canister_can_call_itself_and_the_management_canister(ic: Driver) -> None:
    caller = ic.create(CALLER)
    outcome = ic.update(caller, "go", caller)
    assert isinstance(outcome, Reject)
    assert "has no update method 'work'" in outcome.message
    outcome = ic.update(caller, "go", principal.MANAGEMENT)
    assert isinstance(outcome, Reject)
    assert "Management canister has no method 'work'" in outcome.message


def test_a_trap_in_a_callback_undoes_the_callback_only_and_runs_the_cleanup(ic: Driver) -> None:
    caller, echo = ic.create(CALLER), ic.create(ECHO)
    outcome = ic.update(caller, "trap_later", echo)
    assert isinstance(outcome, Reject)
    assert "'later'" in outcome.message
    assert ic.number(caller, "calls") == 1
    assert ic.number(caller, "cleaned") == 9


def test_attached_cycles_are_accepted_or_refunded(ic: Driver) -> None:
    caller, echo = ic.create(CALLER), ic.create(ECHO)
    before, held = ic.cycles(caller), ic.cycles(echo)
    assert ic.update(caller, "pay", echo) == Reply(b"hello")
    assert ic.number(caller, "refunded") == 600_000_000
    assert 0 < before - ic.cycles(caller) - 400_000_000 < 100_000_000
    assert 0 < held + 400_000_000 - ic.cycles(echo) < 100_000_000


def test_a_trapping_callee_accepts_nothing(ic: Driver) -> None:
    caller, trapper = ic.create(CALLER), ic.create(TRAPPER)
    held = ic.cycles(trapper)
    assert isinstance(ic.update(caller, "pay", trapper), Reject)
    assert ic.cycles(trapper) < held


def test_a_call_that_was_answered_early_is_not_answered_again(ic: Driver) -> None:
    caller, echo = ic.create(CALLER), ic.create(ECHO)
    assert ic.update(caller, "answer_twice", echo) == Reply((5).to_bytes(8, "little"))
    assert ic.network.scheduler.wait_until_idle(10)
    assert ic.number(caller, "environment") == 0  # the second reply trapped, so its callback left nothing
    assert not ic.network.subnet.canisters[caller].state.contexts


def test_stopping_waits_for_open_calls(ic: Driver) -> None:
    caller, slow = ic.create(CALLER), ic.create(ECHO)
    ic.hold(slow)
    request = ic.submit(caller, "go", slow)
    assert isinstance(request, bytes)
    state = ic.network.subnet.canisters[caller].state
    eventually(lambda: state.callbacks)
    assert ic.network.scheduler.wait_until_idle(30)
    assert dict(ic.network.store.requests())[request].pending  # written with the calls made on its behalf
    stop = candid.encode([candid.record({"canister_id": candid.PRINCIPAL})], [{"canister_id": caller}])
    stopping = ic.submit(principal.MANAGEMENT, "stop_canister", stop)
    assert isinstance(stopping, bytes)
    eventually(lambda: state.status == "stopping")
    refused = ic.submit(caller, "go", slow)
    assert isinstance(refused, Reject)
    assert refused.error_code == "IC0509"
    ic.go_on(slow)
    assert ic.response(request) == Reply(b"hello")
    assert isinstance(ic.response(stopping), Reply)
    assert ic.manage("canister_status", {"canister_id": caller})["status"] == {"stopped": None}


def test_a_canister_out_of_cycles_is_told_how_much_it_lacks(ic: Driver) -> None:
    poor = ic.create(cycles=10**9)
    outcome = ic.install(poor, ECHO, INSTALL)
    assert isinstance(outcome, Reject)
    assert outcome.error_code == "IC0207"
    assert "please top up the canister with at least" in outcome.message
    assert ic.manage("provisional_top_up_canister", {"canister_id": poor, "amount": 10**13}) is None
    assert ic.install(poor, ECHO, INSTALL) is None


def test_only_controllers_manage_a_canister(ic: Driver) -> None:
    canister = ic.create(ECHO)
    for method in ("canister_status", "stop_canister", "start_canister", "uninstall_code", "delete_canister"):
        outcome = ic.manage(method, {"canister_id": canister}, BOB)
        assert isinstance(outcome, Reject)
        assert outcome.error_code == "IC0512"
        name = principal.to_text(canister)
        assert outcome.message == f"Only controllers of canister {name} can call ic00 method {method}"
    assert isinstance(ic.install(canister, ECHO, UPGRADE, sender=BOB), Reject)
    settings = {"controllers": [ALICE, BOB]}
    assert ic.manage("update_settings", {"canister_id": canister, "settings": settings}) is None
    assert ic.install(canister, ECHO, UPGRADE, sender=BOB) is None


def test_a_canister_must_be_stopped_before_it_is_deleted(ic: Driver) -> None:
    canister = ic.create(ECHO)
    assert isinstance(ic.manage("delete_canister", {"canister_id": canister}), Reject)
    assert ic.manage("stop_canister", {"canister_id": canister}) is None
    assert ic.manage("delete_canister", {"canister_id": canister}) is None
    outcome = ic.update(canister, "work")
    assert isinstance(outcome, Reject)
    assert outcome.error_code == "IC0301"
