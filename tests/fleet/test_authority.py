"""What a controller may do to a canister, by whoever is one or through the creator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mainer_nb import artifacts, create, management, operate
from mainer_nb.errors import ArgumentError, CanisterError, PreconditionError
from mainer_nb.fleet import authority, members, snapshots
from mainer_nb.network import CREATOR, Network
from mainer_nb.upload import CONTROLLER
from tests.stages import deploy_to, upload_to


@pytest.fixture(scope="module")
def uploaded(new_network: Callable[[], Network], project: Path) -> Network:
    """A network of their own, on which these tests leave mAIners of others."""
    return upload_to(deploy_to(new_network(), project), project)


@pytest.fixture
def own_id(uploaded: Network) -> str:
    """A mAIner that we control."""
    return create.create_mainer(uploaded, "Own").controller_id


@pytest.fixture
def foreign_id(uploaded: Network, own_id: str) -> str:
    """A mAIner whose controllers are its owner, who is somebody else, and the creator."""
    creator = uploaded.canister_id(CREATOR)
    management.update_settings(uploaded.agent, own_id, controllers=[creator, "rrkah-fqaaa-aaaaa-aaaaq-cai"])
    return own_id


@pytest.fixture
def last(uploaded: Network) -> Callable[[], authority.Operation]:
    return lambda: authority.operations(uploaded)[-1]


def test_a_controller_acts_itself(uploaded: Network, own_id: str) -> None:
    before = authority.operations(uploaded)
    told = authority.status(uploaded, own_id)
    assert (told.canister_id, told.status) == (own_id, "running")
    authority.stop(uploaded, own_id)
    taken = authority.take_snapshot(uploaded, own_id)
    assert authority.kept_snapshots(uploaded, own_id) == snapshots.kept(uploaded.agent, own_id) == [taken]
    authority.upgrade(uploaded, own_id, artifacts.canister_wasm(CONTROLLER).data())
    authority.load_snapshot(uploaded, own_id, taken.snapshot_id)
    authority.delete_snapshot(uploaded, own_id, taken.snapshot_id)
    authority.update_settings(uploaded, own_id, freezing_threshold=86_400)
    authority.start(uploaded, own_id)
    assert management.status(uploaded.agent, own_id).freezing_threshold == 86_400
    assert authority.operations(uploaded) == before  # the creator did nothing


def test_the_creator_acts_for_its_controllers(
    uploaded: Network, foreign_id: str, last: Callable[[], authority.Operation]
) -> None:
    told = authority.status(uploaded, foreign_id)
    wasm = artifacts.canister_wasm(CONTROLLER)
    assert (told.status, told.module_hash) == ("running", wasm.sha256)
    assert told.version is not None
    authority.stop(uploaded, foreign_id)
    assert (last().operation, last().canister_id, last().outcome) == ("stop", foreign_id, "Done")
    assert last().caller == uploaded.caller
    assert (ended := last().ended) is not None
    assert last().began <= ended
    taken = authority.take_snapshot(uploaded, foreign_id)
    assert authority.kept_snapshots(uploaded, foreign_id) == [taken]
    taken = authority.take_snapshot(uploaded, foreign_id, replace=taken.snapshot_id)
    authority.upgrade(uploaded, foreign_id, wasm.data())
    assert authority.status(uploaded, foreign_id).status == "stopped"  # as it was
    authority.load_snapshot(uploaded, foreign_id, taken.snapshot_id)
    authority.delete_snapshot(uploaded, foreign_id, taken.snapshot_id)
    assert authority.kept_snapshots(uploaded, foreign_id) == []
    authority.start(uploaded, foreign_id)
    me, creator = uploaded.caller, uploaded.canister_id(CREATOR)
    authority.update_settings(uploaded, foreign_id, freezing_threshold=86_400, controllers=[me, creator])
    told = management.status(uploaded.agent, foreign_id)
    assert (told.freezing_threshold, set(told.controllers)) == (86_400, {me, creator})
    assert operate.queue(uploaded, foreign_id) == []


def test_code_that_is_not_uploaded_is_not_installed_by_the_creator(uploaded: Network, foreign_id: str) -> None:
    other = artifacts.canister_wasm("game_state_canister")
    with pytest.raises(PreconditionError, match=f"{foreign_id}.*{other.sha256}.*02_upload"):
        authority.upgrade(uploaded, foreign_id, other.data())
    with pytest.raises(ArgumentError, match="is not the id of a snapshot"):
        authority.load_snapshot(uploaded, foreign_id, "rubbish")


def test_who_may_not_is_told_what_helps(
    uploaded: Network, own_id: str, as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(uploaded)
    me, creator = stranger.caller, uploaded.canister_id(CREATOR)
    for act in (authority.status, authority.start, authority.stop, authority.take_snapshot, authority.kept_snapshots):
        with pytest.raises(PreconditionError, match=f"{me}.*{own_id}.*{creator}.*use an identity"):
            act(stranger, own_id)
    with pytest.raises(PreconditionError, match=f"{creator} did not make it: use an identity that is a controller"):
        authority.stop(stranger, creator)
    with pytest.raises(PreconditionError, match="there is no canister"):
        authority.status(uploaded, "aaaaa-aa")


def test_without_a_creator_only_controllers_act(empty: Network, as_stranger: Callable[[Network], Network]) -> None:
    canister_id = management.create_canister(empty.agent, 10**13)
    assert authority.status(empty, canister_id).module_hash is None
    with pytest.raises(PreconditionError, match=r"there is no creator that could act.*01_deploy"):
        authority.status(as_stranger(empty), canister_id)


def test_methods_for_controllers_are_called_by_the_creator(uploaded: Network, foreign_id: str) -> None:
    (member,) = [each for each in members.of(uploaded).mainers if each.canister_id == foreign_id]
    foreign = members.canister(uploaded, replace(member, owner="somebody else"))
    with pytest.raises(CanisterError, match="Unauthorized"):
        members.canister(uploaded, member).getWorkStatusAdmin()  # taken for our own, it is asked directly
    assert foreign.getWorkStatusAdmin()["timersStarted"] is False
    foreign.startTimerExecutionAdmin()
    foreign.setMaintenanceFlagAdmin(True)
    assert foreign.getWorkStatusAdmin()["timersStarted"] is True
    assert foreign.getMainerCanisterType() == {"Own": None}  # which anybody may ask
    assert authority.operations(uploaded)[-1].operation == "getWorkStatusAdmin"
    foreign.stopTimerExecutionAdmin()
    with pytest.raises(CanisterError, match="In maintenance"):
        foreign.triggerChallengeResponseAdmin()


def test_the_creator_calls_what_operators_need_and_nothing_else(uploaded: Network, foreign_id: str) -> None:
    creator = uploaded.canister(CREATOR)
    call = {"address": foreign_id, "method": "setMainerCanisterType", "argument": b"DIDL\0\0"}
    with pytest.raises(CanisterError, match="does not call this method") as refused:
        creator.callCanisterAdmin(call)
    called = set(refused.value.value.split("It calls: ")[1].split(", "))
    assert called == authority.CALLED_BY_CREATOR
