"""Executing messages: a call, a response, a system task, a call of the management canister.

Follows the IC interface specification, sections "Message execution" and "Call context management". A message
is executed in three parts: a step looks whether it is executed at all; wasm runs; a step commits what it leaves
behind, with the message's removal from the queue, or only takes its price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..protocol import principal
from . import cycles, effects, limits, management, rejections
from .canister import HostedCanister, Outcome
from .charging import charge_storage, out_of_cycles
from .errors import Failure, Reject, Reply, Response
from .execution import EntryPoint, Input, OutgoingCall, View
from .outcalls import HttpRequest, HttpResponse
from .runtime import Instance
from .state import (
    Callback,
    CallContext,
    CallMessage,
    CanisterStatus,
    FromCanister,
    FromSystem,
    FromUser,
    LowMemoryHook,
    Message,
    ResponseMessage,
    Task,
    TaskMessage,
    Use,
)
from .subnet import Step, Subnet, is_for_management
from .wasm import MethodKind

#: Makes an HTTPS outcall; the second argument gets what became of it, on another thread.
Fetch = Callable[[HttpRequest, Callable[[HttpResponse | Reject], None]], None]


def send(step: Step, call: CallMessage) -> None:
    """Sends a call to its callee, or for the management canister to the canister it is about."""
    target = call.callee
    if is_for_management(call):
        try:
            target = management.target(step.subnet, call)
        except Failure as failure:
            step.respond(call.origin, failure.reject, call.cycles)
            return
    step.enqueue(target, call)


class Executor:
    """Executes the messages of a subnet.

    Args:
        fetch: makes HTTPS outcalls; None: they are refused.

    Attributes:
        fetching: outcalls that are being made.
    """

    def __init__(self, subnet: Subnet, fetch: Fetch | None) -> None:
        self.subnet = subnet
        self.fetching = 0
        self._fetch = fetch
        self._fetched: dict[int, HttpResponse | Reject] = {}

    def execute(self, canister: HostedCanister | None, number: int, message: Message) -> None:
        """Executes message `number` of `canister`, which executes nothing else meanwhile.

        Args:
            canister: None for a call of the management canister that concerns no canister.
        """
        if isinstance(message, CallMessage) and self._is_expired(message):
            self._expire(number, message)
        elif isinstance(message, CallMessage) and message.callee == principal.MANAGEMENT:
            self._execute_management(number, message)
        elif canister is None:
            raise AssertionError("only calls of the management canister concern no canister")
        elif isinstance(message, CallMessage):
            self._execute_call(canister, number, message)
        elif isinstance(message, ResponseMessage):
            self._execute_response(canister, number, message)
        else:
            self._execute_task(canister, number, message)

    def _is_expired(self, message: CallMessage) -> bool:
        """Whether it is too late to begin with a call: whoever made it is told, or has been told, that it failed."""
        now = self.subnet.clock.now()
        if isinstance(message.origin, FromUser):
            request = self.subnet.requests.get(message.origin.request_id)
            return request is not None and request.expiry < now
        return 0 < message.deadline < now

    def _expire(self, number: int, message: CallMessage) -> None:
        with self.subnet.step() as step:
            step.done(number)
            self._fetched.pop(number, None)
            if isinstance(message.origin, FromUser):
                step.respond(message.origin, rejections.ingress_expired(message.origin.request_id))

    # Calls of the management canister.

    def _execute_management(self, number: int, message: CallMessage) -> None:
        subnet = self.subnet
        with subnet.step(write=False) as step:
            step.mark_processing(message.origin)
            fetched = self._fetched.pop(number, None)
        try:
            if fetched is None:
                result = management.handle(subnet, message)
            else:
                result = management.http_request.conclude(subnet, message, fetched)
        except Failure as failure:
            result = management.Answer(failure.reject, message.cycles)
        if isinstance(result, HttpRequest):
            self._begin_outcall(number, message, result)
            return
        with subnet.step() as step:
            step.done(number)
            if result is not None:
                step.respond(message.origin, result.response, result.refund)

    def _begin_outcall(self, number: int, message: CallMessage, request: HttpRequest) -> None:
        """Makes a request for a canister. The call goes back into its inbox when it has been answered."""

        def done(fetched: HttpResponse | Reject) -> None:
            with self.subnet.step(write=False) as step:
                self.fetching -= 1
                self._fetched[number] = fetched
                step.put(number, message.caller, True, message)

        assert self._fetch is not None
        with self.subnet.lock:
            self.fetching += 1
        self._fetch(request, done)

    # Calls.

    def _execute_call(self, canister: HostedCanister, number: int, message: CallMessage) -> None:
        with self.subnet.step(write=False) as step:
            step.mark_processing(message.origin)
            charge_storage(step, canister)
        refusal = _refusal(canister, message)
        if refusal is not None:
            with self.subnet.step() as step:
                step.done(number)
                step.respond(message.origin, refusal, message.cycles)
            return
        assert canister.compiled is not None
        is_query = canister.compiled.info.method_kind(message.method) is MethodKind.QUERY
        entry = EntryPoint.REPLICATED_QUERY if is_query else EntryPoint.UPDATE
        given = Input(
            message.caller,
            message.method,
            message.arg,
            deadline=0 if is_query else message.deadline,
            available=message.cycles,
            sender_info=message.sender_info,
        )
        export = (MethodKind.QUERY if is_query else MethodKind.UPDATE).export(message.method)
        instance, outcome = self._run_export(canister, entry, given, export)
        context = CallContext(
            message.origin,
            message.caller,
            message.cycles,
            deadline=message.deadline,
            sender_info=message.sender_info,
        )
        if is_query or outcome.trap is not None:
            self._finish_unchanged(canister, number, context, outcome)
        else:
            self._commit(canister, instance, outcome, number, context)

    def _finish_unchanged(self, canister: HostedCanister, number: int, context: CallContext, outcome: Outcome) -> None:
        """Answers a call that leaves the canister as it was: it trapped, or it called a query method."""
        execution = outcome.execution
        canister.rollback(execution.stable.touched)
        with self.subnet.step() as step:
            step.done(number)
            if outcome.trap is not None:
                effects.pay_trapped(step, canister, outcome)
                step.respond(context.origin, rejections.trapped_in(canister.name, outcome.trap), context.available)
                return
            effects.pay(step, canister, outcome)
            canister.state.version += 1
            answer = execution.effects.answer or rejections.silent(canister.name)
            step.respond(context.origin, answer, execution.available)

    # Responses.

    def _execute_response(self, canister: HostedCanister, number: int, message: ResponseMessage) -> None:
        with self.subnet.step(write=False) as step:
            charge_storage(step, canister)
            callback = canister.state.callbacks.get(message.callback_id)
            context = canister.state.contexts.get(callback.context) if callback is not None else None
            if callback is None or context is None or canister.compiled is None:
                _take_response(step, canister, message)
                step.done(number)
                step.write()
                return
        instance, outcome, trapped = self._run_callbacks(canister, callback, context, message)
        if_silent = rejections.silent(canister.name)
        if trapped:
            if_silent = rejections.trapped_in(canister.name, *(failed.trap for failed in trapped if failed.trap))

        def finish(step: Step) -> None:
            step.done(number)
            _take_response(step, canister, message)
            for failed in trapped:
                effects.pay_trapped(step, canister, failed)

        def save(commit: int, globals_: list[bytes]) -> None:
            with self.subnet.step() as step:
                finish(step)
                effects.keep(step, canister, instance, outcome, commit, globals_)
                _continue(step, canister, callback.context, context, outcome, if_silent)

        if outcome.trap is None:
            canister.commit(instance, outcome.execution, save)
            return
        with self.subnet.step() as step:
            finish(step)
            _conclude(step, canister, callback.context, context, if_silent)

    def _run_callbacks(
        self, canister: HostedCanister, callback: Callback, context: CallContext, message: ResponseMessage
    ) -> tuple[Instance, Outcome, list[Outcome]]:
        """Runs the callback for a response, and if it traps the cleanup callback.

        Returns:
            The instance and the outcome of what ran last, and the outcomes that are traps.
        """
        entry, function = EntryPoint.REJECT, callback.on_reject
        if isinstance(message.response, Reply):
            entry, function = EntryPoint.REPLY, callback.on_reply
        balance = canister.state.cycles + _credit(callback, message)
        instance, outcome = self._run_callback(canister, entry, function, context, message, balance)
        trapped = [outcome] if outcome.trap is not None else []
        if trapped and callback.on_cleanup is not None:
            balance = max(0, balance - canister.price(outcome.instructions))
            entry, function = EntryPoint.CLEANUP, callback.on_cleanup
            instance, outcome = self._run_callback(canister, entry, function, context, message, balance)
            trapped += [outcome] if outcome.trap is not None else []
        return instance, outcome, trapped

    def _run_callback(
        self,
        canister: HostedCanister,
        entry: EntryPoint,
        function: Sequence[int],
        context: CallContext,
        message: ResponseMessage,
        balance: int,
    ) -> tuple[Instance, Outcome]:
        """Runs a callback; what it changed is dropped if it traps.

        Args:
            function: its index in the table, and its argument.
            balance: cycles that the canister has once the response is taken.
        """
        given = Input(
            context.caller,
            deadline=context.deadline,
            response=message.response,
            refunded=0 if entry is EntryPoint.CLEANUP else message.refund,
            available=context.available,
            responded=context.responded,
            call_instructions=context.instructions,
            sender_info=context.sender_info,
        )
        others = [call.callee for number, call in canister.state.callbacks.items() if number != message.callback_id]
        instance = canister.instance()
        view = self._view(canister, others, balance)
        execution = canister.execution(entry, given, view, instance)
        index, environment = function
        outcome = canister.run(execution, lambda: instance.call_table(index, environment, execution))
        if outcome.trap is not None:
            canister.rollback(execution.stable.touched)
        return instance, outcome

    # System tasks.

    def _execute_task(self, canister: HostedCanister, number: int, message: TaskMessage) -> None:
        state = canister.state
        with self.subnet.step(write=False) as step:
            charge_storage(step, canister)
            runnable = (
                state.status is CanisterStatus.RUNNING
                and canister.compiled is not None
                and message.task in canister.compiled.info.exports
                and out_of_cycles(canister, canister.price(limits.UPDATE_LIMIT)) is None
            )
            if not runnable:
                stands = state.status is not CanisterStatus.RUNNING
                if message.task is Task.GLOBAL_TIMER and stands and not state.global_timer:
                    step.set_timer(canister, self.subnet.clock.now())  # fires when the canister is started
                    step.touch(canister)
                step.done(number)
                step.write()
                return
            if message.task is Task.LOW_MEMORY:
                state.low_memory_hook = LowMemoryHook.EXECUTED
        given = Input(principal.MANAGEMENT)
        instance, outcome = self._run_export(canister, EntryPoint.TASK, given, message.task)
        context = CallContext(FromSystem(), principal.MANAGEMENT, responded=True)
        if outcome.trap is None:
            self._commit(canister, instance, outcome, number, context)
            return
        canister.rollback(outcome.execution.stable.touched)
        with self.subnet.step() as step:
            step.done(number)
            effects.pay_trapped(step, canister, outcome)

    # What these have in common.

    def _view(self, canister: HostedCanister, open_calls: Sequence[bytes], balance: int) -> View:
        """What a message sees that has `balance` cycles: those that its execution may cost are kept back."""
        assert canister.compiled is not None
        memory64 = canister.compiled.info.memory64
        view = canister.view(self.subnet.info, self.subnet.clock.now(), memory64, limits.UPDATE_LIMIT, open_calls)
        kept_back = min(balance, canister.price(limits.UPDATE_LIMIT))
        return view._replace(balance=balance - kept_back, kept_back=kept_back)

    def _run_export(
        self, canister: HostedCanister, entry: EntryPoint, given: Input, export: str
    ) -> tuple[Instance, Outcome]:
        instance = canister.instance()
        view = self._view(canister, canister.state.open_calls(), canister.state.cycles)
        execution = canister.execution(entry, given, view, instance)
        return instance, canister.run(execution, lambda: instance.call_export(export, execution))

    def _commit(
        self, canister: HostedCanister, instance: Instance, outcome: Outcome, number: int, context: CallContext
    ) -> None:
        """Commits message `number`, which opened `context`."""

        def save(commit: int, globals_: list[bytes]) -> None:
            with self.subnet.step() as step:
                effects.keep(step, canister, instance, outcome, commit, globals_)
                step.done(number)
                context_id = canister.state.take_id()
                _continue(step, canister, context_id, context, outcome, rejections.silent(canister.name))

        canister.commit(instance, outcome.execution, save)

    def give_up(self, canister: HostedCanister | None, number: int, message: Message, rejection: Reject) -> None:
        """Rejects a message that could not be executed, or not committed; it has changed nothing."""
        if canister is not None:
            canister.forget()
        with self.subnet.step() as step:
            step.forget_changes()
            step.done(number)
            if isinstance(message, CallMessage):
                step.respond(message.origin, rejection, message.cycles)
            elif isinstance(message, ResponseMessage) and canister is not None:
                callback = canister.state.callbacks.get(message.callback_id)
                _take_response(step, canister, message)
                context = canister.state.contexts.get(callback.context) if callback is not None else None
                if callback is not None and context is not None:
                    _conclude(step, canister, callback.context, context, rejection)


def _refusal(canister: HostedCanister, message: CallMessage) -> Reject | None:
    """Why a call is not executed at all."""
    state, name = canister.state, canister.name
    if state.status is not CanisterStatus.RUNNING:
        return rejections.not_running(name, state.status)
    if canister.compiled is None:
        return rejections.empty(name)
    kind = canister.compiled.info.method_kind(message.method)
    if kind is MethodKind.COMPOSITE_QUERY:
        return rejections.composite_in_replicated_mode()
    if kind is None:
        return rejections.no_method(name, "update", message.method)
    minimum = state.settings.minimum_incoming_canister_call_cycles
    from_another = isinstance(message.origin, FromCanister) and message.origin.canister_id != state.id
    if from_another and message.cycles < minimum:
        return rejections.pays_too_little(name, minimum, message.cycles)
    return out_of_cycles(canister, canister.price(limits.UPDATE_LIMIT))


def _credit(callback: Callback, message: ResponseMessage) -> int:
    """The cycles that come back with a response: the refund, and what is left of the reserve."""
    return message.refund + callback.reserve - _transmission(message.response)


def _transmission(response: Response) -> int:
    """The price of the bytes of a response, for whoever made the call."""
    return cycles.CALL_BYTE * (len(response.data) if isinstance(response, Reply) else len(response.message))


def _take_response(step: Step, canister: HostedCanister, message: ResponseMessage) -> None:
    """A call does not wait for its response any more. The cycles of a best-effort call's late response are lost."""
    state = canister.state
    callback = state.callbacks.pop(message.callback_id, None)
    if callback is None:
        return
    state.cycles += _credit(callback, message)
    state.consume(_transmission(message.response), Use.TRANSMISSION)
    context = state.contexts.get(callback.context)
    if context is not None:
        context.outstanding -= 1
    step.touch(canister)


