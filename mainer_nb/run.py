"""Run the notebooks in order, headless, and leave one report of it.

    result = run.run(model="qwen2.5-0.5b-instruct-q8_0", progress=progress.auto())
    result.folder / "report.html", result.ok

`runs/<UTC time>/`, to which `runs/latest` points, gets the executed notebooks, `report.html` (all of them in one
page) and `summary.json` (what ran, and what is on the network afterwards, as the network tells it). A notebook that
fails ends the run; report and summary are written all the same.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import papermill
from papermill.exceptions import PapermillExecutionError

from . import artifacts, create, network, operate, places, report, upload
from .errors import ArgumentError, MainerError, NetworkError, PreconditionError
from .kernels import PrestartedKernels
from .network import CREATOR, GAME_STATE
from .parameters import DECLARED, check
from .progress import Bars, Progress, Silent, say

NOTEBOOKS = "notebooks"
ON_REQUEST = {"05_costs"}  # needs no other notebook and none needs it
RUNS = "runs"
LATEST = "latest"
REPORT = "report.html"
SUMMARY = "summary.json"


@dataclass(frozen=True)
class NotebookRun:
    """What became of one notebook. `status`: "ok", "failed" or "not run"; `cell`: what the failing cell was doing."""

    name: str
    status: str
    seconds: float = 0.0
    cell: str = ""
    error: str = ""


@dataclass(frozen=True)
class Result:
    """A run: its folder, and what became of each notebook."""

    folder: Path
    notebooks: tuple[NotebookRun, ...]
    summary: dict[str, Any] = field(repr=False)

    @property
    def ok(self) -> bool:
        return all(notebook.status == "ok" for notebook in self.notebooks)

    @property
    def failure(self) -> str:
        """Which notebook failed in which cell, and why; "" if none did."""
        for notebook in self.notebooks:
            if notebook.status == "failed":
                return f"{notebook.name} failed in {notebook.cell}:\n{notebook.error}"
        return ""


def run(
    notebooks: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run these notebooks (names such as "03_create", or "03"; none: all of them) with papermill.

    `parameters`: given to each notebook that has a parameter of that name; `output`: instead of `runs/` of the project.
    Raises ArgumentError for an unknown notebook or parameter, or a value that it cannot have, before anything is run.
    """
    paths = find(notebooks)
    given = dict(parameters or {})
    known = {path: _defaults(path) for path in dict.fromkeys([*find(), *paths])}
    if unknown := given.keys() - set().union(*known.values()):
        names = ", ".join(sorted(set().union(*known.values())))
        raise ArgumentError(f"no notebook has a parameter {', '.join(sorted(unknown))}; there are {names}")
    checked = {name: value for path in paths for name, value in known[path].items()} | given
    check(**{name: checked[name] for name in DECLARED if name in checked})

    begun = datetime.now(UTC)
    folder = _new_folder(output or places.project() / RUNS, begun)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault("MAINER_NB_PROGRESS", "lines")  # of the kernels: their lines are shown by our own face
    done: list[NotebookRun] = []
    with PrestartedKernels(paths) as kernels:
        if any("network" in known[path] for path in paths):
            _start_network(given)
        for path in paths:
            if any(notebook.status == "failed" for notebook in done):
                done.append(NotebookRun(path.stem, "not run"))
            else:
                chosen = {name: value for name, value in given.items() if name in known[path]}
                done.append(_run_one(path, folder / path.name, chosen, kernels, progress or Silent()))
    summary = _summary(begun, done, given)
    (folder / SUMMARY).write_text(
        # a character that UTF-8 does not have, as in odd file names, becomes what JSON writes for it: \udcff
        json.dumps(summary, indent=2, ensure_ascii=False) + "\n",
        encoding="utf-8",
        errors="backslashreplace",
    )
    (folder / REPORT).write_text(report.page([folder / path.name for path in paths], summary), encoding="utf-8")
    _point_to(folder)
    return Result(folder, tuple(done), summary)


