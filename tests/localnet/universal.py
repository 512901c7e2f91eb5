"""A canister that does what its argument says: every function of the System API from every entry point.

The argument of its methods `update`, `query` and `composite_query`, and of `canister_init` and
`canister_post_upgrade`, is a program for a small stack machine; so are callbacks and hooks. Programs
are bytes and are written by concatenation:

    reply(caller())                                     # answer with who calls
    call(other, "update", reply(i64(api("time"))))      # the other's reply becomes this canister's

Values are 64-bit numbers; a blob is two of them, its address and its size. Every function of the
System API is one instruction, `api(name, *args)`: its signatures and the entry points it may be
called from are written down here once more, from the IC interface specification ("Overview of
imports"), so that the engine's own table is checked against them.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass

from wasmtime import wat2wasm

#: name : parameters -> results // entry points, as the specification writes them.
_SPECIFIED = """
msg_arg_data_size : -> I // I U RQ NRQ TQ CQ Ry CRy F
msg_arg_data_copy : I I I -> // I U RQ NRQ TQ CQ Ry CRy F
msg_caller_size : -> I // *
msg_caller_copy : I I I -> // *
msg_caller_info_data_size : -> I // U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_data_copy : I I I -> // U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_signer_size : -> I // U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_caller_info_signer_copy : I I I -> // U RQ NRQ CQ Ry Rt CRy CRt C CC F
msg_reject_code : -> i32 // Ry Rt CRy CRt C
msg_reject_msg_size : -> I // Rt CRt
msg_reject_msg_copy : I I I -> // Rt CRt
msg_deadline : -> i64 // U RQ NRQ CQ Ry Rt CRy CRt
msg_reply_data_append : I I -> // U RQ NRQ TQ CQ Ry Rt CRy CRt
msg_reply : -> // U RQ NRQ TQ CQ Ry Rt CRy CRt
msg_reject : I I -> // U RQ NRQ TQ CQ Ry Rt CRy CRt
msg_cycles_available128 : I -> // U RQ Rt Ry
msg_cycles_refunded128 : I -> // Rt Ry
msg_cycles_accept128 : i64 i64 I -> // U RQ Rt Ry
cycles_burn128 : i64 i64 I -> // I G U RQ Ry Rt C T
canister_self_size : -> I // *
canister_self_copy : I I I -> // *
canister_cycle_balance128 : I -> // *
canister_liquid_cycle_balance128 : I -> // *
canister_status : -> i32 // *
canister_version : -> i64 // *
subnet_self_size : -> I // *
subnet_self_copy : I I I -> // *
subnet_self_node_count : -> i32 // *
msg_method_name_size : -> I // F
msg_method_name_copy : I I I -> // F
accept_message : -> // F
call_new : I I I I I I I I -> // U CQ Ry Rt CRy CRt T
call_on_cleanup : I I -> // U CQ Ry Rt CRy CRt T
call_data_append : I I -> // U CQ Ry Rt CRy CRt T
call_with_best_effort_response : i32 -> // U CQ Ry Rt CRy CRt T
call_cycles_add128 : i64 i64 -> // U Ry Rt T
call_perform : -> i32 // U CQ Ry Rt CRy CRt T
stable64_size : -> i64 // * s
stable64_grow : i64 -> i64 // * s
stable64_write : i64 i64 i64 -> // * s
stable64_read : i64 i64 i64 -> // * s
root_key_size : -> I // I G U RQ Ry Rt C T
root_key_copy : I I I -> // I G U RQ Ry Rt C T
certified_data_set : I I -> // I G U Ry Rt T
data_certificate_present : -> i32 // *
data_certificate_size : -> I // NRQ CQ
data_certificate_copy : I I I -> // NRQ CQ
time : -> i64 // *
global_timer_set : i64 -> i64 // I G U Ry Rt C T
performance_counter : i32 -> i64 // * s
is_controller : I I -> i32 // * s
in_replicated_execution : -> i32 // * s
cost_call : i64 i64 I -> // * s
cost_create_canister : I -> // * s
cost_http_request : i64 i64 I -> // * s
cost_http_request_v2 : I I I -> // * s
cost_sign_with_ecdsa : I I i32 I -> i32 // * s
cost_sign_with_schnorr : I I i32 I -> i32 // * s
cost_vetkd_derive_key : I I i32 I -> i32 // * s
env_var_count : -> I // *
env_var_name_size : I -> I // *
env_var_name_copy : I I I I -> // *
env_var_name_exists : I I -> i32 // *
env_var_value_size : I I -> I // *
env_var_value_copy : I I I I I -> // *
debug_print : I I -> // * s
trap : I I -> // * s
"""
#: Those that only modules with 32-bit memories may import.
_SPECIFIED_32 = """
msg_cycles_available : -> i64 // U RQ Rt Ry
msg_cycles_refunded : -> i64 // Rt Ry
msg_cycles_accept : i64 -> i64 // U RQ Rt Ry
canister_cycle_balance : -> i64 // *
call_cycles_add : i64 -> // U Ry Rt T
stable_size : -> i32 // * s
stable_grow : i32 -> i32 // * s
stable_write : i32 i32 i32 -> // * s
stable_read : i32 i32 i32 -> // * s
"""
_ANYWHERE = "I G U RQ NRQ TQ CQ Ry Rt CRy CRt C CC F T"
#: All entry points.
ENTRIES = frozenset([*_ANYWHERE.split(), "s"])


@dataclass(frozen=True)
class Signature:
    """A function of the System API: types of parameters and results (``I``: as the memory), where it may be called."""

    params: tuple[str, ...]
    results: tuple[str, ...]
    entries: frozenset[str]


def _parse(table: str) -> dict[str, Signature]:
    found = {}
    for line in table.strip().splitlines():
        name, _, rest = line.partition(" : ")
        types, _, entries = rest.partition(" // ")
        params, _, results = types.partition("->")
        allowed = frozenset(entries.replace("*", _ANYWHERE).split())
        found[name] = Signature(tuple(params.split()), tuple(results.split()), allowed)
    return found


EVERYWHERE = _parse(_SPECIFIED)
ONLY_32_BIT = _parse(_SPECIFIED_32)
SIGNATURES = EVERYWHERE | ONLY_32_BIT

# The machine: a stack from 4096, slots of hooks from 0, an allocator that only grows from 131072.

_STACK, _HEAP = 4096, 131072
HOOKS = {
    "canister_pre_upgrade": 8,
    "canister_heartbeat": 16,
    "canister_global_timer": 24,
    "canister_inspect_message": 32,
    "canister_on_low_wasm_memory": 40,
    "canister_query transform": 48,
}
_BASIC = {
    "end": "(return)",
    "const": "(call $push (i64.load (local.get $pc))) {skip8}",
    "blob": """(local.set $p0 (i64.extend_i32_u (i32.load (local.get $pc)))) {skip4}
      (call $push {pc64}) (call $push (local.get $p0))
      (local.set $pc (I.add (local.get $pc) {p0}))""",
    "pick": """(local.set $p0 (call $pop))
      (call $push (i64.load (I.sub (global.get $sp) (I.mul (I.const 8) (I.add (I.const 1) {p0})))))""",
    "drop": "(drop (call $pop))",
    "swap": """(local.set $p0 (call $pop)) (local.set $p1 (call $pop))
      (call $push (local.get $p0)) (call $push (local.get $p1))""",
    "add": "(call $push (i64.add (call $pop) (call $pop)))",
    "sub": "(local.set $p0 (call $pop)) (call $push (i64.sub (call $pop) (local.get $p0)))",
    "eq": "(call $push (i64.extend_i32_u (i64.eq (call $pop) (call $pop))))",
    "load": "(local.set $p0 (call $pop)) (call $push (i64.load {p0}))",
    "store": "(local.set $p1 (call $pop)) (local.set $p0 (call $pop)) (i64.store {p0} (local.get $p1))",
    "alloc": "(call $push (call $alloc (call $pop)))",
    "jump_unless": """(local.set $p0 (i64.load (local.get $pc))) {skip8}
      (if (i64.eqz (call $pop)) (then (local.set $pc (I.add (local.get $pc) {p0}))))""",
    "jump_back": "(local.set $p0 (i64.load (local.get $pc))) (local.set $pc (I.sub (local.get $pc) {p0}))",
    "run": "(local.set $p0 (call $pop)) (call $run {p0})",
    "grow": "(local.set $p0 (call $pop)) (call $push {grow})",
    "pages": "(call $push {size})",
    "fill": """(local.set $p1 (call $pop)) (local.set $p0 (call $pop))
      (memory.fill {p0} (i32.const 7) {p1})""",
    "fill_table": "(table.fill (i32.const 8) (ref.null func) (i32.wrap_i64 (call $pop)))",
    "unreachable": "(unreachable)",
    "global_get": "(call $push (global.get $kept))",
    "global_set": "(global.set $kept (call $pop))",
    "recurse": "(call $recurse)",
}


@functools.cache
def universal(memory64: bool = False, start: bytes = b"", maximum_pages: int | None = None) -> bytes:
    """The module: with a 32- or 64-bit memory, and if `start` is given with a start function that runs this program."""
    address = "i64" if memory64 else "i32"
    signatures = EVERYWHERE if memory64 else SIGNATURES
    opcodes = [(name, _code(code, memory64)) for name, code in _BASIC.items()]
    opcodes += [(name, _host_call(name, item, memory64)) for name, item in signatures.items()]
    imports = "".join(_import(name, item, address) for name, item in signatures.items())
    blocks = f"(block $op0 (br_table {' '.join(f'$op{i}' for i in range(len(opcodes)))} $unknown (local.get $op)))"
    for number, (_, code) in enumerate(opcodes):
        blocks = (
            f"(block $op{number + 1} {blocks} {code} (br $next))"
            if number + 1 < len(opcodes)
            else (f"{blocks} {code} (br $next)")
        )
    accept = "(if (i64.eqz (i64.load (I.const {}))) (then (call $api_accept_message)))"
    hooks = "".join(
        f"""(func (export "{name}") {accept.format(slot) if name == "canister_inspect_message" else ""}
          (call $enter (I.wrap (i64.load (I.const {slot})))))"""
        for name, slot in HOOKS.items()
    )
    methods = "".join(
        f'(func (export "{name}") (call $enter_arg))'
        for name in (
            "canister_init",
            "canister_post_upgrade",
            "canister_update update",
            "canister_query query",
            "canister_composite_query composite_query",
        )
    )
    started = ""
    if start:
        data = "".join(f"\\{byte:02x}" for byte in start + _end())
        started = f'(data (I.const 66000) "{data}") (func $start (call $enter (I.const 66000))) (start $start)'
    limit = "" if maximum_pages is None else str(maximum_pages)
    text = f"""(module {imports}
      (memory {"i64" if memory64 else ""} 3 {limit})
      (table 100008 funcref) (elem (i32.const 0) $enter)
      (global $sp (mut {address}) (I.const {_STACK}))
      (global $heap (mut i64) (i64.const {_HEAP}))
      (global $kept (mut i64) (i64.const 0))
      (func $push (param i64)
        (i64.store (global.get $sp) (local.get 0)) (global.set $sp (I.add (global.get $sp) (I.const 8))))
      (func $pop (result i64)
        (global.set $sp (I.sub (global.get $sp) (I.const 8))) (i64.load (global.get $sp)))
      (func $alloc (param $size i64) (result i64) (local $at i64)
        (local.set $at (global.get $heap))
        (global.set $heap (i64.and (i64.add (i64.add (local.get $at) (local.get $size)) (i64.const 7)) (i64.const -8)))
        (if (i64.gt_u (global.get $heap) (i64.mul (i64.const 65536) SIZE))
          (then (drop GROW_TO)))
        (local.get $at))
      (func $recurse (call $recurse) (call $recurse))
      (func $enter (param $pc {address})
        (if (I.eqz (local.get $pc)) (then (return)))
        (global.set $sp (I.const {_STACK})) (call $run (local.get $pc)))
      (func $enter_arg (local $at i64)
        (local.set $at (call $alloc (i64.add (i64.const 1) (I.extend (call $api_msg_arg_data_size)))))
        (call $api_msg_arg_data_copy (I.wrap (local.get $at)) (I.const 0) (call $api_msg_arg_data_size))
        (call $enter (I.wrap (local.get $at))))
      (func $run (param $pc {address}) (local $op i32)
        {" ".join(f"(local $p{i} i64)" for i in range(8))}
        (block $unknown (loop $next
          (local.set $op (i32.load8_u (local.get $pc)))
          (local.set $pc (I.add (local.get $pc) (I.const 1)))
          {blocks}))
        (unreachable))
      {hooks} {methods} {started})"""
    wanted = "(i64.div_u (i64.sub (global.get $heap) (i64.mul (i64.const 65536) SIZE)) (i64.const 65536))"
    text = text.replace("GROW_TO", f"(memory.grow (I.wrap (i64.add (i64.const 1) {wanted})))")
    return bytes(wat2wasm(_typed(text, memory64)))


def _typed(text: str, memory64: bool) -> str:
    if memory64:
        text = text.replace("(I.wrap (", "(i64.add (i64.const 0) (").replace("(I.extend (", "(i64.add (i64.const 0) (")
        return text.replace("SIZE", "(memory.size)").replace("I.", "i64.")
    text = text.replace("(I.wrap ", "(i32.wrap_i64 ").replace("(I.extend ", "(i64.extend_i32_u ")
    return text.replace("SIZE", "(i64.extend_i32_u (memory.size))").replace("I.", "i32.")


def _code(code: str, memory64: bool) -> str:
    step = "(local.set $pc (I.add (local.get $pc) (I.const {})))"
    return code.format(
        skip8=step.format(8),
        skip4=step.format(4),
        pc64="(local.get $pc)" if memory64 else "(i64.extend_i32_u (local.get $pc))",
        p0="(local.get $p0)" if memory64 else "(i32.wrap_i64 (local.get $p0))",
        p1="(local.get $p1)" if memory64 else "(i32.wrap_i64 (local.get $p1))",
        grow="(memory.grow (local.get $p0))"
        if memory64
        else "(i64.extend_i32_s (memory.grow (i32.wrap_i64 (local.get $p0))))",
        size="(memory.size)" if memory64 else "(i64.extend_i32_u (memory.size))",
    )


def _import(name: str, item: Signature, address: str) -> str:
    params = " ".join(item.params).replace("I", address)
    results = " ".join(item.results).replace("I", address)
    return (
        f'(import "ic0" "{name}" (func $api_{name}'
        f" {f'(param {params})' if params else ''} {f'(result {results})' if results else ''}))"
    )


def _host_call(name: str, item: Signature, memory64: bool) -> str:
    wide = {"i64"} | ({"I"} if memory64 else set())
    pops = " ".join(f"(local.set $p{i} (call $pop))" for i in reversed(range(len(item.params))))
    args = " ".join(
        f"(local.get $p{i})" if kind in wide else f"(i32.wrap_i64 (local.get $p{i}))"
        for i, kind in enumerate(item.params)
    )
    call = f"(call $api_{name} {args})"
    if item.results:
        call = f"(call $push {call if item.results[0] in wide else f'(i64.extend_i32_u {call})'})"
    return f"{pops} {call}"


# Writing programs.

_NUMBERS = {name: number for number, name in enumerate([*_BASIC, *EVERYWHERE, *ONLY_32_BIT])}


def _op(name: str) -> bytes:
    return bytes([_NUMBERS[name]])


def _end() -> bytes:
    return _op("end")


def number(value: int) -> bytes:
    """Leaves a number."""
    return _op("const") + (value % 2**64).to_bytes(8, "little")


def blob(data: bytes) -> bytes:
    """Leaves a blob."""
    return _op("blob") + struct.pack("<I", len(data)) + data


def _value(value: int | bytes) -> bytes:
    return value if isinstance(value, bytes) else number(value)


def api(name: str, *args: int | bytes) -> bytes:
    """Calls a function of the System API; an argument is a number, or a program that leaves one or two."""
    return b"".join(map(_value, args)) + _op(name)


def basic(name: str, *args: int | bytes) -> bytes:
    """An instruction of the machine itself, such as ``add``, ``load`` (8 bytes at an address) or ``grow`` (pages)."""
    return b"".join(map(_value, args)) + _op(name)


def pick(depth: int) -> bytes:
    """Leaves a copy of the value `depth` below the top."""
    return basic("pick", depth)


def taken(name: str, *leading: int | bytes) -> bytes:
    """Leaves the blob of the pair of functions ``<name>_size`` and ``<name>_copy``, which both take `leading`."""
    allocated = api(f"{name}_size", *leading) + pick(0) + _op("alloc")  # size, address
    copied = b"".join(map(_value, leading))
    depth = sum(2 if isinstance(item, bytes) else 1 for item in leading)
    return allocated + copied + pick(depth) + number(0) + pick(depth + 3) + _op(f"{name}_copy") + _op("swap")


def caller() -> bytes:
    """Leaves the caller's principal."""
    return taken("msg_caller")


