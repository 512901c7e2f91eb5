"""Work with mAIners: open challenges, have them answered, look at queues and submissions, run the timers.

    challenge = operate.open_challenge(net, "geography", "What is the capital of France?")
    operate.trigger(net, own.controller_id)
    [submission.answer for submission in operate.submissions(net)]
    operate.start_timers(net, own.controller_id)
    operate.wait_for_submission(net, own.controller_id, known=operate.submission_ids(net))

Times are UTC datetimes; ids and principals are text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from . import answerable, management, population, stopping
from .agent import to_principal
from .canister import Canister, case
from .create import Mainer, name
from .errors import ArgumentError, CanisterError, ExpectationFailed, PreconditionError, RejectError, WaitTimeout
from .management import TRILLION
from .models import variant_text
from .network import GAME_STATE, Network
from .progress import Progress, Silent, amount
from .upload import CONTROLLER

TRIGGER_TIMEOUT = 900.0  # seconds: an answer takes an LLM up to thirty calls
WAIT_TIMEOUT = ASK_TIMEOUT = 600.0
FIRST_WAIT, WAIT_GROWTH, LONGEST_WAIT = 0.1, 1.2, 1.0  # seconds between two looks
CREATE_STEP = "notebooks/03_create.ipynb (in Python: mainer_nb.create.ensure(net, mainer_nb.create.Plan()))"
MINIMUM_BALANCE = 250 * 10**9  # cycles that a mAIner keeps
ANSWER_CYCLES = 100 * 10**9  # that an answer costs at the Game State, and as much at a ShareService
# Cycles with which a mAIner takes its next step, after which it still has the minimum; with less it pauses.
NEEDED = {
    "Own": MINIMUM_BALANCE + ANSWER_CYCLES,
    "ShareService": MINIMUM_BALANCE,
    "ShareAgent": MINIMUM_BALANCE + 2 * ANSWER_CYCLES,
}
MOST_QUEUED = 5  # challenges in the queue of a mAIner
ATTEMPTS_TO_OPEN = 10  # a challenge, while others open some
DRAWS = 10  # of challenges at random, for each that is to be answered, before it is left
ATTEMPTS = 3  # of a mAIner at a challenge, before it gives it up
MOST_GIVEN_UP = 3  # challenges, before it is not the challenges' fault
TIMER_INTERVAL = 60  # seconds between two runs of a mAIner's timers, unless told otherwise


@dataclass(frozen=True)
class Challenge:
    """A challenge of the Game State.

    Attributes:
        status: "Open", "Closed" and so on, or in words why it was closed.
        created: UTC, as all times here.
    """

    challenge_id: str
    topic: str
    question: str
    seed: int
    status: str
    created: datetime
    closed: datetime | None
    cycles_required: int


@dataclass(frozen=True)
class Queued:
    """A challenge in a mAIner's queue; `queued_by` and `queued_to` are principals of mAIners."""

    queued_id: str
    challenge_id: str
    topic: str
    question: str
    queued_by: str
    queued_to: str
    queued: datetime


@dataclass(frozen=True)
class Submission:
    """An answer that was submitted.

    Attributes:
        submitted_by: the mAIner.
        status: "Submitted", "Judging", "Judged" and so on.
        queued: when the mAIner took the challenge, UTC.
    """

    submission_id: str
    challenge_id: str
    topic: str
    question: str
    answer: str
    submitted_by: str
    status: str
    queued: datetime
    submitted: datetime


@dataclass(frozen=True)
class MainerFailure:
    """A step of a mAIner that went wrong.

    Attributes:
        action: what the step was.
        dropped: whether the challenge was given up.
    """

    action: str
    challenge_id: str
    reason: str
    dropped: bool
    time: datetime


@dataclass(frozen=True)
class Statistics:
    """A mAIner's cycles: burnt so far, its balance, and whether it paused for lack of them."""

    cycles_burnt: int
    cycle_balance: int
    low_cycle_balance: bool


@dataclass(frozen=True)
class Thresholds:
    """The Game State's limits."""

    archive_closed_challenges: int
    max_open_challenges: int
    max_open_submissions: int
    scored_responses_per_challenge: int


