"""Creating mAIners: what is made works and is registered; what fails leaves nothing, cycles included."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import wasmtime

from mainer_nb import artifacts, management
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from tests.mainer_canisters import (
    BILLION,
    CONTROLLER_WASM,
    CREATION_FEE,
    LLM_MODEL,
    LLM_WASM,
    PROMPT_FORMAT,
    TINY,
    TRILLION,
    Protocol,
    deploy,
    did,
    next_id,
    someone,
    text_of,
    upload,
)

# Valid in form, but no LLM: it answers nothing.
EMPTY_WASM = bytes(wasmtime.wat2wasm("(module (memory 1))"))
# Sections that add up, but code that no network accepts.
UNKNOWN_IMPORT_WASM = bytes(wasmtime.wat2wasm('(module (import "outer" "space" (func)) (memory 1))'))
CHUNK_STORE = """service : {
  stored_chunks : (record { canister_id : principal }) -> (vec record { hash : blob });
  clear_chunk_store : (record { canister_id : principal }) -> ();
}"""
# What a failed creation may cost: the network's fee for the canister, and what bringing back its cycles takes: its last
# message sends all that it has but what is kept back for the message itself, 40 billion.
COST_OF_FAILURE = CREATION_FEE + 150 * BILLION


@contextmanager
def nothing_left(protocol: Protocol) -> Iterator[None]:
    """Checks that what is tried leaves no canister, no record and no registration, and gives the cycles back."""
    creator = protocol.creator
    before = (creator.getMainers(), protocol.game_state.getMainerAgentCanistersForUser())
    marker = management.create_canister(protocol.owner, TRILLION)
    cycles = protocol.cycles(creator)
    yield
    assert cycles - protocol.cycles(creator) < COST_OF_FAILURE
    assert not management.exists(protocol.owner, next_id(marker))
    after = (creator.getMainers(), protocol.game_state.getMainerAgentCanistersForUser())
    assert after == before


# What is made


def test_an_own_mainer_with_two_llms(supplied: Protocol, llm_wasm: bytes) -> None:
    own = supplied.mainer("Own")
    owner, creator = text_of(supplied.owner), supplied.creator.canister_id
    assert own.getMainerCanisterType() == {"Own": None}
    assert own.getGameStateCanisterId() == supplied.game_state.canister_id
    assert set(management.status(supplied.owner, own.canister_id).controllers) == {owner, creator}
    (registered,) = supplied.game_state.getMainerAgentCanistersForUser()
    assert (registered["address"], registered["ownedBy"], registered["createdBy"]) == (own.canister_id, owner, creator)

    llms = [supplied.llm(own) for _ in range(2)]
    assert own.getLlmCanisters() == [llm.canister_id for llm in llms]
    assert own.getPromptFormat() == PROMPT_FORMAT
    assert own.ready() == own.checkAccessToLLMs() == {"status_code": 200}
    status = management.status(supplied.owner, llms[0].canister_id)
    assert set(status.controllers) == {own.canister_id, creator, owner}
    assert status.module_hash == hashlib.sha256(llm_wasm).hexdigest()
    (entry,) = supplied.creator.getMainers()
    assert entry["controllerId"] == own.canister_id
    assert entry["llmIds"] == own.getLlmCanisters()
    assert entry["owner"] == owner


def test_the_copy_of_the_model_is_the_model(supplied: Protocol, model: bytes) -> None:
    llm = supplied.llm(supplied.mainer("Own"))
    copy = b""
    while True:
        part = llm.file_download_chunk({"filename": "models/model.gguf", "chunksize": 300_000, "offset": len(copy)})
        copy += part["chunk"]
        if part["done"]:
            break
    assert copy == model


def test_the_tokens_per_call_are_measured(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    made = supplied.creator.testCreateMainerLlmCanister(own.canister_id)
    assert "tokens per update call, measured at" in made["creationResult"]
    llm = supplied.seen_by(supplied.owner, supplied.llm(own))
    limits = llm.get_max_tokens()
    assert 1 <= limits["max_tokens_query"] <= limits["max_tokens_update"]


def test_a_share_service_and_its_agents(supplied: Protocol) -> None:
    service = supplied.mainer("ShareService")
    agents = [supplied.mainer("ShareAgent", service) for _ in range(2)]
    assert {agent.getShareServiceCanisterId() for agent in agents} == {service.canister_id}
    assert [entry["shareServiceId"] for entry in supplied.creator.getMainers()] == [None, *[service.canister_id] * 2]
    for agent in agents:
        assert agent.ready() == {"status_code": 200}
        with pytest.raises(CanisterError) as caught:
            supplied.creator.testCreateMainerLlmCanister(agent.canister_id)
        assert caught.value.value == "ShareAgent type canister is not allowed to control an LLM canister"


def test_a_wasm_is_stored_once_and_again_when_the_chunk_store_was_cleared(supplied: Protocol) -> None:
    creator = supplied.creator.canister_id
    ic = Canister(supplied.owner, management.MANAGEMENT, CHUNK_STORE)

    def stored() -> Any:
        return ic.stored_chunks({"canister_id": creator}, effective_canister_id=creator)

    supplied.mainer("Own")
    parts = stored()
    assert len(parts) == 1
    supplied.mainer("Own")
    assert stored() == parts
    ic.clear_chunk_store({"canister_id": creator}, effective_canister_id=creator)
    assert supplied.mainer("Own").health() == {"status_code": 200}
    assert stored() == parts


def test_the_game_state_and_the_creator_itself_may_create(supplied: Protocol) -> None:
    order = {
        "canisterType": "MainerAgent",
        "selectedModel": TINY,
        "associatedCanisterAddress": None,
        "owner": "2vxsx-fae",
        "mainerAgentCanisterType": "Own",
    }
    master = supplied.registered_forwarder()
    result, _ = master.call(supplied.creator, "createCanister", order)
    assert result == {"Err": {"Unauthorized": None}}
    # the Game State is only known by its id: let the forwarder be it for this order
    supplied.creator.setMasterCanisterId(master.canister_id)
    result, _ = master.call(supplied.creator, "createCanister", order)
    assert "step register with the Game State" in result["Err"]["Other"]  # allowed, but the forwarder registers nobody


def test_an_order_names_owner_model_and_kind(supplied: Protocol) -> None:
    owner = someone(supplied.running)
    order = {
        "canisterType": "MainerAgent",
        "selectedModel": TINY,
        "associatedCanisterAddress": None,
        "owner": text_of(owner),
        "mainerAgentCanisterType": "Own",
    }
    own = supplied.creator.createCanister(order)["newCanisterId"]
    assert text_of(owner) in management.status(owner, own).controllers
    for_llm = {**order, "canisterType": "MainerLlm", "associatedCanisterAddress": own}
    llm = supplied.creator.createCanister(for_llm)["newCanisterId"]
    assert set(management.status(owner, llm).controllers) == {own, supplied.creator.canister_id, text_of(owner)}
    with pytest.raises(CanisterError, match='no LLM wasm for "another"'):
        supplied.creator.createCanister({**for_llm, "selectedModel": {"Other": "another"}})
    with pytest.raises(CanisterError, match="associatedCanisterAddress is missing"):
        supplied.creator.createCanister({**for_llm, "associatedCanisterAddress": None})
    with pytest.raises(CanisterError, match="Unsupported"):
        supplied.creator.createCanister({**order, "canisterType": "Judge"})


def test_the_model_uploaded_last_is_taken(supplied: Protocol, llm_wasm: bytes, model: bytes) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, {"LlmModel": "Gemma3_270M"}, model)
    with pytest.raises(CanisterError, match="no LLM wasm for Gemma3_270M: upload it first"):
        supplied.creator.testCreateMainerLlmCanister(own.canister_id)
    upload(supplied.creator, {"LlmWasm": "Gemma3_270M"}, llm_wasm)
    assert "Gemma3_270M" in supplied.creator.testCreateMainerLlmCanister(own.canister_id)["creationResult"]
    upload(supplied.creator, LLM_MODEL, model)  # is there already
    assert '"tiny"' in supplied.creator.testCreateMainerLlmCanister(own.canister_id)["creationResult"]


def test_creations_at_the_same_time_and_a_new_model_meanwhile(supplied: Protocol, model: bytes) -> None:
    own = supplied.mainer("Own")
    with ThreadPoolExecutor(4) as pool:
        llms = [pool.submit(supplied.llm, own) for _ in range(3)]
        newer = model + bytes(5_000_000)  # replaces the file that is being copied
        pool.submit(upload, supplied.creator, LLM_MODEL, newer).result()
        ids = {llm.result().canister_id for llm in llms}
    assert set(own.getLlmCanisters()) == ids
    assert len(ids) == 3
    assert own.ready() == {"status_code": 200}


# What is refused before anything is made


def refused(protocol: Protocol, method: str, *args: Any) -> str:
    """The error of a creation that must not cost anything."""
    cycles = protocol.cycles(protocol.creator)
    with nothing_left(protocol), pytest.raises(CanisterError) as caught:
        getattr(protocol.creator, method)(*args)
    assert cycles - protocol.cycles(protocol.creator) < BILLION
    return str(caught.value)


def test_nothing_was_uploaded(protocol: Protocol) -> None:
    missing = refused(protocol, "testCreateMainerControllerCanister", "Own", None)
    assert "There is no mAIner controller wasm: upload it first" in missing
    assert "No model file was uploaded yet" in refused(protocol, "testCreateMainerLlmCanister", "aaaaa-aa")


def test_the_game_state_is_not_known(running: Any) -> None:
    agent = someone(running)
    creator = deploy(agent, "mainer_creator_canister", 10 * TRILLION)
    with pytest.raises(CanisterError, match="give it with setMasterCanisterId"):
        creator.testCreateMainerControllerCanister("Own", None)
    for wrong in ("", "not a canister", "2vxsx-fae"):
        with pytest.raises(CanisterError, match="is not a canister id"):
            creator.setMasterCanisterId(wrong)


def test_a_share_agent_needs_a_share_service(supplied: Protocol) -> None:
    own = supplied.mainer("Own").canister_id

    def wrong(service: str | None) -> str:
        return refused(supplied, "testCreateMainerControllerCanister", "ShareAgent", service)

    assert "A ShareAgent needs a ShareService" in wrong(None)
    assert f"Canister {own} is not a mAIner of type ShareService" in wrong(own)
    assert "is not a canister id" in wrong("rubbish")
    assert "is no mAIner that the creator controls" in wrong(supplied.game_state.canister_id)
    nobody = next_id(management.create_canister(supplied.owner, TRILLION))
    assert "is no mAIner that the creator controls" in wrong(nobody)


def test_a_mainer_is_of_some_type(supplied: Protocol) -> None:
    assert "not NA" in refused(supplied, "testCreateMainerControllerCanister", "NA", None)


def test_an_llm_needs_a_mainer_that_the_creator_controls(supplied: Protocol) -> None:
    foreign = deploy(supplied.owner, "mainer_ctrlb_canister", 10 * TRILLION)
    for controller, why in [
        ("rubbish", "is not a canister id"),
        (text_of(supplied.owner), "is not a canister id"),
        (supplied.game_state.canister_id, "is no mAIner that the creator controls"),
        (foreign.canister_id, "is no mAIner that the creator controls"),
        (next_id(foreign.canister_id), "is no mAIner that the creator controls"),
    ]:
        assert why in refused(supplied, "testCreateMainerLlmCanister", controller)


def test_the_creator_is_out_of_cycles(running: Any, llm_wasm: bytes, model: bytes) -> None:
    poor = Protocol.deploy(running, creator_cycles=6 * TRILLION)
    poor.upload_artefacts(llm_wasm, model)
    own = poor.mainer("Own")
    with pytest.raises(CanisterError) as caught:
        poor.creator.testCreateMainerLlmCanister(own.canister_id)
    assert caught.value.variant == "InsuffientCycles"
    assert caught.value.value > 5 * TRILLION
    management.top_up(poor.owner, poor.creator.canister_id, 5 * TRILLION)
    assert poor.llm(own).ready() == {"status_code": 200}


# What fails on the way


def failure(protocol: Protocol, method: str, *args: Any) -> str:
    """The error of a creation that fails at a step, having left nothing."""
    with nothing_left(protocol), pytest.raises(CanisterError) as caught:
        getattr(protocol.creator, method)(*args)
    assert "is left" not in str(caught.value)
    return str(caught.value)


def test_a_controller_that_cannot_be_installed(supplied: Protocol) -> None:
    upload(supplied.creator, CONTROLLER_WASM, UNKNOWN_IMPORT_WASM)
    assert "step install code" in failure(supplied, "testCreateMainerControllerCanister", "Own", None)


def test_a_controller_that_is_none(supplied: Protocol) -> None:
    upload(supplied.creator, CONTROLLER_WASM, EMPTY_WASM)
    assert "step health" in failure(supplied, "testCreateMainerControllerCanister", "Own", None)


def test_a_game_state_that_does_not_know_the_creator(supplied: Protocol) -> None:
    other = deploy(supplied.owner, "game_state_canister", 10 * TRILLION)
    supplied.creator.setMasterCanisterId(other.canister_id)
    error = failure(supplied, "testCreateMainerControllerCanister", "Own", None)
    assert "step register with the Game State: addMainerAgentCanister answered: Unauthorized" in error


def test_an_llm_that_cannot_be_installed(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, LLM_WASM, UNKNOWN_IMPORT_WASM)
    assert "step install code" in failure(supplied, "testCreateMainerLlmCanister", own.canister_id)
    assert own.getLlmCanisters() == []


def test_an_llm_that_is_none(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, LLM_WASM, EMPTY_WASM)
    assert "step health" in failure(supplied, "testCreateMainerLlmCanister", own.canister_id)


def test_another_canister_in_place_of_the_llm(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, LLM_WASM, artifacts.canister_wasm("game_state_canister").data())
    assert "step log_pause" in failure(supplied, "testCreateMainerLlmCanister", own.canister_id)


def test_a_model_that_cannot_be_loaded(supplied: Protocol, model: bytes) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, LLM_MODEL, model[: len(model) // 2])
    assert "step load_model" in failure(supplied, "testCreateMainerLlmCanister", own.canister_id)
    assert own.getLlmCanisters() == []
    upload(supplied.creator, LLM_MODEL, model)
    assert supplied.llm(own).ready() == {"status_code": 200}


def without(wasm: bytes, method: str) -> bytes:
    """A canister that lacks an update method, as older ones do: the same code, but the method has another name."""
    export = f"canister_update {method}".encode()
    assert export in wasm
    return wasm.replace(export, export[:-1] + b"_")


def test_an_llm_that_takes_no_files(supplied: Protocol, llm_wasm: bytes) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, LLM_WASM, without(llm_wasm, "file_upload_chunk"))
    error = failure(supplied, "testCreateMainerLlmCanister", own.canister_id)
    assert "step copy the model file: the chunk at byte 0 failed 3 times" in error


def test_an_llm_that_cannot_measure_gets_the_known_limit(supplied: Protocol, llm_wasm: bytes) -> None:
    own = supplied.mainer("Own")
    upload(supplied.creator, LLM_WASM, without(llm_wasm, "measure_token_cost"))
    made = supplied.creator.testCreateMainerLlmCanister(own.canister_id)
    assert "13 tokens per update call, not measured" in made["creationResult"]
    llm = Canister(supplied.owner, made["newCanisterId"], did("llama_cpp"), "LLM")
    assert llm.get_max_tokens() == {"max_tokens_update": 13, "max_tokens_query": 1}


def test_a_mainer_that_cannot_take_the_llm(supplied: Protocol) -> None:
    controller = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    upload(supplied.creator, CONTROLLER_WASM, without(controller, "add_llm_canister"))
    own = supplied.mainer("Own")
    assert "step add_llm_canister" in failure(supplied, "testCreateMainerLlmCanister", own.canister_id)
    assert own.getLlmCanisters() == []


def test_a_share_service_that_cannot_register(supplied: Protocol) -> None:
    controller = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    upload(supplied.creator, CONTROLLER_WASM, without(controller, "addMainerShareAgentCanister"))
    service = supplied.mainer("ShareService")
    upload(supplied.creator, CONTROLLER_WASM, controller)
    error = failure(supplied, "testCreateMainerControllerCanister", "ShareAgent", service.canister_id)
    assert "step register with the ShareService" in error  # the Game State had registered it, and forgot it again


def test_too_few_cycles_for_the_new_canister(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.creator.setCreationCycles({"controller": CREATION_FEE, "llm": CREATION_FEE + 1000})
    assert "step install code" in failure(supplied, "testCreateMainerLlmCanister", own.canister_id)
    assert "step install code" in failure(supplied, "testCreateMainerControllerCanister", "Own", None)


# Upgrades


def test_everything_survives_an_upgrade(supplied: Protocol) -> None:
    own = supplied.mainer("Own")
    supplied.llm(own)
    creator = supplied.creator
    creator.setCreationCycles({"controller": 2 * TRILLION, "llm": 4 * TRILLION})

    def state() -> list[Any]:
        return [
            creator.getMainers(),
            creator.getArtefacts(),
            creator.getModelPromptFormat(TINY),
            creator.getMasterCanisterId(),
            creator.getCreationCycles(),
        ]

    before = state()
    supplied.upgrade(creator)
    assert state() == before
    assert supplied.llm(own).ready() == {"status_code": 200}
    supplied.mainer("ShareService")


def test_a_prompt_format_that_was_not_set(protocol: Protocol) -> None:
    with pytest.raises(CanisterError, match='No prompt format was set for "tiny"'):
        protocol.creator.getModelPromptFormat(TINY)