def argument() -> bytes:
    """Leaves the argument; in a reply callback, the reply."""
    return taken("msg_arg_data")


def reject_message() -> bytes:
    """Leaves the text of a rejection."""
    return taken("msg_reject_msg")


def i64(value: int | bytes) -> bytes:
    """Leaves a number as a blob of 8 bytes, little endian."""
    return number(8) + _op("alloc") + pick(0) + _value(value) + _op("store") + number(8)


def amount(name: str, *args: int | bytes) -> bytes:
    """Leaves what a function writes as 128 bits to the address that is its last parameter: a blob of 16 bytes."""
    given = b"".join(map(_value, args))
    return number(16) + _op("alloc") + given + pick(sum(map(_width, args))) + _op(name) + number(16)


def _width(value: int | bytes) -> int:
    return 1 if isinstance(value, int) else 2


def append(data: bytes) -> bytes:
    """Appends a blob to the reply."""
    return data + _op("msg_reply_data_append")


def reply(data: bytes = b"") -> bytes:
    """Replies with a blob, or with what was appended."""
    return (append(data) if data else b"") + _op("msg_reply")


def reject(text: str) -> bytes:
    """Rejects."""
    return api("msg_reject", blob(text.encode()))


def trap(text: str = "trapped on request") -> bytes:
    """Traps."""
    return api("trap", blob(text.encode()))


