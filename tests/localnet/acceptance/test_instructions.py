"""Instructions: what each counts as, by mainnet's table, and what else counts as instructions."""

from __future__ import annotations

import pytest
from wasmtime import wat2wasm

from mainer_nb.localnet import cycles, metering
from tests.localnet.acceptance.proxy import rejected
from tests.localnet.driver import HELPERS, IMPORTS, INSTALL, UPGRADE, Driver, module

DOES_NOT_HOLD = {
    "instructions before one that traps are counted with their whole block": "they are counted one by one; a message"
    " that traps is charged up to some dozen instructions less",
    "NaNs have one form": "floating-point operations give the processor's NaN, so their bits may differ from mainnet's",
}

#: Declarations that the instructions below need; none of them is executed by itself.
_CONTEXT = """(table $t 10 funcref) (elem declare func $nothing) (data $d "1234") (elem $e func $nothing)
  (global $g (mut i32) (i32.const 0)) (type $none (func)) (func $nothing)"""
_I32, _I64, _F32, _F64 = "(i32.const 1)", "(i64.const 1)", "(f32.const 1)", "(f64.const 1)"
_V = "(v128.const i32x4 1 1 1 1)"

#: Instructions by weight; their operands, constants and local variables, count as one each.
WEIGHTS = {
    "nop": 1,
    f"(drop {_I32})": 1 + 1,
    "(local.set $n (local.get $n))": 2,
    "(block (br 0))": 2,
    f"(block (br_if 0 {_I32}))": 2 + 1,
    f"(block (br_table 0 0 0 {_I32}))": 2 + 1,
    f"(if {_I32} (then nop) (else nop nop))": 2 + 1 + 1,
    "(loop nop)": 1,
    "(call $nothing)": 5 + 1,
    "(table.set $t (i32.const 0) (ref.func $nothing)) (call_indirect $t (type $none) (i32.const 0))": 5
    + 1
    + 130
    + 10
    + 1
    + 1,
    "(global.set $g (global.get $g))": 2 + 2,
    f"(drop (select {_I32} {_I32} {_I32}))": 1 + 3 + 1,
    f"(drop (i32.add {_I32} {_I32}))": 1 + 2 + 1,
    f"(drop (i32.mul {_I32} {_I32}))": 1 + 2 + 1,
    f"(drop (i32.div_u {_I32} {_I32}))": 10 + 2 + 1,
    f"(drop (i64.rem_s {_I64} {_I64}))": 10 + 2 + 1,
    f"(drop (i64.lt_u {_I64} {_I64}))": 1 + 2 + 1,
    f"(drop (i64.extend_i32_u {_I32}))": 1 + 1 + 1,
    f"(drop (i32.popcnt {_I32}))": 1 + 1 + 1,
    f"(drop (f32.neg {_F32}))": 1 + 1 + 1,
    f"(drop (f32.add {_F32} {_F32}))": 2 + 2 + 1,
    f"(drop (f64.mul {_F64} {_F64}))": 2 + 2 + 1,
    f"(drop (f32.div {_F32} {_F32}))": 3 + 2 + 1,
    f"(drop (f64.div {_F64} {_F64}))": 5 + 2 + 1,
    f"(drop (f32.sqrt {_F32}))": 5 + 1 + 1,
    f"(drop (f64.sqrt {_F64}))": 8 + 1 + 1,
    f"(drop (f64.min {_F64} {_F64}))": 18 + 2 + 1,
    f"(drop (f32.copysign {_F32} {_F32}))": 2 + 2 + 1,
    f"(drop (f64.copysign {_F64} {_F64}))": 3 + 2 + 1,
    f"(drop (f64.nearest {_F64}))": 2 + 1 + 1,
    f"(drop (f64.lt {_F64} {_F64}))": 3 + 2 + 1,
    f"(drop (i32.trunc_f64_s {_F64}))": 20 + 1 + 1,
    f"(drop (i64.trunc_sat_f32_u {_F32}))": 20 + 1 + 1,
    f"(drop (f32.convert_i32_s {_I32}))": 3 + 1 + 1,
    f"(drop (f64.convert_i64_u {_I64}))": 16 + 1 + 1,
    f"(drop (f64.promote_f32 {_F32}))": 1 + 1 + 1,
    "(drop (ref.is_null (ref.null func)))": 5 + 1 + 1,
    f"(drop (table.get $t {_I32}))": 5 + 1 + 1,
    "(drop (table.size $t))": 100 + 1,
    "(data.drop $d)": 300,
    "(elem.drop $e)": 300,
    f"(drop (f32x4.add {_V} {_V}))": 2 + 2 + 1,
    f"(drop (f32x4.mul {_V} {_V}))": 2 + 2 + 1,
    f"(drop (f32x4.div {_V} {_V}))": 10 + 2 + 1,
    f"(drop (f64x2.sqrt {_V}))": 14 + 1 + 1,
    f"(drop (f64x2.max {_V} {_V}))": 5 + 2 + 1,
    f"(drop (i32x4.add {_V} {_V}))": 1 + 2 + 1,
    f"(drop (i32x4.mul {_V} {_V}))": 2 + 2 + 1,
    f"(drop (i64x2.mul {_V} {_V}))": 4 + 2 + 1,
    f"(drop (i32x4.dot_i16x8_s {_V} {_V}))": 1 + 2 + 1,
    f"(drop (i16x8.extmul_high_i8x16_u {_V} {_V}))": 2 + 2 + 1,
    f"(drop (i32x4.extadd_pairwise_i16x8_u {_V}))": 3 + 1 + 1,
    f"(drop (i8x16.shuffle 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 {_V} {_V}))": 3 + 2 + 1,
    f"(drop (i8x16.popcnt {_V}))": 3 + 1 + 1,
    f"(drop (i64x2.shr_s {_V} {_I32}))": 3 + 2 + 1,
    f"(drop (i32x4.trunc_sat_f32x4_u {_V}))": 4 + 1 + 1,
    f"(drop (i8x16.extract_lane_s 15 {_V}))": 1 + 1 + 1,
}
#: The same for instructions that use the memory, whose addresses are `A`: in 32-bit memories, and in 64-bit ones.
MEMORY_WEIGHTS = {
    "(drop (i32.load (A 8)))": (1 + 1 + 1, 2 + 1 + 1),
    f"(i64.store8 offset=70000 align=1 (A 8) {_I64})": (1 + 2, 2 + 2),
    f"(drop (v128.load32_lane 1 (A 8) {_V}))": (1 + 2 + 1, 2 + 2 + 1),
    f"(v128.store (A 16) {_V})": (1 + 2, 2 + 2),
    "(drop (memory.size))": (20 + 1, 20 + 1),
    "(drop (memory.grow (A 0)))": (300 + 1 + 1, 300 + 1 + 1),
    "(drop (memory.grow (A 100000)))": (300 + 1 + 1, 300 + 1 + 1),
    "(memory.fill (A 0) (i32.const 1) (A 50000))": (100 + 3 + 50_000, 100 + 3 + 50_000),
    "(memory.copy (A 0) (A 1) (A 50000))": (100 + 3 + 50_000, 100 + 3 + 50_000),
    "(memory.init $d (A 0) (i32.const 0) (i32.const 4))": (100 + 3 + 4, 100 + 3 + 4),
}


