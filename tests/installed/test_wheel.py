"""The package as somebody has it who installs a wheel and has no clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import init, places
from tests import jupyter_lab, needed, tiny_gguf

ROOT = Path(__file__).resolve().parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="the package's source is not here")


def pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed into, without what it depends on, which is here already."""
    wheels, target = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("installed")
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT))
    (wheel,) = wheels.iterdir()
    pip("install", "-q", "--no-deps", "--target", str(target), str(wheel))
    return target


@pytest.fixture(scope="module")
def environment(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of a shell in which the installed package is used. The LLM canister is in the cache of the tests' own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MAINER_NB_")}
    return {
        **kept,
        "PYTHONPATH": str(installed),
        "PATH": f"{installed / 'bin'}{os.pathsep}{kept['PATH']}",
        "MAINER_NB_CACHE": str(places.cache()),
        "MAINER_NB_CONFIG": str(tmp_path_factory.mktemp("config")),
    }


@pytest.fixture(scope="module")
def command(environment: dict[str, str]) -> Command:
    """Runs a command line in a folder."""

    def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture(scope="module")
def project(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project made by `mainer-nb init`, with a tiny model of the user's own."""
    root = tmp_path_factory.mktemp("work")
    done = command(root, "mainer-nb", "init", "my mainers")
    assert done.returncode == 0, done.stderr
    assert "cd 'my mainers'\n" in done.stdout
    assert "mainer-nb run" in done.stdout
    folder = root / "my mainers"
    tiny_gguf.write(folder / "files" / "tiny.gguf")
    yield folder
    command(folder, "mainer-nb", "net", "stop")


def test_a_project_has_the_notebooks_and_what_they_deploy(project: Path) -> None:
    for name, patterns in init.CONTENT.items():
        expected = {path.name for pattern in patterns for path in (ROOT / name).glob(pattern)}
        assert expected
        for file in expected:
            assert (project / name / file).read_bytes() == (ROOT / name / file).read_bytes()
    assert {path.name for path in project.iterdir()} == set(init.CONTENT)


def test_notebooks_run_in_a_project(project: Path, command: Command) -> None:
    """The LLM canister is built of the wheel's sources; they are the clone's if it is in the cache already."""
    done = command(project, "mainer-nb", "run", "01", "02", "--model", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "runs" / "latest" / "report.html").is_file()
    assert (project / ".localnet").is_dir()
    assert "compiled" not in done.stdout + done.stderr


def test_the_package_is_the_installed_one(project: Path, command: Command, installed: Path) -> None:
    found = command(project, sys.executable, "-c", "import mainer_nb; print(mainer_nb.__file__)")
    assert Path(found.stdout.strip()).is_relative_to(installed)
    assert (installed / "mainer_nb" / "py.typed").is_file()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    assert list(installed.rglob("*.whl")) == []


@needed.CHROMIUM
def test_jupyterlab_runs_a_notebook_of_a_project(
    project: Path, environment: dict[str, str], page: Any, tmp_path: Path
) -> None:
    with jupyter_lab.serving(project / "notebooks", tmp_path, environment) as address:
        jupyter_lab.open_and_run(page, address.format(name="01_deploy"))
        assert "Traceback" not in page.locator(".jp-Notebook").inner_text()


def test_what_is_no_project_says_how_to_make_one(command: Command, tmp_path: Path) -> None:
    done = command(tmp_path, "mainer-nb", "run")
    assert done.returncode == 1
    assert "mainer-nb init FOLDER" in done.stderr


def test_a_damaged_file_is_got_back_as_the_error_says(project: Path, command: Command) -> None:
    path = project / "files" / "game_state_canister.wasm"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    code = "from mainer_nb import artifacts; artifacts.canister_wasm('game_state_canister')"
    error = command(project, sys.executable, "-c", code).stderr
    remedy = error.rpartition("Get it back with `")[2].partition("`")[0]
    assert remedy.startswith("cp ")
    subprocess.run(remedy, shell=True, check=True)
    assert path.read_bytes() == whole


def test_a_source_package_gives_the_same_wheel(installed: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)], cwd=ROOT, check=True
    )
    (sdist,) = tmp_path.glob("*.tar.gz")
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(sdist))
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    assert _content(tmp_path / "unpacked" / "mainer_nb") == _content(installed / "mainer_nb")


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
