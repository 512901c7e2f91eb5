"""Progress in a log, and which face is chosen where."""

from __future__ import annotations

import io
import sys

import pytest

from mainer_nb import progress


def test_a_log_gets_a_line_at_beginning_notes_and_end() -> None:
    log = io.StringIO()
    with progress.Lines(log).task("upload model", 3_800_000, "B") as task:
        task.advance(1_900_000)
        task.note("being verified")
        task.advance(1_900_000)
    begin, note, end = log.getvalue().splitlines()
    assert begin == "upload model: begins: 3.8 MB"
    assert note == "upload model: being verified"
    assert end.startswith("upload model: done in ")


def test_a_failure_is_said() -> None:
    log = io.StringIO()
    with pytest.raises(RuntimeError), progress.Lines(log).task("deploy"):
        raise RuntimeError
    assert "deploy: failed after" in log.getvalue()


def test_slow_work_is_reported_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    log = io.StringIO()
    with progress.Lines(log).task("upload", 4_000_000, "B") as task:
        task.advance(1_000_000)
    assert "upload: 1.0 MB of 4.0 MB, " in log.getvalue()


def test_a_terminal_gets_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bars().task("upload", 2_000_000, "B") as task:
        task.advance(2_000_000)
    shown = capsys.readouterr().err
    assert "upload" in shown
    assert "100%" in shown


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
    [(999, "B", "999 B"), (1_900_000, "B", "1.9 MB"), (2e9, "B", "2.0 GB"), (3, "steps", "3 steps")],
)
def test_amounts_for_people(value: float, unit: str, text: str) -> None:
    assert progress.amount(value, unit) == text


def test_a_notebook_gets_a_bar_that_fills(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Widgets().task("upload", 2_000_000, "B") as task:
        task.advance(1_000_000)
        assert (task.bar.value, task.bar.max) == (1_000_000, 2_000_000)
        task.note("being verified")
        assert "1.0 MB of 2.0 MB" in task.label.value
        assert "being verified" in task.label.value
        task.advance(1_000_000)
    assert task.bar.bar_style == "success"
    with pytest.raises(RuntimeError), progress.Widgets().task("deploy") as failing:
        raise RuntimeError
    assert failing.bar.bar_style == "danger"
