"""Counterparts that have the known interface and nothing beyond it: steps that they do not offer are left out, and the
answer says so.
"""

from __future__ import annotations

import pytest

from mainer_nb import artifacts, management
from mainer_nb.errors import CanisterError, RejectError
from tests.mainer_canisters import CONTROLLER_WASM, LLM_WASM, TINY, Protocol, text_of, upload
from tests.original_interface import original


@pytest.fixture
def old(supplied: Protocol, llm_wasm: bytes) -> Protocol:
    """A creator that makes mAIners and LLMs of the known interface, with a Game State of it."""
    controller = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    upload(supplied.creator, CONTROLLER_WASM, original(controller, "mainer_ctrlb_canister"))
    upload(supplied.creator, LLM_WASM, original(llm_wasm, "llama_cpp"))
    game_state = artifacts.canister_wasm("game_state_canister").data()
    wasm = original(game_state, "game_state_canister")
    management.install_code(supplied.owner, supplied.game_state.canister_id, wasm, "upgrade")
    return supplied


def test_every_type_is_made_and_the_answer_names_what_was_left_out(old: Protocol) -> None:
    own = old.mainer("Own")
    made = old.creator.testCreateMainerLlmCanister(own.canister_id)
    assert "; left out: " in made["creationResult"]
    assert "setPromptFormat, which the mAIner does not offer" in made["creationResult"]
    assert "measure_token_cost, which the LLM does not offer" in made["creationResult"]
    assert own.ready() == {"status_code": 200}
    with pytest.raises(RejectError, match="setPromptFormat"):
        own.setPromptFormat({"prefix": "", "suffix": "", "stop": []})
    service = old.mainer("ShareService")
    agent = old.mainer("ShareAgent", service)
    assert agent.getShareServiceCanisterId() == service.canister_id
    (record, *_) = old.creator.getMainers()
    (llm,) = record["llms"]
    assert [step.split(",")[0] for step in llm["content"]["skipped"]] == ["measure_token_cost", "setPromptFormat"]


def test_an_own_mainer_answers(old: Protocol) -> None:
    own = old.mainer("Own")
    old.llm(own)
    old.open_challenge()
    assert "Submitted the answer" in own.triggerChallengeResponseAdmin()["auth"]


def test_a_share_service_that_gives_up_a_challenge_goes_on(old: Protocol) -> None:
    service = old.mainer("ShareService")
    agent = old.mainer("ShareAgent", service)
    old.open_challenge()
    agent.triggerChallengeResponseAdmin()
    for _ in range(3):
        with pytest.raises(CanisterError, match="There is no LLM canister"):
            service.triggerChallengeResponseAdmin()
    assert service.getChallengeQueueAdmin() == []


def order(old: Protocol, **changes: object) -> dict[str, object]:
    return {
        "canisterType": "MainerAgent",
        "selectedModel": TINY,
        "associatedCanisterAddress": None,
        "owner": text_of(old.owner),
        "mainerAgentCanisterType": "Own",
        "key": None,
        "renewedCanisterAddress": None,
        **changes,
    }


def test_controller_and_llm_are_renewed(old: Protocol) -> None:
    own = old.mainer("Own")
    llms = [old.llm(own).canister_id for _ in range(2)]
    renewed = old.creator.orderCanister(order(old, renewedCanisterAddress=own.canister_id))
    assert "getLlmCanisters, which the mAIner does not offer" in renewed["creationResult"]
    for_llm = order(
        old, canisterType="MainerLlm", associatedCanisterAddress=own.canister_id, renewedCanisterAddress=llms[0]
    )
    assert old.creator.orderCanister(for_llm)["newCanisterId"] == llms[0]
    turns = set()
    old.open_challenge()
    for _ in range(2):
        turns.add(own.getRoundRobinCanister()["canister_id"])
        own.triggerChallengeResponseAdmin()
    assert turns == set(llms)


def test_what_is_gone_is_forgotten_as_far_as_they_offer_it(old: Protocol) -> None:
    own = old.mainer("Own")
    gone, kept = (old.llm(own).canister_id for _ in range(2))
    management.delete(old.owner, gone)
    old.creator.forgetCanister({"address": gone})
    assert own.getRoundRobinCanister() == {"canister_id": kept}
    assert own.ready() == {"status_code": 200}
    service = old.mainer("ShareService")
    agent = old.mainer("ShareAgent", service)
    management.delete(old.owner, agent.canister_id)
    forgotten = old.creator.forgetCanister({"address": agent.canister_id})["forgotten"]
    assert "could not remove it from the Game State: it does not offer that" in forgotten
    assert f"could not remove it from ShareService {service.canister_id}: it does not offer that" in forgotten
    assert agent.canister_id not in {mainer["controllerId"] for mainer in old.creator.getMainers()}


def test_a_share_agent_of_a_service_that_does_not_say_what_it_has_waits(old: Protocol) -> None:
    service = old.mainer("ShareService")
    agent = old.mainer("ShareAgent", service)
    old.open_challenge()
    for _ in range(2):
        agent.triggerChallengeResponseAdmin()
    assert agent.getChallengeQueueAdmin() == service.getChallengeQueueAdmin()
    assert len(agent.getChallengeQueueAdmin()) == 2


def test_mainers_are_registered_again(old: Protocol) -> None:
    made = [old.mainer("Own").canister_id for _ in range(2)]
    wasm = original(artifacts.canister_wasm("game_state_canister").data(), "game_state_canister")
    management.install_code(old.owner, old.game_state.canister_id, wasm, "reinstall")
    old.game_state.addOfficialCanister({"address": old.creator.canister_id, "canisterType": "MainerCreator"})
    assert old.creator.registerMainers() == {"registered": made}
    assert old.creator.registerMainers() == {"registered": []}
