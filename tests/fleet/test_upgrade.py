"""Upgrades of a fleet on real canisters: nothing is lost, each is upgraded once, and what goes wrong is taken back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import artifacts, create, fleet, management, operate, places, tables, upload
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import ArgumentError, ArtifactError
from mainer_nb.fleet import Fleet, Role, authority, snapshots, upgrade, work
from mainer_nb.fleet.switch import Upgraded
from mainer_nb.network import CREATOR, GAME_STATE, Network
from mainer_nb.operate import Challenge
from tests import code_variants
from tests.original_interface import original
from tests.stages import MODEL

CONTROLLER = upload.CONTROLLER
SOMEBODY = "2vxsx-fae"
EVERYBODY: dict[Role, str] = {
    "Game State": GAME_STATE,
    "Creator": CREATOR,
    "Own": CONTROLLER,
    "ShareService": CONTROLLER,
    "ShareAgent": CONTROLLER,
    "LLM": "llama_cpp",
}


@pytest.fixture(scope="module")
def net(own_network: Callable[..., Network]) -> Network:
    """A network of its own, since code changes on it: an Own that has two LLMs, a ShareService and a ShareAgent."""
    return own_network(Plan(own=1, llms_per_own=2, services=1, llms_per_service=1, agents=1))


@pytest.fixture
def whole(net: Network) -> Fleet:
    return fleet.of(net)


@pytest.fixture
def own(net: Network) -> Mainer:
    return create.mainers(net)[0]


@pytest.fixture
def mainer(net: Network, own: Mainer) -> Canister:
    """The Own mAIner, with timers that fire soon after they are started, and then once a day."""
    controller = operate.mainer_canister(net, own.controller_id)
    controller.setTimerIntervalAdmin(86_400)
    return controller


@pytest.fixture
def the_own(whole: Fleet) -> Fleet:
    return whole.only(["Own 1"])


@pytest.fixture
def timers(net: Network, own: Mainer, mainer: Canister) -> Iterator[None]:
    """The Own mAIner works by itself."""
    mainer.startTimerExecutionAdmin()
    yield
    mainer.stopTimerExecutionAdmin()  # of what they have begun, see `challenge`


@pytest.fixture
def code(tmp_path: Path) -> Callable[..., Path]:
    """Writes a variant of shipped code; with another hash in each test."""

    def write(name: str, change: Callable[..., bytes] = code_variants.marked, *arguments: str) -> Path:
        shipped = artifacts.llm_wasm().data() if name == "llama_cpp" else artifacts.canister_wasm(name).data()
        path = tmp_path / f"{name}.wasm"
        path.write_bytes(code_variants.marked(change(shipped, *(arguments or [str(tmp_path)])), str(tmp_path)))
        path.with_suffix(".did").write_text((places.files() / f"{name}.did").read_text())
        return path

    return write


@pytest.fixture
def slow(net: Network, own: Mainer, keep_it_short: Callable[[Network, str], None]) -> Iterator[None]:
    """The LLMs do so few tokens a call that an answer takes many."""
    for llm_id in own.llm_ids:
        fleet.canister(net, llm_id).set_max_tokens({"max_tokens_update": 8, "max_tokens_query": 8})
    yield
    for llm_id in own.llm_ids:
        keep_it_short(net, llm_id)


@pytest.fixture
def challenge(net: Network, whole: Fleet, mainer: Canister) -> Challenge:
    """One that the Own mAIner finds; it has nothing else to do."""
    work.wait_until_idle(net, whole.member(mainer.canister_id))
    mainer.resetChallengeQueueAdmin()
    operate.make_room(net, challenges=1, submissions=3)
    return operate.open_challenge(net, "arithmetic", "What is one and one?", seed=7)


def by_name(report: upgrade.UpgradeReport) -> dict[str, Upgraded]:
    return {row.member.name: row for row in report.rows}


def modules(net: Network, of: Fleet) -> dict[str, str | None]:
    return {member.name: management.module_hash(net.agent, member.canister_id) for member in of.members}


def left_behind(net: Network, of: Fleet) -> list[str]:
    return [member.name for member in of.members if snapshots.kept(net.agent, member.canister_id)]


def only(net: Network, of: Fleet, path: Path, **how: Any) -> Upgraded:
    """What happens to the only member when it is upgraded to this code."""
    (member,) = of.members
    (row,) = upgrade.run(net, upgrade.plan(net, of, {member.role: path}, **how), patience=60, carry_out=True).rows
    return row


# --- plans ---


def test_a_plan_changes_nothing_and_says_what_would_happen(
    net: Network, whole: Fleet, code: Callable[..., Path]
) -> None:
    before = modules(net, whole)
    dropping = code(CONTROLLER, code_variants.without, "whoami")
    planned = upgrade.plan(
        net, whole, {"Own": dropping, "LLM": code("llama_cpp")}, rehearsed=[(before["Own 1"] or "", "")]
    )
    rows = {row.member.name: row for row in planned.rows}
    assert {name for name, row in rows.items() if row.action == "upgrade"} == {
        *("Own 1", "Own 1, LLM 1", "Own 1, LLM 2", "ShareService 1, LLM 1"),
    }
    assert rows["Own 1"].breaks == "it drops whoami"
    assert rows["Own 1"].way_back == "snapshot"
    assert rows["Own 1, LLM 1"].way_back == "made again"  # the creator has its code and its model
    assert rows["Own 1, LLM 1"].breaks == ""
    assert "no code is given" in rows["Game State"].reason
    assert 10**9 < rows["Own 1"].cycles < 10**11
    assert planned.cycles == sum(row.cycles for row in planned.due)
    report = upgrade.run(net, planned)
    assert {(row.member.name, row.outcome) for row in report.rows} == {
        (row.member.name, "planned") for row in planned.due
    }
    assert modules(net, whole) == before
    assert left_behind(net, whole) == []
    shown = {row["canister"]: row for row in tables.upgrade_plan(planned).rows}
    assert "drops whoami" in str(shown["Own 1"]["clients of the old interface"])


def test_what_has_the_code_is_left_alone(net: Network, whole: Fleet) -> None:
    planned = upgrade.plan(net, whole)
    assert {row.reason for row in planned.rows if row.action == "left alone"} <= {"it has this code"}
    shipped = replace(whole, members=tuple(member for member in whole.members if member.role == "Game State"))
    assert upgrade.plan(net, shipped).due == ()
    assert upgrade.run(net, upgrade.plan(net, shipped), carry_out=True).rows == ()


def test_what_was_rehearsed_is_said(net: Network, whole: Fleet, code: Callable[..., Path]) -> None:
    """Upgrading one mAIner stands for a rehearsal of the other one's upgrade: both have the same code."""
    path = code(CONTROLLER)
    codes: dict[Role, Path] = {"Own": path, "ShareService": path}
    for role in codes:
        assert not any(row.rehearsed for row in upgrade.plan(net, whole, codes).due)
        shipped = artifacts.canister_wasm(CONTROLLER).data()
        management.install_code(net.agent, whole.of_role(role)[0].canister_id, shipped, "upgrade")
    done = upgrade.run(net, upgrade.plan(net, whole.only(["Own 1"]), codes), carry_out=True)
    (row,) = upgrade.plan(net, whole, codes, rehearsed=done.modules).due
    assert (row.member.role, row.rehearsed) == ("ShareService", True)


