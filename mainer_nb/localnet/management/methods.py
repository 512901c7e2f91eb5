"""What the methods of the management canister have in common: their interface, their table, who may call them.

A handler gets the subnet, the canister that the call is about if it is about one, the call and its decoded
argument. It runs on a worker thread with that canister to itself, raises `Failure` for a rejection, and
changes nothing before everything is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

from ...protocol import candid, did, principal
from .. import cycles, rejections
from ..canister import HostedCanister
from ..charging import burn, out_of_cycles
from ..errors import Failure, Reply, Response
from ..outcalls import HttpRequest
from ..rejections import caller_fault
from ..state import CallMessage, FromSystem, FromUser, Use
from ..subnet import Step, Subnet

INTERFACE = did.parse((Path(__file__).parent / "management.did").read_text(encoding="utf-8"), "management.did")


class Callers(Enum):
    """Who may call a method of the management canister."""

    CONTROLLERS = auto()
    CONTROLLERS_OR_ITSELF = auto()
    CANISTERS = auto()
    ANYONE = auto()


@dataclass(frozen=True)
class Answer:
    """A response to the caller, and the cycles it gets back."""

    response: Response
    refund: int


#: An answer; a request that is to be made before the call is answered; None if the answer comes later.
Result = Answer | HttpRequest | None
SubnetHandler = Callable[[Subnet, CallMessage, Any], Result]
CanisterHandler = Callable[[Subnet, HostedCanister, CallMessage, Any], Result]


@dataclass(frozen=True)
class UntargetedMethod:
    """A method that is about no canister."""

    handler: SubnetHandler
    callers: Callers


@dataclass(frozen=True)
class TargetedMethod:
    """A method that is about a canister.

    Attributes:
        target: the field of the argument that names the canister.
        visibility: the setting of the canister that may let in further callers.
    """

    handler: CanisterHandler
    callers: Callers
    target: str
    visibility: str | None

    @property
    def for_controllers(self) -> bool:
        """Whether only controllers may call it, and those whom the canister's settings name."""
        return self.callers in (Callers.CONTROLLERS, Callers.CONTROLLERS_OR_ITSELF)

    def shows(self, canister: HostedCanister, caller: bytes) -> bool:
        """Whether the canister's settings let somebody in who is no controller."""
        return self.visibility is not None and canister.state.settings.shows(self.visibility, caller)


METHODS: dict[str, UntargetedMethod | TargetedMethod] = {}


def subnet_method(callers: Callers) -> Callable[[SubnetHandler], SubnetHandler]:
    """Adds a handler, named as its method, to the table."""

    def register(handler: SubnetHandler) -> SubnetHandler:
        METHODS[handler.__name__] = UntargetedMethod(handler, callers)
        return handler

    return register


def canister_method(
    callers: Callers, target: str = "canister_id", visibility: str | None = None
) -> Callable[[CanisterHandler], CanisterHandler]:
    """Adds a handler, named as its method, to the table. For `target` and `visibility` see `TargetedMethod`."""

    def register(handler: CanisterHandler) -> CanisterHandler:
        METHODS[handler.__name__] = TargetedMethod(handler, callers, target, visibility)
        return handler

    return register


def decode(name: str, arg: bytes) -> Any:
    """The argument of a call, decoded.

    Raises:
        Failure: there is no such method, or the argument is not what it takes.
    """
    described = INTERFACE.methods.get(name)
    if described is None or name not in METHODS:
        raise caller_fault("IC0536", f"Management canister has no method '{name}'")
    try:
        values = candid.decode(described.args, arg)
    except candid.CandidError as error:
        raise caller_fault("IC0408", f"Error decoding candid: {error}") from error
    return values[0] if values else None


def reply(message: CallMessage, *values: Any, refund: int | None = None) -> Answer:
    """A reply with `values`; all cycles of the call go back unless `refund` says otherwise."""
    data = candid.encode(INTERFACE.methods[message.method].results, values)
    return Answer(Reply(data), message.cycles if refund is None else refund)


def named_canister(name: str, arg: bytes) -> bytes | None:
    """The canister that the argument of a call names, None if the method is about none.

    Raises:
        Failure: as `decode`.
    """
    args, found = decode(name, arg), METHODS[name]
    if isinstance(found, UntargetedMethod):
        return None
    canister_id: bytes = args[found.target]
    return canister_id


def target(subnet: Subnet, message: CallMessage) -> bytes:
    """The canister a call is about; the management canister's own id for calls about no existing canister.

    Raises:
        Failure: as `decode`, or the canister does not exist.
    """
    canister_id = named_canister(message.method, message.arg)
    if canister_id is None:
        return principal.MANAGEMENT
    return _canister(subnet, canister_id).state.id


def _canister(subnet: Subnet, canister_id: bytes) -> HostedCanister:
    canister = subnet.canisters.get(canister_id)
    if canister is None:
        raise Failure(rejections.not_found(principal.to_text(canister_id)))
    return canister


def check_ingress(subnet: Subnet, sender: bytes, name: str, arg: bytes) -> HostedCanister | None:
    """Whether an ingress message to the management canister is let in; the canister it is about.

    Raises:
        Failure: why it is not.
    """
    args, found = decode(name, arg), METHODS[name]
    if found.callers is Callers.CANISTERS:
        raise _not_by_ingress(name)
    if isinstance(found, UntargetedMethod):
        return None
    canister = _canister(subnet, args[found.target])
    known = sender in canister.state.settings.controllers or found.shows(canister, sender)
    if found.for_controllers and not known:
        text = principal.to_text(canister.state.id)
        raise caller_fault("IC0512", f"Only controllers of canister {text} can call ic00 method {name}")
    return canister


