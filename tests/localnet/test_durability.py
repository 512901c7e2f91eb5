"""State folders that are damaged, foreign, in use, read-only or full: reported, and nothing half done."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import resource
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from ic.agent import Agent
from ic.candid import Types, encode
from ic.client import Client
from ic.identity import Identity

from mainer_nb.localnet import server
from mainer_nb.localnet.errors import DamagedState, StateError
from mainer_nb.localnet.sandbox import Sandbox
from mainer_nb.protocol import principal
from tests.localnet import universal as u
from tests.localnet.driver import Driver, eventually, module
from tests.localnet.outcomes import number, rejected, replied
from tests.localnet.test_state import COUNTER, install

CANISTER = principal.canister_id(0)
MIB = 1024 * 1024
#: Counts in heap and stable memory. `fill` writes to so many pages of 4 KiB of the heap, `touch` to a byte of it.
KEEPER = module(
    """
  (func (export "canister_init") (drop (call $stable_grow (i64.const 2))))
  (func (export "canister_update add")
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (call $stable_write (i64.const 70000) (i64.const 0) (i64.const 8))
    (call $reply_i64 (i64.load (i32.const 0))))
  (func (export "canister_query get") (call $reply_i64 (i64.load (i32.const 0))))
  (func (export "canister_query kept")
    (call $stable_read (i64.const 8) (i64.const 70000) (i64.const 8)) (call $reply_i64 (i64.load (i32.const 8))))
  (func $argument (result i32)
    (call $arg_copy (i32.const 16) (i32.const 0) (i32.const 4)) (i32.load (i32.const 16)))
  (func (export "canister_update fill") (local $at i32) (local $end i32)
    (local.set $end (i32.mul (call $argument) (i32.const 4096)))
    (loop $pages
      (i32.store8 (i32.add (i32.const 100) (local.get $at)) (i32.const 7))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $pages (i32.lt_u (local.get $at) (local.get $end))))
    (call $reply))
  (func (export "canister_update touch")
    (i32.store8 (call $argument) (i32.add (i32.load8_u (call $argument)) (i32.const 1))) (call $reply))
  (func (export "canister_query peek") (call $reply_i32 (i32.load8_u (call $argument))))