def test_code_that_is_missing_or_damaged_is_named(net: Network, the_own: Fleet, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere\.wasm"):
        upgrade.plan(net, the_own, {"Own": tmp_path / "nowhere.wasm"})
    (tmp_path / "bad.wasm").write_bytes(b"\0asm\1\0\0\0garbage")
    with pytest.raises(ArtifactError, match=r"bad\.wasm"):
        upgrade.plan(net, the_own, {"Own": tmp_path / "bad.wasm"})
    with pytest.raises(ArgumentError, match="at_once is 0"):
        upgrade.run(net, upgrade.UpgradePlan(()), at_once=0)


def test_who_may_not_is_told_by_the_plan(
    net: Network, the_own: Fleet, code: Callable[..., Path], as_stranger: Callable[[Network], Network]
) -> None:
    (row,) = upgrade.plan(as_stranger(net), the_own, {"Own": code(CONTROLLER)}).rows
    assert row.action == "left alone"
    assert "cannot be upgraded by" in row.reason


# --- what goes well ---


def test_a_whole_fleet_is_upgraded_once_and_works_as_before(
    net: Network, whole: Fleet, code: Callable[..., Path], timers: None, own: Mainer, challenge: Challenge
) -> None:
    codes = {role: code(name) for role, name in EVERYBODY.items()}
    planned = upgrade.plan(net, whole, codes)
    assert len(planned.due) == len(whole.members)
    report = upgrade.run(net, planned, carry_out=True)
    assert {row.outcome for row in report.rows} == {"upgraded"}, report
    assert all(row.away is not None and row.away > 0 for row in report.rows)
    assert all(row.cycles is not None and row.cycles > 10**9 for row in report.rows)
    assert [row.notes for row in report.rows] == [()] * len(report.rows)
    assert set(modules(net, whole).values()) == {row.code.sha256 for row in planned.rows if row.code}
    assert left_behind(net, whole) == []
    found = work.of(net, own.controller_id)
    assert found is not None
    assert (found.timers, found.maintenance) == (True, False)
    assert sorted(operate.mainer_canister(net, own.controller_id).getLlmCanisters()) == sorted(own.llm_ids)
    assert upgrade.run(net, upgrade.plan(net, whole, codes), carry_out=True).rows == ()
    assert upgrade.resume(net).rows == ()
    known = operate.submission_ids(net)
    operate.answer(net, own.controller_id)
    assert len(operate.new_submissions(net, known)) == 1
    assert len(tables.upgraded(report).rows) == len(report.rows)


def test_snapshots_are_kept_if_wanted(net: Network, the_own: Fleet, code: Callable[..., Path]) -> None:
    row = only(net, the_own, code(CONTROLLER), keep_snapshots=True)
    (taken,) = snapshots.kept(net.agent, row.member.canister_id)
    assert taken.snapshot_id == row.snapshot_id
    snapshots.delete(net.agent, row.member.canister_id, taken.snapshot_id)


def test_what_stood_stands_afterwards(net: Network, the_own: Fleet, code: Callable[..., Path]) -> None:
    (member,) = the_own.members
    management.stop(net.agent, member.canister_id)
    try:
        row = only(net, the_own, code(CONTROLLER))
        assert (row.outcome, management.status(net.agent, member.canister_id).status) == ("upgraded", "stopped")
    finally:
        management.start(net.agent, member.canister_id)


def test_an_answer_under_way_is_neither_lost_nor_begun_anew(
    net: Network, own: Mainer, whole: Fleet, code: Callable[..., Path], challenge: Challenge, slow: None
) -> None:
    """The mAIner and both of its LLMs are upgraded while it answers."""
    operate.fund(net, [own])
    known, mainer = operate.submission_ids(net), operate.mainer_canister(net, own.controller_id)
    failures = mainer.getRecentFailuresAdmin()
    codes: dict[Role, Path] = {"Own": code(CONTROLLER), "LLM": code("llama_cpp")}
    planned = upgrade.plan(net, whole.only(["Own 1", *own.llm_ids]), codes)
    said: list[str] = []
    answering = threading.Thread(target=lambda: said.append(operate.trigger(net, own.controller_id)))
    answering.start()
    while mainer.getWorkStatusAdmin()["answering"] is None:
        assert answering.is_alive()
    queued = [entry.challenge_id for entry in operate.queue(net, own.controller_id)]
    report = upgrade.run(net, planned, carry_out=True)
    answering.join()
    assert {row.outcome for row in report.rows} == {"upgraded"}, report
    assert "Submitted the answer" in said[0]
    (submission,) = operate.new_submissions(net, known)
    assert submission.submitted_by == own.controller_id
    left = [entry.challenge_id for entry in operate.queue(net, own.controller_id)]
    assert sorted([submission.challenge_id, *left]) == sorted(queued)
    assert mainer.getRecentFailuresAdmin() == failures


def test_the_mainer_goes_on_with_its_other_llm_meanwhile(
    net: Network, own: Mainer, whole: Fleet, code: Callable[..., Path], challenge: Challenge
) -> None:
    """An LLM is asked while the other one is upgraded, until the second one is away."""
    operate.fund(net, [own])
    known = operate.submission_ids(net)
    first = whole.only([own.llm_ids[0]])
    mainer = operate.mainer_canister(net, own.controller_id)
    mainer.remove_llm_canister({"canister_id": own.llm_ids[1]})
    mainer.add_llm_canister({"canister_id": own.llm_ids[1]})
    report: list[Upgraded] = []
    upgrading = threading.Thread(target=lambda: report.append(only(net, first, code("llama_cpp"))))
    upgrading.start()
    work.wait_until(lambda: own.llm_ids[0] not in mainer.getLlmCanisters() or bool(report), "is out of rotation", 60)
    operate.answer(net, own.controller_id)
    upgrading.join()
    assert report[0].outcome == "upgraded", report
    assert len(operate.new_submissions(net, known)) == 1
    assert sorted(mainer.getLlmCanisters()) == sorted(own.llm_ids)


def test_the_only_llm_of_a_mainer_has_it_in_maintenance_meanwhile(
    net: Network, whole: Fleet, code: Callable[..., Path]
) -> None:
    (service,) = whole.of_role("ShareService")
    row = only(net, whole.only(["ShareService 1, LLM 1"]), code("llama_cpp"))
    assert row.outcome == "upgraded", row
    found = work.of(net, service)
    assert found is not None
    assert not found.maintenance
    assert operate.mainer_canister(net, service.canister_id).getLlmCanisters() == [row.member.canister_id]


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("change", "arguments", "reason"),
    [
        (code_variants.renamed, ["health"], "health"),
        (code_variants.without, ["whoami"], "it drops whoami"),
        (lambda wasm, _: code_variants.trapping("service : {}"), ["-"], "the new code was refused"),
    ],
    ids=["no health", "a method less", "a trap"],
)
def test_old_code_and_state_come_back_by_themselves(
    net: Network,
    the_own: Fleet,
    own: Mainer,
    mainer: Canister,
    timers: None,
    code: Callable[..., Path],
    change: Callable[..., bytes],
    arguments: list[str],
    reason: str,
) -> None:
    before = modules(net, the_own)
    mainer.setRoundRobinLLMs(2)  # something that is kept
    submitted = operate.submitted(net, own.controller_id)
    row = only(net, the_own, code(CONTROLLER, change, *arguments))
    assert row.outcome == "returned", row
    assert reason in row.reason
    assert modules(net, the_own) == before
    assert row.module == before["Own 1"]
    assert mainer.health() == {"status_code": 200}
    assert operate.submitted(net, own.controller_id) == submitted
    found = work.of(net, own.controller_id)
    assert found is not None
    assert (found.timers, found.maintenance) == (True, False)
    taken = snapshots.take(net.agent, own.controller_id)
    assert snapshots.timer_is_set(net.agent, taken)  # the network will wake it
    snapshots.delete(net.agent, own.controller_id, taken.snapshot_id)
    assert left_behind(net, the_own) == []
    assert upgrade.interrupted(net) == ()


