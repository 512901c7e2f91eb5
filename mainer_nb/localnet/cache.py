"""Cache folders of bounded size: what was used least recently is removed first.

All are below one folder: MAINER_NB_CACHE, else `mainer-nb` in the user's cache directory. Where that cannot be written
(a read-only home, a user without one) it is a folder of this user in the system's temporary directory, with a warning.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import warnings
from pathlib import Path

import platformdirs

_NAME = "mainer-nb"


class CacheWarning(UserWarning):
    """A cache cannot be used; what it would keep is made again."""


def chosen() -> Path:
    """The folder chosen for all caches, whether or not it can be written."""
    given = os.environ.get("MAINER_NB_CACHE")
    return Path(given).absolute() if given else _of_user()


def folder() -> Path:
    """The folder of all caches: `chosen` if it can be written, else a temporary one."""
    wanted = chosen()
    with contextlib.suppress(OSError):
        wanted.mkdir(parents=True, exist_ok=True)
        if writable(wanted):
            return wanted
    try:
        instead = of_nobody()
    except OSError:  # no temporary directory either: whoever writes is told
        return wanted
    warnings.warn(
        f"the cache folder {wanted} cannot be written; {instead} is used instead, and MAINER_NB_CACHE names another",
        CacheWarning,
        stacklevel=2,
    )
    return instead


def writable(path: Path) -> bool:
    """Whether files can be made in the folder `path`, which is made by whoever does so."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def of_nobody() -> Path:
    """A folder of this user alone in the system's temporary directory, for what has no better place."""
    path = Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return path
    return Path(tempfile.mkdtemp(prefix=f"{_NAME}-"))  # somebody else made one of that name


def _of_user() -> Path:
    # without a home directory platformdirs raises, or says "~/…", which nobody means
    with contextlib.suppress(RuntimeError):
        if (path := platformdirs.user_cache_path(_NAME)).is_absolute():
            return path
    return of_nobody()


def used(path: Path) -> None:
    """Notes that an entry of a cache is used now."""
    with contextlib.suppress(OSError):  # somebody else's, or just removed
        os.utime(path)


def prune(folder: Path, limit: int) -> None:
    """Removes entries, files or folders, until they have `limit` bytes; the one used last always stays."""
    entries = []
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):  # another process prunes as well; or it is somebody else's
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
        with contextlib.suppress(OSError):
            path.unlink()
