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
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import nbformat
import nbformat.sign
import papermill
from papermill.exceptions import PapermillExecutionError

from . import artifacts, create, expect, models, network, operate, places, report, upload
from .errors import ArgumentError, MainerError, NetworkError, PreconditionError
from .expect import Expectation
from .kernels import PrestartedKernels
from .network import CREATOR, GAME_STATE
from .parameters import DECLARED, check
from .progress import Bars, Progress, Silent, plain, say

NOTEBOOKS = "notebooks"
ON_REQUEST = {"00_start", "05_costs", "06_operate"}  # no other notebook needs them
LATEST = "latest"
REPORT = "report.html"
SUMMARY = "summary.json"
PATHS = {"model", "identity"}  # parameters that may be the path of a file
ENDINGS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP (the terminal was closed)"}
# What a notebook fails with that uses something the package does not have.
OF_OTHER_VERSIONS = {"AttributeError", "ImportError", "ModuleNotFoundError", "TypeError"}
SECONDS_TO_END = 10.0  # that a cell has when the run is stopped


@dataclass(frozen=True)
class NotebookRun:
    """What became of one notebook.

    Attributes:
        status: "ok", "failed" or "not run".
        cell: what the failing cell was doing.
        expectations: what its cells expected, as far as they ran.
    """

    name: str
    status: str
    seconds: float = 0.0
    cell: str = ""
    error: str = ""
    expectations: tuple[Expectation, ...] = ()


@dataclass(frozen=True)
class Result:
    """A run: its folder, what became of each notebook, and the number of the signal that stopped it, if one did."""

    folder: Path
    notebooks: tuple[NotebookRun, ...]
    summary: dict[str, Any] = field(repr=False)
    signal: int = 0

    @property
    def ok(self) -> bool:
        return not self.signal and all(notebook.status == "ok" for notebook in self.notebooks)

    @property
    def failure(self) -> str:
        """Which notebook failed in which cell, and why; "" if none did."""
        for notebook in self.notebooks:
            if notebook.status == "failed":
                return f"{notebook.name} failed in {notebook.cell}:\n{notebook.error}"
        return f"stopped by {ENDINGS[signal.Signals(self.signal)]}" if self.signal else ""