def test_state_that_the_new_code_cannot_read_is_kept(net: Network, the_own: Fleet, code: Callable[..., Path]) -> None:
    before = modules(net, the_own)
    row = only(net, the_own, code(GAME_STATE))
    assert row.outcome == "returned", row
    assert "the new code was refused" in row.reason
    assert modules(net, the_own) == before
    assert operate.mainer_canister(net, row.member.canister_id).getLlmCanisters()


def test_a_method_may_go_if_that_is_allowed(net: Network, whole: Fleet, code: Callable[..., Path]) -> None:
    agent = whole.only(["ShareAgent 1"])
    row = only(net, agent, code(CONTROLLER, code_variants.without, "whoami"), allow_breaking=True)
    assert row.outcome == "upgraded", row
    assert "whoami" not in fleet.canister(net, row.member).methods


def test_a_game_state_that_lost_its_health_comes_back_with_all_that_it_had(
    net: Network, whole: Fleet, code: Callable[..., Path]
) -> None:
    known = operate.submission_ids(net)
    row = only(net, whole.only(["Game State"]), code(GAME_STATE, code_variants.renamed, "health"))
    assert row.outcome == "returned", row
    assert operate.submission_ids(net) == known
    assert net.canister(GAME_STATE).health() == {"status_code": 200}


