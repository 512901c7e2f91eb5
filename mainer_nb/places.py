"""Where things are on this machine: the project, its files, the embedded network's state, caches, keys.

| what                         | default                          | set by            |
|------------------------------|----------------------------------|-------------------|
| project (notebooks, files)   | found from the working directory | MAINER_NB_PROJECT |
| embedded network's state     | PROJECT/.localnet                | MAINER_NB_STATE   |
| reports of runs, samples     | PROJECT/runs                     |                   |


| copies of fleets, rehearsed  | beside that, with -rehearsal     |                   |
| built and fetched files      | the user's cache directory       | MAINER_NB_CACHE   |
| development identity         | the user's config directory      | MAINER_NB_CONFIG  |

A relative path is meant from the working directory of whoever gives it: `given` makes a path absolute before it goes to
another process, `environment` the variables.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import platformdirs

from .errors import ArgumentError, PreconditionError
from .localnet import cache as caches

# Variables that name a folder: ours, and those of the tools whose identities and networks are used here.
VARIABLES = (
    *("MAINER_NB_PROJECT", "MAINER_NB_STATE", "MAINER_NB_CACHE", "MAINER_NB_CONFIG"),
    *("ICP_HOME", "DFX_CONFIG_ROOT", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"),
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)  # errors of a full disk

MARK = Path("files", "manifest.json")  # what makes a directory the project
PACKAGE = Path(__file__).resolve().parent


def project() -> Path:
    """The project's directory: the working directory or the nearest one above that has `files/manifest.json`, else the
    clone that this package was installed from.

    Raises:
        PreconditionError: there is none.
    """
    if given := os.environ.get("MAINER_NB_PROJECT"):
        if not Path(given).is_dir():
            raise PreconditionError(
                f"MAINER_NB_PROJECT names {given}, which is no folder. Name a folder that has {MARK}, or unset it."
            )
        return Path(given).resolve()
    here = Path.cwd().resolve()
    for directory in (here, *here.parents, PACKAGE.parent):
        if (directory / MARK).is_file():
            return directory
    raise PreconditionError(
        f"no project here: neither {here} nor a directory above it has {MARK}. "
        "Make one with `mainer-nb init FOLDER` and run this there, or name one in MAINER_NB_PROJECT."
    )


def newer_files(project: Path) -> str:
    """What helps a project that `mainer-nb init` of an older version made."""
    return (
        "`mainer-nb init FOLDER` makes a folder with those of this version: copy its notebooks/ and files/ over those "
        f"of {project}, and run 01_deploy again, which upgrades what is deployed"
    )


def shipped() -> Path:
    """What comes with the package, laid out as in the repository: notebooks, files/, the LLM canister's sources.

    In a clone this is the clone; a wheel carries a copy, from which `mainer-nb init` makes projects.
    """
    clone = PACKAGE.parent
    return clone if (clone / MARK).is_file() else PACKAGE / "shipped"


def files() -> Path:
    """The project's files: canister wasm and .did, the user's own models."""
    return project() / "files"


def state() -> Path:
    """The embedded network's state directory."""
    given = os.environ.get("MAINER_NB_STATE")
    return Path(given).resolve() if given else project() / ".localnet"


def runs() -> Path:
    """What runs and samples leave: reports, and figures of the past."""
    return project() / "runs"


def rehearsal() -> Path:
    """Copies of fleets and the networks that they are on: beside the embedded network's state."""
    return state().with_name(f"{state().name}-rehearsal")


def cache(*parts: str) -> Path:
    """For what is built or fetched on first use; may be deleted at any time. It can be written, unless it has what is
    asked for already.
    """
    there = caches.chosen().joinpath(*parts)
    return there if parts and os.access(there, os.R_OK) else caches.folder().joinpath(*parts)


def config() -> Path:
    """For what must be kept and is nobody else's: the development identity."""
    given = os.environ.get("MAINER_NB_CONFIG")
    if given:
        return Path(given).resolve()
    # without a home directory platformdirs raises, or says "~/…", which nobody means
    with suppress(RuntimeError):
        if (path := platformdirs.user_config_path("mainer-nb")).is_absolute():
            return path
    return home() / ".config" / "mainer-nb"


def home() -> Path:
    """The user's home directory; without one (a user id that the system has no entry for) a temporary folder."""
    with suppress(RuntimeError):
        if (path := Path.home()).is_absolute():
            return path
    return caches.of_nobody()


def ensure_home() -> None:
    """Name a home directory in the environment, if there is none: Jupyter wants one."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(home())


def given(path: str | Path) -> Path:
    """The absolute path of what somebody named: `~` stands for a home directory, and a relative path begins at the
    working directory, or, if nothing is there, at the project's.

    Raises:
        ArgumentError: there is no such home directory.
    """
    try:
        named = Path(path).expanduser()
    except RuntimeError as error:
        raise ArgumentError(f"{path}: there is no such home directory. Give the whole path.") from error
    here = named.absolute()
    if named.is_absolute() or os.path.lexists(here):
        return here
    in_project = project() / named
    return in_project if os.path.lexists(in_project) else here


def environment() -> dict[str, str]:
    """The environment for a process that works in another directory: this one's, with absolute paths."""
    folders = {name: str(Path(value).absolute()) for name in VARIABLES if (value := os.environ.get(name))}
    return {**os.environ, **folders}


def unwritable(path: Path, error: OSError, remedy: str) -> str:
    """What to say when `path` cannot be written: why, and what helps; `remedy` says how to have it elsewhere."""
    why = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return f"{path} cannot be written: {why}. Make room there, or {remedy}."
    return f"{path} cannot be written: {why}. Allow it, or {remedy}."
