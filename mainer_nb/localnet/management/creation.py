"""Creating and deleting canisters."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from ...protocol import principal
from .. import cycles, rejections
from ..canister import Canister
from ..rejections import caller_fault
from ..state import CallMessage, CanisterState, Settings
from ..store import being_deleted
from .methods import Answer, method, record, reply
from .settings import changed, check_compute, reserve, variables_hash

if TYPE_CHECKING:
    from ..scheduler import Scheduler

#: Cycles of a canister made by `provisional_create_canister_with_cycles` without an amount.
DEFAULT_PROVISIONAL_CYCLES = 100_000_000_000_000


@method("canisters", target=None)
def create_canister(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> Answer:
    if message.cycles < cycles.CANISTER_CREATION:
        raise caller_fault(
            "IC0403",
            f"Creating a canister requires a fee of {cycles.CANISTER_CREATION} that is deducted from the"
            f" canister's initial balance but only {message.cycles} cycles were received with the"
            f" create_canister request.",
            "create-canister-not-enough-cycles",
        )
    balance = message.cycles - cycles.CANISTER_CREATION
    canister_id = _create(network, message, args, balance, None)
    return reply(message, {"canister_id": canister_id}, refund=0)


@method("anyone", target=None)
def provisional_create_canister_with_cycles(
    network: Scheduler, _: Canister | None, message: CallMessage, args: Any
) -> Answer:
    amount = DEFAULT_PROVISIONAL_CYCLES if args["amount"] is None else args["amount"]
    canister_id = _create(network, message, args, min(amount, cycles.MAX_CYCLES), args["specified_id"])
    return reply(message, {"canister_id": canister_id})


def _create(network: Scheduler, message: CallMessage, args: Any, balance: int, wanted: bytes | None) -> bytes:
    settings = changed(Settings(controllers=[message.caller]), args["settings"])
    with network.lock:
        if wanted is not None:
            _check_wanted(network, wanted)
        canister_id = wanted or _next_id(network)
        now = network.clock.now()
        state = CanisterState(canister_id, now, settings, balance, charged_until=now)
        canister = Canister(network.runtime, network.store.canister_folder(canister_id), state, None)
        _afford_allocations(network, canister)
        network.canisters[canister_id] = canister
        variables = variables_hash(settings) if settings.environment_variables else None
        details = {"controllers": list(settings.controllers), "environment_variables_hash": variables}
        record(network, canister, message, {"creation": details}, args["sender_canister_version"])
        network.flush()
    return canister_id


def _check_wanted(network: Scheduler, wanted: bytes) -> None:
    text = principal.to_text(wanted)
    if not principal.is_canister_id(wanted):
        raise caller_fault("IC0405", f"Unsuccessful validation of specified ID: {text} is no canister id here")
    if wanted in network.canisters:
        raise caller_fault("IC0538", f"Canister {text} is already installed.")


def _afford_allocations(network: Scheduler, canister: Canister) -> None:
    state = canister.state
    check_compute(network, 0, state.settings.compute_allocation)
    if state.settings.memory_allocation:
        needed = reserve(network, canister, state.settings, state.settings.memory_allocation)
        state.reserved += needed
        state.cycles -= needed
    missing = canister.freezing_threshold() - state.cycles - state.reserved
    if missing > 0 and state.settings.compute_allocation:
        raise rejections.cannot_pay_compute(state.settings.compute_allocation, missing)
    if missing > 0 and state.settings.memory_allocation:
        raise rejections.cannot_pay_memory(state.settings.memory_allocation, missing)


def _next_id(network: Scheduler) -> bytes:
    number = network.store.meta("next canister", 0)
    while principal.canister_id(number) in network.canisters:
        number += 1
    network.changes.meta["next canister"] = number + 1
    return principal.canister_id(number)


@method("controllers")
def delete_canister(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    state, name = canister.state, principal.to_text(canister.state.id)
    if message.caller == state.id:
        raise caller_fault("IC0512", f"Canister {name} cannot delete itself.", "delete-canister-self")
    if state.status != "stopped":
        text = f"Canister {name} must be stopped before it is deleted."
        raise caller_fault("IC0510", text, "delete-canister-not-stopped")
    with network.lock:
        undelivered = (*canister.queue, *canister.management)
        waiting = [message for _, message in undelivered if isinstance(message, CallMessage)]
        for number, _ in undelivered:
            network.done(number)
        canister.queue.clear()
        canister.management.clear()
        del network.canisters[state.id]
        network.changes.canisters[state.id] = None
        network.drop_module(state.module)
        network.changes.meta[being_deleted(name)] = True
        network.on_change(state.id)
        for snapshot in network.store.snapshots(state.id):
            network.changes.snapshots[snapshot.id] = None
        for call in waiting:
            network.respond(call.origin, rejections.undeliverable(name, exists=True), call.cycles)
        network.flush()
    canister.remove()
    shutil.rmtree(network.store.folder / "snapshots" / name, ignore_errors=True)
    with network.lock:
        network.changes.meta[being_deleted(name)] = None
    return reply(message)
