"""The notebooks run in order, twice, out of order and with bad input; what is left of a run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from mainer_nb import artifacts, cli, create, management, network, run
from mainer_nb.errors import ArgumentError, ArtifactMissing

from .conftest import MODEL, PARAMETERS

NAMES = ["01_deploy", "02_upload", "03_create", "04_test"]


def kernels() -> list[psutil.Process]:
    """The Jupyter kernels that this process has started and that still run."""
    children = psutil.Process().children()
    return [
        process for process in children if process.status() != "zombie" and "ipykernel_launcher" in process.cmdline()
    ]


def submissions_by_kind(summary: dict[str, Any]) -> dict[str, int]:
    kinds = {mainer["controller_id"]: mainer["type"] for mainer in summary["mainers"]}
    found: dict[str, int] = {}
    for submission in summary["submissions"]:
        kind = kinds[submission["submittedBy"]]
        found[kind] = found.get(kind, 0) + 1
    return found


def test_summary_says_what_is_on_the_network(after_first_run: run.Result) -> None:
    summary = json.loads((after_first_run.folder / "summary.json").read_text())
    net = network.connect()
    assert summary == after_first_run.summary
    assert summary["status"] == "ok"
    assert summary["problems"] == []
    assert [(notebook["name"], notebook["status"]) for notebook in summary["notebooks"]] == [
        (name, "ok") for name in NAMES
    ]
    assert all(notebook["seconds"] > 0 for notebook in summary["notebooks"])
    assert summary["network"] == {"name": "local", "url": net.url}
    assert summary["canisters"] == {role: net.canister_id(role) for role in (network.GAME_STATE, network.CREATOR)}
    model = artifacts.model(MODEL)
    assert summary["model"] == {"file": "tiny.gguf", "size": model.size, "sha256": model.sha256}
    assert [mainer["type"] for mainer in summary["mainers"]] == [
        "Own",
        "Own",
        "ShareService",
        "ShareAgent",
        "ShareAgent",
    ]
    assert [len(mainer["llm_ids"]) for mainer in summary["mainers"]] == [2, 2, 1, 0, 0]


def test_every_type_has_submitted_answers(after_first_run: run.Result) -> None:
    summary = after_first_run.summary
    by_kind = submissions_by_kind(summary)
    assert by_kind["ShareAgent"] == 2
    assert by_kind["Own"] >= 2  # one more for each question that is left
    assert len({submission["challenge"] for submission in summary["submissions"]}) == 3  # each question its answer
    agents = {mainer["controller_id"] for mainer in summary["mainers"] if mainer["type"] == "ShareAgent"}
    assert agents <= {submission["submittedBy"] for submission in summary["submissions"]}
    for submission in summary["submissions"]:
        assert submission["challenge"].endswith("?")
        assert submission["answer"].strip()
        assert submission["submissionId"]


def test_executed_notebooks_have_tables_and_plots(after_first_run: run.Result) -> None:
    for name in NAMES:
        notebook = nbformat.read(after_first_run.folder / f"{name}.ipynb", as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        shown = {kind for output in outputs for kind in output.get("data", {})}
        assert {"text/html", "image/png"} <= shown, name
        assert not any(output.output_type == "error" for output in outputs)


def test_report_has_all_of_it_in_one_page(after_first_run: run.Result) -> None:
    page = (after_first_run.folder / "report.html").read_text()
    for name in NAMES:
        assert f'href="#{name}"' in page
        assert f'id="{name}"' in page
    for mainer in after_first_run.summary["mainers"]:
        assert mainer["controller_id"] in page
    assert page.count("data:image/svg+xml;base64,") >= 6
    assert "Traceback" not in page
    assert "<script src=" not in page


def test_a_second_run_makes_no_new_mainers_and_is_the_latest(after_first_run: run.Result) -> None:
    before = create.mainers(network.connect())
    second = run.run(parameters=PARAMETERS)
    assert second.ok, second.failure
    assert second.folder != after_first_run.folder
    latest = second.folder.parent / "latest"
    assert (latest / "summary.json").read_text() == (second.folder / "summary.json").read_text()
    assert create.mainers(network.connect()) == before
    assert second.summary["canisters"] == after_first_run.summary["canisters"]
    answered, again = submissions_by_kind(after_first_run.summary), submissions_by_kind(second.summary)
    assert all(again[kind] > answered[kind] for kind in answered)


@pytest.mark.usefixtures("fresh")
def test_a_notebook_says_which_one_must_come_before(tmp_path: Path) -> None:
    def failure(name: str) -> str:
        result = run.run([name], PARAMETERS, tmp_path)
        assert not result.ok
        return result.failure

    for name in ("02_upload", "03_create", "04_test"):
        assert "notebooks/01_deploy.ipynb" in failure(name)
    assert run.run(["01"], PARAMETERS, tmp_path).ok
    assert "notebooks/02_upload.ipynb" in failure("03_create")
    assert "notebooks/03_create.ipynb" in failure("04_test")


@pytest.mark.usefixtures("fresh")
def test_a_failure_is_reported_without_its_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--mode", "upgrade", "--output", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "01_deploy failed in code cell" in shown.err
    assert '"Deploy and register"' in shown.err
    assert "use mode install or auto" in shown.err
    assert "Traceback" not in shown.out + shown.err
    assert "01_deploy: failed after" in shown.out
    assert "01_deploy: done" not in shown.out
    assert len(shown.err.splitlines()) < 20
    assert not kernels()

    summary = json.loads((tmp_path / "latest" / "summary.json").read_text())
    assert summary["status"] == "failed"
    assert [notebook["status"] for notebook in summary["notebooks"]] == ["failed", "not run", "not run", "not run"]
    assert "use mode install or auto" in summary["notebooks"][0]["error"]
    page = (tmp_path / "latest" / "report.html").read_text()
    assert "use mode install or auto" in page
    assert "Traceback" not in page


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Makes a project of a single notebook, of this name and with this code."""

    def make(name: str, code: str) -> None:
        project = tmp_path / "project"
        (project / "files").mkdir(parents=True)
        (project / "files" / "manifest.json").write_text('{"files": []}')
        (project / "notebooks").mkdir()
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
        notebook.cells = [nbformat.v4.new_markdown_cell("# The end"), nbformat.v4.new_code_cell(code)]
        nbformat.write(notebook, project / "notebooks" / f"{name}.ipynb")
        monkeypatch.setenv("MAINER_NB_PROJECT", str(project))
        monkeypatch.setenv("MAINER_NB_STATE", str(tmp_path / "state"))

    return make