def counted(ic: Driver, *snippets: str, memory64: bool = False) -> list[int]:
    """How many instructions each snippet counts as, from performance counters around it."""
    methods = ""
    for index, snippet in enumerate(("", *snippets)):
        methods += f"""(func (export "canister_update go {index}") (local $n i32) (local $before i64)
          (local.set $before (call $performance (i32.const 0)))
          {snippet}
          (call $answer (i64.sub (call $performance (i32.const 0)) (local.get $before))))"""
    address = "i64" if memory64 else "i32"
    text = f"""(module
      (import "ic0" "performance_counter" (func $performance (param i32) (result i64)))
      (import "ic0" "msg_reply_data_append" (func $append (param {address} {address})))
      (import "ic0" "msg_reply" (func $reply))
      (memory {address} 2) {_CONTEXT} {methods}
      (func $answer (param $value i64)
        (i64.store ({address}.const 1000) (local.get $value))
        (call $append ({address}.const 1000) ({address}.const 8)) (call $reply)))"""
    canister = ic.create(bytes(wat2wasm(text.replace("(A ", f"({address}.const "))))
    base, *found = [ic.number(canister, f"go {index}") for index in range(len(snippets) + 1)]
    return [count - base for count in found]


def test_weights(ic: Driver) -> None:
    """an instruction counts as its weight: a call 5, a division 10, growing a memory 300"""
    assert dict(zip(WEIGHTS, counted(ic, *WEIGHTS), strict=True)) == WEIGHTS


