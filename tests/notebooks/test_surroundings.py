"""Runs of small notebooks in odd surroundings: foreign kernels, relative paths, signals, full disks, locales."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest

from mainer_nb import places, run
from mainer_nb.errors import ArgumentError
from mainer_nb.localnet import server
from tests import tiny_gguf

COMMAND = [sys.executable, "-c", "import sys; from mainer_nb.cli import main; sys.exit(main())", "run"]
PARAMETERS = "model: str = None  # a gguf\nidentity: str = None  # a key"

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a project with these notebooks, each with these code cells after one of parameters."""

    def project(parameters: str = PARAMETERS, **notebooks: list[str]) -> Path:
        root = tmp_path / "project"
        (root / "files").mkdir(parents=True)
        (root / "files" / "manifest.json").write_text('{"files": []}')
        (root / "notebooks").mkdir()
        for name, cells in notebooks.items():
            kernel = {"name": "python3", "display_name": "Python", "language": "python"}
            notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
            notebook.cells = [
                nbformat.v4.new_markdown_cell(f"# About {name}"),
                nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
                *map(nbformat.v4.new_code_cell, cells),
            ]
            nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
        for name in ("PROJECT", "STATE", "CACHE", "CONFIG"):
            folder = root if name == "PROJECT" else tmp_path / name.lower()
            monkeypatch.setenv(f"MAINER_NB_{name}", str(folder))
        return root

    return project


def printed(folder: Path, name: str) -> str:
    """What a notebook of a run printed."""
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


# --- kernels ---


@pytest.mark.parametrize(
    ("variable", "content"),
    [
        ("JUPYTER_PATH", '{"argv": ["/gone/python", "{connection_file}"], "display_name": "x", "language": "python"}'),
        ("HOME", "{"),
    ],
)
def test_the_interpreter_that_runs_the_command_runs_the_notebooks(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, content: str
) -> None:
    make(a=["import sys; print(sys.executable)"])
    folder = tmp_path / "data" / (".local/share/jupyter" if variable == "HOME" else "") / "kernels/python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(content)
    monkeypatch.setenv(variable, str(tmp_path / "data"))
    result = run.run(["a"])
    assert result.ok, result.failure
    assert printed(result.folder, "a") == f"{sys.executable}\n"


def test_a_notebook_of_an_unknown_kernel_runs(make: Make) -> None:
    root = make(a=["print('here')"])
    path = root / "notebooks" / "a.ipynb"
    path.write_text(path.read_text().replace('"python3"', '"conda-env-gone-py"'))
    result = run.run(["a"])
    assert result.ok, result.failure


def test_a_kernel_that_cannot_start_is_named_and_hides_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make(a=["1"], b=["2"])
    monkeypatch.setattr(sys, "executable", "/gone/python")
    result = run.run()
    assert [one.status for one in result.notebooks] == ["failed", "not run"]
    assert "/gone/python" in result.failure
    assert "ZMQ" not in result.failure
    assert "/gone/python" in (result.folder / "report.html").read_text()


# --- paths ---


