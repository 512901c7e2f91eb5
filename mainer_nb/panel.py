"""A panel in a notebook that shows a fleet as it is, looks again by itself, and carries out what is chosen in it.

    panel.live(net, fleet.of(net))

A thread of its own looks at the fleet, so the kernel is free meanwhile and the panel goes on while cells run. It ends
when the panel is closed, when another one is opened, or with the kernel. What changes a canister needs two presses, and
each counts once (`widgets.Press`). Nothing of it happens where nobody can click.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import ipywidgets

from . import operate, progress, stopping, tables
from .errors import MainerError
from .fleet import Fleet, Member, pause, watch
from .fleet.watch import Bounds, Reading
from .management import TRILLION
from .network import Network
from .table import trillions as trillions_of
from .widgets import PRESSED, REFUSED, WIDE, Form, Press

SECONDS_BETWEEN_LOOKS = 5.0
SECONDS_BETWEEN_SAMPLES = 60.0
LOOKS = f"{PRESSED}<style>.mainer-panel .mainer-table {{ line-height: 1.4 }}</style>"
_shown: list[Panel] = []  # the one that is open in this kernel


@dataclass(frozen=True)
class Action:
    """Something that can be done to a member: `does` it and returns what to say."""

    name: str
    does: Callable[[], str]


def live(net: Network, fleet: Fleet, bounds: Bounds | None = None, seconds: float = SECONDS_BETWEEN_LOOKS) -> Panel:
    """A panel of this fleet; one that is open already is closed.

    Args:
        bounds: from where on a figure is marked.
        seconds: between two looks.
    """
    for earlier in tuple(_shown):
        earlier.close()
    made = Panel(net, fleet, bounds, seconds)
    if progress.watched():
        _shown.append(made)
        made.start()
    return made


def actions(net: Network, reading: Reading, trillions: float) -> list[Action]:
    """What can be done to a canister as it is; `trillions` of cycles are what it would be topped up with."""
    member, fleet = reading.member, Fleet((reading.member,))
    found = []
    if member.is_mainer and reading.timers is not True:
        found.append(Action("start the timers", lambda: operate.start_timers(net, member.canister_id)))
    if member.is_mainer and reading.timers is not False:
        found.append(Action("stop the timers", lambda: operate.stop_timers(net, member.canister_id)))
    if reading.maintenance is not None:
        name = "end the maintenance" if reading.maintenance else "begin maintenance"
        found.append(Action(name, lambda: _maintain(net, fleet, not reading.maintenance)))
    if not net.mainnet:
        cycles = round(trillions * TRILLION)
        name = f"top up with {trillions_of(cycles)} cycles"
        found.append(Action(name, lambda: f"given: {trillions_of(operate.top_up(net, member.canister_id, cycles))}"))
    return found


def _maintain(net: Network, fleet: Fleet, on: bool) -> str:
    (done,) = pause.maintain(net, fleet, on)
    return done.problem or ("in maintenance" if done.on else "works again")


class Panel(Form):
    """The table of a fleet, and below it what can be done to a canister."""

    def __init__(self, net: Network, fleet: Fleet, bounds: Bounds | None, seconds: float) -> None:
        self._net, self._fleet, self._bounds, self._seconds = net, fleet, bounds, seconds
        self._readings: Sequence[Reading] = ()
        self._ended, self._again = threading.Event(), threading.Event()
        self._suiting = threading.Lock()
        self._kept: datetime | None = None
        self._note, self._table, self._said = ipywidgets.HTML(), ipywidgets.HTML(), ipywidgets.HTML()
        names = [(f"{member.name}  ({member.canister_id})", member.canister_id) for member in fleet.members]
        self._member = ipywidgets.Dropdown(description="canister", options=names, **WIDE)
        self._action = ipywidgets.Dropdown(description="what to do", options=[], **WIDE)
        self._cycles = ipywidgets.BoundedFloatText(description="T to top up with", value=1, min=0.001, max=1000, **WIDE)
        self._ask = Press("Do it", self._asked)
        self._question = ipywidgets.HTML()
        self._yes, self._no = Press("Yes", self._carry_out), Press("No", self._forget)
        self._no.button_style = ""
        self._sure = ipywidgets.VBox([self._question, ipywidgets.HBox([self._yes, self._no])])
        self._pending: tuple[Member, Action] | None = None
        fields = [self._member, self._action, self._cycles]
        for field in (self._member, self._cycles):
            field.observe(lambda _: self._suit(), "value")
        closing = Press("Close", self.close)
        closing.button_style = ""
        super().__init__(
            [ipywidgets.HTML(LOOKS), self._note, self._table, *fields, self._ask, self._sure, self._said, closing]
        )
        self.add_class("mainer-panel")
        self._forget()

    def start(self) -> None:
        """Look at the fleet from now on, in a thread of its own."""
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._watch,), name="fleet panel", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Look no more, and take the panel off the page."""
        self._ended.set()
        self._again.set()
        if self in _shown:
            _shown.remove(self)
        for widget in self.children:
            widget.close()
        super().close()

    @property
    def running(self) -> bool:
        """Whether it still looks."""
        return not self._ended.is_set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._again.clear()
            self._look()
            self._again.wait(self._seconds)

    def _look(self) -> None:
        try:
            readings = watch.look(self._net, self._fleet, by_creator=False)
            self._keep(readings)
        except MainerError as error:
            self._note.value = f'<span style="{REFUSED}">{escape(str(error))}</span>'
            return
        if self._ended.is_set():
            return
        self._readings = readings
        self._table.value = tables.watched(readings, self._bounds)._repr_html_()
        self._note.value = f"as of {datetime.now(UTC):%H:%M:%S} UTC, looked at every {self._seconds:g} s"
        self._suit()

    def _keep(self, readings: Sequence[Reading]) -> None:
        """Keep samples, more seldom than looking, so that the file lasts."""
        now = datetime.now(UTC)
        if self._kept is None or (now - self._kept).total_seconds() >= SECONDS_BETWEEN_SAMPLES:
            watch.keep(self._net, readings)
            self._kept = now

    def _suit(self) -> None:
        """Offer what can be done to the chosen canister; what was chosen stays chosen if it still can."""
        with self._suiting:
            possible = [action.name for action in self._possible()]
            if list(self._action.options) != possible:
                before = self._action.value
                with self._action.hold_sync():  # else the page is told of a choice that it does not know yet
                    self._action.options = possible
                    self._action.value = before if before in possible else next(iter(possible), None)

    def _possible(self) -> list[Action]:
        found = [reading for reading in self._readings if reading.member.canister_id == self._member.value]
        return actions(self._net, found[0], self._cycles.value) if found else []

    def _asked(self) -> None:
        """Ask whether it is meant."""
        chosen = [action for action in self._possible() if action.name == self._action.value]
        if not chosen:
            self._said.value = "nothing can be done to this canister yet: it was not looked at"
            return
        member = self._fleet.member(self._member.value)
        self._pending, self._said.value = (member, chosen[0]), ""
        self._question.value = f"{escape(member.name)} ({member.canister_id}): {escape(chosen[0].name)}?"
        self._sure.layout.display = ""

    def _carry_out(self) -> None:
        pending, self._pending = self._pending, None
        self._forget()
        if pending is None:
            return
        member, action = pending
        try:
            with stopping.by_interrupt():
                said = f"{escape(member.name)}: {escape(action.name)}: {escape(action.does())}"
        except (MainerError, KeyboardInterrupt) as error:
            said = f'<span role="alert" style="{REFUSED}">✗ {escape(f"{member.name}: {action.name}: {error}")}</span>'
        self._said.value = said
        self._again.set()

    def _forget(self) -> None:
        """Do nothing of what was asked."""
        self._pending = None
        self._sure.layout.display = "none"