@pytest.mark.parametrize("memory64", [False, True], ids=["32", "64"])
def test_memory_weights(ic: Driver, memory64: bool) -> None:
    """loads and stores of a 64-bit memory count twice; filling and copying count each byte"""
    found = dict(zip(MEMORY_WEIGHTS, counted(ic, *MEMORY_WEIGHTS, memory64=memory64), strict=True))
    assert found == {snippet: weights[memory64] for snippet, weights in MEMORY_WEIGHTS.items()}


def test_loop(ic: Driver) -> None:
    """a loop counts what it executes, each time around"""
    body = """(loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 1000))))"""
    assert counted(ic, body) == [1000 * (4 + 3 + 2)]


def system_calls(ic: Driver, calls: dict[str, str], declared: str = "(memory 1)") -> dict[str, int]:
    """How many instructions each call of a system function counts as, without its operands and the call itself."""
    methods = ""
    for name, call in {"nothing": "", **calls}.items():
        methods += f"""(func (export "canister_update {name}") (local $before i64)
          (drop (call $stable_grow (i64.const 2)))
          (local.set $before (call $performance (i32.const 0)))
          {call}
          (call $print_number (i64.sub (call $performance (i32.const 0)) (local.get $before))))"""
    body = """(import "ic0" "is_controller" (func $is_controller (param i32 i32) (result i32)))
      (func $print_number (param $value i64)
        (i64.store (i32.const 1000) (local.get $value)) (call $print (i32.const 1000) (i32.const 8)))"""
    imports, functions = body.split("(func $print_number", 1)
    text = f"(module {IMPORTS} {imports} {declared} {HELPERS} (func $print_number{functions} {methods})"
    canister = ic.create(bytes(wat2wasm(text)))
    found = {}
    for name in ("nothing", *calls):
        ic.update(canister, name)
        lines = [line for _, _, line in ic.network.subnet.canisters[canister].logs if len(line) == 8]
        found[name] = int.from_bytes(lines[-1], "little")
    return {name: found[name] - found["nothing"] for name in calls}


def test_system_calls(ic: Driver) -> None:
    """a call of the system counts as 500 instructions; building one 1,500, making one 5,000"""
    eight = "(i32.const 0) " * 8
    found = system_calls(
        ic,
        {
            "time": "(drop (call $time))",
            "caller": "(drop (call $caller_size))",
            "counter": "(drop (call $performance (i32.const 0)))",
            "timer": "(drop (call $timer_set (i64.const 0)))",
            "controller": "(drop (call $is_controller (i32.const 0) (i32.const 0)))",
            "call_new": f"(call $call_new {eight})",
            "perform": f"(call $call_new {eight}) (drop (call $call_perform))",
            "stable_size": "(drop (call $stable_size))",
            "stable_grow": "(drop (call $stable_grow (i64.const 0)))",
            "stable_read": "(call $stable_read (i64.const 0) (i64.const 0) (i64.const 0))",
        },
    )
    around = 5 + 1  # the call instruction and drop
    assert found == {
        "time": 500 + around,
        "caller": 500 + around,
        "counter": 200 + around + 1,
        "timer": 500 + around + 1,
        "controller": 1_000 + around + 2,
        "call_new": 1_500 + 5 + 8,
        "perform": 1_500 + 5 + 8 + 5_000 + around,
        "stable_size": 20 + around,
        "stable_grow": 100 + around + 1,
        "stable_read": 20 + 5 + 3,
    }


