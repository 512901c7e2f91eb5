"""The state of a subnet and its steps: canisters, requests, queues, timers; one step at a time.

The transitions of the IC interface specification, section "Abstract behavior", are steps:

    with subnet.step() as step:
        canister.state.cycles += amount
        step.touch(canister)

A step holds the subnet's lock, so there is one at a time, and what it changed is written as a whole when
it ends. What changes the state takes the `Step`. Wasm runs between steps, never inside one.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from ..protocol import candid, principal
from . import rejections
from .canister import HostedCanister, Inbox
from .clock import Clock
from .errors import DamagedState, Reject, Reply, Response, StateError
from .execution import SubnetInfo
from .memory import WASM_PAGE
from .runtime import MAX_HEAP32, Compiled, Runtime
from .state import (
    CallMessage,
    CanisterState,
    CanisterStatus,
    FromCanister,
    FromUser,
    LowMemoryHook,
    Message,
    Origin,
    Request,
    RequestStatus,
    ResponseMessage,
    Task,
    TaskMessage,
)
from .store import Changes, Store
from .wasm import InvalidModule

log = logging.getLogger("mainer_nb.localnet")

#: Messages that may wait for a canister at once. Of one caller there are at most `execution.MAX_CALLS_TO_ONE`.
MAX_QUEUE = 10_000


@dataclass(frozen=True)
class Listeners:
    """Who is told, during a step, what happens in a subnet.

    Attributes:
        canister_changed: gets the id of a canister that was made, changed or deleted.
        request_changed: gets the id of a request whose status has changed, or that was forgotten.
        written: gets what was written.
        failed: the state cannot be written: nothing is executed or acknowledged any more.
    """

    canister_changed: Callable[[bytes], None]
    request_changed: Callable[[bytes], None]
    written: Callable[[Changes], None]
    failed: Callable[[StateError], None]


class Subnet:
    """The canisters and requests of a subnet, and what waits for them.

    Args:
        store: where the state is kept; what it holds is loaded.
        listeners: who is told what happens.
        wake: has the next message of an inbox executed; called in a step.

    Attributes:
        inbox: calls of the management canister that concern no existing canister.
        timers: (time in ns, canister) of global timers, a heap. A timer that was changed since is left in it.
        deadlines: (time in ns, canister, callback) of best-effort calls, a heap.
        lock: held during a step; without a step it lets one read several things of the same moment.
        due: notified when something is due earlier than before.
        failure: why the state could not be written: nothing has been executed or acknowledged since.

    Raises:
        DamagedState: the state cannot be loaded.
    """

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        clock: Clock,
        info: SubnetInfo,
        listeners: Listeners,
        wake: Callable[[Inbox], None],
    ) -> None:
        self.store = store
        self.runtime = runtime
        self.clock = clock
        self.info = info
        self.lock = threading.RLock()
        self.due = threading.Condition(self.lock)
        self.canisters: dict[bytes, HostedCanister] = {}
        self.requests: dict[bytes, Request] = {}
        self.inbox = Inbox(None)
        self.timers: list[tuple[int, bytes]] = []
        self.deadlines: list[tuple[int, bytes, int]] = []
        self.failure: StateError | None = None
        self.listeners = listeners
        self.wake = wake
        self.unwritten = _Unwritten()
        with self.step(write=False) as step:
            self._load(step)

    def step(self, write: bool = True) -> Step:
        """One change of the state, as a context: see `Step`.

        Args:
            write: whether what it changes is written when it ends, or with the next step that is written.
        """
        return Step(self, write)

    def check(self) -> None:
        """Whether the subnet still runs.

        Raises:
            StateError: its state could not be written.
        """
        if self.failure is not None:
            raise self.failure

    def fail(self, error: StateError) -> None:
        """Stops everything: memory may be ahead of the folder, and only the folder's state can be continued."""
        with self.lock:
            if self.failure is None:
                log.critical("the network stops: %s", error)
                self.failure = error
                self.due.notify_all()
                self.listeners.failed(error)

    def memory_in_use(self) -> int:
        """Bytes that the canisters of this subnet use or have been promised."""
        with self.lock:
            states = [canister.state for canister in self.canisters.values()]
        return sum(max(state.memory_size(), state.settings.memory_allocation) for state in states)

    def _load(self, step: Step) -> None:
        self.store.remove_orphans()
        self.store.check_snapshots()
        for state in self.store.canisters():
            self.canisters[state.id] = self._canister(state)
            self.listeners.canister_changed(state.id)
            if state.global_timer:
                heapq.heappush(self.timers, (state.global_timer, state.id))
            for callback_id, callback in state.callbacks.items():
                if callback.deadline:
                    heapq.heappush(self.deadlines, (callback.deadline, state.id, callback_id))
        modules = {canister.state.module for canister in self.canisters.values()}
        self.store.keep_modules({module for module in modules if module is not None})
        for request_id, request in self.store.requests():
            self.requests[request_id] = request
            self.listeners.request_changed(request_id)
        for number, target, is_management, message in self.store.messages():
            self.unwritten.next_message = max(self.unwritten.next_message, number + 1)
            step.put(number, target, is_management, message)

    def _canister(self, state: CanisterState) -> HostedCanister:
        compiled = self._compiled(state.module) if state.module else None
        canister = HostedCanister(
            self.runtime, self.store.canister_folder(state.id), state, compiled, self.memory_in_use
        )
        canister.logs = self.store.logs(state.id)
        return canister

    def _compiled(self, sha256: bytes) -> Compiled:
        """A module of the store, compiled.

        Raises:
            DamagedState: it is missing, or not what was stored.
        """
        garbled = DamagedState(self.store.folder, f"the module {sha256.hex()} in {self.store.path} is garbled")
        try:
            compiled = self.runtime.compile(self.store.module(sha256))
        except InvalidModule as error:
            raise garbled from error
        if compiled.sha256 != sha256:
            raise garbled
        return compiled


