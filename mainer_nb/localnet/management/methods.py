"""What the methods of the management canister have in common: their interface, their table, who may call them.

A handler gets the network, the canister that the call is about (None if it is about none), the call and
its decoded argument. It runs on a worker thread with that canister to itself, raises `Failure` for a
rejection, and changes nothing before everything is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...protocol import candid, did, principal
from .. import cycles, rejections
from ..canister import Canister
from ..errors import Failure, Reply, Response
from ..rejections import caller_fault
from ..state import CallMessage, FromSystem, FromUser

if TYPE_CHECKING:
    from ..scheduler import Scheduler
    from .http_request import HttpRequest

INTERFACE = did.parse((Path(__file__).parent / "management.did").read_text(encoding="utf-8"), "management.did")


@dataclass(frozen=True)
class Answer:
    """A response to the caller, and the cycles it gets back."""

    response: Response
    refund: int


Handler = Callable[["Scheduler", Canister | None, CallMessage, Any], "Answer | HttpRequest | None"]


@dataclass(frozen=True)
class ManagementMethod:
    """A method: what executes it, and who may call it.

    Attributes:
        callers: ``"controllers"`` of the canister; ``"controllers or itself"``; ``"canisters"``; ``"anyone"``;
            ``"users by query"``.
        target: the field of the argument that names the canister the call is about; None if it is about none.
        visibility: the setting of the canister that may let in further callers.
    """

    handler: Handler
    callers: str
    target: str | None
    visibility: str | None

    def shows(self, canister: Canister, caller: bytes) -> bool:
        """Whether the canister's settings let somebody in who is no controller."""
        return self.visibility is not None and canister.state.settings.shows(self.visibility, caller)


METHODS: dict[str, ManagementMethod] = {}


def method(
    callers: str, target: str | None = "canister_id", visibility: str | None = None
) -> Callable[[Handler], Handler]:
    """Adds a handler, named as its method, to the table."""

    def register(handler: Handler) -> Handler:
        METHODS[handler.__name__] = ManagementMethod(handler, callers, target, visibility)
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
    args = decode(name, arg)
    field = METHODS[name].target
    found: bytes | None = args[field] if field is not None else None
    return found


def target(network: Scheduler, message: CallMessage) -> bytes:
    """The canister a call is about; the management canister's own id for calls about no existing canister.

    Raises:
        Failure: as `decode`, or the canister does not exist.
    """
    canister_id = named_canister(message.method, message.arg)
    if canister_id is None:
        return principal.MANAGEMENT
    if canister_id not in network.canisters:
        raise Failure(rejections.not_found(principal.to_text(canister_id)))
    return canister_id


def check_ingress(network: Scheduler, sender: bytes, name: str, arg: bytes) -> Canister | None:
    """Whether an ingress message to the management canister is let in; the canister it is about.

    Raises:
        Failure: why it is not.
    """
    args = decode(name, arg)
    found = METHODS[name]
    if found.callers == "canisters":
        raise caller_fault("IC0406", f"Only canisters can call ic00 method {name}")
    if found.callers == "users by query":
        raise caller_fault("IC0406", f"{name} API is only accessible to end users in non-replicated mode")
    if found.target is None:
        return None
    canister = network.canisters.get(args[found.target])
    if canister is None:
        raise Failure(rejections.not_found(principal.to_text(args[found.target])))
    known = sender in canister.state.settings.controllers or found.shows(canister, sender)
    if found.callers.startswith("controllers") and not known:
        text = principal.to_text(canister.state.id)
        raise caller_fault("IC0512", f"Only controllers of canister {text} can call ic00 method {name}")
    return canister


def handle(network: Scheduler, canister: Canister | None, message: CallMessage) -> Answer | HttpRequest | None:
    """Executes a call. The answer comes later if there is none, or a request is to be made first.

    Raises:
        Failure: the call is rejected; its cycles go back to the caller.
    """
    args = decode(message.method, message.arg)
    found = METHODS[message.method]
    _check_caller(found, canister, message)
    return found.handler(network, canister, message, args)


def _check_caller(found: ManagementMethod, canister: Canister | None, message: CallMessage) -> None:
    if isinstance(message.origin, FromSystem):
        return
    if found.callers == "canisters" and isinstance(message.origin, FromUser):
        raise caller_fault("IC0406", f"Only canisters can call ic00 method {message.method}")
    if found.callers == "users by query" and not isinstance(message.origin, FromUser):
        text = f"{message.method} API is only accessible to end users in non-replicated mode"
        raise caller_fault("IC0406", text)
    if found.callers.startswith("controllers"):
        assert canister is not None
        or_itself = found.callers == "controllers or itself"
        if not (or_itself and message.caller == canister.state.id) and not found.shows(canister, message.caller):
            only_controllers(canister, message.caller)


def only_controllers(canister: Canister, caller: bytes) -> None:
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
    network: Scheduler, canister: Canister, message: CallMessage, details: dict[str, Any], version: int | None
) -> None:
    """Adds to the history of a canister. With the lock held.

    Args:
        version: the caller's canister version, as far as it gave it (``sender_canister_version``).
    """
    state = canister.state
    if principal.is_canister_id(message.caller):
        origin: dict[str, Any] = {"from_canister": {"canister_id": message.caller, "canister_version": version}}
    else:
        origin = {"from_user": {"user_id": message.caller}}
    change = {
        "timestamp_nanos": network.clock.now(),
        "canister_version": state.version,
        "origin": origin,
        "details": details,
    }
    state.history.append(change)
    del state.history[:-MAX_HISTORY]
    state.history_length += 1
    network.touch(canister)


#: Changes that a canister's history keeps.
MAX_HISTORY = 20


def charge_work(network: Scheduler, canister: Canister, instructions: int) -> None:
    """Takes the price of work that is accounted as `instructions` of the canister. With the lock held.

    Raises:
        Failure: it would freeze the canister.
    """
    refusal = network.out_of_cycles(canister, cycles.execution(instructions))
    if refusal is not None:
        raise Failure(refusal)
    network.burn(canister, cycles.execution(instructions))


def check_growth(network: Scheduler, canister: Canister, more: int) -> None:
    """Whether a canister may keep `more` bytes. With the lock held.

    Raises:
        Failure: its memory allocation or its cycles do not suffice.
    """
    settings, size = canister.state.settings, canister.state.memory_size() + more
    if more <= 0:
        return
    if settings.memory_allocation and size > settings.memory_allocation:
        raise caller_fault(
            "IC0402",
            f"Canister was given {settings.memory_allocation} B memory allocation but at least {size} B of memory"
            " is needed.",
        )
    missing = canister.freezing_threshold(size) - canister.state.cycles - canister.state.reserved
    if missing > 0:
        raise caller_fault(
            "IC0532",
            f"Canister cannot grow memory by {more} bytes due to insufficient cycles."
            f" At least {missing} additional cycles are required.",
            "insufficient-cycles-in-memory-grow-1",
        )