def test_bytes(ic: Driver) -> None:
    """a byte that is copied counts as one instruction, one that leaves the canister in an answer or a call as 50"""
    found = system_calls(
        ic,
        {
            "self": "(call $self_copy (i32.const 0) (i32.const 0) (i32.const 10))",
            "append": "(call $append (i32.const 0) (i32.const 10000))",
            "reject": "(call $reject (i32.const 0) (i32.const 1000))",
            "stable": "(call $stable_read (i64.const 0) (i64.const 0) (i64.const 60000))",
        },
    )
    assert found == {
        "self": 500 + 10 + 5 + 3,
        "append": 500 + 50 * 10_000 + 5 + 2,
        "reject": 500 + 50 * 1_000 + 5 + 2,
        "stable": 20 + 60_000 + 5 + 3,
    }


def test_log_bytes(ic: Driver) -> None:
    """a byte that is printed counts as 52 instructions while the log has room for it, and then as two"""
    line = "(call $print (i32.const 0) (i32.const 1000))"
    found = system_calls(ic, {"one": line, "five": line * 5})
    each = 100 + 5 + 2 + 2 * 1000
    assert found == {"one": each + 50 * 1000, "five": 5 * each + 50 * 4096}


def test_dirty_stable_pages(ic: Driver) -> None:
    """each 4 KiB page of the stable memory counts as 1,000 instructions when a message writes to it first"""
    write = "(call $stable_write (i64.const 4095) (i64.const 0) (i64.const 4098))"
    found = system_calls(ic, {"once": write, "twice": write * 2})
    each = 20 + 4098 + 5 + 3
    assert found == {"once": each + 3 * 1_000, "twice": 2 * each + 3 * 1_000}


@pytest.mark.parametrize(("memory64", "price"), [(False, 1_000), (True, 2 * 4 * 1_000)], ids=["32", "64"])
def test_dirty_heap_pages(ic: Driver, memory64: bool, price: int) -> None:
    """each 4 KiB page of the heap that a message has written to counts as 1,000 instructions, of a 64-bit one 4,000"""
    store = "(i32.store8 (A 100000) (i32.const 1))"
    address = "i64" if memory64 else "i32"
    more = " ".join(f"(i32.store8 (A {100_000 + page * 4096}) (i32.const 1))" for page in range(1, 11))
    text = f"""(module (import "ic0" "msg_reply" (func $reply)) (memory {address} 3)
      (func (export "canister_update one") {store} (call $reply))
      (func (export "canister_update two") {store} {store} (call $reply))
      (func (export "canister_update all") {store} {more} (call $reply)))"""
    canister = ic.create(bytes(wat2wasm(text.replace("(A ", f"({address}.const "))))
    spent = {}
    for method in ("one", "two", "all"):
        before = ic.network.subnet.canisters[canister].state.burned
        ic.update(canister, method)
        spent[method] = ic.network.subnet.canisters[canister].state.burned - before
    statement = (2 * 4) if memory64 else 3
    assert spent["two"] - spent["one"] == statement
    assert spent["all"] - spent["one"] == 10 * (price + statement)


