"""The System API: the functions a canister imports from ``ic0``.

Laid out as the IC interface specification, section "The IC System API": one table, in the order of
the specification, each entry with its signature and the entry points it may be called from. The
functions act on an `Execution`: it is given the `Input` of a message and a `View` of the canister, and
leaves `Effects` behind. Nobody else sees those before they are committed.

Signatures use the specification's notation: ``I`` is the address type of the module's memory (i32
or i64). Entry points are abbreviated as there, see `EntryPoint`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, cast

from ..protocol import candid, principal
from . import cycles, limits, memory
from .errors import Reject, RejectCode, Reply
from .execution import DIRTY_PAGE, EntryPoint, Execution, OutgoingCall
from .memory import WASM_PAGE
from .rejections import no_variable, too_much_written, trap, trapped, violation
from .state import CallerInfo

MAX_CERTIFIED_DATA = 32
MAX_CALL_PAYLOAD = 10 * 1024 * 1024
#: Bytes of a response in replicated execution, and of one of a query.
MAX_REPLY = 2 * 1024 * 1024
MAX_QUERY_REPLY = 3 * 1024 * 1024
MAX_METHOD_NAME = 20_000
MAX_VARIABLE_NAME = 128
#: How much is kept of a line that a canister prints, of all lines of one message, and of the text of a trap.
MAX_LOG_LINE = 32 * 1024
MAX_LOG = 1024 * 1024
MAX_TRAP_TEXT = 8 * 1024
#: Nodes of the subnet, as the state tree lists them.
NODES = 1
#: Instructions that a call of a function counts as, unless it is listed (mainnet's figures, as those that follow:
#: dfinity/ic, system_api_complexity.rs and linker.rs).
_OVERHEAD = 500
_OVERHEADS = {
    "call_new": 1_500,
    "call_perform": 5_000,
    "debug_print": 100,
    "is_controller": 1_000,
    "performance_counter": 200,
    "stable_grow": 100,
    "stable64_grow": 100,
    "stable_size": 20,
    "stable64_size": 20,
    "stable_read": 20,
    "stable64_read": 20,
    "stable_write": 20,
    "stable64_write": 20,
}
#: Instructions that a byte of an answer, of a call's argument and of a log counts as; other bytes count as one.
_TRANSMITTED_BYTE = 50
#: A byte that a log keeps counts as this many more: for itself, and for the one that it pushes out.
_LOGGED_BYTE = 2
_MASK64 = 2**64 - 1
_AMOUNT = 16  # bytes of an amount of cycles


#: What entry points are called in error messages.
_MODES = {
    EntryPoint.INIT: "init",
    EntryPoint.PRE_UPGRADE: "pre upgrade",
    EntryPoint.UPDATE: "update",
    EntryPoint.REPLICATED_QUERY: "replicated query",
    EntryPoint.QUERY: "non replicated query",
    EntryPoint.TRANSFORM: "transform",
    EntryPoint.COMPOSITE_QUERY: "composite query",
    EntryPoint.REPLY: "reply callback",
    EntryPoint.REJECT: "reject callback",
    EntryPoint.COMPOSITE_REPLY: "composite reply callback",
    EntryPoint.COMPOSITE_REJECT: "composite reject callback",
    EntryPoint.CLEANUP: "cleanup",
    EntryPoint.COMPOSITE_CLEANUP: "composite cleanup",
    EntryPoint.INSPECT: "inspect message",
    EntryPoint.TASK: "system task",
    EntryPoint.START: "start",
}

Function = Callable[..., int | None]


@dataclass(frozen=True)
class Import:
    """A function of the table.

    Attributes:
        params, results: types: ``I``, ``i32`` or ``i64``.
        entries: the entry points it may be called from.
        only32: only modules with 32-bit memories, or without memory, have it.
        overhead: instructions that a call counts as.
    """

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    entries: frozenset[EntryPoint]
    function: Function
    only32: bool
    overhead: int

    def refuse(self, execution: Execution) -> NoReturn:
        """The function may not be called from where `execution` is: raises `CanisterTrap`."""
        text = f'"ic0_{self.name}" cannot be executed in {_MODES[execution.entry]} mode'
        raise violation(text, "calling-a-system-api-from-the-wrong-mode")


#: Every function of the System API by name.
IMPORTS: dict[str, Import] = {}

#: Functions whose results or arguments are too narrow for 64-bit memories.
_ONLY_32_BIT = {
    "msg_cycles_available",
    "msg_cycles_refunded",
    "msg_cycles_accept",
    "canister_cycle_balance",
    "call_cycles_add",
    "stable_size",
    "stable_grow",
    "stable_write",
    "stable_read",
}
_EVERYWHERE = "I G U RQ NRQ TQ CQ Ry Rt CRy CRt C CC F T"
_CALLS = "U CQ Ry Rt CRy CRt T"
_REPLIES = "U RQ NRQ TQ CQ Ry Rt CRy CRt"


def _api(entries: str, params: str = "", results: str = "", name: str = "") -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        key = name or function.__name__
        allowed = frozenset(map(EntryPoint, entries.replace("*", _EVERYWHERE).split()))
        overhead = _OVERHEADS.get(key, _OVERHEAD)
        only32 = key in _ONLY_32_BIT
        IMPORTS[key] = Import(key, tuple(params.split()), tuple(results.split()), allowed, function, only32, overhead)
        return function

    return register


def _blob(name: str, entries: str, value: Callable[[Execution], bytes]) -> None:
    """A pair of functions ``<name>_size`` and ``<name>_copy`` that give the canister some bytes."""
    _api(entries, "", "I", f"{name}_size")(lambda x: len(value(x)))
    _api(entries, "I I I", "", f"{name}_copy")(lambda x, dst, offset, size: x.copy_out(value(x), dst, offset, size))


def _argument(x: Execution) -> bytes:
    if x.entry in (EntryPoint.REPLY, EntryPoint.COMPOSITE_REPLY):
        assert isinstance(x.input.response, Reply)
        return x.input.response.data
    return x.input.arg


def _caller_info(x: Execution) -> CallerInfo:
    return x.input.sender_info or CallerInfo(b"", b"")


def _reject_message(x: Execution) -> bytes:
    assert isinstance(x.input.response, Reject)
    return x.input.response.message.encode()


# Section "Entry points": what was called, by whom, with what.

_blob("msg_arg_data", "I U RQ NRQ TQ CQ Ry CRy F", _argument)
_blob("msg_caller", "*", lambda x: x.input.caller)
# Only users for whom a canister signs have such information.
_blob("msg_caller_info_data", "U RQ NRQ CQ Ry Rt CRy CRt C CC F", lambda x: _caller_info(x).data)
_blob("msg_caller_info_signer", "U RQ NRQ CQ Ry Rt CRy CRt C CC F", lambda x: _caller_info(x).signer)


@_api("Ry Rt CRy CRt C", "", "i32")
def msg_reject_code(x: Execution) -> int:
    return x.input.response.code if isinstance(x.input.response, Reject) else 0


_blob("msg_reject_msg", "Rt CRt", _reject_message)


@_api("U RQ NRQ CQ Ry Rt CRy CRt", "", "i64")
def msg_deadline(x: Execution) -> int:
    return x.input.deadline


# Replying and rejecting.


def _must_not_have_responded(x: Execution, function: str) -> None:
    if x.input.responded or x.effects.answer is not None:
        raise violation(f"ic0.{function}: the call is already replied")


def _max_reply(x: Execution) -> int:
    return MAX_REPLY if x.replicated else MAX_QUERY_REPLY


@_api(_REPLIES, "I I")
def msg_reply_data_append(x: Execution, src: int, size: int) -> None:
    _must_not_have_responded(x, "msg_reply_data_append")
    if len(x.reply_data) + size > _max_reply(x):
        raise violation(
            f"ic0.msg_reply_data_append: application payload size ({len(x.reply_data) + size})"
            f" cannot be larger than {_max_reply(x)}.",
            "msg_reply_data_append-payload-too-large",
        )
    x.reply_data += x.read(src, size, _TRANSMITTED_BYTE)


@_api(_REPLIES)
def msg_reply(x: Execution) -> None:
    _must_not_have_responded(x, "msg_reply")
    x.effects.answer = Reply(bytes(x.reply_data))


@_api(_REPLIES, "I I")
def msg_reject(x: Execution, src: int, size: int) -> None:
    _must_not_have_responded(x, "msg_reject")
    if size > _max_reply(x):
        raise violation(f"ic0.msg_reject: application payload size ({size}) cannot be larger than {_max_reply(x)}.", "")
    x.effects.answer = Reject(
        RejectCode.CANISTER_REJECT, _text(x.read(src, size, _TRANSMITTED_BYTE), "msg_reject", "the message")
    )


def _text(data: bytes, function: str, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise violation(f"ic0.{function}: {what} is not UTF-8: {error}") from error


# Cycles.


def _accept(x: Execution, limit: int) -> int:
    amount = min(limit, x.cycles_available())
    x.available -= amount
    x.effects.accepted += amount
    x.balance += amount
    return amount


@_api("U RQ Rt Ry", "", "i64")
def msg_cycles_available(x: Execution) -> int:
    return _fits(x.cycles_available())


@_api("U RQ Rt Ry", "I")
def msg_cycles_available128(x: Execution, dst: int) -> None:
    x.write_amount(dst, x.cycles_available())


@_api("Rt Ry", "", "i64")
def msg_cycles_refunded(x: Execution) -> int:
    return _fits(x.input.refunded)


@_api("Rt Ry", "I")
def msg_cycles_refunded128(x: Execution, dst: int) -> None:
    x.write_amount(dst, x.input.refunded)


@_api("U RQ Rt Ry", "i64", "i64")
def msg_cycles_accept(x: Execution, limit: int) -> int:
    return _accept(x, limit)


@_api("U RQ Rt Ry", "i64 i64 I")
def msg_cycles_accept128(x: Execution, high: int, low: int, dst: int) -> None:
    x.write_amount(dst, _accept(x, high << 64 | low))


@_api("I G U RQ Ry Rt C T", "i64 i64 I")
def cycles_burn128(x: Execution, high: int, low: int, dst: int) -> None:
    amount = min(high << 64 | low, x.liquid())
    x.balance -= amount
    x.effects.burned += amount
    x.write_amount(dst, amount)


# The canister itself.

_blob("canister_self", "*", lambda x: x.view.canister_id)


@_api("*", "", "i64")
def canister_cycle_balance(x: Execution) -> int:
    return _fits(x.balance)


@_api("*", "I")
def canister_cycle_balance128(x: Execution, dst: int) -> None:
    x.write_amount(dst, x.balance)


@_api("*", "I")
def canister_liquid_cycle_balance128(x: Execution, dst: int) -> None:
    x.write_amount(dst, x.liquid())


@_api("*", "", "i32")
def canister_status(x: Execution) -> int:
    return x.view.status


@_api("*", "", "i64")
def canister_version(x: Execution) -> int:
    return x.view.version


_blob("subnet_self", "*", lambda x: x.view.subnet.subnet_id)


@_api("*", "", "i32")
def subnet_self_node_count(x: Execution) -> int:
    return NODES


# Inspecting ingress messages.

_blob("msg_method_name", "F", lambda x: x.input.method.encode())


@_api("F")
def accept_message(x: Execution) -> None:
    if x.effects.accepted_message:
        raise violation("ic0.accept_message: the function was already called.")
    x.effects.accepted_message = True


# Inter-canister calls.


@_api(_CALLS, "I I I I I I I I")
def call_new(
    x: Execution,
    callee_src: int,
    callee_size: int,
    name_src: int,
    name_size: int,
    reply_fun: int,
    reply_env: int,
    reject_fun: int,
    reject_env: int,
) -> None:
    if callee_size > 29:
        raise violation(f"ic0.call_new: a principal has at most 29 bytes, not {callee_size}")
    if name_size > MAX_METHOD_NAME:
        raise violation(f"Size of method_name {name_size} exceeds the allowed limit of {MAX_METHOD_NAME}.", "")
    callee = x.read(callee_src, callee_size)
    method = _text(x.read(name_src, name_size), "call_new", "the method name")
    if x.pending is not None:
        x.balance += x.pending.cycles
    x.pending = OutgoingCall(callee, method, (reply_fun, reply_env), (reject_fun, reject_env))


def _pending(x: Execution, name: str) -> OutgoingCall:
    if x.pending is None:
        raise violation(f"ic0.{name} called when no call is under construction.")
    return x.pending


@_api(_CALLS, "I I")
def call_on_cleanup(x: Execution, fun: int, env: int) -> None:
    call = _pending(x, "call_on_cleanup")
    if call.on_cleanup is not None:
        raise violation("ic0.call_on_cleanup: can be called only once for a call")
    call.on_cleanup = (fun, env)


@_api(_CALLS, "I I")
def call_data_append(x: Execution, src: int, size: int) -> None:
    call = _pending(x, "call_data_append")
    if len(call.payload) + size > MAX_CALL_PAYLOAD:
        raise violation(
            f"Request to {principal.to_text(call.callee)}:{call.method} has a payload size of"
            f" {len(call.payload) + size}, which exceeds the allowed limit of {MAX_CALL_PAYLOAD}.",
            "",
        )
    call.payload += x.read(src, size, _TRANSMITTED_BYTE)


@_api(_CALLS, "i32")
def call_with_best_effort_response(x: Execution, timeout_seconds: int) -> None:
    call = _pending(x, "call_with_best_effort_response")
    if call.timeout is not None:
        raise violation("ic0.call_with_best_effort_response: the timeout is already set")
    call.timeout = min(timeout_seconds, 300)


def _attach(x: Execution, amount: int) -> None:
    call = _pending(x, "call_cycles_add")
    if amount > x.liquid():
        raise violation(f"ic0.call_cycles_add: not enough cycles: {amount} to attach, {x.liquid()} to spend")
    x.balance -= amount
    call.cycles += amount


@_api("U Ry Rt T", "i64")
def call_cycles_add(x: Execution, amount: int) -> None:
    _attach(x, amount)


@_api("U Ry Rt T", "i64 i64")
def call_cycles_add128(x: Execution, high: int, low: int) -> None:
    _attach(x, high << 64 | low)


@_api(_CALLS, "", "i32")
def call_perform(x: Execution) -> int:
    call = _pending(x, "call_perform")
    x.pending = None
    price = call_price(x, call.size())
    if not x.may_call(call.callee) or price > x.liquid():
        x.balance += call.cycles
        return 2
    x.calls_to[call.callee] += 1
    x.balance -= price
    x.effects.calls.append(call)
    return 0


def call_price(x: Execution, size: int) -> int:
    """What sending a call costs at once, the reserve for its response included. Queries do not pay."""
    return call_cost(x, size) if x.replicated else 0


def call_cost(x: Execution, size: int) -> int:
    """What an update call of the canister has to have for sending a call of `size` bytes."""
    return cycles.call(size) + cycles.response_reserve(limits.UPDATE_LIMIT, x.view.memory64)


# Stable memory.


def _check_stable(x: Execution, offset: int, size: int) -> None:
    if offset + size > x.stable.pages * WASM_PAGE:
        raise trap("stable memory out of bounds")


@_api("* s", "", "i64")
def stable64_size(x: Execution) -> int:
    return x.stable.pages


@_api("* s", "i64", "i64")
def stable64_grow(x: Execution, new_pages: int) -> int:
    before = x.stable.pages
    if before + new_pages > x.stable.max_pages:
        return -1
    if new_pages:
        x.stable.grow(new_pages)
    return before


@_api("* s", "i64 i64 i64")
def stable64_write(x: Execution, offset: int, src: int, size: int) -> None:
    _check_stable(x, offset, size)
    heap = x.machine.heap
    if heap is None or src + size > heap.size:
        raise violation(f"heap access out of bounds: {size} bytes at {src}")
    x.charge(size)
    if size > x.write_limit:
        raise too_much_written("stable", x.write_limit)
    if size and x.stable.memory is not None:
        x.charge(DIRTY_PAGE * x.stable.touched.add(offset, size))
        if len(x.stable.touched) * memory.OS_PAGE > x.write_limit:
            raise too_much_written("stable", x.write_limit)
        x.access_stable(offset, size)
        ctypes.memmove(x.stable.memory.address + offset, heap.address + src, size)


@_api("* s", "i64 i64 i64")
def stable64_read(x: Execution, dst: int, offset: int, size: int) -> None:
    heap = x.machine.heap
    if heap is None or dst + size > heap.size:
        raise violation(f"heap access out of bounds: {size} bytes at {dst}")
    _check_stable(x, offset, size)
    x.charge(size)
    if size and x.stable.memory is not None:
        x.access_stable(offset, size)
        ctypes.memmove(heap.address + dst, x.stable.memory.address + offset, size)


def _only_small(x: Execution) -> None:
    if x.stable.pages * WASM_PAGE > 2**32:
        raise trap("32 bit stable memory api used on a memory larger than 4GB")


@_api("* s", "", "i32")
def stable_size(x: Execution) -> int:
    _only_small(x)
    return x.stable.pages


@_api("* s", "i32", "i32")
def stable_grow(x: Execution, new_pages: int) -> int:
    _only_small(x)
    if x.stable.pages + new_pages > 2**16:
        return -1
    return cast(int, stable64_grow(x, new_pages))


@_api("* s", "i32 i32 i32")
def stable_write(x: Execution, offset: int, src: int, size: int) -> None:
    _only_small(x)
    stable64_write(x, offset, src, size)


@_api("* s", "i32 i32 i32")
def stable_read(x: Execution, dst: int, offset: int, size: int) -> None:
    _only_small(x)
    stable64_read(x, dst, offset, size)


# Certified data, time, counters.

_blob("root_key", "I G U RQ Ry Rt C T", lambda x: x.view.subnet.root_key)


@_api("I G U Ry Rt T", "I I")
def certified_data_set(x: Execution, src: int, size: int) -> None:
    if size > MAX_CERTIFIED_DATA:
        raise violation(
            "ic0_certified_data_set failed because the passed data must be no larger than"
            f" {MAX_CERTIFIED_DATA} bytes. Found {size} bytes",
            "",
        )
    x.effects.certified_data = x.read(src, size)


@_api("*", "", "i32")
def data_certificate_present(x: Execution) -> int:
    return int(x.input.certificate is not None)


def _certificate(x: Execution) -> bytes:
    if x.input.certificate is None:
        raise violation("ic0.data_certificate_size: no certificate is present")
    return x.input.certificate()


_blob("data_certificate", "NRQ CQ", _certificate)


@_api("*", "", "i64")
def time(x: Execution) -> int:
    return x.view.time


@_api("I G U Ry Rt C T", "i64", "i64")
def global_timer_set(x: Execution, timestamp: int) -> int:
    before, x.effects.global_timer = x.effects.global_timer, timestamp
    return x.view.global_timer if before is None else before


@_api("* s", "i32", "i64")
def performance_counter(x: Execution, counter: int) -> int:
    if counter not in (0, 1):
        raise violation(f"Error getting performance counter type {counter}", "")
    now = x.machine.instructions() + x.charged
    return now if counter == 0 else x.input.call_instructions + now


@_api("* s", "I I", "i32")
def is_controller(x: Execution, src: int, size: int) -> int:
    if size > 29:
        raise violation(f"ic0.is_controller: a principal has at most 29 bytes, not {size}")
    return int(x.read(src, size) in x.view.controllers)


@_api("* s", "", "i32")
def in_replicated_execution(x: Execution) -> int:
    return int(x.replicated)


# Costs.


@_api("* s", "i64 i64 I")
def cost_call(x: Execution, name_size: int, payload_size: int, dst: int) -> None:
    x.write_amount(dst, call_cost(x, name_size + payload_size))


@_api("* s", "I")
def cost_create_canister(x: Execution, dst: int) -> None:
    x.write_amount(dst, cycles.CANISTER_CREATION)


@_api("* s", "i64 i64 I")
def cost_http_request(x: Execution, request_size: int, max_response_bytes: int, dst: int) -> None:
    x.write_amount(dst, cycles.http_request(request_size, max_response_bytes))


_COUNTS = candid.record(dict.fromkeys(("min_responses", "max_responses", "total_requests"), candid.NAT32))
_OUTCALL_TYPE = candid.variant(
    {"fully_replicated": candid.RESERVED, "non_replicated": candid.RESERVED, "flexible": candid.Opt(_COUNTS)}
)
_OUTCALL_NUMBERS = (
    "request_bytes",
    "http_roundtrip_time_ms",
    "raw_response_bytes",
    "transformed_response_bytes",
    "transform_instructions",
)
_OUTCALL = candid.record({**dict.fromkeys(_OUTCALL_NUMBERS, candid.NAT64), "outcall_type": candid.Opt(_OUTCALL_TYPE)})
_MAX_OUTCALL_PARAMETERS = 1024
#: What all nodes are asked for that answer a flexible outcall, if it does not say.
_ALL_NODES = cycles.Flexible(2 * cycles.NODES // 3 + 1, cycles.NODES, cycles.NODES)


@_api("* s", "I I I")
def cost_http_request_v2(x: Execution, src: int, size: int, dst: int) -> None:
    if size > _MAX_OUTCALL_PARAMETERS:
        raise violation(f"ic0.cost_http_request_v2: parameters have at most {_MAX_OUTCALL_PARAMETERS} bytes")
    try:
        (given,) = candid.decode([_OUTCALL], x.read(src, size))
    except candid.CandidError as error:
        raise violation(f"ic0.cost_http_request_v2: parameters cannot be decoded: {error}") from error
    kind = given["outcall_type"] or {"fully_replicated": None}
    outcall = cycles.Outcall(*(given[name] for name in _OUTCALL_NUMBERS))
    flexible = None
    if "non_replicated" in kind:
        flexible = cycles.Flexible(1, 1, 1)
    elif "flexible" in kind:
        flexible = cycles.Flexible(**kind["flexible"]) if kind["flexible"] is not None else _ALL_NODES
    x.write_amount(dst, cycles.http_request_v2(outcall, flexible, "non_replicated" in kind))


def _signing_cost(name: str, algorithms: int) -> None:
    """A function that gives the price of a signature with a key, for algorithms numbered from 0."""

    def cost(x: Execution, src: int, size: int, algorithm: int, dst: int) -> int:
        price = cycles.SIGNATURE.get(x.read(src, size).decode(errors="replace"))
        x.check(dst, _AMOUNT)
        if algorithm >= algorithms:
            return 1
        if price is None:
            return 2
        x.write_amount(dst, price)
        return 0

    _api("* s", "I I i32 I", "i32", name)(cost)


_signing_cost("cost_sign_with_ecdsa", 2)
_signing_cost("cost_sign_with_schnorr", 2)
_signing_cost("cost_vetkd_derive_key", 1)


# Environment variables.


def _variable_name(x: Execution, src: int, size: int) -> str:
    if size > MAX_VARIABLE_NAME:
        raise violation(f"the name of an environment variable has at most {MAX_VARIABLE_NAME} bytes, not {size}")
    return _text(x.read(src, size), "env_var", "the name of the environment variable")


def _variable(x: Execution, index: int) -> bytes:
    if index >= len(x.view.variables):
        raise no_variable(
            f"Environment variable index {index} is out of bounds. The number of environment variables is"
            f" {len(x.view.variables)}."
        )
    return x.view.variables[index][0].encode()


def _value(x: Execution, src: int, size: int) -> bytes:
    name = _variable_name(x, src, size)
    for key, value in x.view.variables:
        if key == name:
            return value.encode()
    raise no_variable(f"Environment variable {name} not found.")


@_api("*", "", "I")
def env_var_count(x: Execution) -> int:
    return len(x.view.variables)


@_api("*", "I", "I")
def env_var_name_size(x: Execution, index: int) -> int:
    return len(_variable(x, index))


@_api("*", "I I I I")
def env_var_name_copy(x: Execution, index: int, dst: int, offset: int, size: int) -> None:
    x.copy_out(_variable(x, index), dst, offset, size)


@_api("*", "I I", "i32")
def env_var_name_exists(x: Execution, src: int, size: int) -> int:
    name = _variable_name(x, src, size)
    return int(any(key == name for key, _ in x.view.variables))


@_api("*", "I I", "I")
def env_var_value_size(x: Execution, src: int, size: int) -> int:
    return len(_value(x, src, size))


@_api("*", "I I I I I")
def env_var_value_copy(x: Execution, name_src: int, name_size: int, dst: int, offset: int, size: int) -> None:
    x.copy_out(_value(x, name_src, name_size), dst, offset, size)


# Debugging aids.


@_api("* s", "I I")
def debug_print(x: Execution, src: int, size: int) -> None:
    heap = x.machine.heap
    _charge_log(x, size)
    if heap is None or src + size > heap.size:
        line = b"(debug_print message out of memory bounds)"
    else:
        line = x.read(src, min(size, MAX_LOG_LINE), 0)
    x.effects.log.append((x.view.time, line))
    x.log_size += len(line)
    while x.log_size > MAX_LOG:
        x.log_size -= len(x.effects.log.popleft()[1])


def _charge_log(x: Execution, size: int) -> None:
    """Counts the bytes of a line that the log has room for, and those that this message may still send there."""
    left = max(0, x.view.log_limit - x.log_size)
    x.charge(_LOGGED_BYTE * min(size, x.view.log_limit) + _TRANSMITTED_BYTE * min(size, left))


@_api("* s", "I I", name="trap")
def _trap(x: Execution, src: int, size: int) -> None:
    heap = x.machine.heap
    _charge_log(x, size)
    if heap is None or src + size > heap.size:
        raise trapped("(trap message out of memory bounds)")
    raise trapped(x.read(src, min(size, MAX_TRAP_TEXT)).decode(errors="ignore"))


def _fits(amount: int) -> int:
    if amount > _MASK64:
        raise trap("cycles amount exceeds 64-bit representation")
    return amount
