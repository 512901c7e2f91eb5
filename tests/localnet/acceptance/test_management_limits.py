"""Limits of messages, with the texts of the main network."""

from __future__ import annotations

import pytest

from mainer_nb.localnet import limits, metering, wasm
from mainer_nb.localnet.errors import Reply
from tests.localnet.acceptance.proxy import rejected
from tests.localnet.driver import INSTALL, Driver, module

DOES_NOT_HOLD = {
    "a module may have more than 10,000 data segments, or sections": "compiling them here takes time that grows with"
    " their square",
    "installations are rate limited": "a developer's computer does not need to be protected from its owner",
}

BUSY = module(
    """
  (func $forever (loop $again (br $again)))
  (func (export "canister_update forever") (call $forever))
  (func (export "canister_query forever_query") (call $forever))
  (func (export "canister_update write")
    (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 8))
    (drop (call $stable_grow (i64.const 40)))
    (call $stable_write (i64.const 0) (i64.const 0) (i64.load (i32.const 0)))
    (call $reply))
  (func $read (local $size i64)
    (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 8))
    (local.set $size (i64.load (i32.const 0)))
    (drop (call $stable_grow (i64.const 40)))
    (call $stable_read (i64.const 0) (i64.const 0) (local.get $size))
    (call $stable_read (i64.const 0) (i64.const 0) (local.get $size))
    (call $reply))
  (func (export "canister_update read") (call $read))
  (func (export "canister_query read_query") (call $read))
  (func (export "canister_update write_and_read")
    (drop (call $stable_grow (i64.const 40)))
    (call $stable_write (i64.const 0) (i64.const 0) (i64.const 655360))
    (call $stable_read (i64.const 0) (i64.const 655359) (i64.const 655362))
    (call $reply))
  (func (export "canister_update fill") (local $size i32)
    (call $arg_copy (i32.const 0) (i32.const 0) (i32.const 4))
    (local.set $size (i32.load (i32.const 0)))
    (memory.fill (i32.const 0) (i32.const 7) (local.get $size))
    (call $reply))
  (func (export "canister_query filled") (call $reply_i64 (i64.load8_u (i32.const 100000))))
  (func (export "canister_update rewrite") (local $n i32)
    (drop (call $stable_grow (i64.const 1)))
    (loop $again
      (call $stable_write (i64.const 0) (i64.const 0) (i64.const 65536))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 50))))
    (call $reply))
  (func (export "canister_query size") (call $reply_i64 (call $stable_size)))
""",
    "(memory 40)",
)
MILLION = 10**6


def test_the_limits() -> None:
    """the limits are 40 B instructions for updates, 5 B for queries, 300 B for installations, 200 M for inspection"""
    assert limits.UPDATE_LIMIT == 40_000 * MILLION
    assert limits.QUERY_LIMIT == 5_000 * MILLION
    assert limits.INSTALL_LIMIT == 300_000 * MILLION
    assert limits.INSPECT_LIMIT == 200 * MILLION
    assert limits.WRITE_LIMIT == 2 * 2**30
    assert limits.INSTALL_WRITE_LIMIT == 8 * 2**30
    assert limits.ACCESS_LIMIT == 2 * 2**30
    assert limits.INSTALL_ACCESS_LIMIT == 8 * 2**30
    assert limits.QUERY_ACCESS_LIMIT == 2**30


