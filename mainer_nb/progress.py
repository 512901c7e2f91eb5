"""Progress of long work: one task, its total, what is done of it. Verbs report to it; faces show it.

    with progress.auto().task("upload model", total=253_113_024, unit="B", steady=True) as task:
        task.advance(1_900_000)

Faces: bars in a terminal, plain lines in a log, widgets in a notebook that a person looks at, silence. A task shows
itself from a thread of its own, so that it moves while nothing is reported; what is over at once is not shown.
"""

from __future__ import annotations

import contextvars
import os
import re
import sys
import threading
import time
from contextlib import suppress
from html import escape
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from .errors import Interrupted

QUIET_SECONDS = 5.0  # in a log; then it is said how far the work is
SHOWN_AFTER = 0.3  # seconds: what takes less is not shown
SURE_AFTER = 2.0  # seconds of steady work, after which it is said how long is left
TICK = 0.2  # seconds between two looks of a bar
SPINNER = "|/-\\"
# What tells a terminal colours, places and titles (ECMA-48, "Control sequences", and OSC).
TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
GOES_ON = "Run it again: what is done is kept, and it goes on from there."


class ProgressTask(Protocol):
    """One piece of work, used as a context manager."""

    def advance(self, amount: float) -> None:
        """`amount` more of the total is done."""

    def reach(self, done: float, total: float) -> None:
        """So much is done of a total that was not known at the beginning."""

    def note(self, text: str) -> None:
        """What is being done right now."""

    def __enter__(self) -> ProgressTask: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """A face: makes tasks that show themselves."""

    def task(
        self,
        name: str,
        total: float | None = None,
        unit: str = "",
        *,
        done: float = 0.0,
        steady: bool = False,
        at_once: bool = False,
        again: str = GOES_ON,
    ) -> ProgressTask:
        """Begin a task; `total` in `unit` ("B" is shown in kB, MB), None if it cannot be known.

        `done`: what was done of it before; `steady`: each part takes as long as any other, so that it can be said how
        long is left; `at_once`: shown from the beginning, since it is known to take a while; `again`: what running it
        again does after it was interrupted, which the `with` block then raises as `errors.Interrupted`.
        """


def auto(stream: TextIO | None = None) -> Progress:
    """The face that suits where this runs. MAINER_NB_PROGRESS = bars, lines, widgets or silent decides otherwise."""
    stream = stream or sys.stdout
    faces: dict[str, Progress] = {"bars": Bars(), "lines": Lines(stream), "widgets": Widgets(), "silent": Silent()}
    if chosen := faces.get(os.environ.get("MAINER_NB_PROGRESS", "")):
        return chosen
    if _in_kernel():
        return Widgets() if watched() else Lines(stream)
    return Bars() if stream.isatty() else Lines(stream)


def _in_kernel() -> bool:
    """Whether this process is a kernel; one that starts kernels has loaded other parts of ipykernel."""
    return "ipykernel.kernelapp" in sys.modules


class _Quiet:
    """Since when nothing was printed."""

    since = 0.0


def watched() -> bool:
    """Whether this is a kernel that a person's front end talks to: its server names the session, papermill does not. Or
    whether the environment says so, see `auto`.
    """
    if chosen := os.environ.get("MAINER_NB_PROGRESS"):
        return chosen == "widgets"
    return any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD"))