@dataclass(frozen=True)
class Team:
    """An Own mAIner, and a ShareService with its ShareAgents."""

    own: Mainer
    service: Mainer
    agents: tuple[Mainer, ...]

    @property
    def members(self) -> list[Mainer]:
        return [self.own, self.service, *self.agents]


# --- the Game State ---


def open_challenge(net: Network, topic: str, question: str, seed: int = 1) -> Challenge:
    """Add a topic and a challenge on it to the Game State, as an official Challenger.

    Args:
        seed: of the question, a nat32.

    Raises:
        ArgumentError: the question is too long for every mAIner, or for the Game State (`answerable.check`); nothing is
            done.
        CanisterError: Unauthorized, if the caller is neither a controller nor a Challenger.
    """
    answerable.check(net, topic, question)
    return _opened(net, topic, question, seed)


def _opened(net: Network, topic: str, question: str, seed: int = 1) -> Challenge:
    game_state = net.canister(GAME_STATE)
    added = game_state.addChallengeTopic({"challengeTopic": topic})
    return _challenge(game_state.addChallenge({**added, "challengeQuestion": question, "challengeQuestionSeed": seed}))


def open_challenges(net: Network, questions: Sequence[Sequence[str]], number: int) -> list[Challenge]:
    """Open a challenge for each of the first `number` of `questions`; further errors as of `open_challenge`.

    Args:
        questions: pairs of a topic and a question.

    Raises:
        ArgumentError: there are fewer questions, or one of them is too long; nothing is opened.
    """
    if number > len(questions):
        raise ArgumentError(
            f"challenges is {number}, but questions has {len(questions)}: "
            f"add questions, or ask for at most {len(questions)} challenges"
        )
    for topic, question in questions[:number]:
        answerable.check(net, topic, question)
    return [_opened(net, topic, question) for topic, question in questions[:number]]


def challenges(net: Network) -> list[Challenge]:
    """The current challenges of the Game State."""
    return _challenges(net.canister(GAME_STATE))


def closed_challenges(net: Network) -> list[Challenge] | None:
    """The challenges that were closed or given up, the oldest first; those that are archived are not among them.

    Returns:
        None if the Game State does not tell them, as one of the original interface.
    """
    closed = _if_offered(net.canister(GAME_STATE).getClosedChallengesAdmin)
    return None if closed is None else [_challenge(record) for record in closed]


def submissions(net: Network) -> list[Submission]:
    """All submissions that the Game State has."""
    return [_submission(record) for record in net.canister(GAME_STATE).getSubmissionsAdmin()]


def submission_ids(net: Network) -> set[str]:
    """The ids of all submissions that the Game State has."""
    return {submission.submission_id for submission in submissions(net)}


def new_submissions(net: Network, known: Collection[str]) -> list[Submission]:
    """The submissions that the Game State has and that are not among the `known` ids."""
    return [submission for submission in submissions(net) if submission.submission_id not in known]


def judge_next(net: Network, score: int) -> Submission | None:
    """Score the next open submission as an official Judge; None if there is none. Enough scores close a challenge."""
    game_state = net.canister(GAME_STATE)
    if not game_state.getNumOpenSubmissionsAdmin():
        return None
    record = game_state.getNextSubmissionToJudge()
    game_state.addScoredResponse({**record, "judgedBy": net.caller, "score": score, "scoreSeed": 1})
    return _submission(record)


def thresholds(net: Network) -> Thresholds:
    """The Game State's limits."""
    record = net.canister(GAME_STATE).getGameStateThresholdsAdmin()
    return Thresholds(**{ours: record[theirs] for ours, theirs in THRESHOLDS.items()})


def set_thresholds(net: Network, limits: Thresholds) -> None:
    """Set the Game State's limits; for its controllers."""
    record = {theirs: getattr(limits, ours) for ours, theirs in THRESHOLDS.items()}
    net.canister(GAME_STATE).setGameStateThresholdsAdmin(record)


