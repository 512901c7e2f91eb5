"""What canisters pay while time passes, and whether they can pay for a further message."""

from __future__ import annotations

from . import cycles, rejections
from .canister import HostedCanister
from .errors import Reject
from .state import CanisterState, Use
from .subnet import Step


def out_of_cycles(canister: HostedCanister, price: int) -> Reject | None:
    """The rejection of what costs `price`, if the balance above the freezing threshold is less."""
    missing = missing_cycles(canister, price)
    return rejections.out_of_cycles(canister.name, missing) if missing > 0 else None


def missing_cycles(canister: HostedCanister, price: int) -> int:
    """The cycles that a canister lacks to pay `price` without being frozen; not positive if it lacks none."""
    frozen = max(0, canister.freezing_threshold() - canister.state.reserved)
    return frozen + price - canister.state.cycles


def charge_storage(step: Step, canister: HostedCanister) -> None:
    """Takes what the canister owes for storage and compute since the last time.

    That is not written by itself: after a restart the same is taken again.
    """
    state, now = canister.state, step.subnet.clock.now()
    duration = now - state.charged_until
    if duration < cycles.SECOND:
        return
    size = max(state.memory_size(), state.settings.memory_allocation)
    state.charged_until = now
    _pay_idle(state, cycles.storage(size, duration), Use.MEMORY)
    _pay_idle(state, cycles.compute(state.settings.compute_allocation, duration), Use.COMPUTE)


def _pay_idle(state: CanisterState, price: int, use: Use) -> None:
    """Takes `price`, or all there is, of the reserved cycles and then of the balance."""
    from_reserved = min(price, state.reserved)
    from_balance = min(price - from_reserved, state.cycles)
    state.reserved -= from_reserved
    state.cycles -= from_balance
    state.consume(from_reserved + from_balance, use)


def burn(step: Step, canister: HostedCanister, price: int, use: Use) -> None:
    """Takes `price` cycles, or all there are."""
    state = canister.state
    price = min(price, state.cycles)
    state.cycles -= price
    state.consume(price, use)
    step.touch(canister)
