"""The Judge: which grades it reads in what an LLM writes, and what becomes of a submission that it cannot grade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mainer_nb import artifacts, management
from mainer_nb.canister import Canister, case
from mainer_nb.errors import CanisterError
from tests import scripted_llm
from tests.canisters.test_maintenance import wait_for
from tests.code_variants import without
from tests.mainer_canisters import TRILLION, Protocol
from tests.original_interface import original

ATTEMPTS = 3
FIRST_SEED = 42


def judge(protocol: Protocol, *texts: str, takes_grammar: bool = True) -> Canister:
    """A Judge whose LLM writes these texts."""
    llm = scripted_llm.install(protocol.owner, TRILLION, *texts, takes_grammar=takes_grammar)
    return protocol.official_canister("judge_canister", llm)


def submitted(protocol: Protocol, answers: int = 1) -> list[str]:
    """So many answers to a new challenge, by one mAIner; their ids."""
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge("Which planet is red?")
    return [protocol.submit(mainer, challenge, f"Mars {number}") for number in range(answers)]


def refused(method: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(CanisterError) as caught:
        method(*args)
    return str(caught.value)


def statuses(protocol: Protocol) -> list[str]:
    return [case(one["submissionStatus"]) for one in protocol.game_state.getSubmissionsAdmin()]


def scores(protocol: Protocol, judging: Canister) -> list[int]:
    """The scores that a Judge handed in, as the Game State has them."""
    places = [{key: one[key] for key in ("challengeId", "submissionId")} for one in judging.getScoredResponsesAdmin()]
    return [protocol.game_state.getScoreForSubmission(place)["score"] for place in places]


def test_an_answer_is_graded_and_the_score_handed_in(protocol: Protocol) -> None:
    (submission_id,) = submitted(protocol)
    judging = judge(protocol, "4")
    assert judging.triggerScoreSubmissionAdmin()["auth"] == f"Scored submission {submission_id} with 4."
    (kept,) = judging.getScoredResponsesAdmin()
    record = kept.pop("judgeScoreRecord")
    place = {key: kept[key] for key in ("challengeId", "submissionId")}
    stored = protocol.game_state.getScoreForSubmission(place)
    assert {**kept, "judgedTimestamp": stored["judgedTimestamp"]} == stored
    assert stored["judgedBy"] == judging.canister_id
    assert (stored["score"], stored["scoreSeed"]) == (record["generatedScore"], record["generationSeed"])
    assert (record["generatedScore"], record["generationSeed"]) == (4, FIRST_SEED)
    assert record["generatedScoreText"] == "4"
    assert "Which planet is red?" in record["generationPrompt"]
    assert "Mars 0" in record["generationPrompt"]
    assert [record["generatedByLlmId"]] == judging.getLlmCanisters()
    assert "no submissions to judge" in refused(judging.triggerScoreSubmissionAdmin)
    assert judging.getRecentFailuresAdmin() == []


@pytest.mark.parametrize(
    ("written", "grade"),
    [
        (" 4", 4),
        ("4.", 4),
        ("Grade: 3", 3),
        ("**5**", 5),
        ("2/5", 2),
        ("I give 45 of 50, so a 1.", 1),
        ("The answer of 4.5 is 0 or 9; my grade: (2)", 2),
        ("x3 3x -3 3", 3),
    ],
)
def test_the_first_digit_that_stands_alone_is_the_grade(protocol: Protocol, written: str, grade: int) -> None:
    submitted(protocol)
    judging = judge(protocol, written)
    judging.triggerScoreSubmissionAdmin()
    assert scores(protocol, judging) == [grade]


def test_what_has_no_grade_is_asked_again_with_another_seed(protocol: Protocol) -> None:
    submitted(protocol)
    judging = judge(protocol, "It is correct.", "10", "5")
    judging.triggerScoreSubmissionAdmin()
    (kept,) = judging.getScoredResponsesAdmin()
    assert kept["score"] == 5
    assert kept["scoreSeed"] != FIRST_SEED


def test_an_llm_that_takes_no_grammar_is_asked_without(protocol: Protocol) -> None:
    submitted(protocol, answers=2)
    judging = judge(protocol, "4", takes_grammar=False)
    for _ in range(2):
        judging.triggerScoreSubmissionAdmin()
    assert scores(protocol, judging) == [4, 4]
    assert judging.getRecentFailuresAdmin() == []


def test_what_gets_no_grade_goes_back_and_is_judged_again_after_the_others(protocol: Protocol) -> None:
    first, second = submitted(protocol, answers=2)
    judging = judge(protocol, *["no idea"] * ATTEMPTS, "3")
    assert f"no grade after {ATTEMPTS} attempts" in refused(judging.triggerScoreSubmissionAdmin)
    assert statuses(protocol) == ["Submitted", "Submitted"]
    for _ in range(2):
        judging.triggerScoreSubmissionAdmin()
    assert [one["submissionId"] for one in judging.getScoredResponsesAdmin()] == [second, first]
    (failure,) = judging.getRecentFailuresAdmin()
    assert 'wrote "no idea"' in failure["reason"]


def test_what_never_gets_a_grade_is_given_up(protocol: Protocol) -> None:
    submitted(protocol)
    judging = judge(protocol, "no idea")
    for _ in range(3):
        refused(judging.triggerScoreSubmissionAdmin)
    assert statuses(protocol) == ["Other"]
    assert "no submissions to judge" in refused(judging.triggerScoreSubmissionAdmin)


def test_when_no_llm_works_the_submission_goes_back_as_often_as_it_takes(protocol: Protocol) -> None:
    submitted(protocol)
    dead = protocol.official_canister("judge_canister", protocol.creator.canister_id)
    without = protocol.official_canister("judge_canister")
    for _ in range(4):
        assert "LLM " + protocol.creator.canister_id in refused(dead.triggerScoreSubmissionAdmin)
    assert "There is no LLM canister" in refused(without.triggerScoreSubmissionAdmin)
    assert statuses(protocol) == ["Submitted"]
    working = judge(protocol, "5")
    working.triggerScoreSubmissionAdmin()
    assert scores(protocol, working) == [5]


def test_a_game_state_that_takes_nothing_back_keeps_it_and_the_judge_goes_on(protocol: Protocol) -> None:
    submitted(protocol, answers=2)
    wasm = original(artifacts.canister_wasm("game_state_canister").data(), "game_state_canister")
    management.install_code(protocol.owner, protocol.game_state.canister_id, wasm, "upgrade")
    judging = judge(protocol, *["no idea"] * ATTEMPTS, "3")
    refused(judging.triggerScoreSubmissionAdmin)
    assert "does not offer giveBackSubmission" in judging.getRecentFailuresAdmin()[-1]["reason"]
    judging.triggerScoreSubmissionAdmin()
    assert statuses(protocol) == ["Judging", "Judged"]


def test_a_score_that_could_not_be_handed_in_is_handed_in_later(protocol: Protocol) -> None:
    submitted(protocol)
    llm = scripted_llm.install(protocol.owner, TRILLION, "4", "1")
    judging = protocol.official_canister("judge_canister", llm)
    whole = artifacts.canister_wasm("game_state_canister").data()
    deaf = without(whole, "addScoredResponse")
    management.install_code(protocol.owner, protocol.game_state.canister_id, deaf, "upgrade")
    assert "addScoredResponse" in refused(judging.triggerScoreSubmissionAdmin)
    protocol.upgrade(judging)
    assert judging.getWorkStatusAdmin()["undelivered"] == 1
    management.install_code(protocol.owner, protocol.game_state.canister_id, whole, "upgrade")
    judging.triggerScoreSubmissionAdmin()
    assert scores(protocol, judging) == [4]  # it was not judged again
    assert judging.getWorkStatusAdmin()["queueSize"] == 0


def test_the_question_is_kept_in_the_llm_and_the_conversation_is_not(supplied: Protocol) -> None:
    judging = supplied.official_canister("judge_canister")
    management.update_settings(
        supplied.owner,
        judging.canister_id,
        controllers=[supplied.owner.identity.sender(), supplied.creator.canister_id],
    )
    llm = supplied.llm(judging)
    submitted(supplied, answers=2)
    (challenge,) = supplied.game_state.getCurrentChallengesAdmin()
    for _ in range(2):
        judging.triggerScoreSubmissionAdmin()
    listed = {
        entry["filename"] for entry in llm.recursive_dir_content_query({"dir": ".canister_cache", "max_entries": 0})
    }
    caches = [name for name in listed if name.endswith(".cache")]
    assert [name.rpartition("/")[2] for name in caches] == [f"{challenge['challengeId']}-question.cache"]
    assert len(scores(supplied, judging)) == 2
    assert {one["judgeScoreRecord"]["generatedScoreText"] for one in judging.getScoredResponsesAdmin()} <= set("12345")


def test_timers_judge_all_there_is(protocol: Protocol) -> None:
    submitted(protocol, answers=4)
    judging = judge(protocol, "5", "3", "4")
    judging.setTimerIntervalAdmin(1)
    judging.startTimerExecutionAdmin()
    wait_for(lambda: protocol.game_state.getRecentChallengeWinners())
    judging.stopTimerExecutionAdmin()
    assert scores(protocol, judging) == [5, 3, 4]


def test_in_maintenance_it_takes_nothing(protocol: Protocol) -> None:
    submitted(protocol)
    judging = judge(protocol, "4")
    judging.setMaintenanceFlagAdmin(True)
    for method in (judging.health, judging.triggerScoreSubmissionAdmin):
        assert "In maintenance" in refused(method)
    assert statuses(protocol) == ["Submitted"]
    assert judging.getWorkStatusAdmin()["idle"]


@pytest.mark.parametrize("method", ["triggerScoreSubmissionAdmin", "getScoredResponsesAdmin", "getWorkStatusAdmin"])
def test_strangers_may_not(protocol: Protocol, method: str) -> None:
    judging = protocol.official_canister("judge_canister")
    assert "Unauthorized" in refused(getattr(protocol.stranger(judging), method))


def test_both_are_places_of_a_template(protocol: Protocol) -> None:
    judging = judge(protocol, "4")
    assert "has no place {answer}" in refused(judging.setPromptTemplateAdmin, "Grade {question}")
    judging.setPromptFormat({"prefix": "<", "suffix": ">", "stop": []})
    judging.setPromptTemplateAdmin("{question} {answer} ({topic})")
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge("Is {answer} a place?")
    protocol.submit(mainer, challenge, "{question}")
    judging.triggerScoreSubmissionAdmin()
    (kept,) = judging.getScoredResponsesAdmin()
    prompt = kept["judgeScoreRecord"]["generationPrompt"]
    assert prompt == f"<Is {{answer}} a place? {{question}} ({challenge['challengeTopic']})>"


def test_its_llms_are_listed_and_taken_out(protocol: Protocol) -> None:
    judging = judge(protocol, "4")
    (llm_id,) = judging.getLlmCanisters()
    assert judging.getRoundRobinCanister() == {"canister_id": llm_id}
    judging.remove_llm_canister({"canister_id": llm_id})
    assert judging.getLlmCanisters() == []
    assert "There is no LLM canister" in refused(judging.ready)