def test_an_llm_that_answers_no_more_is_made_again_by_the_creator(
    net: Network, own: Mainer, whole: Fleet, code: Callable[..., Path]
) -> None:
    llm = whole.only([own.llm_ids[0]])
    upload.upload_llm_wasm(
        net, artifacts.given_wasm(_installed(net, llm, code)), artifacts.describe(artifacts.model(MODEL)).variant
    )
    before = modules(net, llm)
    broken = code("llama_cpp", code_variants.renamed, "run_update")
    planned = upgrade.plan(net, llm, {"LLM": broken})
    assert planned.rows[0].way_back == "made again"
    (row,) = upgrade.run(net, planned, carry_out=True).rows
    assert row.outcome == "returned", row
    assert modules(net, llm) == before
    assert "made it again" in row.notes[-1]
    canister = fleet.canister(net, row.member)
    assert canister.ready() == {"status_code": 200}
    assert own.llm_ids[0] in operate.mainer_canister(net, own.controller_id).getLlmCanisters()


def _installed(net: Network, llm: Fleet, code: Callable[..., Path]) -> Path:
    """The code that an LLM gets before the test."""
    path = code("llama_cpp")
    assert only(net, llm, path).outcome == "upgraded"
    return path


def test_an_llm_that_the_creator_cannot_make_again_has_a_snapshot(
    net: Network, own: Mainer, whole: Fleet, code: Callable[..., Path], keep_it_short: Callable[[Network, str], None]
) -> None:
    llm = whole.only([own.llm_ids[1]])
    keep_it_short(net, own.llm_ids[1])
    _installed(net, llm, code)  # the creator has other code
    before = modules(net, llm)
    planned = upgrade.plan(net, llm, {"LLM": code("llama_cpp", code_variants.renamed, "run_update")})
    assert planned.rows[0].way_back == "snapshot"
    (row,) = upgrade.run(net, planned, carry_out=True).rows
    assert row.outcome == "returned", row
    assert modules(net, llm) == before
    assert fleet.canister(net, row.member).get_max_tokens() == {"max_tokens_update": 50, "max_tokens_query": 50}
    assert fleet.canister(net, row.member).ready() == {"status_code": 200}
    assert left_behind(net, llm) == []


