"""LLMs made of a template: a snapshot of an LLM canister that has loaded its model and was never used."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from mainer_nb import artifacts, management
from mainer_nb.canister import Canister, case
from mainer_nb.errors import CanisterError, RejectError
from mainer_nb.localnet import server
from mainer_nb.localnet.network import EmbeddedNetwork
from tests import tiny_gguf
from tests.localnet.serving import serving
from tests.mainer_canisters import (
    CREATION_FEE,
    LLM_MODEL,
    LLM_WASM,
    PROMPT_FORMAT,
    TINY,
    TRILLION,
    Protocol,
    next_id,
    someone,
    text_of,
    upload,
)

MOST_ROUNDS = 12


@pytest.fixture
def templated(supplied: Protocol) -> Protocol:
    """A creator that makes LLMs of templates, with everything uploaded."""
    supplied.creator.setTemplates(True)
    return supplied


def template(protocol: Protocol) -> Any:
    """What the creator tells of the template of the tiny model, a record; None if there is none."""
    (record,) = [each for each in protocol.creator.getArtefacts() if case(each["target"]) == "LlmModel"]
    return record["template"]


def makings(protocol: Protocol) -> list[dict[str, Any]]:
    return [llm["making"] for mainer in protocol.creator.getMainers() for llm in mainer["llms"]]


def answer(llm: Canister) -> str:
    """What an LLM says to a prompt."""
    llm.new_chat({"args": ["--prompt-cache", "a.cache"]})
    return str(
        llm.run_update({"args": ["--prompt-cache", "a.cache", "-p", "Q: a?", "-n", "8", "--temp", "0"]})["output"]
    )


def test_llms_are_made_of_a_template_in_few_rounds_and_answer_alike(templated: Protocol, llm_wasm: bytes) -> None:
    own = templated.mainer("Own")
    llms = [templated.llm(own) for _ in range(3)]
    first, *further = makings(templated)
    assert [case(each["how"]) for each in (first, *further)] == ["template"] * 3
    assert all(each["rounds"] <= MOST_ROUNDS < first["rounds"] for each in further)
    assert own.getLlmCanisters() == [llm.canister_id for llm in llms]
    assert own.ready() == own.checkAccessToLLMs() == {"status_code": 200}
    assert own.getPromptFormat() == PROMPT_FORMAT
    seen = [templated.seen_by(templated.owner, llm) for llm in llms]
    assert len({answer(llm) for llm in seen}) == 1
    assert len({str(llm.get_max_tokens()) for llm in seen}) == 1
    owner, creator = text_of(templated.owner), templated.creator.canister_id
    for llm in llms:
        status = management.status(templated.owner, llm.canister_id)
        assert set(status.controllers) == {own.canister_id, creator, owner}


def test_without_templates_the_model_is_copied(supplied: Protocol) -> None:
    supplied.llm(supplied.mainer("Own"))
    (making,) = makings(supplied)
    assert case(making["how"]) == "copied"
    assert making["rounds"] > MOST_ROUNDS
    assert template(supplied) is None


def test_a_template_has_a_canister_of_its_own_that_has_nothing_else(templated: Protocol) -> None:
    templated.llm(templated.mainer("Own"))
    found = template(templated)
    assert found["current"]
    assert found["cyclesPerDay"] > 0
    assert management.module_hash(templated.owner, found["canisterId"]) is None
    with pytest.raises(RejectError, match="controller"):
        management.status(templated.owner, found["canisterId"])


def test_nothing_of_an_llm_in_use_gets_into_the_next(templated: Protocol) -> None:
    own = templated.mainer("Own")
    used = templated.seen_by(templated.owner, templated.llm(own))
    fresh_files = files(used)
    used.set_access({"level": 1})
    used.log_resume()
    used.new_chat({"args": ["--prompt-cache", "secret.cache"]})
    used.run_update({"args": ["--prompt-cache", "secret.cache", "-p", "a secret", "-n", "2"]})
    assert files(used) != fresh_files
    fresh = templated.seen_by(templated.owner, templated.llm(own))
    assert fresh.get_max_tokens() == used.get_max_tokens()
    assert fresh.get_access()["level"] == 0
    assert files(fresh) == fresh_files
    assert fresh.get_chats()["chats"] == []
    with pytest.raises(CanisterError):
        templated.seen_by(someone(templated.running), fresh).check_access()


def files(llm: Canister) -> list[str]:
    """The files of an LLM canister, prompt caches and logs among them."""
    return sorted(entry["filename"] for entry in llm.recursive_dir_content_query({"dir": ".", "max_entries": 0}))


def test_a_template_outlives_the_first_llm_and_an_upgrade_of_the_creator(templated: Protocol) -> None:
    own = templated.mainer("Own")
    first = templated.llm(own)
    before = template(templated)
    management.delete(templated.owner, first.canister_id)
    templated.creator.forgetCanister({"address": first.canister_id})
    wasm = artifacts.canister_wasm("mainer_creator_canister").data()
    management.install_code(templated.owner, templated.creator.canister_id, wasm, "upgrade")
    assert template(templated) == before
    second = templated.seen_by(templated.owner, templated.llm(own))
    assert answer(second)
    (making,) = makings(templated)
    assert case(making["how"]) == "template"
    assert making["rounds"] <= MOST_ROUNDS


def test_another_model_replaces_the_template_once_its_own_is_ready(templated: Protocol, tmp_path: Path) -> None:
    own = templated.mainer("Own")
    templated.llm(own)
    before = template(templated)
    other = tiny_gguf.write(tmp_path / "other.gguf", context=1024).read_bytes()
    upload(templated.creator, LLM_MODEL, other)
    stale = template(templated)
    assert (stale["canisterId"], stale["current"]) == (before["canisterId"], False)
    templated.llm(own)
    after = template(templated)
    assert after["current"]
    assert after["canisterId"] != before["canisterId"]
    assert not management.exists(templated.owner, before["canisterId"])


def test_a_template_that_cannot_be_made_leaves_nothing_and_says_why(templated: Protocol) -> None:
    upload(templated.creator, LLM_WASM, bytes(wasmtime.wat2wasm("(module (memory 1))")))
    own = templated.mainer("Own")
    marker = management.create_canister(templated.owner, TRILLION)
    with pytest.raises(CanisterError, match="health"):
        templated.creator.testCreateMainerLlmCanister(own.canister_id)
    made, again = next_id(marker), next_id(next_id(marker))
    assert not management.exists(templated.owner, made)
    assert not management.exists(templated.owner, again)
    assert template(templated) is None


def test_a_snapshot_that_may_not_be_loaded_yet_is_copied_around(tmp_path: Path, llm_wasm: bytes, model: bytes) -> None:
    with EmbeddedNetwork(tmp_path / "waiting", snapshot_wait=600) as network, serving(network) as port:
        root_key, folder = network.root_key.hex(), str(tmp_path / "waiting")
        protocol = Protocol.deploy(server.Info(f"http://127.0.0.1:{port}", root_key, os.getpid(), folder, time.time()))
        protocol.upload_artefacts(llm_wasm, model)
        protocol.creator.setTemplates(True)
        llm = protocol.seen_by(protocol.owner, protocol.llm(protocol.mainer("Own")))
        assert answer(llm)
        (making,) = makings(protocol)
        assert case(making["how"]) == "copied"
        ((entry,),) = [mainer["llms"] for mainer in protocol.creator.getMainers()]
        assert "Try again later" in entry["content"]["skipped"][0]
        assert template(protocol) is not None


def test_a_renewed_llm_is_made_of_the_template(templated: Protocol) -> None:
    own = templated.mainer("Own")
    llm = templated.seen_by(templated.owner, templated.llm(own))
    said = answer(llm)
    llm.set_max_tokens({"max_tokens_update": 3, "max_tokens_query": 3})
    templated.creator.orderCanister(
        {
            "canisterType": "MainerLlm",
            "selectedModel": TINY,
            "associatedCanisterAddress": own.canister_id,
            "owner": text_of(templated.owner),
            "mainerAgentCanisterType": "NA",
            "key": None,
            "renewedCanisterAddress": llm.canister_id,
        }
    )
    (making,) = makings(templated)
    assert case(making["how"]) == "template"
    assert own.getLlmCanisters() == [llm.canister_id]
    assert answer(llm) == said
    assert llm.get_max_tokens()["max_tokens_update"] != 3


def test_without_templates_again_their_cycles_come_back(templated: Protocol) -> None:
    templated.llm(templated.mainer("Own"))
    found = template(templated)
    before = templated.cycles(templated.creator)
    templated.creator.setTemplates(False)
    assert template(templated) is None
    assert not management.exists(templated.owner, found["canisterId"])
    given = templated.creator.getCreationCycles()["llm"] - CREATION_FEE
    assert templated.cycles(templated.creator) - before > given - TRILLION // 2


def test_only_controllers_choose(guarded: Protocol, running: server.Info) -> None:
    stranger = guarded.seen_by(someone(running), guarded.creator)
    with pytest.raises(CanisterError, match="Unauthorized"):
        stranger.setTemplates(True)
    assert stranger.getTemplates() is False


def test_the_wasm_of_a_template_is_that_of_the_model(templated: Protocol, llm_wasm: bytes) -> None:
    own = templated.mainer("Own")
    templated.llm(own)
    # the same code with a custom section is another module
    upload(templated.creator, LLM_WASM, llm_wasm + bytes([0, 2, 1, 110]))
    assert not template(templated)["current"]
    llm = templated.llm(own)
    assert template(templated)["current"]
    assert management.module_hash(templated.owner, llm.canister_id) != management.module_hash(
        templated.owner, own.getLlmCanisters()[0]
    )
