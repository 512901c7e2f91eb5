"""Cycles: who runs short, what a plan gives, where a cap ends it, and that nothing is given twice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from mainer_nb import fleet, management, operate, tables
from mainer_nb.create import Mainer
from mainer_nb.errors import ArgumentError, PreconditionError
from mainer_nb.fleet import Fleet, funds
from mainer_nb.fleet.funds import Refill
from mainer_nb.management import TRILLION
from mainer_nb.network import CREATOR, Network


@pytest.fixture
def llms(uploaded: Network, own: Mainer) -> Fleet:
    """The two LLMs of the Own mAIner."""
    return fleet.of(uploaded).only(own.llm_ids)


def balances(net: Network, of: Fleet) -> dict[str, int]:
    return {member.canister_id: management.status(net.agent, member.canister_id).cycles for member in of.members}


def given(refill: Refill) -> dict[str, int]:
    return {row.holding.member.canister_id: row.cycles for row in refill.rows if row.state == "given"}


def test_holdings_tell_balance_burn_and_days(uploaded: Network, own: Mainer) -> None:
    whole = fleet.of(uploaded)
    found = {holding.member.canister_id: holding for holding in funds.holdings(uploaded, whole)}
    assert list(found) == list(whole.canister_ids)
    mainer, llm = found[own.controller_id], found[own.llm_ids[0]]
    assert mainer.floor == operate.NEEDED["Own"]  # more than what keeps it from freezing
    assert llm.balance is not None
    assert llm.days == pytest.approx((llm.balance - llm.floor) / llm.per_day)
    measured = funds.holdings(uploaded, whole.only([llm.member.name]), burn={llm.member.canister_id: 10**12})[0]
    assert measured.days < llm.days
    assert measured.per_day == 10**12


def test_a_plan_gives_nothing(uploaded: Network, llms: Fleet) -> None:
    before = funds.holdings(uploaded, llms)
    wanted = 1 + max(holding.balance or 0 for holding in before) + TRILLION
    plan = funds.refill(uploaded, llms, wanted)
    assert [row.state for row in plan.rows] == ["to give"] * 2
    assert plan.total("to give") > 2 * TRILLION
    assert "cycles to give" in plan.text
    assert all(cycles <= wanted - TRILLION for cycles in balances(uploaded, llms).values())
    assert [row["canister"] for row in tables.refill(plan).rows] == [row.holding.member.name for row in plan.rows]


def test_members_are_filled_up_once(uploaded: Network, llms: Fleet) -> None:
    wanted = max(balances(uploaded, llms).values()) + TRILLION
    done = funds.refill(uploaded, llms, wanted, carry_out=True)
    assert set(given(done)) == set(llms.canister_ids)
    # they pay for being asked
    assert all(wanted - 10**9 < cycles <= wanted for cycles in balances(uploaded, llms).values())
    assert given(funds.refill(uploaded, llms, wanted - 10**9, carry_out=True)) == {}


def test_days_count_from_where_a_member_stops(uploaded: Network, llms: Fleet) -> None:
    burn = dict.fromkeys(llms.canister_ids, 2.0 * TRILLION)
    plan = funds.refill(uploaded, llms, days=7, burn=burn)
    for row in plan.rows:
        assert row.target == row.holding.floor + 14 * TRILLION
        assert row.holding.balance is not None
        assert row.cycles == row.target - row.holding.balance
    funds.refill(uploaded, llms, days=7, burn=burn, carry_out=True)
    assert all(holding.days > 6.9 for holding in funds.holdings(uploaded, llms, burn))
    assert funds.low(uploaded, llms, days=6.9, burn=burn) == []


def test_a_cap_leaves_out_whole_members_and_says_so(uploaded: Network, llms: Fleet) -> None:
    before = balances(uploaded, llms)
    wanted = max(before.values()) + TRILLION
    first, second = funds.refill(uploaded, llms, wanted).rows
    done = funds.refill(uploaded, llms, wanted, cap=first.cycles + 10**9, carry_out=True)
    assert [row.state for row in done.rows] == ["given", "beyond the cap"]
    assert f"{second.holding.member.name} would need" in done.text
    left = second.holding.member.canister_id
    assert balances(uploaded, llms)[left] <= before[left]
    assert given(funds.refill(uploaded, llms, wanted, cap=0, carry_out=True)) == {}
    again = funds.refill(uploaded, llms, wanted, cap=second.cycles + 2 * 10**9, carry_out=True)
    assert left in given(again)


def test_elsewhere_somebody_pays(uploaded: Network, llms: Fleet) -> None:
    wanted = max(balances(uploaded, llms).values()) + TRILLION
    mainnet = replace(uploaded, mainnet=True)
    assert funds.refill(mainnet, llms, wanted).total("to give") > 0
    with pytest.raises(PreconditionError, match=r"cycles cost money.*give pay.*Nothing was given"):
        funds.refill(mainnet, llms, wanted, carry_out=True)
    paid: dict[str, int] = {}
    done = funds.refill(mainnet, llms, wanted, pay=paid.__setitem__, carry_out=True)
    assert paid == given(done)
    assert len(paid) == 2


def test_a_payment_that_fails_leaves_what_was_paid_and_can_be_repeated(uploaded: Network, llms: Fleet) -> None:
    wanted = max(balances(uploaded, llms).values()) + TRILLION
    paid: list[str] = []

    def pay(canister_id: str, cycles: int) -> None:
        if paid:
            raise PreconditionError("the account is empty")
        management.top_up(uploaded.agent, canister_id, cycles)
        paid.append(canister_id)

    with pytest.raises(PreconditionError, match="the account is empty"):
        funds.refill(uploaded, llms, wanted, pay=pay, carry_out=True)
    rest = given(funds.refill(uploaded, llms, wanted - 10**9, carry_out=True))
    assert set(rest) == set(llms.canister_ids) - set(paid)


def test_who_runs_short_comes_first(uploaded: Network, llms: Fleet) -> None:
    first, second = llms.canister_ids
    burn = {first: 1.0 * TRILLION, second: 5.0 * TRILLION}
    short = funds.low(uploaded, llms, days=10_000, burn=burn)
    assert [holding.member.canister_id for holding in short] == [second, first]
    assert funds.low(uploaded, llms, balance=1) == []


def test_whose_balance_is_not_told_gets_nothing_and_is_warned_of(
    uploaded: Network, llms: Fleet, as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(uploaded)
    plan = funds.refill(stranger, llms, 10**15, carry_out=True)
    assert [row.state for row in plan.rows] == ["not told"] * 2
    short = funds.low(stranger, llms, days=1)
    assert all(math.isnan(holding.days) and "not told" in holding.problem for holding in short)
    assert len(short) == 2


@pytest.mark.parametrize(
    ("goal", "error"),
    [
        ({}, "balance is None, days is None: give one of the two"),
        ({"balance": 1, "days": 1}, "give one of the two"),
        ({"balance": 0}, "balance is 0: give more than 0"),
        ({"days": -1}, "days is -1: give more than 0"),
        ({"balance": 1, "cap": -1}, "the cap is -1 cycles"),
    ],
)
def test_a_goal_that_is_none_is_refused(uploaded: Network, llms: Fleet, goal: dict[str, int], error: str) -> None:
    with pytest.raises(ArgumentError, match=error):
        funds.refill(uploaded, llms, **goal)  # type: ignore[arg-type]


def test_surplus_of_mainers_goes_to_the_creator(uploaded: Network, own: Mainer) -> None:
    management.top_up(uploaded.agent, own.controller_id, 3 * TRILLION)
    creator = uploaded.canister_id(CREATOR)
    keep = management.status(uploaded.agent, own.controller_id).cycles - 2 * TRILLION
    some = fleet.of(uploaded).only([own.controller_id, own.llm_ids[0], "Creator"])
    rows = {row.holding.member.role: row for row in funds.withdraw(uploaded, some, keep)}
    assert 0 < 2 * TRILLION - rows["Own"].cycles < 10**9
    assert rows["Own"].to == creator
    assert (rows["LLM"].cycles, rows["LLM"].problem) == (0, "an LLM gives nothing back before it is removed")
    assert rows["Creator"].problem == "it is no mAIner"
    assert "to do" in repr(tables.withdrawals(rows.values()))

    before = management.status(uploaded.agent, creator).cycles
    done = funds.withdraw(uploaded, some, keep, carry_out=True)
    assert [row.holding.member.role for row in done if row.done] == ["Own"]
    assert 0 < before + 2 * TRILLION - management.status(uploaded.agent, creator).cycles < 2 * 10**9
    assert not any(row.done for row in funds.withdraw(uploaded, some, keep, carry_out=True))
    with pytest.raises(ArgumentError, match="keep is -1 cycles"):
        funds.withdraw(uploaded, some, -1)