def run(
    notebooks: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run notebooks with papermill.

    Args:
        notebooks: names such as "03_create", or "03"; none: all of them.
        parameters: each is given to the notebooks that have a parameter of that name.
        output: the folder to write to, instead of one in `runs/` of the project.

    Raises:
        ArgumentError: an unknown notebook or parameter, or a value that it cannot have; nothing is run then.
        ArtifactError: there is no such model, or it cannot be used; nothing is run then, either.
    """
    places.ensure_home()
    paths = find(notebooks)
    given = dict(parameters or {})
    known = {path: _defaults(path) for path in dict.fromkeys([*find(), *paths])}
    if unknown := given.keys() - set().union(*known.values()):
        names = ", ".join(sorted(set().union(*known.values())))
        raise ArgumentError(f"no notebook has a parameter {', '.join(sorted(unknown))}; there are {names}")
    checked = {name: value for path in paths for name, value in known[path].items()} | given
    check(**{name: checked[name] for name in DECLARED if name in checked})

    for name in PATHS & given.keys():
        given[name] = _absolute(given[name])
    if given.get("model") and any("model" in known[path] for path in paths):
        artifacts.model(given["model"])
    begun = datetime.now(UTC)
    folder = _new_folder(places.given(output) if output else places.runs(), begun)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault("MAINER_NB_PROGRESS", "lines")  # of the kernels: their lines are shown by our own face
    work = _Work(paths, known, given, folder, progress or Silent())
    if unused := sorted(given.keys() - set().union(*(known[path] for path in paths))):
        names = ", ".join(path.stem for path in paths)
        _Lines("", work.progress).write(f"not used, since it is no parameter of {names}: {', '.join(unused)}\n")
    with _Signals(work) as signals:
        done = work.finish()
    return _leave(folder, begun, done, given, signals.number, work.uses_network)


class _Stopped(Exception):
    """The run was stopped while it waited for another one."""


class _Work:
    """The notebooks run one after the other, in a thread, so that signals find the main one waiting."""

    def __init__(
        self,
        paths: Sequence[Path],
        known: Mapping[Path, Mapping[str, Any]],
        given: Mapping[str, Any],
        folder: Path,
        progress: Progress,
    ) -> None:
        self.paths, self.known, self.given, self.folder, self.progress = paths, known, given, folder, progress
        self.done: list[NotebookRun] = []
        self.kernels: PrestartedKernels | None = None
        self.stopped = threading.Event()
        self.uses_network = any("network" in known[path] for path in paths)  # that of the parameter
        self.why = ""
        self.waited = False

    def finish(self) -> list[NotebookRun]:
        """Run them; what became of each."""
        thread = threading.Thread(target=self._run, name="notebooks")
        thread.start()
        thread.join()
        return self.done

    def stop(self, why: str, number: signal.Signals) -> None:
        """Let nothing more begin, and send a signal to what runs."""
        self.why = why
        self.stopped.set()
        if self.kernels:
            self.kernels.interrupt(number)

    def _run(self) -> None:
        try:
            if self.uses_network:
                with network.alone(_network_name(self.given), "run", self._wait):
                    self._run_all()
            else:
                self._run_all()
        except _Stopped:
            pass
        except Exception as error:  # such as a kernel that cannot be started
            name = self.paths[len(self.done)].stem if len(self.done) < len(self.paths) else self.paths[-1].stem
            self.done.append(NotebookRun(name, "failed", 0.0, "starting", _unexpected(error)))
        for path in self.paths[len(self.done) :]:
            self.done.append(NotebookRun(path.stem, "not run"))

    def _wait(self) -> None:
        if self.stopped.is_set():
            raise _Stopped
        if not self.waited:
            _Lines("", self.progress).write("waits until another run on this network is done\n")
            self.waited = True

    def _run_all(self) -> None:
        with expect.noted() as noted, PrestartedKernels(self.paths) as self.kernels:
            if self.uses_network:
                _start_network(self.given)
            for path in self.paths:
                if self.stopped.is_set():
                    return
                chosen = {name: value for name, value in self.given.items() if name in self.known[path]}
                notebook = _run_one(path, self.folder / path.name, chosen, self.kernels, self.progress)
                notebook = replace(notebook, expectations=tuple(noted()))
                if self.stopped.is_set() and notebook.status == "failed":
                    notebook = replace(notebook, error=self.why)
                self.done.append(notebook)
                if notebook.status == "failed":
                    return


class _Signals:
    """While notebooks run, a signal to end interrupts the cell that runs, as a person would; ten seconds later, or the
    second time, its kernel is killed.
    """

    def __init__(self, work: _Work) -> None:
        self.work = work
        self.number = 0
        self.before: dict[signal.Signals, Any] = {}
        self.patience = threading.Timer(SECONDS_TO_END, self._kill)

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._got) for number in ENDINGS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.patience.cancel()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _got(self, number: int, _: FrameType | None) -> None:
        if self.number:
            self._kill()
            return
        self.number = number
        self.work.stop(f"stopped by {ENDINGS[signal.Signals(number)]}", signal.SIGINT)
        self.patience.daemon = True
        self.patience.start()

    def _kill(self) -> None:
        self.work.stop(self.work.why, signal.SIGKILL)


def _absolute(value: Any) -> Any:
    """A parameter that is the path of a file, as it is called in any working directory; a name as it is."""
    if not isinstance(value, str | Path):
        return value
    text = str(value)
    if isinstance(value, Path) or "/" in text or text.startswith("~") or text.endswith(".pem"):
        return str(places.given(text))
    if text.lower().endswith(".gguf") and not (places.files() / text).exists() and Path(text).is_file():
        return str(Path(text).absolute())
    return text


def _defaults(path: Path) -> dict[str, Any]:
    """The parameters of a notebook with their values."""
    try:
        found = papermill.inspect_notebook(str(path))
    except (OSError, ValueError, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise ArgumentError(f"{path} is not a notebook that can be run: {error}") from error
    values: dict[str, Any] = {}
    for name, parameter in found.items():
        with suppress(ValueError, SyntaxError):  # of somebody's own notebook: computed
            values[name] = None
            values[name] = ast.literal_eval(parameter["default"])
    return values


def find(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks of these names or numbers, in order; none: all but those run only ON_REQUEST.

    Raises:
        ArgumentError: one of them is not there.
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
    try:
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
        if error.ename in OF_OTHER_VERSIONS and _differs_from_shipped(notebook, path.name):
            message += f"\nIf an older version of mainer_nb made this notebook: {places.newer_files(places.project())}."
        return NotebookRun(path.stem, "failed", time.monotonic() - begun, where, message)
    except Exception as error:  # such as nbclient's DeadKernelError, or a disk that is full
        message = _unexpected(error, executed)
        where = f'a cell of "{heading}"' if heading else "starting"
        return NotebookRun(path.stem, "failed", time.monotonic() - begun, where, message)
    return NotebookRun(path.stem, "ok", time.monotonic() - begun)


def _differs_from_shipped(notebook: Any, name: str) -> bool:
    """Whether a notebook has other cells than the one of this name that comes with the package."""
    path = places.shipped() / NOTEBOOKS / name
    if not path.is_file():
        return False
    own = nbformat.read(path, as_version=4)
    return [cell.source for cell in notebook.cells] != [cell.source for cell in own.cells]


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
            self.say(f"  {line if isinstance(self.progress, Bars) else plain(line)}")

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


def code_cells(notebook: Any) -> list[tuple[Any, str]]:
    """The code cells of an executed notebook, each with what to call it: its number among them, and the heading above
    it.
    """
    heading = ""
    found: list[tuple[Any, str]] = []
    for cell in notebook.cells:
        if "papermill-error-cell-tag" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            heading = _heading(cell.source) or heading
        else:
            found.append((cell, f'code cell {len(found) + 1}, "{heading}"'))
    return found


def _cell_name(executed: Any) -> str:
    """Which cell of an executed notebook failed."""
    for cell, name in code_cells(executed):
        if any(output.output_type == "error" for output in cell.outputs):
            return name
    return "a cell"


# --- what is left of a run ---


def _leave(
    folder: Path,
    begun: datetime,
    done: Sequence[NotebookRun],
    given: Mapping[str, Any],
    number: int,
    uses_network: bool,
) -> Result:
    """Write summary and report; what cannot be asked or written is said in the summary's problems."""
    summary = _summary(begun, done, given, uses_network)
    if number:
        summary["status"] = "stopped"
    executed = [folder / f"{notebook.name}.ipynb" for notebook in done]

    def attempt(action: Callable[[], Any]) -> None:
        try:
            action()
        except Exception as error:
            summary["problems"].append(_unexpected(error, folder))

    def write_report() -> None:
        (folder / REPORT).write_text(_page(executed, summary), encoding="utf-8", errors="backslashreplace")

    def write_summary() -> None:
        # a character that UTF-8 does not have, as in odd file names, becomes an escape of JSON
        text = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
        (folder / SUMMARY).write_text(text, encoding="utf-8", errors="backslashreplace")

    for action in (
        partial(folder.mkdir, parents=True, exist_ok=True),
        write_report,
        partial(_trust, executed),
        partial(_point_to, folder),
        write_summary,
    ):
        attempt(action)
    return Result(folder, tuple(done), summary, number)


def _page(executed: Sequence[Path], summary: dict[str, Any]) -> str:
    """The report; if the notebooks cannot be shown in it, one without them."""
    try:
        return report.page(executed, summary)
    except Exception as error:
        summary["problems"].append(f"the report lacks the notebooks: {_unexpected(error)}")
        return report.page([], summary)


def _unexpected(error: BaseException, path: Path | None = None) -> str:
    """What an error of any kind says; `path`: what was being written, if that is known."""
    if isinstance(error, MainerError):
        return str(error)
    if isinstance(error, OSError) and error.errno in places.NO_ROOM:
        full = Path(os.fsdecode(error.filename)) if error.filename else path or places.project()
        return places.unwritable(full, error, "put the runs elsewhere (--output)")
    return report.last_message(type(error).__name__, str(error))


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


def _trust(executed: Sequence[Path]) -> None:
    """Have JupyterLab trust the notebooks that ran here: it drops the styles of others, and with them the pictures for
    dark themes. Where nothing can be kept for JupyterLab, they are shown as those of others are.
    """
    with suppress(OSError):
        notary = nbformat.sign.NotebookNotary()
        for path in executed:
            if path.exists():
                notary.sign(nbformat.read(path, as_version=4))


def _point_to(folder: Path) -> None:
    """Make `latest` beside the folder point to it, at once, since other runs do the same. Where there are no symbolic
    links it is a copy.

    Raises:
        ArgumentError: there is something of the user's that has this name.
    """
    latest, draft = folder.parent / LATEST, folder.parent / f".{LATEST}-{folder.name}"
    if latest.exists() and not latest.is_symlink() and not (latest / REPORT).is_file():
        raise ArgumentError(
            f"{latest} is left as it is, since it is not of a run; rename it to have the last run there"
        )
    with suppress(FileNotFoundError):
        draft.unlink()
    try:
        draft.symlink_to(folder.name, target_is_directory=True)
    except OSError:
        shutil.copytree(folder, draft)
    if latest.is_dir() and not latest.is_symlink():  # a copy from before
        shutil.rmtree(latest, ignore_errors=True)
    draft.replace(latest)


# --- the summary ---


def _summary(
    begun: datetime, done: Sequence[NotebookRun], parameters: Mapping[str, Any], uses_network: bool
) -> dict[str, Any]:
    """What ran, and what is on the network now. What cannot be asked is null, with the reason in "problems"; all of it
    is null if no notebook was to use the network.
    """
    problems: list[str] = []

    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except Exception as error:
            problems.append(_unexpected(error))
            return None

    def canister_ids() -> dict[str, str | None]:
        return {role: ask(partial(net.canister_id, role)) for role in (GAME_STATE, CREATOR)}

    name, caller = _network_name(parameters), parameters.get("identity")
    net = ask(lambda: network.connect(name, caller, start=False) if uses_network else None)
    mainers = net and ask(lambda: create.mainers(net))
    return {
        "status": "ok" if all(notebook.status == "ok" for notebook in done) else "failed",
        "started": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": round((datetime.now(UTC) - begun).total_seconds(), 1),
        "parameters": {key: value if _is_plain(value) else str(value) for key, value in parameters.items()},
        "notebooks": [_notebook_entry(notebook) for notebook in done],
        "network": {"name": name, "url": net and net.url} if uses_network else None,
        "canisters": net and canister_ids(),
        "model": net and ask(lambda: _model(net, parameters.get("model"))),
        "mainers": mainers and [_mainer_entry(net, mainer, ask) for mainer in mainers],
        "submissions": net
        and ask(lambda: [_submission_entry(each, mainers or []) for each in operate.submissions(net)]),
        "problems": list(dict.fromkeys(problems)),
    }


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)


