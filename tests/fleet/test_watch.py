"""A fleet looked at: what each canister is found to be, and what is marked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mainer_nb import artifacts, create, expect, fleet, management, operate, tables
from mainer_nb.create import Mainer
from mainer_nb.errors import ArgumentError, ExpectationFailed
from mainer_nb.fleet import Fleet, authority, samples, watch
from mainer_nb.fleet.samples import Burn
from mainer_nb.fleet.watch import Bounds, Reading
from mainer_nb.network import CREATOR, GAME_STATE, Network
from mainer_nb.operate import Challenge
from tests.original_interface import original

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
STRANGER = "rno2w-sqaaa-aaaaa-aaacq-cai"
OWN = fleet.Member("rrkah-fqaaa-aaaaa-aaaaq-cai", "Own", "Own 1")
GAME_STATE_MEMBER = fleet.Member("rwlgt-iiaaa-aaaaa-aaaaa-cai", "Game State", "Game State")
GOOD = Reading(
    OWN,
    NOW,
    "running",
    code="current",
    memory=10**8,
    cycles=10**13,
    frozen_below=10**11,
    idle_per_day=10**9,
    burn=Burn(10**9, None),
    queue=0,
    health="200",
)


@pytest.fixture
def readings(uploaded: Network, whole: Fleet) -> list[Reading]:
    return watch.look(uploaded, whole, history=())


def test_a_fleet_just_made_is_as_it_should_be(readings: list[Reading]) -> None:
    assert expect.watched(readings, Bounds(days=1)) == "None of 9 canisters is out of bounds."
    assert {reading.code for reading in readings} == {"current"}
    assert {reading.health for reading in readings} == {"200"}
    assert {reading.state for reading in readings} == {"running"}
    for reading in readings:
        assert reading.cycles is not None
        assert reading.memory is not None
        assert reading.unexpected == ()
        assert reading.burn is not None
        assert reading.burn.measured is None
        assert reading.burn.cycles_per_day == reading.idle_per_day
    assert [reading.llms for reading in readings if reading.member.role in ("Own", "ShareService")] == [2, 1]


def test_balances_are_those_of_the_network_and_days_go_to_the_freezing_limit(
    uploaded: Network, readings: list[Reading]
) -> None:
    for reading in readings:
        status = management.status(uploaded.agent, reading.member.canister_id)
        assert reading.frozen_below == status.frozen_below
        assert reading.module_hash == status.module_hash
        assert reading.cycles is not None
        assert reading.days == pytest.approx((reading.cycles - status.frozen_below) / status.cycles_per_day)


def test_a_queue_has_its_length_and_the_age_of_its_oldest_entry(
    uploaded: Network, agents: list[Mainer], service: Mainer, challenge: Challenge
) -> None:
    operate.fund(uploaded, [*agents, service])
    operate.trigger(uploaded, agents[0].controller_id)
    found = {reading.member.canister_id: reading for reading in watch.look(uploaded, fleet.of(uploaded))}
    waiting = found[service.controller_id]
    entries = operate.queue(uploaded, service.controller_id)
    oldest = min(entry.queued for entry in entries)
    assert (waiting.queue, waiting.oldest_queued) == (len(entries), oldest)
    assert waiting.queue_age == (waiting.taken - oldest).total_seconds()
    operate.work_off(uploaded, service.controller_id)
    again = {reading.member.canister_id: reading for reading in watch.look(uploaded, fleet.of(uploaded))}
    assert again[service.controller_id].queue == 0
    answers = [answer for answer in operate.submissions(uploaded) if answer.submitted_by == agents[0].controller_id]
    assert again[agents[0].controller_id].last_submission == max(answer.submitted for answer in answers)


def test_an_answer_that_a_judge_has_is_told_until_it_is_scored(
    uploaded: Network, own: Mainer, challenge: Challenge
) -> None:
    operate.fund(uploaded, [own])
    operate.answer(uploaded, own.controller_id)
    game_state = fleet.of_ids(uploaded, [fleet.of(uploaded).members[0].canister_id])
    (before,) = watch.look(uploaded, game_state)
    record = uploaded.canister(GAME_STATE).getNextSubmissionToJudge()
    (during,) = watch.look(uploaded, game_state)
    assert (before.judging, during.judging) == (0, 1)
    assert before.queue is not None
    assert during.queue == before.queue - 1
    late = replace(during, taken=during.taken + timedelta(hours=2))
    assert [mark for mark in watch.marks(late) if "Judge" in mark] == [
        f"a Judge has an answer and gives no score since {during.oldest_judging:%Y-%m-%d %H:%M} UTC"
    ]
    assert "1 with a Judge" in tables.watched([during]).data.iloc[0]["queue"]
    scored = {**record, "judgedBy": uploaded.caller, "score": 3, "scoreSeed": 1}
    uploaded.canister(GAME_STATE).addScoredResponse(scored)
    (after,) = watch.look(uploaded, game_state)
    assert (after.judging, after.oldest_judging) == (0, None)


def test_timers_are_told_and_marked_on_request(uploaded: Network, own: Mainer) -> None:
    some = fleet.of_ids(uploaded, [own.controller_id])
    with operate.timers(uploaded, own.controller_id, interval=3600):
        (running,) = watch.look(uploaded, some)
    (stopped,) = watch.look(uploaded, some)
    assert (running.timers, stopped.timers) == (True, False)
    assert "its timers do not run" in watch.marks(stopped, Bounds(timers=True))
    assert "its timers do not run" not in watch.marks(stopped, Bounds())


def test_what_is_stopped_has_other_code_or_a_stranger_as_controller_is_marked(
    uploaded: Network, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    agent, stranger = uploaded.agent, as_stranger(uploaded).caller
    canister_id = management.create_canister(agent, 10 * management.TRILLION, [uploaded.caller, stranger])
    wasm = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    management.install_code(agent, canister_id, original(wasm, "mainer_ctrlb_canister"), "install")
    operate.mainer_canister(uploaded, canister_id).setMainerCanisterType("Own")
    some = fleet.of_ids(uploaded, [canister_id])
    management.stop(agent, canister_id)
    (found,) = watch.look(uploaded, some)
    assert watch.marks(found) == [
        "is stopped",
        "its code is of neither files/ nor creator",
        f"has controllers that are not expected: {stranger}",
    ]
    (expected,) = watch.look(uploaded, some, expected=[stranger])
    assert expected.unexpected == ()
    management.delete(agent, canister_id)
    (gone,) = watch.look(uploaded, some)
    assert watch.marks(gone) == ["was deleted"]
    with pytest.raises(ExpectationFailed, match=rf"Own {canister_id} \({canister_id}\) was deleted"):
        expect.watched([gone])


def test_what_a_mainer_of_the_original_software_lacks_is_shown_as_not_offered(empty: Network) -> None:
    agent = empty.agent
    canister_id = management.create_canister(agent, 10 * management.TRILLION)
    wasm = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    management.install_code(agent, canister_id, original(wasm, "mainer_ctrlb_canister"), "install")
    operate.mainer_canister(empty, canister_id).setMainerCanisterType("Own")
    (reading,) = watch.look(empty, fleet.of_ids(empty, [canister_id]))
    assert (reading.llms, reading.timers, reading.queue) == (None, None, 0)
    assert reading.untold["llms"] == reading.untold["timers"] == "not offered"
    shown = tables.watched([reading]).data.iloc[0]
    assert (shown["LLMs"], shown["timers"], shown["queue"]) == ("not offered", "not offered", "0")


def test_a_stranger_sees_what_is_public_and_is_told_what_is_not(
    uploaded: Network, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    net = as_stranger(uploaded)
    some = fleet.of_creator(net, fleet.of(uploaded).members[1].canister_id).only([own.controller_id, *own.llm_ids])
    readings = watch.look(net, some)
    for reading in readings:
        assert (reading.cycles, reading.memory, reading.days) == (None, None, None)
        assert reading.untold["cycles"] == "not told to the caller"
        assert reading.module_hash == management.module_hash(uploaded.agent, reading.member.canister_id)
        assert reading.health == "200"
    assert readings[0].untold["queue"] == "not told to the caller"
    assert expect.watched(readings).endswith("The balance of 3 was not told.")


def test_a_mainer_of_another_owner_is_looked_at_through_the_creator(uploaded: Network) -> None:
    canister_id = create.create_mainer(uploaded, "Own").controller_id
    controllers = [uploaded.canister_id(CREATOR), STRANGER]
    management.update_settings(uploaded.agent, canister_id, controllers=controllers)
    some = fleet.of_ids(uploaded, [canister_id])
    (told,), (untold,) = watch.look(uploaded, some), watch.look(uploaded, some, by_creator=False)
    assert told.cycles is not None
    assert told.untold["queue"] == "not told to the caller"  # the canister itself says that to its controllers only
    assert told.unexpected == (STRANGER,)
    assert untold.cycles is None
    assert untold.untold["cycles"] == "not told to the caller"
    assert authority.operations(uploaded)[-1].operation == "status"
    authority.update_settings(uploaded, canister_id, controllers=[controllers[0], uploaded.caller])  # as others expect


def test_burn_is_measured_when_there_are_samples(uploaded: Network, own: Mainer) -> None:
    some = fleet.of_ids(uploaded, [own.controller_id])
    (reading,) = watch.look(uploaded, some, history=())
    assert reading.cycles is not None
    before = watch.sample(replace(reading, taken=reading.taken - timedelta(hours=12), cycles=reading.cycles + 10**12))
    (measured,) = watch.look(uploaded, some, history=[before, watch.sample(reading)])
    assert measured.burn is not None
    assert measured.burn.cycles_per_day == pytest.approx(2 * 10**12)
    assert "by measured burn" in tables.watched([measured]).data.iloc[0]["freezes in"]


def test_readings_are_kept_as_samples_and_used_from_then_on(
    uploaded: Network, readings: list[Reading], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path))
    (tmp_path / "files").mkdir()
    file = watch.keep(uploaded, readings)
    assert file == samples.path(uploaded)
    kept = samples.read(uploaded)
    assert [(each.canister_id, each.cycles, each.health) for each in kept] == [
        (reading.member.canister_id, reading.cycles, reading.health) for reading in readings
    ]


@pytest.mark.parametrize(
    ("change", "bounds", "said"),
    [
        ({}, Bounds(), []),
        ({"burn": Burn(10**12, None)}, Bounds(), ["freezes in 10 days by idle burn, less than 30"]),
        (
            {"burn": Burn(10**12, timedelta(days=1))},
            Bounds(days=12.5),
            ["freezes in 10 days by measured burn, less than 12.5"],
        ),
        ({"burn": Burn(10**12, None)}, Bounds(days=None), []),
        ({"burn": Burn(0, timedelta(days=1))}, Bounds(), []),
        ({"cycles": 3 * 10**11}, Bounds(), ["has 300,000,000,000 cycles, less than 350,000,000,000"]),
        ({}, Bounds(cycles=2 * 10**13), ["has 10,000,000,000,000 cycles, less than 20,000,000,000,000"]),
        ({"memory": 2}, Bounds(memory=1), ["has 2 B of memory, more than 1"]),
        ({"queue": 6}, Bounds(), ["6 wait in its queue, more than 5"]),
        (
            {"queue": 1, "oldest_queued": NOW - timedelta(hours=25)},
            Bounds(),
            ["the oldest of its queue waits since 2026-11-25 11:00 UTC"],
        ),
        ({"queue": 1, "oldest_queued": NOW - timedelta(hours=25), "timers": False}, Bounds(), []),
        ({"member": GAME_STATE_MEMBER, "queue": 100, "oldest_queued": NOW - timedelta(days=9)}, Bounds(), []),
        (
            {"member": GAME_STATE_MEMBER, "queue": 100, "oldest_queued": NOW - timedelta(hours=3)},
            Bounds(unjudged=99, unjudged_hours=2),
            ["100 wait in its queue, more than 99", "the oldest of its queue waits since 2026-11-26 09:00 UTC"],
        ),
        (
            {"last_submission": NOW - timedelta(hours=2)},
            Bounds(silent_hours=1),
            ["has submitted nothing since 2026-11-26 10:00 UTC"],
        ),
        ({"code": "not that of files/"}, Bounds(), ["its code is not that of files/"]),
        ({"code": "not that of files/"}, Bounds(current=False), []),
        ({"unexpected": ("2vxsx-fae",)}, Bounds(controllers=False), []),
        ({"health": "in maintenance"}, Bounds(), ["is not healthy: in maintenance"]),
        ({"health": "in maintenance"}, Bounds(health=False), []),
    ],
)
def test_marks(change: dict[str, Any], bounds: Bounds, said: list[str]) -> None:
    assert watch.marks(replace(GOOD, **change), bounds) == said


@pytest.mark.parametrize(
    ("found", "files", "creator", "code"),
    [
        ("a", "a", "a", "current"),
        ("a", "b", "a", "not that of files/"),
        ("a", "a", "b", "not that of the creator"),
        ("a", "b", "b", "of neither files/ nor creator"),
        ("a", "b", None, "not that of files/"),
        ("a", "a", None, "current"),
        ("a", None, "b", "not that of the creator"),
        ("a", None, None, "unknown"),
        (None, "a", "a", "unknown"),
    ],
)
def test_code_is_held_against_files_and_creator(
    found: str | None, files: str | None, creator: str | None, code: str
) -> None:
    held = frozenset({creator}) if creator else frozenset()
    assert watch.compared(found, files, held) == code


def test_what_burns_nothing_never_freezes() -> None:
    never = replace(GOOD, burn=Burn(0, timedelta(days=1)))
    assert never.days == math.inf
    assert tables.watched([never]).data.iloc[0]["freezes in"] == "never"


@pytest.mark.parametrize(
    "wrong", [{"days": -1}, {"days": math.nan}, {"queue": "5"}, {"days": True}, {"timers": 1}, {"timers": None}]
)
def test_bounds_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ArgumentError, match=f"bound {name} is .*, but must be"):
        Bounds(**wrong)