class _Unwritten:
    """What is not written yet.

    Attributes:
        changes: of the current step, and of steps before it that were not to be written by themselves.
        unacknowledged: by number, the ingress messages that were accepted, while nobody was told so: see `Step.keep`.
        next_message: the number of the next message.
    """

    def __init__(self) -> None:
        self.changes = Changes()
        self.unacknowledged: dict[int, tuple[bytes, bool, CallMessage]] = {}
        self.next_message = 1


class Step:
    """A change of a subnet's state, made while its lock is held and written as a whole.

    If the block raises, nothing is written: what it had changed until then is written with the next step.
    """

    __slots__ = ("_write", "subnet")

    def __init__(self, subnet: Subnet, write: bool) -> None:
        self.subnet = subnet
        self._write = write

    def __enter__(self) -> Step:
        self.subnet.lock.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if self._write and kind is None:
                self.write()
        finally:
            self.subnet.lock.release()

    @property
    def changes(self) -> Changes:
        """What is to be written."""
        return self.subnet.unwritten.changes

    def write(self) -> None:
        """Writes what was changed so far.

        Raises:
            StateError: it cannot be written; the subnet has stopped.
        """
        subnet = self.subnet
        subnet.check()
        changes = subnet.unwritten.changes
        if changes == Changes():
            return
        try:
            subnet.store.write(changes)
        except StateError as error:
            subnet.fail(error)
            raise
        subnet.unwritten.changes = Changes()
        subnet.listeners.written(changes)

    def forget_changes(self) -> None:
        """What a message that failed had changed is not to be written."""
        self.subnet.unwritten.changes = Changes()

    # Canisters.

    def touch(self, canister: HostedCanister) -> None:
        """The state of `canister` has changed and is to be written."""
        self.changes.canisters[canister.state.id] = canister.state
        self.subnet.listeners.canister_changed(canister.state.id)

    def remove_canister(self, canister: HostedCanister) -> None:
        """`canister` does not exist any more; its module is forgotten if no other canister has it."""
        canister_id = canister.state.id
        del self.subnet.canisters[canister_id]
        self.changes.canisters[canister_id] = None
        self._drop_module(canister.state.module)
        self.subnet.listeners.canister_changed(canister_id)

    def change_module(self, canister: HostedCanister, compiled: Compiled | None, module: bytes = b"") -> None:
        """Gives a canister other code, or none; the old module is forgotten if no other canister has it.

        Args:
            module: the module of `compiled` as it was uploaded.
        """
        state = canister.state
        before, now = state.module, compiled.sha256 if compiled is not None else None
        canister.compiled, state.module = compiled, now
        state.installed = self.subnet.clock.now() if compiled is not None else 0
        state.module_size, state.custom_size = len(module), compiled.info.custom_size() if compiled is not None else 0
        if now is not None:
            self.changes.modules[now] = module
        self._drop_module(before)

    def _drop_module(self, sha256: bytes | None) -> None:
        subnet = self.subnet
        if sha256 is not None and all(canister.state.module != sha256 for canister in subnet.canisters.values()):
            self.changes.modules[sha256] = None
            subnet.runtime.forget(sha256)

    def set_timer(self, canister: HostedCanister, timestamp: int) -> None:
        """Sets the global timer of a canister; 0 clears it."""
        canister.state.global_timer = timestamp
        if timestamp:
            heapq.heappush(self.subnet.timers, (timestamp, canister.state.id))
            self.subnet.due.notify_all()

    def set_deadline(self, canister: HostedCanister, callback_id: int, deadline: int) -> None:
        """The call with this callback expires at `deadline`."""
        heapq.heappush(self.subnet.deadlines, (deadline, canister.state.id, callback_id))
        self.subnet.due.notify_all()

    def check_low_memory(self, canister: HostedCanister) -> None:
        """Enqueues the low memory hook when less heap is left than the settings say, once each time."""
        state, settings = canister.state, canister.state.settings
        most = canister.compiled.max_heap if canister.compiled is not None else MAX_HEAP32
        if not settings.leave_little(state.heap_pages * WASM_PAGE, most):
            state.low_memory_hook = LowMemoryHook.NOT_SATISFIED
        elif state.low_memory_hook is LowMemoryHook.NOT_SATISFIED:
            state.low_memory_hook = LowMemoryHook.READY
        task = TaskMessage(Task.LOW_MEMORY)
        is_ready = state.low_memory_hook is LowMemoryHook.READY and state.status is CanisterStatus.RUNNING
        if is_ready and not canister.inbox.holds(task):
            self.enqueue(state.id, task)
            canister.inbox.messages.rotate(1)  # before all other messages
        self.touch(canister)

    def complete_stop(self, canister: HostedCanister) -> None:
        """A stopping canister without open call contexts is stopped; whoever asked for it is told."""
        state = canister.state
        if state.status is not CanisterStatus.STOPPING or state.contexts:
            return
        state.status = CanisterStatus.STOPPED
        state.version += 1
        for request in state.stop_requests:
            self.respond(request.origin, Reply(candid.encode((), ())), request.cycles)
        state.stop_requests.clear()
        self.touch(canister)

    # Messages.

    def enqueue(self, target: bytes, message: Message) -> None:
        """Sends `message` to canister `target`; a call that it cannot take is rejected."""
        is_management = is_for_management(message)
        if not is_management:
            callee = self.subnet.canisters.get(target)
            if isinstance(message, CallMessage):
                refusal = _undeliverable(message, callee)
                if refusal is not None:
                    self.respond(message.origin, refusal, message.cycles)
                    return
            elif callee is None:
                return
        unwritten = self.subnet.unwritten
        number, unwritten.next_message = unwritten.next_message, unwritten.next_message + 1
        if isinstance(message, CallMessage) and isinstance(message.origin, FromUser):
            unwritten.unacknowledged[number] = target, is_management, message
        else:
            self.changes.messages.append((number, target, is_management, message))
        self.put(number, target, is_management, message)

    def put(self, number: int, target: bytes, is_management: bool, message: Message) -> None:
        """Puts message `number` into the inbox of canister `target`."""
        canister = self.subnet.canisters.get(target)
        inbox = self.subnet.inbox if canister is None else canister.inbox
        if is_management and isinstance(message, CallMessage):
            inbox.management.append((number, message))
        elif canister is not None:
            inbox.messages.append((number, message))
        self.wake(inbox)

    def wake(self, inbox: Inbox) -> None:
        """Has what is in `inbox` executed, if there is anything and it is not being executed or scheduled already."""
        if inbox.is_waiting():
            inbox.scheduled = True
            self.subnet.wake(inbox)

    def keep(self) -> None:
        """The accepted ingress messages are to be written, so that they survive the process.

        A synchronous call is acknowledged with its outcome only, so most messages never have to be written.
        """
        unacknowledged = self.subnet.unwritten.unacknowledged
        for number, (target, is_management, message) in unacknowledged.items():
            self.changes.messages.append((number, target, is_management, message))
            self._keep_request(message.origin)
        unacknowledged.clear()

    def done(self, number: int) -> None:
        """Message `number` does not wait any more."""
        unacknowledged = self.subnet.unwritten.unacknowledged.pop(number, None)
        if unacknowledged is None:
            self.changes.done.append(number)
        else:
            self._keep_request(unacknowledged[2].origin)

    def _keep_request(self, origin: Origin) -> None:
        if isinstance(origin, FromUser) and origin.request_id in self.subnet.requests:
            self.changes.requests[origin.request_id] = self.subnet.requests[origin.request_id]

    # Requests.

    def add_request(self, request_id: bytes, request: Request) -> None:
        """An ingress message was accepted."""
        self.subnet.requests[request_id] = request
        self.subnet.listeners.request_changed(request_id)

    def mark_processing(self, origin: Origin) -> None:
        """The execution of an ingress message begins. Not written: after a restart it begins again."""
        if isinstance(origin, FromUser) and origin.request_id in self.subnet.requests:
            request = self.subnet.requests[origin.request_id]
            if request.status is RequestStatus.RECEIVED:
                request.status = RequestStatus.PROCESSING
                self.subnet.listeners.request_changed(origin.request_id)

    def respond(self, origin: Origin, response: Response, refund: int = 0) -> None:
        """Answers whoever opened a call context."""
        if isinstance(origin, FromUser):
            request = self.subnet.requests.get(origin.request_id)
            if request is not None:
                request.response = response
                request.status = RequestStatus.REPLIED if isinstance(response, Reply) else RequestStatus.REJECTED
                request.answered = self.subnet.clock.now()
                self.change_request(origin.request_id, request)
        elif isinstance(origin, FromCanister):
            seen = response if isinstance(response, Reply) else response.seen_by_canister()
            self.enqueue(origin.canister_id, ResponseMessage(origin.callback_id, seen, refund))

    def change_request(self, request_id: bytes, request: Request | None) -> None:
        """A request has changed and is to be written, or with None to be forgotten."""
        if request is None:
            del self.subnet.requests[request_id]
        self.changes.requests[request_id] = request
        self.subnet.listeners.request_changed(request_id)


def is_for_management(message: Message) -> bool:
    """Whether `message` is a call of the management canister."""
    return isinstance(message, CallMessage) and message.callee == principal.MANAGEMENT


def _undeliverable(message: CallMessage, callee: HostedCanister | None) -> Reject | None:
    """Why a call cannot be put into the inbox of its callee."""
    name = principal.to_text(message.callee)
    if callee is None:
        return rejections.undeliverable(name, principal.is_canister_id(message.callee))
    if callee.state.status is not CanisterStatus.RUNNING:
        return rejections.not_accepting(name, callee.state.status)
    return rejections.queue_full(name, MAX_QUEUE) if len(callee.inbox.messages) >= MAX_QUEUE else None
