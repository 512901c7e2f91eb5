"""A mAIner: pulls challenges, has them answered, submits the answers; and what it does when something fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mainer_nb import artifacts, management
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from mainer_nb.localnet.sandbox import Sandbox
from mainer_nb.protocol import principal
from mainer_nb.upload import CONTROLLER
from tests.forwarder import Forwarder
from tests.mainer_canisters import (
    BILLION,
    CREATION_FEE,
    MINIMUM_BALANCE,
    PROMPT_FORMAT,
    SHARE_CYCLES,
    SUBMISSION_CYCLES,
    TRILLION,
    Protocol,
    answered,
    deploy,
    did,
    queued,
    text_of,
)

MAX_QUEUED = 5


@pytest.fixture
def own(supplied: Protocol) -> Canister:
    """An Own mAIner with one LLM."""
    mainer = supplied.mainer("Own")
    supplied.llm(mainer)
    return mainer


@pytest.fixture
def service(supplied: Protocol) -> Canister:
    """A ShareService with one LLM."""
    mainer = supplied.mainer("ShareService")
    supplied.llm(mainer)
    return mainer


@pytest.fixture(scope="module")
def guarded_mainer(guarded: Protocol) -> Canister:
    """A mAIner for tests that change nothing."""
    mainer = deploy(guarded.owner, "mainer_ctrlb_canister", TRILLION)
    mainer.name = "mAIner"
    return mainer


def the_llm(protocol: Protocol, mainer: Canister) -> Canister:
    (canister_id,) = mainer.getLlmCanisters()
    return Canister(protocol.owner, canister_id, did("llama_cpp"), "LLM")


def error(method: Callable[..., Any], *args: Any) -> CanisterError:
    with pytest.raises(CanisterError) as caught:
        method(*args)
    return caught.value


# Answers


def test_a_challenge_is_answered_and_submitted(supplied: Protocol, own: Canister) -> None:
    challenge = supplied.open_challenge("Which way is up?")
    told = own.triggerChallengeResponseAdmin()
    assert challenge["challengeId"] in told["auth"]
    (mine,) = own.getSubmittedResponsesAdmin()
    (stored,) = supplied.game_state.getSubmissionsAdmin()
    assert mine == stored
    assert stored["submittedBy"] == stored["challengeQueuedBy"] == stored["challengeQueuedTo"] == own.canister_id
    assert stored["challengeQuestion"] == "Which way is up?"
    assert stored["submissionStatus"] == {"Submitted": None}
    answer = stored["challengeAnswer"]
    assert answer == answer.strip() != ""
    assert "\n" not in answer  # the stop of the prompt format
    assert own.getChallengeQueueAdmin() == []
    assert own.getRecentFailuresAdmin() == []
    statistics = own.getMainerStatisticsAdmin()
    assert statistics["totalCyclesBurnt"] == SUBMISSION_CYCLES
    assert 0 <= statistics["cycleBalance"] - supplied.cycles(own) < 10_000_000  # what asking for the status costs


def test_the_prompt_is_in_the_models_form_and_its_cache_is_removed(supplied: Protocol, own: Canister) -> None:
    own.setPromptFormat({**PROMPT_FORMAT, "prefix": "<<", "suffix": ">>"})
    challenge = supplied.open_challenge("Which way is up?")
    own.triggerChallengeResponseAdmin()
    llm = the_llm(supplied, own)
    (stored,) = own.getSubmittedResponsesAdmin()
    # Had the mAIner asked in other words, the same seed would not give the same text.
    topic, question = challenge["challengeTopic"], challenge["challengeQuestion"]
    prompt = f"<<Give as brief an answer as possible to this question about {topic}: {question}>>"
    cache = f"{stored['challengeQueuedId']}.cache"
    mine = f".canister_cache/{own.canister_id}/sessions/{cache}"
    assert "there is no file" in str(error(llm.file_download_chunk, {"filename": mine, "chunksize": 1, "offset": 0}))
    llm.new_chat({"args": ["--prompt-cache", cache]})
    fixed = ["--prompt-cache", cache, "--prompt-cache-all", "--simple-io", "--no-display-prompt", "-n", "1024"]
    sampling = ["--seed", str(stored["challengeAnswerSeed"]), "--temp", "0.3", "--reverse-prompt", "\n"]
    text, left, generating = "", prompt, 0
    while generating < 6:
        output = llm.run_update({"args": [*fixed, *sampling, "-p", left]})
        text += output["output"]
        if output["prompt_remaining"] == "":
            generating, left = generating + 1, ""
            if output["generated_eog"]:
                break
    assert text.strip().split("\n")[0].strip() == stored["challengeAnswer"]


def test_llms_take_turns(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    first, second = supplied.llm(own), supplied.llm(own)
    supplied.open_challenge()
    turns = []
    for _ in range(3):
        turns.append(own.getRoundRobinCanister()["canister_id"])
        own.triggerChallengeResponseAdmin()
    assert turns == [first.canister_id, second.canister_id, first.canister_id]
    own.setRoundRobinLLMs(1)
    assert {own.getRoundRobinCanister()["canister_id"] for _ in range(2)} == {first.canister_id}


def test_recent_submissions_are_the_last_five(supplied: Protocol, own: Canister) -> None:
    supplied.open_challenge()
    limits = supplied.game_state.getGameStateThresholdsAdmin()
    supplied.game_state.setGameStateThresholdsAdmin({**limits, "thresholdMaxOpenSubmissions": 6})
    for _ in range(6):
        own.triggerChallengeResponseAdmin()
    everything = own.getSubmittedResponsesAdmin()
    assert len(everything) == 6
    assert own.getRecentSubmittedResponsesAdmin() == everything[1:]


# The queue


def test_the_queue_is_fifo_and_takes_five(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.open_challenge()
    for _ in range(MAX_QUEUED + 2):
        error(own.triggerChallengeResponseAdmin)  # without an LLM nothing is answered
    kept = own.getChallengeQueueAdmin()
    # what cannot be answered is dropped after three attempts, the oldest first
    assert [entry["challengeQueuedTimestamp"] for entry in kept] == sorted(
        entry["challengeQueuedTimestamp"] for entry in kept
    )
    dropped = [failure["challengeQueuedId"] for failure in own.getRecentFailuresAdmin() if failure["dropped"]]
    assert len(dropped) == 2
    assert all(identifier < kept[0]["challengeQueuedId"] for identifier in dropped)
    assert len(kept) == MAX_QUEUED

    supplied.llm(own)
    for entry in kept[:2]:
        own.triggerChallengeResponseAdmin()
        assert own.getSubmittedResponsesAdmin()[-1]["challengeQueuedId"] == entry["challengeQueuedId"]


def test_nothing_to_do_is_told(supplied: Protocol, own: Canister) -> None:
    assert error(own.triggerChallengeResponseAdmin).value == "There is no open challenge"
    service = supplied.mainer("ShareService")
    assert "queue is empty" in str(error(service.triggerChallengeResponseAdmin))


# Failures


def test_an_llm_that_is_stopped_fails_the_challenge_three_times(supplied: Protocol, own: Canister) -> None:
    llm = the_llm(supplied, own)
    management.stop(supplied.owner, llm.canister_id)
    supplied.open_challenge()
    for attempt in range(1, 4):
        assert llm.canister_id in str(error(own.triggerChallengeResponseAdmin))
        (*_, failure) = own.getRecentFailuresAdmin()
        assert failure["action"] == "answer"
        assert failure["dropped"] == (attempt == 3)
    assert len(own.getChallengeQueueAdmin()) == 2  # one was pulled at each attempt, the oldest is given up
    management.start(supplied.owner, llm.canister_id)
    for _ in range(2):
        own.triggerChallengeResponseAdmin()
    assert len(own.getSubmittedResponsesAdmin()) == 2


def test_an_empty_answer_is_a_failure(supplied: Protocol, own: Canister) -> None:
    # every character ends the answer, so that none is left
    everything = [chr(code) for code in range(32, 127)] + ["\n"]
    own.setPromptFormat({"prefix": "", "suffix": "", "stop": everything})
    supplied.open_challenge()
    assert "generated no text" in str(error(own.triggerChallengeResponseAdmin))
    assert supplied.game_state.getNumSubmissionsAdmin() == 0
    assert len(own.getChallengeQueueAdmin()) == 1


def test_a_text_that_fills_the_context_is_the_answer(supplied: Protocol, own: Canister) -> None:
    own.setPromptFormat({"prefix": "", "suffix": "", "stop": []})  # and the tiny model hardly ever ends by itself
    the_llm(supplied, own).set_max_tokens({"max_tokens_update": 1000, "max_tokens_query": 1})
    supplied.open_challenge()
    own.triggerChallengeResponseAdmin()
    (stored,) = own.getSubmittedResponsesAdmin()
    assert len(stored["challengeAnswer"]) > 100
    assert own.getRecentFailuresAdmin() == []


def test_a_challenge_closed_meanwhile_costs_a_fifth_and_is_given_up(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    challenge = supplied.open_challenge()
    error(own.triggerChallengeResponseAdmin)  # queued, but there is no LLM yet
    rival, judge = supplied.registered_forwarder(), supplied.as_official("Judge")
    for points in (1, 2, 3):
        entry = queued(challenge, rival.canister_id, rival.canister_id)
        told = answered(entry, rival.canister_id)
        rival.call(supplied.game_state, "submitChallengeResponse", told, cycles=SUBMISSION_CYCLES)
        submission = judge.getNextSubmissionToJudge()
        judge.addScoredResponse({**submission, "judgedBy": text_of(judge.agent), "score": points, "scoreSeed": 1})
    supplied.llm(own)
    assert error(own.triggerChallengeResponseAdmin).variant == "InvalidId"
    (*_, failure) = own.getRecentFailuresAdmin()
    assert (failure["action"], failure["reason"], failure["dropped"]) == ("submit", "InvalidId", True)
    assert own.getChallengeQueueAdmin() == own.getSubmittedResponsesAdmin() == []
    assert own.getMainerStatisticsAdmin()["totalCyclesBurnt"] == SUBMISSION_CYCLES // 5


def test_an_answer_waits_while_the_game_state_cannot_be_reached(supplied: Protocol, own: Canister) -> None:
    supplied.open_challenge()
    llm = the_llm(supplied, own)
    management.stop(supplied.owner, llm.canister_id)
    error(own.triggerChallengeResponseAdmin)
    management.start(supplied.owner, llm.canister_id)
    management.stop(supplied.owner, supplied.game_state.canister_id)
    error(own.triggerChallengeResponseAdmin)  # answered now, but not submitted
    failures = own.getRecentFailuresAdmin()
    assert ("submit", False) in {(failure["action"], failure["dropped"]) for failure in failures}
    assert own.getChallengeQueueAdmin() == []
    supplied.upgrade(own)  # the answer is kept
    management.start(supplied.owner, supplied.game_state.canister_id)
    own.triggerChallengeResponseAdmin()
    assert len(own.getSubmittedResponsesAdmin()) == 2


def test_without_game_state_or_type_nothing_is_pulled(protocol: Protocol) -> None:
    mainer = deploy(protocol.owner, "mainer_ctrlb_canister", TRILLION)
    assert "setMainerCanisterType" in str(error(mainer.triggerChallengeResponseAdmin))
    assert "setMainerCanisterType" in str(error(mainer.startTimerExecutionAdmin))
    mainer.setMainerCanisterType("Own")
    assert "setGameStateCanisterId" in str(error(mainer.triggerChallengeResponseAdmin))
    mainer.setGameStateCanisterId(protocol.game_state.canister_id)
    assert error(mainer.triggerChallengeResponseAdmin).variant == "Unauthorized"  # not registered
    assert "There is no LLM canister" in str(error(mainer.ready))
    assert "There is no LLM canister" in str(error(mainer.getRoundRobinCanister))


# Cycles

# What a message keeps back for its own execution, 40 billion, and sets aside for the response of one call: a canister's
# balance, as it sees it itself, is less by it.
KEPT_BACK = 83 * BILLION


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        ("Own", MINIMUM_BALANCE + SUBMISSION_CYCLES),
        ("ShareAgent", MINIMUM_BALANCE + SHARE_CYCLES + SUBMISSION_CYCLES),
    ],
)
def test_below_what_the_next_step_needs_a_mainer_pauses(protocol: Protocol, kind: str, needed: int) -> None:
    mainer = deploy(protocol.owner, "mainer_ctrlb_canister", needed - BILLION)
    mainer.setMainerCanisterType(kind)
    mainer.setGameStateCanisterId(protocol.game_state.canister_id)
    mainer.setShareServiceCanisterId(protocol.creator.canister_id)
    protocol.game_state.addMainerAgentCanisterAdmin(protocol.registration(mainer.canister_id, kind))
    protocol.open_challenge()
    assert mainer.getIssueFlagsAdmin() == {"lowCycleBalance": False}
    refused = error(mainer.triggerChallengeResponseAdmin)
    assert (refused.variant, refused.value) == ("InsuffientCycles", needed)
    assert mainer.getIssueFlagsAdmin() == {"lowCycleBalance": True}
    assert mainer.getChallengeQueueAdmin() == []

    management.top_up(protocol.owner, mainer.canister_id, KEPT_BACK + 10 * BILLION)
    error(mainer.triggerChallengeResponseAdmin)  # goes on, to where it lacks an LLM or a ShareService
    assert mainer.getIssueFlagsAdmin() == {"lowCycleBalance": False}


def test_an_answer_that_cannot_be_paid_for_is_kept_until_it_can(supplied: Protocol, service: Canister) -> None:
    # enough to send two challenges to the service, but to submit only one answer
    balance = MINIMUM_BALANCE + 2 * SHARE_CYCLES + SUBMISSION_CYCLES + KEPT_BACK + 15 * BILLION
    supplied.creator.setCreationCycles({"controller": CREATION_FEE + balance, "llm": 5 * TRILLION})
    agent = supplied.mainer("ShareAgent", service)
    supplied.open_challenge()
    for _ in range(2):
        agent.triggerChallengeResponseAdmin()
    for _ in range(2):
        service.triggerChallengeResponseAdmin()
    assert len(agent.getSubmittedResponsesAdmin()) == 1
    assert agent.getIssueFlagsAdmin() == {"lowCycleBalance": True}
    (failure,) = agent.getRecentFailuresAdmin()
    assert (failure["action"], failure["dropped"]) == ("submit", False)
    assert agent.getChallengeQueueAdmin() == service.getChallengeQueueAdmin() == []

    management.top_up(supplied.owner, agent.canister_id, TRILLION)
    agent.triggerChallengeResponseAdmin()
    first, second = agent.getSubmittedResponsesAdmin()
    assert first["challengeQueuedId"] < second["challengeQueuedId"]
    assert agent.getIssueFlagsAdmin() == {"lowCycleBalance": False}


# Settings


def test_settings_survive_an_upgrade(supplied: Protocol, own: Canister) -> None:
    supplied.open_challenge()
    own.triggerChallengeResponseAdmin()
    own.setRoundRobinLLMs(3)
    own.updateAgentSettings({"cyclesBurnRate": {"cycles": 7, "timeInterval": "Daily"}})

    def state() -> list[Any]:
        statistics = own.getMainerStatisticsAdmin()
        return [
            own.getLlmCanisters(),
            own.getMainerCanisterType(),
            own.getGameStateCanisterId(),
            own.getSubmittedResponsesAdmin(),
            own.getPromptFormat(),
            own.getRoundRobinCanister(),
            (statistics["totalCyclesBurnt"], statistics["cyclesBurnRate"]),
        ]

    before = state()
    supplied.upgrade(own)
    assert state() == before
    own.triggerChallengeResponseAdmin()
    assert len(own.getSubmittedResponsesAdmin()) == 2


def test_llms_are_added_once_and_can_be_removed(protocol: Protocol) -> None:
    mainer = deploy(protocol.owner, "mainer_ctrlb_canister", TRILLION)
    mainer.setMainerCanisterType("Own")
    one, two = ({"canister_id": each.canister_id} for each in (protocol.creator, protocol.game_state))
    for canister in (one, two, one):
        mainer.add_llm_canister(canister)
    assert mainer.getLlmCanisters() == [one["canister_id"], two["canister_id"]]
    mainer.remove_llm_canister(one)
    assert mainer.getLlmCanisters() == [two["canister_id"]]
    assert error(mainer.remove_llm_canister, one).variant == "InvalidId"
    mainer.reset_llm_canisters()
    assert mainer.getLlmCanisters() == []
    assert "is not a canister id" in str(error(mainer.add_llm_canister, {"canister_id": "rubbish"}))
    mainer.setMainerCanisterType("ShareAgent")
    assert "A ShareAgent has no LLM" in str(error(mainer.add_llm_canister, one))


def test_a_mainer_without_access_to_its_llm_says_so(supplied: Protocol, own: Canister) -> None:
    llm = the_llm(supplied, own)
    management.update_settings(supplied.owner, llm.canister_id, controllers=[text_of(supplied.owner)])
    assert llm.canister_id in str(error(own.checkAccessToLLMs))


@pytest.mark.parametrize(
    ("method", "args", "variant"),
    [
        ("amiController", [], "StatusCode"),
        ("ready", [], "StatusCode"),
        ("checkAccessToLLMs", [], "StatusCode"),
        ("setMainerCanisterType", ["Own"], "StatusCode"),
        ("setGameStateCanisterId", ["rrkah-fqaaa-aaaaa-aaaaq-cai"], "StatusCode"),
        ("setShareServiceCanisterId", ["rrkah-fqaaa-aaaaa-aaaaq-cai"], "StatusCode"),
        ("setPromptFormat", [PROMPT_FORMAT], "StatusCode"),
        ("updateAgentSettings", [{"cyclesBurnRate": {"cycles": 1, "timeInterval": "Daily"}}], "StatusCode"),
        ("add_llm_canister", [{"canister_id": "rrkah-fqaaa-aaaaa-aaaaq-cai"}], "StatusCode"),
        ("remove_llm_canister", [{"canister_id": "rrkah-fqaaa-aaaaa-aaaaq-cai"}], "StatusCode"),
        ("reset_llm_canisters", [], "StatusCode"),
        ("setRoundRobinLLMs", [1], "StatusCode"),
        ("getPromptFormat", [], "Unauthorized"),
        ("getMainerStatisticsAdmin", [], "Unauthorized"),
        ("getIssueFlagsAdmin", [], "Unauthorized"),
        ("getChallengeQueueAdmin", [], "Unauthorized"),
        ("getSubmittedResponsesAdmin", [], "Unauthorized"),
        ("getRecentSubmittedResponsesAdmin", [], "Unauthorized"),
        ("getRecentFailuresAdmin", [], "Unauthorized"),
        ("startTimerExecutionAdmin", [], "Unauthorized"),
        ("stopTimerExecutionAdmin", [], "Unauthorized"),
        ("triggerChallengeResponseAdmin", [], "Unauthorized"),
        ("setTimerIntervalAdmin", [1], "Unauthorized"),
    ],
)
def test_strangers_may_not(
    guarded: Protocol, guarded_mainer: Canister, method: str, args: list[Any], variant: str
) -> None:
    refused = error(getattr(guarded.stranger(guarded_mainer), method), *args)
    assert (refused.variant, refused.value) == (variant, 401 if variant == "StatusCode" else None)


# Sharing


def test_a_share_agents_challenge_is_answered_by_its_service(supplied: Protocol, service: Canister) -> None:
    agents = [supplied.mainer("ShareAgent", service) for _ in range(2)]
    supplied.open_challenge()
    balance = supplied.cycles(service)
    for agent in agents:
        agent.triggerChallengeResponseAdmin()
    waiting = service.getChallengeQueueAdmin()
    assert [entry["challengeQueuedBy"] for entry in waiting] == [agent.canister_id for agent in agents]
    assert waiting == [entry for agent in agents for entry in agent.getChallengeQueueAdmin()]
    assert supplied.cycles(service) - balance > 2 * SHARE_CYCLES - BILLION

    for agent in agents:
        assert agent.canister_id in service.triggerChallengeResponseAdmin()["auth"]
        (mine,) = agent.getSubmittedResponsesAdmin()
        assert mine["submittedBy"] == mine["challengeQueuedBy"] == agent.canister_id
        assert mine["challengeQueuedTo"] == service.canister_id
        assert agent.getChallengeQueueAdmin() == []
        assert agent.getMainerStatisticsAdmin()["totalCyclesBurnt"] == SHARE_CYCLES + SUBMISSION_CYCLES
    assert service.getChallengeQueueAdmin() == service.getSubmittedResponsesAdmin() == []
    assert len(supplied.game_state.getSubmissionsAdmin()) == 2


def test_a_full_service_takes_nothing_and_keeps_nothing(supplied: Protocol, service: Canister) -> None:
    greedy, late = (supplied.mainer("ShareAgent", service) for _ in range(2))
    supplied.open_challenge()
    for _ in range(MAX_QUEUED):
        greedy.triggerChallengeResponseAdmin()
    assert "nothing is pulled" in str(error(greedy.triggerChallengeResponseAdmin))
    assert "queue of the ShareService is full" in str(error(late.triggerChallengeResponseAdmin))
    assert late.getChallengeQueueAdmin() == []
    assert late.getMainerStatisticsAdmin()["totalCyclesBurnt"] == 0
    assert len(service.getChallengeQueueAdmin()) == MAX_QUEUED


def test_what_the_service_gives_up_leaves_the_agents_queue(supplied: Protocol, service: Canister) -> None:
    agent = supplied.mainer("ShareAgent", service)
    supplied.open_challenge()
    agent.triggerChallengeResponseAdmin()
    management.stop(supplied.owner, the_llm(supplied, service).canister_id)
    for _ in range(3):
        error(service.triggerChallengeResponseAdmin)
    assert agent.getChallengeQueueAdmin() == service.getChallengeQueueAdmin() == []
    (failure,) = agent.getRecentFailuresAdmin()
    assert "the ShareService gave up" in failure["reason"]


def test_what_a_service_lost_is_waited_for_no_more(supplied: Protocol, service: Canister) -> None:
    agent = supplied.mainer("ShareAgent", service)
    lost = supplied.open_challenge()
    for _ in range(MAX_QUEUED):
        agent.triggerChallengeResponseAdmin()
    wasm = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    management.install_code(supplied.owner, service.canister_id, wasm, "reinstall")
    assert "Unauthorized" in str(error(agent.triggerChallengeResponseAdmin))
    assert agent.getChallengeQueueAdmin() == []
    failures = agent.getRecentFailuresAdmin()
    assert failures[0]["challengeId"] == lost["challengeId"]
    assert f"the ShareService {service.canister_id} does not have it any more" in failures[0]["reason"]

    service.setMainerCanisterType("ShareService")
    service.addMainerShareAgentCanisterAdmin(supplied.registration(agent.canister_id, "ShareAgent"))
    agent.triggerChallengeResponseAdmin()
    agent.triggerChallengeResponseAdmin()  # it looks at what waits, and leaves it
    assert len(agent.getChallengeQueueAdmin()) == len(service.getChallengeQueueAdmin()) == 2


def test_what_another_service_has_is_waited_for_no_more(supplied: Protocol, service: Canister) -> None:
    agent = supplied.mainer("ShareAgent", service)
    supplied.open_challenge()
    for _ in range(MAX_QUEUED):
        agent.triggerChallengeResponseAdmin()
    other = supplied.mainer("ShareService")
    other.addMainerShareAgentCanisterAdmin(supplied.registration(agent.canister_id, "ShareAgent"))
    agent.setShareServiceCanisterId(other.canister_id)
    agent.triggerChallengeResponseAdmin()
    (waiting,) = agent.getChallengeQueueAdmin()
    assert other.getChallengeQueueAdmin() == [waiting]
    assert "which is no longer the ShareService" in agent.getRecentFailuresAdmin()[0]["reason"]


def test_an_answer_that_cannot_be_delivered_yet_is_waited_for(supplied: Protocol, service: Canister) -> None:
    agent = supplied.mainer("ShareAgent", service)
    supplied.open_challenge()
    agent.triggerChallengeResponseAdmin()
    (waiting,) = agent.getChallengeQueueAdmin()
    management.stop(supplied.owner, agent.canister_id)
    error(service.triggerChallengeResponseAdmin)
    management.start(supplied.owner, agent.canister_id)
    assert service.getChallengeQueueAdmin() == []
    agent.triggerChallengeResponseAdmin()
    assert waiting in agent.getChallengeQueueAdmin()
    service.triggerChallengeResponseAdmin()
    assert waiting not in agent.getChallengeQueueAdmin()
    assert agent.getSubmittedResponsesAdmin()


def test_the_service_answers_registered_agents_with_enough_cycles_only(supplied: Protocol, service: Canister) -> None:
    agent, unknown = (Forwarder(supplied.owner, 10 * TRILLION) for _ in range(2))
    service.addMainerShareAgentCanisterAdmin(supplied.registration(agent.canister_id, "ShareAgent"))
    challenge = supplied.open_challenge()

    def send(sender: Forwarder, by: str, to: str, cycles: int = SHARE_CYCLES) -> tuple[Any, int]:
        return sender.call(service, "addChallengeToShareServiceQueue", queued(challenge, by, to), cycles=cycles)

    me, you = agent.canister_id, service.canister_id
    unauthorized = {"Err": {"Unauthorized": None}}
    assert send(unknown, unknown.canister_id, you) == (unauthorized, 0)
    assert send(agent, unknown.canister_id, you) == (unauthorized, 0)
    assert send(agent, me, me) == (unauthorized, 0)
    assert send(agent, me, you, SHARE_CYCLES - 1) == ({"Err": {"InsuffientCycles": SHARE_CYCLES}}, 0)
    result, kept = send(agent, me, you, 2 * SHARE_CYCLES)
    assert (result, kept) == ({"Ok": queued(challenge, me, you)}, SHARE_CYCLES)
    result, kept = send(agent, me, you)
    assert ("already queued" in result["Err"]["Other"], kept) == (True, 0)
    own = supplied.mainer("Own")
    entry = queued(challenge, me, own.canister_id)
    assert agent.call(own, "addChallengeToShareServiceQueue", entry, cycles=SHARE_CYCLES) == (unauthorized, 0)


def test_the_agent_takes_answers_from_its_service_to_its_own_questions_only(
    supplied: Protocol, service: Canister
) -> None:
    agent = supplied.mainer("ShareAgent", service)
    supplied.open_challenge()
    agent.triggerChallengeResponseAdmin()
    (entry,) = agent.getChallengeQueueAdmin()
    stand_in, stranger = (Forwarder(supplied.owner, 10 * TRILLION) for _ in range(2))

    def answer(sender: Forwarder, **changes: Any) -> Any:
        told = {**answered(entry, agent.canister_id), **changes}
        return sender.call(agent, "addChallengeResponseToShareAgent", told)[0]

    unauthorized = {"Err": {"Unauthorized": None}}
    assert answer(stranger) == unauthorized
    agent.setShareServiceCanisterId(stand_in.canister_id)
    assert answer(stand_in) == unauthorized  # it was queued to another service
    to_me = {"challengeQueuedTo": stand_in.canister_id}
    assert answer(stand_in, **to_me, challengeQueuedBy=stranger.canister_id) == unauthorized
    assert answer(stand_in, **to_me, challengeQueuedId="never queued") == {"Err": {"InvalidId": None}}
    assert agent.getChallengeQueueAdmin() == [entry]
    assert answer(stand_in, **to_me, challengeQuestion="another question") == {"Ok": {"status_code": 200}}
    (submission,) = agent.getSubmittedResponsesAdmin()
    assert (submission["challengeQuestion"], submission["challengeAnswer"]) == (entry["challengeQuestion"], "Because.")
    assert answer(stand_in, **to_me) == {"Err": {"InvalidId": None}}  # once is enough


def test_who_can_use_a_share_service(supplied: Protocol, service: Canister) -> None:
    agent = supplied.registration(supplied.creator.canister_id, "ShareAgent")
    own = supplied.registration(supplied.creator.canister_id, "Own")
    assert service.addMainerShareAgentCanister(agent)["address"] == agent["address"]
    assert "only a MainerAgent of type ShareAgent" in str(error(service.addMainerShareAgentCanister, own))
    assert "not a canister id" in str(error(service.addMainerShareAgentCanister, {**agent, "address": "rubbish"}))
    assert "not a ShareService" in str(error(supplied.mainer("Own").addMainerShareAgentCanister, agent))
    assert error(supplied.stranger(service).addMainerShareAgentCanister, agent).variant == "Unauthorized"
    service.removeMainerShareAgentCanister({"address": agent["address"]})
    assert error(service.removeMainerShareAgentCanister, {"address": agent["address"]}).variant == "InvalidId"


# Timers


def wait_for(condition: Callable[[], Any], seconds: float = 90) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"nothing happened in {seconds} seconds")


def test_timers_run_the_actions_and_run_again_after_an_upgrade(supplied: Protocol, service: Canister) -> None:
    agent = supplied.mainer("ShareAgent", service)
    supplied.open_challenge()
    for mainer in (agent, service):
        mainer.setTimerIntervalAdmin(1)
        mainer.startTimerExecutionAdmin()
    wait_for(agent.getSubmittedResponsesAdmin)
    for mainer in (agent, service):
        supplied.upgrade(mainer)
    count = len(agent.getSubmittedResponsesAdmin())
    wait_for(lambda: len(agent.getSubmittedResponsesAdmin()) > count)
    for mainer in (agent, service):
        mainer.stopTimerExecutionAdmin()


@pytest.mark.parametrize(("interval", "first"), [(60, 5), (2, 2)])
def test_timers_run_first_after_five_seconds_or_a_shorter_interval(interval: int, first: int) -> None:
    with Sandbox() as ic:
        mainer = ic.create_canister(artifacts.canister_wasm(CONTROLLER).data(), did=did(CONTROLLER).read_text())
        mainer.setMainerCanisterType("Own")
        mainer.setGameStateCanisterId(principal.to_text(mainer.id))  # which has no challenges: each pull is a failure
        mainer.setTimerIntervalAdmin(interval)
        ic.pause()
        mainer.startTimerExecutionAdmin()
        pulls = []
        for seconds in (first - 1, 1):
            ic.advance_time(seconds)
            ic.tick(5)
            pulls.append(len(mainer.getRecentFailuresAdmin()["Ok"]))
        assert pulls == [0, 1]


def test_stopped_timers_run_nothing(supplied: Protocol, own: Canister) -> None:
    supplied.open_challenge()
    own.setTimerIntervalAdmin(1)
    stops: list[Callable[[], object]] = [own.stopTimerExecutionAdmin, lambda: own.setMainerCanisterType("Own")]
    for stop in stops:
        own.startTimerExecutionAdmin()
        stop()
    clock = supplied.mainer("Own")  # without LLM; shows when the time of the timers would have come
    clock.setTimerIntervalAdmin(1)
    clock.startTimerExecutionAdmin()
    wait_for(lambda: len(clock.getChallengeQueueAdmin()) > 2)
    clock.stopTimerExecutionAdmin()
    assert own.getSubmittedResponsesAdmin() == own.getChallengeQueueAdmin() == []
