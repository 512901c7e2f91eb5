"""The management canister: creating, installing, configuring and removing canisters.

Laid out as the IC interface specification, section "The IC management canister": one handler a
method. A handler runs on a worker thread with its target canister to itself, raises `Failure` for a
rejection, and changes nothing before everything is checked.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import candid, cycles, did, principal, wasm
from . import canister as limits
from .canister import Canister, Outcome
from .errors import CanisterTrap, Failure, Reject, RejectCode, Reply, Response, no_such_canister
from .memory import WASM_PAGE
from .runtime import Compiled, Instance
from .state import CallMessage, CanisterState, FromSystem, Settings, StopRequest

if TYPE_CHECKING:
    from .scheduler import Scheduler

INTERFACE = did.parse((Path(__file__).parent / "management.did").read_text(), "management.did")

#: Cycles of a canister made by `provisional_create_canister_with_cycles` without an amount.
DEFAULT_PROVISIONAL_CYCLES = 100_000_000_000_000
MAX_CONTROLLERS = 10
MAX_CHUNK = 1024 * 1024
MAX_CHUNKS = 100
MAX_HISTORY = 20

_CALLER_FAULT = RejectCode.CANISTER_ERROR


@dataclass(frozen=True)
class Answer:
    """A response to the caller, and the cycles it gets back."""

    response: Response
    refund: int


Handler = Callable[["Scheduler", Canister | None, CallMessage, Any], "Answer | None"]
_HANDLERS: dict[str, Handler] = {}
#: The field of the argument that names the canister a method is about.
_TARGET_FIELD = {"install_chunked_code": "target_canister"}
_WITHOUT_TARGET = {"create_canister", "provisional_create_canister_with_cycles", "raw_rand"}


def _method(handler: Handler) -> Handler:
    _HANDLERS[handler.__name__.strip("_")] = handler
    return handler


def target(network: Scheduler, message: CallMessage) -> bytes:
    """The canister a management call is about; `b""` for calls that are about no existing canister.

    Raises:
        Failure: there is no such method or canister, or the argument is not what the method takes.
    """
    canister_id = named_canister(message.method, message.arg)
    if canister_id is None:
        return principal.MANAGEMENT
    if canister_id not in network.canisters:
        raise no_such_canister(principal.to_text(canister_id))
    return canister_id


def named_canister(method: str, arg: bytes) -> bytes | None:
    """The canister that the argument of a management call names, None if the method takes none.

    Raises:
        Failure: as in `target`.
    """
    args = _decode(method, arg)
    if method in _WITHOUT_TARGET:
        return None
    found: bytes = args[_TARGET_FIELD.get(method, "canister_id")]
    return found


def handle(network: Scheduler, canister: Canister | None, message: CallMessage) -> Answer | None:
    """Executes a management call. None: the answer comes later (`stop_canister`).

    Raises:
        Failure: the call is rejected; its cycles go back to the caller.
    """
    args = _decode(message.method, message.arg)
    return _HANDLERS[message.method](network, canister, message, args)


def _decode(method: str, arg: bytes) -> Any:
    described = INTERFACE.methods.get(method)
    if described is None or method not in _HANDLERS:
        raise Failure(
            RejectCode.DESTINATION_INVALID, "IC0536", f"Management canister has no method '{method}' on this network"
        )
    try:
        values = candid.decode(described.args, arg)
    except candid.CandidError as error:
        raise Failure(_CALLER_FAULT, "IC0402", f"Error decoding candid argument of {method}: {error}") from error
    return values[0] if values else None


def _reply(message: CallMessage, *values: Any, refund: int | None = None) -> Answer:
    data = candid.encode(INTERFACE.methods[message.method].results, values)
    return Answer(Reply(data), message.cycles if refund is None else refund)


def _only_controllers(canister: Canister | None, message: CallMessage, or_itself: bool = False) -> Canister:
    assert canister is not None
    state = canister.state
    if message.caller in state.settings.controllers or (or_itself and message.caller == state.id):
        return canister
    if isinstance(message.origin, FromSystem):
        return canister
    raise Failure(
        _CALLER_FAULT,
        "IC0512",
        f"Only controllers of canister {principal.to_text(state.id)} can call ic00 method {message.method};"
        f" the caller {principal.to_text(message.caller)} is not one",
    )


# Creating.


@_method
def create_canister(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> Answer:
    if len(message.caller) == 0 or not principal.is_canister_id(message.caller):
        raise Failure(_CALLER_FAULT, "IC0516", "create_canister can be called by canisters only; see the cycles ledger")
    if message.cycles < cycles.CANISTER_CREATION:
        raise Failure(
            RejectCode.CANISTER_REJECT,
            "IC0516",
            f"Creating a canister requires a fee of {cycles.CANISTER_CREATION} that is deducted from the"
            f" canister's initial balance but only {message.cycles} cycles were received with the"
            f" create_canister request.",
        )
    balance = message.cycles - cycles.CANISTER_CREATION
    canister_id = _create(network, message, args["settings"], balance, None)
    return _reply(message, {"canister_id": canister_id}, refund=0)


@_method
def provisional_create_canister_with_cycles(
    network: Scheduler, _: Canister | None, message: CallMessage, args: Any
) -> Answer:
    amount = DEFAULT_PROVISIONAL_CYCLES if args["amount"] is None else args["amount"]
    canister_id = _create(network, message, args["settings"], min(amount, cycles.MAX_CYCLES), args["specified_id"])
    return _reply(message, {"canister_id": canister_id})


def _create(network: Scheduler, message: CallMessage, changes: Any, balance: int, wanted: bytes | None) -> bytes:
    settings = Settings(controllers=[message.caller])
    _apply_settings(settings, changes)
    with network.lock:
        if wanted is not None:
            if not principal.is_canister_id(wanted):
                raise Failure(_CALLER_FAULT, "IC0516", f"{principal.to_text(wanted)} is not a canister id")
            if wanted in network.canisters:
                raise Failure(_CALLER_FAULT, "IC0516", f"Canister {principal.to_text(wanted)} exists already")
        canister_id = wanted or _next_id(network)
        now = network.clock.now()
        state = CanisterState(canister_id, now, settings, balance, charged_until=now)
        canister = Canister(network.runtime, network.store.canister_folder(canister_id), state, None)
        network.canisters[canister_id] = canister
        _record(network, canister, message, {"creation": {"controllers": list(settings.controllers)}})
        network.flush()
    return canister_id


def _next_id(network: Scheduler) -> bytes:
    number = network.store.meta("next canister", 0)
    while principal.canister_id(number) in network.canisters:
        number += 1
    network.changes.meta["next canister"] = number + 1
    network.flush()
    return principal.canister_id(number)


def _record(network: Scheduler, canister: Canister, message: CallMessage, details: dict[str, Any]) -> None:
    """Adds to the history of a canister, whose version goes up. With the lock held."""
    state = canister.state
    if principal.is_canister_id(message.caller):
        origin: dict[str, Any] = {"from_canister": {"canister_id": message.caller, "canister_version": None}}
    else:
        origin = {"from_user": {"user_id": message.caller}}
    state.history.append(
        {
            "timestamp_nanos": network.clock.now(),
            "canister_version": state.version,
            "origin": origin,
            "details": details,
        }
    )
    del state.history[:-MAX_HISTORY]
    state.history_length += 1
    network.touch(canister)


# Settings.


@_method
def update_settings(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message)
    with network.lock:
        before = list(canister.state.settings.controllers)
        _apply_settings(canister.state.settings, args["settings"])
        canister.state.version += 1
        after = canister.state.settings.controllers
        if before != after:
            _record(network, canister, message, {"controllers_change": {"controllers": list(after)}})
        network.touch(canister)
        network.flush()
    return _reply(message)


#: The largest value of each numeric setting.
_BOUNDS = {
    "compute_allocation": 100,
    "memory_allocation": 2**40,
    "freezing_threshold": 2**64 - 1,
    "reserved_cycles_limit": 2**128 - 1,
    "wasm_memory_limit": 2**48,
    "wasm_memory_threshold": 2**64 - 1,
}


def _apply_settings(settings: Settings, changes: Any) -> None:
    """Sets the fields of `settings` that `changes` gives; all of them are checked first."""
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    for name, bound in _BOUNDS.items():
        if given.get(name, 0) > bound:
            message = f"{name} expected to be in the range [0..{bound}], got {given[name]}"
            raise Failure(_CALLER_FAULT, "IC0402", message)
    if len(given.get("controllers", [])) > MAX_CONTROLLERS:
        count = len(given["controllers"])
        raise Failure(_CALLER_FAULT, "IC0402", f"a canister has at most {MAX_CONTROLLERS} controllers, not {count}")
    if "controllers" in given:
        given["controllers"] = list(dict.fromkeys(given["controllers"]))
    if "environment_variables" in given:
        given["environment_variables"] = [(item["name"], item["value"]) for item in given["environment_variables"]]
    for name, value in given.items():
        setattr(settings, name, value)


# Installing.


@_method
def upload_chunk(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message, or_itself=True)
    chunk, canister_id = args["chunk"], canister.state.id
    if len(chunk) > MAX_CHUNK:
        raise Failure(_CALLER_FAULT, "IC0402", f"a chunk has at most {MAX_CHUNK} bytes, not {len(chunk)}")
    sha256 = hashlib.sha256(chunk).digest()
    with network.lock:
        stored = network.store.chunks(canister_id)
        if sha256 not in stored and len(stored) >= MAX_CHUNKS:
            raise Failure(_CALLER_FAULT, "IC0402", f"the chunk store holds at most {MAX_CHUNKS} chunks; clear it first")
        network.store.put_chunk(canister_id, sha256, chunk)
    return _reply(message, {"hash": sha256})


@_method
def clear_chunk_store(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message, or_itself=True)
    network.store.clear_chunks(canister.state.id)
    return _reply(message)


@_method
def stored_chunks(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message, or_itself=True)
    return _reply(message, [{"hash": sha256} for sha256 in network.store.chunks(canister.state.id)])


@_method
def install_code(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message)
    _install(network, canister, message, args["mode"], args["wasm_module"], args["arg"])
    return _reply(message)


@_method
def install_chunked_code(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message)
    store_id = args["store_canister"] or canister.state.id
    holder = network.canisters.get(store_id)
    if holder is None:
        raise no_such_canister(principal.to_text(store_id))
    if holder is not canister:
        _only_controllers(holder, message, or_itself=True)
    module = bytearray()
    for item in args["chunk_hashes_list"]:
        chunk = network.store.chunk(store_id, item["hash"])
        if chunk is None:
            message_text = f"chunk {item['hash'].hex()} is not in the chunk store of {principal.to_text(store_id)}"
            raise Failure(_CALLER_FAULT, "IC0402", message_text)
        module += chunk
    if hashlib.sha256(module).digest() != args["wasm_module_hash"]:
        raise Failure(_CALLER_FAULT, "IC0402", "the chunks do not add up to a module with the hash given")
    _install(network, canister, message, args["mode"], bytes(module), args["arg"])
    return _reply(message)


def _install(
    network: Scheduler, canister: Canister, message: CallMessage, mode: dict[str, Any], module: bytes, arg: bytes
) -> None:
    name = principal.to_text(canister.state.id)
    (kind, options), *_ = mode.items()
    if kind == "install" and canister.compiled is not None:
        raise Failure(
            _CALLER_FAULT,
            "IC0514",
            f"Canister {name} cannot be installed because the canister is not empty."
            " Try installing with mode='reinstall' instead.",
        )
    if kind == "upgrade" and canister.compiled is None:
        raise Failure(_CALLER_FAULT, "IC0537", f"Canister {name} cannot be upgraded because the canister is empty")
    with network.lock:
        network.charge(canister)
    refusal = network.out_of_cycles(canister, cycles.execution(limits.UPDATE_LIMIT))
    if refusal is not None:
        raise Failure(RejectCode.SYS_TRANSIENT, refusal.error_code, refusal.message)
    try:
        compiled = network.runtime.compile(module)
    except wasm.InvalidModule as error:
        raise Failure(_CALLER_FAULT, "IC0505", f"Canister's Wasm module is not valid: {error}") from error
    if kind == "upgrade":
        _upgrade(network, canister, message, compiled, module, arg, options or {})
    else:
        _install_fresh(network, canister, message, compiled, module, arg, kind)


def _install_fresh(
    network: Scheduler,
    canister: Canister,
    message: CallMessage,
    compiled: Compiled,
    module: bytes,
    arg: bytes,
    kind: str,
) -> None:
    """Modes install and reinstall: empty memories, then ``(start)`` and ``canister_init``."""
    instance = _instantiate(network, canister, compiled, keep_heap=False)
    canister.start_stable_afresh()
    outcome = _enter(network, canister, instance, message, arg, "canister_init", fresh=True)
    if outcome.trap is not None:
        canister.rollback([], instance)
        raise _trapped(network, canister, outcome)
    _commit(network, canister, message, instance, compiled, module, outcome, kind, fresh_stable=True)


def _upgrade(
    network: Scheduler,
    canister: Canister,
    message: CallMessage,
    compiled: Compiled,
    module: bytes,
    arg: bytes,
    options: dict[str, Any],
) -> None:
    """Mode upgrade: ``canister_pre_upgrade`` of the old module, then ``canister_post_upgrade`` of the new one."""
    persistence = options.get("wasm_memory_persistence")
    keep = persistence == {"keep": None}
    _check_persistence(canister, compiled, persistence)
    before = canister.instance()
    execution = canister.execution("G", network.around, network.clock.now(), before, limits.INSTALL_LIMIT)
    execution.caller = message.caller
    spent = 0
    if before.has("canister_pre_upgrade") and not options.get("skip_pre_upgrade"):
        outcome = canister.run(
            execution, lambda: before.call_export("canister_pre_upgrade", execution, limits.INSTALL_LIMIT)
        )
        spent = outcome.instructions
        if outcome.trap is not None:
            canister.rollback(execution.stable_touched)
            raise _trapped(network, canister, outcome)
    try:
        instance = _instantiate(network, canister, compiled, keep_heap=keep)
    except Failure:
        canister.rollback(execution.stable_touched)
        raise
    outcome = _enter(
        network, canister, instance, message, arg, "canister_post_upgrade", stable_pages=execution.stable_pages
    )
    outcome.execution.stable_touched += execution.stable_touched
    outcome.instructions += spent
    if not outcome.execution.certified:
        outcome.execution.certified_data = execution.certified_data
    if outcome.trap is not None:
        canister.rollback(outcome.execution.stable_touched, instance)
        raise _trapped(network, canister, outcome)
    _commit(network, canister, message, instance, compiled, module, outcome, "upgrade")


def _check_persistence(canister: Canister, compiled: Compiled, persistence: dict[str, None] | None) -> None:
    """Motoko's enhanced orthogonal persistence keeps the heap: forgetting to say so would lose all data."""
    assert canister.compiled is not None
    marker = "enhanced-orthogonal-persistence"
    if persistence is None and marker in canister.compiled.info.metadata():
        raise Failure(
            _CALLER_FAULT,
            "IC0504",
            "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence`"
            " upgrade option.",
        )
    if persistence == {"keep": None} and marker not in compiled.info.metadata():
        raise Failure(
            _CALLER_FAULT,
            "IC0504",
            "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that the new"
            " canister module supports enhanced orthogonal persistence.",
        )


