"""Changing a canister's memory files atomically.

A message may change pages of the heap and of the stable memory. They are first written to the
canister's journal with the number of the commit; then the network's database commits the rest of
the state, the number included: that is the point of no return; then the pages are written to the
memory files. A process that dies in between leaves either a journal whose number the database does
not know (the message never happened) or one with the database's number (it is applied again). A journal
that is neither, or does not fit its file, was damaged from outside and is reported.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import DamagedState
from .memory import Range, write_ranges

_HEADER = struct.Struct("<8sQQ")
_FILE = struct.Struct("<HQQ")
_RANGE = struct.Struct("<QQ")
_PENDING, _DONE = b"icjrnl01", b"icdone01"
_MEMORY_FILE = re.compile(r"(heap|stable)-[0-9]+")
#: A larger journal is cut to nothing once it is applied, so that it does not hold the disk.
_KEEP = 4 * 1024 * 1024
_IOV_MAX = 512


@dataclass(frozen=True)
class FileChange:
    """New bytes for a memory file: `views` belong at `ranges`; the file is `size` bytes long."""

    path: Path
    size: int
    ranges: Sequence[Range]
    views: Sequence[memoryview]

    def apply(self) -> None:
        """Writes the bytes into the file."""
        if self.ranges:
            write_ranges(self.path, self.ranges, self.views)


def write(journal: Path, commit: int, changes: Iterable[FileChange]) -> None:
    """Writes `changes` and the number of the `commit` they belong to.

    Raises:
        OSError: it cannot be written, for example because the disk is full; nothing has changed.
    """
    changes = list(changes)
    parts: list[bytes | memoryview] = []
    for change in changes:
        name = change.path.name.encode()
        parts += [_FILE.pack(len(name), change.size, len(change.ranges)), name]
        parts += [_RANGE.pack(*item) for item in change.ranges]
        parts += change.views
    length = sum(len(part) for part in parts)
    fd = os.open(journal, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        _write_all(fd, [_HEADER.pack(_PENDING, commit, length), *parts])
    except OSError:
        os.ftruncate(fd, 0)  # or it could be taken for that of another message with this number
        raise
    finally:
        os.close(fd)


def applied(journal: Path) -> None:
    """The memory files have the changes: the journal is marked as done, and emptied if it is large."""
    fd = os.open(journal, os.O_WRONLY)
    try:
        if os.fstat(fd).st_size > _KEEP:
            os.ftruncate(fd, 0)
        else:
            os.pwrite(fd, _DONE, 0)
    finally:
        os.close(fd)


def recover(journal: Path, commit: int) -> bool:
    """Applies the journal if it belongs to `commit`, the last one the database knows; forgets it if it never happened.

    Raises:
        DamagedState: journal and database are not what the network left there.
        OSError: the memory files cannot be written.
    """
    if not journal.exists():
        return False
    data = journal.read_bytes()
    if not data:
        return False
    if len(data) < _HEADER.size:
        raise _damaged(journal, f"is cut short: {len(data)} bytes")
    magic, number, length = _HEADER.unpack_from(data)
    if magic not in (_PENDING, _DONE):
        raise _damaged(journal, "is not a journal of this network")
    if magic == _DONE:
        if number > commit:
            raise _damaged(journal, f"is ahead of network.sqlite: {number} changes of memory, of which it has {commit}")
        return False
    if number != commit:
        os.truncate(journal, 0)  # or it could be taken for that of the next message, which gets this number
        return False
    if len(data) < _HEADER.size + length:
        raise _damaged(journal, f"is cut short: {len(data)} bytes of {_HEADER.size + length}")
    try:
        changes = list(_parsed(journal.parent, memoryview(data)[_HEADER.size : _HEADER.size + length]))
    except (struct.error, ValueError) as error:
        raise _damaged(journal, f"is garbled: {error}") from error
    for change in changes:
        with change.path.open("ab") as file:
            if file.tell() < change.size:
                file.truncate(change.size)
        change.apply()
    applied(journal)
    return True


def _parsed(folder: Path, data: memoryview) -> Iterable[FileChange]:
    """The changes in a journal.

    Raises:
        struct.error, ValueError: they do not fit together.
    """
    offset = 0
    while offset < len(data):
        name_size, size, count = _FILE.unpack_from(data, offset)
        offset += _FILE.size
        name = bytes(data[offset : offset + name_size]).decode()
        if not _MEMORY_FILE.fullmatch(name):
            raise ValueError(f"{name!r} is no memory file")
        offset += name_size
        if count * _RANGE.size > len(data) - offset:
            raise ValueError(f"{count} ranges do not fit")
        ranges = [_RANGE.unpack_from(data, offset + i * _RANGE.size) for i in range(count)]
        offset += count * _RANGE.size
        views = []
        for start, length in ranges:
            if length > len(data) - offset or start + length > size:
                raise ValueError(f"a range of {length} bytes at {start} does not fit")
            views.append(data[offset : offset + length])
            offset += length
        yield FileChange(folder / name, size, ranges, views)


def _damaged(journal: Path, what: str) -> DamagedState:
    return DamagedState(journal.parents[2], f"{journal} {what}")


def _write_all(fd: int, parts: list[bytes | memoryview]) -> None:
    for start in range(0, len(parts), _IOV_MAX):
        group = [memoryview(part) for part in parts[start : start + _IOV_MAX] if len(part)]
        while group:
            written = os.writev(fd, group)
            while group and written >= len(group[0]):
                written -= len(group.pop(0))
            if group:
                group[0] = group[0][written:]
