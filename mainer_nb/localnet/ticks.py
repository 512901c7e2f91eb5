"""What becomes due as time passes: timers, deadlines, heartbeats; and housekeeping now and then."""

from __future__ import annotations

import heapq

from . import cycles, management, rejections
from .canister import HostedCanister
from .charging import charge_storage
from .messages import send
from .state import CanisterStatus, RequestStatus, ResponseMessage, Task, TaskMessage
from .subnet import Step

#: How long a call to stop a canister waits for its open call contexts.
STOP_SECONDS = 5 * 60
#: How long a response can be read, in ns; later the request is ``done``, and forgotten once it has expired.
RESPONSE_LIFETIME = 5 * 60 * cycles.SECOND


def fire_due(step: Step, now: int) -> None:
    """Enqueues the global timers that are due, and rejects the best-effort calls whose deadline has passed."""
    subnet = step.subnet
    while subnet.timers and subnet.timers[0][0] <= now:
        timestamp, canister_id = heapq.heappop(subnet.timers)
        canister = subnet.canisters.get(canister_id)
        if canister is None or canister.state.global_timer != timestamp:
            continue
        if canister.state.status is CanisterStatus.RUNNING:  # that of another is due again when it is started
            canister.state.global_timer = 0
            step.touch(canister)
            step.enqueue(canister_id, TaskMessage(Task.GLOBAL_TIMER))
    while subnet.deadlines and subnet.deadlines[0][0] <= now:
        _, canister_id, callback_id = heapq.heappop(subnet.deadlines)
        canister = subnet.canisters.get(canister_id)
        if canister is not None and callback_id in canister.state.callbacks:
            step.enqueue(canister_id, ResponseMessage(callback_id, rejections.RESPONSE_EXPIRED))


def fire_heartbeats(step: Step) -> None:
    """Enqueues the heartbeat of each canister that has one, unless it still waits from the last time."""
    beat = TaskMessage(Task.HEARTBEAT)
    for canister_id, canister in step.subnet.canisters.items():
        has_heartbeat = canister.compiled is not None and beat.task in canister.compiled.info.exports
        if has_heartbeat and not canister.inbox.holds(beat):
            step.enqueue(canister_id, beat)


def keep_house(step: Step, now: int) -> None:
    """Charges for storage, uninstalls canisters without cycles, gives up stopping, forgets old requests."""
    for canister in step.subnet.canisters.values():
        if not canister.inbox.busy:
            charge_storage(step, canister)
            _give_up_stopping(step, canister, now)
            if canister.state.cycles == canister.state.reserved == 0 and canister.compiled is not None:
                send(step, management.uninstallation(canister.state.id))
    _forget_requests(step, now)


def _forget_requests(step: Step, now: int) -> None:
    """Responses are kept for a while, then requests are done; they are forgotten when they have expired as well."""
    for request_id, request in list(step.subnet.requests.items()):
        if request.pending or now < request.answered + RESPONSE_LIFETIME:
            continue
        if request.expiry < now:
            step.change_request(request_id, None)
        elif request.status is not RequestStatus.DONE:
            request.status, request.response = RequestStatus.DONE, None
            step.change_request(request_id, request)


def _give_up_stopping(step: Step, canister: HostedCanister, now: int) -> None:
    requests = canister.state.stop_requests
    late = [request for request in requests if request.since + STOP_SECONDS * cycles.SECOND < now]
    for request in late:
        requests.remove(request)
        step.touch(canister)
        step.respond(request.origin, rejections.stop_timed_out(), request.cycles)
