"""Who belongs to a fleet: from the project, from a creator or a Game State, from a list of ids."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainer_nb import artifacts, fleet, management, operate
from mainer_nb.create import Mainer
from mainer_nb.errors import ArgumentError, PreconditionError
from mainer_nb.fleet import Fleet, watch
from mainer_nb.llm_build import custom_section
from mainer_nb.network import CREATOR, GAME_STATE, Network
from mainer_nb.operate import Challenge
from tests.original_interface import original

NOBODY = "uqdr7-siaaa-aaaai-p777q-cai"  # well formed; no canister here


def test_the_fleet_of_a_project_is_its_protocol_its_mainers_and_their_llms(
    uploaded: Network, mainers: list[Mainer], whole: Fleet
) -> None:
    assert whole.gaps == ()
    assert whole.text == "9 canisters: 1 Game State, 1 Creator, 1 Own, 1 ShareService, 2 ShareAgents, 3 LLMs."
    assert [member.name for member in whole.members] == [
        *("Game State", "Creator", "Own 1", "Own 1, LLM 1", "Own 1, LLM 2", "ShareService 1", "ShareService 1, LLM 1"),
        *("ShareAgent 1", "ShareAgent 2"),
    ]
    assert whole.canister_ids[0] == uploaded.canister_id(GAME_STATE)
    own, service, agent, _ = mainers
    assert [member.canister_id for member in whole.mainers] == [mainer.controller_id for mainer in mainers]
    assert [llm.canister_id for llm in whole.llms(own.controller_id)] == list(own.llm_ids)
    assert whole.member(agent.controller_id).parent == service.controller_id
    assert {member.owner for member in whole.members if member.of_creator} == {uploaded.caller}
    assert {member.name for member in whole.members if not member.of_creator} == {"Game State", "Creator"}


def test_a_member_is_found_by_name_and_by_id_and_others_are_listed(uploaded: Network, own: Mainer) -> None:
    whole = fleet.of(uploaded)
    assert whole.member("Own 1") == whole.member(own.controller_id)
    assert whole.only(["ShareAgent 2", "Own 1"]).canister_ids[0] == own.controller_id
    with pytest.raises(ArgumentError, match=r"no canister 'Own 7' in this fleet; there are: .*ShareAgent 2"):
        whole.member("Own 7")


def test_without_a_project_there_is_no_fleet(empty: Network) -> None:
    with pytest.raises(PreconditionError, match="no fleet on network local: run notebooks/01_deploy"):
        fleet.of(empty)


def test_a_creator_and_a_game_state_tell_what_they_know(
    uploaded: Network, mainers: list[Mainer], as_stranger: Callable[[Network], Network]
) -> None:
    of_creator = fleet.of_creator(uploaded, uploaded.canister_id(CREATOR))
    assert {mainer.controller_id for mainer in mainers} <= set(of_creator.canister_ids)
    assert of_creator.members[0].role == "Creator"
    of_game_state = fleet.of_game_state(uploaded, uploaded.canister_id(GAME_STATE))
    assert {mainer.controller_id for mainer in mainers} <= {member.canister_id for member in of_game_state.mainers}
    assert {llm_id for mainer in mainers for llm_id in mainer.llm_ids} <= set(of_game_state.canister_ids)
    assert {member.owner for member in of_game_state.mainers} == {uploaded.caller}
    assert fleet.of_game_state(as_stranger(uploaded), uploaded.canister_id(GAME_STATE)).mainers == ()


def test_a_creator_that_is_stopped_leaves_a_gap_that_says_why(uploaded: Network, mainers: list[Mainer]) -> None:
    creator_id = uploaded.canister_id(CREATOR)
    management.stop(uploaded.agent, creator_id)
    try:
        found = fleet.of(uploaded)
    finally:
        management.start(uploaded.agent, creator_id)
    assert f"the creator {creator_id} does not tell which mAIners it made" in found.gaps[0]
    assert {mainer.controller_id for mainer in mainers} <= {member.canister_id for member in found.mainers}


def test_a_list_of_ids_is_a_fleet_of_just_these(uploaded: Network, own: Mainer) -> None:
    asked = [own.llm_ids[1], own.controller_id, own.llm_ids[1]]
    some = fleet.of_ids(uploaded, asked)
    assert [(member.canister_id, member.name) for member in some.members] == [
        (own.llm_ids[1], "Own 1, LLM 2"),
        (own.controller_id, "Own 1"),
    ]


@pytest.mark.parametrize(
    ("canister_ids", "said"),
    [
        ([], "give a list of at least one id"),
        (NOBODY, "give a list of at least one id"),
        (["not-an-id"], "canister id 'not-an-id'"),
        ([NOBODY], f"has the id {NOBODY}"),
    ],
)
def test_ids_that_cannot_be_are_refused(uploaded: Network, canister_ids: list[str], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        fleet.of_ids(uploaded, canister_ids)


def test_no_id_is_not_the_whole_project(uploaded: Network) -> None:
    with pytest.raises(ArgumentError, match="give a list of at least one id"):
        fleet.chosen(uploaded, " , ")


def test_a_list_of_ids_can_be_asked_for_again_when_one_of_them_is_gone(uploaded: Network, own: Mainer) -> None:
    gone = management.create_canister(uploaded.agent, 10**12)
    ids = f"{own.controller_id}, {gone}"
    before = fleet.chosen(uploaded, ids)
    management.stop(uploaded.agent, gone)
    management.delete(uploaded.agent, gone)
    with pytest.raises(ArgumentError, match=gone):
        fleet.chosen(uploaded, ids)
    assert fleet.chosen(uploaded, ids, before).canister_ids == (own.controller_id,)
    assert fleet.chosen(uploaded, gone, before.only([gone])).members == ()
    assert fleet.chosen(uploaded, None, before) == fleet.of(uploaded)


def test_canisters_that_no_project_knows_are_told_by_what_they_offer(empty: Network) -> None:
    agent = empty.agent
    shipped = {
        name: management.create_canister(agent, 10 * management.TRILLION)
        for name in ("game_state_canister", "mainer_creator_canister")
    }
    for name, canister_id in shipped.items():
        management.install_code(agent, canister_id, artifacts.canister_wasm(name).data(), "install")
    mainer_id = management.create_canister(agent, 10 * management.TRILLION)
    wasm = original(artifacts.canister_wasm("mainer_ctrlb_canister").data(), "mainer_ctrlb_canister")
    management.install_code(agent, mainer_id, wasm, "install")
    operate.mainer_canister(empty, mainer_id).setMainerCanisterType("Own")
    llm_id = management.create_canister(agent, 10 * management.TRILLION)
    management.install_code(agent, llm_id, artifacts.llm_wasm().path.read_bytes(), "install")
    bare = management.create_canister(agent, management.TRILLION)
    found = fleet.of_ids(empty, [*shipped.values(), mainer_id, llm_id, bare])
    assert [member.role for member in found.members] == ["Game State", "Creator", "Own", "LLM", "other"]
    assert not fleet.offers(fleet.canister(empty, mainer_id), "getRecentFailuresAdmin")
    assert len(found.gaps) == 1
    assert f"what {bare} is, is not known" in found.gaps[0]
    with pytest.raises(ArgumentError, match="has no code"):
        fleet.canister(empty, found.members[-1])


def test_a_mainer_that_is_stopped_and_that_nobody_knows_leaves_a_gap_that_says_so(empty: Network) -> None:
    canister_id = management.create_canister(empty.agent, 10 * management.TRILLION)
    wasm = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    management.install_code(empty.agent, canister_id, wasm, "install")
    (untyped,) = fleet.of_ids(empty, [canister_id]).gaps
    assert untyped == f"{canister_id} is a mAIner canister whose type is not set"
    management.stop(empty.agent, canister_id)
    found = fleet.of_ids(empty, [canister_id])
    assert found.members[0].role == "other"
    assert "is stopped" in found.text
    assert "management.start(net.agent, canister_id)" in found.text


def test_an_interface_that_is_none_leaves_a_gap(empty: Network) -> None:
    canister_id = management.create_canister(empty.agent, 10 * management.TRILLION)
    section = custom_section("icp:public candid:service", b"service : { nonsense")
    management.install_code(empty.agent, canister_id, b"\0asm\1\0\0\0" + section, "install")
    found = fleet.of_ids(empty, [canister_id])
    assert found.members[0].role == "other"
    assert f"what {canister_id} is, is not known" in found.text
    (reading,) = watch.look(empty, found)
    assert (reading.state, reading.health) == ("running", None)


def test_a_mainer_that_only_its_submissions_tell_of_belongs_to_the_game_state(
    uploaded: Network, own: Mainer, challenge: Challenge, as_stranger: Callable[[Network], Network]
) -> None:
    operate.fund(uploaded, [own])
    operate.answer(uploaded, own.controller_id)
    stranger = as_stranger(uploaded)
    game_state_id = uploaded.canister_id(GAME_STATE)
    controllers = management.status(uploaded.agent, game_state_id).controllers
    management.update_settings(uploaded.agent, game_state_id, controllers=[*controllers, stranger.caller])
    try:
        found = fleet.of_game_state(stranger, game_state_id)
    finally:
        management.update_settings(uploaded.agent, game_state_id, controllers=list(controllers))
    assert (own.controller_id, uploaded.caller) in [(member.canister_id, member.owner) for member in found.mainers]