""",
    "(memory 1024)",
)


def word(value: int) -> bytes:
    return struct.pack("<I", value)


@pytest.fixture
def folder(tmp_path: Path, module_cache: Path) -> Path:
    """The folder of a network that has stopped, with a canister that has counted to 4."""
    folder = tmp_path / "network"
    with Driver(folder, module_cache) as ic:
        assert ic.create(KEEPER) == CANISTER
        for _ in range(3):
            ic.number(CANISTER, "add")
        ic.manage("take_canister_snapshot", {"canister_id": CANISTER, "replace_snapshot": None})
        ic.number(CANISTER, "add")
    return folder


def memories(folder: Path) -> Path:
    return folder / "canisters" / principal.to_text(CANISTER)


def journal(folder: Path) -> Path:
    return memories(folder) / "journal"


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def garble(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def in_database(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "network.sqlite")) as db, db:
        assert db.execute(statement).rowcount != 0


def pending(folder: Path) -> None:
    """The journal of the last commit, as it is when the process dies before it is applied."""
    garble(journal(folder), 0, b"icjrnl01")


def garble_database(folder: Path) -> None:
    path = folder / "network.sqlite"
    garble(path, 4096, b"\xa5" * (path.stat().st_size - 4096))


def cut_pending(folder: Path, size: int) -> None:
    pending(folder)
    cut(journal(folder), size)


def garble_pending(folder: Path, offset: int, data: bytes) -> None:
    pending(folder)
    garble(journal(folder), offset, data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "database cut": (lambda f: cut(f / "network.sqlite", 8192), r"network.sqlite (cannot be read|is garbled)"),
    "database empty": (lambda f: cut(f / "network.sqlite", 0), "network.sqlite is empty"),
    "database garbled": (garble_database, r"network.sqlite (cannot be read|is garbled)"),
    "database text": (
        lambda f: (f / "network.sqlite").write_text("no database" * 500),
        "network.sqlite cannot be read: file is not a database",
    ),
    "database missing": (lambda f: (f / "network.sqlite").unlink(), "network.sqlite is missing"),
    "canister garbled": (lambda f: in_database(f, "UPDATE canister SET state=x'a1617e'"), "network.sqlite is garbled"),
    "canister of another kind": (lambda f: in_database(f, "UPDATE canister SET state=x'01'"), "int in a wrong place"),
    "request garbled": (lambda f: in_database(f, "UPDATE request SET body=x'ff'"), "network.sqlite is garbled"),
    "key garbled": (lambda f: in_database(f, "UPDATE meta SET value=x'81'"), "network.sqlite is garbled"),
    "module garbled": (lambda f: in_database(f, "UPDATE module SET wasm=x'00'"), "the module .* is garbled"),
    "module replaced": (
        lambda f: in_database(f, f"UPDATE module SET wasm=x'{module('').hex()}'"),
        "the module .* is garbled",
    ),
    "module missing": (lambda f: in_database(f, "DELETE FROM module"), "lacks the module"),
    "canister forgotten": (
        lambda f: in_database(f, "DELETE FROM canister"),
        "the memory of a canister that .* does not know",
    ),
    "heap cut": (lambda f: cut(next(memories(f).glob("heap-*")), 65536), r"heap-\d+ is cut short: 65536 bytes of"),
    "heap missing": (lambda f: next(memories(f).glob("heap-*")).unlink(), r"heap-\d+ is missing"),
    "stable memory cut": (lambda f: cut(next(memories(f).glob("stable-*")), 1), r"stable-\d+ is cut short: 1 bytes of"),
    "stable memory missing": (lambda f: next(memories(f).glob("stable-*")).unlink(), r"stable-\d+ is missing"),
    "memories missing": (lambda f: shutil.rmtree(f / "canisters"), r"heap-\d+ is missing"),
    "snapshot cut": (lambda f: cut(next(f.glob("snapshots/*/*/heap")), 9), "heap is cut short: 9 bytes of"),
    "snapshot missing": (lambda f: shutil.rmtree(next(f.glob("snapshots/*/*"))), "snapshots/.*/module is missing"),
    "journal cut": (lambda f: cut_pending(f, 100), "journal is cut short: 100 bytes of"),
    "journal cut to its head": (lambda f: cut_pending(f, 10), "journal is cut short: 10 bytes"),
    "journal foreign": (lambda f: journal(f).write_text("dear diary, " * 10), "journal is not a journal"),
    "journal garbled, name": (lambda f: garble_pending(f, 24 + 18, b"../../"), "journal is garbled: .* no memory file"),
    "journal garbled, ranges": (lambda f: garble_pending(f, 24 + 10, b"\xff" * 8), "journal is garbled: .* do not fit"),
    "journal garbled, all": (lambda f: garble_pending(f, 24, b"\xff" * 64), "journal is garbled"),
    "journal ahead": (lambda f: garble(journal(f), 8, struct.pack("<Q", 1000)), "journal is ahead of network.sqlite"),
    "older format": (lambda f: in_database(f, "PRAGMA user_version=1"), "made by an earlier version"),
    "newer format": (lambda f: in_database(f, "PRAGMA user_version=99"), "made by a later version of this program"),
}


def contents(folder: Path) -> dict[str, str]:
    """The files of a folder that hold state, with their hashes."""
    kept = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not re.search(r"lock$|-wal$|-shm$|\.log$|port$", path.name)
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_reported_and_nothing_replaced(folder: Path, module_cache: Path, name: str) -> None:
    damage, said = DAMAGE[name]
    damage(folder)
    before = contents(folder)
    for _ in range(2):  # the second time it is no different
        with pytest.raises(StateError, match=said) as caught:
            Driver(folder, module_cache)
        assert str(folder) in str(caught.value)
        assert f"To start with an empty network, move {folder} away" in str(caught.value)
        assert "mainer-nb net reset" in str(caught.value)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["database cut", "database missing", "heap missing", "journal cut", "newer format"])
def test_damage_is_reported_by_the_background_process(folder: Path, name: str) -> None:
    damage, said = DAMAGE[name]
    damage(folder)
    with pytest.raises(server.ServerError, match=said) as caught:
        server.start(folder)
    assert f"To start with an empty network, move {folder} away" in str(caught.value)
    assert server.status(folder) is None
    command = [sys.executable, "-m", "mainer_nb.localnet", "serve", "--state", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert re.search(said, ended.stderr)
    assert "Traceback" not in ended.stderr


def test_an_older_database_under_newer_memories_is_reported(tmp_path: Path, folder: Path, module_cache: Path) -> None:
    shutil.copy(folder / "network.sqlite", tmp_path / "copy")
    with Driver(folder, module_cache) as ic:
        ic.number(CANISTER, "add")
    shutil.copy(tmp_path / "copy", folder / "network.sqlite")
    with pytest.raises(DamagedState, match=r"journal is ahead of network.sqlite"):
        Driver(folder, module_cache)


def test_memory_that_was_never_written_is_no_damage(ic: Driver) -> None:
    grown = module('(func (export "canister_init") (drop (call $stable_grow (i64.const 5))))', "(memory 3)")
    canister = ic.create(grown)
    ic.restart()
    state = ic.network.subnet.canisters[canister].state
    assert (state.heap_pages, state.stable_pages) == (3, 5)


def test_a_journal_that_is_due_is_applied(folder: Path, module_cache: Path) -> None:
    heap = next(memories(folder).glob("heap-*"))
    garble(heap, 0, bytes(8))
    pending(folder)
    with Driver(folder, module_cache) as ic:
        assert ic.number(CANISTER, "get") == 4


def test_a_journal_of_a_message_that_never_was_is_forgotten(folder: Path, module_cache: Path) -> None:
    pending(folder)
    (commits,) = struct.unpack_from("<Q", journal(folder).read_bytes(), 8)
    garble(journal(folder), 8, struct.pack("<Q", commits + 1))
    with Driver(folder, module_cache) as ic:
        assert journal(folder).stat().st_size == 0
        assert ic.number(CANISTER, "get") == 4
        assert ic.number(CANISTER, "add") == 5


@pytest.mark.parametrize("other", ["thesis.txt", "canisters/main.mo"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, module_cache: Path, other: str) -> None:
    path = tmp_path / "mine" / other
    path.parent.mkdir(parents=True)
    path.write_text("ten years of work")
    (tmp_path / "mine" / "notes.txt").write_text("")
    with pytest.raises(StateError, match=r"is not the state folder of a network: it holds .*Name a folder"):
        Driver(tmp_path / "mine", module_cache)
    with pytest.raises(server.ServerError, match=r"is not the state folder of a network: it holds .*Name a folder"):
        server.start(tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted({"notes.txt", other.split("/")[0]})


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path, module_cache: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StateError, match="state is a file, not a folder"):
        Driver(tmp_path / "state", module_cache)
    with pytest.raises(server.ServerError, match="state is a file, not a folder"):
        server.start(tmp_path / "state")


def test_one_folder_has_one_network_in_a_sandbox_too(folder: Path, module_cache: Path) -> None:
    with Driver(folder, module_cache):
        with pytest.raises(StateError, match=rf"in use by another network \(process {os.getpid()}\): stop that first"):
            Sandbox(folder, module_cache)
        with pytest.raises(server.ServerError, match=f"in use by another network .process {os.getpid()}"):
            server.start(folder)
    server.start(folder)
    try:
        with pytest.raises(StateError, match="in use by another network"):
            Sandbox(folder, module_cache)
    finally:
        server.stop(folder)


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Without the rights of root, if this is root: the folder then belongs to nobody."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody, -1)
    for parent in folder.parents[:3]:
        parent.chmod(0o755)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("what", [".", "network.sqlite", "canisters"])
def test_a_read_only_folder_is_reported(folder: Path, module_cache: Path, what: str) -> None:
    pending(folder)  # so that there is something to write
    found = folder / what
    with as_nobody(folder):
        for path in (found, *found.rglob("*")):
            path.chmod(0o500 if path.is_dir() else 0o400)
        said = r"cannot be read and written .*Make sure that this user may write there"
        with pytest.raises(StateError, match=said):
            Driver(folder, module_cache)
        found.chmod(0o700)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_message_whose_changes_do_not_fit_is_rejected_and_changes_nothing(folder: Path, module_cache: Path) -> None:
    with Driver(folder, module_cache) as ic:
        with files_of_at_most(8 * MIB):
            rejected(ic.update(CANISTER, "fill", word(4096)), "IC0000", "no room on its disk")  # 16 MiB
            assert ic.number(CANISTER, "get") == 4
            assert number(ic.query(CANISTER, "peek", word(100))) == 0
            assert ic.number(CANISTER, "add") == 5
        ic.restart()
        assert ic.number(CANISTER, "get") == 5
        assert number(ic.query(CANISTER, "peek", word(100))) == 0
        replied(ic.update(CANISTER, "fill", word(4096)))
        assert number(ic.query(CANISTER, "peek", word(100 + 4095 * 4096))) == 7


def test_a_response_whose_changes_do_not_fit_ends_the_call(tmp_path: Path, module_cache: Path) -> None:
    with Driver(tmp_path / "network", module_cache) as ic:
        caller, callee = (ic.create(u.universal(), arg=b"") for _ in range(2))
        two_mib = u.ignore(u.basic("grow", 40)) + u.append(u.number(0) + u.number(2 * MIB)) + u.reply()
        kept = b"".join(u.stable_write(place * 2 * MIB, u.argument()) for place in range(5))
        calling = u.call(callee, "update", two_mib, on_reply=u.stable_grow(200) + kept + u.reply())
        with files_of_at_most(8 * MIB):
            rejected(ic.update(caller, "update", calling), "IC0000", "no room on its disk")
        state = ic.network.subnet.canisters[caller].state
        assert (state.callbacks, state.contexts, state.stable_pages) == ({}, {}, 0)
        assert ic.manage("stop_canister", {"canister_id": caller}) is None


def test_an_installation_that_does_not_fit_is_rejected_and_changes_nothing(folder: Path, module_cache: Path) -> None:
    section = b"\x05notes" + os.urandom(12 * MIB - 6)
    large = module("") + b"\0" + b"\x80\x80\x80\x06" + section  # a custom section of 12 MiB
    with Driver(folder, module_cache) as ic:
        chunks = [large[at : at + MIB] for at in range(0, len(large), MIB)]
        hashes = [ic.manage("upload_chunk", {"canister_id": CANISTER, "chunk": chunk}) for chunk in chunks]
        ic.restart()
        arg = {
            "mode": {"reinstall": None},
            "target_canister": CANISTER,
            "chunk_hashes_list": hashes,
            "wasm_module_hash": hashlib.sha256(large).digest(),
            "arg": b"",
        }
        with files_of_at_most(8 * MIB):
            rejected(ic.manage("install_chunked_code", arg), "IC0000", "no room on its disk")
            assert ic.number(CANISTER, "add") == 5
        assert ic.manage("install_chunked_code", arg) is None


def test_a_network_that_cannot_write_stops_and_goes_on_where_it_was(folder: Path, module_cache: Path) -> None:
    ic = Driver(folder, module_cache)
    with files_of_at_most(MIB // 4), pytest.raises(StateError, match=r"cannot be read and written .*disk has room"):
        _add_for_ever(ic)  # until the log of the database is to grow
    with pytest.raises(StateError):  # whatever it is asked then
        ic.number(CANISTER, "add")
    with pytest.raises(StateError):
        ic.network.state_tree()
    ic.restart()
    with contextlib.closing(ic):
        counted = ic.number(CANISTER, "get")
        assert counted == number(ic.query(CANISTER, "kept"))
        assert ic.number(CANISTER, "add") == counted + 1


def _add_for_ever(ic: Driver) -> None:
    while True:
        ic.number(CANISTER, "add")


def test_memory_that_cannot_be_written_is_written_after_a_restart(folder: Path, module_cache: Path) -> None:
    ic = Driver(folder, module_cache)
    far = 40 * MIB
    with files_of_at_most(20 * MIB):
        with contextlib.suppress(StateError):  # it was committed when it turned out that the heap cannot be written
            ic.update(CANISTER, "touch", word(far))
        eventually(lambda: ic.network.subnet.failure)
        with pytest.raises(StateError, match="cannot be written"):
            ic.number(CANISTER, "add")
        ic.close()
        with pytest.raises(StateError, match=r"cannot be read and written"):
            Driver(folder, module_cache)
    with Driver(folder, module_cache) as ic:
        assert number(ic.query(CANISTER, "peek", word(far))) == 1
        assert ic.number(CANISTER, "add") == 5


def test_a_full_disk_ends_the_background_process_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    nothing = encode([])
    acknowledged = 0
    try:
        with files_of_at_most(2 * MIB):
            agent = Agent(Identity(), Client(server.start(folder).url))
            canister_id = install(agent, COUNTER)
            with contextlib.suppress(httpx.HTTPError):
                while True:
                    different = encode([{"type": Types.Nat, "value": acknowledged}])
                    acknowledged = agent.update_raw(canister_id, "add", different)[0]["value"]
        eventually(lambda: server.status(folder) is None)
        assert re.search("the network stops: .*disk has room", (folder / "server.log").read_text())
        agent.client.url = server.start(folder).url
        counted = agent.query_raw(canister_id, "get", nothing)[0]["value"]
        assert acknowledged <= counted <= acknowledged + 1
    finally:
        server.stop(folder)


def test_a_full_disk_at_the_start_is_reported(tmp_path: Path, module_cache: Path) -> None:
    said = r"network cannot be read and written .*disk has room"
    with files_of_at_most(0), pytest.raises(server.ServerError, match=said):
        server.start(tmp_path / "network")
    with files_of_at_most(0), pytest.raises(StateError, match=said):
        Driver(tmp_path / "network", module_cache)
    Driver(tmp_path / "network", module_cache).close()


def test_a_response_that_was_being_executed_is_executed_again(
    tmp_path: Path, module_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mainer_nb.localnet.limits.UPDATE_LIMIT", 2_000_000_000)
    with Driver(tmp_path / "network", module_cache) as ic:
        caller, callee = (ic.network.subnet.canisters[ic.create(u.universal(), arg=b"")] for _ in range(2))
        ic.hold(callee.state.id)
        calling = u.call(callee.state.id, "update", u.reply(), on_reply=u.forever())
        request = ic.submit(caller.state.id, "update", calling)
        assert isinstance(request, bytes)
        assert ic.network.scheduler.wait_until_idle(30)
        ic.go_on(callee.state.id)
        eventually(lambda: caller.inbox.busy)
        ic.submit(caller.state.id, "update", u.reply())  # it is paid for by the caller, whose state is written by that
        ic.network.keep()
        assert caller.inbox.busy
        shutil.copytree(tmp_path / "network", tmp_path / "killed")  # the folder as a process leaves it that is killed
    with Driver(tmp_path / "killed", module_cache) as ic:
        rejected(ic.response(request), "IC0522", "exceeded the limit of 2000000000 instructions")
        assert ic.network.subnet.canisters[caller.state.id].state.callbacks == {}