def _instantiate(network: Scheduler, canister: Canister, compiled: Compiled, keep_heap: bool) -> Instance:
    try:
        return canister.install(compiled, keep_heap)
    except CanisterTrap as trap:
        name = principal.to_text(canister.state.id)
        raise Failure(_CALLER_FAULT, trap.error_code, f"Error from Canister {name}: {trap}") from trap


def _enter(
    network: Scheduler,
    canister: Canister,
    instance: Instance,
    message: CallMessage,
    arg: bytes,
    hook: str,
    fresh: bool = False,
    stable_pages: int | None = None,
) -> Outcome:
    """Runs ``(start)`` and then `hook`, as far as the module has them, as one execution."""
    execution = canister.execution("s", network.around, network.clock.now(), instance, limits.INSTALL_LIMIT)
    execution.caller, execution.arg = message.caller, arg
    execution.global_timer = 0
    if fresh:
        execution.stable_pages, execution.certified_data = 0, b""
    elif stable_pages is not None:
        execution.stable_pages = stable_pages

    def call() -> None:
        if instance.compiled.info.start is not None:
            instance.call_export(wasm.EXPORT_START, execution, limits.INSTALL_LIMIT)
        execution.entry = "I"
        if instance.has(hook):
            instance.call_export(hook, execution, limits.INSTALL_LIMIT)

    return canister.run(execution, call)


