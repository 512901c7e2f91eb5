"""The repository as one meets it: what set-up shows, what other tools read, and that documents name what is there."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from mainer_nb import fleet, localnet
from tests import needed

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/install.py, with a log of the test's own."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOG", tmp_path / "build" / "install.log")
    return module


def test_an_installation_says_what_it_does_and_not_what_pip_says(
    install: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "hatchling.build"\n[project]\nname = "nothing"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["/nothing.py"]\n'
    )
    (package / "nothing.py").touch()
    options = ["--no-index", "--no-build-isolation", "--target", str(tmp_path / "target")]
    assert install.main("a package", *options, str(package)) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("installing a package\n")
    assert "installed a package in" in shown.out
    assert "Processing" not in shown.out + shown.err
    assert "Processing" in install.LOG.read_text()


def test_an_installation_that_fails_shows_what_pip_said(install: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert install.main("a package", "--no-index", "no-such-package-anywhere") == 1
    error = capfd.readouterr().err
    assert "No matching distribution found for no-such-package-anywhere" in error
    assert "a package could not be installed" in error
    assert str(install.LOG) in error


def test_the_end_of_a_run_says_what_to_install(tmp_path: Path) -> None:
    tests = f"""
import pytest

@pytest.mark.skipif(True, reason="{needed.WANTED}Abacus: `apt-get install abacus`")
@pytest.mark.parametrize("number", [1, 2])
def test_with_it(number): ...

@pytest.mark.skipif(True, reason="it is Monday")
def test_on_other_days(): ...
"""
    (tmp_path / "test_some.py").write_text(tests)
    options = ["-p", "tests.conftest", "-o", "addopts=", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "test_some.py"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "Abacus is missing (tests skipped: 2). To have it: `apt-get install abacus`." in done.stdout
    assert "Monday" not in done.stdout


WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
CHECKS = {"check", "rebuild-check", "clients", "test"}  # what a change must pass


def documents() -> list[Path]:
    """Those of this project, not of packages that are installed in it."""
    folders = (ROOT, ROOT / "docs", ROOT / "bench", ROOT / "canisters", ROOT / "canisters" / "llama_cpp")
    return [path for folder in folders for path in folder.glob("*.md")]


def targets(commands: str) -> set[str]:
    return set(re.findall(r"\bmake ([\w-]+)", commands))


def test_the_workflow_is_as_github_wants_it() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workflow_that_is_wrong_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(WORKFLOW.read_text(encoding="utf-8").replace("runs-on:", "runs-at:"), encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(wrong)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_workflow_hook_and_ci_script_call_the_same_commands() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    commands = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert targets(commands) >= CHECKS
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert targets(re.sub(r"#.*", "", script)) == CHECKS
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [(repo["repo"], hook["language"], hook["entry"]) for repo in hooks for hook in repo["hooks"]] == [
        ("local", "system", "make check")
    ]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in targets(commands) | CHECKS:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_workflow_tests_every_python_from_the_first_that_is_supported() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    (versions,) = [job["strategy"]["matrix"]["python"] for job in jobs.values() if "strategy" in job]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={versions[0]}"
    named = [found[1] for text in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)$", text))]
    assert versions == named


A_PATH = r"`((?:mainer_nb|canisters|notebooks|tests|bench|docs|files|tools)/[\w./]*)`"
PLACEHOLDERS = {"NN_name.ipynb", "NAME"}  # in paths that stand for any
MADE_LATER = {"llama_cpp.wasm"}


@pytest.mark.parametrize("document", sorted(path.relative_to(ROOT) for path in documents()), ids=str)
def test_what_documents_name_is_there(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = [ROOT / path for path in re.findall(A_PATH, text)]
    linked = [(ROOT / document).parent / path for path in re.findall(r"\]\(([^)#:]+)\)", text)]
    wanted = [path for path in named + linked if not {*path.parts} & (PLACEHOLDERS | MADE_LATER)]
    assert [str(path) for path in wanted if not path.exists()] == []


def test_functions_on_the_walks_through_the_code_are_in_their_files() -> None:
    walks = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(A_PATH + r",\s+`(\w+)`", walks)
    assert len(steps) >= 20
    for path, name in steps:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"\b(?:def|class|func) {name}\b", source), f"{path} has no {name}"


def mapped(package: ModuleType) -> set[str]:
    """The files that the map in a package's docstring has."""
    return set(re.findall(r"^ {4}.{24}(\w+)(?: |$)", package.__doc__ or "", re.MULTILINE))


def files_of(package: ModuleType) -> set[str]:
    (folder,) = package.__path__
    return {path.stem for path in Path(folder).iterdir() if not path.name.startswith("_")}


@pytest.mark.parametrize("package", [fleet, localnet], ids=lambda package: package.__name__)
def test_the_map_of_a_package_has_all_its_files(package: ModuleType) -> None:
    assert mapped(package) == files_of(package)


def is_code(line: str) -> bool:
    """Whether a line is a statement that calls or assigns something."""
    try:
        tree = ast.parse(line)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call | ast.Assign) for node in ast.walk(tree))


@pytest.mark.parametrize("folder", ["mainer_nb", "tests", "bench", "tools"])
def test_an_example_in_the_docstring_of_a_module_is_indented(folder: str) -> None:
    """Else it is shown as running text, its lines joined."""
    paths = [path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in paths}
    assert any("    >>> " in text or "\n    " in text for text in docstrings.values())
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path, text in docstrings.items()
        for line in text.splitlines()
        if not line.startswith(" ") and is_code(line)
    ]
    assert found == []
