"""Starting and stopping canisters."""

from __future__ import annotations

from typing import Any

from .. import rejections
from ..canister import HostedCanister
from ..state import CallMessage, CanisterStatus, StopRequest
from ..subnet import Subnet
from .methods import Answer, Callers, canister_method, reply


@canister_method(Callers.CONTROLLERS)
def start_canister(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    state = canister.state
    with subnet.step() as step:
        for waiting in state.stop_requests:
            step.respond(waiting.origin, rejections.stop_cancelled(canister.name), waiting.cycles)
        state.stop_requests.clear()
        if state.status is not CanisterStatus.RUNNING:
            state.status = CanisterStatus.RUNNING
            state.version += 1
            step.set_timer(canister, state.global_timer)  # it may have come due meanwhile
        step.check_low_memory(canister)
    return reply(message)


@canister_method(Callers.CONTROLLERS)
def stop_canister(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer | None:
    state = canister.state
    with subnet.step() as step:
        if state.status is CanisterStatus.STOPPED:
            return reply(message)
        if state.status is CanisterStatus.RUNNING:
            state.status = CanisterStatus.STOPPING
            state.version += 1
        state.stop_requests.append(StopRequest(message.origin, message.cycles, subnet.clock.now()))
        step.touch(canister)
        step.complete_stop(canister)
    return None