def handle(subnet: Subnet, message: CallMessage) -> Result:
    """Executes a call, while nothing else is executed on the canister that it is about.

    Raises:
        Failure: the call is rejected; its cycles go back to the caller.
    """
    found = METHODS.get(message.method)
    if found is not None and found.callers is Callers.CANISTERS and isinstance(message.origin, FromUser):
        raise _not_by_ingress(message.method)
    return _handle(subnet, message)


def is_query(name: str) -> bool:
    """Whether a method can be called as a query."""
    described = INTERFACE.methods.get(name)
    return described is not None and described.mode == "query"


def is_only_query(name: str) -> bool:
    """Whether users can call a method as a query only."""
    return is_query(name) and METHODS[name].callers is Callers.CANISTERS


def query(subnet: Subnet, message: CallMessage) -> Response:
    """The response to a call as a query, by a user or in a composite query, to a method that can be called so."""
    if not is_query(message.method):
        return rejections.no_method(principal.to_text(principal.MANAGEMENT), "query", message.method)
    try:
        answer = _handle(subnet, message)
    except Failure as failure:
        return failure.reject
    assert isinstance(answer, Answer)
    return answer.response


def _handle(subnet: Subnet, message: CallMessage) -> Result:
    args, found = decode(message.method, message.arg), METHODS[message.method]
    if isinstance(found, UntargetedMethod):
        return found.handler(subnet, message, args)
    canister = _canister(subnet, args[found.target])
    if found.for_controllers and not isinstance(message.origin, FromSystem):
        is_itself = found.callers is Callers.CONTROLLERS_OR_ITSELF and message.caller == canister.state.id
        if not is_itself and not found.shows(canister, message.caller):
            only_controllers(canister, message.caller)
    return found.handler(subnet, canister, message, args)


def _not_by_ingress(name: str) -> Failure:
    if is_query(name):
        return caller_fault("IC0406", f"{name} API is only accessible to end users in non-replicated mode")
    return caller_fault("IC0406", f"Only canisters can call ic00 method {name}")


def only_controllers(canister: HostedCanister, caller: bytes) -> None:
    """Lets only controllers of `canister` pass.

    Raises:
        Failure: `caller` is none.
    """
    state = canister.state
    if caller not in state.settings.controllers:
        names = " ".join(principal.to_text(controller) for controller in state.settings.controllers)
        raise caller_fault(
            "IC0512",
            f"Only the controllers of the canister {principal.to_text(state.id)} can control it.\n"
            f"Canister's controllers: {names}\nSender's ID: {principal.to_text(caller)}",
        )


def record(
    step: Step, canister: HostedCanister, message: CallMessage, details: dict[str, Any], version: int | None
) -> None:
    """Adds to the history of a canister.

    Args:
        version: the caller's canister version, as far as it gave it (``sender_canister_version``).
    """
    state = canister.state
    if principal.is_canister_id(message.caller):
        origin: dict[str, Any] = {"from_canister": {"canister_id": message.caller, "canister_version": version}}
    else:
        origin = {"from_user": {"user_id": message.caller}}
    change = {
        "timestamp_nanos": step.subnet.clock.now(),
        "canister_version": state.version,
        "origin": origin,
        "details": details,
    }
    state.history.append(change)
    del state.history[:-MAX_HISTORY]
    state.history_length += 1
    step.touch(canister)


#: Changes that a canister's history keeps.
MAX_HISTORY = 20


def charge_work(step: Step, canister: HostedCanister, instructions: int) -> None:
    """Takes the price of work that is accounted as `instructions` of the canister.

    Raises:
        Failure: it would freeze the canister.
    """
    refusal = out_of_cycles(canister, cycles.execution(instructions))
    if refusal is not None:
        raise Failure(refusal)
    burn(step, canister, cycles.execution(instructions), Use.INSTRUCTIONS)


def use_memory(step: Step, canister: HostedCanister, more: int, instructions: int = 0) -> None:
    """Pays for work that is accounted as `instructions`, and sets cycles aside for `more` bytes if that is positive.

    Raises:
        Failure: the cycles of the canister, its settings or the memory of the subnet do not suffice; nothing is taken.
    """
    price = cycles.execution(instructions) if instructions else 0
    reserved = check_growth(canister, more, price)
    if instructions:
        charge_work(step, canister, instructions)
    canister.state.cycles -= reserved
    canister.state.reserved += reserved
    step.touch(canister)


def check_growth(canister: HostedCanister, more: int, price: int = 0) -> int:
    """The cycles to set aside so that a canister may keep `more` bytes, none if they are less than it keeps now.

    Args:
        price: cycles that it pays besides.

    Raises:
        Failure: its cycles, its settings or the memory of the subnet do not suffice.
    """
    if more <= 0:
        return 0
    growth = canister.growth(more, canister.state.cycles - price)
    if growth.beyond_subnet > 0:
        raise rejections.subnet_full(more, more - growth.beyond_subnet)
    if growth.beyond_limit > 0:
        limit = canister.state.settings.reserved_cycles_limit
        unreserved = rejections.cannot_reserve_growth(more, limit, growth.beyond_limit)
        help = "reserved-cycles-limit-exceeded-in-memory-grow"
        raise caller_fault(unreserved.error_code, str(unreserved), help)
    if growth.missing > 0:
        unpaid = rejections.cannot_pay_growth(more, growth.missing)
        raise caller_fault(unpaid.error_code, str(unpaid), "insufficient-cycles-in-memory-grow-1")
    return growth.reserved