def _commit(
    network: Scheduler,
    canister: Canister,
    message: CallMessage,
    instance: Instance,
    compiled: Compiled,
    module: bytes,
    outcome: Outcome,
    kind: str,
    fresh_stable: bool = False,
) -> None:
    state, execution = canister.state, outcome.execution
    network.store.put_module(compiled.sha256, module)
    fresh_heap = kind != "upgrade" or not _same_heap(canister, instance)

    def save(commit: int, globals_: list[bytes]) -> None:
        with network.lock:
            network.keep_code(canister, instance, outcome, commit, globals_)
            canister.compiled, state.module = compiled, compiled.sha256
            state.heap_generation += fresh_heap
            state.stable_generation += fresh_stable
            network.set_timer(canister, execution.global_timer)
            details = {"code_deployment": {"mode": {kind: None}, "module_hash": compiled.sha256}}
            _record(network, canister, message, details)
            network.flush()

    canister.commit(instance, execution, save, fresh_stable)


def _same_heap(canister: Canister, instance: Instance) -> bool:
    return instance.heap is None or instance.heap.base == canister.heap_file()


def _trapped(network: Scheduler, canister: Canister, outcome: Outcome) -> Failure:
    with network.lock:
        reject = network.trap(canister, outcome)
        network.pay(canister, outcome)
        network.flush()
    return Failure(RejectCode(reject.code), reject.error_code, reject.message)


