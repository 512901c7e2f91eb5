"""Progress in a log, a terminal and a notebook, and which face is chosen where."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import pytest

from mainer_nb import progress

IN_NOTEBOOK = """
import os, time
os.environ["MAINER_NB_PROGRESS"] = "widgets"
from mainer_nb import progress
with progress.auto().task("upload <model>", 2_000_000, "B") as task:
    task.advance(1_000_000)
    {wait}
    task.advance(1_000_000)
"""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_log_gets_a_line_at_beginning_notes_and_end() -> None:
    log = io.StringIO()
    with progress.Lines(log).task("upload model", 3_800_000, "B", at_once=True) as task:
        task.advance(1_900_000)
        task.note("being verified")
        task.advance(1_900_000)
    begin, note, end = log.getvalue().splitlines()
    assert begin == "upload model: begins: 3.8 MB"
    assert note == "upload model: being verified"
    assert end.startswith("upload model: done, 3.8 MB in ")


@pytest.mark.parametrize(("error", "said"), [(RuntimeError, "failed"), (KeyboardInterrupt, "stopped")])
def test_how_it_ended_is_said(error: type[BaseException], said: str) -> None:
    log = io.StringIO()
    with pytest.raises(error), progress.Lines(log).task("deploy", at_once=True):
        raise error
    assert f"deploy: {said} after" in log.getvalue()


def test_nothing_is_shown_of_what_takes_no_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER", 600.0)
    log = io.StringIO()
    for face in (progress.Lines(log), progress.Bars(), progress.Widgets()):
        with face.task("deploy", 3, "steps") as task:
            task.note("register")
            task.advance(3)
        with pytest.raises(RuntimeError), face.task("deploy"):
            raise RuntimeError
    assert (log.getvalue(), *capsys.readouterr()) == ("", "", "")


def test_slow_work_is_reported_though_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    log = io.StringIO()
    with progress.Lines(log).task("create Own mAIner"):
        until(lambda: log.getvalue().count("\n") >= 3)
    begin, meanwhile, *_ = log.getvalue().splitlines()
    assert begin == "create Own mAIner: begins"
    assert re.fullmatch(r"create Own mAIner: \d+ s", meanwhile)


def test_a_bar_without_a_total_moves(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ""

    def has_turned() -> bool:
        nonlocal shown
        shown += capsys.readouterr().err
        return all(f"trigger Own 1: {sign}" in shown for sign in progress.SPINNER)

    with progress.Bars().task("trigger Own 1"):
        until(has_turned)
    assert "trigger Own 1:  done in" in capsys.readouterr().err


def test_a_bar_has_its_total_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bars().task("upload {model}", 2_000_000, "B", at_once=True) as task:
        shown = capsys.readouterr().err
        assert "upload {model}:   0%|" in shown
        assert "0 B of 2.0 MB" in shown
        task.advance(2_000_000)
    shown = capsys.readouterr().err
    assert "100%" in shown
    assert "done, 2.0 MB in" in shown


def test_a_total_may_become_known_later() -> None:
    task = progress.Lines().task("build", unit="steps")
    task.reach(3, 48)
    assert task.state() == "3 of 48 steps"


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_a_log_is_not_told_how_far_the_whole_is_while_its_parts_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    log = io.StringIO()
    whole = progress.Lines(log).task("02_upload", 13, "cells")
    clock.now += whole.quiet - 1
    progress.say("  build: compiled ggml.c", log)
    clock.now += 2
    whole.refresh()
    assert log.getvalue() == "  build: compiled ggml.c\n"
    clock.now += whole.quiet
    whole.refresh()
    whole.refresh()
    assert log.getvalue().splitlines()[1:] == ["02_upload: 0 of 13 cells after 21 s"]


def test_a_process_that_starts_kernels_is_none() -> None:
    """`mainer-nb run` in a terminal shows bars."""
    code = (
        "import sys\nfrom mainer_nb import progress, run\n"
        "sys.stdout.isatty = lambda: True\nprint(type(progress.auto(sys.stdout)).__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MAINER_NB_PROGRESS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "Bars\n"


def test_the_time_left_is_told_of_steady_work_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    steady = progress.Lines(io.StringIO()).task("create LLMs", 4, "LLMs", steady=True)
    uneven = progress.Lines(io.StringIO()).task("04_test", 4, "cells")
    assert steady.state() == "0 of 4 LLMs"
    clock.now += 30
    for task in (steady, uneven):
        task.advance(1)
    assert steady.state() == "1 of 4 LLMs, about 2 min left"
    assert uneven.state() == "1 of 4 cells"
    clock.now += 40  # it counts down, though nothing is reported
    assert steady.state() == "1 of 4 LLMs, about 50 s left"
    steady.advance(3)
    assert steady.state() == "4 of 4 LLMs"


def test_what_was_there_before_does_not_count_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    task = progress.Lines(io.StringIO()).task("upload", 100_000_000, "B", done=80_000_000, steady=True)
    assert task.state() == "80.0 MB of 100.0 MB"
    clock.now += 1
    task.advance(1_000_000)
    assert task.state() == "81.0 MB of 100.0 MB, 1.0 MB/s"  # too early to tell
    clock.now += 3
    task.advance(3_000_000)
    assert task.state() == "84.0 MB of 100.0 MB, 1.0 MB/s, about 16 s left"


def test_a_pipe_gets_lines_a_terminal_bars_and_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # other tests may have run notebooks
    assert isinstance(progress.auto(io.StringIO()), progress.Lines)
    assert isinstance(progress.auto(Terminal()), progress.Bars)
    monkeypatch.setenv("MAINER_NB_PROGRESS", "silent")
    assert isinstance(progress.auto(Terminal()), progress.Silent)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (999, "B", "999 B"),
        (1_900_000, "B", "1.9 MB"),
        (2e9, "B", "2.0 GB"),
        (3, "steps", "3 steps"),
        (1, "LLMs", "1 LLM"),
    ],
)
def test_amounts_for_people(value: float, unit: str, text: str) -> None:
    assert progress.amount(value, unit) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (95, "2 min"), (5400, "1.5 h")])
def test_durations_for_people(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59.7, "1 min 0 s"), (95, "1 min 35 s"), (5400, "1.5 h")])
def test_time_that_passed_is_told_to_the_second(seconds: float, text: str) -> None:
    assert progress.elapsed(seconds) == text


def outputs_of(code: str, folder: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return list(notebook.cells[0].outputs)


def test_a_notebook_keeps_a_line_that_needs_no_kernel(tmp_path: Path) -> None:
    (output,) = outputs_of(IN_NOTEBOOK.format(wait="time.sleep(1)"), tmp_path)
    assert output["data"].keys() == {"text/html", "text/plain"}
    assert output["data"]["text/html"].startswith("✓ upload &lt;model&gt;: done, 2.0 MB in ")
    assert outputs_of(IN_NOTEBOOK.format(wait=""), tmp_path) == []


def test_a_notebook_gets_a_bar_that_fills(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Widgets().task("upload", 2_000_000, "B", at_once=True) as task:
        task.advance(1_000_000)
        task.note("being verified")
        until(lambda: "being verified" in task.label.value)
        assert 'max="2000000" value="1000000"' in task.bar.value
        assert "1.0 MB of 2.0 MB" in task.label.value
    failing = progress.Widgets().task("deploy", at_once=True)
    with pytest.raises(RuntimeError), failing:
        raise RuntimeError
    assert "value=" not in failing.bar.value  # such an element moves
    assert failing.label.value.startswith("✗ deploy: failed after")
