"""Query calls of one canister, on its committed state (IC interface specification, section "Query call").

Queries whose calls are answered within them are in `composite`.
"""

from __future__ import annotations

from ..protocol import principal
from . import limits, rejections
from .canister import Outcome
from .charging import missing_cycles
from .errors import Failure, Reject, Reply, Response
from .execution import EntryPoint, Input
from .state import CanisterStatus
from .subnet import Step, Subnet
from .wasm import MethodKind


def refusal(subnet: Subnet, canister_id: bytes, method: str) -> Reject | None:
    """Why a query call of a method is not executed at all; None if it is."""
    name, canister = principal.to_text(canister_id), subnet.canisters.get(canister_id)
    if canister is None:
        return rejections.not_found(name)
    if canister.state.status is CanisterStatus.STOPPED:
        return rejections.no_context_for_queries(name)
    if canister.state.status is CanisterStatus.STOPPING:
        return rejections.not_running(name, canister.state.status)
    if canister.compiled is None:
        return rejections.empty(name)
    if canister.compiled.info.method_kind(method) not in (MethodKind.QUERY, MethodKind.COMPOSITE_QUERY):
        return rejections.no_method(name, "query", method)
    return rejections.frozen_for_queries(name) if missing_cycles(canister, 0) > 0 else None


def is_composite(subnet: Subnet, canister_id: bytes, method: str) -> bool:
    """Whether a method is a composite query method."""
    canister = subnet.canisters.get(canister_id)
    compiled = canister.compiled if canister is not None else None
    return compiled is not None and compiled.info.method_kind(method) is MethodKind.COMPOSITE_QUERY


def execute(
    subnet: Subnet, canister_id: bytes, method: str, given: Input, entry: EntryPoint = EntryPoint.QUERY
) -> tuple[Response, Outcome | None]:
    """Executes a query method, not a composite one, and forgets what it changed.

    Returns:
        The response, and what the execution left behind if there was one.
    """
    canister, refused = subnet.canisters.get(canister_id), refusal(subnet, canister_id, method)
    if canister is None or refused is not None:
        return refused or rejections.not_found(principal.to_text(canister_id)), None
    export = MethodKind.QUERY.export(method)
    try:
        outcome = canister.query(entry, export, given, subnet.info, subnet.clock.now(), limits.QUERY_LIMIT)
    except Failure as failure:
        return failure.reject, None
    if outcome.trap is not None:
        return rejections.trapped_in(canister.name, outcome.trap), outcome
    return outcome.execution.effects.answer or rejections.silent_query(canister.name), outcome


def count(step: Step, canister_id: bytes, request_size: int, response: Response, outcome: Outcome) -> None:
    """Counts a user's query call in the canister's ``query_stats``."""
    canister = step.subnet.canisters.get(canister_id)
    if canister is not None and outcome.trap is None:
        response_size = len(response.data) if isinstance(response, Reply) else 0
        stats = canister.state.query_stats
        canister.state.query_stats = stats.counting(outcome.instructions, request_size, response_size)
