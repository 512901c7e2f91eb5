"""Cycles of a fleet: warn of what runs short, fill it up, take surplus back.

    funds.low(net, whole, days=30)                                              # who runs short, the shortest first
    funds.refill(net, whole, days=90, cap=20 * TRILLION)                        # the plan; nothing is given
    funds.refill(net, whole, days=90, cap=20 * TRILLION, carry_out=True)
    funds.withdraw(net, whole, keep=5 * TRILLION, carry_out=True)               # of mAIners, to the creator

On development networks cycles are made from nothing. Elsewhere somebody pays: `pay(canister_id, cycles)` is called for
each canister, and raises if it cannot. Amounts are cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .. import management, operate, stopping
from ..errors import ArgumentError, CallError, PreconditionError
from ..management import TRILLION
from ..network import CREATOR, Network
from ..progress import Progress, Silent
from . import authority
from .members import AT_ONCE, Fleet, Member, canister, offers

Pay = Callable[[str, int], None]
State = Literal["enough", "to give", "given", "beyond the cap", "not told"]

WITHDRAW = "withdrawCyclesAdmin"  # of mAIners; those of the original interface lack it
LEAST_SURPLUS = TRILLION // 10  # less is not worth the calls


@dataclass(frozen=True)
class Holding:
    """The cycles of a member.

    Attributes:
        balance: None if nobody tells it.
        floor: below it the canister is frozen, or as a mAIner pauses.
        per_day: what it burns in a day.
        problem: why the balance is not told; "" if it is.
    """

    member: Member
    balance: int | None
    floor: int = 0
    per_day: float = 0.0
    problem: str = ""

    @property
    def days(self) -> float:
        """Until the balance is at the floor; 0 if it is below, infinity if nothing is burnt, NaN if it is not told."""
        if self.balance is None:
            return math.nan
        left = max(0, self.balance - self.floor)
        return left / self.per_day if self.per_day else math.inf if left else 0.0


@dataclass(frozen=True)
class TopUp:
    """What a member is to get, or got: `cycles`, so that it has `target`."""

    holding: Holding
    target: int
    cycles: int
    state: State


@dataclass(frozen=True)
class Refill:
    """A plan to fill up a fleet, those that run short first; or what was done of it.

    Attributes:
        rows: one for each member.
        cap: for all together; None: none.
    """

    rows: tuple[TopUp, ...]
    cap: int | None

    def total(self, *states: State) -> int:
        """The cycles of the rows in these states."""
        return sum(row.cycles for row in self.rows if row.state in states)

    @property
    def text(self) -> str:
        """In a sentence, what is given or was, and what the cap leaves out."""
        given, planned, left = self.total("given"), self.total("to give"), self.total("beyond the cap")
        if not given + planned + left:
            return "Every canister has enough."
        what = f"{given / TRILLION:.3f} T cycles were given" if given else f"{planned / TRILLION:.3f} T cycles to give"
        if not left:
            return f"{what}."
        names = ", ".join(row.holding.member.name for row in self.rows if row.state == "beyond the cap")
        assert self.cap is not None
        return (
            f"{what}. The cap of {self.cap / TRILLION:.3f} T is reached: {names} would need {left / TRILLION:.3f} T "
            "more and get nothing. Raise the cap, or fill them up another time."
        )


@dataclass(frozen=True)
class Withdrawal:
    """What a member gives back, or gave: `cycles` to the canister `to`.

    Attributes:
        problem: why it gives nothing; "" if it does.
    """

    holding: Holding
    cycles: int
    to: str
    done: bool = False
    problem: str = ""


def holdings(net: Network, fleet: Fleet, burn: Mapping[str, float] | None = None) -> list[Holding]:
    """The cycles of each member, in the fleet's order.

    Args:
        burn: cycles a day by canister id, as measured; for the others, and where it is less, what they burn idly.
    """
    return stopping.every(lambda member: _holding(net, member, burn or {}), fleet.members, AT_ONCE)


def low(
    net: Network,
    fleet: Fleet,
    days: float | None = None,
    balance: int | None = None,
    burn: Mapping[str, float] | None = None,
) -> list[Holding]:
    """The members that reach their floor in fewer than `days`, or have less than `balance`, and those that do not tell
    what they have; the shortest first. Arguments and errors as of `refill`.
    """
    _check_goal(balance, days)
    found = [
        holding for holding in holdings(net, fleet, burn) if holding.problem or _missing(holding, balance, days) > 0
    ]
    return sorted(found, key=_urgency)


def refill(
    net: Network,
    fleet: Fleet,
    balance: int | None = None,
    days: float | None = None,
    *,
    cap: int | None = None,
    burn: Mapping[str, float] | None = None,
    pay: Pay | None = None,
    carry_out: bool = False,
    progress: Progress | None = None,
) -> Refill:
    """Fill members up that have too little; whoever has enough gets nothing, so it may be repeated.

    Each gets all that it needs or nothing. Those that run short first come first; when the next would exceed the cap,
    it and all after it get nothing.

    Args:
        balance, days: what each is to have at least, one of the two: cycles, or days until it is at its floor.
        cap: for all together.
        burn: as of `holdings`.
        pay: gives a canister cycles; None: they are made from nothing, which only development networks do.
        carry_out: otherwise the plan is returned and nothing is given.

    Raises:
        ArgumentError: neither or both of balance and days are given, or one is not above 0.
        PreconditionError: cycles cost money here and `pay` is not given; nothing is given.
        CallError: a payment failed. What was given before stays; run it again for the rest.
    """
    _check_goal(balance, days)
    if cap is not None and cap < 0:
        raise ArgumentError(f"the cap is {cap} cycles: give 0 or more, or None for no cap")
    plan = Refill(tuple(_capped(_rows(holdings(net, fleet, burn), balance, days), cap)), cap)
    if not carry_out:
        return plan
    give = pay or _from_nothing(net)
    planned = [row for row in plan.rows if row.state == "to give"]
    with (progress or Silent()).task("give cycles", len(planned), "canisters") as task:
        for row in planned:
            task.note(row.holding.member.name)
            give(row.holding.member.canister_id, row.cycles)
            task.advance(1)
    return replace(
        plan, rows=tuple(replace(row, state="given") if row.state == "to give" else row for row in plan.rows)
    )


def withdraw(
    net: Network,
    fleet: Fleet,
    keep: int,
    to: str | None = None,
    *,
    carry_out: bool = False,
    progress: Progress | None = None,
) -> list[Withdrawal]:
    """Take back what mAIners have beyond `keep`; LLMs and protocol canisters keep what they have.

    Args:
        keep: cycles that stay, or the floor if that is higher.
        to: the canister that gets them; None: the creator.
        carry_out: otherwise the plan is returned and nothing is moved.

    Raises:
        ArgumentError: `keep` is negative.
        CallError: a mAIner refused. What was taken before stays taken; run it again for the rest.
    """
    if keep < 0:
        raise ArgumentError(f"keep is {keep} cycles: give 0 or more")
    receiver = to or net.canister_id(CREATOR)
    rows = [_surplus(net, holding, keep, receiver) for holding in holdings(net, fleet)]
    if not carry_out:
        return rows
    done = []
    with (progress or Silent()).task("withdraw cycles", sum(row.cycles > 0 for row in rows), "mAIners") as task:
        for row in rows:
            if row.cycles > 0:
                mainer = canister(net, row.holding.member)
                getattr(mainer, WITHDRAW)({"amount": row.cycles, "to": receiver})
                task.advance(1)
            done.append(replace(row, done=row.cycles > 0))
    return done


def _holding(net: Network, member: Member, burn: Mapping[str, float]) -> Holding:
    try:
        status = authority.status(net, member.canister_id)
    except (CallError, PreconditionError) as error:
        return Holding(member, None, problem=f"the balance is not told: {error}")
    pauses = operate.NEEDED[member.role] if member.is_mainer else 0
    per_day = max(float(status.cycles_per_day), burn.get(member.canister_id, 0.0))
    return Holding(member, status.cycles, max(status.frozen_below, pauses), per_day)


def _check_goal(balance: int | None, days: float | None) -> None:
    if (balance is None) == (days is None):
        raise ArgumentError(f"balance is {balance}, days is {days}: give one of the two")
    if (goal := balance if days is None else days) is not None and not goal > 0:
        raise ArgumentError(f"{'balance' if days is None else 'days'} is {goal}: give more than 0")


def _target(holding: Holding, balance: int | None, days: float | None) -> int:
    if days is None:
        assert balance is not None
        return balance
    return holding.floor + math.ceil(days * holding.per_day)


def _missing(holding: Holding, balance: int | None, days: float | None) -> int:
    return 0 if holding.balance is None else max(0, _target(holding, balance, days) - holding.balance)


def _urgency(holding: Holding) -> tuple[float, int]:
    return (-1.0 if holding.balance is None else holding.days, holding.balance or 0)


def _rows(found: list[Holding], balance: int | None, days: float | None) -> list[TopUp]:
    """What each is to get, if there was no cap."""
    rows = []
    for holding in sorted(found, key=_urgency):
        missing = _missing(holding, balance, days)
        state: State = "not told" if holding.balance is None else "to give" if missing else "enough"
        rows.append(TopUp(holding, _target(holding, balance, days), missing, state))
    return rows


def _capped(rows: list[TopUp], cap: int | None) -> list[TopUp]:
    planned, kept, open_ = 0, [], True
    for row in rows:
        if row.state == "to give" and cap is not None:
            open_ = open_ and planned + row.cycles <= cap
            planned += row.cycles
            kept.append(row if open_ else replace(row, state="beyond the cap"))
        else:
            kept.append(row)
    return kept


def _from_nothing(net: Network) -> Pay:
    if net.mainnet:
        raise PreconditionError(
            f"cycles cost money on network {net.name}: give pay, a function that is called with a canister id and an "
            "amount of cycles and pays them, as from your account at the cycles ledger. Nothing was given."
        )
    return lambda canister_id, cycles: management.top_up(net.agent, canister_id, cycles)


def _surplus(net: Network, holding: Holding, keep: int, to: str) -> Withdrawal:
    member = holding.member
    if not member.is_mainer:
        problem = "an LLM gives nothing back before it is removed" if member.role == "LLM" else "it is no mAIner"
        return Withdrawal(holding, 0, to, problem=problem)
    if holding.balance is None:
        return Withdrawal(holding, 0, to, problem=holding.problem)
    surplus = holding.balance - max(keep, holding.floor)
    if surplus < LEAST_SURPLUS:
        return Withdrawal(holding, 0, to, problem="it has no surplus")
    if not offers(canister(net, member), WITHDRAW):
        return Withdrawal(holding, 0, to, problem=f"it does not offer {WITHDRAW}")
    return Withdrawal(holding, surplus, to)
