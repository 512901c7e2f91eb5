"""Changing a canister's memory files atomically.

A message may change pages of the heap and of the stable memory. They are first written to the
canister's journal with the number of the commit; then the network's database commits the rest of
the state, the number included: that is the point of no return; then the pages are written to the
memory files. A process that dies in between leaves either a journal whose number the database does
not know (the message never happened) or one with the database's number (it is applied again).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .memory import Range, write_ranges

_HEADER = struct.Struct("<8sQQ")
_FILE = struct.Struct("<HQQ")
_RANGE = struct.Struct("<QQ")
_PENDING, _DONE = b"icjrnl01", b"icdone01"
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
    """Writes `changes` and the number of the `commit` they belong to."""
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
    """Applies the journal if it belongs to `commit`, the last one the database knows.

    Raises:
        ValueError: the journal belongs to `commit` but is cut short: the folder was damaged from outside.
    """
    if not journal.exists():
        return False
    data = journal.read_bytes()
    if len(data) < _HEADER.size:
        return False
    magic, number, length = _HEADER.unpack_from(data)
    if magic != _PENDING or number != commit:
        return False
    if len(data) < _HEADER.size + length:
        raise ValueError(f"{journal} is cut short: {len(data)} bytes of {_HEADER.size + length}")
    offset, end = _HEADER.size, _HEADER.size + length
    while offset < end:
        name_size, size, count = _FILE.unpack_from(data, offset)
        offset += _FILE.size
        path = journal.parent / data[offset : offset + name_size].decode()
        offset += name_size
        ranges = [_RANGE.unpack_from(data, offset + i * _RANGE.size) for i in range(count)]
        offset += count * _RANGE.size
        views = []
        for _, size_of_range in ranges:
            views.append(memoryview(data)[offset : offset + size_of_range])
            offset += size_of_range
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(fd).st_size < size:
            os.ftruncate(fd, size)
        os.close(fd)
        FileChange(path, size, ranges, views).apply()
    applied(journal)
    return True


def _write_all(fd: int, parts: list[bytes | memoryview]) -> None:
    for start in range(0, len(parts), _IOV_MAX):
        group = [memoryview(part) for part in parts[start : start + _IOV_MAX] if len(part)]
        while group:
            written = os.writev(fd, group)
            while group and written >= len(group[0]):
                written -= len(group.pop(0))
            if group:
                group[0] = group[0][written:]