def _defaults(path: Path) -> dict[str, Any]:
    """The parameters of a notebook with their values."""
    values: dict[str, Any] = {}
    for name, parameter in papermill.inspect_notebook(str(path)).items():
        with suppress(ValueError, SyntaxError):  # of somebody's own notebook: computed
            values[name] = None
            values[name] = ast.literal_eval(parameter["default"])
    return values


def find(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of these names or numbers, in order; none: all but those run only ON_REQUEST.

    Raises ArgumentError for one that is not there.
    """
    there = sorted((places.project() / NOTEBOOKS).glob("*.ipynb"))
    if not there:
        raise PreconditionError(f"there are no notebooks in {places.project() / NOTEBOOKS}")
    found = {}
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        matching = [path for path in there if path.stem == stem or path.stem.split("_")[0] == stem]
        if not matching:
            raise ArgumentError(f"no notebook '{name}'; there are {', '.join(path.stem for path in there)}")
        found[matching[0]] = True
    return [path for path in there if (path in found if names else path.stem not in ON_REQUEST)]


def _start_network(parameters: Mapping[str, Any]) -> None:
    """Start the embedded network, if it is the one to be used, while the first kernel starts. If that fails, the first
    notebook says why.
    """
    if _network_name(parameters) == network.LOCAL:
        with suppress(NetworkError):
            network.start_embedded()


def _network_name(parameters: Mapping[str, Any]) -> str:
    return str(parameters.get("network") or network.LOCAL)


# --- one notebook ---


def _run_one(
    path: Path, executed: Path, parameters: dict[str, Any], kernels: PrestartedKernels, progress: Progress
) -> NotebookRun:
    notebook = nbformat.read(path, as_version=4)
    begun = time.monotonic()
    heading = ""
    with (
        progress.task(path.stem, total=len(notebook.cells), unit="cells", at_once=True) as task,
        kernels.take(path) as kernel,
    ):

        def starts(cell: Any, cell_index: int) -> None:
            nonlocal heading
            if cell.cell_type == "markdown" and (found := _heading(cell.source)) and found != heading:
                heading = found
                task.note(heading)

        def ends(cell: Any, cell_index: int, **_: Any) -> None:
            task.advance(1)

        try:
            papermill.execute_notebook(
                str(path),
                str(executed),
                parameters,
                progress_bar=False,
                cwd=str(path.parent),
                stdout_file=_Lines(path.stem, progress),
                on_cell_start=starts,
                on_cell_complete=ends,
                km=kernel,
            )
        except PapermillExecutionError as error:
            where = _cell_name(nbformat.read(executed, as_version=4))
            message = report.last_message(error.ename, error.evalue)
            return NotebookRun(path.stem, "failed", time.monotonic() - begun, where, message)
        except RuntimeError as error:  # such as nbclient's DeadKernelError
            message = report.last_message(type(error).__name__, str(error))
            return NotebookRun(path.stem, "failed", time.monotonic() - begun, f'a cell of "{heading}"', message)
    return NotebookRun(path.stem, "ok", time.monotonic() - begun)


class _Lines:
    """A file that shows what a notebook prints, while it prints it, beside the bars or among the lines of a log."""

    def __init__(self, name: str, progress: Progress) -> None:
        self.name = name
        self.progress = progress
        self.rest = ""

    def write(self, text: str) -> None:
        if isinstance(self.progress, Silent):
            return
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.say(f"  {line}")

    def say(self, line: str) -> None:
        if isinstance(self.progress, Bars):
            from tqdm import tqdm

            tqdm.write(line, file=sys.stderr)
        else:
            say(line, sys.stdout)

    def flush(self) -> None:
        pass


def _heading(markdown: str) -> str:
    found = re.search(r"^#+ +(.+)$", markdown, re.MULTILINE)
    return found[1] if found else ""


def _cell_name(executed: Any) -> str:
    """Which cell of an executed notebook failed: its number among the code cells, and the heading above it."""
    heading, number = "", 0
    for cell in executed.cells:
        if "papermill-error-cell-tag" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            heading = _heading(cell.source) or heading
        else:
            number += 1
            if any(output.output_type == "error" for output in cell.outputs):
                return f'code cell {number}, "{heading}"'
    return "a cell"


# --- the folder ---


def _new_folder(runs: Path, begun: datetime) -> Path:
    stamp = begun.strftime("%Y-%m-%dT%H-%M-%SZ")
    for number in range(1, 1000):
        folder = runs / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ArgumentError(f"cannot make the folder {folder}: {error.strerror}") from error
        return folder
    raise ArgumentError(f"too many runs at once in {runs}")


def _point_to(folder: Path) -> None:
    """Make `latest` beside the folder point to it; where there are no symbolic links, a copy."""
    latest = folder.parent / LATEST
    if latest.is_symlink() or latest.is_file():
        latest.unlink()
    elif latest.is_dir():
        shutil.rmtree(latest)
    try:
        latest.symlink_to(folder.name, target_is_directory=True)
    except OSError:
        shutil.copytree(folder, latest)


# --- the summary ---


def _summary(begun: datetime, done: Sequence[NotebookRun], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What ran, and what is on the network now. What cannot be asked is null, with the reason in "problems"."""
    problems: list[str] = []

    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except MainerError as error:
            problems.append(str(error))
            return None

    def canister_ids() -> dict[str, str | None]:
        return {role: ask(partial(net.canister_id, role)) for role in (GAME_STATE, CREATOR)}

    name, caller = _network_name(parameters), parameters.get("identity")
    net = ask(lambda: network.connect(name, caller, start=False))
    return {
        "status": "ok" if all(notebook.status == "ok" for notebook in done) else "failed",
        "started": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round((datetime.now(UTC) - begun).total_seconds(), 1),
        "parameters": {key: value if _is_plain(value) else str(value) for key, value in parameters.items()},
        "notebooks": [_notebook_entry(notebook) for notebook in done],
        "network": {"name": name, "url": net and net.url},
        "canisters": net and canister_ids(),
        "model": net and ask(lambda: _model(net, parameters.get("model"))),
        "mainers": net and ask(lambda: [_mainer_entry(mainer) for mainer in create.mainers(net)]),
        "submissions": net and ask(lambda: [_submission_entry(submission) for submission in operate.submissions(net)]),
        "problems": list(dict.fromkeys(problems)),
    }


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)


