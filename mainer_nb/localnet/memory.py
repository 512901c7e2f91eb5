"""Copy-on-write linear memory: what makes a message atomic without copying a heap.

A canister's memory (its wasm heap, or its stable memory) lives in a *base file* that holds the
committed bytes. Whoever executes a message maps that file privately: reads come from the page
cache, the first write to a page makes a private copy of that page alone. So

* the pages a message changed are the private ones (`CowMemory.dirty`),
* rolling back is dropping them (`CowMemory.discard`),
* committing is writing them to the base file (`write_ranges`), then dropping them.

The cost is proportional to the pages written, not to the size of the memory, and several
instances (one for updates, one for queries) can map the same base file at once.

On Linux the private pages are told apart by ``/proc/self/pagemap``: asked for with ``PAGEMAP_SCAN``
(since Linux 6.7), else read (bit 61 is set for pages of a file). Where that is not available, the
mapping is compared with the file, which is slower and gives the same answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

WASM_PAGE = 65536
PAGE = mmap.PAGESIZE
#: The pages that the Internet Computer counts, whatever those of this system are.
OS_PAGE = 4096

#: A byte range of a memory: (offset, length).
Range = tuple[int, int]

_LINUX = sys.platform == "linux"
_PROT_NONE, _PROT_RW = 0, mmap.PROT_READ | mmap.PROT_WRITE
_MAP_PRIVATE, _MAP_SHARED = mmap.MAP_PRIVATE, mmap.MAP_SHARED
_MAP_ANON = mmap.MAP_ANON
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000 if _LINUX else 0x40
_MADV_DONTNEED = 4

#: How much farther than its size a memory that may move is mapped; the file ends at its size.
_MAX_ROOM = 1 << 30

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _mmap(address: int | None, length: int, prot: int, flags: int, fd: int = -1) -> int:
    result = _libc.mmap(address, length, prot, flags, fd, 0)
    if result is None or result == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise MemoryError(f"cannot map {length} bytes: {os.strerror(code)}")
    return int(result)


class CowMemory:
    """A private view of a base file at a fixed address.

    Args:
        base: the file that holds the committed bytes; made, or lengthened with zeros, as needed.
        size: bytes that are readable and writable now.
        reserve: bytes of address space the memory may grow into without moving (0: it may move).
        guard: further bytes of address space after `reserve` that stay inaccessible.
    """

    def __init__(self, base: Path, size: int, reserve: int = 0, guard: int = 0) -> None:
        self.base = base
        self.size = 0
        self._reserved = 0
        self._fixed = reserve > 0
        self.address = 0
        if self._fixed:
            self._reserved = max(reserve, size) + guard
            self.address = _mmap(None, self._reserved, _PROT_NONE, _MAP_PRIVATE | _MAP_ANON | _MAP_NORESERVE)
        self.capacity = self._reserved - guard
        if size or not base.exists():
            self.grow(size)

    def grow(self, size: int) -> None:
        """Makes `size` bytes accessible. New bytes are zero; private pages are kept only when the address is fixed.

        Raises:
            MemoryError: `size` is beyond the reserved address space, or the system has none left.
        """
        fd = os.open(self.base, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(fd).st_size < size:
                os.ftruncate(fd, size)
            if size == self.size:
                return
            if self._fixed:
                if size > self.capacity:
                    raise MemoryError(f"{size} bytes are beyond the {self.capacity} reserved")
                # Only the new part is mapped, at its offset: what was written before stays private.
                self._map(fd, self.size, size - self.size)
            elif size > self._reserved:
                private = [(r, self.read(*r)) for r in self.dirty()] if self.size else []
                room = max(size, min(2 * self._reserved, self._reserved + _MAX_ROOM))  # moves seldom if it grows often
                self._unmap()
                self.address = _mmap(None, room, _PROT_RW, _MAP_PRIVATE | _MAP_NORESERVE, fd)
                self._reserved = room
                for (offset, _), data in private:
                    ctypes.memmove(self.address + offset, data, len(data))
            self.size = size
        finally:
            os.close(fd)

    def _map(self, fd: int, offset: int, length: int) -> None:
        flags = _MAP_PRIVATE | _MAP_FIXED | _MAP_NORESERVE
        result = _libc.mmap(self.address + offset, length, _PROT_RW, flags, fd, offset)
        if result != self.address + offset:
            raise MemoryError(f"cannot map {length} bytes: {os.strerror(ctypes.get_errno())}")

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`; the caller has checked the bounds."""
        return ctypes.string_at(self.address + offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """Writes `data` at `offset`; the caller has checked the bounds."""
        ctypes.memmove(self.address + offset, data, len(data))

    def dirty(self) -> list[Range]:
        """The ranges (whole pages, ascending, not touching) that differ from the base file, or may do so."""
        if not self.size:
            return []
        private_ranges = _private_ranges()
        if private_ranges is None:
            return _runs(self._changed_pages(), self.size)
        return private_ranges(self.address, self.size)

    def _changed_pages(self) -> np.ndarray:
        pages = -(-self.size // PAGE)
        mine = np.ctypeslib.as_array((ctypes.c_uint8 * self.size).from_address(self.address))
        committed = np.memmap(self.base, np.uint8, "r", shape=(self.size,))
        changed = np.zeros(pages, bool)
        block = 4096 * PAGE
        for start in range(0, self.size, block):
            end = min(start + block, self.size)
            if not np.array_equal(mine[start:end], committed[start:end]):
                for offset in range(start, end, PAGE):
                    stop = min(offset + PAGE, end)
                    changed[offset // PAGE] = not np.array_equal(mine[offset:stop], committed[offset:stop])
        return changed

    def discard(self, ranges: Iterable[Range]) -> None:
        """Drops the private pages in `ranges` (page aligned): they read as the base file again."""
        if _LINUX:
            for offset, length in ranges:
                _libc.madvise(self.address + offset, length, _MADV_DONTNEED)
            return
        fd = os.open(self.base, os.O_RDWR)
        try:
            for offset, length in ranges:
                self._map(fd, offset, length)
        finally:
            os.close(fd)

    def views(self, ranges: Iterable[Range]) -> list[memoryview]:
        """The bytes of `ranges`, not copied; valid until the next change to this memory."""
        return [
            memoryview((ctypes.c_uint8 * length).from_address(self.address + offset)).cast("B")
            for offset, length in ranges
        ]

    def _unmap(self) -> None:
        if self._reserved:
            _libc.munmap(self.address, self._reserved)
            self._reserved = 0

    def close(self) -> None:
        """Gives the address space back. The base file stays."""
        self._unmap()
        self.size = 0


def write_ranges(base: Path, ranges: Iterable[Range], views: Iterable[memoryview]) -> None:
    """Writes the bytes of `views` into the file `base` at `ranges`."""
    fd = os.open(base, os.O_WRONLY)
    try:
        for (offset, _), view in zip(ranges, views, strict=True):
            while view:
                written = os.pwrite(fd, view, offset)
                view, offset = view[written:], offset + written
    finally:
        os.close(fd)


_FICLONE = 1 << 30 | 4 << 16 | 0x94 << 8 | 9  # _IOW(0x94, 9, int)


def copy_file(source: Path, target: Path) -> None:
    """Copies a file from its beginning to its end, or has both share their bytes until either is written to.

    The latter takes no time and no room; some file systems of Linux can do it (ioctl_ficlone(2)).
    """
    if _LINUX:
        with source.open("rb") as read, target.open("wb") as written, contextlib.suppress(OSError):
            fcntl.ioctl(written, _FICLONE, read.fileno())
            return
    shutil.copyfile(source, target)


def total(ranges: Iterable[Range]) -> int:
    """Bytes in all of `ranges`, which do not overlap."""
    return sum(length for _, length in ranges)


class Pages:
    """Pages of a memory that were used. It takes room for each page once, however often it is used."""

    def __init__(self) -> None:
        self._numbers: set[int] = set()

    def __len__(self) -> int:
        return len(self._numbers)

    def __ior__(self, other: Pages) -> Pages:
        self._numbers |= other._numbers
        return self

    def add(self, offset: int, length: int) -> int:
        """Adds the pages of `length` (at least one) bytes at `offset`; how many of them are new."""
        before = len(self._numbers)
        self._numbers.update(range(offset // OS_PAGE, (offset + length - 1) // OS_PAGE + 1))
        return len(self._numbers) - before

    def ranges(self, size: int) -> list[Range]:
        """The byte ranges of the pages in a memory of `size` bytes: whole pages of this system, merged and sorted."""
        return _merged(((number * OS_PAGE, OS_PAGE) for number in sorted(self._numbers)), size)


def _merged(ranges: Iterable[Range], size: int) -> list[Range]:
    """Ascending `ranges` widened to whole pages of this system (the last one ends at `size`), touching ones as one."""
    merged: list[Range] = []
    for offset, length in ranges:
        start = offset // PAGE * PAGE
        end = min(-(-(offset + length) // PAGE) * PAGE, size)
        if merged and start <= merged[-1][0] + merged[-1][1]:
            start = merged.pop()[0]
        merged.append((start, end - start))
    return merged


# Telling private pages apart (Documentation/admin-guide/mm/pagemap.rst).

_FindPrivate = Callable[[int, int], list[Range]]


@functools.cache
def _private_ranges() -> _FindPrivate | None:
    """The quickest way that this system has, None if it has none."""
    if _LINUX:
        for find in (_scanned_ranges, _read_ranges):
            with contextlib.suppress(OSError):
                if _tells_private_pages(find):
                    return find
    return None


def _tells_private_pages(find: _FindPrivate) -> bool:
    """Whether `find` gives the written one of two pages of a file."""
    with tempfile.TemporaryFile() as file:
        file.truncate(2 * PAGE)
        with mmap.mmap(file.fileno(), 2 * PAGE, flags=mmap.MAP_PRIVATE) as probe:
            probe[0], _ = 1, probe[PAGE]
            address = ctypes.addressof(first := ctypes.c_char.from_buffer(probe))
            found = find(address, 2 * PAGE)
            del first
    return found == [(0, PAGE)]


@functools.cache
def _pagemap() -> int:
    """A descriptor of this process's page map."""
    return os.open("/proc/self/pagemap", os.O_RDONLY)


class _Scan(ctypes.Structure):
    """``struct pm_scan_arg``."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("size", "flags", "start", "end", "walk_end", "vec", "vec_len", "max_pages"),
            *("category_inverted", "category_mask", "category_anyof_mask", "return_mask"),
        )
    )


class _Region(ctypes.Structure):
    """``struct page_region``."""

    _fields_ = (("start", ctypes.c_uint64), ("end", ctypes.c_uint64), ("categories", ctypes.c_uint64))


_PAGEMAP_SCAN = 3 << 30 | ctypes.sizeof(_Scan) << 16 | ord("f") << 8 | 16  # _IOWR('f', 16, struct pm_scan_arg)
_IS_FILE, _IS_PRESENT, _IS_SWAPPED = 1 << 2, 1 << 3, 1 << 4
_REGIONS = 256  # asked for at once


def _scanned_ranges(address: int, size: int) -> list[Range]:
    regions = (_Region * _REGIONS)()
    scan = _Scan(
        size=ctypes.sizeof(_Scan),
        start=address,
        end=address + -(-size // PAGE) * PAGE,
        vec=ctypes.addressof(regions),
        vec_len=_REGIONS,
        category_inverted=_IS_FILE,
        category_mask=_IS_FILE,
        category_anyof_mask=_IS_PRESENT | _IS_SWAPPED,
        return_mask=_IS_FILE,
    )
    found: list[Range] = []
    while scan.start < scan.end:
        count = fcntl.ioctl(_pagemap(), _PAGEMAP_SCAN, scan, True)
        found += [(region.start - address, region.end - region.start) for region in regions[:count]]
        scan.start = scan.walk_end
    return _merged(found, size)


_PRESENT = np.uint64(1 << 63)
_SWAPPED = np.uint64(1 << 62)
_FILE = np.uint64(1 << 61)


def _read_ranges(address: int, size: int) -> list[Range]:
    pages = -(-size // PAGE)
    entries = np.frombuffer(os.pread(_pagemap(), pages * 8, address // PAGE * 8), np.uint64)
    return _runs(((entries & (_PRESENT | _SWAPPED)) != 0) & ((entries & _FILE) == 0), size)


def _runs(flags: np.ndarray, size: int) -> list[Range]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False]))))
    return [
        (int(start) * PAGE, min(int(end) * PAGE, size) - int(start) * PAGE)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
    ]