@_method
def uninstall_code(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message)
    state = canister.state
    with canister.memory_lock, network.lock:  # in this order: a commit takes them so
        for context in state.contexts.values():
            if not context.responded:
                reject = Reject(int(RejectCode.CANISTER_REJECT), "Canister has been uninstalled", "IC0511")
                network.respond(context.origin, reject, context.available)
        state.contexts.clear()
        canister.compiled, state.module, state.globals = None, None, []
        state.heap_pages = state.stable_pages = 0
        state.heap_generation += 1
        state.stable_generation += 1
        state.certified_data, state.global_timer = b"", 0
        state.version += 1
        network.store.clear_chunks(state.id)
        _record(network, canister, message, {"code_uninstall": None})
        complete_stop(network, canister)
        network.flush()
    canister.uninstall()
    return _reply(message)


def uninstallation(canister_id: bytes) -> CallMessage:
    """The system's own call that removes the code of a canister without cycles."""
    arg = candid.encode(INTERFACE.methods["uninstall_code"].args, [{"canister_id": canister_id}])
    return CallMessage(FromSystem(), principal.MANAGEMENT, principal.MANAGEMENT, "uninstall_code", arg)


# Starting and stopping.


@_method
def start_canister(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message)
    with network.lock:
        for waiting in canister.state.stop_requests:
            reject = Reject(int(_CALLER_FAULT), "Canister was restarted before it was stopped", "IC0510")
            network.respond(waiting.origin, reject, waiting.cycles)
        canister.state.stop_requests.clear()
        canister.state.status = "running"
        network.touch(canister)
        network.flush()
    return _reply(message)


