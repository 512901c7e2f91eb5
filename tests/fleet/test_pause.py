"""The protocol pauses in the order that loses nothing and goes on as it was; a mAIner in maintenance takes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mainer_nb import artifacts, create, fleet, management, operate, places, tables
from mainer_nb.create import Mainer
from mainer_nb.errors import CanisterError, NetworkError, PreconditionError
from mainer_nb.fleet import Fleet, pause, work
from mainer_nb.network import Network
from mainer_nb.operate import Challenge
from tests.original_interface import original
from tests.scripted_llm import scripted

QUICK = 2.0  # seconds


@pytest.fixture
def whole(uploaded: Network, mainers: list[Mainer]) -> Iterator[Fleet]:
    """All canisters, with no timers running; so again after the test."""
    yield fleet.of(uploaded)
    for mainer in mainers:
        operate.mainer_canister(uploaded, mainer.controller_id).setMaintenanceFlagAdmin(False)
        operate.stop_timers(uploaded, mainer.controller_id)


def running(net: Network, whole: Fleet) -> set[str]:
    return {mainer.name for mainer in whole.mainers if (found := work.of(net, mainer)) and found.timers}


def test_only_those_that_ran_are_started_again_in_the_opposite_order(uploaded: Network, whole: Fleet) -> None:
    for mainer in whole.mainers[1:]:
        operate.start_timers(uploaded, mainer.canister_id)
    before = running(uploaded, whole)
    assert before == {mainer.name for mainer in whole.mainers[1:]}

    paused = pause.pause(uploaded, whole)
    assert running(uploaded, whole) == set()
    order = [row.member.role for row in paused]
    assert order == sorted(order, key=lambda role: {"Own": 0, "ShareAgent": 0, "ShareService": 1}[role])
    assert {row.member.name for row in paused if row.before == "ran"} == before
    assert set(pause.paused(uploaded)) == {mainer.canister_id for mainer in whole.mainers}

    resumed = pause.resume(uploaded, whole)
    assert next(row.member for row in resumed if row.before == "ran").role == "ShareService"
    assert running(uploaded, whole) == before
    assert pause.paused(uploaded) == {}
    assert pause.resume(uploaded, whole) == []
    assert [row["canister"] for row in tables.paused(resumed).rows] == [row.member.name for row in resumed]


def test_a_second_pause_does_not_forget_who_ran(uploaded: Network, whole: Fleet, own: Mainer) -> None:
    operate.start_timers(uploaded, own.controller_id)
    pause.pause(uploaded, whole)
    (again,) = pause.pause(uploaded, whole.only([own.controller_id]))
    assert (again.before, again.done) == ("ran", "it was paused already")
    pause.resume(uploaded, whole)
    assert running(uploaded, whole) == {own.name}


def test_who_ran_is_on_disk_before_anything_is_stopped(
    uploaded: Network, whole: Fleet, own: Mainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operate.start_timers(uploaded, own.controller_id)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pause, "canister", killed)
        with pytest.raises(KeyboardInterrupt):
            pause.pause(uploaded, whole.only([own.controller_id]))
    operate.stop_timers(uploaded, own.controller_id)  # as the killed process had done
    assert json.loads((places.state() / "fleet" / "local.paused.json").read_text()) == {own.controller_id: "ran"}
    pause.resume(uploaded, whole)
    assert running(uploaded, whole) == {own.name}


def test_a_share_service_answers_what_it_has_before_it_stops(
    uploaded: Network, whole: Fleet, service: Mainer, agents: list[Mainer], challenge: Challenge
) -> None:
    known = operate.submission_ids(uploaded)
    for agent in agents:
        operate.trigger(uploaded, agent.controller_id)
    operate.mainer_canister(uploaded, service.controller_id).setTimerIntervalAdmin(1)
    operate.start_timers(uploaded, service.controller_id)
    try:
        pause.pause(uploaded, whole)
    finally:
        operate.mainer_canister(uploaded, service.controller_id).setTimerIntervalAdmin(operate.TIMER_INTERVAL)
    assert operate.queue(uploaded, service.controller_id) == []
    found = operate.new_submissions(uploaded, known)
    assert {submission.submitted_by for submission in found} == {agent.controller_id for agent in agents}
    assert {submission.challenge_id for submission in found} == {challenge.challenge_id}


def test_what_is_not_answered_in_time_stays_in_the_queue(
    uploaded: Network, whole: Fleet, service: Mainer, agents: list[Mainer], challenge: Challenge
) -> None:
    operate.trigger(uploaded, agents[0].controller_id)
    operate.mainer_canister(uploaded, service.controller_id).setTimerIntervalAdmin(3600)
    operate.start_timers(uploaded, service.controller_id)
    paused = pause.pause(uploaded, whole.only([service.controller_id]), timeout=0)
    operate.mainer_canister(uploaded, service.controller_id).setTimerIntervalAdmin(operate.TIMER_INTERVAL)
    assert "1 stay in its queue" in paused[0].missing
    assert [entry.challenge_id for entry in operate.queue(uploaded, service.controller_id)] == [challenge.challenge_id]
    operate.work_off(uploaded, service.controller_id)


def test_a_mainer_in_maintenance_takes_no_challenge_and_says_so(
    uploaded: Network, whole: Fleet, own: Mainer, challenge: Challenge
) -> None:
    (on,) = pause.maintain(uploaded, whole.only([own.controller_id]))
    assert (on.on, on.problem) == (True, "")
    assert (found := work.of(uploaded, own.controller_id)) is not None
    assert found.maintenance
    with pytest.raises(CanisterError, match="In maintenance"):
        operate.trigger(uploaded, own.controller_id)
    assert operate.queue(uploaded, own.controller_id) == []
    (off,) = pause.maintain(uploaded, whole.only([own.controller_id]), on=False)
    assert not off.on
    assert challenge.challenge_id in operate.trigger(uploaded, own.controller_id)
    assert "maintenance" in repr(tables.maintained([on, off]))


def test_what_the_original_interface_does_not_offer_is_said(uploaded: Network) -> None:
    old = create.create_mainer(uploaded, "Own").controller_id
    wasm = original(artifacts.canister_wasm("mainer_ctrlb_canister").data(), "mainer_ctrlb_canister")
    management.install_code(uploaded.agent, old, wasm, "reinstall")
    operate.mainer_canister(uploaded, old).setMainerCanisterType("Own")
    some = fleet.of_ids(uploaded, [old])
    (maintained,) = pause.maintain(uploaded, some)
    assert (maintained.on, "does not offer" in maintained.problem) == (False, True)
    (stopped,) = pause.pause(uploaded, some)
    assert (stopped.before, stopped.done) == ("untold", "its timers are stopped")
    assert "does not tell whether its timers ran" in stopped.missing
    (left,) = pause.resume(uploaded, some)
    assert left.done == "left alone"
    assert "operate.start_timers" in left.missing
    pause.pause(uploaded, some)
    (started,) = pause.resume(uploaded, some, start_untold=True)
    assert started.done == "its timers are started"
    management.delete(uploaded.agent, old)
    create.forget(uploaded, old)


def test_a_memory_that_cannot_be_read_or_written_is_an_error_before_anything_stops(
    uploaded: Network, whole: Fleet, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    operate.start_timers(uploaded, own.controller_id)
    path: Path = places.state() / "fleet" / "local.paused.json"
    path.parent.mkdir(parents=True)
    path.write_text("not JSON")
    with pytest.raises(PreconditionError, match=r"cannot read .*local\.paused\.json"):
        pause.pause(uploaded, whole)
    path.unlink()
    path.mkdir()
    with pytest.raises((NetworkError, PreconditionError), match=r"local\.paused\.json"):
        pause.pause(uploaded, whole)
    path.rmdir()
    with pytest.raises(CanisterError, match="Unauthorized"):
        pause.pause(as_stranger(uploaded), whole.only([own.controller_id]))
    assert running(uploaded, whole) == {own.name}


PROTOCOL = """service : {
  startTimerExecutionAdmin : () -> (variant { Ok : record { auth : text }; Err : text });
  stopTimerExecutionAdmin : () -> (variant { Ok : record { auth : text }; Err : text });
  %s : () -> ();
}"""


def test_challengers_stop_first_and_judges_last_when_they_have_judged(
    uploaded: Network, whole: Fleet, own: Mainer, challenge: Challenge
) -> None:
    timers = {f"{what}TimerExecutionAdmin": {"Ok": {"auth": "so be it"}} for what in ("start", "stop")}
    marks = ("triggerScoreSubmissionAdmin", "generateNewChallenge")
    ids = [scripted(uploaded.agent, 10**12, PROTOCOL % mark, timers) for mark in marks]
    all_ = fleet.of_ids(uploaded, [*ids, own.controller_id])
    assert [member.role for member in all_.members] == ["Judge", "Challenger", "Own"]
    assert challenge.challenge_id in operate.answer(uploaded, own.controller_id)
    with ThreadPoolExecutor() as pool:
        pausing = pool.submit(pause.pause, uploaded, all_)
        while not pause.paused(uploaded).keys() >= {ids[1], own.controller_id}:
            assert not pausing.done()
        assert ids[0] not in pause.paused(uploaded)
        operate.judge_next(uploaded, score=3)
        paused = pausing.result()
    assert [row.member.role for row in paused] == ["Challenger", "Own", "Judge"]
    assert "to be judged" not in paused[-1].missing

    operate.answer(uploaded, own.controller_id)
    late = pause.pause(uploaded, all_, timeout=0)
    assert "wait to be judged" in late[-1].missing
    resumed = pause.resume(uploaded, all_, start_untold=True)
    assert [row.member.role for row in resumed] == ["Judge", "Own", "Challenger"]


def test_what_takes_no_calls_does_not_keep_the_rest_from_pausing(
    uploaded: Network, whole: Fleet, own: Mainer, agents: list[Mainer]
) -> None:
    operate.start_timers(uploaded, agents[0].controller_id)
    management.stop(uploaded.agent, own.controller_id)
    try:
        paused = {row.member.name: row for row in pause.pause(uploaded, whole)}
    finally:
        management.start(uploaded.agent, own.controller_id)
    assert paused[own.name].done == "left alone: it takes no calls"
    assert "stopped" in paused[own.name].missing
    assert paused[agents[0].name].done == "its timers are stopped"
    assert own.controller_id not in pause.paused(uploaded)
