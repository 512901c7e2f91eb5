"""What a creator's controllers do to the canisters that it made: looking, running, upgrading, snapshots, settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from mainer_nb import artifacts, management
from mainer_nb.canister import Canister, case
from mainer_nb.errors import CanisterError
from mainer_nb.fleet import snapshots
from tests.mainer_canisters import (
    BILLION,
    CONTROLLER_WASM,
    LLM_WASM,
    TINY,
    TRILLION,
    Protocol,
    deploy,
    someone,
    text_of,
    upload,
)

MAINER_WASM = artifacts.canister_wasm("mainer_ctrlb_canister").data()
YEAR = 365 * 86_400


def with_a_mark(wasm: bytes, mark: bytes = b"newer") -> bytes:
    """The same module with other bytes: a custom section more."""
    content = bytes([4]) + b"mark" + mark
    return wasm + bytes([0, len(content)]) + content


def sha256(wasm: bytes) -> bytes:
    return hashlib.sha256(wasm).digest()


def refused(method: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(CanisterError) as caught:
        method(*args)
    return str(caught.value)


def at(canister: Canister | str) -> dict[str, Any]:
    return {"address": canister if isinstance(canister, str) else canister.canister_id}


@pytest.fixture
def own(supplied: Protocol) -> Canister:
    """An Own mAIner, which its owner no longer controls: only the creator does."""
    return supplied.mainer("Own")


def leave_to_creator(supplied: Protocol, canister: Canister | str) -> None:
    canister_id = at(canister)["address"]
    controllers = [
        each for each in management.status(supplied.owner, canister_id).controllers if each != text_of(supplied.owner)
    ]
    management.update_settings(supplied.owner, canister_id, controllers=controllers)


def frozen_below(supplied: Protocol, canister: Canister) -> int:
    """The balance below which it is frozen; the network tells that to the creator alone when it is."""
    status = supplied.creator.canisterStatusAdmin(at(canister))
    return int(status["idle_cycles_burned_per_day"] * status["settings"]["freezing_threshold"] // 86_400)


def test_a_canister_is_looked_at_stopped_and_started_through_the_creator(supplied: Protocol, own: Canister) -> None:
    creator = supplied.creator
    told = management.status(supplied.owner, own.canister_id)
    leave_to_creator(supplied, own)
    status = creator.canisterStatusAdmin(at(own))
    assert (case(status["status"]), status["module_hash"]) == ("running", sha256(MAINER_WASM))
    assert status["settings"]["freezing_threshold"] == told.freezing_threshold
    assert status["settings"]["controllers"] == [creator.canister_id]
    assert status["memory_size"] > 0
    assert 0 <= told.cycles - status["cycles"] < BILLION
    creator.stopCanisterAdmin(at(own))
    assert case(creator.canisterStatusAdmin(at(own))["status"]) == "stopped"
    creator.startCanisterAdmin(at(own))
    assert own.health() == {"status_code": 200}


def test_operations_are_kept_with_who_what_and_how_it_ended(supplied: Protocol, own: Canister) -> None:
    creator = supplied.creator
    for _ in range(3):
        creator.canisterStatusAdmin(at(own))
    creator.stopCanisterAdmin(at(own))
    refused(creator.loadSnapshotAdmin, {**at(own), "snapshotId": bytes(40)})
    looked, stopped, failed = creator.getOperationsAdmin()
    assert looked["number"] == 3  # of looking again only the last time is kept
    assert [each["operation"] for each in (looked, stopped, failed)] == ["status", "stop", "load a snapshot"]
    assert {each["caller"] for each in (looked, stopped, failed)} == {text_of(supplied.owner)}
    assert {each["address"] for each in (looked, stopped, failed)} == {own.canister_id}
    assert [case(each["outcome"]) for each in (looked, stopped, failed)] == ["Done", "Done", "Failed"]
    assert stopped["timestamp"] <= stopped["ended"]
    supplied.upgrade(creator)
    assert creator.getOperationsAdmin() == [looked, stopped, failed]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("canisterStatusAdmin", {}),
        ("startCanisterAdmin", {}),
        ("stopCanisterAdmin", {}),
        ("updateSettingsAdmin", {"settings": dict.fromkeys(["controllers"])}),
        ("listSnapshotsAdmin", {}),
        ("takeSnapshotAdmin", {"replace": None}),
        ("loadSnapshotAdmin", {"snapshotId": b"1"}),
        ("deleteSnapshotAdmin", {"snapshotId": b"1"}),
        ("readSnapshotAdmin", {"snapshotId": b"1", "part": None}),
        ("copyModelToLlmAdmin", {"selectedModel": TINY}),
        ("exchangeModelAdmin", {"selectedModel": TINY}),
        ("upgradeCanisterAdmin", {"sha256": sha256(MAINER_WASM)}),
        ("reinstallLlmAdmin", {"model": None}),
        ("estimateRemovalAdmin", {}),
        ("removeLlmAdmin", {"cyclesTo": "Creator"}),
        ("removeMainerAdmin", {"evenWithAgents": True}),
    ],
)
def test_only_controllers_and_only_on_what_the_creator_made(
    supplied: Protocol, own: Canister, method: str, more: dict[str, Any]
) -> None:
    creator = supplied.creator
    with pytest.raises(CanisterError) as caught:
        getattr(supplied.stranger(creator), method)({**at(own), **more})
    assert caught.value.variant == "Unauthorized"
    foreign = deploy(supplied.owner, "mainer_ctrlb_canister", 2 * TRILLION)
    both = [text_of(supplied.owner), creator.canister_id]
    management.update_settings(supplied.owner, foreign.canister_id, controllers=both)
    management.update_settings(supplied.owner, creator.canister_id, controllers=both)
    for address in (foreign, creator, supplied.game_state, "aaaaa-aa", "rubbish"):
        assert "is no canister that this creator made" in refused(getattr(creator, method), {**at(address), **more})
    assert creator.getOperationsAdmin() == []
    assert management.status(supplied.owner, foreign.canister_id).status == "running"


def test_the_list_of_operations_is_for_controllers(guarded: Protocol) -> None:
    assert "Unauthorized" in refused(guarded.stranger(guarded.creator).getOperationsAdmin)


# Code


def test_a_mainer_is_upgraded_to_the_uploaded_code_and_keeps_its_state(supplied: Protocol, own: Canister) -> None:
    creator = supplied.creator
    supplied.llm(own)
    supplied.open_challenge()
    own.triggerChallengeResponseAdmin()
    leave_to_creator(supplied, own)
    newer = with_a_mark(MAINER_WASM)
    upload(creator, CONTROLLER_WASM, newer)
    answers = supplied.game_state.getSubmissionsAdmin()
    replaced = refused(creator.upgradeCanisterAdmin, {**at(own), "sha256": sha256(MAINER_WASM)})
    assert sha256(newer).hex() in replaced
    assert creator.canisterStatusAdmin(at(own))["module_hash"] == sha256(MAINER_WASM)
    told = creator.upgradeCanisterAdmin({**at(own), "sha256": sha256(newer)})
    assert "was upgraded" in told["creationResult"]
    status = creator.canisterStatusAdmin(at(own))
    assert (case(status["status"]), status["module_hash"]) == ("running", sha256(newer))
    assert len(own.getLlmCanisters()) == len(answers) == 1
    assert creator.getMainers()[0]["content"]["wasmSha256"] == sha256(newer)
    assert (
        "has this code already" in creator.upgradeCanisterAdmin({**at(own), "sha256": sha256(newer)})["creationResult"]
    )


def test_one_that_is_stopped_and_out_of_cycles_is_upgraded_and_stays_stopped(supplied: Protocol, own: Canister) -> None:
    creator = supplied.creator
    management.update_settings(supplied.owner, own.canister_id, freezing_threshold=200 * YEAR)
    assert supplied.creator.canisterStatusAdmin(at(own))["cycles"] < frozen_below(supplied, own)
    newer = with_a_mark(MAINER_WASM)
    upload(creator, CONTROLLER_WASM, newer)
    creator.stopCanisterAdmin(at(own))
    told = creator.upgradeCanisterAdmin({**at(own), "sha256": sha256(newer)})["creationResult"]
    assert f"canister {own.canister_id} got" in told
    status = creator.canisterStatusAdmin(at(own))
    assert (case(status["status"]), status["module_hash"]) == ("stopped", sha256(newer))
    assert 0 < status["cycles"] - frozen_below(supplied, own) < TRILLION


def test_code_that_cannot_be_installed_leaves_the_mainer_as_it_was(supplied: Protocol, own: Canister) -> None:
    other = artifacts.canister_wasm("game_state_canister").data()  # whose memory does not fit
    upload(supplied.creator, CONTROLLER_WASM, other)
    assert "step install code" in refused(supplied.creator.upgradeCanisterAdmin, {**at(own), "sha256": sha256(other)})
    assert own.getMainerCanisterType() == {"Own": None}
    assert management.status(supplied.owner, own.canister_id).module_hash == sha256(MAINER_WASM).hex()


def test_a_mainer_without_code_is_made_anew(supplied: Protocol, own: Canister) -> None:
    llm = supplied.llm(own)
    ic = Canister(
        supplied.owner, "aaaaa-aa", "service : { uninstall_code : (record { canister_id : principal }) -> () }"
    )
    ic.uninstall_code({"canister_id": own.canister_id}, effective_canister_id=own.canister_id)
    supplied.creator.upgradeCanisterAdmin({**at(own), "sha256": sha256(MAINER_WASM)})
    assert own.getLlmCanisters() == [llm.canister_id]
    assert own.getMainerCanisterType() == {"Own": None}


def test_an_llm_is_upgraded_with_its_model_and_reinstalled(supplied: Protocol, own: Canister, llm_wasm: bytes) -> None:
    creator = supplied.creator
    llm = supplied.llm(own)
    leave_to_creator(supplied, llm)
    newer = with_a_mark(llm_wasm)
    upload(creator, LLM_WASM, newer)
    creator.upgradeCanisterAdmin({**at(llm), "sha256": sha256(newer)})
    assert creator.canisterStatusAdmin(at(llm))["module_hash"] == sha256(newer)
    assert own.ready() == {"status_code": 200}
    (mainer,) = creator.getMainers()
    assert mainer["llms"][0]["content"]["wasmSha256"] == sha256(newer)
    assert mainer["llms"][0]["content"]["model"] == TINY
    upload(creator, LLM_WASM, llm_wasm)
    assert "Renewed the LLM canister" in creator.reinstallLlmAdmin({**at(llm), "model": None})["creationResult"]
    assert creator.canisterStatusAdmin(at(llm))["module_hash"] == sha256(llm_wasm)
    assert own.ready() == {"status_code": 200}
    assert own.getLlmCanisters() == [llm.canister_id]
    wrong = {**at(llm), "model": {"Other": "unknown"}}
    assert 'no LLM wasm for "unknown"' in refused(creator.reinstallLlmAdmin, wrong)
    assert "is no LLM" in refused(creator.reinstallLlmAdmin, {**at(own), "model": None})


# Snapshots


def test_snapshots_are_taken_loaded_and_deleted_through_the_creator(supplied: Protocol, own: Canister) -> None:
    creator = supplied.creator
    creator.stopCanisterAdmin(at(own))
    first = creator.takeSnapshotAdmin({**at(own), "replace": None})
    assert creator.listSnapshotsAdmin(at(own)) == [first]
    assert [each.snapshot_id for each in snapshots.kept(supplied.owner, own.canister_id)] == [first["id"].hex()]
    creator.startCanisterAdmin(at(own))
    own.setRoundRobinLLMs(7)
    own.setMaintenanceFlagAdmin(True)
    creator.stopCanisterAdmin(at(own))
    creator.loadSnapshotAdmin({**at(own), "snapshotId": first["id"]})
    creator.startCanisterAdmin(at(own))
    assert own.getMaintenanceFlagAdmin() == {"flag": False}
    second = creator.takeSnapshotAdmin({**at(own), "replace": first["id"]})
    assert creator.listSnapshotsAdmin(at(own)) == [second]
    creator.deleteSnapshotAdmin({**at(own), "snapshotId": second["id"]})
    assert creator.listSnapshotsAdmin(at(own)) == []
    assert refused(creator.deleteSnapshotAdmin, {**at(own), "snapshotId": second["id"]})


def test_a_frozen_canister_gets_what_a_snapshot_takes(supplied: Protocol, own: Canister) -> None:
    management.update_settings(supplied.owner, own.canister_id, freezing_threshold=200 * YEAR)
    supplied.creator.stopCanisterAdmin(at(own))
    supplied.creator.takeSnapshotAdmin({**at(own), "replace": None})
    balance = supplied.creator.canisterStatusAdmin(at(own))["cycles"]
    assert 0 < balance - frozen_below(supplied, own) < TRILLION


# Settings

NOTHING = dict.fromkeys(
    [
        "controllers",
        "compute_allocation",
        "memory_allocation",
        "freezing_threshold",
        "reserved_cycles_limit",
        "log_visibility",
        "wasm_memory_limit",
        "wasm_memory_threshold",
    ]
)


def test_settings_are_changed_but_the_creator_keeps_control(supplied: Protocol, own: Canister) -> None:
    creator, llm = supplied.creator, supplied.llm(own)
    other = text_of(someone(supplied.running))

    def change(canister: Canister, **settings: Any) -> Any:
        return creator.updateSettingsAdmin({**at(canister), "settings": {**NOTHING, **settings}})

    wanted = {"freezing_threshold": 7 * 86_400, "wasm_memory_limit": 10**9, "log_visibility": "public"}
    change(own, **wanted)
    settings = creator.canisterStatusAdmin(at(own))["settings"]
    assert settings["freezing_threshold"] == 7 * 86_400
    assert settings["wasm_memory_limit"] == 10**9
    assert settings["log_visibility"] == {"public": None}
    change(own, controllers=[other, creator.canister_id])
    assert set(creator.canisterStatusAdmin(at(own))["settings"]["controllers"]) == {other, creator.canister_id}
    assert creator.canister_id in refused(lambda: change(own, controllers=[other]))
    assert own.canister_id in refused(lambda: change(llm, controllers=[other, creator.canister_id]))
    change(llm, controllers=[creator.canister_id, own.canister_id])