def test_one_that_fails_does_not_stop_the_others_unless_told_to(
    net: Network, whole: Fleet, code: Callable[..., Path]
) -> None:
    broken, good = code(GAME_STATE, code_variants.renamed, "health"), code(CONTROLLER)
    codes: dict[Role, Path] = {"Game State": broken, "Own": good}
    stopped = by_name(upgrade.run(net, upgrade.plan(net, whole, codes), stop_at_failure=True, carry_out=True))
    assert stopped["Game State"].outcome == "returned"
    assert stopped["Own 1"].outcome == "interrupted"
    assert [member.name for member in upgrade.interrupted(net)] == ["Own 1"]
    assert by_name(upgrade.resume(net))["Own 1"].outcome == "upgraded"
    assert upgrade.interrupted(net) == ()


def test_a_canister_that_changed_since_the_plan_is_left_alone(
    net: Network, the_own: Fleet, code: Callable[..., Path]
) -> None:
    planned = upgrade.plan(net, the_own, {"Own": code(CONTROLLER)})
    other = artifacts.canister_wasm(CONTROLLER).data()
    management.install_code(net.agent, the_own.canister_ids[0], code_variants.marked(other, "somebody else"), "upgrade")
    (row,) = upgrade.run(net, planned, carry_out=True).rows
    assert row.outcome == "left alone"
    assert "make a new plan" in row.reason


def test_one_that_is_out_of_cycles_is_left_alone_and_the_plan_says_so(
    net: Network, the_own: Fleet, code: Callable[..., Path]
) -> None:
    (own_id,) = the_own.canister_ids
    management.update_settings(net.agent, own_id, freezing_threshold=10**12)
    (row,) = upgrade.plan(net, the_own, {"Own": code(CONTROLLER)}).rows
    management.update_settings(net.agent, own_id, freezing_threshold=30 * 86_400)
    assert row.action == "left alone"
    assert "out of cycles" in row.reason


