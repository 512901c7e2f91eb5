"""What a person meets who sets the project up: what is shown, and what is written for other tools."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import needed
import pytest

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
    options = ["-p", "conftest", "-o", "addopts=", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, "test_some.py"]
    environment = {"PYTHONPATH": str(ROOT / "tests"), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "2 tests need Abacus. To have them tested: `apt-get install abacus`." in done.stdout
    assert "Monday" not in done.stdout
