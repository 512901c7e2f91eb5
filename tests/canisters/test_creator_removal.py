"""Removing LLMs and mAIners through the creator: what comes back, what is forgotten, what is undone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mainer_nb import management
from mainer_nb.canister import Canister, case
from mainer_nb.errors import CanisterError
from tests.mainer_canisters import BILLION, TRILLION, Protocol, text_of

YEAR = 365 * 86_400
# What is used up or destroyed of a canister's cycles: 60 billion that pay for the return, 40 that a message keeps back.
NOT_RETURNED = 101 * BILLION


def at(canister: Canister | str) -> str:
    return canister if isinstance(canister, str) else canister.canister_id


def remove_llm(protocol: Protocol, llm: Canister, to: str = "Creator") -> Any:
    return protocol.creator.removeLlmAdmin({"address": at(llm), "cyclesTo": to})


def remove_mainer(protocol: Protocol, mainer: Canister, even_with_agents: bool = False) -> Any:
    return protocol.creator.removeMainerAdmin({"address": at(mainer), "evenWithAgents": even_with_agents})


def refused(method: Callable[..., Any], *args: Any, **named: Any) -> CanisterError:
    with pytest.raises(CanisterError) as caught:
        method(*args, **named)
    return caught.value


def balance(protocol: Protocol, canister: Canister) -> int:
    """The balance of what the creator made, also when it is frozen."""
    return int(protocol.creator.canisterStatusAdmin({"address": at(canister)})["cycles"])


def gone(protocol: Protocol, *canisters: Canister) -> bool:
    """Whether these do not exist, and neither creator nor Game State know them."""
    known = {each for mainer in protocol.creator.getMainers() for each in (mainer["controllerId"], *mainer["llmIds"])}
    known |= {each["address"] for each in protocol.game_state.getMainerAgentCanistersForUser()}
    return all(
        at(canister) not in known and not management.exists(protocol.owner, at(canister)) for canister in canisters
    )


def test_an_llm_goes_with_its_cycles_to_creator_or_mainer(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    first, second, third = (supplied.llm(own) for _ in range(3))
    for llm, to, receiver in ((first, "Creator", supplied.creator), (second, "Mainer", own)):
        (estimated,) = supplied.creator.estimateRemovalAdmin({"address": at(llm)})["canisters"]
        before = supplied.cycles(receiver)
        told = remove_llm(supplied, llm, to)
        (removed,) = told["removed"]
        assert removed["address"] == estimated["address"] == at(llm)
        assert abs(removed["cyclesReturned"] - estimated["cyclesReturned"]) < BILLION
        assert 0 < estimated["cycles"] - removed["cyclesReturned"] < NOT_RETURNED
        assert abs(supplied.cycles(receiver) - before - removed["cyclesReturned"]) < BILLION
        assert gone(supplied, llm)
    assert own.getLlmCanisters() == [at(third)]
    supplied.open_challenge()
    own.triggerChallengeResponseAdmin()
    assert "is no canister that this creator made" in str(refused(remove_llm, supplied, first))


def test_what_comes_back_and_what_is_lost_is_all_that_there_was(supplied: Protocol) -> None:
    """To the cycle but for what the network charges for the messages, which is told by what an empty canister pays."""
    own = supplied.mainer("Own")
    llm = supplied.llm(own)
    supplied.creator.stopCanisterAdmin({"address": at(own)})  # nothing is used up by what it does
    supplied.creator.stopCanisterAdmin({"address": at(llm)})
    creator = supplied.cycles(supplied.creator)
    there = balance(supplied, own) + balance(supplied, llm)
    told = remove_mainer(supplied, own)
    returned, destroyed = (
        sum(each[name] for each in told["removed"]) for name in ("cyclesReturned", "cyclesDestroyed")
    )
    assert returned == told["cyclesReturned"]
    costs = there - returned - destroyed
    assert 0 < costs < BILLION // 2  # of the code that returns them, twice
    assert abs(supplied.cycles(supplied.creator) - creator - returned) < BILLION // 2  # of the creator's own messages
    assert gone(supplied, own, llm)


def test_one_of_two_llms_finishes_its_answer_before_it_goes(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    first, second = supplied.llm(own), supplied.llm(own)
    own.setPromptFormat({"prefix": "", "suffix": "", "stop": []})
    first.set_max_tokens({"max_tokens_update": 300, "max_tokens_query": 1})  # a long answer
    supplied.open_challenge()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(own.triggerChallengeResponseAdmin)
        while not own.getWorkStatusAdmin()["answering"]:
            pass
        busy = refused(remove_llm, supplied, first)
        assert (busy.variant, busy.value) == ("StatusCode", 202)
        assert own.getLlmCanisters() == [at(second)]
        answer.result()
    remove_llm(supplied, first)
    assert gone(supplied, first)
    (answered,) = own.getSubmittedResponsesAdmin()
    assert len(answered["challengeAnswer"]) > 100
    assert own.getRecentFailuresAdmin() == []
    own.triggerChallengeResponseAdmin()
    assert len(own.getSubmittedResponsesAdmin()) == 2


def test_a_mainer_goes_with_its_llms_and_is_forgotten(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    llms = [supplied.llm(own) for _ in range(2)]
    estimated = supplied.creator.estimateRemovalAdmin({"address": at(own)})
    told = remove_mainer(supplied, own)
    assert {each["address"] for each in told["removed"]} == {at(own), *(at(llm) for llm in llms)}
    assert abs(told["cyclesReturned"] - estimated["cyclesReturned"]) < 3 * BILLION
    assert gone(supplied, own, *llms)
    (*_, operation) = supplied.creator.getOperationsAdmin()
    assert (operation["operation"], operation["address"]) == ("remove", at(own))
    assert str(told["cyclesReturned"]) in operation["outcome"]["Done"]
    assert supplied.mainer("Own").health() == {"status_code": 200}


def test_what_waits_in_a_mainer_is_told(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.open_challenge()
    refused(own.triggerChallengeResponseAdmin)  # it has no LLM
    assert remove_mainer(supplied, own)["notes"] == ["1 challenges of its queue are dropped"]


@pytest.mark.parametrize("state", ["frozen", "stopped", "without code", "almost empty"])
def test_whatever_state_it_is_in_a_mainer_can_be_removed(supplied: Protocol, state: str) -> None:
    if state == "almost empty":
        supplied.creator.setCreationCycles({"controller": 620 * BILLION, "llm": 5 * TRILLION})
    own = supplied.mainer("Own")
    llm = supplied.llm(own)
    for canister in (own, llm):
        if state == "frozen":
            management.update_settings(supplied.owner, at(canister), freezing_threshold=1000 * YEAR)
        elif state == "stopped":
            management.stop(supplied.owner, at(canister))
        elif state == "without code":
            uninstall = "service : { uninstall_code : (record { canister_id : principal }) -> () }"
            ic = Canister(supplied.owner, management.MANAGEMENT, uninstall)
            ic.uninstall_code({"canister_id": at(canister)}, effective_canister_id=at(canister))
    there = balance(supplied, own) + balance(supplied, llm)
    told = remove_mainer(supplied, own)
    assert there - told["cyclesReturned"] < 2 * NOT_RETURNED
    assert gone(supplied, own, llm)


@pytest.mark.parametrize("state", ["frozen", "stopped", "without code", "deleted"])
def test_an_llm_is_removed_whatever_state_its_mainer_is_in(supplied: Protocol, state: str) -> None:
    own = supplied.mainer("Own")
    llm = supplied.llm(own)
    if state == "frozen":
        management.update_settings(supplied.owner, at(own), freezing_threshold=1000 * YEAR)
    elif state == "stopped":
        management.stop(supplied.owner, at(own))
    elif state == "without code":
        uninstall = "service : { uninstall_code : (record { canister_id : principal }) -> () }"
        ic = Canister(supplied.owner, management.MANAGEMENT, uninstall)
        ic.uninstall_code({"canister_id": at(own)}, effective_canister_id=at(own))
    else:
        management.delete(supplied.owner, at(own))
    told = remove_llm(supplied, llm)
    assert not management.exists(supplied.owner, at(llm))
    if state == "stopped":
        assert management.status(supplied.owner, at(own)).status == "stopped"
        management.start(supplied.owner, at(own))
    if state in ("frozen", "stopped"):
        assert own.getLlmCanisters() == []
    notes = {
        "frozen": "without which it does not answer",
        "stopped": "",
        "without code": "has no code",
        "deleted": "is gone",
    }
    assert notes[state] in "; ".join(told["notes"])


# ShareServices


def test_a_share_service_with_agents_goes_only_when_told_to(supplied: Protocol) -> None:
    service = supplied.mainer("ShareService")
    llm = supplied.llm(service)
    agents = [supplied.mainer("ShareAgent", service) for _ in range(2)]
    supplied.open_challenge()
    for agent in agents:
        agent.triggerChallengeResponseAdmin()
    assert supplied.creator.estimateRemovalAdmin({"address": at(service)})["agents"] == [at(agent) for agent in agents]
    told = str(refused(remove_mainer, supplied, service))
    assert all(at(agent) in told for agent in agents)
    assert service.health() == {"status_code": 200}

    notes = remove_mainer(supplied, service, even_with_agents=True)["notes"]
    assert gone(supplied, service, llm)
    for agent in agents:
        assert f"ShareAgent {at(agent)} has no ShareService now" in notes
        assert agent.getChallengeQueueAdmin() == []
        assert "gave up" in agent.getRecentFailuresAdmin()[0]["reason"]
        assert agent.getShareServiceCanisterId() == ""
        assert "ShareService is not known" in str(refused(agent.triggerChallengeResponseAdmin))
    assert {mainer["shareServiceId"] for mainer in supplied.creator.getMainers()} == {None}


def test_a_share_agent_goes_and_its_service_forgets_it(supplied: Protocol) -> None:
    service = supplied.mainer("ShareService")
    supplied.llm(service)
    agent, other = (supplied.mainer("ShareAgent", service) for _ in range(2))
    remove_mainer(supplied, agent)
    assert gone(supplied, agent)
    assert refused(service.removeMainerShareAgentCanister, {"address": at(agent)}).variant == "InvalidId"
    supplied.open_challenge()
    other.triggerChallengeResponseAdmin()
    service.triggerChallengeResponseAdmin()
    assert len(other.getSubmittedResponsesAdmin()) == 1


# What fails


def test_a_removal_that_fails_leaves_all_as_it_was(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    llm = supplied.llm(own)
    management.stop(supplied.owner, supplied.game_state.canister_id)
    assert "step remove it from the Game State" in str(refused(remove_mainer, supplied, own))
    management.start(supplied.owner, supplied.game_state.canister_id)
    assert own.health() == own.ready() == {"status_code": 200}
    assert case(supplied.creator.canisterStatusAdmin({"address": at(llm)})["status"]) == "running"
    (mainer,) = supplied.creator.getMainers()
    assert (mainer["controllerId"], mainer["llmIds"]) == (at(own), [at(llm)])
    remove_mainer(supplied, own)
    assert gone(supplied, own, llm)


def test_an_llm_that_the_creator_lost_goes_back_to_its_mainer(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    llm = supplied.llm(own)
    management.update_settings(supplied.owner, at(llm), controllers=[text_of(supplied.owner), at(own)])
    assert str(refused(remove_llm, supplied, llm))
    assert own.getLlmCanisters() == [at(llm)]
    assert own.ready() == {"status_code": 200}


def test_llms_and_mainers_are_removed_by_their_own_methods(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    llm = supplied.llm(own)
    assert "remove a mAIner with removeMainerAdmin" in str(refused(remove_llm, supplied, own))
    assert "remove it with removeLlmAdmin" in str(refused(remove_mainer, supplied, llm))
