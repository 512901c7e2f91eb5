"""Composite queries: a query call evaluated with the queries it calls, in one go, on the committed state.

Follows the IC interface specification, section "Query call" (``composite_query_helper``): each call
of a composite query is evaluated before its callback runs; all of it together is bounded in
instructions, depth and time; nothing of it is kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ..protocol import principal
from . import limits, management, queries, rejections
from .canister import HostedCanister, Outcome, QuerySession
from .envelope import Query
from .errors import Failure, Reject, Reply, Response, shortened
from .execution import EntryPoint, Execution, Input, OutgoingCall
from .state import CallerInfo, CallMessage, FromCanister
from .subnet import Subnet
from .wasm import MethodKind

#: Calls below the first query (mainnet: 6), and seconds that the whole evaluation may take (mainnet: 10).
MAX_DEPTH = 6
MAX_SECONDS = 10.0


class _Exhausted(Exception):
    """An evaluation went beyond a limit, which its user is told as `reject`."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(reject.message)
        self.reject = reject


class Evaluation:
    """The evaluation of one query call.

    Args:
        certificate: gives the certificate of the data of the canister that the user calls.
    """

    def __init__(self, subnet: Subnet, certificate: Callable[[], bytes]) -> None:
        self._subnet = subnet
        self._certificate = certificate
        self._now = subnet.clock.now()
        self._left = limits.QUERY_LIMIT
        self._sender_info: CallerInfo | None = None
        self._until = time.monotonic() + MAX_SECONDS

    def run(self, query: Query) -> Response:
        """The response to `query`."""
        self._sender_info = query.sender_info
        try:
            return self._evaluate(query.canister_id, query.method, query.arg, query.sender, 0)
        except _Exhausted as end:
            return end.reject

    def _evaluate(self, callee: bytes, method: str, arg: bytes, caller: bytes, depth: int) -> Response:
        self._check_limits(depth)
        refusal = queries.refusal(self._subnet, callee, method)
        if refusal is not None:
            return refusal
        try:
            canister = self._subnet.canisters[callee]
            with canister.query_session() as session:
                return _Conversation(self, canister, session, caller, depth).run(method, arg)
        except KeyError:  # deleted since it was looked up
            return rejections.not_found(principal.to_text(callee))
        except Failure as failure:
            return failure.reject

    def _check_limits(self, depth: int) -> None:
        """Ends the whole evaluation when it goes beyond a limit: as on mainnet, no callback is told."""
        if depth > MAX_DEPTH:
            raise _Exhausted(rejections.too_deep())
        if self._left <= 0:
            raise _Exhausted(rejections.too_many_query_instructions())
        if time.monotonic() > self._until:
            raise _Exhausted(rejections.query_took_too_long())

    def respond_to(self, call: OutgoingCall, caller: bytes, depth: int) -> Response:
        """The response to a call that the canister `caller`, at `depth`, makes.

        Other than of an update call, mainnet does not tell a calling canister the error code.
        """
        if call.callee == principal.MANAGEMENT:
            self._check_limits(depth + 1)
            origin = FromCanister(caller, 0)  # nobody awaits it by number
            message = CallMessage(origin, caller, call.callee, call.method, bytes(call.payload))
            response = management.query(self._subnet, message)
        else:
            response = self._evaluate(call.callee, call.method, bytes(call.payload), caller, depth + 1)
        return response if isinstance(response, Reply) else Reject(response.code, shortened(response.message))

    def enter(
        self,
        canister: HostedCanister,
        session: QuerySession,
        entry: EntryPoint,
        given: Input,
        call: Callable[[Execution], None],
    ) -> Outcome:
        """Executes one entry point of `canister` within what is left of the evaluation's instructions."""
        view = canister.view(self._subnet.info, self._now, session.compiled.info.memory64, self._left)
        execution = session.execution(entry, given, view)
        outcome = session.run(execution, lambda: call(execution))
        self._left -= outcome.instructions
        return outcome

    def certificate(self, depth: int) -> Callable[[], bytes] | None:
        """Gives the certificate that a canister sees: only the one that the user calls sees its own."""
        return self._certificate if depth == 0 else None

    def sender_info(self, depth: int) -> CallerInfo | None:
        """What a canister is told about its caller: only the one that the user calls is told about the user."""
        return self._sender_info if depth == 0 else None


class _Conversation:
    """One canister's part in an evaluation: its query method and the callbacks of the calls that it makes."""

    def __init__(
        self, evaluation: Evaluation, canister: HostedCanister, session: QuerySession, caller: bytes, depth: int
    ) -> None:
        self._evaluation = evaluation
        self._canister = canister
        self._session = session
        self._caller = caller
        self._depth = depth
        self._instructions = 0
        self._answer: Response | None = None
        self._calls: deque[OutgoingCall] = deque()

    def run(self, method: str, arg: bytes) -> Response:
        """The response of query method `method`."""
        kind = self._session.compiled.info.method_kind(method)
        if kind is None:  # installed since it was looked up
            return rejections.no_method(self._canister.name, "query", method)
        export = kind.export(method)
        instance = self._session.instance

        given = Input(
            self._caller,
            method,
            arg,
            certificate=self._evaluation.certificate(self._depth),
            sender_info=self._evaluation.sender_info(self._depth),
        )
        outcome = self._evaluation.enter(
            self._canister,
            self._session,
            EntryPoint.COMPOSITE_QUERY if kind is MethodKind.COMPOSITE_QUERY else EntryPoint.QUERY,
            given,
            lambda execution: instance.call_export(export, execution),
        )
        if outcome.trap is not None:
            return rejections.trapped_in(self._canister.name, outcome.trap)
        self._keep(outcome)
        trapped = None
        while self._calls and self._answer is None:
            call = self._calls.popleft()
            response = self._evaluation.respond_to(call, self._canister.state.id, self._depth)
            trapped = self._callback(call, response)
        return self._answer or trapped or rejections.silent_query(self._canister.name)

    def _keep(self, outcome: Outcome) -> None:
        self._instructions += outcome.instructions
        self._answer = self._answer or outcome.execution.effects.answer
        self._calls += outcome.execution.effects.calls

    def _callback(self, call: OutgoingCall, response: Response) -> Reject | None:
        """Runs the callback of `call`; if it traps, undoes it, runs the cleanup and returns the rejection."""
        before = self._session.save()
        if isinstance(response, Reply):
            outcome = self._enter_table(EntryPoint.COMPOSITE_REPLY, call.on_reply, response)
        else:
            outcome = self._enter_table(EntryPoint.COMPOSITE_REJECT, call.on_reject, response)
        if outcome.trap is None:
            self._keep(outcome)
            return None
        self._session.restore(before)
        in_cleanup = None
        if call.on_cleanup is not None:
            in_cleanup = self._enter_table(EntryPoint.COMPOSITE_CLEANUP, call.on_cleanup, response).trap
            if in_cleanup is not None:
                self._session.restore(before)
        return rejections.trapped_in(self._canister.name, outcome.trap, in_cleanup)

    def _enter_table(self, entry: EntryPoint, callback: tuple[int, int], response: Response) -> Outcome:
        function, environment = callback
        return self._evaluation.enter(
            self._canister,
            self._session,
            entry,
            Input(
                self._caller,
                response=response,
                call_instructions=self._instructions,
                sender_info=self._evaluation.sender_info(self._depth),
            ),
            lambda execution: self._session.instance.call_table(function, environment, execution),
        )
