"""Challenges answered: by hand, by timers, and what happens when they cannot be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mainer_nb import create, management, operate
from mainer_nb.create import Mainer
from mainer_nb.errors import (
    ArgumentError,
    CanisterError,
    ExpectationFailed,
    PreconditionError,
    RejectError,
    WaitTimeout,
)
from mainer_nb.network import CREATOR, Network
from mainer_nb.operate import Challenge, Submission
from tests import scripted_llm


def by(submissions: list[Submission], mainer: Mainer) -> list[Submission]:
    return [submission for submission in submissions if submission.submitted_by == mainer.controller_id]


def test_a_challenge_is_opened(uploaded: Network, challenge: Challenge) -> None:
    assert (challenge.topic, challenge.question, challenge.seed) == ("arithmetic", "What is one and one?", 7)
    assert challenge.status == "Open"
    assert challenge.closed is None
    assert challenge in operate.challenges(uploaded)


def test_more_challenges_than_questions_are_refused_before_any_is_opened(uploaded: Network) -> None:
    before = operate.challenges(uploaded)
    with pytest.raises(
        ArgumentError, match="challenges is 2, but questions has 1: add questions, or ask for at most 1"
    ):
        operate.open_challenges(uploaded, [("geography", "What is the capital of France?")], 2)
    assert operate.challenges(uploaded) == before


def test_an_own_mainer_answers_and_submits(uploaded: Network, own: Mainer, challenge: Challenge) -> None:
    before = operate.submission_ids(uploaded)
    said = operate.trigger(uploaded, own.controller_id)
    assert challenge.challenge_id in said
    (submission,) = [
        submission for submission in operate.submissions(uploaded) if submission.submission_id not in before
    ]
    assert (submission.challenge_id, submission.question) == (challenge.challenge_id, challenge.question)
    assert submission.submitted_by == own.controller_id
    assert submission.answer
    assert submission.submission_id in {
        submission.submission_id for submission in operate.submitted(uploaded, own.controller_id)
    }


def test_a_share_agent_has_its_service_answer(
    uploaded: Network, service: Mainer, agents: list[Mainer], challenge: Challenge
) -> None:
    for agent in agents:
        before = operate.submissions(uploaded)
        operate.trigger(uploaded, agent.controller_id)
        (queued,) = operate.queue(uploaded, agent.controller_id)
        assert (queued.queued_by, queued.queued_to) == (agent.controller_id, service.controller_id)
        assert [entry.queued_id for entry in operate.queue(uploaded, service.controller_id)] == [queued.queued_id]

        operate.trigger(uploaded, service.controller_id)
        assert operate.queue(uploaded, agent.controller_id) == operate.queue(uploaded, service.controller_id) == []
        found = operate.wait_for_submission(
            uploaded, agent.controller_id, {submission.submission_id for submission in before}, timeout=30
        )
        assert found.challenge_id == challenge.challenge_id
        assert found.answer


def test_timers_bring_a_submission_that_nobody_triggered(uploaded: Network, own: Mainer, challenge: Challenge) -> None:
    known = operate.submission_ids(uploaded)
    operate.mainer_canister(uploaded, own.controller_id).setTimerIntervalAdmin(1)
    operate.start_timers(uploaded, own.controller_id)
    try:
        found = operate.wait_for_submission(uploaded, own.controller_id, known, timeout=60)
    finally:
        operate.stop_timers(uploaded, own.controller_id)
    assert found.challenge_id == challenge.challenge_id
    assert found.submission_id not in known


def test_a_challenge_that_was_closed_meanwhile_is_not_answered(
    uploaded: Network, service: Mainer, agents: list[Mainer], challenge: Challenge, close: Callable[[], None]
) -> None:
    agent = agents[0]
    operate.trigger(uploaded, agent.controller_id)
    assert operate.queue(uploaded, agent.controller_id)
    close()
    before = operate.submission_ids(uploaded)

    with pytest.raises(CanisterError, match=r"InvalidId.*closed meanwhile"):
        operate.trigger(uploaded, service.controller_id)
    assert operate.submission_ids(uploaded) == before
    assert operate.queue(uploaded, agent.controller_id) == operate.queue(uploaded, service.controller_id) == []
    assert "InvalidId" in (operate.failures(uploaded, agent.controller_id) or [])[-1].reason


def test_a_mainer_below_its_minimum_balance_pauses_and_says_so(
    uploaded: Network, challenge: Challenge, keep_it_short: Callable[[Network, str], None]
) -> None:
    creator = uploaded.canister(CREATOR)
    usual = creator.getCreationCycles()
    creator.setCreationCycles({**usual, "controller": 650 * 10**9})  # creation itself costs 500 of them
    try:
        poor = create.create_mainer(uploaded, "Own")
    finally:
        creator.setCreationCycles(usual)
    before = operate.submission_ids(uploaded)
    assert operate.statistics(uploaded, poor.controller_id).cycle_balance < 250 * 10**9
    with pytest.raises(CanisterError, match=r"InsuffientCycles.*top_up"):
        operate.trigger(uploaded, poor.controller_id)
    assert operate.statistics(uploaded, poor.controller_id).low_cycle_balance
    with pytest.raises(WaitTimeout, match="it paused for lack of cycles"):
        operate.wait_for_submission(uploaded, poor.controller_id, before, timeout=0)

    keep_it_short(uploaded, create.add_llm(uploaded, poor.controller_id))
    open_before = operate.challenges(uploaded)
    with pytest.raises(PreconditionError, match=rf"{poor.name} has 0\.1.* T cycles and answers with 0\.350 T or more"):
        operate.ask(replace(uploaded, mainnet=True), "And on mainnet?", poor.controller_id)
    assert operate.challenges(uploaded) == open_before
    answer = operate.ask(uploaded, "And with more cycles?", poor.controller_id)  # who asks gives it some
    assert answer in by(operate.submissions(uploaded), poor)
    assert not operate.statistics(uploaded, poor.controller_id).low_cycle_balance


def test_waiting_in_vain_says_what_there_is(uploaded: Network, own: Mainer) -> None:
    with pytest.raises(WaitTimeout, match=f"no new submission by {own.name} within 0 s; the Game State has"):
        operate.wait_for_submission(uploaded, own.controller_id, operate.submission_ids(uploaded), timeout=0)


def test_limits_are_read_and_set(uploaded: Network) -> None:
    usual = operate.thresholds(uploaded)
    assert (usual.max_open_challenges, usual.scored_responses_per_challenge) == (2, 3)
    operate.set_thresholds(uploaded, replace(usual, max_open_challenges=9))
    assert operate.thresholds(uploaded).max_open_challenges == 9
    operate.set_thresholds(uploaded, usual)


def test_too_many_challenges_are_refused(uploaded: Network, own: Mainer, challenge: Challenge) -> None:
    operate.open_challenge(uploaded, "arithmetic", "And two and two?")
    with pytest.raises(CanisterError, match=r"open challenges.*Remedy: operate\.make_room\("):
        operate.open_challenge(uploaded, "arithmetic", "And three and three?")


def test_somebody_else_may_neither_open_nor_trigger(
    uploaded: Network, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(uploaded)
    for act in (
        lambda: operate.open_challenge(stranger, "arithmetic", "What is one and one?"),
        lambda: operate.trigger(stranger, own.controller_id),
        lambda: operate.queue(stranger, own.controller_id),
        lambda: operate.submissions(stranger),
    ):
        with pytest.raises(CanisterError, match=r"Unauthorized|401") as caught:
            act()
        assert "use an identity that is a controller" in str(caught.value)


@pytest.fixture
def crowd(uploaded: Network, close: Callable[[], None]) -> Iterator[list[Challenge]]:
    """Other open challenges, of which the Game State may hand out any; limits and challenges are put back."""
    limits = operate.thresholds(uploaded)
    operate.make_room(uploaded, challenges=3, submissions=0)
    yield [operate.open_challenge(uploaded, "arithmetic", f"What is {number} and one?") for number in range(3)]
    close()
    operate.set_thresholds(uploaded, limits)


def test_who_asks_gets_the_answer_to_that_question(
    uploaded: Network, own: Mainer, agents: list[Mainer], crowd: list[Challenge]
) -> None:
    for asked in (own, agents[1]):
        answered = operate.ask(uploaded, "What is seven and one?", asked.controller_id)
        assert (answered.question, answered.submitted_by) == ("What is seven and one?", asked.controller_id)
        assert answered.challenge_id not in {challenge.challenge_id for challenge in crowd}
        assert answered in operate.submissions(uploaded)
    assert operate.ask(uploaded, "And nine?", topic="numbers").submitted_by == own.controller_id


def test_two_who_ask_at_once_get_each_their_answer(uploaded: Network, own: Mainer, crowd: list[Challenge]) -> None:
    questions = ["What is five and one?", "What is six and one?"]
    with ThreadPoolExecutor(2) as people:
        answers = list(people.map(lambda question: operate.ask(uploaded, question, own.controller_id), questions))
    assert [answer.question for answer in answers] == questions


def test_a_full_queue_is_worked_off_first(
    uploaded: Network, service: Mainer, agents: list[Mainer], crowd: list[Challenge]
) -> None:
    busy, asked = agents
    while len(operate.queue(uploaded, service.controller_id)) < operate.MOST_QUEUED:
        operate.trigger(uploaded, busy.controller_id)
    answer = operate.ask(uploaded, "What is eight and one?", asked.controller_id)
    assert (answer.question, answer.submitted_by) == ("What is eight and one?", asked.controller_id)
    operate.work_off(uploaded, service.controller_id)


def test_more_share_agents_than_a_queue_takes(
    uploaded: Network, own: Mainer, service: Mainer, crowd: list[Challenge]
) -> None:
    agents = tuple(create.create_mainer(uploaded, "ShareAgent", service.controller_id) for _ in range(8))
    operate.make_room(uploaded, challenges=0, submissions=len(agents))
    before = operate.submission_ids(uploaded)
    waiting = operate.hand_over(uploaded, operate.Team(own, service, agents))
    assert 0 < len(waiting) <= operate.MOST_QUEUED
    assert operate.work_off(uploaded, service.controller_id) == len(waiting)
    answered = [submission.submitted_by for submission in operate.new_submissions(uploaded, before)]
    assert sorted(answered) == sorted(agent.controller_id for agent in agents)


def test_what_cannot_be_asked_opens_no_challenge(uploaded: Network, own: Mainer, service: Mainer) -> None:
    before = operate.challenges(uploaded)
    stranger = "n2m2m-wyaaa-aaaaa-p777a-cai"
    for question, asked, said in (
        (" \n", own.controller_id, "the question is empty"),
        ("What?", service.controller_id, f"{service.name} answers for its ShareAgents.*ask one of them"),
        ("What?", stranger, f"no mAIner {stranger}"),
    ):
        with pytest.raises(ArgumentError, match=said):
            operate.ask(uploaded, question, asked)
    with pytest.raises(ArgumentError, match="the topic is empty"):
        operate.ask(uploaded, "What?", topic="")
    assert operate.challenges(uploaded) == before


def test_a_question_that_is_given_up_is_said_to_be(uploaded: Network) -> None:
    """By a mAIner whose LLM never says anything."""
    limits = operate.thresholds(uploaded)
    mute = create.create_mainer(uploaded, "Own")
    with pytest.raises(ArgumentError, match=f"{mute.name} has no LLM.*add_llm"):
        operate.ask(uploaded, "What is it?", mute.controller_id)
    controller = operate.mainer_canister(uploaded, mute.controller_id)
    controller.remove_llm_canister({"canister_id": create.add_llm(uploaded, mute.controller_id)})
    silent = scripted_llm.install(uploaded.agent, 5 * management.TRILLION, "")
    controller.add_llm_canister({"canister_id": silent})
    with pytest.raises(ExpectationFailed, match=rf"{mute.name} gave up 'What is it\?' .*Ask again, in other words"):
        operate.ask(uploaded, "What is it?", mute.controller_id)
    operate.set_thresholds(uploaded, limits)


def test_malformed_and_unknown_ids_are_named(uploaded: Network) -> None:
    with pytest.raises(ArgumentError, match="id of the mAIner canister: 'mainer' is not a principal"):
        operate.trigger(uploaded, "mainer")
    with pytest.raises(RejectError, match="n2m2m-wyaaa-aaaaa-p777a-cai"):
        operate.trigger(uploaded, "n2m2m-wyaaa-aaaaa-p777a-cai")
    with pytest.raises(RejectError, match="n2m2m-wyaaa-aaaaa-p777a-cai"):
        operate.top_up(uploaded, "n2m2m-wyaaa-aaaaa-p777a-cai", 1)


def test_on_mainnet_cycles_are_not_given_away(uploaded: Network) -> None:
    from dataclasses import replace

    with pytest.raises(PreconditionError, match="cycles cost money"):
        operate.top_up(replace(uploaded, mainnet=True), "aaaaa-aa", 1)
