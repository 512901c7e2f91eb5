"""New code for an upgrade, made of the shipped modules: the same with another hash, or with something wrong."""

from __future__ import annotations

import re

import wasmtime


def marked(wasm: bytes, mark: str) -> bytes:
    """The same code with another hash: a custom section more."""
    return wasm + _custom("note", mark.encode())


def renamed(wasm: bytes, method: str) -> bytes:
    """A method has another name, of which the interface that the module tells says nothing."""
    exports = [export for mode in ("update", "query") if (export := f"canister_{mode} {method}".encode()) in wasm]
    assert exports, method
    for export in exports:
        wasm = wasm.replace(export, export[:-1] + b"_")
    return wasm


def without(wasm: bytes, method: str) -> bytes:
    """A method is not there any more, but one of another name that begins alike."""
    return re.sub(rf"(?<=  {method[:-1]}){method[-1]}(?= ?:)".encode(), b"_", renamed(wasm, method))


def trapping(interface: str) -> bytes:
    """Code that takes over the memory of a Motoko canister and then traps, with this interface."""
    text = """
    (module
      (import "ic0" "trap" (func $trap (param i64 i64)))
      (memory i64 1)
      (data (i64.const 0) "not today")
      (func (export "canister_post_upgrade") (call $trap (i64.const 0) (i64.const 9))))
    """
    code = bytes(wasmtime.wat2wasm(text))
    keeping = _custom("icp:private enhanced-orthogonal-persistence", b"64-bit")
    return telling(code + keeping, interface)


def telling(wasm: bytes, interface: str) -> bytes:
    """The code that tells this interface."""
    return wasm + _custom("icp:public candid:service", interface.encode())


def _custom(name: str, content: bytes) -> bytes:
    body = _length(len(name)) + name.encode() + content
    return b"\0" + _length(len(body)) + body


def _length(number: int) -> bytes:
    """As wasm has it, LEB128."""
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])
