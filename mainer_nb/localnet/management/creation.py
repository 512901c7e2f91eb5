"""Creating and deleting canisters."""

from __future__ import annotations

import shutil
from typing import Any

from ...protocol import principal
from .. import cycles, rejections
from ..canister import HostedCanister
from ..rejections import caller_fault
from ..state import CallMessage, CanisterState, CanisterStatus, Settings, Use
from ..store import being_deleted
from ..subnet import Step, Subnet
from .methods import Answer, Callers, canister_method, record, reply, subnet_method
from .settings import changed, check_compute, reserve, variables_hash

#: Cycles of a canister made by `provisional_create_canister_with_cycles` without an amount.
DEFAULT_PROVISIONAL_CYCLES = 100_000_000_000_000


@subnet_method(Callers.CANISTERS)
def create_canister(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    if message.cycles < cycles.CANISTER_CREATION:
        raise caller_fault(
            "IC0403",
            f"Creating a canister requires a fee of {cycles.CANISTER_CREATION} that is deducted from the"
            f" canister's initial balance but only {message.cycles} cycles were received with the"
            f" create_canister request.",
            "create-canister-not-enough-cycles",
        )
    balance = message.cycles - cycles.CANISTER_CREATION
    canister_id = _create(subnet, message, args, balance, None, cycles.CANISTER_CREATION)
    return reply(message, {"canister_id": canister_id}, refund=0)


@subnet_method(Callers.ANYONE)
def provisional_create_canister_with_cycles(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    amount = DEFAULT_PROVISIONAL_CYCLES if args["amount"] is None else args["amount"]
    canister_id = _create(subnet, message, args, min(amount, cycles.MAX_CYCLES), args["specified_id"])
    return reply(message, {"canister_id": canister_id})


def _create(
    subnet: Subnet, message: CallMessage, args: Any, balance: int, wanted: bytes | None, price: int = 0
) -> bytes:
    settings = changed(Settings(controllers=[message.caller]), args["settings"])
    with subnet.step() as step:
        if wanted is not None:
            _check_wanted(step, wanted)
        canister_id = wanted or _next_id(step)
        now = subnet.clock.now()
        state = CanisterState(canister_id, now, settings, balance, charged_until=now)
        canister = HostedCanister(
            subnet.runtime, subnet.store.canister_folder(canister_id), state, None, subnet.memory_in_use
        )
        state.consume(price, Use.CREATION)
        _afford_allocations(step, canister)
        subnet.canisters[canister_id] = canister
        variables = variables_hash(settings) if settings.environment_variables else None
        details = {"controllers": list(settings.controllers), "environment_variables_hash": variables}
        record(step, canister, message, {"creation": details}, args["sender_canister_version"])
    return canister_id


def _check_wanted(step: Step, wanted: bytes) -> None:
    text = principal.to_text(wanted)
    if not principal.is_canister_id(wanted):
        raise caller_fault("IC0405", f"Unsuccessful validation of specified ID: {text} is no canister id here")
    if step.subnet.store.meta(_deleted(wanted), False):
        raise caller_fault("IC0408", f"The `specified_id` {text} is invalid: that canister was deleted.")
    if wanted in step.subnet.canisters:
        raise caller_fault("IC0538", f"Canister {text} is already installed.")


def _afford_allocations(step: Step, canister: HostedCanister) -> None:
    state = canister.state
    check_compute(step, 0, state.settings.compute_allocation)
    if state.settings.memory_allocation:
        needed = reserve(step, canister, state.settings, state.settings.memory_allocation)
        state.reserved += needed
        state.cycles -= needed
    missing = canister.freezing_threshold() - state.cycles - state.reserved
    if missing > 0 and state.settings.compute_allocation:
        raise rejections.cannot_pay_compute(state.settings.compute_allocation, missing)
    if missing > 0 and state.settings.memory_allocation:
        raise rejections.cannot_pay_memory(state.settings.memory_allocation, missing)


def _next_id(step: Step) -> bytes:
    number = step.subnet.store.meta("next canister", 0)
    store, canisters = step.subnet.store, step.subnet.canisters
    while (wanted := principal.canister_id(number)) in canisters or store.meta(_deleted(wanted), False):
        number += 1
    step.changes.meta["next canister"] = number + 1
    return wanted


def _deleted(canister_id: bytes) -> str:
    """The name of the note that a canister of this id was deleted: no other will have its id."""
    return f"deleted: {principal.to_text(canister_id)}"


@canister_method(Callers.CONTROLLERS)
def delete_canister(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    state, name = canister.state, principal.to_text(canister.state.id)
    if message.caller == state.id:
        raise caller_fault("IC0512", f"Canister {name} cannot delete itself.", "delete-canister-self")
    if state.status is not CanisterStatus.STOPPED:
        text = f"Canister {name} must be stopped before it is deleted."
        raise caller_fault("IC0510", text, "delete-canister-not-stopped")
    with canister.snapshots_lock:
        _delete(subnet, canister)
    with subnet.step(write=False) as step:
        step.changes.meta[being_deleted(name)] = None
    return reply(message)


def _delete(subnet: Subnet, canister: HostedCanister) -> None:
    state, name = canister.state, canister.name
    with subnet.step() as step:
        undelivered = (*canister.inbox.messages, *canister.inbox.management)
        waiting = [message for _, message in undelivered if isinstance(message, CallMessage)]
        for number, _ in undelivered:
            step.done(number)
        canister.inbox.messages.clear()
        canister.inbox.management.clear()
        step.remove_canister(canister)
        step.changes.meta[being_deleted(name)] = step.changes.meta[_deleted(state.id)] = True
        for snapshot in subnet.store.snapshots(state.id):
            step.changes.snapshots[snapshot.id] = None
        for call in waiting:
            step.respond(call.origin, rejections.undeliverable(name, exists=True), call.cycles)
    canister.remove()
    shutil.rmtree(subnet.store.folder / "snapshots" / name, ignore_errors=True)