def ignore(value: bytes) -> bytes:
    """Drops the number that a program leaves."""
    return value + _op("drop")


def stable_write(offset: int, data: bytes) -> bytes:
    """Writes a blob to the stable memory."""
    # stable64_write takes the offset first: it goes below the blob.
    return number(offset) + data + _op("stable64_write")


def stable_read(offset: int, size: int) -> bytes:
    """Leaves a blob read from the stable memory."""
    return number(size) + _op("alloc") + pick(0) + number(offset) + number(size) + _op("stable64_read") + number(size)


def stored(address: int) -> bytes:
    """Leaves the number at an address of the heap below 4096."""
    return basic("load", address)


def store(address: int, value: int | bytes) -> bytes:
    """Stores a number at an address of the heap below 4096 (from 1024 on nothing else is there)."""
    return basic("store", address, value)


def hook(name: str, program: bytes) -> bytes:
    """From now on, the entry point `name` (of `HOOKS`) runs `program`; until then all ingress messages are accepted."""
    return number(HOOKS[name]) + code(program) + _op("store")


def code(program: bytes) -> bytes:
    """Leaves the address of `program`, as callbacks and hooks need it."""
    return blob(program + _end()) + _op("drop")


def forever(program: bytes = b"") -> bytes:
    """Runs `program` without end."""
    return program + _op("jump_back") + (len(program) + 1).to_bytes(8, "little")


