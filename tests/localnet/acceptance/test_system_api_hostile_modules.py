"""Isolation: modules that mean harm end in the Internet Computer's errors while other canisters go on."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
import urllib.request

import pytest
from wasmtime import wat2wasm

from mainer_nb.localnet import execution, http, limits, memory, subnet, ticks
from mainer_nb.localnet.envelope import Call, Query
from mainer_nb.localnet.errors import Reject
from mainer_nb.localnet.state import CallMessage
from tests.localnet import universal as u
from tests.localnet.driver import ALICE, INSTALL, Driver, eventually, module
from tests.localnet.outcomes import number, rejected, replied

DOES_NOT_HOLD = {
    "a heap of more than 2 GiB that a message fills with instructions alone is bounded before the message ends": "what"
    " was written is looked at when the message calls the system or grows the memory, and at its end",
}
LIMIT = 100_000_000
GROWN = u.ignore(u.basic("grow", 1000))


@pytest.fixture(autouse=True)
def _low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of instructions are lower here, so that the tests are quick."""
    for name in ("UPDATE_LIMIT", "QUERY_LIMIT", "INSTALL_LIMIT", "INSPECT_LIMIT"):
        monkeypatch.setattr(limits, name, LIMIT)


@pytest.fixture
def canister(ic: Driver) -> bytes:
    return ic.create(u.universal(), arg=b"")


ENDLESS = {
    "nothing": u.forever(),
    "filling memory": GROWN + u.forever(u.basic("fill", 200_000, 60_000_000)),
    "filling a table": u.forever(u.basic("fill_table", 100_000)),
    "asking for the size": u.forever(u.ignore(u.api("stable64_size"))),
    "asking the time": u.forever(u.ignore(u.api("time"))),
    "reading the argument": GROWN + u.forever(u.api("msg_arg_data_copy", 200_000, 0, 30)),
    "writing stable memory": GROWN + u.stable_grow(1000) + u.forever(u.api("stable64_write", 0, 0, 60_000_000)),
    "reading stable memory": GROWN + u.stable_grow(1000) + u.forever(u.api("stable64_read", 200_000, 0, 60_000_000)),
    "growing memory by nothing": u.forever(u.ignore(u.basic("grow", 0))),
    "growing memory": u.forever(u.ignore(u.basic("grow", 1))),
    "growing memory too far": u.forever(u.ignore(u.basic("grow", 100_000))),
    "growing stable memory": u.forever(u.ignore(u.api("stable64_grow", 1))),
    "printing": GROWN + u.forever(u.api("debug_print", 0, 32_000)),
    "building calls": GROWN + u.forever(u.new_call(b"", "nowhere", on_reply=b"", on_reject=b"")),
    "setting the timer": u.forever(u.ignore(u.api("global_timer_set", 2**63))),
}


@pytest.mark.parametrize("work", ENDLESS)
def test_endless_work_in_an_update_ends_at_the_instruction_limit(ic: Driver, canister: bytes, work: str) -> None:
    rejected(ic.update(canister, "update", ENDLESS[work]), "IC0522", f"limit of {LIMIT} instructions")
    assert replied(ic.update(canister, "update", u.reply(u.i64(u.api("stable64_size"))))) == bytes(8)


@pytest.mark.parametrize("work", ["nothing", "filling memory", "asking for the size"])
@pytest.mark.parametrize("entry", ["query", "init", "inspect", "pre-upgrade", "start"])
def test_endless_work_ends_in_every_entry_point(ic: Driver, canister: bytes, entry: str, work: str) -> None:
    program = ENDLESS[work]
    if entry == "query":
        outcome = ic.query(canister, "query", program)
    elif entry == "init":
        outcome = ic.install(ic.create(), u.universal(), INSTALL, program)
    elif entry == "start":
        outcome = ic.install(ic.create(), u.universal(start=program), INSTALL, b"")
    elif entry == "inspect":
        ic.update(canister, "update", u.hook("canister_inspect_message", program) + u.reply())
        outcome = ic.update(canister, "update", u.reply())
    else:
        ic.update(canister, "update", u.hook("canister_pre_upgrade", program) + u.reply())
        outcome = ic.install(canister, u.universal(), {"upgrade": None}, b"")
    rejected(outcome, "IC0522")
    assert replied(ic.query(canister, "query", u.reply(u.blob(b"still here")))) == b"still here"


