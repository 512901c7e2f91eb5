"""Modules as bytes: what is a canister module and what is not."""

from __future__ import annotations

import gzip

import pytest
from wasmtime import wat2wasm

from mainer_nb.localnet import wasm
from mainer_nb.localnet.errors import Reject
from mainer_nb.protocol.leb128 import leb128
from tests.localnet.driver import INSTALL, Driver, module


def test_what_a_module_declares() -> None:
    text = """(module
      (import "ic0" "msg_reply" (func $reply))
      (memory i64 3 9) (table 1 funcref)
      (global (mut i32) (i32.const 1)) (global i64 (i64.const 2)) (global (mut f64) (f64.const 3))
      (global (export "end") i32 (i32.const 4)) (global (export "none") externref (ref.null extern))
      (start $main) (func $main)
      (func (export "canister_query get")) (func (export "canister_composite_query all")) (func (export "other")))"""
    info = wasm.inspect(bytes(wat2wasm(text)))
    assert info.memory64
    assert info.memory_pages == (3, 9)
    assert info.has_table
    assert info.imports == (("ic0", "msg_reply"),)
    assert info.globals == ((0, "i32", True), (2, "f64", True), (3, "i32", False))
    assert info.start == 1
    assert info.method_kind("get") == "query"
    assert info.method_kind("all") == "composite_query"
    assert info.method_kind("other") is None


def test_custom_sections_are_metadata() -> None:
    def section(name: bytes, content: bytes) -> bytes:
        body = bytes([len(name)]) + name + content
        return b"\0" + bytes([len(body)]) + body

    plain = bytes(wat2wasm("(module)"))
    info = wasm.inspect(plain + section(b"icp:public candid:service", b"service") + section(b"icp:private x", b"y"))
    assert info.metadata() == {"candid:service": (True, b"service"), "x": (False, b"y")}


def test_an_instrumented_module_keeps_its_meaning() -> None:
    plain = bytes(wat2wasm('(module (memory 1) (global (mut i32) (i32.const 1)) (func (export "f")))'))
    again = wasm.inspect(plain)
    instrumented = wasm.instrument(plain, again, wasm.code_section(plain))
    with pytest.raises(wasm.InvalidModule, match="reserved"):
        wasm.inspect(instrumented)
    without_exports = bytes(wat2wasm('(module (memory 1) (func $f) (start $f) (data (i32.const 0) "x"))'))
    code = wasm.code_section(without_exports)
    changed = wasm.instrument(without_exports, wasm.inspect(without_exports), code)
    assert b"ic:memory" in changed
    assert b"ic:start" in changed


@pytest.mark.parametrize(
    ("module_bytes", "why"),
    [
        (b"not wasm", "wasm magic"),
        (gzip.compress(b"not wasm either"), "wasm magic"),
        (gzip.compress(bytes(wat2wasm("(module)")))[:-6], "cannot unpack"),
        (bytes(wat2wasm('(module (func (export "canister_update f")))'))[:-3], "earlier"),
        (bytes(wat2wasm('(module (import "env" "f" (func)))')), "env.f"),
        (bytes(wat2wasm('(module (import "ic0" "nope" (func)))')), "ic0.nope"),
        (bytes(wat2wasm('(module (import "ic0" "msg_reply" (func (param i32))))')), "incompatible import type"),
        (bytes(wat2wasm('(module (import "ic0" "m" (memory 1)))')), "not a function"),
        (
            bytes(wat2wasm('(module (func (export "canister_update f")) (func (export "canister_query f")))')),
            "Duplicate function 'f'",
        ),
        (bytes(wat2wasm('(module (func (export "canister_foo")))')), "entry point"),
        (bytes(wat2wasm('(module (func (export "ic:x")))')), "reserved"),
    ],
)
def test_invalid_modules_are_refused_and_nothing_is_installed(ic: Driver, module_bytes: bytes, why: str) -> None:
    canister = ic.create()
    outcome = ic.install(canister, module_bytes, INSTALL)
    assert isinstance(outcome, Reject)
    assert outcome.error_code == "IC0505"
    assert why in outcome.message
    assert ic.manage("canister_status", {"canister_id": canister})["module_hash"] is None


GO = b"\x12canister_update go\0\0"  # exports the first function


def _section(number: int, items: list[bytes], announced: int | None = None) -> bytes:
    content = leb128(len(items) if announced is None else announced) + b"".join(items)
    return bytes([number]) + leb128(len(content)) + content


def _with(*sections: bytes, body: bytes = b"", locals_: bytes = b"\0") -> bytes:
    """A module with one update method `go` of this code, and further sections."""
    code = locals_ + body + b"\x0b"
    parts = {1: _section(1, [b"\x60\0\0"]), 3: _section(3, [b"\0"]), 5: _section(5, [b"\0\1"])}
    parts[7] = _section(7, [GO])
    parts[10] = _section(10, [leb128(len(code)) + code])
    parts |= {section[0]: section for section in sections}
    return wasm.MAGIC + b"".join(parts[number] for number in sorted(parts, key=lambda number: number or 99))


def _padded(size: int) -> bytes:
    return gzip.compress(wasm.MAGIC + bytes(size))


@pytest.mark.parametrize(
    ("module_bytes", "why"),
    [
        (_with(b"\x08\1\0", _section(1, [b"\x60\2\x7e\x7e\0"])), "invalid start function type"),
        (_with(b"\x08\1\5"), "unknown function"),
        (_with() + b"\x08\1\0", "out of order"),
        (_with(_section(7, [GO], announced=2), body=b"\1" * 20), "ends too early"),  # reads on as if it were a name
        (_with(_section(7, [GO], announced=0)), "section size mismatch"),
        (_with(_section(11, [b"\0\x41\0\x0b\0"] * (wasm.MAX_DATA_SEGMENTS + 1))), "data segments"),
        (_with() + b"\0\2\1x" * (wasm.MAX_SECTIONS + 1), "more than 10000 sections"),
        (_padded(wasm.MAX_MODULE - 8), "more than 10000 sections"),
        (_padded(wasm.MAX_MODULE), "larger than 104857600 bytes"),
        (bytes(wat2wasm('(module (type $s (struct)) (func (export "x") (param (ref null $s))))')), "gc"),
        (bytes(wat2wasm('(module (tag $t) (func (throw $t)))')), "exceptions"),
        (bytes(wat2wasm('(module (type $t (func)) (func (call_ref $t (ref.null $t))))')), "reference"),
    ],
    ids=[
        "start takes", "no start", "start late", "export missing", "export left over", "data", "sections", "zeros",
        "bomb", "gc", "exceptions", "call_ref",
    ],
)  # fmt: skip
def test_hostile_modules_are_refused(ic: Driver, module_bytes: bytes, why: str) -> None:
    outcome = ic.install(ic.create(), module_bytes, INSTALL)
    assert isinstance(outcome, Reject)
    assert outcome.error_code == "IC0505"
    assert why in outcome.message


def test_very_many_exports_are_no_burden(ic: Driver) -> None:
    names = [leb128(len(name)) + name + b"\0\0" for name in (b"%d" % n for n in range(20_000))]
    canister = ic.create(_with(_section(7, [*names, GO])))
    assert ic.update(canister, "go") == ic.update(canister, "go")


def test_gzipped_modules_can_be_installed(ic: Driver) -> None:
    plain = module('(func (export "canister_query five") (call $reply_i64 (i64.const 5)))')
    assert ic.number(ic.create(gzip.compress(plain)), "five") == 5