@_method
def stop_canister(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer | None:
    canister = _only_controllers(canister, message)
    with network.lock:
        if canister.state.status == "stopped":
            return _reply(message)
        canister.state.status = "stopping"
        canister.state.stop_requests.append(StopRequest(message.origin, message.cycles))
        network.touch(canister)
        complete_stop(network, canister)
        network.flush()
    return None


def complete_stop(network: Scheduler, canister: Canister) -> None:
    """A stopping canister without open call contexts is stopped; who asked for it is told. With the lock held."""
    state = canister.state
    if state.status != "stopping" or state.contexts:
        return
    state.status = "stopped"
    data = candid.encode((), ())
    for waiting in state.stop_requests:
        network.respond(waiting.origin, Reply(data), waiting.cycles)
    state.stop_requests.clear()
    network.touch(canister)


@_method
def delete_canister(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message)
    state, name = canister.state, principal.to_text(canister.state.id)
    if message.caller == state.id:
        raise Failure(_CALLER_FAULT, "IC0513", f"Canister {name} cannot delete itself")
    if state.status != "stopped":
        text = f"Canister {name} must be stopped before it is deleted; it is {state.status}"
        raise Failure(_CALLER_FAULT, "IC0510", text)
    with network.lock:
        undelivered = (*canister.queue, *canister.management)
        waiting = [message for _, message in undelivered if isinstance(message, CallMessage)]
        network.changes.done += [number for number, _ in undelivered]
        canister.queue.clear()
        canister.management.clear()
        del network.canisters[state.id]
        network.changes.canisters[state.id] = None
        network.on_change(state.id)
        for call in waiting:
            gone = Reject(int(RejectCode.DESTINATION_INVALID), f"Canister {name} not found", "IC0301")
            network.respond(call.origin, gone, call.cycles)
        network.flush()
    canister.remove()
    return _reply(message)


# Asking.


@_method
def canister_status(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    canister = _only_controllers(canister, message, or_itself=True)
    state, settings = canister.state, canister.state.settings
    module = network.store.module(state.module) if state.module else b""
    chunks = len(network.store.chunks(state.id)) * MAX_CHUNK
    custom = sum(map(len, canister.compiled.info.custom.values())) if canister.compiled else 0
    metrics = {
        "wasm_memory_size": state.heap_pages * WASM_PAGE,
        "stable_memory_size": state.stable_pages * WASM_PAGE,
        "global_memory_size": 8 * len(state.globals),
        "wasm_binary_size": len(module),
        "custom_sections_size": custom,
        "canister_history_size": 100 * len(state.history),
        "wasm_chunk_store_size": chunks,
        "snapshots_size": 0,
    }
    calls, instructions, received, sent = state.query_stats
    result = {
        "status": {state.status: None},
        "ready_to_migrate": False,
        "version": state.version,
        "settings": {
            **{name: getattr(settings, name) for name in _BOUNDS},
            "controllers": settings.controllers,
            "log_visibility": settings.log_visibility,
            "environment_variables": [{"name": name, "value": value} for name, value in settings.environment_variables],
        },
        "module_hash": state.module,
        "memory_size": sum(metrics.values()),
        "memory_metrics": metrics,
        "cycles": state.cycles,
        "reserved_cycles": 0,
        "idle_cycles_burned_per_day": canister.idle_cycles_per_day(),
        "query_stats": {
            "num_calls_total": calls,
            "num_instructions_total": instructions,
            "request_payload_bytes_total": received,
            "response_payload_bytes_total": sent,
        },
    }
    return _reply(message, result)


@_method
def canister_info(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    state = canister.state
    wanted = args["num_requested_changes"] or 0
    result = {
        "total_num_changes": state.history_length,
        "recent_changes": state.history[max(0, len(state.history) - wanted) :] if wanted else [],
        "module_hash": state.module,
        "controllers": state.settings.controllers,
    }
    return _reply(message, result)


@_method
def fetch_canister_logs(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    (visibility, viewers), *_ = canister.state.settings.log_visibility.items()
    if visibility == "controllers" or (visibility == "allowed_viewers" and message.caller not in viewers):
        _only_controllers(canister, message)
    records = [{"idx": number, "timestamp_nanos": time, "content": text} for number, time, text in list(canister.logs)]
    return _reply(message, {"canister_log_records": records})


@_method
def raw_rand(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> Answer:
    return _reply(message, os.urandom(32))


# Cycles.


@_method
def deposit_cycles(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    _add_cycles(network, canister, message.cycles)
    return _reply(message, refund=0)


@_method
def provisional_top_up_canister(
    network: Scheduler, canister: Canister | None, message: CallMessage, args: Any
) -> Answer:
    assert canister is not None
    _add_cycles(network, canister, args["amount"])
    return _reply(message)


def _add_cycles(network: Scheduler, canister: Canister, amount: int) -> None:
    with network.lock:
        canister.state.cycles = min(canister.state.cycles + amount, cycles.MAX_CYCLES)
        network.touch(canister)
        network.flush()