def unless_zero(condition: bytes, program: bytes) -> bytes:
    """Runs `program` if `condition` leaves another number than 0."""
    return condition + _op("jump_unless") + len(program).to_bytes(8, "little") + program


def new_call(
    callee: bytes,
    method: str,
    payload: bytes = b"",
    on_reply: bytes | None = None,
    on_reject: bytes | None = None,
    on_cleanup: bytes | None = None,
    cycles: int = 0,
    timeout: int | None = None,
) -> bytes:
    """Everything of a call but performing it. By default its outcome is replied with, see `rejected`."""
    relay_reply = reply(argument())
    relay_reject = append(i64(api("msg_reject_code"))) + reply(reject_message())
    parts = api(
        "call_new",
        blob(callee),
        blob(method.encode()),
        0,
        code(relay_reply if on_reply is None else on_reply),
        0,
        code(relay_reject if on_reject is None else on_reject),
    )
    if on_cleanup is not None:
        parts += api("call_on_cleanup", 0, code(on_cleanup))
    if payload:
        parts += api("call_data_append", blob(payload))
    if cycles:
        parts += api("call_cycles_add128", cycles >> 64, cycles % 2**64)
    if timeout is not None:
        parts += api("call_with_best_effort_response", timeout)
    return parts


def rejected(data: bytes) -> tuple[int, str]:
    """Code and text of a rejection that `new_call` passed on: 8 bytes and a text."""
    return int.from_bytes(data[:8], "little"), data[8:].decode()


def call(callee: bytes, method: str, payload: bytes = b"", **options: object) -> bytes:
    """Calls; see `new_call`. Traps if the call cannot be performed."""
    performed = new_call(callee, method, payload, **options) + _op("call_perform")  # type: ignore[arg-type]
    return unless_zero(performed, trap("call_perform failed"))


def signature_text(name: str, address: str) -> str:
    """The import of a function as text, for modules of one's own."""
    return _import(name, SIGNATURES[name], address)


def stable_grow(pages: int) -> bytes:
    """Grows the stable memory."""
    return ignore(api("stable64_grow", pages))