def test_a_notebook_of_an_older_version_is_told_what_helps(alone: Callable[[str, str], None], tmp_path: Path) -> None:
    alone("01_deploy", "from mainer_nb import something_that_is_gone")
    failure = run.run().failure
    assert "ImportError: cannot import name 'something_that_is_gone'" in failure
    assert "If an older version of mainer_nb made this notebook: `mainer-nb init FOLDER` makes" in failure
    assert str(tmp_path / "project") in failure


def test_a_kernel_that_dies_is_reported(alone: Callable[[str, str], None]) -> None:
    alone("01_end", "import os; os._exit(1)")
    result = run.run()
    assert result.failure.startswith('01_end failed in a cell of "The end":')
    assert "died" in result.failure.lower()
    assert not kernels()
    assert "01_end failed" in (result.folder / "report.html").read_text().replace("</a>", "")


@pytest.mark.usefixtures("fresh")
def test_two_runs_at_once_on_a_fresh_network_pass_and_make_one_population(tmp_path: Path) -> None:
    program = "import sys; from mainer_nb.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "run", "01", "02", "03", "--model", MODEL, "--output", str(tmp_path)]
    for name, value in {"own": 1, "llms_per_own": 1, "services": 0, "agents": 0}.items():
        command += ["-p", name, str(value)]
    with subprocess.Popen(command) as first, subprocess.Popen(command) as second:
        assert (first.wait(300), second.wait(300)) == (0, 0)
    (mainer,) = create.mainers(network.connect())
    assert (mainer.kind, len(mainer.llm_ids)) == ("Own", 1)
    summaries = [json.loads(path.read_text()) for path in tmp_path.glob("*Z*/summary.json")]
    populations = [[(one["controller_id"], one["llm_ids"]) for one in summary["mainers"]] for summary in summaries]
    assert populations == [[(mainer.controller_id, list(mainer.llm_ids))]] * 2


@pytest.mark.usefixtures("fresh")
def test_an_unknown_network_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    result = run.run(["01_deploy"], {"network": "nowhere"}, tmp_path)
    assert "unknown network 'nowhere'" in result.failure
    assert "local (embedded)" in result.failure
    assert result.summary["network"] == {"name": "nowhere", "url": None}


@pytest.mark.usefixtures("fresh")
def test_the_first_steps_run_on_nothing_and_leave_nothing(tmp_path: Path) -> None:
    result = run.run(["00"], output=tmp_path)
    assert result.ok, result.failure
    assert result.summary["problems"] == []
    assert result.summary["network"] is None
    assert "could not be reached" not in (result.folder / run.REPORT).read_text(encoding="utf-8")
    state = tmp_path / "state" / "canisters.ids.json"
    assert not state.exists()
    shown = nbformat.read(result.folder / "00_start.ipynb", as_version=4)
    texts = [output.get("data", {}).get("text/plain", "") for cell in shown.cells for output in cell.get("outputs", [])]
    (made,) = {found[1] for text in texts if (found := re.search(r"^canister +(\S+-cai)$", text, re.MULTILINE))}
    assert not management.exists(network.connect(start=False).agent, made)


