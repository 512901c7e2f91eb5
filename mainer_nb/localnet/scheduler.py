"""Who runs when, and what becomes of it: queues, call contexts, callbacks, timers.

Every change of a network's state happens here or in `management`, under one lock; wasm runs outside
of it. A worker thread takes a canister that has something to do, executes one message of it, and
commits; different canisters run in parallel, one canister never does two things at once.

The transitions follow the IC interface specification, section "Abstract behavior".
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..protocol import principal
from . import canister as limits
from . import cycles, management, rejections, system_api
from .canister import Canister, Outcome, Surroundings
from .clock import Clock
from .errors import DamagedState, Failure, Reject, RejectCode, Reply, Response, StateError
from .memory import WASM_PAGE
from .pool import PATIENCE, Pool
from .runtime import MAX_HEAP32, MAX_HEAP64, Compiled, Instance, Runtime
from .state import (
    Callback,
    CallContext,
    CallMessage,
    CanisterState,
    FromCanister,
    FromSystem,
    FromUser,
    Message,
    Origin,
    Request,
    ResponseMessage,
    TaskMessage,
)
from .store import Changes, Store
from .system_api import Execution
from .wasm import InvalidModule

if TYPE_CHECKING:
    from .outcalls import Outcalls

log = logging.getLogger("mainer_nb.localnet")

#: Messages that may wait for a canister at once. Of one caller there are at most `system_api.MAX_CALLS_TO_ONE`.
MAX_QUEUE = 10_000
#: Canisters that may run at once, however long they take.
MOST_WORKERS = 200
HEARTBEAT_SECONDS = 1.0
#: How often what canisters owe for storage is taken from them, and old requests are forgotten.
HOUSEKEEPING_SECONDS = 10.0
#: How long a call to stop a canister waits for its open call contexts.
STOP_SECONDS = 5 * 60

_LOW_MEMORY = TaskMessage("canister_on_low_wasm_memory")

#: How long a response can be read; later the request is ``done``, and forgotten once it has expired.
RESPONSE_LIFETIME = 5 * 60 * cycles.SECOND


@dataclass(eq=False)
class Subnet:
    """The management canister as a receiver of messages that concern no existing canister."""

    queue: deque[tuple[int, CallMessage]]
    busy: bool = False


class Scheduler:
    """The canisters of a network and the threads that execute their messages.

    Args:
        store: where the state is kept; what it holds is loaded.
        workers: number of canisters that may run at once; those whose messages take long are not counted.

    Attributes:
        outside: makes the canisters' HTTPS outcalls; None: they are refused.
        failure: why the state could not be written: nothing has been executed or acknowledged since.
    """

    def __init__(self, store: Store, runtime: Runtime, clock: Clock, around: Surroundings, workers: int) -> None:
        self.store = store
        self.runtime = runtime
        self.clock = clock
        self.around = around
        self.lock = threading.RLock()
        self.canisters: dict[bytes, Canister] = {}
        self.requests: dict[bytes, Request] = {}
        self.on_request_done: Callable[[bytes], None] = lambda request_id: None
        self.on_change: Callable[[bytes], None] = lambda canister_id: None
        self.on_written: Callable[[], None] = lambda: None
        self.changes = Changes()
        #: Ingress messages that nobody was told of yet, by number: in memory only, see `keep`.
        self._unacknowledged: dict[int, tuple[bytes, bool, CallMessage]] = {}
        self.outside: Outcalls | None = None
        self.failure: StateError | None = None
        self.on_failure: Callable[[StateError], None] = lambda error: None
        self._fetching = 0
        self._fetched: dict[int, management.http_request.Fetched | Reject] = {}
        self._subnet = Subnet(deque())
        self._ready: deque[Canister | Subnet] = deque()
        self._timers: list[tuple[int, bytes]] = []
        self._deadlines: list[tuple[int, bytes, int]] = []
        self._tick = threading.Condition(self.lock)  # something is due earlier than the ticker knows
        self._idle = threading.Condition(self.lock)
        self._stopping = False
        self._running = 0
        self._pool = Pool("worker", workers, MOST_WORKERS, MOST_WORKERS)
        self._clockwork = threading.Thread(target=self._ticker, name="ticker", daemon=True)
        self._next_message = 1
        with self.lock:
            self._load()
        clock.changed = self._time_moved

    # Starting, stopping, loading.

    def start(self) -> None:
        """Starts the worker threads and the timer thread."""
        self._pool.start()
        self._clockwork.start()

    def stop(self) -> None:
        """Lets running messages finish, then stops; waiting messages stay in the store."""
        with self.lock:
            if self.failure is None:
                self.keep()
            self._stopping = True
            self._tick.notify_all()
        self._pool.stop()
        self._clockwork.join()
        for canister in self.canisters.values():
            canister.close()

    def _load(self) -> None:
        self.store.remove_orphans()
        self.store.check_snapshots()
        for state in self.store.canisters():
            self.canisters[state.id] = self._canister(state)
            if state.global_timer:
                heapq.heappush(self._timers, (state.global_timer, state.id))
            for callback_id, callback in state.callbacks.items():
                if callback.deadline:
                    heapq.heappush(self._deadlines, (callback.deadline, state.id, callback_id))
        self.store.keep_modules({one.state.module for one in self.canisters.values() if one.state.module is not None})
        self.requests = dict(self.store.requests())
        for number, target, is_management, message in self.store.messages():
            self._next_message = max(self._next_message, number + 1)
            self._put(number, target, is_management, message)

    def _canister(self, state: CanisterState) -> Canister:
        compiled = self._compiled(state.module) if state.module else None
        canister = Canister(self.runtime, self.store.canister_folder(state.id), state, compiled)
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

    def change_module(self, canister: Canister, compiled: Compiled | None, module: bytes = b"") -> None:
        """Gives a canister other code, or none; forgets the old one if nobody else has it. With the lock held.

        Args:
            module: the module of `compiled` as it was uploaded.
        """
        state = canister.state
        before, now = state.module, compiled.sha256 if compiled is not None else None
        canister.compiled, state.module = compiled, now
        state.module_size, state.custom_size = len(module), compiled.info.custom_size() if compiled is not None else 0
        if now is not None:
            self.changes.modules[now] = module
        self.drop_module(before)

    def drop_module(self, sha256: bytes | None) -> None:
        """Forgets a module that no canister has any more. With the lock held."""
        if sha256 is not None and all(one.state.module != sha256 for one in self.canisters.values()):
            self.changes.modules[sha256] = None
            self.runtime.forget(sha256)

    def flush(self) -> None:
        """Writes what the current step changed. With the lock held.

        Raises:
            StateError: it cannot be written; the network has stopped.
        """
        self.check()
        if self.changes != Changes():
            try:
                self.store.write(self.changes)
            except StateError as error:
                self._fail(error)
                raise
            self.changes = Changes()
            self.on_written()

    def check(self) -> None:
        """Whether the network still runs.

        Raises:
            StateError: its state could not be written.
        """
        if self.failure is not None:
            raise self.failure

    def _fail(self, error: StateError) -> None:
        """Stops everything: what is in memory may be ahead of the folder, from which alone it can go on."""
        with self.lock:
            if self.failure is None:
                log.critical("the network stops: %s", error)
                self.failure, self._stopping = error, True
                for waiting in (self._tick, self._idle):
                    waiting.notify_all()
                self.on_failure(error)

    def touch(self, canister: Canister) -> None:
        """The state of `canister` has changed and is to be written. With the lock held."""
        self.changes.canisters[canister.state.id] = canister.state
        self.on_change(canister.state.id)

    # Queues.

    def enqueue(self, target: bytes, message: Message) -> None:
        """Puts `message` on its way to canister `target`, or answers it. With the lock held."""
        is_management = isinstance(message, CallMessage) and message.callee == principal.MANAGEMENT
        if not is_management:
            canister = self.canisters.get(target)
            if isinstance(message, CallMessage):
                refusal = _undeliverable(message, canister)
                if refusal is not None:
                    self.respond(message.origin, refusal, message.cycles)
                    return
            elif canister is None:
                return
        number, self._next_message = self._next_message, self._next_message + 1
        if isinstance(message, CallMessage) and isinstance(message.origin, FromUser):
            self._unacknowledged[number] = target, is_management, message
        else:
            self.changes.messages.append((number, target, is_management, message))
        self._put(number, target, is_management, message)

    def keep(self) -> None:
        """Writes the ingress messages that were accepted: from now on they survive the process. With the lock held.

        A synchronous call is acknowledged with its outcome only, so most messages never have to be written.
        """
        for number, (target, is_management, message) in self._unacknowledged.items():
            self.changes.messages.append((number, target, is_management, message))
            self._keep_request(message.origin)
        self._unacknowledged.clear()
        self.flush()

    def done(self, number: int) -> None:
        """Message `number` is not waiting any more once the current step is written. With the lock held."""
        unacknowledged = self._unacknowledged.pop(number, None)
        if unacknowledged is None:
            self.changes.done.append(number)
        else:
            self._keep_request(unacknowledged[2].origin)

    def _keep_request(self, origin: Origin) -> None:
        if isinstance(origin, FromUser) and origin.request_id in self.requests:
            self.changes.requests[origin.request_id] = self.requests[origin.request_id]

    def _put(self, number: int, target: bytes, is_management: bool, message: Message) -> None:
        canister = self.canisters.get(target)
        if is_management and isinstance(message, CallMessage):
            if canister is None:
                self._subnet.queue.append((number, message))
                self.make_ready(self._subnet)
            else:
                canister.management.append((number, message))
                self.make_ready(canister)
        elif canister is not None:
            canister.queue.append((number, message))
            self.make_ready(canister)

    def make_ready(self, who: Canister | Subnet) -> None:
        """Schedules `who` if it has work and is idle. With the lock held."""
        if self._queue_up(who):
            self._submit()

    def _queue_up(self, who: Canister | Subnet) -> bool:
        """Whether `who` was added to those whose turn comes: for each of them a thread is asked to `_run_some`."""
        waiting = bool(who.queue) or (isinstance(who, Canister) and bool(who.management))
        if not waiting or who.busy or who in self._ready:
            return False
        self._ready.append(who)
        return True

    def _submit(self) -> None:
        self._pool.submit(self._run_some).add_done_callback(_report)

    def respond(self, origin: Origin, response: Response, refund: int = 0) -> None:
        """Answers whoever opened a call context. With the lock held."""
        if isinstance(origin, FromUser):
            request = self.requests.get(origin.request_id)
            if request is not None:
                request.response = response
                request.status = "replied" if isinstance(response, Reply) else "rejected"
                request.answered = self.clock.now()
                self.changes.requests[origin.request_id] = request
                self.on_request_done(origin.request_id)
        elif isinstance(origin, FromCanister):
            seen = response if isinstance(response, Reply) else response.seen_by_canister()
            self.enqueue(origin.canister_id, ResponseMessage(origin.callback_id, seen, refund))

    # Worker threads.

    def _run_some(self) -> None:
        """Executes ready messages for one time slice.

        Changing threads between two short messages would take about as long as one of them.
        """
        end = time.monotonic() + PATIENCE / 2
        while self._run_next():
            if time.monotonic() > end:
                self._submit()
                return

    def _run_next(self) -> bool:
        """Executes one message of the canister whose turn it is; whether that canister's turn comes again."""
        with self.lock:
            if self._stopping:
                return False
            who = self._ready.popleft()
            who.busy = True
            self._running += 1
            if isinstance(who, Canister) and who.management:
                number, message = who.management.popleft()
            else:
                number, message = who.queue.popleft()  # type: ignore[assignment]
        try:
            self._execute(who, number, message)
        except StateError as error:
            self._fail(error)
        except Exception as error:  # of the disk or of ours: answer the caller, keep the network going
            self._give_up(who, number, message, error)
        finally:
            with self.lock:
                self._running -= 1
                who.busy = False
                again = self._queue_up(who)
                if not self._anything_to_do():
                    self._idle.notify_all()
        return again

    def _give_up(self, who: Canister | Subnet, number: int, message: Message, error: Exception) -> None:
        """Rejects a message that could not be executed, or not committed; it has changed nothing."""
        reject = _no_room(error)
        if reject is None:
            log.error("internal error while executing %s", message, exc_info=error)
            reject = Reject(int(RejectCode.SYS_FATAL), "internal error of the network; see its log", "IC0000")
        if isinstance(who, Canister):
            who.forget()
        with self.lock, contextlib.suppress(StateError):
            self.changes = Changes()
            self.done(number)
            if isinstance(message, CallMessage):
                self.respond(message.origin, reject, message.cycles)
            self.flush()

    def _execute(self, who: Canister | Subnet, number: int, message: Message) -> None:
        if isinstance(message, CallMessage) and self._expired(message):
            with self.lock:
                self.done(number)
                self._fetched.pop(number, None)
                if isinstance(message.origin, FromUser):
                    self.respond(message.origin, rejections.ingress_expired(message.origin.request_id))
                self.flush()
            return
        if isinstance(message, CallMessage) and message.callee == principal.MANAGEMENT:
            self._execute_management(who if isinstance(who, Canister) else None, number, message)
        elif isinstance(who, Subnet):
            raise AssertionError("only management messages wait for the subnet")
        elif isinstance(message, CallMessage):
            self._execute_call(who, number, message)
        elif isinstance(message, ResponseMessage):
            self._execute_response(who, number, message)
        else:
            self._execute_task(who, number, message)

    def _expired(self, message: CallMessage) -> bool:
        """Whether it is too late to begin with a call: whoever made it is told, or has been told, that it failed."""
        now = self.clock.now()
        if isinstance(message.origin, FromUser):
            request = self.requests.get(message.origin.request_id)
            return request is not None and request.expiry < now
        return 0 < message.deadline < now

    def _execute_management(self, target: Canister | None, number: int, message: CallMessage) -> None:
        with self.lock:
            self._mark_processing(message.origin)
            fetched = self._fetched.pop(number, None)
        try:
            if fetched is None:
                answer = management.handle(self, target, message)
            else:
                answer = management.http_request.conclude(self, message, fetched)
        except Failure as failure:
            answer = management.Answer(failure.reject, message.cycles)
        if isinstance(answer, management.http_request.HttpRequest):
            self._fetch(number, message, answer)
            return
        with self.lock:
            self.done(number)
            if answer is not None:
                self.respond(message.origin, answer.response, answer.refund)
            self.flush()

    def _fetch(self, number: int, message: CallMessage, request: management.http_request.HttpRequest) -> None:
        """Makes a request for a canister. The call goes back into the queue when it has been answered."""

        def fetched(outcome: management.http_request.Fetched | Reject) -> None:
            with self.lock:
                self._fetching -= 1
                self._fetched[number] = outcome
                self._put(number, message.caller, True, message)

        assert self.outside is not None
        with self.lock:
            self._fetching += 1
        self.outside.begin(request, fetched)

    def _mark_processing(self, origin: Origin) -> None:
        if isinstance(origin, FromUser) and origin.request_id in self.requests:
            request = self.requests[origin.request_id]
            if request.status == "received":
                request.status = "processing"
                self.on_request_done(origin.request_id)

    # Calls.

    def _execute_call(self, canister: Canister, number: int, message: CallMessage) -> None:
        with self.lock:
            self._mark_processing(message.origin)
            self.charge(canister)
        refusal = self._refusal(canister, message)
        if refusal is not None:
            with self.lock:
                self.done(number)
                self.respond(message.origin, refusal, message.cycles)
                self.flush()
            return
        assert canister.compiled is not None
        is_query = canister.compiled.info.method_kind(message.method) == "query"
        instance = canister.instance()
        limit = limits.UPDATE_LIMIT
        execution = canister.execution("RQ" if is_query else "U", self.around, self.clock.now(), instance, limit)
        execution.caller, execution.arg, execution.method = message.caller, message.arg, message.method
        execution.available, execution.deadline = message.cycles, 0 if is_query else message.deadline
        execution.open_calls = canister.state.open_calls()
        export = f"canister_{'query' if is_query else 'update'} {message.method}"
        outcome = canister.run(execution, lambda: instance.call_export(export, execution, limit))
        context = CallContext(message.origin, message.caller, message.cycles, deadline=message.deadline)
        if outcome.trap is not None or is_query:
            canister.rollback(execution.stable_touched)
            with self.lock:
                self._finish_without_changes(canister, number, outcome)
                answer, refund = execution.answer or rejections.silent(canister.name), execution.available
                if outcome.trap is not None:
                    answer, refund = self.trap(canister, outcome), message.cycles
                else:
                    canister.state.version += 1
                self.respond(message.origin, answer, refund)
                self.flush()
            return

        self._commit(canister, instance, outcome, number, context)

    def _refusal(self, canister: Canister, message: CallMessage) -> Reject | None:
        """Why a call is not executed at all."""
        state, name = canister.state, canister.name
        if state.status != "running":
            return rejections.not_running(name, state.status)
        if canister.compiled is None:
            return rejections.empty(name)
        kind = canister.compiled.info.method_kind(message.method)
        if kind == "composite_query":
            return rejections.composite_in_replicated_mode()
        if kind is None:
            return rejections.no_method(name, "update", message.method)
        if _pays_too_little(state, message):
            text = f"Canister {name} takes calls of other canisters with at least"
            text += f" {state.settings.minimum_incoming_canister_call_cycles} cycles, not {message.cycles}"
            return rejections.refused("IC0504", text)
        return self.out_of_cycles(canister, canister.price(limits.UPDATE_LIMIT))

    def query_refusal(self, canister_id: bytes, method: str) -> Reject | None:
        """Why a query call of a method is not executed at all."""
        name = principal.to_text(canister_id)
        canister = self.canisters.get(canister_id)
        if canister is None:
            return rejections.not_found(name)
        if canister.state.status == "stopped":
            return rejections.no_context_for_queries(name)
        if canister.state.status == "stopping":
            return rejections.not_running(name, "stopping")
        if canister.compiled is None:
            return rejections.empty(name)
        if canister.compiled.info.method_kind(method) not in ("query", "composite_query"):
            return rejections.no_method(name, "query", method)
        return rejections.frozen_for_queries(name) if self.missing_cycles(canister, 0) > 0 else None

    def out_of_cycles(self, canister: Canister, price: int) -> Reject | None:
        """The rejection of what costs `price`, if the balance above the freezing threshold is less."""
        missing = self.missing_cycles(canister, price)
        return rejections.out_of_cycles(canister.name, missing) if missing > 0 else None

    def missing_cycles(self, canister: Canister, price: int) -> int:
        """The cycles that a canister lacks to pay `price` without being frozen; not positive if it lacks none."""
        frozen = max(0, canister.freezing_threshold() - canister.state.reserved)
        return frozen + price - canister.state.cycles

    # Responses.

    def _execute_response(self, canister: Canister, number: int, message: ResponseMessage) -> None:
        state = canister.state
        with self.lock:
            self.charge(canister)
            callback = state.callbacks.pop(message.callback_id, None)
            if callback is not None:  # else it is the late response to a best-effort call: its cycles are lost
                state.cycles += message.refund + callback.reserve - cycles.CALL_BYTE * _size(message.response)
            context = state.contexts.get(callback.context) if callback else None
            self.touch(canister)
            if callback is None or context is None or canister.compiled is None:
                self.done(number)
                self.flush()
                return
            context.outstanding -= 1
        replied = isinstance(message.response, Reply)
        function, environment = callback.on_reply if replied else callback.on_reject
        instance = canister.instance()
        execution = self._callback_execution("Ry" if replied else "Rt", canister, instance, context)
        execution.response, execution.refunded = message.response, message.refund
        outcome = canister.run(
            execution, lambda: instance.call_table(function, environment, execution, limits.UPDATE_LIMIT)
        )
        trap: Reject | None = None
        first = outcome.trap
        if first is not None:
            trap = self.trap(canister, outcome)
            canister.rollback(execution.stable_touched)
            with self.lock:
                self.pay(canister, outcome)
            if callback.on_cleanup is not None:
                function, environment = callback.on_cleanup
                instance = canister.instance()
                cleanup = self._callback_execution("C", canister, instance, context)
                cleanup.response = message.response
                outcome = canister.run(
                    cleanup, lambda: instance.call_table(function, environment, cleanup, limits.UPDATE_LIMIT)
                )
                if outcome.trap is not None:
                    self.trap(canister, outcome)
                    trap = rejections.trapped_in(canister.name, first, outcome.trap)
                    canister.rollback(cleanup.stable_touched)
            if callback.on_cleanup is None or outcome.trap is not None:
                with self.lock:
                    if callback.on_cleanup is not None:
                        self._finish_without_changes(canister, number, outcome)
                    else:
                        self.done(number)
                    self._conclude(canister, callback.context, context, trap)
                    self.flush()
                return

        def save(commit: int, globals_: list[bytes]) -> None:
            with self.lock:
                self.keep_code(canister, instance, outcome, commit, globals_)
                self.done(number)
                self._continue(canister, callback.context, context, outcome, trap)
                self.flush()

        canister.commit(instance, outcome.execution, save)

    def _callback_execution(
        self, entry: str, canister: Canister, instance: Instance, context: CallContext
    ) -> Execution:
        execution = canister.execution(entry, self.around, self.clock.now(), instance, limits.UPDATE_LIMIT)
        execution.caller, execution.deadline = context.caller, context.deadline
        execution.available, execution.responded = context.available, context.responded
        execution.call_instructions = context.instructions
        execution.open_calls = canister.state.open_calls()
        return execution

    # System tasks.

    def _execute_task(self, canister: Canister, number: int, message: TaskMessage) -> None:
        with self.lock:
            self.charge(canister)
        state = canister.state
        runnable = (
            state.status == "running"
            and canister.compiled is not None
            and message.entry in canister.compiled.info.exports
            and self.out_of_cycles(canister, canister.price(limits.UPDATE_LIMIT)) is None
        )
        if not runnable:
            with self.lock:
                self.done(number)
                self.flush()
            return
        if message == _LOW_MEMORY:
            state.low_memory_hook = "executed"
        instance = canister.instance()
        execution = canister.execution("T", self.around, self.clock.now(), instance, limits.UPDATE_LIMIT)
        execution.caller = principal.MANAGEMENT
        execution.open_calls = state.open_calls()
        outcome = canister.run(execution, lambda: instance.call_export(message.entry, execution, limits.UPDATE_LIMIT))
        if outcome.trap is not None:
            canister.rollback(execution.stable_touched)
            with self.lock:
                self.trap(canister, outcome)
                self._finish_without_changes(canister, number, outcome)
                self.flush()
            return
        context = CallContext(FromSystem(), principal.MANAGEMENT, responded=True)

        self._commit(canister, instance, outcome, number, context)

    def _commit(
        self, canister: Canister, instance: Instance, outcome: Outcome, number: int, context: CallContext
    ) -> None:
        """Commits a message that opened `context`. Without the lock held."""

        def save(commit: int, globals_: list[bytes]) -> None:
            with self.lock:
                self.keep_code(canister, instance, outcome, commit, globals_)
                self.done(number)
                self._continue(canister, None, context, outcome)
                self.flush()

        canister.commit(instance, outcome.execution, save)

    # What executions leave behind. All with the lock held.

    def keep_code(
        self, canister: Canister, instance: Instance, outcome: Outcome, commit: int, globals_: list[bytes]
    ) -> None:
        """The effects of a successful execution on the canister itself."""
        state, execution = canister.state, outcome.execution
        self.pay(canister, outcome)
        state.commits = commit
        state.globals = globals_
        state.heap_pages = instance.heap_pages()
        state.stable_pages = execution.stable_pages
        state.certified_data = execution.certified_data
        state.version += 1
        if execution.timer_set:
            self.set_timer(canister, execution.global_timer)
        if state.settings.wasm_memory_threshold:
            self.check_low_memory(canister)

    def set_timer(self, canister: Canister, timestamp: int) -> None:
        """Sets (or with 0 clears) the global timer of a canister."""
        canister.state.global_timer = timestamp
        if timestamp:
            heapq.heappush(self._timers, (timestamp, canister.state.id))
            self._tick.notify_all()

    def check_low_memory(self, canister: Canister) -> None:
        """Sends the low memory hook on its way when less heap is left than the settings say, once each time."""
        state, settings = canister.state, canister.state.settings
        is_64 = canister.compiled is not None and canister.compiled.info.memory64
        limit = settings.wasm_memory_limit or (MAX_HEAP64 if is_64 else MAX_HEAP32)
        if limit - state.heap_pages * WASM_PAGE >= settings.wasm_memory_threshold:
            state.low_memory_hook = "condition_not_satisfied"
        elif state.low_memory_hook == "condition_not_satisfied":
            state.low_memory_hook = "ready"
        waiting = any(message == _LOW_MEMORY for _, message in canister.queue)
        if state.low_memory_hook == "ready" and state.status == "running" and not waiting:
            self.enqueue(state.id, _LOW_MEMORY)
            canister.queue.rotate(1)  # before all other messages
        self.touch(canister)

    def burn(self, canister: Canister, price: int) -> None:
        """Takes `price` cycles, or all there are. With the lock held."""
        state = canister.state
        price = min(price, state.cycles)
        state.cycles -= price
        state.burned += price
        self.touch(canister)

    def pay(self, canister: Canister, outcome: Outcome) -> None:
        """Takes the price of an execution, and what it spent and accepted unless it trapped."""
        state, execution = canister.state, outcome.execution
        price = cycles.execution(outcome.instructions, execution.memory64)
        state.burned += price
        state.cycles = max(0, state.cycles - price)
        if outcome.trap is None:
            sent = sum(call.cycles + system_api.call_price(execution, _call_size(call)) for call in execution.calls)
            state.cycles += execution.accepted - execution.burned - sent
            state.burned += execution.burned
        self._log(canister, execution)
        self.touch(canister)

    def _log(self, canister: Canister, execution: Execution, trap: str | None = None) -> None:
        """Keeps what an execution printed, once, and the `trap` that ended it."""
        entries, execution.logs = list(execution.logs), deque()
        if trap is not None:
            entries = [*entries, (execution.time, trap.encode())]
        if entries:
            canister.log(entries)
            self.changes.logs[canister.state.id] = canister.logs

    def trap(self, canister: Canister, outcome: Outcome) -> Reject:
        """The rejection that the caller of a trapping canister gets; what traps in a message is also logged."""
        trap = outcome.trap
        assert trap is not None
        if outcome.execution.replicated:
            self._log(canister, outcome.execution, f"[TRAP]: {trap}")
        return rejections.trapped_in(canister.name, trap)

    def _finish_without_changes(self, canister: Canister, number: int, outcome: Outcome) -> None:
        self.pay(canister, outcome)
        self.done(number)

    def _continue(
        self,
        canister: Canister,
        context_id: int | None,
        context: CallContext,
        outcome: Outcome,
        trap: Reject | None = None,
    ) -> None:
        """After a successful execution: sends its calls, passes on its answer, closes the context if it is done."""
        state, execution = canister.state, outcome.execution
        context.available = execution.available
        context.instructions += outcome.instructions
        if context_id is None:
            context_id, state.next_id = state.next_id, state.next_id + 1
        for call in execution.calls:
            self._send(canister, context_id, context, call, execution)
        if execution.answer is not None:
            context.responded = True
            self.respond(context.origin, execution.answer, context.available)
            context.available = 0
        state.contexts[context_id] = context
        self._conclude(canister, context_id, context, trap or rejections.silent(canister.name))

    def _send(
        self,
        canister: Canister,
        context_id: int,
        context: CallContext,
        call: system_api.OutgoingCall,
        execution: Execution,
    ) -> None:
        state = canister.state
        deadline = execution.time + call.timeout * cycles.SECOND if call.timeout is not None else 0
        callback_id, state.next_id = state.next_id, state.next_id + 1
        state.callbacks[callback_id] = Callback(
            context_id,
            call.callee,
            call.on_reply,
            call.on_reject,
            call.on_cleanup,
            cycles.response_reserve(execution.instruction_limit, execution.memory64),
            deadline,
        )
        if deadline:
            heapq.heappush(self._deadlines, (deadline, state.id, callback_id))
            self._tick.notify_all()
        context.outstanding += 1
        message = CallMessage(
            FromCanister(state.id, callback_id),
            state.id,
            call.callee,
            call.method,
            bytes(call.payload),
            call.cycles,
            deadline,
        )
        self.dispatch(message)

    def dispatch(self, message: CallMessage) -> None:
        """Puts a call on its way: to its callee, or for the management canister to the canister it is about."""
        if message.callee != principal.MANAGEMENT:
            self.enqueue(message.callee, message)
            return
        try:
            target = management.target(self, message)
        except Failure as failure:
            self.respond(message.origin, failure.reject, message.cycles)
            return
        self.enqueue(target, message)

    def _conclude(self, canister: Canister, context_id: int, context: CallContext, if_silent: Reject) -> None:
        """Closes a context that awaits nothing more; rejects its call if it was never answered."""
        if context.outstanding == 0:
            if not context.responded:
                self.respond(context.origin, if_silent, context.available)
            canister.state.contexts.pop(context_id, None)
            management.complete_stop(self, canister)
        self.touch(canister)

    # Time.

    def charge(self, canister: Canister) -> None:
        """Takes what the canister owes for storage and compute since the last time. With the lock held."""
        state, now = canister.state, self.clock.now()
        duration = now - state.charged_until
        if duration < cycles.SECOND:
            return
        size = max(state.memory_size(), state.settings.memory_allocation)
        price = cycles.storage(size, duration) + cycles.compute(state.settings.compute_allocation, duration)
        state.charged_until = now
        from_reserved = min(price, state.reserved)
        state.reserved -= from_reserved
        state.burned += from_reserved + min(price - from_reserved, state.cycles)
        state.cycles = max(0, state.cycles - (price - from_reserved))

    def _time_moved(self) -> None:
        with self.lock:
            self._tick.notify_all()

    def _ticker(self) -> None:
        with contextlib.suppress(StateError):
            self._tick_until_stopped()

    def _tick_until_stopped(self) -> None:
        """Fires timers and heartbeats when they are due, and keeps house now and then."""
        next_beat = next_house = 0
        while True:
            with self.lock:
                if self._stopping:
                    return
                now = self.clock.now()
                self._fire_timers(now)
                self._expire_calls(now)
                if now >= next_beat:
                    self.fire_heartbeats()
                    next_beat = now + int(HEARTBEAT_SECONDS * cycles.SECOND)
                if now >= next_house:
                    self._keep_house(now)
                    next_house = now + int(HOUSEKEEPING_SECONDS * cycles.SECOND)
                self.flush()
                due = min([next_beat, next_house, *(queue[0][0] for queue in (self._timers, self._deadlines) if queue)])
                self._tick.wait(None if self.clock.held else max(0.0, (due - self.clock.now()) / cycles.SECOND))

    def _fire_timers(self, now: int) -> None:
        while self._timers and self._timers[0][0] <= now:
            timestamp, canister_id = heapq.heappop(self._timers)
            canister = self.canisters.get(canister_id)
            if canister is not None and canister.state.global_timer == timestamp:
                canister.state.global_timer = 0
                self.touch(canister)
                self.enqueue(canister_id, TaskMessage("canister_global_timer"))

    def _expire_calls(self, now: int) -> None:
        """Rejects the best-effort calls whose deadline has passed."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, canister_id, callback_id = heapq.heappop(self._deadlines)
            canister = self.canisters.get(canister_id)
            if canister is not None and callback_id in canister.state.callbacks:
                self.enqueue(canister_id, ResponseMessage(callback_id, rejections.RESPONSE_EXPIRED))

    def fire_heartbeats(self) -> None:
        """Sends every heartbeat on its way that does not wait already. With the lock held."""
        beat = TaskMessage("canister_heartbeat")
        for canister_id, canister in self.canisters.items():
            has_heartbeat = canister.compiled is not None and beat.entry in canister.compiled.info.exports
            if has_heartbeat and all(message != beat for _, message in canister.queue):
                self.enqueue(canister_id, beat)

    def _keep_house(self, now: int) -> None:
        for canister in self.canisters.values():
            if not canister.busy:
                self.charge(canister)  # not written: after a crash the same is taken again
                self._give_up_stopping(canister, now)
                if canister.state.cycles == 0 and canister.compiled is not None:
                    self.dispatch(management.uninstallation(canister.state.id))
        self._forget_requests(now)

    def _forget_requests(self, now: int) -> None:
        """Responses are kept for a while, then requests are done; they are forgotten when they have expired as well."""
        for request_id, request in list(self.requests.items()):
            if request.pending or now < request.answered + RESPONSE_LIFETIME:
                continue
            if request.expiry < now:
                del self.requests[request_id]
                self.changes.requests[request_id] = None
            elif request.status != "done":
                request.status, request.response = "done", None
                self.changes.requests[request_id] = request
            else:
                continue
            self.on_request_done(request_id)

    def _give_up_stopping(self, canister: Canister, now: int) -> None:
        late = [one for one in canister.state.stop_requests if one.since + STOP_SECONDS * cycles.SECOND < now]
        for request in late:
            canister.state.stop_requests.remove(request)
            self.touch(canister)
            self.respond(request.origin, rejections.stop_timed_out(), request.cycles)

    def memory_in_use(self) -> int:
        """Bytes that the canisters of this subnet use or have been promised. With the lock held."""
        states = [canister.state for canister in self.canisters.values()]
        return sum(max(state.memory_size(), state.settings.memory_allocation) for state in states)

    def tick(self, timeout: float | None = None) -> bool:
        """Does now what is due: heartbeats, timers, deadlines, housekeeping; waits until nothing is left to execute.

        Returns:
            False if that takes longer than `timeout` seconds.
        """
        with self.lock:
            now = self.clock.now()
            self._fire_timers(now)
            self._expire_calls(now)
            self.fire_heartbeats()
            self._keep_house(now)
            self.flush()
        return self.wait_until_idle(timeout)

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Waits until no message is waiting or running and no outcall is made; False if that takes over `timeout` s."""
        with self.lock:
            idle = self._idle.wait_for(lambda: self.failure or not self._anything_to_do(), timeout)
            self.check()
            return bool(idle)

    def _anything_to_do(self) -> bool:
        return bool(self._ready or self._running or self._fetching)


