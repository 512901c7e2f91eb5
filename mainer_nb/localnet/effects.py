"""What an execution leaves behind on its canister: its price, its log, its committed state."""

from __future__ import annotations

from collections import deque

from . import cycles, system_api
from .canister import HostedCanister, Outcome
from .execution import Execution
from .runtime import Instance
from .state import Use
from .subnet import Step


def pay(step: Step, canister: HostedCanister, outcome: Outcome) -> None:
    """Takes the price of an execution, and what it spent and accepted unless it trapped; keeps what it printed."""
    state, execution = canister.state, outcome.execution
    price = cycles.execution(outcome.instructions, execution.view.memory64)
    state.consume(price, Use.INSTRUCTIONS)
    state.cycles = max(0, state.cycles - price)
    if outcome.trap is None:
        effects = execution.effects
        sent = sum(call.cycles + system_api.call_price(execution, call.size()) for call in effects.calls)
        state.cycles += effects.accepted - effects.burned - sent
        state.consume(effects.burned, Use.BURNED)
        state.consume(sum(cycles.call(call.size()) for call in effects.calls), Use.TRANSMISSION)
    _log(step, canister, execution)
    step.touch(canister)


def keep(
    step: Step, canister: HostedCanister, instance: Instance, outcome: Outcome, commit: int, globals_: list[bytes]
) -> None:
    """A successful execution has changed the canister itself.

    Args:
        commit, globals_: as `Canister.commit` gives them.
    """
    state, execution, effects = canister.state, outcome.execution, outcome.execution.effects
    pay(step, canister, outcome)
    state.reserved += outcome.reserved
    state.cycles -= outcome.reserved
    state.commits = commit
    state.globals = globals_
    state.heap_pages = instance.heap_pages()
    state.stable_pages = execution.stable.pages
    if effects.certified_data is not None:
        state.certified_data = effects.certified_data
    state.version += 1
    if effects.global_timer is not None:
        step.set_timer(canister, effects.global_timer)
    if state.settings.wasm_memory_threshold:
        step.check_low_memory(canister)


def pay_trapped(step: Step, canister: HostedCanister, outcome: Outcome) -> None:
    """Takes the price of an execution that trapped; keeps what it printed, and the trap."""
    _log(step, canister, outcome.execution, f"[TRAP]: {outcome.trap}")
    pay(step, canister, outcome)


def _log(step: Step, canister: HostedCanister, execution: Execution, trap: str | None = None) -> None:
    """Keeps what an execution printed, once, and the `trap` that ended it."""
    entries, execution.effects.log = list(execution.effects.log), deque()
    if trap is not None:
        entries = [*entries, (execution.view.time, trap.encode())]
    if entries:
        canister.log(entries)
        step.changes.logs[canister.state.id] = canister.logs
