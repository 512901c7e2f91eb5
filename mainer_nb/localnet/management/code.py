"""Installing, upgrading and uninstalling code."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...protocol import candid, principal
from .. import effects, limits, metering, rejections, wasm
from ..canister import HostedCanister, Outcome
from ..charging import charge_storage, out_of_cycles
from ..errors import CanisterTrap, Failure
from ..execution import EntryPoint, Execution, Input
from ..memory import Pages
from ..rejections import caller_fault
from ..runtime import Compiled, Instance
from ..state import GLOBAL_SIZE, HISTORY_ENTRY_SIZE, CallMessage, FromSystem, LowMemoryHook, Settings
from ..subnet import Step, Subnet
from .chunks import chunk_error
from .methods import (
    INTERFACE,
    Answer,
    Callers,
    canister_method,
    check_growth,
    only_controllers,
    record,
    reply,
)

#: Bytes of the custom sections of all canisters of a subnet.
MAX_CUSTOM_OF_ALL = 2 * 1024**3


class InstallMode(StrEnum):
    """What ``install_code`` does to the canister (``canister_install_mode``)."""

    INSTALL = "install"
    REINSTALL = "reinstall"
    UPGRADE = "upgrade"


@canister_method(Callers.CONTROLLERS)
def install_code(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    _install(subnet, canister, message, args, args["wasm_module"])
    return reply(message)


@canister_method(Callers.CONTROLLERS, target="target_canister")
def install_chunked_code(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    store_id = args["store_canister"] or canister.state.id
    holder = subnet.canisters.get(store_id)
    if holder is None:
        raise Failure(rejections.not_found(principal.to_text(store_id)))
    if message.caller != store_id:
        only_controllers(holder, message.caller)
    module = bytearray()
    for item in args["chunk_hashes_list"]:
        chunk = subnet.store.chunk(store_id, item["hash"])
        if chunk is None:
            raise chunk_error(f"Chunk {item['hash'].hex()} was not found")
        module += chunk
        if len(module) > wasm.MAX_MODULE:
            raise chunk_error(f"The chunks add up to more than {wasm.MAX_MODULE} bytes")
    actual = hashlib.sha256(module).digest()
    if actual != args["wasm_module_hash"]:
        given = args["wasm_module_hash"].hex()
        raise chunk_error(f"Wasm module hash {actual.hex()} does not match given hash {given}")
    _install(subnet, canister, message, args, bytes(module))
    return reply(message)


def _install(
    subnet: Subnet, canister: HostedCanister, message: CallMessage, args: dict[str, Any], module: bytes
) -> None:
    """Installs `module` as ``install_code`` and ``install_chunked_code`` do, whose arguments are `args`.

    Raises:
        Failure: it cannot be installed; nothing has changed but the cycles that the attempt cost.
    """
    name = principal.to_text(canister.state.id)
    (mode, options), *_ = args["mode"].items()
    kind = InstallMode(mode)
    if kind is InstallMode.INSTALL and canister.compiled is not None:
        raise caller_fault(
            "IC0514",
            f"Canister {name} cannot be installed because the canister is not empty."
            " Try installing with mode='reinstall' instead.",
            "canister-not-empty",
        )
    if kind is InstallMode.UPGRADE and canister.compiled is None:
        raise caller_fault("IC0537", f"Canister {name} cannot be upgraded because the canister is empty")
    with subnet.step(write=False) as step:
        charge_storage(step, canister)
    refusal = out_of_cycles(canister, canister.price(limits.UPDATE_LIMIT))
    if refusal is not None:
        text = f"Canister installation failed with `{refusal.message}`."
        raise caller_fault(refusal.error_code, text, "install-code-not-enough-cycles")
    compiled = compile_module(subnet, module)
    _check_custom(subnet, canister, compiled)
    check_growth(canister, len(module) - canister.state.module_size)
    compiling = _compilation(subnet, compiled)
    installation = _Installation(subnet, canister, message, args, kind, compiled, module, compiling)
    if kind is InstallMode.UPGRADE:
        installation.upgrade(options or {})
    else:
        installation.install()


def _check_custom(subnet: Subnet, canister: HostedCanister, compiled: Compiled) -> None:
    """Whether the subnet has room for the custom sections of a module that becomes the canister's.

    Raises:
        Failure: it has not.
    """
    wanted = compiled.info.custom_size()
    others = (other.compiled for other in subnet.canisters.values() if other is not canister)
    left = MAX_CUSTOM_OF_ALL - sum(other.info.custom_size() for other in others if other is not None)
    if wanted > left:
        raise caller_fault(
            "IC0101",
            f"Canister requested {wanted} B of Wasm custom sections memory but only {max(0, left)} B are available in"
            " the subnet.",
        )


def _compilation(subnet: Subnet, compiled: Compiled) -> int:
    """What compiling `module` counts as, in instructions: little if the network has a canister with it."""
    known = subnet.store.has_module(compiled.sha256)
    each = metering.RECOMPILE_INSTRUCTION if known else metering.COMPILE_INSTRUCTION
    return each * compiled.instructions


def compile_module(subnet: Subnet, module: bytes) -> Compiled:
    """The compiled form of a module.

    Raises:
        Failure: it is not a canister module.
    """
    try:
        return subnet.runtime.compile(module)
    except wasm.InvalidModule as error:
        raise caller_fault("IC0505", f"Canister's Wasm module is not valid: {error}") from error


@dataclass(frozen=True)
class _Installation:
    """An installation under way.

    Attributes:
        args: of ``install_code`` or ``install_chunked_code``.
        module: the module of `compiled` as it was uploaded.
        compiling: what compiling it counts as, in instructions.
    """

    subnet: Subnet
    canister: HostedCanister
    message: CallMessage
    args: dict[str, Any]
    kind: InstallMode
    compiled: Compiled
    module: bytes
    compiling: int

    def install(self) -> None:
        """Modes install and reinstall: empty memories, then ``(start)`` and ``canister_init``."""
        instance = self._instantiate(keep_heap=False)
        self.canister.start_stable_afresh()
        outcome = self._enter(instance, "canister_init", stable_pages=0)
        outcome.instructions += self.compiling
        if outcome.trap is not None:
            self.canister.rollback(Pages(), instance)
            raise self._trapped(outcome, outcome.trap)
        self._commit(instance, outcome, fresh_stable=True)

    def upgrade(self, options: dict[str, Any]) -> None:
        """Mode upgrade: ``canister_pre_upgrade`` of the old module, then ``canister_post_upgrade`` of the new one."""
        canister, persistence = self.canister, options.get("wasm_memory_persistence")
        _check_persistence(canister, self.compiled, persistence)
        before = canister.instance()
        execution = self._execution(EntryPoint.PRE_UPGRADE, before, Input(self.message.caller))
        spent = self.compiling
        if before.has("canister_pre_upgrade") and not options.get("skip_pre_upgrade"):
            outcome = canister.run(execution, lambda: before.call_export("canister_pre_upgrade", execution))
            spent += outcome.instructions
            if outcome.trap is not None:
                canister.rollback(execution.stable.touched)
                raise self._trapped(outcome, outcome.trap)
        try:
            instance = self._instantiate(keep_heap=persistence == {"keep": None})
        except Failure:
            canister.rollback(execution.stable.touched)
            raise
        outcome = self._enter(instance, "canister_post_upgrade", execution.stable.pages)
        outcome.execution.stable.touched |= execution.stable.touched
        outcome.instructions += spent
        if outcome.execution.effects.certified_data is None:
            outcome.execution.effects.certified_data = execution.effects.certified_data
        if outcome.trap is not None:
            canister.rollback(outcome.execution.stable.touched, instance)
            raise self._trapped(outcome, outcome.trap)
        self._commit(instance, outcome, fresh_stable=False)

    def _instantiate(self, keep_heap: bool) -> Instance:
        try:
            return self.canister.install(self.compiled, keep_heap)
        except CanisterTrap as trap:
            raise Failure(rejections.trapped_in(self.canister.name, trap)) from trap

    def _execution(
        self, entry: EntryPoint, instance: Instance, given: Input, stable_pages: int | None = None
    ) -> Execution:
        subnet, memory64 = self.subnet, instance.compiled.info.memory64
        view = self.canister.view(subnet.info, subnet.clock.now(), memory64, limits.INSTALL_LIMIT)
        if entry is EntryPoint.START:
            view = view._replace(version=view.version + 1, global_timer=0)
        return self.canister.execution(entry, given, view, instance, stable_pages)

    def _enter(self, instance: Instance, hook: str, stable_pages: int) -> Outcome:
        """Runs ``(start)`` and then `hook`, as far as the module has them, as one execution.

        Args:
            stable_pages: size of the stable memory that they find.
        """
        given = Input(self.message.caller, arg=self.args["arg"])
        execution = self._execution(EntryPoint.START, instance, given, stable_pages)

        def call() -> None:
            if instance.compiled.info.start is not None:
                instance.call_export(wasm.EXPORT_START, execution)
            execution.enter(EntryPoint.INIT)
            if instance.has(hook):
                instance.call_export(hook, execution)

        info, state = self.compiled.info, self.canister.state
        added = len(self.module) + info.custom_size() + GLOBAL_SIZE * len(info.globals)
        kept = state.module_size + state.custom_size + GLOBAL_SIZE * len(state.globals)
        return self.canister.run(execution, call, added - kept + HISTORY_ENTRY_SIZE)

    def _commit(self, instance: Instance, outcome: Outcome, fresh_stable: bool) -> None:
        canister, state, compiled = self.canister, self.canister.state, self.compiled
        self.subnet.store.put_module(compiled.sha256, self.module)  # here it may fail; below nothing may
        fresh_heap = self.kind is not InstallMode.UPGRADE or not _same_heap(canister, instance)

        def save(commit: int, globals_: list[bytes]) -> None:
            with self.subnet.step() as step:
                step.change_module(canister, compiled, self.module)
                if self.kind is InstallMode.REINSTALL:
                    drop_logs(step, canister)
                if self.kind is not InstallMode.UPGRADE:
                    state.certified_data = b""
                effects.keep(step, canister, instance, outcome, commit, globals_)
                state.heap_generation += fresh_heap
                state.stable_generation += fresh_stable
                step.set_timer(canister, outcome.execution.effects.global_timer or 0)
                details = {"code_deployment": {"mode": {self.kind: None}, "module_hash": compiled.sha256}}
                record(step, canister, self.message, details, self.args["sender_canister_version"])

        canister.commit(instance, outcome.execution, save, fresh_stable)

    def _trapped(self, outcome: Outcome, trap: CanisterTrap) -> Failure:
        """The rejection of an installation that trapped, which is paid for."""
        with self.subnet.step() as step:
            effects.pay_trapped(step, self.canister, outcome)
        return Failure(rejections.trapped_in(self.canister.name, trap))


def _check_persistence(canister: HostedCanister, compiled: Compiled, persistence: dict[str, None] | None) -> None:
    """Motoko's enhanced orthogonal persistence keeps the heap: an upgrade without it would lose all data."""
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