def test_one_that_was_deleted_since_the_plan_has_failed_and_is_not_tried_again(
    net: Network, code: Callable[..., Path]
) -> None:
    made = create.create_mainer(net, "Own").controller_id
    planned = upgrade.plan(net, fleet.of(net).only([made]), {"Own": code(CONTROLLER)})
    management.stop(net.agent, made)
    management.delete(net.agent, made)
    create.forget(net, made)
    report = upgrade.run(net, planned, carry_out=True)
    assert [(row.outcome, row.reason) for row in report.rows] == [("failed", "it was deleted")]
    assert report.complete
    assert upgrade.interrupted(net) == ()


def test_what_another_process_has_upgraded_meanwhile_is_not_upgraded_again(
    net: Network, the_own: Fleet, code: Callable[..., Path]
) -> None:
    planned = upgrade.plan(net, the_own, {"Own": code(CONTROLLER)})
    assert [row.outcome for row in upgrade.run(net, planned, carry_out=True).rows] == ["upgraded"]
    assert upgrade.run(net, planned, carry_out=True).rows == ()


def test_one_of_the_original_interface_is_upgraded_and_what_it_lacks_is_said(
    net: Network, whole: Fleet, code: Callable[..., Path]
) -> None:
    agent = whole.only(["ShareAgent 1"])
    management.install_code(
        net.agent, agent.canister_ids[0], original(artifacts.canister_wasm(CONTROLLER).data(), CONTROLLER), "upgrade"
    )
    mainer = operate.mainer_canister(net, agent.canister_ids[0])
    mainer.startTimerExecutionAdmin()
    row = only(net, agent, code(CONTROLLER, original, CONTROLLER), allow_breaking=True)
    assert row.outcome == "upgraded", row
    assert any("does not offer setMaintenanceFlagAdmin" in note for note in row.notes)
    assert any("a timer was set, so they are started" in note for note in row.notes)
    row = only(net, agent, code(CONTROLLER), allow_breaking=True)  # the names of what it lacked go
    assert row.outcome == "upgraded", row
    found = work.of(net, agent.members[0])
    assert found is not None
    assert found.timers
    mainer.stopTimerExecutionAdmin()


@pytest.fixture
def of_another_owner(net: Network) -> Fleet:
    """A mAIner that works by itself, whose controllers are somebody else and the creator; the caller controls that."""
    order = {
        "canisterType": "MainerAgent",
        "selectedModel": "Qwen2_5_500M",
        "associatedCanisterAddress": None,
        "owner": SOMEBODY,
        "mainerAgentCanisterType": "Own",
    }
    mainer_id = net.canister(CREATOR).createCanister(order)["newCanisterId"]
    found = fleet.of(net).only([mainer_id])
    mainer = fleet.canister(net, found.members[0])
    mainer.setTimerIntervalAdmin(86_400)
    mainer.startTimerExecutionAdmin()
    return found


def test_a_mainer_of_another_owner_is_upgraded_and_taken_back_by_the_creator(
    net: Network, of_another_owner: Fleet, code: Callable[..., Path]
) -> None:
    (member,) = of_another_owner.members
    path = code(CONTROLLER)
    (row,) = upgrade.plan(net, of_another_owner, {"Own": path}).rows
    assert "is not uploaded to the creator" in row.reason
    upload.upload_controller(net, artifacts.given_wasm(path))
    done = only(net, of_another_owner, path)
    assert (done.outcome, done.notes) == ("upgraded", ()), done
    broken = code(CONTROLLER, code_variants.renamed, "health")
    upload.upload_controller(net, artifacts.given_wasm(broken))
    returned = only(net, of_another_owner, broken)
    assert (returned.outcome, returned.module) == ("returned", done.module), returned
    found = work.of(net, member)
    assert found is not None
    assert (found.timers, found.maintenance) == (True, False)
    assert authority.kept_snapshots(net, member.canister_id) == []
    assert {"upgrade", "take a snapshot", "load a snapshot"} <= {each.operation for each in authority.operations(net)}