def say(line: str, stream: TextIO) -> None:
    """Print a line at once; what the stream's encoding has no character for is written as an escape. Where nobody reads
    any more, or the disk is full, the work goes on without it.
    """
    encoding = stream.encoding or "utf-8"
    _Quiet.since = time.monotonic()
    with suppress(OSError):
        print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def plain(text: str) -> str:
    """Text of others as a log has it: without colours, and of a line that was written over and over only its end."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in TERMINAL.sub("", text).split("\n"))


def duration(seconds: float) -> str:
    """Seconds for people: 95 is "2 min"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def elapsed(seconds: float) -> str:
    """Seconds that passed, so that two lines a few seconds apart differ: 95 is "1 min 35 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if 0 < minutes < 60 else duration(seconds)


def amount(value: float, unit: str) -> str:
    """A number with its unit, a plural, for people: 1_900_000 "B" is "1.9 MB", 1 "steps" is "1 step"."""
    if unit != "B":
        number = f"{value:.0f}"
        return f"{number} {unit.removesuffix('s') if number == '1' else unit}".rstrip()
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {prefix}B"
    return f"{value:.0f} B"


class _Counted:
    """How far a task is, and what is said when it is interrupted."""

    def __init__(
        self,
        name: str,
        total: float | None = None,
        unit: str = "",
        *,
        done: float = 0.0,
        steady: bool = False,
        at_once: bool = False,
        again: str = GOES_ON,
    ) -> None:
        self.name, self.total, self.unit, self.steady, self.at_once = name, total, unit, steady, at_once
        self.done = self.before = done
        self.again = again
        self.begun = self.advanced = time.monotonic()
        self.lock = threading.Lock()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def advance(self, amount: float) -> None:
        with self.lock:
            self.done += amount
            self.advanced = time.monotonic()

    def reach(self, done: float, total: float) -> None:
        with self.lock:
            self.done, self.total, self.advanced = done, total, time.monotonic()

    def say_if_interrupted(self, error: BaseException | None) -> None:
        """Raise an interrupt again, with what is done; one that says so already is the one of a part of this task."""
        if isinstance(error, KeyboardInterrupt) and not (isinstance(error, Interrupted) and str(error)):
            far = ""
            if self.total is not None:
                done = amount(self.done, "B") if self.unit == "B" else f"{self.done:.0f}"
                far = f", {done} of {amount(self.total, self.unit)} done"
            raise Interrupted(f"{self.name}: stopped after {self.seconds:.1f} s{far}. {self.again}") from None


class _Shown(_Counted):
    """What every face needs to know of a task, and when it shows it."""

    def __init__(self, name: str, total: float | None = None, unit: str = "", **how: Any) -> None:
        super().__init__(name, total, unit, **how)
        self.text = ""
        self.shown, self.outcome = False, "done"
        self.over = threading.Event()

    @property
    def left(self) -> float | None:
        """Seconds until all is done, as far as can be said: at the pace up to the last part that was done."""
        took, part = self.advanced - self.begun, self.done - self.before
        if not self.steady or self.total is None or part <= 0 or took < SURE_AFTER or self.done >= self.total:
            return None
        left = self.advanced + took * (self.total - self.done) / part - time.monotonic()
        return left if left >= 1 else None

    def state(self) -> str:
        """How far, how fast, how long it takes yet."""
        if self.total is None:
            return elapsed(self.seconds)
        if self.unit == "B":
            part = f"{amount(self.done, 'B')} of {amount(self.total, 'B')}"
            if self.done > self.before and self.advanced > self.begun:
                part += f", {amount((self.done - self.before) / (self.advanced - self.begun), 'B')}/s"
        else:
            part = f"{self.done:.0f} of {amount(self.total, self.unit)}"
        return part if self.left is None else f"{part}, about {duration(self.left)} left"

    def told(self) -> str:
        """The state and what is being done."""
        return ", ".join(part for part in (self.state(), self.text) if part)

    def end(self) -> str:
        """How it ended."""
        if self.outcome != "done":
            return f"{self.outcome} after {self.seconds:.1f} s"
        what = f", {amount(self.total, 'B')}" if self.total is not None and self.unit == "B" else ""
        return f"done{what} in {self.seconds:.1f} s"

    def note(self, text: str) -> None:
        with self.lock:
            self.text = text
            if self.shown:
                self.noted()

    def __enter__(self) -> Self:
        if self.at_once:
            self.show()
        context = contextvars.copy_context()  # in a kernel it says to which cell the output belongs
        self.ticker = threading.Thread(target=context.run, args=(self.tick,), name=self.name, daemon=True)
        self.ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.over.set()
        self.ticker.join()
        if kind is not None:
            self.outcome = "stopped" if issubclass(kind, KeyboardInterrupt) else "failed"
        if self.shown:
            self.finish()
        self.say_if_interrupted(error)

    def tick(self) -> None:
        if not self.shown and not self.over.wait(SHOWN_AFTER):
            with self.lock:
                self.show()
        while not self.over.wait(TICK):
            with self.lock:
                self.refresh()

    def show(self) -> None:
        self.shown = True
        self.appear()
        if self.text:
            self.noted()

    def appear(self) -> None:
        raise NotImplementedError

    def noted(self) -> None:
        """There is a new note; a face that is drawn anew all the time need not do anything."""

    def refresh(self) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError


class Silent:
    """Shows nothing."""

    def task(self, name: str, total: float | None = None, unit: str = "", **how: Any) -> ProgressTask:
        return _Unseen(name, total, unit, **how)


class _Unseen(_Counted):
    def note(self, text: str) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.say_if_interrupted(error)


class Lines:
    """For logs: a line when a task begins, at each note, after some seconds without any line, and when it ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        # What a run of notebooks says of itself waits for what their kernels say, which comes as lines of theirs.
        self.quiet = QUIET_SECONDS if _in_kernel() else 2 * QUIET_SECONDS

    def task(self, name: str, total: float | None = None, unit: str = "", **how: Any) -> LinesTask:
        return LinesTask(self.stream, self.quiet, name, total, unit, **how)


