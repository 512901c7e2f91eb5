"""Folders of things that can be made again: bounded in size, what was used longest ago goes first."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def used(path: Path) -> None:
    """Notes that an entry of a cache is used now."""
    with contextlib.suppress(OSError):  # somebody else's, or just removed
        os.utime(path)


def prune(folder: Path, limit: int) -> None:
    """Removes entries, files or folders, until they have `limit` bytes; the one used last always stays."""
    entries = []
    for path in folder.glob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process prunes as well
            entries.append((path.stat().st_mtime_ns, _size(path), path))
    total = 0
    for number, (_, size, path) in enumerate(sorted(entries, reverse=True)):
        total += size
        if number and total > limit:
            _remove(path)


def _size(path: Path) -> int:
    return sum(part.lstat().st_size for part in (path, *path.rglob("*")))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