def make_room(net: Network, challenges: int, submissions: int) -> Thresholds:
    """Raise the Game State's limits, if need be, so that this many more challenges and submissions can be open; the
    limits then. They are never lowered.
    """
    limits, game_state = thresholds(net), net.canister(GAME_STATE)
    fitting = replace(
        limits,
        max_open_challenges=max(
            limits.max_open_challenges,
            challenges + sum(challenge.status == "Open" for challenge in _challenges(game_state)),
        ),
        max_open_submissions=max(limits.max_open_submissions, submissions + game_state.getNumOpenSubmissionsAdmin()),
    )
    if fitting != limits:
        set_thresholds(net, fitting)
    return fitting


THRESHOLDS = {
    "archive_closed_challenges": "thresholdArchiveClosedChallenges",
    "max_open_challenges": "thresholdMaxOpenChallenges",
    "max_open_submissions": "thresholdMaxOpenSubmissions",
    "scored_responses_per_challenge": "thresholdScoredResponsesPerChallenge",
}


# --- mAIners ---


def team(net: Network, mainers: Sequence[Mainer]) -> Team:
    """One mAIner of each type, able to work together.

    Raises:
        PreconditionError: a type, an LLM or the tie between ShareAgent and ShareService is missing.
    """
    able = [mainer for mainer in mainers if mainer.llm_ids]
    for own in able:
        for service in able:
            agents = tuple(agent for agent in mainers if agent.share_service_id == service.controller_id)
            if (own.kind, service.kind) == ("Own", "ShareService") and agents:
                return Team(own, service, agents)
    raise PreconditionError(
        f"network {net.name} lacks an Own mAIner with an LLM, or a ShareService with an LLM and a ShareAgent: "
        f"run {CREATE_STEP} first, and ask there for at least one of each"
    )


def fund(net: Network, mainers: Iterable[Mainer], minimum: int = TRILLION) -> dict[str, int]:
    """Top up the canisters and LLMs of these mAIners that have less than `minimum` cycles to twice as much; the
    cycles given, by canister id. On mainnet, where cycles cost money, nothing is done.
    """
    given = {}
    canisters = [canister_id for mainer in mainers for canister_id in (mainer.controller_id, *mainer.llm_ids)]
    for canister_id in () if net.mainnet else canisters:
        balance = management.status(net.agent, canister_id).cycles
        if balance < minimum:
            given[canister_id] = top_up(net, canister_id, 2 * minimum - balance)
    return given


def trigger(net: Network, controller_id: str, progress: Progress | None = None) -> str:
    """Have a mAIner do now what its timers would: pull a challenge and process the oldest queued one; what it says.

    An Own mAIner answers and submits, a ShareAgent hands over to its ShareService, a ShareService answers.
    """
    again = "It finishes what it has begun; run it again when that is done, for the next challenge."
    with (progress or Silent()).task(f"trigger {name(net, controller_id)}", again=again):
        answer = mainer_canister(net, controller_id).triggerChallengeResponseAdmin(timeout=TRIGGER_TIMEOUT)
    return str(answer["auth"])


def answer(net: Network, controller_id: str, progress: Progress | None = None) -> str:
    """Trigger an Own mAIner or a ShareService until it has answered a challenge.

    A small model now and then has no answer. The mAIner then keeps the challenge for the next run, with another seed,
    and gives it up after `ATTEMPTS`. An Own mAIner then takes another one, as long as there is one, until it has given
    up `MOST_GIVEN_UP`.

    Returns:
        What the mAIner says.

    Raises:
        CanisterError: the last failure.
    """
    pulls = case(mainer_canister(net, controller_id).getMainerCanisterType()) == "Own"
    tries = 0
    while True:
        tries += 1
        try:
            return trigger(net, controller_id, progress)
        except CanisterError:
            more = queue(net, controller_id) or (pulls and challenges(net))
            if tries == ATTEMPTS * MOST_GIVEN_UP or not more:
                raise


