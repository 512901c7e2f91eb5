"""Installing, upgrading and uninstalling code."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, Any

from ...protocol import candid, principal
from .. import canister as limits
from .. import metering, rejections, wasm
from ..canister import Canister, Outcome
from ..errors import CanisterTrap, Failure
from ..memory import Pages
from ..rejections import caller_fault
from ..runtime import Compiled, Instance
from ..state import CallMessage, FromSystem
from .chunks import chunk_error
from .lifecycle import complete_stop
from .methods import INTERFACE, Answer, check_growth, method, only_controllers, record, reply

if TYPE_CHECKING:
    from ..scheduler import Scheduler


@method("controllers")
def install_code(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    _install(network, canister, message, args, args["wasm_module"])
    return reply(message)


@method("controllers", target="target_canister")
def install_chunked_code(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    store_id = args["store_canister"] or canister.state.id
    holder = network.canisters.get(store_id)
    if holder is None:
        raise Failure(rejections.not_found(principal.to_text(store_id)))
    if message.caller != store_id:
        only_controllers(holder, message.caller)
    module = bytearray()
    for item in args["chunk_hashes_list"]:
        chunk = network.store.chunk(store_id, item["hash"])
        if chunk is None:
            raise chunk_error(f"Chunk {item['hash'].hex()} was not found")
        module += chunk
        if len(module) > wasm.MAX_MODULE:
            raise chunk_error(f"The chunks add up to more than {wasm.MAX_MODULE} bytes")
    actual = hashlib.sha256(module).digest()
    if actual != args["wasm_module_hash"]:
        given = args["wasm_module_hash"].hex()
        raise chunk_error(f"Wasm module hash {actual.hex()} does not match given hash {given}")
    _install(network, canister, message, args, bytes(module))
    return reply(message)


def _install(network: Scheduler, canister: Canister, message: CallMessage, args: dict[str, Any], module: bytes) -> None:
    """Installs `module` as ``install_code`` and ``install_chunked_code`` do, whose arguments are `args`.

    Raises:
        Failure: it cannot be installed; nothing has changed but the cycles that the attempt cost.
    """
    name = principal.to_text(canister.state.id)
    (kind, options), *_ = args["mode"].items()
    if kind == "install" and canister.compiled is not None:
        raise caller_fault(
            "IC0514",
            f"Canister {name} cannot be installed because the canister is not empty."
            " Try installing with mode='reinstall' instead.",
            "canister-not-empty",
        )
    if kind == "upgrade" and canister.compiled is None:
        raise caller_fault("IC0537", f"Canister {name} cannot be upgraded because the canister is empty")
    with network.lock:
        network.charge(canister)
    refusal = network.out_of_cycles(canister, canister.price(limits.UPDATE_LIMIT))
    if refusal is not None:
        text = f"Canister installation failed with `{refusal.message}`."
        raise caller_fault(refusal.error_code, text, "install-code-not-enough-cycles")
    compiled = compile_module(network, module)
    with network.lock:
        check_growth(network, canister, len(module) - canister.state.module_size)
    compiling = _compilation(network, compiled, module)
    if kind == "upgrade":
        _upgrade(network, canister, message, args, compiled, module, options or {}, compiling)
    else:
        _install_fresh(network, canister, message, args, compiled, module, kind, compiling)


def _compilation(network: Scheduler, compiled: Compiled, module: bytes) -> int:
    """What compiling `module` counts as, in instructions: little if the network has a canister with it."""
    known = network.store.has_module(compiled.sha256)
    each = metering.RECOMPILE_INSTRUCTION if known else metering.COMPILE_INSTRUCTION
    return each * network.runtime.instructions(compiled, module)


def compile_module(network: Scheduler, module: bytes) -> Compiled:
    """The compiled form of a module.

    Raises:
        Failure: it is not a canister module.
    """
    try:
        return network.runtime.compile(module)
    except wasm.InvalidModule as error:
        raise caller_fault("IC0505", f"Canister's Wasm module is not valid: {error}") from error


def _install_fresh(
    network: Scheduler,
    canister: Canister,
    message: CallMessage,
    args: dict[str, Any],
    compiled: Compiled,
    module: bytes,
    kind: str,
    compiling: int,
) -> None:
    """Modes install and reinstall: empty memories, then ``(start)`` and ``canister_init``."""
    instance = _instantiate(network, canister, compiled, keep_heap=False)
    canister.start_stable_afresh()
    outcome = _enter(network, canister, instance, message, args["arg"], "canister_init", fresh=True)
    outcome.instructions += compiling
    if outcome.trap is not None:
        canister.rollback(Pages(), instance)
        raise _trapped(network, canister, outcome)
    _commit(network, canister, message, args, instance, compiled, module, outcome, kind, fresh_stable=True)


def _upgrade(
    network: Scheduler,
    canister: Canister,
    message: CallMessage,
    args: dict[str, Any],
    compiled: Compiled,
    module: bytes,
    options: dict[str, Any],
    compiling: int,
) -> None:
    """Mode upgrade: ``canister_pre_upgrade`` of the old module, then ``canister_post_upgrade`` of the new one."""
    persistence = options.get("wasm_memory_persistence")
    keep = persistence == {"keep": None}
    _check_persistence(canister, compiled, persistence)
    before = canister.instance()
    execution = canister.execution("G", network.around, network.clock.now(), before, limits.INSTALL_LIMIT)
    execution.caller = message.caller
    spent = compiling
    if before.has("canister_pre_upgrade") and not options.get("skip_pre_upgrade"):
        outcome = canister.run(
            execution, lambda: before.call_export("canister_pre_upgrade", execution, limits.INSTALL_LIMIT)
        )
        spent += outcome.instructions
        if outcome.trap is not None:
            canister.rollback(execution.stable_touched)
            raise _trapped(network, canister, outcome)
    try:
        instance = _instantiate(network, canister, compiled, keep_heap=keep)
    except Failure:
        canister.rollback(execution.stable_touched)
        raise
    outcome = _enter(
        network,
        canister,
        instance,
        message,
        args["arg"],
        "canister_post_upgrade",
        stable_pages=execution.stable_pages,
    )
    outcome.execution.stable_touched |= execution.stable_touched
    outcome.instructions += spent
    if not outcome.execution.certified:
        outcome.execution.certified_data = execution.certified_data
    if outcome.trap is not None:
        canister.rollback(outcome.execution.stable_touched, instance)
        raise _trapped(network, canister, outcome)
    _commit(network, canister, message, args, instance, compiled, module, outcome, "upgrade")


def _check_persistence(canister: Canister, compiled: Compiled, persistence: dict[str, None] | None) -> None:
    """Motoko's enhanced orthogonal persistence keeps the heap: forgetting to say so would lose all data."""
    assert canister.compiled is not None
    marker = "enhanced-orthogonal-persistence"
    if persistence is None and marker in canister.compiled.info.metadata():
        raise caller_fault(
            "IC0504",
            "Missing upgrade option: Enhanced orthogonal persistence requires the `wasm_memory_persistence`"
            " upgrade option.",
        )
    if persistence == {"keep": None} and marker not in compiled.info.metadata():
        raise caller_fault(
            "IC0504",
            "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that the new"
            " canister module supports enhanced orthogonal persistence.",
        )


