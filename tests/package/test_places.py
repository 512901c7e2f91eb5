"""Where things are, in odd surroundings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mainer_nb import places
from mainer_nb.errors import ArgumentError, PreconditionError
from mainer_nb.localnet import cache


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.mark.parametrize("home", ["/proc", "/dev/null"])
def test_a_cache_that_cannot_be_written_is_elsewhere_with_a_warning(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    monkeypatch.delenv("MAINER_NB_CACHE")
    monkeypatch.setenv("HOME", home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.warns(cache.CacheWarning, match=f"{home}/.* cannot be written; {temporary}/.*MAINER_NB_CACHE"):
        found = places.cache()
    assert found.parent == temporary
    assert found.stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_somebody_else_made_is_not_used(temporary: Path) -> None:
    ours = cache.of_nobody()
    assert ours.name == f"mainer-nb-{os.getuid()}"
    ours.chmod(0o777)
    other = cache.of_nobody()
    assert other != ours
    assert other.parent == temporary


def test_what_a_cache_has_is_used_though_it_cannot_be_written(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache" / "models").mkdir(parents=True)
    (tmp_path / "cache" / "models" / "x.gguf").touch()
    monkeypatch.setattr(cache, "writable", lambda path: False)
    assert places.cache("models", "x.gguf") == tmp_path / "cache" / "models" / "x.gguf"
    with pytest.warns(cache.CacheWarning):
        assert places.cache("models", "y.gguf").is_relative_to(temporary)


def test_one_variable_moves_all_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mainer_nb.localnet.network import cache_folder

    monkeypatch.setenv("MAINER_NB_CACHE", str(tmp_path / "all"))
    assert places.cache() == tmp_path / "all"
    assert cache_folder() == tmp_path / "all" / "modules"


def test_without_a_home_everything_has_a_place(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "MAINER_NB_CACHE", "MAINER_NB_CONFIG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    for folder in (places.home(), places.cache(), places.config()):
        assert folder.is_relative_to(temporary)
    with pytest.raises(ArgumentError, match=r"~/key\.pem: there is no such home directory"):
        places.given("~/key.pem")
    places.ensure_home()
    assert os.environ["HOME"] == str(places.home())


@pytest.mark.parametrize("name", ["file", "nothing"])
def test_a_project_that_is_no_folder_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path / name))
    with pytest.raises(PreconditionError, match=f"MAINER_NB_PROJECT names .*/{name}, which is no folder"):
        places.files()
