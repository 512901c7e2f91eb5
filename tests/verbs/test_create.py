"""Creating mAIners: a whole population, and every creation that must not happen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mainer_nb import check, create, deploy, management
from mainer_nb.create import Kind, Mainer, Plan
from mainer_nb.errors import ArgumentError, CanisterError, PreconditionError, RejectError
from mainer_nb.network import CREATOR, GAME_STATE, Network

UNKNOWN = "n2m2m-wyaaa-aaaaa-p777a-cai"  # a well-formed id of no canister


def test_the_population_is_what_was_planned(uploaded: Network, mainers: list[Mainer]) -> None:
    own, service, *agents = mainers
    assert (own.kind, len(own.llm_ids)) == ("Own", 2)
    assert (service.kind, len(service.llm_ids)) == ("ShareService", 1)
    assert [(mainer.kind, mainer.llm_ids, mainer.share_service_id) for mainer in agents] == [
        ("ShareAgent", (), service.controller_id)
    ] * 2
    assert {mainer.owner for mainer in mainers} == {uploaded.caller}
    assert set(mainers) <= set(create.mainers(uploaded))


def test_a_population_that_exists_is_not_made_again(uploaded: Network, mainers: list[Mainer]) -> None:
    before = create.mainers(uploaded)
    assert create.ensure(uploaded, Plan()) == mainers
    assert create.mainers(uploaded) == before


def test_the_owner_controls_controllers_and_llms(uploaded: Network, own: Mainer) -> None:
    creator = uploaded.canister_id(CREATOR)
    assert {uploaded.caller, creator} <= set(management.status(uploaded.agent, own.controller_id).controllers)
    llm = management.status(uploaded.agent, own.llm_ids[0])
    assert {uploaded.caller, creator, own.controller_id} <= set(llm.controllers)


def test_every_helper_endpoint_of_every_mainer_answers(uploaded: Network, mainers: list[Mainer]) -> None:
    checks = check.check_all(uploaded, mainers)
    assert [checked.problems for checked in checks] == [{}] * len(mainers)
    assert [checked.getMainerCanisterType.text for checked in checks] == [mainer.kind for mainer in mainers]


def test_a_stranger_sees_in_the_answers_that_he_is_one(
    uploaded: Network, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    seen = check.check(as_stranger(uploaded), own)
    assert not seen.ok
    assert seen.health.ok
    assert {"amiController", "ready", "checkAccessToLLMs"} <= set(seen.problems)
    assert "Remedy" in seen.problems["ready"]


@pytest.fixture
def nothing_is_made(uploaded: Network, mainers: list[Mainer]) -> Iterator[None]:
    """Whatever the test tries, no mAIner, no canister and no registration may come of it."""

    def everything() -> tuple[list[Mainer], int]:
        registered = uploaded.canister(GAME_STATE).getMainerAgentCanistersForUser()
        return create.mainers(uploaded), len(registered)

    before = everything()
    balance = management.status(uploaded.agent, uploaded.canister_id(CREATOR)).cycles
    yield
    assert everything() == before
    lost = balance - management.status(uploaded.agent, uploaded.canister_id(CREATOR)).cycles
    assert lost < management.TRILLION


@pytest.mark.usefixtures("nothing_is_made")
class TestRefused:
    def test_an_unknown_type(self, uploaded: Network) -> None:
        with pytest.raises(ArgumentError, match="unknown mAIner type 'Mine': choose one of Own, ShareService, Shar"):
            create.create_mainer(uploaded, "Mine")  # type: ignore[arg-type]

    def test_a_share_agent_without_a_service(self, uploaded: Network) -> None:
        with pytest.raises(CanisterError, match="ShareService"):
            create.create_mainer(uploaded, "ShareAgent")

    def test_a_share_agent_of_a_mainer_that_is_no_service(self, uploaded: Network, own: Mainer) -> None:
        with pytest.raises(CanisterError, match="not a mAIner of type ShareService"):
            create.create_mainer(uploaded, "ShareAgent", own.controller_id)

    def test_a_share_agent_of_an_unknown_service(self, uploaded: Network) -> None:
        with pytest.raises(CanisterError, match=UNKNOWN):
            create.create_mainer(uploaded, "ShareAgent", UNKNOWN)

    @pytest.mark.parametrize("text", ["", "service", UNKNOWN[:-1], UNKNOWN.upper()])
    def test_a_malformed_id(self, uploaded: Network, text: str) -> None:
        with pytest.raises(ArgumentError, match="id of the ShareService"):
            create.create_mainer(uploaded, "ShareAgent", text)
        with pytest.raises(ArgumentError, match="id of the mAIner canister"):
            create.add_llm(uploaded, text)

    def test_an_llm_for_a_share_agent(self, uploaded: Network, agents: list[Mainer]) -> None:
        with pytest.raises(CanisterError, match="ShareAgent type canister is not allowed to control an LLM canister"):
            create.add_llm(uploaded, agents[0].controller_id)

    def test_an_llm_for_an_unknown_controller(self, uploaded: Network) -> None:
        with pytest.raises(CanisterError, match=UNKNOWN):
            create.add_llm(uploaded, UNKNOWN)

    def test_an_llm_for_a_canister_that_is_no_mainer(self, uploaded: Network) -> None:
        with pytest.raises(CanisterError, match="step"):
            create.add_llm(uploaded, uploaded.canister_id(GAME_STATE))

    def test_an_llm_with_a_model_that_was_not_uploaded(self, uploaded: Network, own: Mainer) -> None:
        with pytest.raises(CanisterError, match="Qwen2_5_500M"):
            create.add_llm(uploaded, own.controller_id, "Qwen2_5_500M")

    def test_agents_without_a_service_in_a_plan(self, uploaded: Network) -> None:
        with pytest.raises(ArgumentError, match="2 ShareAgents need a ShareService"):
            create.ensure(uploaded, Plan(services=0))

    def test_a_plan_of_mainers_without_llms(self, uploaded: Network) -> None:
        for plan, name in ((Plan(llms_per_own=0), "llms_per_own"), (Plan(llms_per_service=0), "llms_per_service")):
            with pytest.raises(ArgumentError, match=f"{name} is 0: without an LLM"):
                create.ensure(uploaded, plan)

    def test_by_somebody_else(self, uploaded: Network, as_stranger: Callable[[Network], Network]) -> None:
        with pytest.raises((CanisterError, RejectError)):
            create.create_mainer(as_stranger(uploaded), "Own")

    def test_by_a_creator_without_the_cycles(self, uploaded: Network) -> None:
        creator = uploaded.canister(CREATOR)
        usual = creator.getCreationCycles()
        creator.setCreationCycles({**usual, "controller": 10**18})
        try:
            with pytest.raises(CanisterError, match=r"InsuffientCycles: 1000\d+.*operate\.top_up"):
                create.create_mainer(uploaded, "Own")
        finally:
            creator.setCreationCycles(usual)


def test_one_that_would_not_work_is_refused(uploaded: Network, mainers: list[Mainer], service: Mainer) -> None:
    idle = create.create_mainer(uploaded, "ShareService")
    there = create.mainers(uploaded)
    cases: tuple[tuple[Kind, int, str | None, str], ...] = (
        ("Own", 0, None, "without an LLM it could answer nothing"),
        ("ShareService", -1, None, "-1 is too few"),
        ("Own", 101, None, "at most 100"),
        ("ShareAgent", 1, service.controller_id, "its ShareService has them"),
        ("ShareAgent", 0, None, "choose the ShareService"),
        ("ShareAgent", 0, mainers[0].controller_id, "choose the ShareService"),
        ("ShareAgent", 0, idle.controller_id, "it has no LLM, so it could answer nothing"),
    )
    for kind, llms, share_service, said in cases:
        with pytest.raises(ArgumentError, match=said):
            create.create_one(uploaded, kind, llms, share_service, there)
    assert create.mainers(uploaded) == there


def test_two_who_create_at_once_get_one(uploaded: Network, mainers: list[Mainer]) -> None:
    known = create.mainers(uploaded)

    def press(_: int) -> Mainer | PreconditionError:
        try:
            return create.create_one(uploaded, "Own", 2, None, known)
        except PreconditionError as refusal:
            return refusal

    with ThreadPoolExecutor(2) as people:
        made, refused = sorted(people.map(press, range(2)), key=lambda each: isinstance(each, PreconditionError))
    assert isinstance(made, Mainer)
    assert len(made.llm_ids) == 2
    assert re.search(r"being created on this network right now.*Nothing was created", str(refused))
    assert create.mainers(uploaded) == [*known, made]
    with pytest.raises(PreconditionError, match=rf"changed in the meantime: {made.name}\. Nothing was created"):
        create.create_one(uploaded, "Own", 1, None, known)
    assert create.mainers(uploaded) == [*known, made]


def test_an_unknown_mainer_lists_those_there_are(uploaded: Network, own: Mainer) -> None:
    with pytest.raises(ArgumentError, match=f"no mAIner {UNKNOWN}.*{own.controller_id} \\(Own 1\\)"):
        create.mainer(uploaded, UNKNOWN)


def test_before_the_creation_the_next_step_says_what_to_run(empty: Network) -> None:
    deploy.deploy(empty)
    with pytest.raises(PreconditionError, match=r"no mAIner on network local: run notebooks/03_create\.ipynb"):
        create.required(empty)
    with pytest.raises(PreconditionError, match="no mAIner of type Own and no mAIner of type ShareAgent on"):
        create.required(empty, "Own", "ShareAgent")


def test_what_is_required_is_found(uploaded: Network, mainers: list[Mainer]) -> None:
    assert set(mainers) <= set(create.required(uploaded, "Own", "ShareService", "ShareAgent"))
