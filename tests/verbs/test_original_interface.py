"""mAIners, LLMs and a Game State that have the known interface and nothing beyond it: what they do not offer is shown
as that, and everything else works.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import artifacts, check, create, deploy, management, operate, tables, upload
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import PreconditionError, RejectError
from mainer_nb.network import GAME_STATE, Network
from tests.original_interface import original


@pytest.fixture(scope="module")
def net(
    new_network: Callable[[], Network],
    project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    keep_it_short: Callable[[Network, str], None],
) -> Network:
    """A network with counterparts of the known interface; the creator is the one here."""
    root = tmp_path_factory.mktemp("original") / "project"
    shutil.copytree(project / "files", root / "files")
    llm_wasm = root / "files" / artifacts.LLM_WASM
    llm_wasm.write_bytes(original(llm_wasm.read_bytes(), "llama_cpp"))
    made = new_network()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAINER_NB_PROJECT", str(root))
        deploy.deploy(made)
        upload.upload_all(made, "tiny")
        mainers = create.ensure(made, Plan(own=1, llms_per_own=1, services=1, llms_per_service=1, agents=1))
        for llm_id in [llm_id for mainer in mainers for llm_id in mainer.llm_ids]:
            keep_it_short(made, llm_id)
        renewed = {mainer.controller_id: "mainer_ctrlb_canister" for mainer in mainers}
        for canister_id, name in (renewed | {made.canister_id(GAME_STATE): GAME_STATE}).items():
            wasm = original(artifacts.canister_wasm(name).data(), name)
            management.install_code(made.agent, canister_id, wasm, "upgrade")
    return made


@pytest.fixture
def team(net: Network) -> list[Mainer]:
    return create.mainers(net)


def test_they_lack_what_is_beyond_the_interface(net: Network, team: list[Mainer]) -> None:
    with pytest.raises(RejectError) as refusal:
        operate.mainer_canister(net, team[0].controller_id).getRecentFailuresAdmin()
    assert refusal.value.not_offered
    assert "Remedy: if an older version of mainer_nb deployed it, upgrade it" in str(refusal.value)


def test_all_endpoints_answer(net: Network, team: list[Mainer]) -> None:
    assert [found.problems for found in check.check_all(net)] == [{}] * len(team)


def test_what_is_not_offered_is_shown_as_that(net: Network, team: list[Mainer]) -> None:
    assert [operate.failures(net, mainer.controller_id) for mainer in team] == [None] * len(team)
    assert operate.closed_challenges(net) is None
    assert "not offered" in repr(tables.challenges(operate.closed_challenges(net)))


def test_a_challenge_is_opened_and_answered_by_all(net: Network, team: list[Mainer]) -> None:
    own, service, agent = team
    operate.make_room(net, challenges=1, submissions=3)
    operate.open_challenge(net, "geography", "Where?" * 300)  # too long, but nobody here counts its tokens
    operate.judge_next(net, 1)
    operate.trigger(net, agent.controller_id)
    assert operate.queue(net, service.controller_id)
    with operate.timers(net, own.controller_id, interval=1):
        assert operate.mainer_canister(net, own.controller_id).health() == {"status_code": 200}


def test_what_was_deleted_stays_in_the_game_states_list_and_disturbs_nobody(net: Network) -> None:
    deleted = create.create_mainer(net, "Own").controller_id
    management.delete(net.agent, deleted)
    plan = Plan(own=1, llms_per_own=1, services=1, llms_per_service=1, agents=1)
    with pytest.raises(PreconditionError, match=f"{deleted} was deleted"):
        create.ensure(net, plan, differing="use")
    create.ensure(net, plan, differing="use", gone="forget")
    assert "does not offer to remove it" in create.forget(net, deleted)
    create.ensure(net, plan, differing="use")


def test_the_population_is_renewed(net: Network, team: list[Mainer]) -> None:
    plan = Plan(own=1, llms_per_own=1, services=1, llms_per_service=1, agents=1)
    used = create.ensure(net, plan, differing="use")
    assert [mainer.canister_ids for mainer in used] == [mainer.canister_ids for mainer in team]
    create.ensure(net, plan)
    assert operate.failures(net, team[0].controller_id) is not None
