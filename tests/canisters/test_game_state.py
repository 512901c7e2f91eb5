"""The Game State: roles, challenges, submissions and what they cost, judging and ranking."""

from __future__ import annotations

from typing import Any

import pytest

from mainer_nb.canister import Canister, case
from mainer_nb.errors import CanisterError
from tests.forwarder import Forwarder
from tests.mainer_canisters import SUBMISSION_CYCLES, Protocol, answered, queued, someone, text_of

A_FIFTH = SUBMISSION_CYCLES // 5
UNAUTHORIZED = {"Err": {"Unauthorized": None}}
INVALID_ID = {"Err": {"InvalidId": None}}


def response(mainer: Forwarder, challenge: dict[str, Any], **changes: Any) -> dict[str, Any]:
    entry = queued(challenge, mainer.canister_id, mainer.canister_id)
    return {**answered(entry, mainer.canister_id), **changes}


def submit(
    protocol: Protocol, mainer: Forwarder, challenge: dict[str, Any], cycles: int = SUBMISSION_CYCLES, **changes: Any
) -> tuple[Any, int]:
    """The Game State's answer to a submission and the cycles it kept."""
    told = response(mainer, challenge, **changes)
    return mainer.call(protocol.game_state, "submitChallengeResponse", told, cycles=cycles)


def thresholds(protocol: Protocol, **changes: int) -> None:
    protocol.game_state.setGameStateThresholdsAdmin({**protocol.game_state.getGameStateThresholdsAdmin(), **changes})


def score(judge: Canister, points: int) -> dict[str, Any]:
    """Takes the next submission and scores it; the submission as it was taken."""
    submission: dict[str, Any] = judge.getNextSubmissionToJudge()
    judge.addScoredResponse({**submission, "judgedBy": text_of(judge.agent), "score": points, "scoreSeed": 3})
    return submission


def statuses(protocol: Protocol) -> dict[str, str]:
    """Status by submission."""
    submissions = protocol.game_state.getSubmissionsAdmin()
    return {submission["submissionId"]: case(submission["submissionStatus"]) for submission in submissions}


# Who may do what


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("amiController", []),
        ("addOfficialCanister", [{"address": "aaaaa-aa", "canisterType": "Judge"}]),
        ("setInitialChallengeTopics", []),
        ("addChallengeTopic", [{"challengeTopic": "anything"}]),
        ("getRandomOpenChallengeTopic", []),
        ("getCurrentChallenges", []),
        ("getCurrentChallengesAdmin", []),
        ("getNumCurrentChallengesAdmin", []),
        ("getRandomOpenChallenge", []),
        ("getSubmissionsAdmin", []),
        ("getNumSubmissionsAdmin", []),
        ("getOpenSubmissionsAdmin", []),
        ("getNumOpenSubmissionsAdmin", []),
        ("getNextSubmissionToJudge", []),
        ("getScoredChallengesAdmin", []),
        ("getNumScoredChallengesAdmin", []),
        ("getGameStateThresholdsAdmin", []),
        ("getMainerAgentCanisterInfo", [{"address": "aaaaa-aa"}]),
        ("removeMainerAgentCanister", [{"address": "aaaaa-aa"}]),
        ("getJudgingSubmissionsAdmin", []),
        ("resetJudgingSubmissionAdmin", [{"challengeId": "any", "submissionId": "any"}]),
    ],
)
def test_strangers_may_not(guarded: Protocol, method: str, args: list[Any]) -> None:
    with pytest.raises(CanisterError) as caught:
        getattr(guarded.stranger(guarded.game_state), method)(*args)
    assert caught.value.variant == "Unauthorized"


def test_only_creators_register_mainers_and_they_alone_take_it_back(protocol: Protocol) -> None:
    registration = protocol.registration(protocol.creator.canister_id, "Own")
    for role in ("Challenger", "Judge"):
        with pytest.raises(CanisterError, match="Unauthorized"):
            protocol.as_official(role).addMainerAgentCanister(registration)
    maker = protocol.as_official("MainerCreator")
    entry = maker.addMainerAgentCanister(registration)
    assert entry["createdBy"] == text_of(maker.agent)
    address = {"address": registration["address"]}
    with pytest.raises(CanisterError, match="Unauthorized"):
        protocol.as_official("MainerCreator").removeMainerAgentCanister(address)
    assert protocol.game_state.getMainerAgentCanisterInfo(address) == entry
    assert protocol.game_state.getMainerAgentCanistersForUser() == [entry]
    maker.removeMainerAgentCanister(address)
    with pytest.raises(CanisterError, match="InvalidId"):
        maker.removeMainerAgentCanister(address)
    assert protocol.game_state.getMainerAgentCanistersForUser() == []


