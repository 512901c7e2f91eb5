"""What a canister is given and keeps has a limit, whoever gives it; what nobody can answer is closed."""

from __future__ import annotations

from typing import Any

import pytest

from mainer_nb.canister import Canister, case
from mainer_nb.errors import CanisterError
from mainer_nb.protocol import principal
from tests.forwarder import Forwarder
from tests.mainer_canisters import (
    CHUNK,
    PROMPT_FORMAT,
    SHARE_CYCLES,
    SUBMISSION_CYCLES,
    TRILLION,
    Protocol,
    answered,
    deploy,
    queued,
    text_of,
)

LONG = "x" * 1_000_000
HUGE = 1 << 10_000


@pytest.fixture(scope="module")
def mainer(guarded: Protocol) -> Canister:
    """A ShareService for tests that change nothing."""
    made = deploy(guarded.owner, "mainer_ctrlb_canister", TRILLION)
    made.name = "mAIner"
    made.setMainerCanisterType("ShareService")
    return made


@pytest.fixture(scope="module")
def official(guarded: Protocol) -> Protocol:
    """The same protocol; its owner is Challenger and Judge too."""
    for role in ("Challenger", "Judge", "MainerCreator"):
        guarded.game_state.addOfficialCanister({"address": text_of(guarded.owner), "canisterType": role})
    return guarded


TOPIC = {
    "challengeTopic": "nature",
    "challengeTopicId": "topic-1",
    "challengeTopicCreationTimestamp": 1,
    "challengeTopicStatus": "Open",
    "challengeQuestion": "Why?",
    "challengeQuestionSeed": 1,
}


def thresholds(**changes: int) -> dict[str, int]:
    names = ("ArchiveClosedChallenges", "MaxOpenChallenges", "MaxOpenSubmissions", "ScoredResponsesPerChallenge")
    return {f"threshold{name}": 3 for name in names} | changes


def limits(**changes: int) -> dict[str, int]:
    return {"maxTopicBytes": 20, "maxQuestionBytes": 100, "maxAnswerBytes": 20, "maxTimesGivenUp": 2} | changes


@pytest.mark.parametrize(
    ("method", "told", "what"),
    [
        ("addChallengeTopic", [{"challengeTopic": LONG}], "challengeTopic has 1000000 bytes, at most 1000"),
        ("addChallenge", [{**TOPIC, "challengeTopic": LONG}], "challengeTopic has 1000000 bytes"),
        ("addChallenge", [{**TOPIC, "challengeTopicId": LONG}], "challengeTopicId has 1000000 bytes"),
        (
            "addChallenge",
            [{**TOPIC, "challengeTopicStatus": {"Other": LONG}}],
            "challengeTopicStatus has 1000000 bytes",
        ),
        (
            "addChallenge",
            [{**TOPIC, "challengeQuestion": "é" * 10_001}],
            "challengeQuestion has 20002 bytes, at most 20000",
        ),
        (
            "setGameStateThresholdsAdmin",
            [thresholds(thresholdMaxOpenChallenges=HUGE)],
            "thresholdMaxOpenChallenges has",
        ),
        ("setGameStateLimitsAdmin", [limits(maxQuestionBytes=HUGE)], "maxQuestionBytes has more than"),
        ("setGameStateLimitsAdmin", [limits(maxAnswerBytes=1_000_001)], "maxAnswerBytes has 1000001"),
        ("addOfficialCanister", [{"address": LONG, "canisterType": "Judge"}], "is not a principal"),
    ],
)
def test_the_game_state_refuses_what_is_too_long(official: Protocol, method: str, told: list[Any], what: str) -> None:
    with pytest.raises(CanisterError, match=what) as caught:
        getattr(official.game_state, method)(*told)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("method", "told", "what"),
    [
        ("setPromptFormat", [{**PROMPT_FORMAT, "prefix": LONG}], "prefix has 1000000 bytes"),
        ("setPromptFormat", [{**PROMPT_FORMAT, "suffix": LONG}], "suffix has 1000000 bytes"),
        ("setPromptFormat", [{**PROMPT_FORMAT, "stop": ["x"] * 201}], "stop has 201, at most 200"),
        ("setPromptFormat", [{**PROMPT_FORMAT, "stop": [LONG]}], "an entry of stop has 1000000 bytes"),
        ("setRoundRobinLLMs", [HUGE], "The count has more than"),
        ("setTimerIntervalAdmin", [HUGE], "The interval in seconds has more than"),
        (
            "updateAgentSettings",
            [{"cyclesBurnRate": {"cycles": HUGE, "timeInterval": "Daily"}}],
            "cycles has more than",
        ),
        ("setGameStateCanisterId", [LONG], "is not a canister id"),
        ("add_llm_canister", [{"canister_id": LONG}], "is not a canister id"),
    ],
)
def test_a_mainer_refuses_what_is_too_long(mainer: Canister, method: str, told: list[Any], what: str) -> None:
    with pytest.raises(CanisterError, match=what) as caught:
        getattr(mainer, method)(*told)
    assert len(str(caught.value)) < 2_000


