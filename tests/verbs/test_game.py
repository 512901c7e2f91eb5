"""Challenger and Judge as people work with them: deployed, given LLMs, and whole rounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainer_nb import create, deploy, game, management, operate
from mainer_nb.canister import Canister
from mainer_nb.create import Plan
from mainer_nb.errors import ArgumentError, CanisterError, PreconditionError
from mainer_nb.fleet import members, repair, watch
from mainer_nb.network import CHALLENGER, CREATOR, GAME_STATE, JUDGE, Network
from tests import scripted_llm
from tests.canisters.test_maintenance import wait_for

MAINERS = 3


@pytest.fixture(scope="module")
def played(own_network: Callable[..., Network]) -> Network:
    """A network with three mAIners, a Challenger and a Judge, each with an LLM of the tiny model."""
    net = own_network(Plan(own=MAINERS, llms_per_own=1, services=0, agents=0))
    deploy.deploy_officials(net)
    game.ensure_llms(net)
    return net


def ask_scripted(net: Network, *questions: str) -> None:
    """Has the Challenger ask these, which the tiny model cannot be brought to say."""
    challenger = net.canister(CHALLENGER)
    challenger.reset_llm_canisters()
    llm_id = scripted_llm.install(net.agent, management.TRILLION, *(f"! Here: {question}" for question in questions))
    challenger.add_llm_canister({"canister_id": llm_id})


def test_both_are_deployed_and_registered_once(played: Network) -> None:
    challenger, judge = deploy.deploy_officials(played)
    assert [challenger.role, judge.role] == [CHALLENGER, JUDGE]
    assert {challenger.action, judge.action} == {"unchanged"}
    assert {challenger.health, judge.health} == {200}
    for deployed in (challenger, judge):
        assert played.canister_id(CREATOR) in deployed.controllers
        assert played.canister(deployed.role).getGameStateCanisterId() == played.canister_id(GAME_STATE)


def test_the_creator_makes_their_llms_and_does_not_take_them_for_mainers(played: Network) -> None:
    made = game.ensure_llms(played)
    assert {name: len(llm_ids) for name, llm_ids in made.items()} == {CHALLENGER: 1, JUDGE: 1}
    for name, (llm_id,) in made.items():
        assert played.canister(name).ready() == {"status_code": 200}
        assert played.canister(name).checkAccessToLLMs() == {"status_code": 200}
        assert played.canister_id(name) in management.controllers(played.agent, llm_id)
    assert [mainer.kind for mainer in create.mainers(played)] == ["Own"] * MAINERS
    creator: Canister = played.canister(CREATOR)
    assert creator.registerMainers() == {"registered": []}
    judge = {"address": played.canister_id(JUDGE)}
    with pytest.raises(CanisterError, match="is no canister that this creator made"):
        creator.upgradeCanisterAdmin({**judge, "sha256": b""})
    with pytest.raises(CanisterError, match="is no canister that this creator made"):
        creator.removeMainerAdmin({**judge, "evenWithAgents": True})
    assert creator.canisterStatusAdmin({"address": made[JUDGE][0]})["status"] == {"running": None}
    with pytest.raises(ArgumentError, match="the number of LLMs is 0"):
        game.ensure_llms(played, 0)


def test_they_belong_to_the_fleet_with_their_llms(played: Network) -> None:
    fleet = members.of(played)
    names = {member.name: member for member in fleet.members}
    for name in ("Challenger", "Judge"):
        assert names[name].role == name
        assert [llm.name for llm in fleet.llms(names[name].canister_id)] == [f"{name}, LLM 1"]
    by_id = members.of_ids(played, [played.canister_id(JUDGE)])
    assert [member.name for member in by_id.members] == ["Judge"]
    assert not [finding for finding in repair.find(played, fleet) if finding.canister_id in set(fleet.canister_ids)]
    readings = {reading.member.name: reading for reading in watch.look(played, fleet)}
    for name in ("Challenger", "Judge"):
        reading = readings[name]
        assert (reading.code, reading.llms, reading.timers, reading.health) == ("current", 1, False, "200")
        assert not reading.untold


def test_a_round_is_played_to_its_winners(played: Network) -> None:
    game.set_template(played, JUDGE, "{question} {answer}")  # the tiny model has room for little more
    ask_scripted(played, "Which planet is red?")
    asked = game.ask(played)
    assert asked.question == "Which planet is red?"
    assert game.questions(played) == [asked]
    assert [challenge.question for challenge in operate.challenges(played)] == [asked.question]
    assert game.grade(played) is None
    for mainer in create.mainers(played):
        operate.answer(played, mainer.controller_id)
    scores = [game.grade(played) for _ in range(MAINERS)]
    assert game.scores(played) == scores
    assert all(score is not None and 1 <= score.score <= 5 for score in scores)
    (declared,) = game.winners(played)
    assert [place.place for place in declared.places] == [1, 2, 3]
    assert [place.reward for place in declared.places] == [35 + 15, 15 + 15, 5 + 15]
    ranks = game.leaderboard(played)
    assert [rank.mainer_id for rank in ranks] == [place.mainer_id for place in declared.places]
    assert [(rank.submissions, rank.firsts, rank.seconds, rank.thirds) for rank in ranks] == [
        (1, 1, 0, 0),
        (1, 0, 1, 0),
        (1, 0, 0, 1),
    ]


def test_timers_play_by_themselves_and_end_with_the_block(played: Network) -> None:
    ask_scripted(played, "Which planet is blue?", "Which planet is green?")
    before = len(game.questions(played))
    with game.timers(played, interval=1):
        wait_for(lambda: len(game.questions(played)) > before)
    for name in (CHALLENGER, JUDGE):
        status = played.canister(name).getWorkStatusAdmin()
        assert not status["timersStarted"]
        assert status["timerIntervalSeconds"] == operate.TIMER_INTERVAL


def test_a_template_is_set_and_taken_back(played: Network) -> None:
    shipped = game.set_template(played, JUDGE, "")
    assert game.set_template(played, JUDGE, "{question} {answer}") == "{question} {answer}"
    with pytest.raises(CanisterError, match=r"has no place \{answer\}"):
        game.set_template(played, JUDGE, "{question}")
    assert game.set_template(played, JUDGE, "") == shipped


def test_what_is_missing_is_said(empty: Network) -> None:
    with pytest.raises(PreconditionError, match=f"no {CHALLENGER} .* to upgrade"):
        deploy.deploy_officials(empty, mode="upgrade")
    with pytest.raises(PreconditionError, match=CHALLENGER):
        game.ask(empty)