def _notebook_entry(notebook: NotebookRun) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": notebook.name, "status": notebook.status, "seconds": round(notebook.seconds, 1)}
    return entry | ({"cell": notebook.cell, "error": notebook.error} if notebook.status == "failed" else {})


def _model(net: network.Network, chosen: str | None) -> dict[str, Any] | None:
    """The model that the creator got last; the network knows its sha256, the files here its name."""
    models = [model for model in upload.stored(net) if model.target == "LlmModel"]
    if not models:
        return None
    last = max(models, key=lambda model: model.created_at)
    for name in dict.fromkeys([chosen, *artifacts.model_names()]):
        try:
            file = artifacts.model(name)
        except MainerError:
            continue
        if file.sha256 == last.sha256:
            return {"file": file.name, "size": last.size, "sha256": last.sha256}
    return {"file": None, "size": last.size, "sha256": last.sha256}


def _mainer_entry(mainer: create.Mainer) -> dict[str, Any]:
    return {"type": mainer.kind, "controller_id": mainer.controller_id, "llm_ids": list(mainer.llm_ids)}


def _submission_entry(submission: operate.Submission) -> dict[str, Any]:
    return {
        "submissionId": submission.submission_id,
        "submittedBy": submission.submitted_by,
        "challengeId": submission.challenge_id,
        "challenge": submission.question,
        "answer": submission.answer,
    }