def ask(
    net: Network,
    question: str,
    controller_id: str | None = None,
    topic: str = "general",
    timeout: float = ASK_TIMEOUT,
    progress: Progress | None = None,
) -> Submission:
    """Ask a mAIner a question: open a challenge and have the mAIner work until it has submitted an answer to it.

    The Game State hands out open challenges at random. So the mAIner may answer others before, which costs it cycles as
    any answer does; on development networks it gets cycles first, if it has few.

    Args:
        controller_id: the mAIner, of type Own or ShareAgent; None: the first Own that has an LLM.
        timeout: seconds.

    Returns:
        The submission to that very challenge.

    Raises:
        ArgumentError: question or topic are empty, the timeout is not above 0, or the mAIner cannot answer. Nothing is
            opened then.
        PreconditionError: there is no mAIner to ask, or it has too few cycles (on mainnet).
        CanisterError: the mAIner or the Game State refuses.
        ExpectationFailed: the mAIner gave the question up; the text says why.
        WaitTimeout: there is no answer in time.
    """
    for what, text in (("question", question), ("topic", topic)):
        if not text.strip():
            raise ArgumentError(f"the {what} is empty: write one")
    if not timeout > 0:
        raise ArgumentError(f"the timeout is {timeout:g} s: give more than 0")
    workers = _workers(net, controller_id)
    mainer = workers[0]
    fund(net, workers)
    _check_balance(net, mainer)
    challenge = _open_among_others(net, topic, question)
    deadline, fruitless = time.monotonic() + timeout, 0
    with (progress or Silent()).task(f"ask {mainer.name}") as task:
        while time.monotonic() < deadline:
            refusal = _work(net, workers)
            for submission in submissions(net):
                if (submission.challenge_id, submission.submitted_by) == (challenge.challenge_id, mainer.controller_id):
                    return submission
            _check_not_given_up(net, challenge, workers)
            waiting = sum(len(queue(net, worker.controller_id)) for worker in workers)
            task.note(f"{amount(waiting, 'challenges')} in its queue" if waiting else "it was given another question")
            fruitless = fruitless + 1 if refusal and not waiting else 0
            if refusal and fruitless >= ATTEMPTS:
                raise refusal
            if refusal:
                stopping.pause(LONGEST_WAIT)
            make_room(net, challenges=0, submissions=1)
    raise WaitTimeout(
        f"{mainer.name} has not answered {question!r} within {timeout:.0f} s; challenge {challenge.challenge_id} stays "
        f"open among {len(challenges(net))}. {_nothing_came(net, mainer.controller_id, submissions(net), timeout)}"
    )


def _check_balance(net: Network, mainer: Mainer) -> None:
    """PreconditionError, if a mAIner would pause instead of answering."""
    needed = NEEDED[mainer.kind]
    balance = statistics(net, mainer.controller_id).cycle_balance
    if balance < needed:
        raise PreconditionError(
            f"{mainer.name} has {balance / TRILLION:.3f} T cycles and answers with {needed / TRILLION:.3f} T or more: "
            f"give it some, `icp canister top-up` or `dfx ledger top-up {mainer.controller_id}`"
        )


def _open_among_others(net: Network, topic: str, question: str) -> Challenge:
    """Make room for a challenge and open it, also while others do the same."""
    for attempt in count(1):
        make_room(net, challenges=1, submissions=1)
        try:
            return open_challenge(net, topic, question)
        except CanisterError as refusal:  # somebody else took the room
            if "thresholdMaxOpenChallenges" not in str(refusal.value) or attempt == ATTEMPTS_TO_OPEN:
                raise
    raise AssertionError


def _workers(net: Network, controller_id: str | None) -> list[Mainer]:
    """The mAIner to be asked, and the ShareService that answers for it if it is a ShareAgent."""
    known = {mainer.controller_id: mainer for mainer in population.mainers(net)}
    if controller_id is None:
        own = [mainer for mainer in known.values() if mainer.kind == "Own" and mainer.llm_ids]
        if not own:
            raise PreconditionError(f"no Own mAIner with an LLM on network {net.name}: run {CREATE_STEP} first")
        return own[:1]
    asked = known.get(controller_id) or population.mainer(net, controller_id)
    if asked.kind == "ShareService":
        raise ArgumentError(f"{asked.name} answers for its ShareAgents and pulls no challenges itself: ask one of them")
    workers = [asked]
    if asked.kind == "ShareAgent":
        workers += [known[service] for service in [asked.share_service_id] if service in known]
    if not workers[-1].llm_ids:
        raise ArgumentError(
            f"{workers[-1].name} has no LLM, so {asked.name} cannot answer: add one with create.add_llm"
        )
    return workers