def _notebook_entry(notebook: NotebookRun) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": notebook.name, "status": notebook.status, "seconds": round(notebook.seconds, 1)}
    return entry | ({"cell": notebook.cell, "error": notebook.error} if notebook.status == "failed" else {})


def _model(net: network.Network, chosen: str | None) -> dict[str, Any] | None:
    """The model of which the creator makes LLMs; the network knows its sha256, the files here its name."""
    variant = net.canister(CREATOR).getLatestModel()
    if variant is None:
        return None
    target = ("LlmModel", models.variant_text(variant))
    last = next(file for file in upload.stored(net) if (file.target, file.model) == target)
    for name in dict.fromkeys([chosen, *artifacts.model_names()]):
        try:
            file = artifacts.model(name)
        except MainerError:
            continue
        if file.sha256 == last.sha256:
            return {"file": file.name, "size": last.size, "sha256": last.sha256}
    return {"file": None, "size": last.size, "sha256": last.sha256}


def _mainer_entry(
    net: network.Network, mainer: create.Mainer, ask: Callable[[Callable[[], Any]], Any]
) -> dict[str, Any]:
    cycles = ask(lambda: operate.statistics(net, mainer.controller_id))
    failures = ask(lambda: operate.failures(net, mainer.controller_id))
    return {
        "name": mainer.name,
        "type": mainer.kind,
        "controller_id": mainer.controller_id,
        "llm_ids": list(mainer.llm_ids),
        "llms": [
            {"canister_id": llm.canister_id, "model": llm.model or None, "model_sha256": llm.model_sha256 or None}
            for llm in mainer.llms
        ],
        "left_out": list(mainer.left_out),
        "cycles_spent": cycles and cycles.cycles_burnt,
        "failures": None if failures is None else len(failures),
    }


def _submission_entry(submission: operate.Submission, mainers: Sequence[create.Mainer]) -> dict[str, Any]:
    llm = create.answering_llm(mainers, submission.submitted_by, submission.queued)
    return {
        "submissionId": submission.submission_id,
        "submittedBy": submission.submitted_by,
        "challengeId": submission.challenge_id,
        "challenge": submission.question,
        "answer": submission.answer,
        "model": llm and llm.model,
        "submitted": submission.submitted.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
