"""Progress of long work: one task, its total, what is done of it. Verbs report to it; faces show it.

    with progress.auto().task("upload model", total=253_113_024, unit="B") as task:
        task.advance(1_900_000)

Faces: bars in a terminal, plain lines in a log, widgets in a notebook that a person looks at, silence.
"""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Any, Protocol, TextIO

SECONDS_BETWEEN_LINES = 5.0


class Task(Protocol):
    """One piece of work, used as a context manager."""

    def advance(self, amount: float) -> None:
        """`amount` more of the total is done."""

    def note(self, text: str) -> None:
        """What is being done right now."""

    def __enter__(self) -> Task: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Progress(Protocol):
    """A face: makes tasks that show themselves."""

    def task(self, name: str, total: float | None = None, unit: str = "") -> Task:
        """Begin a task; `total` in `unit` ("B" is shown in kB, MB), None if it cannot be known."""


def auto(stream: TextIO | None = None) -> Progress:
    """The face that suits where this runs. MAINER_NB_PROGRESS = bars, lines, widgets or silent decides otherwise."""
    stream = stream or sys.stdout
    faces: dict[str, Progress] = {"bars": Bars(), "lines": Lines(stream), "widgets": Widgets(), "silent": Silent()}
    if chosen := faces.get(os.environ.get("MAINER_NB_PROGRESS", "")):
        return chosen
    if "ipykernel" in sys.modules:
        # a server that a person's notebook front end talks to names its session; papermill's kernels have none
        watched = any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID", "VSCODE_CWD"))
        return Widgets() if watched else Lines(stream)
    return Bars() if stream.isatty() else Lines(stream)


def say(line: str, stream: TextIO) -> None:
    """Print a line at once; what the stream's encoding has no character for is written as an escape."""
    encoding = stream.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def amount(value: float, unit: str) -> str:
    """A number with its unit for people: 1_900_000 "B" is "1.9 MB"."""
    if unit != "B":
        return f"{value:.0f} {unit}".rstrip()
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {prefix}B"
    return f"{value:.0f} B"


class _Counted:
    """What every face needs to know of a task."""

    def __init__(self, name: str, total: float | None, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0.0
        self.begun = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def state(self) -> str:
        """How far, at what rate."""
        if self.total is None:
            return f"{self.seconds:.0f} s"
        if self.unit != "B":
            return f"{self.done:.0f} of {amount(self.total, self.unit)}"
        part = f"{amount(self.done, 'B')} of {amount(self.total, 'B')}"
        if self.seconds > 0:
            part += f", {amount(self.done / self.seconds, 'B')}/s"
        return part

    def advance(self, amount: float) -> None:
        self.done += amount
        self.show()

    def note(self, text: str) -> None:
        self.show(text)

    def show(self, note: str = "") -> None:
        raise NotImplementedError

    def finish(self, failed: bool) -> None:
        raise NotImplementedError

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish(failed=kind is not None)


class Silent:
    """Shows nothing."""

    def task(self, name: str, total: float | None = None, unit: str = "") -> Task:
        return _SilentTask(name, total, unit)


class _SilentTask(_Counted):
    def show(self, note: str = "") -> None:
        pass

    def finish(self, failed: bool) -> None:
        pass


class Lines:
    """A line when a task begins, every few seconds, at each note, and when it ends: for logs."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def task(self, name: str, total: float | None = None, unit: str = "") -> Task:
        return _LinesTask(name, total, unit, self.stream)


class _LinesTask(_Counted):
    def __init__(self, name: str, total: float | None, unit: str, stream: TextIO) -> None:
        super().__init__(name, total, unit)
        self.stream = stream
        self.last = self.begun
        self.say("begins" if total is None else f"begins: {amount(total, unit)}")

    def say(self, text: str) -> None:
        say(f"{self.name}: {text}", self.stream)

    def show(self, note: str = "") -> None:
        if note:
            self.say(note)
        elif time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            self.say(self.state())

    def finish(self, failed: bool) -> None:
        self.say(f"failed after {self.seconds:.1f} s" if failed else f"done in {self.seconds:.1f} s")


class Bars:
    """tqdm's bars on standard error."""

    def task(self, name: str, total: float | None = None, unit: str = "") -> Task:
        return _BarsTask(name, total, unit)


class _BarsTask(_Counted):
    def __init__(self, name: str, total: float | None, unit: str) -> None:
        super().__init__(name, total, unit)
        from tqdm import tqdm

        self.bar = tqdm(total=total, desc=name, unit=unit or "it", unit_scale=unit == "B", leave=True, mininterval=0.2)

    def show(self, note: str = "") -> None:
        if note:
            self.bar.set_postfix_str(note)
        self.bar.update(round(self.done) - self.bar.n)

    def finish(self, failed: bool) -> None:
        self.bar.close()


class Widgets:
    """ipywidgets bars in the notebook."""

    def task(self, name: str, total: float | None = None, unit: str = "") -> WidgetsTask:
        return WidgetsTask(name, total, unit)


class WidgetsTask(_Counted):
    def __init__(self, name: str, total: float | None, unit: str) -> None:
        super().__init__(name, total, unit)
        import ipywidgets
        from IPython.display import display

        self.text = ""
        self.bar = ipywidgets.FloatProgress(max=total or 1.0, layout={"width": "20em"})
        self.label = ipywidgets.Label()
        display(ipywidgets.HBox([ipywidgets.Label(name), self.bar, self.label]))

    def show(self, note: str = "") -> None:
        self.text = note or self.text
        if self.total is not None:
            self.bar.value = self.done
        self.label.value = " · ".join(part for part in (self.state(), self.text) if part)

    def finish(self, failed: bool) -> None:
        self.bar.bar_style = "danger" if failed else "success"
        if not failed:
            self.bar.value = self.bar.max
        took = f"{self.seconds:.1f} s"
        if failed:
            self.label.value = f"failed after {took}"
        else:
            self.label.value = took if self.total is None else f"{self.state()}, {took}"