def _work(net: Network, workers: Sequence[Mainer]) -> CanisterError | None:
    """Trigger each of them once; the first refusal, if there was one.

    Raises:
        CanisterError: a refusal that trying again does not help against.
    """
    refusals = []
    for worker in workers:
        try:
            trigger(net, worker.controller_id)
        except CanisterError as refusal:
            paused = refusal.variant == "InsuffientCycles" and not net.mainnet
            if paused:
                fund(net, workers)
            elif refusal.variant not in ("Other", "InvalidId"):  # of another challenge that was closed meanwhile
                raise
            refusals.append(refusal)
    return refusals[0] if refusals else None


def _check_not_given_up(net: Network, challenge: Challenge, workers: Sequence[Mainer]) -> None:
    for worker in workers:
        for failure in failures(net, worker.controller_id) or ():
            refused_for_now = failure.action == "share" and "addChallengeToShareServiceQueue" in failure.reason
            if failure.dropped and failure.challenge_id == challenge.challenge_id and not refused_for_now:
                raise ExpectationFailed(
                    f"{worker.name} gave up {challenge.question!r} ({failure.action}: {failure.reason}). "
                    "Ask again, in other words, or ask a mAIner with another model."
                )
    if challenge.challenge_id not in {known.challenge_id for known in challenges(net)}:
        raise ExpectationFailed(
            f"{challenge.question!r} is closed: others answered it, and enough of their answers were scored, before "
            f"{workers[0].name} got it. Ask again."
        )


def unanswered(opened: Iterable[Challenge], answers: Iterable[Submission]) -> list[Challenge]:
    """Those of the challenges to which there is no answer among these."""
    answered = {submission.challenge_id for submission in answers}
    return [challenge for challenge in opened if challenge.challenge_id not in answered]


def answer_rest(
    net: Network,
    controller_id: str,
    opened: Sequence[Challenge],
    known: Collection[str] = (),
    progress: Progress | None = None,
) -> list[Challenge]:
    """Have an Own mAIner work until each of these challenges has an answer, by whomever.

    A Game State hands out open challenges at random, so some come twice and others late: after `DRAWS` for each that is
    missing it is left at that.

    Args:
        known: the ids of submissions that do not count.

    Returns:
        The challenges that have no answer.

    Raises:
        CanisterError: the mAIner or the Game State refuses.
    """
    mainer = population.mainer(net, controller_id)
    left = unanswered(opened, new_submissions(net, known))
    with (progress or Silent()).task(f"{mainer.name} answers what is left", len(left), "challenges") as task:
        for _ in range(DRAWS * len(left)):
            open_ids = {challenge.challenge_id for challenge in challenges(net)}
            if not any(challenge.challenge_id in open_ids for challenge in left):
                break
            make_room(net, challenges=0, submissions=1)
            _work(net, [mainer])
            still = unanswered(left, new_submissions(net, known))
            task.advance(len(left) - len(still))
            left = still
    return left


def hand_over(net: Network, team: Team, progress: Progress | None = None) -> list[Mainer]:
    """Have each ShareAgent of a team take a challenge and hand it to the ShareService. Its queue takes `MOST_QUEUED`:
    each time it is full it is worked off, so there may be any number of ShareAgents. Errors as of `trigger`, `answer`.

    Returns:
        The ShareAgents whose challenges wait in the ShareService.
    """
    service_id = team.service.controller_id
    for agent in team.agents:
        if len(queue(net, service_id)) >= MOST_QUEUED:
            work_off(net, service_id, progress)
        trigger(net, agent.controller_id, progress)
    waiting = {entry.queued_by for entry in queue(net, service_id)}
    return [agent for agent in team.agents if agent.controller_id in waiting]


