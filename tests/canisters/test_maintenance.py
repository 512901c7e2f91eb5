"""What operators do to a mAIner: maintenance, waiting until it is idle, emptying its queue, taking cycles back."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mainer_nb import management
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from tests.mainer_canisters import BILLION, MINIMUM_BALANCE, SHARE_CYCLES, TRILLION, Protocol, deploy, did

ATTEMPTS = 3  # after which a mAIner gives a challenge up


@pytest.fixture
def service(supplied: Protocol) -> Canister:
    """A ShareService with one LLM."""
    mainer = supplied.mainer("ShareService")
    supplied.llm(mainer)
    return mainer


@pytest.fixture
def agent(supplied: Protocol, service: Canister) -> Canister:
    """A ShareAgent of the service, with an open challenge to take."""
    supplied.open_challenge()
    return supplied.mainer("ShareAgent", service)


def refused(method: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(CanisterError) as caught:
        method(*args)
    return str(caught.value)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"nothing happened in {seconds} seconds")


def test_a_mainer_in_maintenance_begins_nothing_and_says_so(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.llm(own)
    supplied.open_challenge()
    assert own.getMaintenanceFlagAdmin() == {"flag": False}
    own.setTimerIntervalAdmin(1)
    own.startTimerExecutionAdmin()
    own.setMaintenanceFlagAdmin(True)
    supplied.upgrade(own)
    assert own.getMaintenanceFlagAdmin() == {"flag": True}
    for method in (own.health, own.triggerChallengeResponseAdmin):
        assert "In maintenance" in refused(method)
    wait_for(lambda: own.getWorkStatusAdmin()["idle"])
    before = (own.getChallengeQueueAdmin(), own.getSubmittedResponsesAdmin())
    run = own.getWorkStatusAdmin()["lastTimerRun"]
    wait_for(lambda: own.getWorkStatusAdmin()["lastTimerRun"] != run)  # the timers are on, and nothing comes of it
    assert (own.getChallengeQueueAdmin(), own.getSubmittedResponsesAdmin()) == before
    own.stopTimerExecutionAdmin()
    own.setMaintenanceFlagAdmin(False)
    assert own.health() == {"status_code": 200}
    own.triggerChallengeResponseAdmin()
    assert own.getSubmittedResponsesAdmin()


def test_what_a_service_in_maintenance_refuses_is_sent_again(
    supplied: Protocol, service: Canister, agent: Canister
) -> None:
    service.setMaintenanceFlagAdmin(True)
    for _ in range(ATTEMPTS + 1):
        assert "In maintenance" in refused(agent.triggerChallengeResponseAdmin)
    (waiting,) = agent.getChallengeQueueAdmin()
    assert agent.getWorkStatusAdmin()["unsent"] == 1
    assert {failure["dropped"] for failure in agent.getRecentFailuresAdmin()} == {False}
    assert agent.getMainerStatisticsAdmin()["totalCyclesBurnt"] == 0
    supplied.upgrade(agent)
    service.setMaintenanceFlagAdmin(False)
    agent.triggerChallengeResponseAdmin()  # sends what waits, and takes another
    assert service.getChallengeQueueAdmin() == agent.getChallengeQueueAdmin()
    assert service.getChallengeQueueAdmin()[0] == waiting
    assert agent.getWorkStatusAdmin()["unsent"] == 0
    assert agent.getMainerStatisticsAdmin()["totalCyclesBurnt"] == 2 * SHARE_CYCLES
    service.triggerChallengeResponseAdmin()
    assert [one["challengeQueuedId"] for one in agent.getSubmittedResponsesAdmin()] == [waiting["challengeQueuedId"]]


def test_what_an_agent_in_maintenance_refuses_is_delivered_later(
    supplied: Protocol, service: Canister, agent: Canister
) -> None:
    agent.triggerChallengeResponseAdmin()
    (waiting,) = agent.getChallengeQueueAdmin()
    agent.setMaintenanceFlagAdmin(True)
    for _ in range(ATTEMPTS + 1):
        refused(service.triggerChallengeResponseAdmin)
    assert agent.getChallengeQueueAdmin() == [waiting]
    assert service.getWorkStatusAdmin()["undelivered"] == 1
    assert service.getWorkStatusAdmin()["oldestUndeliveredTimestamp"] == waiting["challengeQueuedTimestamp"]
    supplied.upgrade(service)
    agent.setMaintenanceFlagAdmin(False)
    refused(service.triggerChallengeResponseAdmin)  # delivers, and has nothing more to do
    assert len(agent.getSubmittedResponsesAdmin()) == 1
    assert service.getWorkStatusAdmin()["undelivered"] == 0


def test_an_llm_that_is_taken_out_of_the_rotation_finishes_its_answer(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    first, second = supplied.llm(own), supplied.llm(own)
    own.setPromptFormat({"prefix": "", "suffix": "", "stop": []})
    first.set_max_tokens({"max_tokens_update": 300, "max_tokens_query": 1})  # long answers
    supplied.open_challenge()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own.triggerChallengeResponseAdmin)
        status = wait_for(lambda: (told := own.getWorkStatusAdmin())["answering"] and told)
        under_way = status["answering"]
        assert (under_way["canister_id"], status["idle"]) == (first.canister_id, False)
        own.remove_llm_canister({"canister_id": first.canister_id})
        own.setMaintenanceFlagAdmin(True)
        answer.result()
    status = own.getWorkStatusAdmin()
    assert (status["answering"], status["idle"], status["openCalls"]) == (None, True, 0)
    assert [one["challengeQueuedId"] for one in own.getSubmittedResponsesAdmin()] == [under_way["challengeQueuedId"]]
    assert own.getRecentFailuresAdmin() == []
    assert own.getRoundRobinCanister()["canister_id"] == second.canister_id


def test_a_queue_is_emptied_when_asked_and_everybody_told(
    supplied: Protocol, service: Canister, agent: Canister
) -> None:
    for _ in range(2):
        agent.triggerChallengeResponseAdmin()
    waiting = service.getChallengeQueueAdmin()
    status = service.getWorkStatusAdmin()
    assert status["queueSize"] == 2
    assert status["oldestQueuedTimestamp"] == waiting[0]["challengeQueuedTimestamp"] < status["timestamp"]
    service.resetChallengeQueueAdmin()
    assert service.getChallengeQueueAdmin() == agent.getChallengeQueueAdmin() == []
    for mainer in (service, agent):
        failures = mainer.getRecentFailuresAdmin()
        assert [one["challengeQueuedId"] for one in failures] == [one["challengeQueuedId"] for one in waiting]
        assert {one["dropped"] for one in failures} == {True}
        assert "a controller took it out of the queue" in failures[0]["reason"]


def test_an_agent_without_service_waits_for_nothing(supplied: Protocol, service: Canister, agent: Canister) -> None:
    agent.triggerChallengeResponseAdmin()
    agent.setShareServiceCanisterId("")
    assert "ShareService is not known" in refused(agent.triggerChallengeResponseAdmin)
    assert agent.getChallengeQueueAdmin() == []
    assert "no longer the ShareService" in agent.getRecentFailuresAdmin()[-1]["reason"]


def test_cycles_are_given_back_but_for_the_minimum(protocol: Protocol) -> None:
    mainer = deploy(protocol.owner, "mainer_ctrlb_canister", 2 * TRILLION)
    to = management.create_canister(protocol.owner, TRILLION)  # empty: it uses nothing up
    asked, before = protocol.cycles(to), protocol.cycles(to)
    assert mainer.withdrawCyclesAdmin({"to": to, "amount": 300 * BILLION}) == {"cycles": 300 * BILLION}
    given = mainer.withdrawCyclesAdmin({"to": to, "amount": None})["cycles"]
    assert protocol.cycles(to) - before == 300 * BILLION + given - (asked - before)  # what asking for a balance costs
    assert MINIMUM_BALANCE <= protocol.cycles(mainer) < MINIMUM_BALANCE + 100 * BILLION
    assert "InsuffientCycles" in refused(mainer.withdrawCyclesAdmin, {"to": to, "amount": 1})
    assert "is not a canister id" in refused(mainer.withdrawCyclesAdmin, {"to": "rubbish", "amount": None})


def test_what_is_frozen_is_not_given_away(protocol: Protocol) -> None:
    mainer = deploy(protocol.owner, "mainer_ctrlb_canister", 20 * TRILLION)
    management.update_settings(protocol.owner, mainer.canister_id, freezing_threshold=20 * 365 * 86_400)
    status = management.status(protocol.owner, mainer.canister_id)
    frozen = status.cycles_per_day * status.freezing_threshold // 86_400
    assert frozen > MINIMUM_BALANCE
    mainer.withdrawCyclesAdmin({"to": protocol.creator.canister_id, "amount": None})
    assert mainer.getMainerCanisterType() == {"NA": None}  # it still answers
    assert protocol.cycles(mainer) >= frozen


@pytest.mark.parametrize(
    ("method", "args", "variant"),
    [
        ("setMaintenanceFlagAdmin", [True], "Unauthorized"),
        ("getWorkStatusAdmin", [], "Unauthorized"),
        ("withdrawCyclesAdmin", [{"to": "rrkah-fqaaa-aaaaa-aaaaq-cai", "amount": None}], "Unauthorized"),
        ("resetChallengeQueueAdmin", [], "StatusCode"),
    ],
)
def test_strangers_may_not(guarded: Protocol, method: str, args: list[Any], variant: str) -> None:
    mainer = Canister(
        guarded.stranger(guarded.game_state).agent,
        deploy(guarded.owner, "mainer_ctrlb_canister", TRILLION).canister_id,
        did("mainer_ctrlb_canister"),
        "mAIner",
    )
    with pytest.raises(CanisterError) as caught:
        getattr(mainer, method)(*args)
    assert caught.value.variant == variant