def _report(step: Future[None]) -> None:
    if not step.cancelled() and step.exception() is not None:
        log.error("a step of the network failed", exc_info=step.exception())


def _undeliverable(message: CallMessage, callee: Canister | None) -> Reject | None:
    """Why a call cannot be put into the queue of its callee."""
    name = principal.to_text(message.callee)
    if callee is None:
        return rejections.undeliverable(name, principal.is_canister_id(message.callee))
    if callee.state.status != "running":
        return rejections.not_accepting(name, callee.state.status)
    return rejections.queue_full(name, MAX_QUEUE) if len(callee.queue) >= MAX_QUEUE else None


def _no_room(error: Exception) -> Reject | None:
    """The rejection of a message whose changes do not fit on the disk, if `error` says so."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    if not full and not (isinstance(error, sqlite3.Error) and error.sqlite_errorcode in codes):
        return None
    log.error("no room for the changes of a message: %s", error)
    text = f"the network has no room on its disk for what this message changes ({error}): free some and call again"
    return Reject(int(RejectCode.SYS_TRANSIENT), text, "IC0000")


def _pays_too_little(state: CanisterState, message: CallMessage) -> bool:
    from_another = isinstance(message.origin, FromCanister) and message.origin.canister_id != state.id
    return from_another and message.cycles < state.settings.minimum_incoming_canister_call_cycles


def _call_size(call: system_api.OutgoingCall) -> int:
    return len(call.payload) + len(call.method)


def _size(response: Response) -> int:
    return len(response.data) if isinstance(response, Reply) else len(response.message)