def work_off(net: Network, service_id: str, progress: Progress | None = None) -> int:
    """Have a ShareService answer every challenge in its queue; how many there were. Errors as of `answer`."""
    waiting = queue(net, service_id)
    for _ in waiting:
        answer(net, service_id, progress)
    return len(waiting)


def settle(net: Network, team: Team, progress: Progress | None = None) -> None:
    """Stop the timers of a team and work off what waits in its ShareService; what it cannot answer is given up."""
    for mainer in team.members:
        stop_timers(net, mainer.controller_id)
    service_id = team.service.controller_id
    for _ in queue(net, service_id):
        with suppress(CanisterError):
            answer(net, service_id, progress)


@contextmanager
def timers(net: Network, controller_id: str, interval: int = TIMER_INTERVAL) -> Iterator[None]:
    """Have a mAIner work by itself every `interval` seconds as long as the `with` block lasts.

    with operate.timers(net, own.controller_id, interval=10):
        operate.wait_for_submission(net, own.controller_id, known)

    One of the original interface has an interval that cannot be set: it works every `TIMER_INTERVAL` seconds.
    """
    controller = mainer_canister(net, controller_id)
    _if_offered(lambda: controller.setTimerIntervalAdmin(interval))
    try:
        start_timers(net, controller_id)
        yield
    finally:
        stop_timers(net, controller_id)
        _if_offered(lambda: controller.setTimerIntervalAdmin(TIMER_INTERVAL))


def start_timers(net: Network, controller_id: str) -> str:
    """Have a mAIner work by itself, first in some seconds, then every minute; what it says."""
    return str(mainer_canister(net, controller_id).startTimerExecutionAdmin()["auth"])


def stop_timers(net: Network, controller_id: str) -> str:
    """Have a mAIner work no more by itself; what it says."""
    return str(mainer_canister(net, controller_id).stopTimerExecutionAdmin()["auth"])


def queues(net: Network, controller_ids: Iterable[str]) -> dict[str, list[Queued]]:
    """The challenges waiting in several mAIners, by id."""
    return {controller_id: queue(net, controller_id) for controller_id in controller_ids}


def queue(net: Network, controller_id: str) -> list[Queued]:
    """The challenges waiting in a mAIner, oldest first."""
    return [_queued(record) for record in mainer_canister(net, controller_id).getChallengeQueueAdmin()]


def submitted(net: Network, controller_id: str) -> list[Submission]:
    """The answers that a mAIner keeps as submitted."""
    return [_submission(record) for record in mainer_canister(net, controller_id).getSubmittedResponsesAdmin()]


def failures(net: Network, controller_id: str) -> list[MainerFailure] | None:
    """What went wrong in a mAIner recently, oldest first; None if it does not tell (one of the original interface)."""
    told = _if_offered(mainer_canister(net, controller_id).getRecentFailuresAdmin)
    return None if told is None else [_failure(record) for record in told]


def statistics(net: Network, controller_id: str) -> Statistics:
    """A mAIner's cycles."""
    controller = mainer_canister(net, controller_id)
    record, flags = controller.getMainerStatisticsAdmin(), controller.getIssueFlagsAdmin()
    return Statistics(record["totalCyclesBurnt"], record["cycleBalance"], flags["lowCycleBalance"])


def wait_for_submission(
    net: Network,
    controller_id: str | None = None,
    known: Collection[str] = (),
    timeout: float = WAIT_TIMEOUT,
    progress: Progress | None = None,
) -> Submission:
    """Wait for a new submission at the Game State.

    Args:
        known: the ids of the submissions that are not new.
        controller_id: the mAIner that submits it; None: any.
        timeout: seconds.

    Raises:
        WaitTimeout: there is none in time; the error says what there was instead.
    """
    deadline = time.monotonic() + timeout
    pause = FIRST_WAIT
    with (progress or Silent()).task(f"wait for a submission by {_called(net, controller_id)}") as task:
        while True:
            found = submissions(net)
            for submission in found:
                if submission.submission_id not in known and controller_id in (None, submission.submitted_by):
                    return submission
            if time.monotonic() >= deadline:
                raise WaitTimeout(_nothing_came(net, controller_id, found, timeout))
            task.advance(0)
            stopping.pause(pause)
            pause = min(pause * WAIT_GROWTH, LONGEST_WAIT)


