"""Ingress messages: whether they are let in, who pays for them, and how they are taken in.

Source: IC interface specification, section "Request: Call".
"""

from __future__ import annotations

from ..protocol import principal
from . import cycles, limits, management, rejections
from .canister import HostedCanister
from .charging import burn, out_of_cycles
from .envelope import Call
from .errors import Failure, Reject
from .execution import EntryPoint, Input
from .messages import send
from .state import CallMessage, CanisterStatus, FromUser, Request, Use
from .subnet import Subnet

#: Arguments of more bytes are not read by the thread that serves everybody.
_LONG_ARGUMENT = 64 * 1024
_INSPECT = "canister_inspect_message"


def inspects_slowly(subnet: Subnet, call: Call) -> bool:
    """Whether `inspect` runs code of the canister, or reads a long argument."""
    if call.canister_id == principal.MANAGEMENT:
        return len(call.arg) > _LONG_ARGUMENT
    canister = subnet.canisters.get(call.canister_id)
    return canister is not None and canister.compiled is not None and _INSPECT in canister.compiled.info.exports


def inspect(subnet: Subnet, call: Call) -> Reject | None:
    """Why the callee does not take this message: it must exist, run, be able to pay, and accept it if asked."""
    if call.canister_id == principal.MANAGEMENT:
        return _inspect_management(subnet, call)
    canister = subnet.canisters.get(call.canister_id)
    if canister is None:
        return rejections.not_found(principal.to_text(call.canister_id))
    if canister.state.status is not CanisterStatus.RUNNING:
        return rejections.not_accepting(canister.name, canister.state.status)
    if canister.compiled is None:
        return rejections.empty(canister.name)
    refusal = out_of_cycles(canister, _price(call))
    if refusal is None and _INSPECT in canister.compiled.info.exports:
        refusal = _ask_canister(subnet, canister, call)
    return refusal


def _inspect_management(subnet: Subnet, call: Call) -> Reject | None:
    try:
        canister = management.check_ingress(subnet, call.sender, call.method, call.arg)
    except Failure as failure:
        return failure.reject
    # Settings can be changed by a frozen canister's controllers, or nobody could thaw it.
    if canister is None or call.method in management.FREE_FOR_USERS or call.method == "update_settings":
        return None
    return out_of_cycles(canister, _price(call))


def _ask_canister(subnet: Subnet, canister: HostedCanister, call: Call) -> Reject | None:
    given, now = Input(call.sender, call.method, call.arg, sender_info=call.sender_info), subnet.clock.now()
    try:
        outcome = canister.query(EntryPoint.INSPECT, _INSPECT, given, subnet.info, now, limits.INSPECT_LIMIT)
    except Failure as failure:
        return failure.reject
    if outcome.trap is not None:
        return rejections.trapped_in(canister.name, outcome.trap)
    return None if outcome.execution.effects.accepted_message else rejections.not_accepted(canister.name)


def accept(subnet: Subnet, call: Call) -> None:
    """Takes in a message that `inspect` found nothing against; the same request id again changes nothing.

    It is written with its first effects. Before it is acknowledged earlier, it must be kept: see `Step.keep`.
    """
    with subnet.step(write=False) as step:
        if call.request_id in subnet.requests:
            return
        payer = _payer(subnet, call)
        if payer is not None:
            burn(step, payer, _price(call), Use.INGRESS)
        request = Request(call.sender, call.canister_id, call.ingress_expiry, effective=effective_canister(call))
        step.add_request(call.request_id, request)
        origin = FromUser(call.request_id)
        message = CallMessage(
            origin, call.sender, call.canister_id, call.method, call.arg, sender_info=call.sender_info
        )
        send(step, message)
        if not request.pending:
            step.write()


def effective_canister(call: Call) -> bytes | None:
    """The canister that must be in the URL of requests about `call`; None if any will do."""
    if call.canister_id != principal.MANAGEMENT:
        return call.canister_id
    try:
        return management.named_canister(call.method, call.arg)
    except Failure:
        return None


def _payer(subnet: Subnet, call: Call) -> HostedCanister | None:
    """Who pays for an ingress message: its callee, or the canister that a management call is about."""
    if call.canister_id != principal.MANAGEMENT:
        return subnet.canisters.get(call.canister_id)
    if call.method in management.FREE_FOR_USERS:
        return None
    return subnet.canisters.get(management.named_canister(call.method, call.arg) or b"")


def _price(call: Call) -> int:
    return cycles.ingress(len(call.method) + len(call.arg) + len(call.nonce or b""))
