"""Composite queries: a query call evaluated with the queries it calls, in one go, on the committed state.

Follows the IC interface specification, section "Query call" (``composite_query_helper``): each call
of a composite query is evaluated before its callback runs; all of it together is bounded in
instructions, depth and time; nothing of it is kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..protocol import principal
from . import canister as limits
from .canister import Canister, Outcome, QuerySession
from .envelope import Query
from .errors import Failure, Reject, RejectCode, Reply, Response, no_such_canister
from .system_api import Execution, OutgoingCall

if TYPE_CHECKING:
    from .scheduler import Scheduler

#: Calls below the first query (mainnet: 6), and seconds that the whole evaluation may take (mainnet: 10).
MAX_DEPTH = 6
MAX_SECONDS = 10.0


class Evaluation:
    """The evaluation of one query call.

    Args:
        network: the canisters.
        refusal: why a canister does not execute a query method, or None.
        certificate: gives the certificate of the data of the canister that the user calls.
    """

    def __init__(
        self,
        network: Scheduler,
        refusal: Callable[[bytes, str], Reject | None],
        certificate: Callable[[], bytes],
    ) -> None:
        self._network = network
        self._refusal = refusal
        self._certificate = certificate
        self._now = network.clock.now()
        self._left = limits.QUERY_LIMIT
        self._until = time.monotonic() + MAX_SECONDS

    def run(self, query: Query) -> Response:
        """The response to `query`."""
        return self._evaluate(query.canister_id, query.method, query.arg, query.sender, 0)

    def _evaluate(self, callee: bytes, method: str, arg: bytes, caller: bytes, depth: int) -> Response:
        refusal = self._refusal(callee, method) or self._exhausted(depth)
        if refusal is not None:
            return refusal
        try:
            canister = self._network.canisters[callee]
            with canister.query_session() as session:
                return _Conversation(self, canister, session, caller, depth).run(method, arg)
        except KeyError:  # deleted since it was looked up
            return no_such_canister(principal.to_text(callee)).reject
        except Failure as failure:
            return failure.reject

    def _exhausted(self, depth: int) -> Reject | None:
        if depth > MAX_DEPTH:
            text = f"Composite query call exceeded the limit of maximum call depth {MAX_DEPTH}"
            return Reject(int(RejectCode.CANISTER_ERROR), text, "IC0525")
        if self._left <= 0:
            text = f"Composite query calls exceeded the instruction limit of {limits.QUERY_LIMIT}"
            return Reject(int(RejectCode.CANISTER_ERROR), text, "IC0526")
        if time.monotonic() > self._until:
            text = f"Composite query calls exceeded the time limit of {MAX_SECONDS:.0f} s"
            return Reject(int(RejectCode.SYS_TRANSIENT), text, "IC0528")
        return None

    def respond_to(self, call: OutgoingCall, caller: bytes, depth: int) -> Response:
        """The response to a call that the canister `caller`, at `depth`, makes."""
        return self._evaluate(call.callee, call.method, bytes(call.payload), caller, depth + 1)

    def enter(
        self,
        canister: Canister,
        session: QuerySession,
        entry: str,
        prepare: Callable[[Execution], None],
        call: Callable[[Execution, int], None],
        certified: bool,
    ) -> Outcome:
        """Executes one entry point of `canister` within what is left of the evaluation's instructions."""
        limit = self._left
        execution = canister.execution(entry, self._network.around, self._now, session.instance, limit)
        prepare(execution)
        if certified:
            execution.data_certificate = self._certificate
        outcome = session.run(execution, lambda: call(execution, limit))
        self._left -= outcome.instructions
        return outcome

    def rejection(self, canister: Canister, outcome: Outcome) -> Reject:
        """What the caller of a trapping canister is told."""
        with self._network.lock:
            return self._network.trap(canister, outcome)


class _Conversation:
    """One canister's part in an evaluation: its query method and the callbacks of the calls that it makes."""

    def __init__(
        self, evaluation: Evaluation, canister: Canister, session: QuerySession, caller: bytes, depth: int
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
        export = f"canister_{kind} {method}"
        instance = self._session.instance

        def prepare(execution: Execution) -> None:
            execution.caller, execution.arg, execution.method = self._caller, arg, method

        outcome = self._evaluation.enter(
            self._canister,
            self._session,
            "CQ" if kind == "composite_query" else "NRQ",
            prepare,
            lambda execution, limit: instance.call_export(export, execution, limit),
            certified=self._depth == 0,
        )
        if outcome.trap is not None:
            return self._evaluation.rejection(self._canister, outcome)
        self._keep(outcome)
        trapped = None
        while self._calls and self._answer is None:
            call = self._calls.popleft()
            response = self._evaluation.respond_to(call, self._canister.state.id, self._depth)
            trapped = self._callback(call, response)
        name = principal.to_text(self._canister.state.id)
        silent = Reject(int(RejectCode.CANISTER_ERROR), f"Canister {name} did not reply to the call", "IC0506")
        return self._answer or trapped or silent

    def _keep(self, outcome: Outcome) -> None:
        self._instructions += outcome.instructions
        self._answer = self._answer or outcome.execution.answer
        self._calls += outcome.execution.calls

    def _callback(self, call: OutgoingCall, response: Response) -> Reject | None:
        """Runs the callback of `call`; if it traps, undoes it, runs the cleanup and returns the rejection."""
        before = self._session.save()
        replied = isinstance(response, Reply)
        outcome = self._enter_table("CRy" if replied else "CRt", call.on_reply if replied else call.on_reject, response)
        if outcome.trap is None:
            self._keep(outcome)
            return None
        self._session.restore(before)
        if call.on_cleanup is not None:
            cleanup = self._enter_table("CC", call.on_cleanup, response)
            if cleanup.trap is not None:
                self._session.restore(before)
        return self._evaluation.rejection(self._canister, outcome)

    def _enter_table(self, entry: str, callback: tuple[int, int], response: Response) -> Outcome:
        function, environment = callback
        instance = self._session.instance

        def prepare(execution: Execution) -> None:
            execution.caller, execution.response = self._caller, response
            execution.call_instructions = self._instructions

        return self._evaluation.enter(
            self._canister,
            self._session,
            entry,
            prepare,
            lambda execution, limit: instance.call_table(function, environment, execution, limit),
            certified=False,
        )