def installation_price(ic: Driver, wasm: bytes, canister: bytes | None = None) -> int:
    """Cycles of an installation, without those of the message."""
    canister = canister or ic.create()
    state = ic.network.subnet.canisters[canister].state
    mode = UPGRADE if state.module else INSTALL
    size = len("install_code") + len(
        ic.encoded("install_code", {"mode": mode, "canister_id": canister, "wasm_module": wasm, "arg": b"DIDL\0\0"})
    )
    before = state.burned
    assert ic.install(canister, wasm, mode) is None
    return state.burned - before - cycles.ingress(size) - cycles.UPDATE_MESSAGE_EXECUTION


def test_compilation(ic: Driver) -> None:
    """an installation costs 6,000 instructions for each instruction of the module, 60 if the network has it already"""
    wasm = bytes(wat2wasm(f"(module (func {'nop ' * 10_000}))"))  # and an end
    first, second = ic.create(), ic.create()
    assert abs(installation_price(ic, wasm, first) - 6_000 * 10_001) < 100_000
    assert abs(installation_price(ic, wasm, second) - 60 * 10_001) < 100_000
    assert abs(installation_price(ic, wasm, first) - 60 * 10_001) < 100_000


def test_function_size(ic: Driver) -> None:
    """a function with more than 1,000,000 instructions is refused"""
    allowed = bytes(wat2wasm("(module (func))")).replace(b"\x0a\x04\x01\x02\x00\x0b", b"")
    assert ic.install(ic.create(), allowed + _code(metering.MAX_FUNCTION_COMPLEXITY), INSTALL) is None
    outcome = ic.install(ic.create(), allowed + _code(metering.MAX_FUNCTION_COMPLEXITY + 1), INSTALL)
    text = "a function at index 0 with complexity 1000001 which exceeds the maximum complexity allowed 1000000."
    rejected(outcome, 5, text, "IC0505")


def _code(instructions: int) -> bytes:
    """A code section with one function of so many instructions, the last of which ends it."""
    body = b"\0" + b"\x01" * (instructions - 1) + b"\x0b"
    content = b"\x01" + _number(len(body)) + body
    return b"\x0a" + _number(len(content)) + content


def _number(value: int) -> bytes:
    return bytes([value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21])


def test_function_complexity(ic: Driver) -> None:
    """a function with more than 20,000 branches and calls is refused"""
    wasm = bytes(wat2wasm(f"(module (func) (func {'(block) ' * 20_001}))"))
    outcome = ic.install(ic.create(), wasm, INSTALL)
    rejected(outcome, 5, "at index 1 with complexity 1020052 which exceeds the maximum complexity", "IC0505")


@pytest.mark.parametrize(
    "body",
    [
        "(func $f (return_call $f))",
        "(func (drop (f32x4.relaxed_madd (v128.const i64x2 0 0) (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
        "(memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0))))",
        "(type $s (struct)) (func (drop (struct.new $s)))",
        "(memory 1) (memory 1)",
        "(tag $t) (func (throw $t))",
    ],
    ids=["tail call", "relaxed vectors", "threads", "garbage collection", "two memories", "exceptions"],
)
def test_proposals(ic: Driver, body: str) -> None:
    """instructions that canisters do not have are refused"""
    rejected(ic.install(ic.create(), bytes(wat2wasm(f"(module {body})")), INSTALL), 5, "not valid", "IC0505")


def test_padding_is_no_code(ic: Driver) -> None:
    """counting instructions does not change what a module computes: branch tables, large constants, all operands"""
    body = """(func $pick (param $n i32) (result i32)
        (block $c (block $b (block $a (br_table $a $b $c $a $b (local.get $n)))
          (return (i32.const 100))) (return (i32.const 200))) (i32.const 300))
      (func (export "canister_update go") (local $sum i64) (local $n i32)
        (loop $again
          (local.set $sum (i64.mul (local.get $sum) (i64.const 1000)))
          (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (call $pick (local.get $n)))))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $n) (i32.const 6))))
        (call $reply_i64 (local.get $sum)))"""
    assert ic.number(ic.create(module(body)), "go") == 100_200_300_100_200_200