def top_up(net: Network, canister_id: str, cycles: int) -> int:
    """Give any canister `cycles` (development networks only); the cycles given.

    Raises:
        PreconditionError: the network is mainnet.
        RejectError: there is no such canister.
    """
    if net.mainnet:
        raise PreconditionError(
            f"cycles cost money on network {net.name}: `icp canister top-up` or `dfx ledger top-up {canister_id}`"
        )
    management.top_up(net.agent, canister_id, cycles)
    return cycles


def mainer_canister(net: Network, controller_id: str) -> Canister:
    """The mAIner canister with this id, to call any of its methods.

    Raises:
        ArgumentError: the id is malformed.
    """
    to_principal(controller_id, "id of the mAIner canister")
    return net.canister_at(controller_id, CONTROLLER)


def _if_offered(call: Callable[[], Any]) -> Any:
    """What a method answers that is not in the original interface; None if the canister lacks it."""
    try:
        return call()
    except RejectError as error:
        if not error.not_offered:
            raise
        return None


def _called(net: Network, controller_id: str | None) -> str:
    return "any mAIner" if controller_id is None else name(net, controller_id)


def _nothing_came(net: Network, controller_id: str | None, found: list[Submission], timeout: float) -> str:
    parts = [f"no new submission by {_called(net, controller_id)} within {timeout:.0f} s"]
    current = amount(len(challenges(net)), "current challenges")
    parts.append(f"the Game State has {amount(len(found), 'submissions')} and {current}")
    if controller_id:
        numbers = statistics(net, controller_id)
        parts.append(
            f"the mAIner has {len(queue(net, controller_id))} challenges in its queue, and {numbers.cycle_balance:,} "
            "cycles"
        )
        if numbers.low_cycle_balance:
            parts.append("it paused for lack of cycles: operate.top_up(net, controller_id, cycles)")
        parts += [f"{failure.action}: {failure.reason}" for failure in (failures(net, controller_id) or [])[-3:]]
    return "; ".join(parts)


# --- records to dataclasses ---


def _challenges(game_state: Canister) -> list[Challenge]:
    return [_challenge(record) for record in game_state.getCurrentChallengesAdmin()]


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


def _challenge(record: dict[str, Any]) -> Challenge:
    closed = record["challengeClosedTimestamp"]
    return Challenge(
        challenge_id=record["challengeId"],
        topic=record["challengeTopic"],
        question=record["challengeQuestion"],
        seed=record["challengeQuestionSeed"],
        status=variant_text(record["challengeStatus"]),
        created=_time(record["challengeCreationTimestamp"]),
        closed=None if closed is None else _time(closed),
        cycles_required=record["submissionCyclesRequired"],
    )


def _queued(record: dict[str, Any]) -> Queued:
    return Queued(
        queued_id=record["challengeQueuedId"],
        challenge_id=record["challengeId"],
        topic=record["challengeTopic"],
        question=record["challengeQuestion"],
        queued_by=record["challengeQueuedBy"],
        queued_to=record["challengeQueuedTo"],
        queued=_time(record["challengeQueuedTimestamp"]),
    )


def _failure(record: dict[str, Any]) -> MainerFailure:
    return MainerFailure(
        record["action"], record["challengeId"], record["reason"], record["dropped"], _time(record["timestamp"])
    )


def _submission(record: dict[str, Any]) -> Submission:
    return Submission(
        submission_id=record["submissionId"],
        challenge_id=record["challengeId"],
        topic=record["challengeTopic"],
        question=record["challengeQuestion"],
        answer=record["challengeAnswer"],
        submitted_by=record["submittedBy"],
        status=case(record["submissionStatus"]),
        queued=_time(record["challengeQueuedTimestamp"]),
        submitted=_time(record["submittedTimestamp"]),
    )
