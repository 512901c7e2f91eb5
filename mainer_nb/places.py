"""Where things are on this machine: the project, its files, the embedded network's state, caches, keys.

| what                         | default                          | set by            |
|------------------------------|----------------------------------|-------------------|
| project (notebooks, files)   | found from the working directory | MAINER_NB_PROJECT |
| embedded network's state     | PROJECT/.localnet                | MAINER_NB_STATE   |
| built and fetched artefacts  | the user's cache directory       | MAINER_NB_CACHE   |
| development identity         | the user's config directory      | MAINER_NB_CONFIG  |
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from .errors import PreconditionError

MARK = Path("files", "manifest.json")  # what makes a directory the project


def project() -> Path:
    """The project's directory: the working directory or the nearest one above that has `files/manifest.json`,
    else the one this package was installed from.

    Raises PreconditionError if there is none.
    """
    if given := os.environ.get("MAINER_NB_PROJECT"):
        return Path(given).resolve()
    here = Path.cwd().resolve()
    for directory in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (directory / MARK).is_file():
            return directory
    raise PreconditionError(
        f"no project here: neither {here} nor a directory above it has {MARK}. "
        "Run this in a clone of the repository, or name one in MAINER_NB_PROJECT."
    )


def files() -> Path:
    """The project's artefacts: canister wasm and .did, the user's own models."""
    return project() / "files"


def state() -> Path:
    """The embedded network's state directory."""
    given = os.environ.get("MAINER_NB_STATE")
    return Path(given).resolve() if given else project() / ".localnet"


def cache() -> Path:
    """For what is built or fetched on first use; may be deleted at any time."""
    given = os.environ.get("MAINER_NB_CACHE")
    return Path(given).resolve() if given else platformdirs.user_cache_path("mainer-nb")


def config() -> Path:
    """For what must be kept and is nobody else's: the development identity."""
    given = os.environ.get("MAINER_NB_CONFIG")
    return Path(given).resolve() if given else platformdirs.user_config_path("mainer-nb")
