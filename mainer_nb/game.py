"""Play the game without a person: a Challenger that asks, a Judge that grades, and who wins.

    deploy.deploy_officials(net)     # both, official at the Game State
    game.ensure_llms(net)            # one each, made by the creator
    game.ask(net)                    # a question becomes an open challenge; then mAIners answer (operate.trigger)
    game.grade(net)                  # the next submission gets its score, by which a challenge closes
    with game.timers(net, 10):       # or both by themselves
        ...
    game.leaderboard(net)

Times are UTC datetimes; ids and principals are text. Failures of both: `operate.failures(net, canister_id)`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from . import create, operate
from .canister import Canister, case
from .errors import ArgumentError, CanisterError
from .models import ModelVariant
from .network import CHALLENGER, GAME_STATE, JUDGE, Network
from .progress import Progress, Silent

NOTHING_TO_JUDGE = "There are no submissions to judge"  # as the Game State has it
PLACES = {"Winner": 1, "SecondPlace": 2, "ThirdPlace": 3}


@dataclass(frozen=True)
class Question:
    """A question as an LLM asked it.

    Attributes:
        seed: of the text, a nat32.
        prompt: what the LLM was asked.
    """

    question_id: str
    question: str
    seed: int
    prompt: str
    llm_id: str
    asked: datetime


@dataclass(frozen=True)
class Score:
    """A grade as an LLM gave it.

    Attributes:
        score: 1 (completely wrong) to 5 (completely correct).
        written: by the LLM, in which the grade was read.
        prompt: what the LLM was asked.
    """

    submission_id: str
    challenge_id: str
    question: str
    answer: str
    submitted_by: str
    score: int
    written: str
    seed: int
    prompt: str
    llm_id: str
    judged: datetime


@dataclass(frozen=True)
class Place:
    """What a submission came to; `place`: 1 to 3, None for those behind; `reward`: mAIner tokens."""

    place: int | None
    submission_id: str
    mainer_id: str
    owner: str
    reward: int


@dataclass(frozen=True)
class Declaration:
    """The outcome of a challenge, the winner first."""

    challenge_id: str
    declared: datetime
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Rank:
    """A mAIner over all challenges with an outcome; `reward`: mAIner tokens in all."""

    mainer_id: str
    owner: str
    submissions: int
    firsts: int
    seconds: int
    thirds: int
    reward: int


def ensure_llms(
    net: Network, number: int = 1, model: ModelVariant | None = None, progress: Progress | None = None
) -> dict[str, tuple[str, ...]]:
    """Give Challenger and Judge so many LLMs each, unless they have them; their ids, by the canister's name.

    Args:
        model: of those that are made; None: the one that was uploaded last.

    Raises:
        ArgumentError: `number` is below 1.
        PreconditionError: Challenger, Judge or creator are not deployed, or nothing is uploaded.
        CanisterError: as of `create.add_llm`.
    """
    if number < 1:
        raise ArgumentError(f"the number of LLMs is {number}: without one there are no questions and no grades")
    for name in (CHALLENGER, JUDGE):
        canister = net.canister(name)
        for _ in range(number - len(canister.getLlmCanisters())):
            create.add_llm(net, canister.canister_id, model, progress)
    return {name: tuple(net.canister(name).getLlmCanisters()) for name in (CHALLENGER, JUDGE)}


def ask(net: Network, progress: Progress | None = None) -> Question:
    """Have the Challenger open a challenge now.

    Raises:
        CanisterError: enough are open, or no LLM asks anything that can be used; its failures say what they wrote.
    """
    with (progress or Silent()).task("ask a question"):
        return _question(net.canister(CHALLENGER).generateNewChallenge(timeout=operate.TRIGGER_TIMEOUT))


def grade(net: Network, progress: Progress | None = None) -> Score | None:
    """Have the Judge score the next submission now; None if there is none.

    Raises:
        CanisterError: no LLM gives a grade; the submission is back at the Game State, to be judged again.
    """
    judge = net.canister(JUDGE)
    with (progress or Silent()).task("judge an answer"):
        try:
            judge.triggerScoreSubmissionAdmin(timeout=operate.TRIGGER_TIMEOUT)
        except CanisterError as error:
            if NOTHING_TO_JUDGE not in str(error.value):
                raise
            return None
    return _score(judge.getScoredResponsesAdmin()[-1])


@contextmanager
def timers(net: Network, interval: int = operate.TIMER_INTERVAL) -> Iterator[None]:
    """Have Challenger and Judge work by themselves every `interval` seconds as long as the `with` block lasts."""
    with ExitStack() as both:
        for name in (CHALLENGER, JUDGE):
            both.enter_context(operate.timers(net, net.canister_id(name), interval))
        yield


def questions(net: Network) -> list[Question]:
    """What the Challenger asked, oldest first; it keeps the last 1000."""
    return [_question(record) for record in net.canister(CHALLENGER).getChallengesAdmin()]


def scores(net: Network) -> list[Score]:
    """What the Judge scored, oldest first; it keeps the last 1000."""
    return [_score(record) for record in net.canister(JUDGE).getScoredResponsesAdmin()]


def winners(net: Network) -> list[Declaration]:
    """The outcomes of the challenges that are closed and not archived, the latest first."""
    return [_declaration(record) for record in net.canister(GAME_STATE).getRecentChallengeWinners()]


def leaderboard(net: Network) -> list[Rank]:
    """The mAIners by what they have won in `winners`, the one with most first."""
    places: dict[str, list[Place]] = defaultdict(list)
    for declaration in winners(net):
        for place in declaration.places:
            places[place.mainer_id].append(place)
    ranks = [
        Rank(
            mainer_id=mainer_id,
            owner=won[0].owner,
            submissions=len(won),
            firsts=sum(place.place == 1 for place in won),
            seconds=sum(place.place == 2 for place in won),
            thirds=sum(place.place == 3 for place in won),
            reward=sum(place.reward for place in won),
        )
        for mainer_id, won in places.items()
    ]
    return sorted(ranks, key=lambda rank: (-rank.reward, -rank.firsts, rank.mainer_id))


def set_template(net: Network, name: str, template: str) -> str:
    """Set what the LLMs of Challenger or Judge are asked; "" for what is shipped. What is asked then.

    Args:
        name: CHALLENGER or JUDGE.
        template: with the places {topic} and {word} of a Challenger, {question}, {answer} and {topic} of a Judge.

    Raises:
        CanisterError: a place is missing; the error names it.
    """
    canister: Canister = net.canister(name)
    canister.setPromptTemplateAdmin(template)
    return str(canister.getPromptTemplateAdmin())


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _question(record: dict[str, Any]) -> Question:
    return Question(
        question_id=record["generationId"],
        question=record["generatedChallengeText"],
        seed=record["generationSeed"],
        prompt=record["generationPrompt"],
        llm_id=record["generatedByLlmId"],
        asked=_time(record["generatedTimestamp"]),
    )


def _score(record: dict[str, Any]) -> Score:
    graded = record["judgeScoreRecord"]
    return Score(
        submission_id=record["submissionId"],
        challenge_id=record["challengeId"],
        question=record["challengeQuestion"],
        answer=record["challengeAnswer"],
        submitted_by=record["submittedBy"],
        score=record["score"],
        written=graded["generatedScoreText"],
        seed=graded["generationSeed"],
        prompt=graded["generationPrompt"],
        llm_id=graded["generatedByLlmId"],
        judged=_time(record["judgedTimestamp"]),
    )


def _declaration(record: dict[str, Any]) -> Declaration:
    return Declaration(
        challenge_id=record["challengeId"],
        declared=_time(record["finalizedTimestamp"]),
        places=tuple(map(_place, _entries(record["participants"]))),
    )


def _entries(participants: tuple[dict[str, Any], Any] | None) -> Iterator[dict[str, Any]]:
    """The entries of a list as Motoko tells it: an entry and the rest, or nothing."""
    while participants is not None:
        entry, participants = participants
        yield entry


def _place(entry: dict[str, Any]) -> Place:
    return Place(
        place=PLACES.get(case(entry["result"])),
        submission_id=entry["submissionId"],
        mainer_id=entry["submittedBy"],
        owner=entry["ownedBy"],
        reward=entry["reward"]["amount"],
    )
