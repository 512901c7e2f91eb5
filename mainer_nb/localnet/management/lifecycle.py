"""Starting and stopping canisters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...protocol import candid
from .. import rejections
from ..canister import Canister
from ..errors import Reply
from ..state import CallMessage, StopRequest
from .methods import Answer, method, reply

if TYPE_CHECKING:
    from ..scheduler import Scheduler


@method("controllers")
def start_canister(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    state = canister.state
    with network.lock:
        for waiting in state.stop_requests:
            network.respond(waiting.origin, rejections.stop_cancelled(canister.name), waiting.cycles)
        state.stop_requests.clear()
        if state.status != "running":
            state.status = "running"
            state.version += 1
        network.check_low_memory(canister)
        network.flush()
    return reply(message)


@method("controllers")
def stop_canister(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer | None:
    assert canister is not None
    state = canister.state
    with network.lock:
        if state.status == "stopped":
            return reply(message)
        if state.status == "running":
            state.status = "stopping"
            state.version += 1
        state.stop_requests.append(StopRequest(message.origin, message.cycles, network.clock.now()))
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
    state.version += 1
    data = candid.encode((), ())
    for waiting in state.stop_requests:
        network.respond(waiting.origin, Reply(data), waiting.cycles)
    state.stop_requests.clear()
    network.touch(canister)