@pytest.mark.parametrize("address", ["", "nonsense", "rrkah-fqaaa-aaaaa-aaaaq-cay", "RRKAH-FQAAA-AAAAA-AAAAQ-CAI"])
def test_a_malformed_principal_is_refused(protocol: Protocol, address: str) -> None:
    with pytest.raises(CanisterError, match="is not a principal"):
        protocol.game_state.addOfficialCanister({"address": address, "canisterType": "Judge"})
    with pytest.raises(CanisterError, match="is not a principal"):
        protocol.game_state.addMainerAgentCanisterAdmin(protocol.registration(address, "Own"))


def test_an_unsupported_role_is_refused(protocol: Protocol) -> None:
    with pytest.raises(CanisterError, match="Unsupported"):
        protocol.game_state.addOfficialCanister({"address": "aaaaa-aa", "canisterType": "Verifier"})
    llm = {**protocol.registration("aaaaa-aa", "Own"), "canisterType": "MainerLlm"}
    with pytest.raises(CanisterError, match="Unsupported"):
        protocol.game_state.addMainerAgentCanisterAdmin(llm)


def test_a_principal_may_hold_several_roles(protocol: Protocol) -> None:
    challenger = protocol.as_official("Challenger")
    protocol.game_state.addOfficialCanister({"address": text_of(challenger.agent), "canisterType": "Judge"})
    assert challenger.getCurrentChallenges() == []
    with pytest.raises(CanisterError, match="no submissions to judge"):
        challenger.getNextSubmissionToJudge()


# Topics and challenges


def test_initial_topics_are_set_once(protocol: Protocol) -> None:
    challenger = protocol.as_official("Challenger")
    protocol.game_state.setInitialChallengeTopics()
    mine = protocol.game_state.addChallengeTopic({"challengeTopic": "bees"})
    assert protocol.game_state.addChallengeTopic({"challengeTopic": "bees"}) == mine
    seen = {challenger.getRandomOpenChallengeTopic()["challengeTopicId"] for _ in range(150)}
    assert len(seen) == 11
    with pytest.raises(CanisterError, match="is empty"):
        protocol.game_state.addChallengeTopic({"challengeTopic": " \n"})


def test_no_more_challenges_than_allowed_are_open(protocol: Protocol) -> None:
    first, second = protocol.open_challenge(), protocol.open_challenge()
    challenger = protocol.as_official("Challenger")
    with pytest.raises(CanisterError, match="already 2 open challenges"):
        challenger.getRandomOpenChallengeTopic()
    topic = {key: first[key] for key in first if key.startswith("challengeTopic")}
    with pytest.raises(CanisterError, match="already 2 open challenges"):
        challenger.addChallenge({**topic, "challengeQuestion": "Why?", "challengeQuestionSeed": 1})
    thresholds(protocol, thresholdMaxOpenChallenges=3)
    third = protocol.open_challenge()
    assert protocol.game_state.getCurrentChallengesAdmin() == [first, second, third]
    assert protocol.game_state.getNumCurrentChallengesAdmin() == 3


def test_a_mainer_gets_one_of_the_open_challenges(protocol: Protocol) -> None:
    mainer = protocol.registered_forwarder()
    result, _ = mainer.call(protocol.game_state, "getRandomOpenChallenge")
    assert result == {"Err": {"Other": "There is no open challenge"}}
    open_ids = {protocol.open_challenge()["challengeId"] for _ in range(2)}
    results = [mainer.call(protocol.game_state, "getRandomOpenChallenge")[0] for _ in range(30)]
    assert {result["Ok"]["challengeId"] for result in results} == open_ids


def test_what_the_fewest_mainers_have_had_is_handed_out_first(protocol: Protocol) -> None:
    thresholds(protocol, thresholdMaxOpenChallenges=5)
    mainers = [protocol.registered_forwarder() for _ in range(4)]
    open_ids = {protocol.open_challenge()["challengeId"] for _ in range(4)}
    for _ in range(2):  # the second time each of them has been had once
        drawn = [
            mainer.call(protocol.game_state, "getRandomOpenChallenge")[0]["Ok"]["challengeId"] for mainer in mainers
        ]
        assert set(drawn) == open_ids
        mainers = [protocol.registered_forwarder() for _ in range(4)]
    new = protocol.open_challenge()["challengeId"]
    assert mainers[0].call(protocol.game_state, "getRandomOpenChallenge")[0]["Ok"]["challengeId"] == new