LONG_NAME = {"Other": LONG}
SHA256 = bytes(32)


@pytest.mark.parametrize(
    ("method", "told", "what"),
    [
        ("setModelPromptFormat", [LONG_NAME, PROMPT_FORMAT], "The name of the model has 1000000 bytes"),
        ("setModelPromptFormat", [{"Other": "m"}, {**PROMPT_FORMAT, "prefix": LONG}], "prefix has 1000000 bytes"),
        ("setCreationCycles", [{"controller": HUGE, "llm": 1}], "controller has more than"),
        ("setMasterCanisterId", [LONG], "is not a canister id"),
        ("start_upload_mainer_llm_canister_wasm", [LONG_NAME], "The name of the model has 1000000 bytes"),
        ("finish_upload_mainer_llm", [LONG_NAME], "The name of the model has 1000000 bytes"),
        (
            "uploadBegin",
            [{"target": {"LlmModel": LONG_NAME}, "size": 1, "sha256": SHA256}],
            "The name of the model has",
        ),
        (
            "uploadBegin",
            [{"target": {"LlmModel": {"Other": "m"}}, "size": (1 << 32) + 1, "sha256": SHA256}],
            "has 4294967297 bytes, at most 4294967296",
        ),
        (
            "uploadBegin",
            [{"target": {"MainerControllerWasm": None}, "size": 1 << 62, "sha256": SHA256}],
            "at most 104857600 are taken",
        ),
    ],
)
def test_the_creator_refuses_what_is_too_long(guarded: Protocol, method: str, told: list[Any], what: str) -> None:
    with pytest.raises(CanisterError, match=what) as caught:
        getattr(guarded.creator, method)(*told)
    assert len(str(caught.value)) < 2_000


def test_the_creator_keeps_so_many_prompt_formats_and_uploads(protocol: Protocol) -> None:
    for number in range(100):
        protocol.creator.setModelPromptFormat({"Other": f"m{number}"}, PROMPT_FORMAT)
    with pytest.raises(CanisterError, match="There are already 100 prompt formats"):
        protocol.creator.setModelPromptFormat({"Other": "one more"}, PROMPT_FORMAT)
    protocol.creator.setModelPromptFormat({"Other": "m7"}, {**PROMPT_FORMAT, "prefix": "changed"})
    assert protocol.creator.getModelPromptFormat({"Other": "m7"})["prefix"] == "changed"
    for number in range(201):
        protocol.creator.start_upload_mainer_llm_canister_wasm({"Other": f"m{number}"})
    with pytest.raises(CanisterError, match="There are already 201 files and uploads"):
        protocol.creator.start_upload_mainer_llm_canister_wasm({"Other": "one more"})


