"""The panel without a page: what it shows by itself, what it offers, and how it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from mainer_nb import fleet, management, panel, progress
from mainer_nb.create import Mainer
from mainer_nb.fleet import samples, watch, work
from mainer_nb.network import Network
from mainer_nb.panel import Panel

PATIENCE = 60.0  # seconds, after which a test fails


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def opened(uploaded: Network, mainers: list[Mainer], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Panel]]:
    """Opens a panel of the whole fleet, as in JupyterLab; closed after the test."""
    monkeypatch.setattr(progress, "watched", lambda: True)
    made: list[Panel] = []

    def open_panel(net: Network = uploaded, seconds: float = 0.1) -> Panel:
        made.append(panel.live(net, fleet.of(uploaded), seconds=seconds))
        return made[-1]

    yield open_panel
    for each in made:
        each.close()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "fleet panel"]


def field(shown: Panel, description: str) -> Any:
    """The field or button of the panel with this description."""
    waiting = [shown]
    while waiting:
        widget: Any = waiting.pop()
        if getattr(widget, "description", None) == description:
            return widget
        waiting += getattr(widget, "children", ())
    raise AssertionError(description)


def page(shown: Panel) -> str:
    """All text on the panel."""
    return " ".join(str(child.value) for child in shown.children if hasattr(child, "value"))


def choose(shown: Panel, canister_id: str, action: str) -> None:
    field(shown, "canister").value = canister_id
    until(lambda: action in field(shown, "what to do").options)
    field(shown, "what to do").value = action


def press(shown: Panel, label: str) -> None:
    """As the browser does: it answers a press by sending numbers back until the button is free again."""
    button = field(shown, label)
    button.press()
    while not button._free:
        button._back.value = button._sent.value


def test_it_shows_the_fleet_and_what_changes_by_itself(
    opened: Callable[..., Panel], uploaded: Network, own: Mainer
) -> None:
    shown = opened()
    until(lambda: own.controller_id in page(shown))
    assert "is stopped" not in page(shown)
    management.stop(uploaded.agent, own.llm_ids[0])
    try:
        until(lambda: "is stopped" in page(shown))
    finally:
        management.start(uploaded.agent, own.llm_ids[0])
    until(lambda: "is stopped" not in page(shown))


def test_it_keeps_samples_more_seldom_than_it_looks(
    opened: Callable[..., Panel], uploaded: Network, own: Mainer
) -> None:
    def kept() -> int:
        return sum(sample.canister_id == own.controller_id for sample in samples.read(uploaded))

    before = kept()
    shown = opened(seconds=0.01)
    until(lambda: kept() > before)
    for _ in range(3):
        shown._again.set()
        until(lambda: not shown._again.is_set())
    assert kept() == before + 1


def test_it_ends_when_it_is_closed_or_another_is_opened(opened: Callable[..., Panel]) -> None:
    first = opened()
    second = opened()
    assert (first.running, second.running) == (False, True)
    until(lambda: len(threads()) == 1)
    press(second, "Close")
    assert not second.running
    until(lambda: threads() == [])


def test_where_nobody_can_click_nothing_looks(uploaded: Network, mainers: list[Mainer]) -> None:
    shown = panel.live(uploaded, fleet.of(uploaded))
    assert threads() == []
    assert "interactive: run this cell in JupyterLab" in repr(shown)


def test_a_network_that_does_not_answer_is_said_and_looked_at_again(
    opened: Callable[..., Panel], uploaded: Network, own: Mainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = opened()
    until(lambda: own.controller_id in page(shown))
    with monkeypatch.context() as patch:
        patch.setattr(uploaded.agent.client, "given_up", "it was turned off")
        until(lambda: "it was turned off" in page(shown))
    until(lambda: "it was turned off" not in page(shown))


def test_what_is_chosen_is_done_after_a_second_press(
    opened: Callable[..., Panel], uploaded: Network, own: Mainer
) -> None:
    shown = opened()
    choose(shown, own.controller_id, "start the timers")
    press(shown, "Do it")
    assert f"Own 1 ({own.controller_id}): start the timers?" in shown._question.value
    assert not timers(uploaded, own)
    press(shown, "No")
    press(shown, "Yes")
    assert not timers(uploaded, own)
    press(shown, "Do it")
    press(shown, "Yes")
    assert timers(uploaded, own)
    assert "Own 1: start the timers: " in page(shown)
    choose(shown, own.controller_id, "stop the timers")
    press(shown, "Do it")
    press(shown, "Yes")
    assert not timers(uploaded, own)
    press(shown, "Yes")  # what was done is not done again
    assert not timers(uploaded, own)


def test_maintenance_and_cycles(opened: Callable[..., Panel], uploaded: Network, own: Mainer) -> None:
    shown = opened()
    choose(shown, own.controller_id, "begin maintenance")
    press(shown, "Do it")
    press(shown, "Yes")
    until(lambda: "end the maintenance" in field(shown, "what to do").options)
    until(lambda: "maintenance" in page(shown))
    choose(shown, own.controller_id, "end the maintenance")
    press(shown, "Do it")
    press(shown, "Yes")
    before = management.status(uploaded.agent, own.llm_ids[0]).cycles
    field(shown, "T to top up with").value = 0.5
    choose(shown, own.llm_ids[0], "top up with 0.500 T cycles")
    press(shown, "Do it")
    press(shown, "Yes")
    given = management.status(uploaded.agent, own.llm_ids[0]).cycles - before
    assert 0.49 * management.TRILLION < given <= 0.5 * management.TRILLION


def test_a_refusal_is_shown(
    opened: Callable[..., Panel], uploaded: Network, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    shown = opened(as_stranger(uploaded))
    choose(shown, own.controller_id, "start the timers")
    press(shown, "Do it")
    press(shown, "Yes")
    assert "✗ Own 1: start the timers: " in page(shown)
    assert not timers(uploaded, own)


def test_where_cycles_cost_money_nothing_is_topped_up(uploaded: Network, own: Mainer) -> None:
    (reading,) = watch.look(uploaded, fleet.of_ids(uploaded, [own.llm_ids[0]]))
    assert [action.name for action in panel.actions(uploaded, reading, 2)] == ["top up with 2.000 T cycles"]
    assert panel.actions(replace(uploaded, mainnet=True), reading, 2) == []


def timers(net: Network, mainer: Mainer) -> bool:
    doing = work.of(net, mainer.controller_id)
    assert doing is not None
    return doing.timers
