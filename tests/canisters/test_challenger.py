"""The Challenger: which questions it takes of what an LLM writes, and what it does when there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from tests import scripted_llm
from tests.canisters.test_maintenance import wait_for
from tests.mainer_canisters import TRILLION, Protocol

ATTEMPTS = 5
WORDS = ("What", "Who", "Where", "When", "Why", "How", "Which", "Can", "Is", "Do")


def challenger(protocol: Protocol, *texts: str) -> Canister:
    """A Challenger whose LLM writes these texts."""
    made = protocol.official_canister("challenger_canister", scripted_llm.install(protocol.owner, TRILLION, *texts))
    made.setPromptFormat({"prefix": "<user>", "suffix": "<model>", "stop": []})
    return made


def refused(method: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(CanisterError) as caught:
        method(*args)
    return str(caught.value)


def reasons(canister: Canister) -> list[str]:
    return [failure["reason"] for failure in canister.getRecentFailuresAdmin()]


def test_a_question_becomes_an_open_challenge(protocol: Protocol) -> None:
    asking = challenger(protocol, " is the capital of France? Paris, of course.")
    made = asking.generateNewChallenge()
    word = made["generatedChallengeText"].split()[0]
    assert word in WORDS
    assert made["generatedChallengeText"] == f"{word} is the capital of France?"
    (opened,) = protocol.game_state.getCurrentChallengesAdmin()
    assert opened["challengeQuestion"] == made["generatedChallengeText"]
    assert opened["challengeQuestionSeed"] == made["generationSeed"]
    assert opened["challengeCreatedBy"] == asking.canister_id
    assert opened["challengeTopic"] in made["generationPrompt"]
    assert made["generationPrompt"].endswith(word)  # the answer is begun, so that it goes on as a question
    assert [made["generatedByLlmId"]] == asking.getLlmCanisters()
    assert asking.getChallengesAdmin() == asking.getChallengesListAdmin() == [made]
    assert asking.getRecentFailuresAdmin() == []


@pytest.mark.parametrize(
    ("written", "question"),
    [
        ("! Here is one:\n\n**Which planet is red?**\nAnswer: Mars", "Which planet is red?"),
        ('! Here is one: "Which planet is red?" It is Mars.', "Which planet is red?"),
        ("! 1. Which planet is red? 2. Why is it?", "Which planet is red?"),
        ("\nWhich planet has a day of 24.6 hours?", "Which planet has a day of 24.6 hours?"),
    ],
)
def test_the_first_question_is_taken_alone(protocol: Protocol, written: str, question: str) -> None:
    assert challenger(protocol, written).generateNewChallenge()["generatedChallengeText"] == question


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (" planet is red.", "there is no question mark"),
        ("?", "fewer than 3 words"),
        (" is " + "very " * 100 + "red?", "more than 300"),
        ("", "there is no question mark"),
    ],
)
def test_what_is_no_question_is_given_up_after_some_attempts(protocol: Protocol, written: str, reason: str) -> None:
    asking = challenger(protocol, written)
    assert f"after {ATTEMPTS} attempts: given up" in refused(asking.generateNewChallenge)
    *filtered, given_up = asking.getRecentFailuresAdmin()
    assert len(filtered) >= 1
    assert all(reason in failure["reason"] and not failure["dropped"] for failure in filtered)
    assert given_up["dropped"]
    assert protocol.game_state.getCurrentChallengesAdmin() == asking.getChallengesAdmin() == []


def test_another_one_is_asked_for_with_another_seed(protocol: Protocol) -> None:
    asking = challenger(protocol, " planets are red.", "\nWhich planet is red?")
    assert asking.generateNewChallenge()["generatedChallengeText"] == "Which planet is red?"
    (filtered,) = reasons(asking)
    assert " planets are red." in filtered


def test_a_question_that_is_open_or_was_asked_is_not_asked_again(protocol: Protocol) -> None:
    protocol.open_challenge("which planet is RED?")
    asking = challenger(protocol, "\nWhich planet is red?", "\nWhich planet is blue?", "\nWhich  planet is 'blue'?")
    assert asking.generateNewChallenge()["generatedChallengeText"] == "Which planet is blue?"
    limits = protocol.game_state.getGameStateThresholdsAdmin()
    protocol.game_state.setGameStateThresholdsAdmin({**limits, "thresholdMaxOpenChallenges": 9})
    protocol.upgrade(asking)
    refused(asking.generateNewChallenge)
    assert "it is open already, or was asked before" in reasons(asking)[-2]
    assert len(protocol.game_state.getCurrentChallengesAdmin()) == 2


def test_the_reason_is_told_when_nothing_can_be_asked(protocol: Protocol) -> None:
    without_llm = protocol.official_canister("challenger_canister")
    assert "There is no LLM canister" in refused(without_llm.generateNewChallenge)
    dead = protocol.official_canister("challenger_canister", protocol.creator.canister_id)
    assert "LLM " + protocol.creator.canister_id in refused(dead.generateNewChallenge)
    for _ in range(2):
        protocol.open_challenge()
    full = challenger(protocol, "\nWhich planet is red?")
    assert "already 2 open challenges" in refused(full.generateNewChallenge)
    for asking in (without_llm, dead, full):
        assert len(asking.getRecentFailuresAdmin()) == 1


def test_the_template_is_what_is_asked(protocol: Protocol) -> None:
    asking = challenger(protocol, "\nWhich planet is red?")
    shipped = asking.getPromptTemplateAdmin()
    assert "has no place {topic}" in refused(asking.setPromptTemplateAdmin, "Ask something.")
    asking.setPromptTemplateAdmin("About {topic}, beginning with {word}:")
    prompt = asking.generateNewChallenge()["generationPrompt"]
    (opened,) = protocol.game_state.getCurrentChallengesAdmin()
    word = prompt.split()[-1]
    assert prompt == f"<user>About {opened['challengeTopic']}, beginning with {word}:<model> {word}"
    asking.setPromptTemplateAdmin("")
    assert asking.getPromptTemplateAdmin() == shipped


def test_timers_ask_until_enough_challenges_are_open(protocol: Protocol) -> None:
    asking = challenger(protocol, "\nWhich planet is red?", "\nWhich planet is blue?", "\nWhich planet is green?")
    asking.setTimerIntervalAdmin(1)
    asking.startTimerExecutionAdmin()
    wait_for(lambda: protocol.game_state.getNumCurrentChallengesAdmin() == 2)
    wait_for(lambda: any("already 2 open challenges" in reason for reason in reasons(asking)))
    status = asking.getWorkStatusAdmin()
    assert status["timersStarted"]
    assert status["timerIntervalSeconds"] == 1
    asking.stopTimerExecutionAdmin()
    assert len(asking.getChallengesAdmin()) == 2


def test_in_maintenance_it_begins_nothing(protocol: Protocol) -> None:
    asking = challenger(protocol, "\nWhich planet is red?")
    asking.setMaintenanceFlagAdmin(True)
    protocol.upgrade(asking)
    for method in (asking.health, asking.generateNewChallenge):
        assert "In maintenance" in refused(method)
    assert asking.getWorkStatusAdmin()["idle"]
    asking.setMaintenanceFlagAdmin(False)
    asking.generateNewChallenge()


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("generateNewChallenge", []),
        ("getChallengesAdmin", []),
        ("getChallengesListAdmin", []),
        ("getPromptTemplateAdmin", []),
        ("setPromptTemplateAdmin", [""]),
        ("getWorkStatusAdmin", []),
        ("startTimerExecutionAdmin", []),
        ("stopTimerExecutionAdmin", []),
        ("setMaintenanceFlagAdmin", [True]),
    ],
)
def test_strangers_may_not(protocol: Protocol, method: str, args: list[Any]) -> None:
    asking = protocol.official_canister("challenger_canister")
    assert "Unauthorized" in refused(getattr(protocol.stranger(asking), method), *args)