def test_deep_recursion_ends_in_a_stack_overflow(ic: Driver, canister: bytes) -> None:
    for outcome in (ic.update(canister, "update", u.basic("recurse")), ic.query(canister, "query", u.basic("recurse"))):
        rejected(outcome, "IC0502", "stack overflow")
    assert replied(ic.update(canister, "update", u.reply())) == b""


def test_deep_recursion_through_the_system_api_ends_in_a_stack_overflow(ic: Driver) -> None:
    """deep recursion through the System API ends in a stack overflow"""
    body = """(func $deep (drop (call $time)) (call $deep) (drop (call $time)))
      (func (export "canister_update go") (call $deep))"""
    rejected(ic.update(ic.create(module(body)), "go"), "IC0502", "stack overflow")


def test_other_canisters_and_their_queries_go_on(ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """other canisters and their queries go on while one canister loops"""
    monkeypatch.setattr(limits, "UPDATE_LIMIT", 4_000_000_000)
    other = ic.create(u.universal(), arg=b"")
    request = ic.submit(canister, "update", u.forever())
    assert isinstance(request, bytes)
    eventually(lambda: ic.network.subnet.requests[request].status == "processing")
    for _ in range(5):
        assert replied(ic.update(other, "update", u.reply(u.blob(b"on")))) == b"on"
        assert replied(ic.query(canister, "query", u.reply(u.blob(b"on")))) == b"on"
    assert ic.network.subnet.requests[request].response is None
    rejected(ic.response(request), "IC0522")


#: Loops in the machine's own code, and loops in which the network is asked something each time.
LOOPS = {"computing": "(nop)", "asking": "(drop (call $time))", "growing": "(drop (memory.grow (i32.const 0)))"}


@pytest.mark.parametrize("loop", LOOPS)
def test_more_looping_canisters_than_processors_do_not_stop_others(
    ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setattr(limits, "UPDATE_LIMIT", {"computing": 2_000_000_000, "asking": 200_000_000}.get(loop, LIMIT))
    wasm = module(f'(func (export "canister_update go") (loop $again {LOOPS[loop]} (br $again)))')
    requests = [ic.submit(ic.create(wasm), "go") for _ in range((os.cpu_count() or 1) + 2)]
    for _ in range(3):
        assert replied(ic.update(canister, "update", u.reply(u.blob(b"on")))) == b"on"
        assert replied(ic.query(canister, "query", u.reply(u.blob(b"on")))) == b"on"
    unfinished = [
        ic.network.subnet.requests[request].response is None for request in requests if isinstance(request, bytes)
    ]
    assert unfinished == [True] * len(requests)
    for request in requests:
        assert isinstance(request, bytes)
        rejected(ic.response(request), "IC0522")


def test_heartbeats_that_loop_do_not_stop_others(ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UPDATE_LIMIT", 1_000_000_000)
    wasm = module('(func (export "canister_heartbeat") (loop $again (br $again)))')
    looping = [ic.create(wasm) for _ in range((os.cpu_count() or 1) + 2)]
    with ic.network.subnet.step() as step:
        ticks.fire_heartbeats(step)
    assert replied(ic.update(canister, "update", u.reply(u.blob(b"on")))) == b"on"
    assert all(ic.network.subnet.canisters[canister].inbox.busy for canister in looping)
    for canister in looping:
        ic.manage("stop_canister", {"canister_id": canister})


def test_a_flood_of_slow_queries_does_not_stop_others(
    ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a flood of slow queries stops neither updates nor queries of others, nor the status page"""
    monkeypatch.setattr(limits, "QUERY_LIMIT", 300_000_000)
    slow = ic.create(module('(func (export "canister_query slow") (loop $again (br $again)))'))

    def query(callee: bytes, method: str, arg: bytes = b"") -> Query:
        return Query(callee, method, arg, ALICE, None, ic.time() + 10**11, os.urandom(32))

    async def flood() -> None:
        network = ic.network
        runner, port = await http.listen(network)
        flood = [asyncio.create_task(network.query(query(slow, "slow"))) for _ in range(12)]
        await asyncio.sleep(0.1)
        answer = u.reply(u.blob(b"on"))
        assert replied(await network.query(query(canister, "query", answer))) == b"on"
        assert replied(await asyncio.to_thread(ic.update, canister, "update", answer)) == b"on"
        status = f"http://127.0.0.1:{port}/api/v2/status"
        assert await asyncio.to_thread(lambda: urllib.request.urlopen(status).status) == 200
        assert not all(task.done() for task in flood)
        for task in flood:
            rejected(await task, "IC0522")
        await runner.cleanup()

    asyncio.run(flood())


def test_inspections_that_loop_do_not_stop_others(ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """loops in canister_inspect_message do not stop other canisters"""
    monkeypatch.setattr(limits, "INSPECT_LIMIT", 300_000_000)
    wasm = module('(func (export "canister_inspect_message") (loop $again (br $again)))')
    looping = ic.create(wasm)

    def call(callee: bytes, arg: bytes) -> Call:
        return Call(callee, "update", arg, ALICE, None, ic.time() + 10**11, os.urandom(32))

    async def flood() -> None:
        flood = [asyncio.create_task(ic.network.submit(call(looping, b""))) for _ in range(12)]
        await asyncio.sleep(0.1)
        message = call(canister, u.reply(u.blob(b"on")))
        assert await ic.network.submit(message) is None
        assert await ic.network.wait(message.request_id, 30)
        assert not all(task.done() for task in flood)
        for task in flood:
            rejected(await task, "IC0522")

    asyncio.run(flood())


def test_many_small_writes_of_stable_memory_take_no_memory_of_the_network(ic: Driver) -> None:
    body = """(func (export "canister_update go") (local $n i32)
      (drop (call $stable_grow (i64.const 1)))
      (loop $again
        (call $stable_write (i64.const 100) (i64.const 0) (i64.const 1))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 60000))))
      (call $reply))"""
    writer = ic.create(module(body))
    tracemalloc.start()
    try:
        assert replied(ic.update(writer, "go")) == b""
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_flood_of_calls_to_itself_does_not_stop_others(ic: Driver, canister: bytes) -> None:
    other = ic.create(u.universal(), arg=b"")
    again = u.call(canister, "query", u.reply(), on_reply=u.ignore(u.api("time"))) * 100
    for _ in range(5):
        assert isinstance(ic.submit(canister, "update", again), bytes)
    assert replied(ic.update(other, "update", u.reply(u.blob(b"on")))) == b"on"
    ic.tick()


def test_a_queue_holds_the_calls_of_many_callers(ic: Driver) -> None:
    """the queue of a canister holds the calls of several callers, more than 500 in all"""
    other = ic.create(u.universal(), arg=b"")
    ic.hold(other)
    calls = u.call(other, "query", u.reply(), on_reply=b"") * 400
    for _ in range(3):
        assert isinstance(ic.submit(ic.create(u.universal(), arg=b""), "update", calls), bytes)
    assert ic.network.scheduler.wait_until_idle(30)
    waiting = ic.network.subnet.canisters[other].inbox.messages
    assert sum(isinstance(message, CallMessage) for _, message in waiting) == 1200
    ic.go_on(other)
    ic.tick()


def test_a_full_queue_refuses_calls(ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """calls to a canister whose queue is full are refused"""
    monkeypatch.setattr(subnet, "MAX_QUEUE", 500)
    other = ic.create(u.universal(), arg=b"")
    ic.hold(other)
    count = u.store(1024, u.basic("add", u.stored(1024), 1))
    calls = u.call(other, "query", u.reply(), on_reply=b"", on_reject=count) * 450
    callers = (canister, ic.create(u.universal(), arg=b""))
    for caller in callers:
        assert isinstance(ic.submit(caller, "update", calls), bytes)
    assert ic.network.scheduler.wait_until_idle(30)
    waiting = ic.network.subnet.canisters[other].inbox.messages
    accepted = sum(isinstance(message, CallMessage) for _, message in waiting)
    assert len(waiting) - 1 <= 500  # a heartbeat may come in addition
    assert accepted < 900
    ic.go_on(other)
    ic.tick()
    counted = [ic.query(caller, "query", u.reply(u.i64(u.stored(1024)))) for caller in callers]
    assert sum(map(number, counted)) == 900 - accepted


@pytest.mark.parametrize("call", ["asking for the size", "printing nothing", "asking the time"])
def test_system_calls_take_at_most_60_seconds_of_a_threads_time(
    ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """a loop of cheap calls of the system ends after 60 s of its thread's processor time, in updates and queries"""
    assert limits.SYSTEM_CALL_SECONDS == 60
    monkeypatch.setattr(limits, "SYSTEM_CALL_SECONDS", 0.1)
    for name in ("UPDATE_LIMIT", "QUERY_LIMIT"):
        monkeypatch.setattr(limits, name, 400 * LIMIT)
    loop = ENDLESS.get(call, u.forever(u.api("debug_print", 0, 0)))
    text = "exceeded the limit of 0.1 seconds of processor time for system calls"
    rejected(ic.update(canister, "update", loop), "IC0522", text)
    rejected(ic.query(canister, "query", loop), "IC0522", text)
    assert replied(ic.update(canister, "update", u.reply())) == b""


def test_time_that_the_instructions_explain_is_no_reason_to_end(
    ic: Driver, canister: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a message that executes many instructions may take longer than system calls may, up to its instructions' limit"""
    monkeypatch.setattr(limits, "SYSTEM_CALL_SECONDS", 0.0)
    monkeypatch.setattr(limits, "INSTRUCTIONS_PER_SECOND", 0)
    loop = ENDLESS["asking the time"]
    rejected(ic.update(canister, "update", loop), "IC0522", f"exceeded the limit of {LIMIT} instructions")


WRITING = """
  (func $write (param $page i32)
    (i32.store (i32.shl (local.get $page) (i32.const 16)) (i32.const 7))
    (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 7) (i32.const 65536)))
  (func $forever (param $calls i32) (local $page i32)
    (loop $again
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (call $write (i32.and (local.get $page) (i32.const 1023)))
      (if (local.get $calls) (then
        (call $stable_write (i64.const 0) (i64.const 0) (i64.const 65536))))
      (br $again)))
  (func (export "canister_update calling")
    (drop (call $stable_grow (i64.const 1))) (call $forever (i32.const 1)))
  (func (export "canister_query calling_in_a_query")
    (drop (call $stable_grow (i64.const 1))) (call $forever (i32.const 1)))
  (func (export "canister_update growing") (local $page i32)
    (loop $again
      (local.set $page (memory.grow (i32.const 1)))
      (if (i32.ge_s (local.get $page) (i32.const 0)) (then (call $write (local.get $page)) (br $again))))
    (call $print (i32.const 0) (memory.size))
    (call $reply))
"""


@pytest.fixture
def writing(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A canister with a heap of 64 MiB, of which a message may write to one MiB."""
    for name in ("WRITE_LIMIT", "QUERY_WRITE_LIMIT"):
        monkeypatch.setattr(limits, name, 1024**2)
    monkeypatch.setattr(execution, "LOOK_SECONDS", 0.0)
    return ic.create(module(WRITING, "(memory 1024 4096)"))


def test_a_message_that_writes_too_much_ends_at_its_next_system_call(ic: Driver, writing: bytes) -> None:
    """a message that fills its heap ends at the first system call after it has crossed the limit"""
    text = "Exceeded the limit for the number of modified pages in the main memory"
    rejected(ic.update(writing, "calling"), "IC0524", text)
    rejected(ic.query(writing, "calling_in_a_query"), "IC0524", text)


def test_a_memory_does_not_grow_once_too_much_was_written(
    ic: Driver, writing: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """a message that has written to more of its heap than it may cannot grow it: growing gives -1"""
    most = []
    grow = memory.CowMemory.grow

    def watch(heap: memory.CowMemory, size: int) -> None:
        most.append(size)
        grow(heap, size)

    monkeypatch.setattr(memory.CowMemory, "grow", watch)
    rejected(ic.update(writing, "growing"), "IC0524", "modified pages in the main memory")
    assert max(most) < 1024 * 65536 + 2 * limits.WRITE_LIMIT


def test_a_memory_grows_to_its_limit_only(ic: Driver) -> None:
    """a memory cannot grow beyond its limit"""
    for memory64, pages in ((False, 65536), (True, 6 * 1024**3 // 65536)):
        canister = ic.create(u.universal(memory64), arg=b"")
        beyond = u.reply(u.i64(u.basic("grow", pages - 2)))  # it has three already
        assert replied(ic.query(canister, "query", beyond)) == b"\xff" * 8
        within = u.basic("grow", pages - 4)
        assert replied(ic.query(canister, "query", u.reply(u.i64(within))))[0] == 3


def test_a_module_that_demands_too_much_memory_is_refused(ic: Driver) -> None:
    refusal = ic.install(ic.create(), module("", "(memory i64 100000000)", imports=""), INSTALL)
    assert isinstance(refusal, Reject)


def test_a_module_with_a_huge_table_is_refused(ic: Driver) -> None:
    """a module with a table of too many elements is refused"""
    refusal = ic.install(ic.create(), module("(table 1000000000 funcref)", imports=""), INSTALL)
    assert isinstance(refusal, Reject)


def test_growing_a_table_is_bounded(ic: Driver) -> None:
    """a table cannot grow beyond its limit"""
    body = """(table 1 funcref) (func (export "canister_query go")
      (call $reply_i32 (table.grow (ref.null func) (i32.const 2000000))))"""
    assert ic.number(ic.create(module(body)), "go") == 2**32 - 1


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        ("unreachable", "unreachable"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "integer division by 0"),
        ("(drop (i32.div_s (i32.const -2147483648) (i32.const -1)))", "unknown"),
        ("(drop (i32.trunc_f32_u (f32.const nan)))", "unknown"),
        ("(drop (i32.load (i32.const -4)))", "heap out of bounds"),
        ("(memory.fill (i32.const 65535) (i32.const 0) (i32.const 2))", "heap out of bounds"),
        ("(call_indirect (i32.const 7))", "table out of bounds"),
        ("(call_indirect (i32.const 0))", "unknown"),
    ],
    ids=lambda value: value.strip("()").split(" ")[0] if "(" in value or value == "unreachable" else value,
)
def test_a_trapping_instruction_is_named(ic: Driver, instruction: str, text: str) -> None:
    """the error of a trap says what the instruction did wrong"""
    body = f"""(table 2 funcref) (elem (i32.const 1) $nothing) (func $nothing)
      (func (export "canister_update go") {instruction})"""
    rejected(ic.update(ic.create(module(body)), "go"), "IC0502", f"Canister trapped: {text}.")


def test_a_call_through_the_table_with_the_wrong_type_traps(ic: Driver) -> None:
    body = """(table 2 funcref) (elem (i32.const 1) $nothing) (func $nothing)
      (func (export "canister_update go") (call_indirect (param i64) (i64.const 1) (i32.const 1)))"""
    rejected(ic.update(ic.create(module(body)), "go"), "IC0504", "function invocation does not match its signature")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (b"", "wasm magic"),
        (b"#!/bin/sh", "wasm magic"),
        (b"\0asm\1\0\0\0\1\xff\xff\xff\xff\x0f", "bytes"),
        (b"\x1f\x8b\x08broken", "gzipped"),
    ],
    ids=["empty", "script", "cut short", "broken gzip"],
)
def test_what_is_not_a_module_is_refused(ic: Driver, code: bytes, text: str) -> None:
    rejected(ic.install(ic.create(), code, INSTALL), "IC0505", text)


@pytest.mark.parametrize(
    "body",
    [
        '(func $f) (export "canister_update go" (func $f)) (export "canister_query go" (func $f))',
        '(func (export "canister_unknown"))',
        '(func (export "canister_update go") (param i32))',
        '(func (export "canister_init") (result i32) (i32.const 0))',
        '(import "ic0" "msg_reply" (memory 1))',
        '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))',
    ],
    ids=["method twice", "unknown hook", "method with parameter", "hook with result", "imported memory", "wasi"],
)
def test_a_module_of_the_wrong_form_is_refused(ic: Driver, body: str) -> None:
    rejected(ic.install(ic.create(), bytes(wat2wasm(f"(module {body})")), INSTALL), "IC0505")


@pytest.mark.parametrize("kind", ["(param i64)", "(param i32 i32)", "(param i32) (result i32)", ""])
def test_a_callback_of_the_wrong_type_traps(ic: Driver, kind: str) -> None:
    body = f"""(table 1 funcref) (elem (i32.const 0) $wrong) (func $wrong {kind} unreachable)
      (func (export "canister_update go")
        (call $call_new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
        (drop (call $call_perform)))"""
    rejected(ic.update(ic.create(module(body)), "go"), "IC0504", "function invocation does not match its signature")
