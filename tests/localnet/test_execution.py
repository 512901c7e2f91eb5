"""Messages are atomic: what a canister sees, changes and leaves behind, whatever way a message ends."""

from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from mainer_nb.localnet.errors import Reject, Reply
from mainer_nb.protocol import principal
from tests.localnet.driver import ALICE, BOB, Driver, eventually, module

#: Counts in heap, global and stable memory at once, so that all three must be rolled back together.
COUNTER = module(
    """
  (global $count (mut i64) (i64.const 0))
  (func $bump
    (global.set $count (i64.add (global.get $count) (i64.const 1)))
    (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1)))
    (i64.store (i32.const 200000) (i64.load (i32.const 8)))
    (if (i64.eqz (call $stable_size)) (then (drop (call $stable_grow (i64.const 2)))))
    (call $stable_write (i64.const 70000) (i64.const 8) (i64.const 8)))
  (func $read (result i64)
    (call $stable_read (i64.const 16) (i64.const 70000) (i64.const 8))
    (if (i32.or
          (i64.ne (i64.load (i32.const 16)) (i64.load (i32.const 8)))
          (i64.ne (global.get $count) (i64.load (i32.const 200000))))
      (then (call $trap (i32.const 100) (i32.const 8))))
    (i64.load (i32.const 8)))
  (func (export "canister_init") (call $bump))
  (func (export "canister_update inc") (call $bump) (call $reply_i64 (call $read)))
  (func (export "canister_update fail") (call $bump) (call $trap (i32.const 100) (i32.const 8)))
  (func (export "canister_update overrun") (call $bump) (drop (i32.load (i32.const 0x7fffffff))))
  (func (export "canister_update grow_and_fail")
    (call $bump) (drop (memory.grow (i32.const 10))) (drop (call $stable_grow (i64.const 5))) unreachable)
  (func (export "canister_update silent") (call $bump))
  (func (export "canister_update endless") (call $bump) (loop $l (br $l)))
  (func (export "canister_update size") (call $reply_i32 (memory.size)))
  (func (export "canister_query read") (call $reply_i64 (call $read)))
  (func (export "canister_query bump") (call $bump) (call $reply_i64 (call $read)))
  (func (export "canister_query spin") (loop $l (br $l)))
  (func (export "canister_query who")
    (call $caller_copy (i32.const 0) (i32.const 0) (call $caller_size))
    (call $append (i32.const 0) (call $caller_size)) (call $reply))
  (func (export "canister_query print") (call $print (i32.const 100) (i32.const 8)) (call $reply))
  (data (i32.const 100) "too much")
""",
    "(memory 4)",
)


@pytest.mark.parametrize("method", ["fail", "overrun", "grow_and_fail"])
def test_a_trap_changes_nothing_but_cycles(ic: Driver, method: str) -> None:
    canister = ic.create(COUNTER)
    assert ic.number(canister, "inc") == 2
    before = ic.cycles(canister)
    outcome = ic.update(canister, method)
    assert isinstance(outcome, Reject)
    assert outcome.code == 5
    assert ic.cycles(canister) < before
    assert ic.number(canister, "read") == 2
    assert ic.number(canister, "inc") == 3
    assert ic.number(canister, "size") == 4