def test_no_challenge_is_given_out_while_too_many_submissions_wait(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    for _ in range(5):
        assert "Ok" in mainer.call(protocol.game_state, "getRandomOpenChallenge")[0]
        assert "Ok" in submit(protocol, mainer, challenge)[0]
    refused, _ = mainer.call(protocol.game_state, "getRandomOpenChallenge")
    assert "5 submissions wait to be judged" in refused["Err"]["Other"]
    assert protocol.game_state.getNumOpenSubmissionsAdmin() == 5


# Submissions


def test_a_submission_is_kept_with_the_challenge_as_the_game_state_knows_it(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    lies = {"challengeQuestion": "an easier one", "submissionCyclesRequired": 1}
    result, kept = submit(protocol, mainer, challenge, cycles=3 * SUBMISSION_CYCLES, **lies)
    assert kept == SUBMISSION_CYCLES
    (stored,) = protocol.game_state.getSubmissionsAdmin()
    assert {key: stored[key] for key in result["Ok"]} == result["Ok"]
    assert {key: stored[key] for key in challenge} == challenge
    assert stored["challengeAnswer"] == "Because."
    assert stored["submittedBy"] == mainer.canister_id
    assert protocol.game_state.getOpenSubmissionsAdmin() == [stored]
    assert protocol.game_state.getProtocolTotalCyclesBurnt() == SUBMISSION_CYCLES


def test_too_few_cycles_are_checked_before_the_registration(protocol: Protocol) -> None:
    unknown, challenge = Forwarder(protocol.owner, 10**13), protocol.open_challenge()
    result, kept = submit(protocol, unknown, challenge, cycles=SUBMISSION_CYCLES - 1)
    assert (result, kept) == ({"Err": {"InsuffientCycles": SUBMISSION_CYCLES}}, A_FIFTH)


def test_a_submission_without_cycles_costs_what_is_there(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    assert submit(protocol, mainer, challenge, cycles=0) == ({"Err": {"InsuffientCycles": SUBMISSION_CYCLES}}, 0)
    assert submit(protocol, mainer, challenge, cycles=7)[1] == 7


def test_failing_submissions_cost_a_fifth(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    unknown = Forwarder(protocol.owner, 10**13)
    assert submit(protocol, unknown, challenge) == (UNAUTHORIZED, A_FIFTH)
    assert submit(protocol, mainer, challenge, submittedBy=unknown.canister_id) == (UNAUTHORIZED, A_FIFTH)
    assert submit(protocol, mainer, challenge, challengeId="no such challenge") == (INVALID_ID, A_FIFTH)
    assert protocol.game_state.getNumSubmissionsAdmin() == 0
    assert protocol.game_state.getProtocolTotalCyclesBurnt() == 3 * A_FIFTH


def test_the_challenge_of_a_submission_must_be_open(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    judge = protocol.as_official("Judge")
    for points in (1, 2, 3):
        submit(protocol, mainer, challenge)
        score(judge, points)
    assert submit(protocol, mainer, challenge) == (INVALID_ID, A_FIFTH)


# Judging


def test_the_judge_gets_the_oldest_submission_once(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    ids = [submit(protocol, mainer, challenge)[0]["Ok"]["submissionId"] for _ in range(3)]
    judge = protocol.as_official("Judge")
    taken = [judge.getNextSubmissionToJudge() for _ in range(3)]
    assert [submission["submissionId"] for submission in taken] == ids
    assert {case(submission["submissionStatus"]) for submission in taken} == {"Judging"}
    assert set(statuses(protocol).values()) == {"Judging"}
    with pytest.raises(CanisterError, match="no submissions to judge"):
        judge.getNextSubmissionToJudge()


def test_a_submission_that_its_judge_leaves_goes_to_the_next(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    for _ in range(2):
        submit(protocol, mainer, challenge)
    gone, judge = protocol.as_official("Judge"), protocol.as_official("Judge")
    stuck = gone.getNextSubmissionToJudge()
    (listed,) = protocol.game_state.getJudgingSubmissionsAdmin()
    assert listed["submission"] == stuck
    assert listed["judge"] == text_of(gone.agent)
    assert listed["judgingTimestamp"] >= stuck["submittedTimestamp"]
    assert 0 <= listed["secondsJudging"] < 600
    place = {"challengeId": challenge["challengeId"], "submissionId": stuck["submissionId"]}
    protocol.upgrade(protocol.game_state)
    assert [one["judge"] for one in protocol.game_state.getJudgingSubmissionsAdmin()] == [text_of(gone.agent)]
    assert protocol.game_state.resetJudgingSubmissionAdmin(place) == {**stuck, "submissionStatus": {"Submitted": None}}
    assert protocol.game_state.getJudgingSubmissionsAdmin() == []
    assert protocol.game_state.getNumOpenSubmissionsAdmin() == 2
    with pytest.raises(CanisterError, match="score it once"):
        gone.addScoredResponse({**stuck, "judgedBy": text_of(gone.agent), "score": 1, "scoreSeed": 1})
    assert score(judge, 4)["submissionId"] == stuck["submissionId"]  # the oldest again
    with pytest.raises(CanisterError, match="its status is #Judged"):
        protocol.game_state.resetJudgingSubmissionAdmin(place)
    for wrong in ({**place, "submissionId": "none"}, {**place, "challengeId": "none"}):
        with pytest.raises(CanisterError, match="InvalidId"):
            protocol.game_state.resetJudgingSubmissionAdmin(wrong)


def given_back(judge: Canister, submission: dict[str, Any], unjudgeable: bool) -> dict[str, Any]:
    place = {key: submission[key] for key in ("challengeId", "submissionId")}
    back: dict[str, Any] = judge.giveBackSubmission({**place, "reason": "no grade", "unjudgeable": unjudgeable})
    return back


def test_what_a_judge_gives_back_is_judged_after_the_others(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    first, second = (submit(protocol, mainer, challenge)[0]["Ok"]["submissionId"] for _ in range(2))
    judge, other = protocol.as_official("Judge"), protocol.as_official("Judge")
    taken = judge.getNextSubmissionToJudge()
    with pytest.raises(CanisterError, match="Another Judge has this submission"):
        given_back(other, taken, unjudgeable=False)
    assert given_back(judge, taken, unjudgeable=False)["submissionStatus"] == {"Submitted": None}
    with pytest.raises(CanisterError, match="its status is #Submitted"):
        given_back(judge, taken, unjudgeable=False)
    with pytest.raises(CanisterError, match="Unauthorized"):
        given_back(protocol.stranger(protocol.game_state), taken, unjudgeable=False)
    protocol.upgrade(protocol.game_state)
    assert [other.getNextSubmissionToJudge()["submissionId"] for _ in range(2)] == [second, first]


def test_what_no_judge_can_grade_is_given_up(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    submit(protocol, mainer, challenge)
    judge = protocol.as_official("Judge")
    for unjudgeable in (True, False, True, True):
        assert list(statuses(protocol).values()) == ["Submitted"]
        back = given_back(judge, judge.getNextSubmissionToJudge(), unjudgeable)
    assert back["submissionStatus"] == {"Other": "not graded by 3 attempts, at last because: no grade"}
    assert protocol.game_state.getNumOpenSubmissionsAdmin() == 0


def test_scores_are_for_submissions_being_judged_by_the_caller(protocol: Protocol) -> None:
    mainer, challenge = protocol.registered_forwarder(), protocol.open_challenge()
    submit(protocol, mainer, challenge)
    (waiting,) = protocol.game_state.getSubmissionsAdmin()
    judge = protocol.as_official("Judge")
    scored = {**waiting, "judgedBy": text_of(judge.agent), "score": 5, "scoreSeed": 3}
    with pytest.raises(CanisterError, match="take it with getNextSubmissionToJudge"):
        judge.addScoredResponse(scored)
    judge.getNextSubmissionToJudge()
    for wrong in (
        {"judgedBy": text_of(protocol.owner)},
        {"submissionId": "no such submission"},
        {"challengeId": "no such challenge"},
    ):
        with pytest.raises(CanisterError, match=r"Unauthorized|InvalidId"):
            judge.addScoredResponse({**scored, **wrong})
    with pytest.raises(CanisterError, match="Unauthorized"):
        protocol.stranger(protocol.game_state).addScoredResponse(scored)
    assert judge.addScoredResponse(scored) == {"success": True}
    with pytest.raises(CanisterError, match="score it once"):
        judge.addScoredResponse(scored)
    assert list(statuses(protocol).values()) == ["Judged"]


def test_the_third_score_closes_the_challenge_and_declares_the_winners(protocol: Protocol) -> None:
    mainers = [protocol.registered_forwarder() for _ in range(4)]
    challenge = protocol.open_challenge()
    ids = [submit(protocol, mainer, challenge)[0]["Ok"]["submissionId"] for mainer in mainers]
    judge = protocol.as_official("Judge")
    for points in (3, 5, 3):
        score(judge, points)

    game_state = protocol.game_state
    assert game_state.getCurrentChallengesAdmin() == []
    assert statuses(protocol) == {ids[0]: "Processed", ids[1]: "Processed", ids[2]: "Processed", ids[3]: "Other"}
    assert game_state.getNumOpenSubmissionsAdmin() == 0
    (declaration,) = game_state.getRecentChallengeWinners()
    places = [declaration[place] for place in ("winner", "secondPlace", "thirdPlace")]
    # the best score first, of equal ones the one that was judged last
    assert [place["submissionId"] for place in places] == [ids[1], ids[2], ids[0]]
    assert [case(place["result"]) for place in places] == ["Winner", "SecondPlace", "ThirdPlace"]
    assert [place["reward"]["amount"] for place in places] == [35 + 15, 15 + 15, 5 + 15]
    assert {place["ownedBy"] for place in places} == {text_of(protocol.owner)}
    assert not any(place["reward"]["distributed"] for place in places)
    assert game_state.getRecentProtocolActivity() == {"winners": [declaration], "challenges": []}
    assert game_state.getNumScoredChallengesAdmin() == 1
    wanted = {"challengeId": challenge["challengeId"], "submissionId": ids[1]}
    assert game_state.getScoreForSubmission(wanted)["score"] == 5
    with pytest.raises(CanisterError, match="InvalidId"):
        game_state.getScoreForSubmission({**wanted, "submissionId": ids[3]})


def test_the_oldest_closed_challenges_are_archived(protocol: Protocol) -> None:
    thresholds(protocol, thresholdArchiveClosedChallenges=4)
    mainer, judge = protocol.registered_forwarder(), protocol.as_official("Judge")
    ids: list[str] = []
    for _ in range(4):
        assert len(protocol.game_state.getRecentChallengeWinners()) == len(ids)
        challenge = protocol.open_challenge()
        ids.append(challenge["challengeId"])
        for points in (1, 2, 3):
            submit(protocol, mainer, challenge)
            score(judge, points)
    game_state = protocol.game_state
    assert [declaration["challengeId"] for declaration in game_state.getRecentChallengeWinners()] == ids[:1:-1]
    assert {submission["challengeId"] for submission in game_state.getSubmissionsAdmin()} == set(ids[2:])
    assert [challenge_id for challenge_id, _ in game_state.getScoredChallengesAdmin()] == ids[2:]


def test_a_ranking_needs_three(protocol: Protocol) -> None:
    with pytest.raises(CanisterError, match="at least 3"):
        thresholds(protocol, thresholdScoredResponsesPerChallenge=2)


def test_everything_survives_an_upgrade(protocol: Protocol) -> None:
    mainer, judge = protocol.registered_forwarder(), protocol.as_official("Judge")
    challenge = protocol.open_challenge()
    submit(protocol, mainer, challenge)
    score(judge, 4)
    submit(protocol, mainer, challenge)
    thresholds(protocol, thresholdMaxOpenSubmissions=9)
    game_state = protocol.game_state

    def state() -> list[Any]:
        return [
            game_state.getSubmissionsAdmin(),
            game_state.getCurrentChallengesAdmin(),
            game_state.getScoredChallengesAdmin(),
            game_state.getGameStateThresholdsAdmin(),
            game_state.getMainerAgentCanistersForUser(),
            game_state.getProtocolTotalCyclesBurnt(),
        ]

    before = state()
    protocol.upgrade(game_state)
    assert state() == before
    for _ in range(2):
        if protocol.game_state.getNumOpenSubmissionsAdmin() == 0:
            submit(protocol, mainer, challenge)
        score(judge, 1)
    assert len(game_state.getRecentChallengeWinners()) == 1


def test_whoami_tells_the_caller(protocol: Protocol) -> None:
    agent = someone(protocol.running)
    assert protocol.seen_by(agent, protocol.game_state).whoami() == text_of(agent)
    assert protocol.game_state.amiController() == {"auth": "You are a controller of this canister."}
    assert protocol.game_state.health() == {"status_code": 200}