def test_a_path_is_meant_from_where_it_was_given(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make()
    for path in ("here/models/x.gguf", "here/x.gguf", "other/x.gguf", "project/files/y.gguf"):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    absolute = {
        "models/x.gguf": "here/models/x.gguf",
        "./x.gguf": "here/x.gguf",
        "x.gguf": "here/x.gguf",
        "../other/x.gguf": "other/x.gguf",
        "files/y.gguf": "project/files/y.gguf",
        "key.pem": "here/key.pem",
        "~/key.pem": "home/key.pem",
        str(root / "files" / "y.gguf"): "project/files/y.gguf",
    }
    for given, meant in absolute.items():
        assert os.path.normpath(run._absolute(given)) == str(tmp_path / meant)
    for name in ("y", "y.gguf", "alice", None):
        assert run._absolute(name) == name
    with pytest.raises(ArgumentError, match="no such home directory"):
        run._absolute("~nobody-of-this-name/key.pem")


def test_paths_reach_the_notebooks_as_they_were_meant(make: Make, tmp_path: Path) -> None:
    folders = {name: tmp_path / "some" / name for name in places.VARIABLES if name != "MAINER_NB_PROJECT"}
    names = ("MAINER_NB_PROJECT", *folders)
    root = make(a=["print(model, identity)", f"import os; print(*[os.environ[one] for one in {names}])"])
    tiny_gguf.write(tmp_path / "x.gguf")
    environment = os.environ | {name: f"some/{name}" for name in folders} | {"MAINER_NB_PROJECT": "project"}
    arguments = [*COMMAND, "a", "--model", "./x.gguf", "--identity", "key.pem", "--output", "runs"]
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = [tmp_path / "x.gguf", tmp_path / "key.pem", root, *folders.values()]
    assert printed(tmp_path / "runs" / "latest", "a").split() == [str(path) for path in expected]


# --- signals ---


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run whose notebook has printed "begun"."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while "begun" not in (line := process.stdout.readline()):
                assert line, process.communicate()[1]
            yield process
        finally:
            process.kill()


SLEEP = "import time\nprint('begun')\ntime.sleep(600)"
DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + SLEEP


@pytest.mark.parametrize(
    ("cell", "number", "name"),
    [
        pytest.param(SLEEP, signal.SIGINT, "Ctrl-C", id="Ctrl-C"),
        pytest.param(SLEEP, signal.SIGTERM, "SIGTERM", id="SIGTERM"),
        pytest.param(DEAF, signal.SIGHUP, "SIGHUP", id="SIGHUP twice, with a cell that does not listen"),
    ],
)
def test_a_run_that_is_stopped_leaves_a_report_and_no_process(
    make: Make, cell: str, number: signal.Signals, name: str
) -> None:
    root = make(a=["print('first')"], b=[cell], c=["print('never')"])
    with running() as process:
        below = psutil.Process(process.pid).children(recursive=True)
        assert below
        process.send_signal(number)
        if cell == DEAF:
            process.send_signal(number)
        output, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f'mainer-nb: b failed in code cell 2, "About b":\nstopped by {name}' in said or (
        f'mainer-nb: b failed in a cell of "About b":\nstopped by {name}' in said
    )
    assert "Traceback" not in said
    assert not psutil.wait_procs(below, timeout=10)[1]
    latest = root / "runs" / "latest"
    assert f"report: {latest.resolve() / 'report.html'}" in output
    summary = json.loads((latest / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "stopped"
    assert [one["status"] for one in summary["notebooks"]] == ["ok", "failed", "not run"]
    assert f"stopped by {name}" in (latest / "report.html").read_text(encoding="utf-8")


def test_a_run_whose_output_nobody_reads_goes_on(make: Make) -> None:
    root = make(a=["for n in range(100): print(n)"], b=["print('second')"])
    with running_into_nothing() as process:
        assert process.wait(60) == 0
    assert json.loads((root / "runs/latest/summary.json").read_text(encoding="utf-8"))["status"] == "ok"


@contextmanager
def running_into_nothing() -> Iterator[subprocess.Popen[bytes]]:
    reading, writing = os.pipe()
    os.close(reading)
    with subprocess.Popen(COMMAND, stdout=writing, stderr=writing) as process:
        os.close(writing)
        yield process


# --- users ---

#: As a user that the system does not know, who may read everything, since this interpreter may be in root's home.
NOBODY = ["setpriv", "--reuid=12345", "--clear-groups"]
NOBODY += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
CELL = """
from mainer_nb import management, network, plots
net = network.connect()
canister_id = management.create_canister(net.agent, 10**12)
management.install_code(net.agent, canister_id, b"\\0asm\\1\\0\\0\\0", "install")
print(net.caller)
plots.cycles({"one": 10**12})
"""


@pytest.mark.parametrize("home", ["none", "/", "read-only", "gone"])
def test_a_user_without_a_name_or_a_home_can_run(make: Make, tmp_path: Path, home: str) -> None:
    if os.getuid() != 0 or subprocess.run([*NOBODY, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can run something as another user")
    root = make("network: str = 'local'  # which", a=[CELL])
    for folder in ("state", "runs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder).chmod(0o777)
    for folder in (".cache/mainer-nb", ".config/mainer-nb", ".config/matplotlib", ".ipython", ".jupyter", ".local"):
        (tmp_path / "home" / folder).mkdir(parents=True)
    environment = dict(os.environ)
    for name in ("HOME", "MAINER_NB_CACHE", "MAINER_NB_CONFIG"):
        environment.pop(name, None)
    if home != "none":
        environment["HOME"] = {"/": "/", "read-only": str(tmp_path / "home"), "gone": "/gone"}[home]
    command = [*NOBODY, *COMMAND, "a", "--output", str(tmp_path / "runs")]
    try:
        callers = set()
        for _ in range(2):
            done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            callers.add(printed(tmp_path / "runs" / "latest", "a"))
        assert len(callers) == 1
    finally:
        server.stop(tmp_path / "state")


# --- several at once ---


def test_runs_on_one_network_take_turns(make: Make, tmp_path: Path) -> None:
    cell = "import time; begun = time.time(); time.sleep(2); print(begun, time.time())"
    root = make("network: str = 'local'  # which", a=[cell])
    try:
        with subprocess.Popen(COMMAND) as first, subprocess.Popen(COMMAND) as second:
            assert (first.wait(120), second.wait(120)) == (0, 0)
    finally:
        server.stop(tmp_path / "state")
    folders = sorted(path for path in (root / "runs").iterdir() if not path.is_symlink())
    one, other = sorted([float(time) for time in printed(folder, "a").split()] for folder in folders)
    assert one[1] < other[0]
    assert (root / "runs" / "latest").resolve() in folders


# --- what is not the package's own error ---


def test_an_error_in_the_summary_loses_no_report(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("network = 'http://127.0.0.1:1'", a=["1"])

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("mainer_nb.network.connect", broken)
    result = run.run(["a"])
    assert result.ok
    assert result.summary["problems"] == ["ZeroDivisionError: by nothing"]
    assert "by nothing" in (result.folder / "summary.json").read_text(encoding="utf-8")
    assert 'href="#a"' in (result.folder / "report.html").read_text(encoding="utf-8")


def test_notebooks_that_cannot_be_shown_leave_a_report_without_them(make: Make) -> None:
    """As when a notebook was cut short by a full disk."""
    make(a=["import os; print(os.getcwd())"], b=["from pathlib import Path; [f.write_text('{') for f in FOLDER]"])
    source = places.project() / "notebooks/b.ipynb"
    source.write_text(source.read_text().replace("FOLDER", "Path('../runs').glob('*/a.ipynb')"))
    result = run.run()
    assert result.ok, result.failure
    assert any("report lacks the notebooks" in one for one in result.summary["problems"])
    assert "<td>ok</td>" in (result.folder / "report.html").read_text(encoding="utf-8")


def test_a_run_whose_folder_is_taken_away_says_so_and_leaves_a_report(make: Make) -> None:
    make(a=["import shutil; shutil.rmtree('../runs')"], b=["1"])
    result = run.run()
    assert [one.status for one in result.notebooks] == ["failed", "not run"]
    assert str(result.folder) in result.failure
    assert "a failed" in (result.folder / "report.html").read_text(encoding="utf-8").replace("</a>", "")


@pytest.mark.parametrize("name", ["latest", "latest/notes.txt"])
def test_what_is_called_latest_and_not_of_a_run_is_kept(tmp_path: Path, name: str) -> None:
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("mine", encoding="utf-8")
    (tmp_path / "a run").mkdir()
    with pytest.raises(ArgumentError, match="latest is left as it is, since it is not of a run"):
        run._point_to(tmp_path / "a run")
    assert own.read_text(encoding="utf-8") == "mine"


def test_a_copy_of_an_earlier_run_gives_way_to_the_last_one(tmp_path: Path) -> None:
    for name in ("latest", "a run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / run.REPORT).write_text(name, encoding="utf-8")
    run._point_to(tmp_path / "a run")
    assert (tmp_path / "latest" / run.REPORT).read_text(encoding="utf-8") == "a run"


def test_runs_that_end_at_once_all_point_to_one_of_them(tmp_path: Path) -> None:
    folders = [tmp_path / f"run-{number}" for number in range(8)]
    errors: list[BaseException] = []

    def point(folder: Path) -> None:
        try:
            folder.mkdir()
            for _ in range(50):
                run._point_to(folder)
                assert (tmp_path / "latest").resolve() in folders
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=point, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", *(folder.name for folder in folders)]


# --- locales ---


def test_a_run_in_another_locale_passes(make: Make) -> None:
    root = make(a=["print('· 日本 ä')"])
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment["PYTHONIOENCODING"] = "ascii"
    done = subprocess.run(COMMAND, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert printed(root / "runs/latest", "a") == "· 日本 ä\n"
    assert "日本" in (root / "runs/latest/report.html").read_text(encoding="utf-8")
    assert rb"\u65e5\u672c" in done.stdout
