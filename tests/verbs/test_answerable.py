"""A question that no mAIner can answer is refused before a challenge is opened; what is open all the same is closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mainer_nb import answerable, operate
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer
from mainer_nb.errors import ArgumentError, CanisterError
from mainer_nb.management import TRILLION
from mainer_nb.network import GAME_STATE, Network

ROOM = 508  # tokens: the tiny model's context of 512, less 4
USUAL = 20_000  # bytes of a question


@pytest.fixture
def llms(
    uploaded: Network, mainers: list[Mainer], keep_it_short: Callable[[Network, str], None]
) -> Iterator[list[Canister]]:
    """All LLMs; afterwards they do as many tokens a call as before, and no challenge is open."""
    ids = [llm_id for mainer in mainers for llm_id in mainer.llm_ids]
    yield [uploaded.canister_at(llm_id, "llama_cpp") for llm_id in ids]
    for llm_id in ids:
        keep_it_short(uploaded, llm_id)
    operate.fund(uploaded, mainers, minimum=2 * TRILLION)


@pytest.fixture
def impatient(uploaded: Network) -> Iterator[Canister]:
    """The Game State, which closes what was given up once."""
    game_state = uploaded.canister(GAME_STATE)
    usual = game_state.getGameStateLimitsAdmin()
    game_state.setGameStateLimitsAdmin({**usual, "maxTimesGivenUp": 1})
    yield game_state
    game_state.setGameStateLimitsAdmin(usual)


def open_unchecked(game_state: Canister, question: str) -> str:
    topic = game_state.addChallengeTopic({"challengeTopic": "length"})
    opened = game_state.addChallenge({**topic, "challengeQuestion": question, "challengeQuestionSeed": 1})
    return str(opened["challengeId"])


def longest(net: Network, room: int) -> int:
    """Letters of a question that has exactly `room` tokens in the prompt: the tiny model has a token for a letter."""
    with pytest.raises(ArgumentError, match=rf"it has (\d+) tokens, and LLM \S+ takes at most {room}\.") as caught:
        answerable.check(net, "length", "x" * 1_000)
    tokens = int(str(caught.value).split(" tokens")[0].split()[-1])
    return 1_000 - (tokens - room)


def test_the_longest_question_is_answered_and_one_letter_more_is_refused(
    uploaded: Network, own: Mainer, llms: list[Canister], impatient: Canister
) -> None:
    for llm in llms:
        llm.set_max_tokens({"max_tokens_update": 400, "max_tokens_query": 50})
    letters = longest(uploaded, ROOM)
    opened = operate.open_challenge(uploaded, "length", "x" * letters)
    known = operate.submission_ids(uploaded)
    operate.answer(uploaded, own.controller_id)
    (answered,) = operate.new_submissions(uploaded, known)
    assert answered.challenge_id == opened.challenge_id
    while operate.challenges(uploaded):
        if operate.judge_next(uploaded, score=3) is None:
            operate.trigger(uploaded, own.controller_id)

    before = operate.challenges(uploaded)
    with pytest.raises(ArgumentError, match=rf"it has {ROOM + 1} tokens"):
        operate.open_challenge(
            uploaded, "a topic that is not made", "x" * (letters - len("a topic that is not made") + 7)
        )
    assert operate.challenges(uploaded) == before

    # The mAIner says the same of one that is opened nevertheless. It is closed then, and the table says why.
    challenge_id = open_unchecked(impatient, "x" * (letters + 1))
    with pytest.raises(CanisterError, match=rf"{ROOM + 1} tokens, the context of 512 has room for {ROOM}"):
        operate.answer(uploaded, own.controller_id)
    assert operate.challenges(uploaded) == []
    closed = (operate.closed_challenges(uploaded) or [])[-1]
    assert closed.challenge_id == challenge_id
    assert closed.status.startswith("given up 1 times, at last because: LLM")
    assert f"{ROOM + 1} tokens" in closed.status


def test_a_prompt_must_be_taken_in_within_the_calls_for_an_answer(
    uploaded: Network, own: Mainer, llms: list[Canister], impatient: Canister
) -> None:
    for llm in llms:
        llm.set_max_tokens({"max_tokens_update": 8, "max_tokens_query": 8})
    letters = longest(uploaded, 240)
    open_unchecked(impatient, "x" * (letters + 1))
    with pytest.raises(CanisterError, match="the prompt was not finished after 30 calls"):
        operate.answer(uploaded, own.controller_id)
    assert operate.challenges(uploaded) == []
    operate.open_challenge(uploaded, "length", "x" * letters)
    operate.answer(uploaded, own.controller_id)
    while operate.challenges(uploaded):
        if operate.judge_next(uploaded, score=3) is None:
            operate.trigger(uploaded, own.controller_id)


def test_all_questions_are_measured_before_the_first_is_opened(uploaded: Network, llms: list[Canister]) -> None:
    with pytest.raises(ArgumentError, match="no mAIner can answer"):
        operate.open_challenges(uploaded, [("length", "Why?"), ("length", "x" * 10_000)], 2)
    assert operate.challenges(uploaded) == []


@pytest.mark.parametrize(
    ("topic", "question", "what"), [("x" * 1_001, "Why?", "topic"), ("x", "é" * 10_001, "question")]
)
def test_what_the_game_state_does_not_take_is_refused_first(
    deployed: Network, topic: str, question: str, what: str
) -> None:
    topics = deployed.canister(GAME_STATE).getGameStateLimitsAdmin()
    with pytest.raises(ArgumentError, match=rf"the {what} has \d+ bytes, and the Game State takes at most"):
        operate.open_challenge(deployed, topic, question)
    assert topics["maxQuestionBytes"] == USUAL


def test_strangers_are_told_by_the_game_state(uploaded: Network, as_stranger: Callable[[Network], Network]) -> None:
    with pytest.raises(CanisterError, match="Unauthorized"):
        operate.open_challenge(as_stranger(uploaded), "length", "x" * 10_000)
