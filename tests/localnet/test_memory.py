"""Copy-on-write memories, on the fast paths and on the one that works everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainer_nb.localnet import journal, memory
from mainer_nb.localnet.errors import DamagedState
from mainer_nb.localnet.memory import PAGE, CowMemory, Pages, write_ranges


@pytest.fixture(params=["scanned", "read", "compared"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test with each way of telling private pages apart that this system has."""
    if request.param == "compared":
        monkeypatch.setattr(memory, "_LINUX", False)
        monkeypatch.setattr(memory, "_private_ranges", lambda: None)
        return
    find = memory._scanned_ranges if request.param == "scanned" else memory._read_ranges
    try:
        works = memory._tells_private_pages(find)
    except OSError:
        works = False
    if not works:
        pytest.skip(f"this system's page map cannot be {request.param}")
    monkeypatch.setattr(memory, "_private_ranges", lambda: find)


@pytest.fixture
def cow(tmp_path: Path) -> Iterator[CowMemory]:
    """Sixteen pages in a reserve of 32."""
    mapped = CowMemory(tmp_path / "heap-1", 16 * PAGE, reserve=32 * PAGE, guard=PAGE)
    yield mapped
    mapped.close()


def test_only_written_pages_are_dirty(cow: CowMemory) -> None:
    assert cow.dirty() == []
    assert cow.read(5 * PAGE, 4) == bytes(4)
    assert cow.dirty() == []
    cow.write(3 * PAGE - 2, b"abcd")
    cow.write(10 * PAGE, b"x")
    assert cow.dirty() == [(2 * PAGE, 2 * PAGE), (10 * PAGE, PAGE)]


def test_many_dirty_ranges_are_all_found(tmp_path: Path) -> None:
    mapped = CowMemory(tmp_path / "large", 2000 * PAGE, reserve=2000 * PAGE)
    for page in range(0, 2000, 2):
        mapped.write(page * PAGE, b"x")
    assert mapped.dirty() == [(page * PAGE, PAGE) for page in range(0, 2000, 2)]
    mapped.close()


def test_discarded_pages_read_as_the_base_file(cow: CowMemory) -> None:
    cow.write(PAGE, b"abcd")
    cow.discard(cow.dirty())
    assert cow.read(PAGE, 4) == bytes(4)
    assert cow.dirty() == []


def test_committed_pages_are_seen_by_all_who_map_the_file(cow: CowMemory) -> None:
    other = CowMemory(cow.base, 16 * PAGE, reserve=32 * PAGE)
    cow.write(7 * PAGE + 5, b"kept")
    assert other.read(7 * PAGE + 5, 4) == bytes(4)
    ranges = cow.dirty()
    write_ranges(cow.base, ranges, cow.views(ranges))
    cow.discard(ranges)
    assert cow.read(7 * PAGE + 5, 4) == other.read(7 * PAGE + 5, 4) == b"kept"
    assert cow.dirty() == other.dirty() == []
    other.close()


def test_growing_keeps_what_is_not_committed_and_adds_zeros(cow: CowMemory) -> None:
    address = cow.address
    cow.write(0, b"private")
    cow.grow(20 * PAGE)
    assert (cow.address, cow.size) == (address, 20 * PAGE)
    assert cow.read(0, 7) == b"private"
    assert cow.read(19 * PAGE, PAGE) == bytes(PAGE)
    with pytest.raises(MemoryError):
        cow.grow(33 * PAGE)


def test_a_memory_without_reserve_moves_when_it_grows(tmp_path: Path) -> None:
    moving = CowMemory(tmp_path / "stable", 0)
    assert moving.dirty() == []
    moving.grow(2 * PAGE)
    moving.write(PAGE, b"private")
    moving.grow(400 * PAGE)
    assert moving.read(PAGE, 7) == b"private"
    assert moving.dirty() == [(PAGE, PAGE)]
    moving.close()


def test_ranges_are_widened_to_pages_and_merged() -> None:
    size = 10 * PAGE
    cases: list[tuple[list[memory.Range], list[memory.Range]]] = [
        ([], []),
        ([(1, 1), (PAGE + 1, 2), (5 * PAGE - 1, 2)], [(0, 2 * PAGE), (4 * PAGE, 2 * PAGE)]),
        ([(0, 3 * PAGE), (PAGE, 1)], [(0, 3 * PAGE)]),
        ([(9 * PAGE, PAGE - 7)], [(9 * PAGE, PAGE - 7)]),
    ]
    for written, merged in cases:
        pages = Pages()
        for offset, length in written:
            pages.add(offset, length)
        assert pages.ranges(size - 7) == merged


def test_pages_are_counted_once() -> None:
    pages, more = Pages(), Pages()
    assert pages.add(4095, 2) == 2
    assert pages.add(0, 8192) == 0
    assert pages.add(8191, 2) == 1
    more.add(12288, 1)
    pages |= more
    assert len(pages) == 4


def test_a_journal_is_applied_exactly_for_its_commit(cow: CowMemory, tmp_path: Path) -> None:
    cow.write(2 * PAGE, b"new")
    ranges = cow.dirty()
    record = cow.base.parent / "journal"
    journal.write(record, 5, [journal.FileChange(cow.base, cow.size, ranges, cow.views(ranges))])
    written = record.read_bytes()
    for commit, applied in ((4, False), (6, False), (5, True)):
        record.write_bytes(written)
        assert journal.recover(record, commit) is applied
        assert (cow.base.read_bytes()[2 * PAGE : 2 * PAGE + 3] == b"new") is applied
    assert journal.recover(record, 5) is False  # once is enough
    with pytest.raises(DamagedState, match=r"journal is ahead of network.sqlite"):
        journal.recover(record, 4)  # its changes are in the memory file
    record.write_bytes(written)
    assert journal.recover(record, 4) is False
    assert journal.recover(record, 5) is False  # it was forgotten: the next message is number 5
    record.write_bytes(written[:-1])
    with pytest.raises(DamagedState, match="cut short"):
        journal.recover(record, 5)
    assert journal.recover(tmp_path / "none", 5) is False


@pytest.mark.parametrize("shares", [True, False], ids=["as the file system can", "without shared bytes"])
def test_a_copy_of_a_file_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: bool) -> None:
    if not shares:
        monkeypatch.setattr(memory, "_LINUX", False)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"a" * 3 * memory.PAGE)
    target.write_bytes(b"longer than the source" * memory.PAGE)
    memory.copy_file(source, target)
    assert target.read_bytes() == source.read_bytes()
    view = memoryview(b"b" * memory.PAGE)
    memory.write_ranges(target, [(memory.PAGE, memory.PAGE)], [view])
    assert source.read_bytes() == b"a" * 3 * memory.PAGE
    assert target.read_bytes()[memory.PAGE : 2 * memory.PAGE] == bytes(view)