def _continue(
    step: Step, canister: HostedCanister, context_id: int, context: CallContext, outcome: Outcome, if_silent: Reject
) -> None:
    """After a successful execution: sends its calls, passes on its answer, closes the context if it is done.

    Args:
        if_silent: what the caller gets if the context is closed without an answer.
    """
    execution, effects_ = outcome.execution, outcome.execution.effects
    context.available = execution.available
    context.instructions += outcome.instructions
    for call in effects_.calls:
        _send(step, canister, context_id, context, call, execution.view)
    if effects_.answer is not None:
        context.responded = True
        step.respond(context.origin, effects_.answer, context.available)
        context.available = 0
    canister.state.contexts[context_id] = context
    _conclude(step, canister, context_id, context, if_silent)


def _send(
    step: Step, canister: HostedCanister, context_id: int, context: CallContext, call: OutgoingCall, view: View
) -> None:
    state = canister.state
    deadline = view.time + call.timeout * cycles.SECOND if call.timeout is not None else 0
    callback_id = state.take_id()
    state.callbacks[callback_id] = Callback(
        context_id,
        call.callee,
        call.on_reply,
        call.on_reject,
        call.on_cleanup,
        cycles.response_reserve(view.instruction_limit, view.memory64),
        deadline,
    )
    if deadline:
        step.set_deadline(canister, callback_id, deadline)
    context.outstanding += 1
    origin = FromCanister(state.id, callback_id)
    send(step, CallMessage(origin, state.id, call.callee, call.method, bytes(call.payload), call.cycles, deadline))


def _conclude(step: Step, canister: HostedCanister, context_id: int, context: CallContext, if_silent: Reject) -> None:
    """Closes a context that awaits nothing more; rejects its call if it was never answered."""
    if context.outstanding == 0:
        if not context.responded:
            step.respond(context.origin, if_silent, context.available)
        canister.state.contexts.pop(context_id, None)
        step.complete_stop(canister)
    step.touch(canister)