def _instantiate(network: Scheduler, canister: Canister, compiled: Compiled, keep_heap: bool) -> Instance:
    try:
        return canister.install(compiled, keep_heap)
    except CanisterTrap as trap:
        raise Failure(rejections.trapped_in(canister.name, trap)) from trap


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
    execution.version += 1
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
    args: dict[str, Any],
    instance: Instance,
    compiled: Compiled,
    module: bytes,
    outcome: Outcome,
    kind: str,
    fresh_stable: bool = False,
) -> None:
    state, execution = canister.state, outcome.execution
    network.store.put_module(compiled.sha256, module)  # here it may fail; below nothing may
    fresh_heap = kind != "upgrade" or not _same_heap(canister, instance)

    def save(commit: int, globals_: list[bytes]) -> None:
        with network.lock:
            network.change_module(canister, compiled, module)
            if kind == "reinstall":
                drop_logs(network, canister)
            network.keep_code(canister, instance, outcome, commit, globals_)
            state.heap_generation += fresh_heap
            state.stable_generation += fresh_stable
            network.set_timer(canister, execution.global_timer)
            details = {"code_deployment": {"mode": {kind: None}, "module_hash": compiled.sha256}}
            record(network, canister, message, details, args["sender_canister_version"])
            network.flush()

    canister.commit(instance, execution, save, fresh_stable)


def _same_heap(canister: Canister, instance: Instance) -> bool:
    return instance.heap is None or instance.heap.base == canister.heap_file()


def _trapped(network: Scheduler, canister: Canister, outcome: Outcome) -> Failure:
    with network.lock:
        reject = network.trap(canister, outcome)
        network.pay(canister, outcome)
        network.flush()
    return Failure(reject)


@method("controllers")
def uninstall_code(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    uninstall(network, canister, message, args["sender_canister_version"])
    return reply(message)


def uninstall(network: Scheduler, canister: Canister, message: CallMessage, version: int | None) -> None:
    """Removes code and memories; with the system as caller (out of cycles) also history, snapshots and allocations."""
    state = canister.state
    out_of_cycles = isinstance(message.origin, FromSystem)
    with canister.memory_lock, network.lock:  # in this order: a commit takes them so
        for context in state.contexts.values():
            if not context.responded:
                network.respond(context.origin, rejections.uninstalled(), context.available)
        state.contexts.clear()
        network.change_module(canister, None)
        state.globals, state.chunks = [], 0
        state.heap_pages = state.stable_pages = 0
        state.heap_generation += 1
        state.stable_generation += 1
        state.certified_data, state.global_timer = b"", 0
        state.low_memory_hook = "condition_not_satisfied"
        state.version += 1
        network.store.clear_chunks(state.id)
        drop_logs(network, canister)
        if out_of_cycles:
            _forget_everything(network, canister)
        else:
            record(network, canister, message, {"code_uninstall": None}, version)
        network.touch(canister)
        complete_stop(network, canister)
        network.flush()
    canister.uninstall()
    if out_of_cycles:
        shutil.rmtree(network.store.folder / "snapshots" / principal.to_text(state.id), ignore_errors=True)


def _forget_everything(network: Scheduler, canister: Canister) -> None:
    state = canister.state
    state.history.clear()
    state.settings.compute_allocation = state.settings.memory_allocation = 0
    state.snapshots_size = 0
    for snapshot in network.store.snapshots(state.id):
        network.changes.snapshots[snapshot.id] = None


def drop_logs(network: Scheduler, canister: Canister) -> None:
    """Forgets what the canister printed. With the lock held."""
    canister.logs = []
    network.changes.logs[canister.state.id] = canister.logs


def uninstallation(canister_id: bytes) -> CallMessage:
    """The system's own call that removes the code of a canister without cycles."""
    arg = candid.encode(INTERFACE.methods["uninstall_code"].args, [{"canister_id": canister_id}])
    return CallMessage(FromSystem(), principal.MANAGEMENT, principal.MANAGEMENT, "uninstall_code", arg)