def test_update_instructions(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """an update that exceeds its instructions is rejected, and its caller pays for them"""
    monkeypatch.setattr(limits, "UPDATE_LIMIT", 10 * MILLION)
    canister = ic.create(BUSY)
    before = ic.cycles(canister)
    outcome = ic.update(canister, "forever")
    text = "Canister exceeded the limit of 10000000 instructions for single message execution."
    rejected(outcome, 5, text, "IC0522")
    assert before - ic.cycles(canister) >= 10 * MILLION


@pytest.mark.parametrize(
    ("instructions", "complexity"),
    [
        ("(block (br_if 0 (i32.const 1)))", 102),
        ("(call $f)", 50),
        ("(drop (f64.eq (f64.const 1) (f64.const 2)))", 6),
        ("(drop (i8x16.splat (i32.const 1)))", 3),
        ("(block (br_table 0 0 0 0 0 (i32.const 0)))", 102),
        ("(drop (select (result i32) (i32.const 2) (i32.const 200) (i32.const 11)))", 6),
        ("(memory.copy (i32.const 2) (i32.const 2) (i32.const 2))", 7),
        ("(nop)", 1),
    ],
    ids=["branches", "calls", "numbers", "vectors", "tables", "choices", "memory", "nothing"],
)
def test_complexity_of_functions(ic: Driver, instructions: str, complexity: int) -> None:
    """a function of a complexity of more than 1,000,000 is refused; up to 1,000,000 it is accepted"""
    most = (metering.MAX_FUNCTION_COMPLEXITY - 1) // complexity  # `end` counts as one

    def with_repeated(times: int) -> bytes:
        return module(f"(func $f {instructions * times})", imports="")

    metering.weigh(wasm.code_section(with_repeated(most)), memory64=False)
    found = complexity * (most + 1) + 1
    text = f"a function at index 0 with complexity {found} which exceeds the maximum complexity allowed 1000000"
    rejected(ic.install(ic.create(), with_repeated(most + 1), INSTALL), 5, text, "IC0505")


def test_query_instructions(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """a query that exceeds its instructions is rejected"""
    monkeypatch.setattr(limits, "QUERY_LIMIT", 5 * MILLION)
    outcome = ic.query(ic.create(BUSY), "forever_query")
    rejected(outcome, 5, "exceeded the limit of 5000000 instructions", "IC0522")


def test_installation_instructions(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """an installation that exceeds its instructions is rejected"""
    monkeypatch.setattr(limits, "INSTALL_LIMIT", 7 * MILLION)
    endless = module('(func (export "canister_init") (loop $again (br $again)))')
    rejected(ic.install(ic.create(), endless, INSTALL), 5, "exceeded the limit of 7000000 instructions", "IC0522")


def test_inspection_instructions(ic: Driver) -> None:
    """an inspection of more than 200 M instructions refuses the message"""
    endless = module('(func (export "canister_inspect_message") (loop $again (br $again)))')
    rejected(ic.submit(ic.create(endless), "x"), 5, "exceeded the limit of 200000000 instructions", "IC0522")


def test_stable_writes(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """a message that writes to more stable memory than allowed is rejected and writes nothing"""
    monkeypatch.setattr(limits, "WRITE_LIMIT", 20 * 65536)
    canister = ic.create(BUSY)
    assert ic.update(canister, "write", (20 * 65536).to_bytes(8, "little")) == Reply(b"")
    before = ic.number(canister, "size")
    outcome = ic.update(canister, "write", (20 * 65536 + 1).to_bytes(8, "little"))
    exceeded = "Exceeded the limit for the number of modified pages in the stable memory"
    assert "limit: 1280 KB" in rejected(outcome, 5, exceeded, "IC0524").message
    assert ic.number(canister, "size") == before


ACCESSED = "Exceeded the limit for the number of accessed pages in the stable memory in a single message execution"


def test_stable_reads(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """a message that reads more stable memory than allowed is rejected; pages that are read several times count once"""
    monkeypatch.setattr(limits, "ACCESS_LIMIT", 20 * 65536)
    canister = ic.create(BUSY)
    assert ic.update(canister, "read", (20 * 65536).to_bytes(8, "little")) == Reply(b"")
    outcome = ic.update(canister, "read", (20 * 65536 + 1).to_bytes(8, "little"))
    rejected(outcome, 5, f"{ACCESSED}: limit 1280 KB for regular messages and 1048576 KB for queries.", "IC0524")


def test_stable_reads_and_writes(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """pages of the stable memory that are written count with those that are read"""
    monkeypatch.setattr(limits, "ACCESS_LIMIT", 20 * 65536)
    canister = ic.create(BUSY)
    rejected(ic.update(canister, "write_and_read"), 5, ACCESSED, "IC0524")
    monkeypatch.setattr(limits, "ACCESS_LIMIT", 20 * 65536 + 4096)
    assert ic.update(canister, "write_and_read") == Reply(b"")


def test_stable_reads_of_queries(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """a query that reads more stable memory than allowed is rejected"""
    monkeypatch.setattr(limits, "QUERY_ACCESS_LIMIT", 20 * 65536)
    canister = ic.create(BUSY)
    for call in (ic.query, ic.update):
        assert call(canister, "read_query", (20 * 65536).to_bytes(8, "little")) == Reply(b"")
        rejected(call(canister, "read_query", (20 * 65536 + 1).to_bytes(8, "little")), 5, ACCESSED, "IC0524")


def test_heap_writes(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """a message that writes to more of the heap than allowed is rejected and writes nothing"""
    monkeypatch.setattr(limits, "WRITE_LIMIT", 20 * 65536)
    canister = ic.create(BUSY)
    outcome = ic.update(canister, "fill", (20 * 65536 + 1).to_bytes(4, "little"))
    rejected(outcome, 5, "Exceeded the limit for the number of modified pages in the main memory", "IC0524")
    assert ic.number(canister, "filled") == 0
    assert ic.update(canister, "fill", (20 * 65536).to_bytes(4, "little")) == Reply(b"")
    assert ic.number(canister, "filled") == 7


def test_rewrites(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """pages of the stable memory that are written several times count once"""
    monkeypatch.setattr(limits, "WRITE_LIMIT", 20 * 65536)
    assert ic.update(ic.create(BUSY), "rewrite") == Reply(b"")