def test_the_text_of_a_trap_reaches_the_caller(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    outcome = ic.update(canister, "fail")
    assert isinstance(outcome, Reject)
    assert outcome.error_code == "IC0503"
    name = principal.to_text(canister)
    assert outcome.message.startswith(
        f"Error from Canister {name}: Canister called `ic0.trap` with message: 'too much'.\n"
    )


def test_a_method_that_does_not_reply_keeps_its_changes(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    outcome = ic.update(canister, "silent")
    assert isinstance(outcome, Reject)
    assert outcome.error_code == "IC0506"
    assert ic.number(canister, "read") == 2


def test_queries_leave_nothing_behind(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    assert [ic.number(canister, "bump") for _ in range(3)] == [2, 2, 2]
    assert ic.number(canister, "read") == 1
    assert ic.number(canister, "inc") == 2
    assert ic.number(canister, "bump") == 3


def test_a_query_method_called_as_update_leaves_nothing_behind(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    for _ in range(2):
        outcome = ic.update(canister, "bump")
        assert outcome == Reply((2).to_bytes(8, "little"))
    assert ic.number(canister, "inc") == 2


def test_instruction_limits_end_endless_loops(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainer_nb.localnet.limits.UPDATE_LIMIT", 10_000_000)
    monkeypatch.setattr("mainer_nb.localnet.limits.QUERY_LIMIT", 5_000_000)
    canister = ic.create(COUNTER)
    for outcome in (ic.update(canister, "endless"), ic.query(canister, "spin")):
        assert isinstance(outcome, Reject)
        assert outcome.error_code == "IC0522"
    assert ic.number(canister, "read") == 1


def test_a_canister_that_runs_for_long_does_not_hold_up_others_nor_its_own_queries(
    ic: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainer_nb.localnet.limits.UPDATE_LIMIT", 2_000_000_000)
    busy, other = ic.create(COUNTER), ic.create(COUNTER)
    request = ic.submit(busy, "endless")
    assert isinstance(request, bytes)
    eventually(lambda: ic.network.subnet.requests[request].status == "processing")
    assert ic.number(other, "inc") == 2
    assert ic.number(busy, "read") == 1
    assert ic.network.subnet.requests[request].response is None


def test_the_caller_is_seen(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    assert ic.query(canister, "who") == Reply(ALICE)
    assert ic.query(canister, "who", sender=BOB) == Reply(BOB)


def test_missing_methods_and_canisters_are_named(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    for outcome in (ic.update(canister, "nope"), ic.query(canister, "nope"), ic.query(canister, "inc")):
        assert isinstance(outcome, Reject)
        assert outcome.error_code == "IC0536"
    missing = ic.update(principal.canister_id(999), "inc")
    assert isinstance(missing, Reject)
    assert (missing.code, missing.error_code) == (3, "IC0301")
    empty = ic.update(ic.create(), "inc")
    assert isinstance(empty, Reject)
    assert empty.error_code == "IC0537"


def test_what_a_canister_prints_can_be_read_by_its_controllers_only(ic: Driver) -> None:
    canister = ic.create(COUNTER)
    ic.update(canister, "print")
    ic.update(canister, "fail")
    ic.query(canister, "print")
    records = ic.manage("fetch_canister_logs", {"canister_id": canister})["canister_log_records"]
    assert records[0]["content"] == b"too much"
    assert b"too much" in records[1]["content"]
    assert len(records) == 2
    assert isinstance(ic.manage("fetch_canister_logs", {"canister_id": canister}, BOB), Reject)


def test_inspect_message_decides_which_ingress_messages_are_accepted(ic: Driver) -> None:
    canister = ic.create(
        module(
            """
  (func (export "canister_inspect_message") (if (i32.eq (call $arg_size) (i32.const 3)) (then (call $accept))))
  (func (export "canister_update size") (call $reply_i32 (call $arg_size)))
"""
        )
    )
    assert ic.number(canister, "size", b"abc") == 3
    refused = ic.submit(canister, "size", b"abcd")
    assert isinstance(refused, Reject)
    assert refused.error_code == "IC0406"


def test_functions_of_the_system_api_are_bound_to_their_entry_points(ic: Driver) -> None:
    canister = ic.create(
        module(
            """
  (func (export "canister_update accept") (call $accept) (call $reply))
  (func (export "canister_query certify") (call $certified_data_set (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_update twice") (call $reply) (call $reply))
  (func (export "canister_update beyond") (call $append (i32.const 65530) (i32.const 100)) (call $reply))
"""
        )
    )
    for outcome in (
        ic.update(canister, "accept"),
        ic.query(canister, "certify"),
        ic.update(canister, "twice"),
        ic.update(canister, "beyond"),
    ):
        assert isinstance(outcome, Reject)
        assert outcome.error_code == "IC0504"


def test_a_global_timer_fires_once_at_its_time(ic: Driver) -> None:
    canister = ic.create(
        module(
            """
  (func (export "canister_global_timer") (i64.store (i32.const 8) (i64.add (i64.load (i32.const 8)) (i64.const 1))))
  (func (export "canister_update set")
    (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 8))
    (drop (call $timer_set (i64.load (i32.const 0)))) (call $reply))
  (func (export "canister_query fired") (call $reply_i64 (i64.load (i32.const 8))))
"""
        )
    )
    clock = ic.network.clock
    clock.hold()
    due = clock.now() + 3600 * 10**9
    ic.update(canister, "set", due.to_bytes(8, "little"))
    clock.advance(3599 * 10**9)
    assert ic.network.scheduler.wait_until_idle(10)
    assert ic.number(canister, "fired") == 0
    clock.advance(10**9)
    eventually(lambda: ic.number(canister, "fired") == 1)
    clock.advance(7200 * 10**9)
    assert ic.network.scheduler.wait_until_idle(10)
    assert ic.number(canister, "fired") == 1


def test_memory64_modules_run(ic: Driver) -> None:
    canister = ic.create(
        bytes(
            wat2wasm(
                """(module
  (import "ic0" "msg_reply_data_append" (func $append (param i64 i64)))
  (import "ic0" "msg_reply" (func $reply))
  (memory i64 1)
  (func (export "canister_update big")
    (drop (memory.grow (i64.const 70000)))
    (i64.store (i64.const 4500000000) (i64.const 42))
    (call $append (i64.const 4500000000) (i64.const 8)) (call $reply))
  (func (export "canister_query read") (call $append (i64.const 4500000000) (i64.const 8)) (call $reply)))"""
            )
        )
    )
    assert ic.number(canister, "big") == 42
    assert ic.number(canister, "read") == 42