def _same_heap(canister: HostedCanister, instance: Instance) -> bool:
    return instance.heap is None or instance.heap.base == canister.heap_file()


@canister_method(Callers.CONTROLLERS)
def uninstall_code(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    uninstall(subnet, canister, message, args["sender_canister_version"])
    return reply(message)


def uninstall(subnet: Subnet, canister: HostedCanister, message: CallMessage, version: int | None) -> None:
    """Removes code and memories; with the system as caller (out of cycles) also history, snapshots and allocations."""
    if isinstance(message.origin, FromSystem):
        with canister.snapshots_lock:
            with canister.memory_lock, subnet.step() as step:  # in this order: a commit takes them so
                empty(step, canister)
                _forget_everything(step, canister)
            canister.uninstall()
            shutil.rmtree(subnet.store.folder / "snapshots" / canister.name, ignore_errors=True)
    else:
        with canister.memory_lock, subnet.step() as step:
            empty(step, canister)
            record(step, canister, message, {"code_uninstall": None}, version)
        canister.uninstall()


def empty(step: Step, canister: HostedCanister) -> None:
    """Takes code, memories, chunks and log of a canister away; `Canister.uninstall` is to follow this step."""
    state = canister.state
    for context in state.contexts.values():
        if not context.responded:
            step.respond(context.origin, rejections.uninstalled(), context.available)
    state.contexts.clear()
    step.change_module(canister, None)
    state.globals, state.chunks = [], 0
    state.heap_pages = state.stable_pages = 0
    state.heap_generation += 1
    state.stable_generation += 1
    state.certified_data, state.global_timer = b"", 0
    state.low_memory_hook = LowMemoryHook.NOT_SATISFIED
    state.version += 1
    step.changes.chunks.append((state.id, None))
    drop_logs(step, canister)
    step.touch(canister)
    step.complete_stop(canister)


def _forget_everything(step: Step, canister: HostedCanister) -> None:
    state = canister.state
    state.history.clear()
    state.settings.compute_allocation = state.settings.memory_allocation = 0
    state.settings.log_memory_limit = Settings().log_memory_limit
    state.snapshots_size = 0
    for snapshot in step.subnet.store.snapshots(state.id):
        step.changes.snapshots[snapshot.id] = None


def drop_logs(step: Step, canister: HostedCanister) -> None:
    """Forgets what the canister printed."""
    canister.logs = []
    step.changes.logs[canister.state.id] = canister.logs


def uninstallation(canister_id: bytes) -> CallMessage:
    """The system's own call that removes the code of a canister without cycles."""
    arg = candid.encode(INTERFACE.methods["uninstall_code"].args, [{"canister_id": canister_id}])
    return CallMessage(FromSystem(), principal.MANAGEMENT, principal.MANAGEMENT, "uninstall_code", arg)