def test_a_wasm_that_never_ends_is_no_longer_taken(protocol: Protocol) -> None:
    protocol.creator.start_upload_mainer_controller_canister_wasm()
    beginning = b"\0asm\1\0\0\0" + b"\0" + b"\xff\xff\xff\xff\x0f"  # a section of 4 GiB
    protocol.creator.upload_mainer_controller_canister_wasm_bytes_chunk(beginning)
    for _ in range(104_857_600 // CHUNK):
        protocol.creator.upload_mainer_controller_canister_wasm_bytes_chunk(bytes(CHUNK))
    with pytest.raises(CanisterError, match="at most 104857600 are taken"):
        protocol.creator.upload_mainer_controller_canister_wasm_bytes_chunk(bytes(CHUNK))


def test_a_mainer_keeps_so_many_llms(protocol: Protocol) -> None:
    own = deploy(protocol.owner, "mainer_ctrlb_canister", TRILLION)
    ids = [nth_canister(number) for number in range(101)]
    for canister_id in ids[:100]:
        own.add_llm_canister({"canister_id": canister_id})
    with pytest.raises(CanisterError, match="There are already 100 LLM canisters"):
        own.add_llm_canister({"canister_id": ids[100]})
    own.add_llm_canister({"canister_id": ids[3]})
    assert own.getLlmCanisters() == ids[:100]


def nth_canister(number: int) -> str:
    return principal.to_text(number.to_bytes(8, "big") + b"\1\1")


def test_a_share_service_refuses_long_challenges_before_it_takes_cycles(supplied: Protocol) -> None:
    service = supplied.mainer("ShareService")
    agent = Forwarder(supplied.owner, 100 * TRILLION)
    service.addMainerShareAgentCanisterAdmin(supplied.registration(agent.canister_id, "ShareAgent"))
    entry = queued(supplied.open_challenge(), agent.canister_id, service.canister_id)
    for changed in (
        {"challengeQuestion": LONG},
        {"challengeTopic": LONG},
        {"challengeQueuedId": LONG},
        {"challengeId": LONG},
        {"challengeCreatedBy": LONG},
        {"submissionCyclesRequired": HUGE},
        {"challengeTopicStatus": {"Other": LONG}},
    ):
        told = {**entry, **changed}
        answer, kept = agent.call(service, "addChallengeToShareServiceQueue", told, cycles=SHARE_CYCLES)
        assert "are taken" in answer["Err"]["Other"]
        assert kept == 0
    assert service.getChallengeQueueAdmin() == []


def test_long_answers_and_endless_submissions_are_refused(supplied: Protocol) -> None:
    one = supplied.registered_forwarder()
    supplied.game_state.setGameStateLimitsAdmin(limits())
    assert supplied.game_state.getGameStateLimitsAdmin() == limits()
    challenge = supplied.open_challenge()
    entry = queued(challenge, one.canister_id, one.canister_id)

    def submit(told: dict[str, Any]) -> Any:
        answer, _ = one.call(supplied.game_state, "submitChallengeResponse", told, cycles=SUBMISSION_CYCLES)
        return answer

    too_long = submit(answered(entry, one.canister_id, "x" * 21))
    assert too_long == {"Err": {"Other": "challengeAnswer has 21 bytes, at most 20 are taken"}}
    too_long = submit(answered({**entry, "challengeQueuedId": LONG}, one.canister_id))
    assert too_long["Err"]["Other"].startswith("challengeQueuedId has 1000000 bytes")
    for _ in range(100):
        assert "Ok" in submit(answered(entry, one.canister_id, "x" * 20))
    assert (
        "There are already 100 submissions of this mAIner" in submit(answered(entry, one.canister_id))["Err"]["Other"]
    )


def test_an_absurd_score_is_refused_and_the_submission_can_still_be_scored(supplied: Protocol) -> None:
    one = supplied.registered_forwarder()
    challenge = supplied.open_challenge()
    told = answered(queued(challenge, one.canister_id, one.canister_id), one.canister_id)
    one.call(supplied.game_state, "submitChallengeResponse", told, cycles=SUBMISSION_CYCLES)
    judge = supplied.as_official("Judge")
    scored = {**judge.getNextSubmissionToJudge(), "judgedBy": text_of(judge.agent), "scoreSeed": 1}
    with pytest.raises(CanisterError, match="score has more than"):
        judge.addScoredResponse({**scored, "score": HUGE})
    assert judge.addScoredResponse({**scored, "score": 5}) == {"success": True}


# Given up


def give_up(protocol: Protocol, mainer: Forwarder, challenge: dict[str, Any], reason: str = "too long") -> Any:
    told = {"challengeId": challenge["challengeId"], "reason": reason}
    answer, _ = mainer.call(protocol.game_state, "reportChallengeGivenUp", told)
    return answer


def take(protocol: Protocol, mainer: Forwarder) -> Any:
    answer, _ = mainer.call(protocol.game_state, "getRandomOpenChallenge")
    return answer


def test_what_was_given_up_often_enough_is_closed_with_the_reason(supplied: Protocol) -> None:
    one, two = supplied.registered_forwarder(), supplied.registered_forwarder()
    challenge = supplied.open_challenge()
    for mainer in (one, two, one):
        assert take(supplied, mainer)["Ok"]["challengeId"] == challenge["challengeId"]
        assert give_up(supplied, mainer, challenge, "too long" * 1_000) == {"Ok": {"status_code": 200}}
    assert take(supplied, one) == {"Err": {"Other": "There is no open challenge"}}
    assert supplied.game_state.getCurrentChallengesAdmin() == []
    (closed,) = supplied.game_state.getClosedChallengesAdmin()
    reason = closed["challengeStatus"]["Other"]
    assert reason.startswith("given up 3 times, at last because: too long")
    assert len(reason) < 1_100
    assert closed["challengeClosedTimestamp"] is not None
    assert supplied.open_challenge()  # there is room for another one


def test_a_challenge_is_given_up_once_by_those_who_were_handed_it(supplied: Protocol) -> None:
    one, stranger = supplied.registered_forwarder(), Forwarder(supplied.owner, 100 * TRILLION)
    challenge = supplied.open_challenge()
    assert give_up(supplied, stranger, challenge) == {"Err": {"Unauthorized": None}}
    assert give_up(supplied, one, challenge) == {"Err": {"InvalidId": None}}
    assert give_up(supplied, one, {"challengeId": LONG}) == {"Err": {"InvalidId": None}}
    take(supplied, one)
    assert "Ok" in give_up(supplied, one, challenge)
    for _ in range(3):
        assert "not handed out to you" in give_up(supplied, one, challenge)["Err"]["Other"]
    assert [case(now["challengeStatus"]) for now in supplied.game_state.getCurrentChallengesAdmin()] == ["Open"]


def test_a_challenge_that_somebody_answered_stays_open(supplied: Protocol) -> None:
    one, two = supplied.registered_forwarder(), supplied.registered_forwarder()
    challenge = supplied.open_challenge()
    told = answered(queued(challenge, one.canister_id, one.canister_id), one.canister_id)
    one.call(supplied.game_state, "submitChallengeResponse", told, cycles=SUBMISSION_CYCLES)
    for _ in range(4):
        take(supplied, two)
        give_up(supplied, two, challenge)
    assert [now["challengeId"] for now in supplied.game_state.getCurrentChallengesAdmin()] == [challenge["challengeId"]]


def test_a_controller_can_have_challenges_kept_open(supplied: Protocol) -> None:
    one = supplied.registered_forwarder()
    supplied.game_state.setGameStateLimitsAdmin(limits(maxTimesGivenUp=0))
    challenge = supplied.open_challenge()
    for _ in range(4):
        take(supplied, one)
        give_up(supplied, one, challenge)
    assert supplied.game_state.getNumCurrentChallengesAdmin() == 1


LONG_QUESTION = "why? " * 600  # more than the context of an LLM has room for


def fail(mainer: Canister, times: int) -> None:
    for _ in range(times):
        with pytest.raises(CanisterError):
            mainer.triggerChallengeResponseAdmin()


def test_a_mainer_tells_the_game_state_what_it_cannot_answer(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.llm(own)
    supplied.game_state.setGameStateLimitsAdmin(limits(maxTimesGivenUp=1, maxQuestionBytes=10_000))
    challenge = supplied.open_challenge(LONG_QUESTION)
    fail(own, 3)
    (closed, *_) = supplied.game_state.getClosedChallengesAdmin()
    assert closed["challengeId"] == challenge["challengeId"]
    assert "the prompt is too long" in closed["challengeStatus"]["Other"]


def test_a_share_agent_tells_what_its_service_cannot_answer(supplied: Protocol) -> None:
    service = supplied.mainer("ShareService")
    supplied.llm(service)
    agent = supplied.mainer("ShareAgent", service)
    supplied.game_state.setGameStateLimitsAdmin(limits(maxTimesGivenUp=1, maxQuestionBytes=10_000))
    supplied.open_challenge(LONG_QUESTION)
    agent.triggerChallengeResponseAdmin()
    fail(service, 3)
    (closed,) = supplied.game_state.getClosedChallengesAdmin()
    assert "the prompt is too long" in closed["challengeStatus"]["Other"]
    assert agent.getChallengeQueueAdmin() == []


def test_a_mainer_without_a_working_llm_does_not_have_challenges_closed(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.game_state.setGameStateLimitsAdmin(limits(maxTimesGivenUp=1))
    supplied.open_challenge()
    fail(own, 3)
    assert own.getRecentFailuresAdmin()[-1]["dropped"]
    assert supplied.game_state.getClosedChallengesAdmin() == []


def test_a_game_state_that_cannot_be_told_is_no_failure(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.llm(own)
    supplied.open_challenge(LONG_QUESTION)
    fail(own, 2)
    before = len(own.getRecentFailuresAdmin())
    own.setGameStateCanisterId(supplied.creator.canister_id)  # which has no reportChallengeGivenUp
    fail(own, 1)
    actions = {failure["action"]: failure["dropped"] for failure in own.getRecentFailuresAdmin()[before - 1 :]}
    assert actions == {"pull": True, "answer": True}
