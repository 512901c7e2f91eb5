"""A new project: a folder to work in, with the notebooks and the canisters that they deploy.

    init.project(Path("my-mainers"))    # then: cd my-mainers && mainer-nb run

A folder that already has files in it is refused.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from . import places
from .errors import ArgumentError

#: What is copied, by folder: what comes with the package, not what a user has put beside it.
CONTENT = {"notebooks": ("*.ipynb",), "files": ("*_canister.wasm", "*.did", "manifest.json")}


def project(folder: Path) -> dict[str, list[str]]:
    """Make a project of this folder, which must be empty or not exist.

    Returns:
        The names of the files made, by the name of their folder.

    Raises:
        ArgumentError: it is a project, a folder with content, or a file, and nothing is made; or it cannot be written,
            and nothing is left behind.
    """
    _check(folder)
    is_new = not folder.exists()
    made: dict[str, list[str]] = {}
    try:
        for name, patterns in CONTENT.items():
            (folder / name).mkdir(parents=True)
            sources = sorted(path for pattern in patterns for path in (places.shipped() / name).glob(pattern))
            for source in sources:
                shutil.copyfile(source, folder / name / source.name)
            made[name] = [source.name for source in sources]
    except OSError as error:
        for path in [folder] if is_new else [folder / name for name in CONTENT]:
            shutil.rmtree(path, ignore_errors=True)
        raise ArgumentError(f"cannot make a project in {folder}: {error.strerror}. Name another folder.") from error
    return made


def _check(folder: Path) -> None:
    if (folder / places.MARK).is_file():
        raise ArgumentError(f"{folder} is a project already. Use it, or name another folder.")
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder} is a file. Name a new or an empty folder.")
    if folder.is_dir() and (content := sorted(path.name for path in folder.iterdir())):
        names = ", ".join(content[:3]) + (", …" if len(content) > 3 else "")
        raise ArgumentError(f"{folder} is not empty; it has {names}. Name a new or an empty folder.")
