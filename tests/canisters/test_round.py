"""A whole round: the Challenger asks, mAIners answer, the Judge grades, and the Game State declares the winners."""

from __future__ import annotations

from typing import Any

from mainer_nb import artifacts, management
from mainer_nb.canister import Canister, case
from tests import scripted_llm
from tests.canisters.test_maintenance import wait_for
from tests.mainer_canisters import SUBMISSION_CYCLES, TRILLION, Protocol, did
from tests.original_interface import original

NAME = "mainer_ctrlb_canister"


def scripted(protocol: Protocol, *texts: str) -> str:
    return scripted_llm.install(protocol.owner, TRILLION, *texts)


def mainer(protocol: Protocol, wasm: bytes, answer: str) -> Canister:
    """An Own mAIner of this code, registered with the Game State, whose LLM gives this answer."""
    canister_id = management.create_canister(protocol.owner, 10 * TRILLION)
    management.install_code(protocol.owner, canister_id, wasm, "install")
    own = Canister(protocol.owner, canister_id, did(NAME), "mAIner Own")
    own.setMainerCanisterType("Own")
    own.setGameStateCanisterId(protocol.game_state.canister_id)
    own.add_llm_canister({"canister_id": scripted(protocol, answer)})
    protocol.game_state.addMainerAgentCanisterAdmin(protocol.registration(canister_id, "Own"))
    return own


def places(declaration: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Who won what: mAIner, place, reward."""
    entries = [declaration[place] for place in ("winner", "secondPlace", "thirdPlace")]
    return [(entry["submittedBy"], case(entry["result"]), entry["reward"]["amount"]) for entry in entries]


def test_a_round_by_triggers_with_mainers_of_the_original_interface(protocol: Protocol) -> None:
    wasm = artifacts.canister_wasm(NAME).data()
    mainers = [mainer(protocol, code, "Mars") for code in (original(wasm, NAME), wasm, original(wasm, NAME))]
    challenger = protocol.official_canister("challenger_canister", scripted(protocol, "! Here: Which planet is red?"))
    judge = protocol.official_canister("judge_canister", scripted(protocol, "3", "5", "4"))
    challenge = challenger.generateNewChallenge()
    for own in mainers:
        own.triggerChallengeResponseAdmin()
        assert own.getSubmittedResponsesAdmin()[0]["challengeQuestion"] == challenge["generatedChallengeText"]
        judge.triggerScoreSubmissionAdmin()
    (declaration,) = protocol.game_state.getRecentChallengeWinners()
    first, second, third = (own.canister_id for own in mainers)
    assert places(declaration) == [
        (second, "Winner", 35 + 15),
        (third, "SecondPlace", 15 + 15),
        (first, "ThirdPlace", 5 + 15),
    ]
    assert protocol.game_state.getProtocolTotalCyclesBurnt() == 3 * SUBMISSION_CYCLES
    for own in mainers:
        assert own.getMainerStatisticsAdmin()["totalCyclesBurnt"] == SUBMISSION_CYCLES


def test_rounds_by_timers_alone(protocol: Protocol) -> None:
    wasm = artifacts.canister_wasm(NAME).data()
    mainers = [mainer(protocol, wasm, "Mars") for _ in range(3)]
    questions = [f"! Here: Which planet has {number} moons?" for number in range(9)]
    challenger = protocol.official_canister("challenger_canister", scripted(protocol, *questions))
    judge = protocol.official_canister("judge_canister", scripted(protocol, "3"))
    working = [challenger, *mainers, judge]
    for canister in working:
        canister.setTimerIntervalAdmin(1)
        canister.startTimerExecutionAdmin()
    wait_for(lambda: len(protocol.game_state.getRecentChallengeWinners()) >= 2)
    for canister in working:
        canister.stopTimerExecutionAdmin()
    asked = [one["generatedChallengeText"] for one in challenger.getChallengesAdmin()]
    assert asked[:2] == ["Which planet has 0 moons?", "Which planet has 1 moons?"]
    assert {one["score"] for one in judge.getScoredResponsesAdmin()} == {3}
