"""`mainer-nb init`: a folder becomes a project, or stays as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mainer_nb import cli, init, places
from mainer_nb.errors import ArgumentError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_new_folder_becomes_a_project_that_is_found_from_its_notebooks(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = init.project(Path("a/b"))
    assert made.keys() == {"notebooks", "files"}
    assert {f"{name}/{file}" for name, files in made.items() for file in files} == {
        str(path.relative_to(here / "a/b")) for path in (here / "a/b").rglob("*") if path.is_file()
    }
    monkeypatch.chdir("a/b/notebooks")
    assert places.project() == here / "a/b"


def test_an_empty_folder_becomes_a_project_without_going_elsewhere(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", "."]) == 0
    shown = capsys.readouterr().out
    assert "01_deploy.ipynb" in shown
    assert "game_state_canister.wasm" in shown
    assert " run " in shown
    assert "cd " not in shown


def test_what_a_user_has_put_into_the_clone_is_not_copied(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = here / "source"
    for name in init.CONTENT:
        shutil.copytree(places.shipped() / name, source / name, ignore=shutil.ignore_patterns("*.gguf"))
    (source / "files" / "own.gguf").touch()
    (source / "files" / "llama_cpp.wasm").touch()
    monkeypatch.setattr(places, "shipped", lambda: source)
    made = init.project(here / "project")
    assert not {"own.gguf", "llama_cpp.wasm"} & {*made["files"], *(path.name for path in here.rglob("project/files/*"))}


def test_a_second_time_says_that_it_is_a_project(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "work"]) == 0
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    assert cli.main(["init", "work"]) == 1
    assert "mainer-nb: work is a project already" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_a_folder_with_content_is_refused_and_left_alone(here: Path) -> None:
    for name in ("a", "b", "c", "d"):
        (here / name).touch()
    with pytest.raises(ArgumentError, match=r"is not empty; it has a, b, c, …\. Name a new or an empty folder"):
        init.project(here)
    assert len(list(here.iterdir())) == 4


def test_a_hidden_file_is_content(here: Path) -> None:
    (here / ".git").mkdir()
    with pytest.raises(ArgumentError, match=r"it has \.git"):
        init.project(here)


def test_a_file_is_no_folder(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(ArgumentError, match="is a file"):
        init.project(here / "file")
    with pytest.raises(ArgumentError, match=r"cannot make a project in .*file/below"):
        init.project(here / "file" / "below")


def test_a_copy_that_fails_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(ArgumentError, match="No space left on device"):
        init.project(here / "new")
    with pytest.raises(ArgumentError, match="No space left on device"):
        init.project(here)
    assert list(here.iterdir()) == []