@pytest.mark.usefixtures("fresh")
def test_a_log_says_once_how_each_notebook_ended_and_what_was_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ["run", "01", "02", "-p", "mode", "upgrade", "-p", "own", "1", "--output", str(tmp_path / "runs")]
    assert cli.main(wrong) == 1
    shown = "".join(capsys.readouterr())
    assert "not used, since it is no parameter of 01_deploy, 02_upload: own\n" in shown
    ends = [line for line in shown.splitlines() if re.match(r"01_deploy\b.*\b(failed|ok|done)\b", line)]
    assert len(ends) == 1, ends
    assert "02_upload: not run" in shown


@pytest.mark.usefixtures("fresh")
def test_wrong_names_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no notebook '99'; there are 00_start"):
        run.run(["99"], output=tmp_path)
    with pytest.raises(ArgumentError, match=r"no notebook has a parameter modle; there are .*model"):
        run.run(parameters={"modle": "tiny"}, output=tmp_path)
    with pytest.raises(ArtifactMissing, match=r"no model 'nosuch'.*choose one of: .*tiny"):
        run.run(parameters={"model": "nosuch"}, output=tmp_path)
    assert not list(tmp_path.glob("*/summary.json"))


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("own", "two", "parameter own is the text 'two', but must be a whole number from 0 to 100 (how many mAIners"),
        ("own", "-1", "parameter own is -1,"),
        ("challenges", "-1", "parameter challenges is -1,"),
        ("model", "2024-01-01", "parameter model is the date 2024-01-01,"),
        ("mode", "instal", "one of auto, install, reinstall, upgrade"),
        ("challenges", "9", "parameter challenges is 9, but questions has 4"),
        ("services", "0", "2 ShareAgents need a ShareService"),
        ("own", "[1", "parameter own: '[1' is not YAML"),
        ("own", '!!int ""', "is not YAML"),
        ("own", "2024-13-45", "is not YAML (month must be in 1..12)"),
    ],
)
def test_a_wrong_parameter_is_refused_before_anything_is_done(
    tmp_path: Path, name: str, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "-p", name, text, "--output", str(tmp_path / "runs")]) == 1
    shown = capsys.readouterr()
    assert said in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("again", [["-p", "model", "tiny"], ["--model", "tiny"]])
def test_a_parameter_given_twice_is_refused(again: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "-p", "model", "other", *again]) == 1
    assert "parameter model is given more than once" in capsys.readouterr().err


@pytest.mark.usefixtures("fresh")
def test_papermill_alone_refuses_a_wrong_parameter_before_anything_is_done(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "papermill", "notebooks/03_create.ipynb", str(tmp_path / "out.ipynb")]
    done = subprocess.run([*command, "-p", "own", "two"], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "parameter own is the text 'two', but must be a whole number from 0 to 100 (how many mAIners" in done.stderr
    assert not (tmp_path / "state").exists()


def test_progress_of_cells_and_of_the_work_in_them_is_seen_while_it_happens(
    after_first_run: run.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "04", "-p", "timer_interval", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("04_test: begins")
    waits = lines.index("  wait for a submission by Own 1: begins")
    assert lines.index("04_test: Let one work by itself") < waits < lines.index("04_test: How long it took")
    assert any(line.startswith("04_test: done in") for line in lines)
    assert network.connect().url in lines[-2]
    assert lines[-1].startswith("report: ")


def test_papermill_alone_runs_a_notebook(after_first_run: run.Result, project: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "papermill", "notebooks/03_create.ipynb", str(tmp_path / "out.ipynb")]
    done = subprocess.run(
        [*command, "-p", "network", "local"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.ipynb").exists()


def test_numbers_of_mainers_are_parameters(after_first_run: run.Result, tmp_path: Path) -> None:
    before = create.mainers(network.connect())
    agents = sum(mainer.kind == "ShareAgent" for mainer in before)
    assert run.run(["03"], {"agents": agents + 1}, tmp_path).ok
    after = create.mainers(network.connect())
    assert after[: len(before)] == before
    assert [mainer.kind for mainer in after[len(before) :]] == ["ShareAgent"]


@pytest.mark.model
@pytest.mark.usefixtures("fresh")
def test_the_real_model_answers_on_a_fresh_network(tmp_path: Path) -> None:
    result = run.run(output=tmp_path)
    assert result.ok, result.failure
    assert result.summary["model"]["file"] == "gemma-3-270m-q4_k_m.gguf"
    by_kind = submissions_by_kind(result.summary)
    assert by_kind["Own"] >= 2
    assert by_kind["ShareAgent"] == 2
    right = {"France": "Paris", "Japan": "Tokyo", "sky": "blue"}
    answers = [(submission["challenge"], submission["answer"].lower()) for submission in result.summary["submissions"]]
    known = [word.lower() in text for question, text in answers for about, word in right.items() if about in question]
    assert len(known) == len(answers)
    assert any(known), answers