class LinesTask(_Shown):
    def __init__(self, stream: TextIO, quiet: float, name: str, total: float | None, unit: str, **how: Any) -> None:
        super().__init__(name, total, unit, **how)
        self.stream, self.quiet = stream, quiet

    def say(self, text: str) -> None:
        say(f"{self.name}: {text}", self.stream)

    def appear(self) -> None:
        self.say("begins" if self.total is None else f"begins: {amount(self.total, self.unit)}")

    def noted(self) -> None:
        self.say(self.text)

    def refresh(self) -> None:
        if time.monotonic() - max(self.begun, _Quiet.since) >= self.quiet:
            untold = self.total is not None and self.left is None
            self.say(f"{self.state()} after {elapsed(self.seconds)}" if untold else self.state())

    def finish(self) -> None:
        self.say(self.end())


class Bars:
    """tqdm's bars on standard error."""

    def task(self, name: str, total: float | None = None, unit: str = "", **how: Any) -> ProgressTask:
        return _BarsTask(name, total, unit, **how)


class _BarsTask(_Shown):
    turns = 0

    def appear(self) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=self.total, desc=self.name, leave=True, dynamic_ncols=True)
        self.refresh()

    def refresh(self) -> None:
        self.turns += 1
        self.draw(self.told(), SPINNER[self.turns % len(SPINNER)])

    def finish(self) -> None:
        self.draw(self.end(), "")
        self.bar.close()

    def draw(self, text: str, spinner: str) -> None:
        text = text.replace("{", "{{").replace("}", "}}")
        self.bar.bar_format = f"{{desc}}: {spinner} {text}" if self.total is None else f"{{l_bar}}{{bar:20}}| {text}"
        self.bar.total, self.bar.n = self.total, round(self.done)
        self.bar.refresh()


class Widgets:
    """Bars in the notebook. When the work is done a line of text stays, which needs no kernel to be seen again."""

    def task(self, name: str, total: float | None = None, unit: str = "", **how: Any) -> WidgetsTask:
        return WidgetsTask(name, total, unit, **how)


class WidgetsTask(_Shown):
    def appear(self) -> None:
        import ipywidgets
        from IPython.display import DisplayHandle

        self.bar, self.label = ipywidgets.HTML(), ipywidgets.HTML()
        self.refresh()
        self.view = ipywidgets.HBox([self.bar, self.label])
        self.place = DisplayHandle()
        self.place.display(self.view)

    def refresh(self) -> None:
        # An element without a value moves by itself. It is set again only if it changes, or it would start anew.
        far = "" if self.total is None else f'max="{self.total:.0f}" value="{self.done:.0f}"'
        self.bar.value = f'<progress aria-label="{escape(self.name)}" style="width: 16em" {far}></progress>'
        self.label.value = f"&nbsp;{escape(self.name)}: {escape(self.told())}"

    def finish(self) -> None:
        from IPython.display import HTML

        text = f"{'✓' if self.outcome == 'done' else '✗'} {escape(self.name)}: {escape(self.end())}"
        self.bar.layout.display, self.label.value = "none", text
        self.place.update(HTML(text))  # an Output widget does not follow; there the label stays
