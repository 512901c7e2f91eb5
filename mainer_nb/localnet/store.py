"""The folder of a network: everything that survives it.

    network.sqlite        canisters, messages, requests, modules, chunks, logs: one transaction a commit
    canisters/<id>/       the memories of a canister (see `journal`)
    snapshots/<id>/<hex>/ module and memories of a snapshot of a canister

A transaction is acknowledged when the operating system has it: a process killed at any moment loses
nothing acknowledged. (After a power failure the last moments may be missing.) One process at a time uses
a folder. A folder that was changed from outside is reported, never repaired by a guess and never
emptied.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..protocol import principal
from . import state
from .errors import DamagedState, StateError, afresh
from .state import CanisterState, Message, Request, Snapshot

DATABASE = "network.sqlite"
_FORMAT = 2
#: What the names of files in a state folder begin with.
_OWN = ("network.", "server.", "last-port", "canisters", "snapshots")
_SETTINGS = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000; PRAGMA journal_size_limit=16777216;
"""
#: A database of which more than half, and so many bytes, are unused is made smaller when it is opened.
_MUCH_UNUSED = 16 * 1024 * 1024
_UNWRITABLE = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE canister (id BLOB PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE message (
  number INTEGER PRIMARY KEY, target BLOB NOT NULL, management INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE request (id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE module (sha256 BLOB PRIMARY KEY, wasm BLOB NOT NULL);
CREATE TABLE log (canister BLOB PRIMARY KEY, records BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE snapshot (id BLOB PRIMARY KEY, canister BLOB NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE chunk (canister BLOB NOT NULL, sha256 BLOB NOT NULL, bytes BLOB NOT NULL, PRIMARY KEY (canister, sha256));
"""


#: A line that a canister printed: number, ns since the epoch, text.
LogRecord = tuple[int, int, bytes]


@dataclass
class Changes:
    """What one step of the network changed, written in one transaction.

    Attributes:
        chunks: the chunk store of the first, a canister or snapshot, becomes that of the second, or empty; in order.
    """

    canisters: dict[bytes, CanisterState | None] = field(default_factory=dict)
    messages: list[tuple[int, bytes, bool, Message]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    requests: dict[bytes, Request | None] = field(default_factory=dict)
    logs: dict[bytes, list[LogRecord]] = field(default_factory=dict)
    snapshots: dict[bytes, Snapshot | None] = field(default_factory=dict)
    chunks: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    modules: dict[bytes, bytes | None] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


class Store:
    """The database of a network in `folder` (made if missing).

    Raises:
        StateError: the folder is in use, cannot be written, is no state folder or one of another format.
        DamagedState: something of it is missing or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        examine(folder)
        self.path = folder / DATABASE
        self._held = _hold(folder)
        try:
            if not self.path.exists():
                self._make()
            self._db = self._open()
        except BaseException:
            self._held.close()
            raise

    def _make(self) -> None:
        """Makes an empty database; it gets its name when it is complete."""
        draft = self.folder / "network.new"
        with self._reading():
            for left in self.folder.glob("network.new*"):  # by a process that was killed here
                left.unlink()
            db = sqlite3.connect(draft, isolation_level=None)
            db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version={_FORMAT}; COMMIT;")
            db.close()
        draft.replace(self.path)

    def _open(self) -> sqlite3.Connection:
        if self.path.stat().st_size == 0:
            raise DamagedState(self.folder, f"{self.path} is empty")
        try:
            self.path.open("r+b").close()  # SQLite itself reads a file that cannot be written without complaint
        except OSError as error:
            raise unwritable(self.folder, str(error)) from error
        with self._reading():
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            db.executescript(_SETTINGS)
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                raise DamagedState(self.folder, f"{self.path} is not a network's database")
            if version != _FORMAT:
                made = "a later version of this program: use that one" if version > _FORMAT else "an earlier version"
                text = f"{self.path} has format {version}, this program reads format {_FORMAT}; it was made by {made}"
                raise StateError(f"{text}. {afresh(self.folder)}")
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise DamagedState(self.folder, f"{self.path} is garbled: {found.splitlines()[-1]}")
            size, pages, unused = (
                db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
            )
            if 2 * unused > pages and unused * size > _MUCH_UNUSED:
                db.executescript("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
            return db

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Says in our words what the database cannot do."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _UNWRITABLE:
                raise unwritable(self.folder, f"{self.path}: {error}") from error
            raise DamagedState(self.folder, f"{self.path} cannot be read: {error}") from error

    def _rows(self, statement: str, *values: Any) -> Iterator[Any]:
        with self._reading():
            yield from self._db.execute(statement, values)

    def _unpack(self, body: bytes, kind: Any) -> Any:
        """A value of type `kind` from the database."""
        try:
            value = state.unpack(body)
        except Exception as error:  # whatever a decoder makes of garbled bytes
            raise DamagedState(self.folder, f"{self.path} is garbled: {type(error).__name__}: {error}") from error
        if not isinstance(value, kind):
            raise DamagedState(self.folder, f"{self.path} is garbled: it has {type(value).__name__} in a wrong place")
        return value

    def canister_folder(self, canister_id: bytes) -> Path:
        """Where the memories of a canister are."""
        return self.folder / "canisters" / principal.to_text(canister_id)

    def snapshot_folder(self, snapshot: Snapshot) -> Path:
        """Where the module and the memories of a snapshot are."""
        return self.folder / "snapshots" / principal.to_text(snapshot.canister_id) / snapshot.id.hex()

    def write(self, changes: Changes) -> None:
        """Commits `changes`.

        Raises:
            StateError: they cannot be written, for example because the disk is full; nothing is committed.
        """
        with self._lock:
            try:
                self._write(changes)
            except sqlite3.Error as error:
                raise unwritable(self.folder, f"{self.path}: {error}") from error

    def _write(self, changes: Changes) -> None:
        db = self._db
        db.execute("BEGIN")
        for canister_id, canister in changes.canisters.items():
            if canister is None:
                db.execute("DELETE FROM canister WHERE id=?", (canister_id,))
                db.execute("DELETE FROM chunk WHERE canister=?", (canister_id,))
                db.execute("DELETE FROM log WHERE canister=?", (canister_id,))
            else:
                db.execute("INSERT OR REPLACE INTO canister VALUES (?,?)", (canister_id, state.pack(canister)))
        for number, target, management, message in changes.messages:
            db.execute("INSERT INTO message VALUES (?,?,?,?)", (number, target, management, state.pack(message)))
        for number in changes.done:
            db.execute("DELETE FROM message WHERE number=?", (number,))
        for request_id, request in changes.requests.items():
            if request is None:
                db.execute("DELETE FROM request WHERE id=?", (request_id,))
            else:
                db.execute("INSERT OR REPLACE INTO request VALUES (?,?)", (request_id, state.pack(request)))
        for owner, source in changes.chunks:
            db.execute("DELETE FROM chunk WHERE canister=?", (owner,))
            if source is not None:
                db.execute("INSERT INTO chunk SELECT ?, sha256, bytes FROM chunk WHERE canister=?", (owner, source))
        for canister_id, records in changes.logs.items():
            db.execute("INSERT OR REPLACE INTO log VALUES (?,?)", (canister_id, state.pack(records)))
        for snapshot_id, snapshot in changes.snapshots.items():
            if snapshot is None:
                db.execute("DELETE FROM snapshot WHERE id=?", (snapshot_id,))
                db.execute("DELETE FROM chunk WHERE canister=?", (snapshot_id,))
            else:
                row = (snapshot_id, snapshot.canister_id, state.pack(snapshot))
                db.execute("INSERT OR REPLACE INTO snapshot VALUES (?,?,?)", row)
        for sha256, module in changes.modules.items():
            if module is None:
                db.execute("DELETE FROM module WHERE sha256=?", (sha256,))
            else:
                self._insert_module(sha256, module)
        for name, value in changes.meta.items():
            if value is None:
                db.execute("DELETE FROM meta WHERE name=?", (name,))
            else:
                db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, state.pack(value)))
        db.execute("COMMIT")

    def meta(self, name: str, default: Any = None) -> Any:
        """A named value."""
        for (value,) in self._rows("SELECT value FROM meta WHERE name=?", name):
            return self._unpack(value, object)
        return default

    def set_meta(self, name: str, value: Any) -> None:
        """Sets a named value."""
        self.write(Changes(meta={name: value}))

    def canisters(self) -> Iterator[CanisterState]:
        """All canisters."""
        for (body,) in self._rows("SELECT state FROM canister ORDER BY id"):
            yield self._unpack(body, CanisterState)

    def messages(self) -> Iterator[tuple[int, bytes, bool, Message]]:
        """All messages under way, oldest first: (number, target, for the management of the target, message)."""
        for number, target, management, body in self._rows("SELECT * FROM message ORDER BY number"):
            yield number, target, bool(management), self._unpack(body, Message)

    def requests(self) -> Iterator[tuple[bytes, Request]]:
        """All requests whose status is still known."""
        for request_id, body in self._rows("SELECT id, body FROM request"):
            yield request_id, self._unpack(body, Request)

    def logs(self, canister_id: bytes) -> list[LogRecord]:
        """What a canister printed, as far as it is kept, oldest first."""
        for (records,) in self._rows("SELECT records FROM log WHERE canister=?", canister_id):
            return [(number, time, text) for number, time, text in self._unpack(records, list)]
        return []

    def snapshots(self, canister_id: bytes) -> list[Snapshot]:
        """The snapshots of a canister, oldest first."""
        rows = self._rows("SELECT body FROM snapshot WHERE canister=? ORDER BY id", canister_id)
        return [self._unpack(body, Snapshot) for (body,) in rows]

    def snapshot(self, snapshot_id: bytes) -> Snapshot | None:
        """The snapshot with this id, of whichever canister."""
        for (body,) in self._rows("SELECT body FROM snapshot WHERE id=?", snapshot_id):
            found: Snapshot = self._unpack(body, Snapshot)
            return found
        return None

    def remove_orphans(self) -> None:
        """Removes the files of canisters and snapshots that were deleted, or not finished, when the process ended.

        Raises:
            DamagedState: there are memories of which the database knows nothing.
        """
        snapshots = {id.hex() for (id,) in self._rows("SELECT id FROM snapshot")}
        for folder in self.folder.glob("snapshots/*/*"):
            if folder.name not in snapshots:
                shutil.rmtree(folder)
        canisters = {principal.to_text(id) for (id,) in self._rows("SELECT id FROM canister")}
        for folder in self.folder.glob("canisters/*/"):
            if folder.name in canisters:
                continue
            if any(folder.iterdir()) and not self.meta(being_deleted(folder.name), False):
                raise DamagedState(self.folder, f"{folder} has the memory of a canister that {self.path} does not know")
            shutil.rmtree(folder)
            self.set_meta(being_deleted(folder.name), None)

    def check_snapshots(self) -> None:
        """Looks whether the files of all snapshots are there.

        Raises:
            DamagedState: one is not, or not all of it.
        """
        for (body,) in self._rows("SELECT body FROM snapshot"):
            snapshot = self._unpack(body, Snapshot)
            files = {"module": snapshot.module_size, "heap": snapshot.heap_size, "stable": snapshot.stable_size}
            for name, size in files.items():
                check_file(self.folder, self.snapshot_folder(snapshot) / name, size)

    def put_module(self, sha256: bytes, wasm: bytes) -> None:
        """Keeps a module under its hash, for a canister that is about to get it.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        with self._lock:
            self._insert_module(sha256, wasm)

    def _insert_module(self, sha256: bytes, wasm: bytes) -> None:
        if self._db.execute("SELECT 1 FROM module WHERE sha256=?", (sha256,)).fetchone() is None:
            self._db.execute("INSERT INTO module VALUES (?,?)", (sha256, wasm))

    def keep_modules(self, wanted: set[bytes]) -> None:
        """Forgets all modules but the `wanted`."""
        unused = [sha256 for (sha256,) in self._rows("SELECT sha256 FROM module") if sha256 not in wanted]
        self.write(Changes(modules=dict.fromkeys(unused)))

    def has_module(self, sha256: bytes) -> bool:
        """Whether a module with this hash is kept."""
        return any(self._rows("SELECT 1 FROM module WHERE sha256=?", sha256))

    def module(self, sha256: bytes) -> bytes:
        """The module with this hash.

        Raises:
            DamagedState: a canister's module is missing.
        """
        row = self._db.execute("SELECT wasm FROM module WHERE sha256=?", (sha256,)).fetchone()
        if row is None:
            raise DamagedState(self.folder, f"{self.path} lacks the module {sha256.hex()} of a canister")
        return bytes(row[0])

    def put_chunk(self, canister_id: bytes, sha256: bytes, chunk: bytes) -> None:
        """Adds to the chunk store of a canister."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO chunk VALUES (?,?,?)", (canister_id, sha256, chunk))

    def chunk(self, canister_id: bytes, sha256: bytes) -> bytes | None:
        """A chunk of a canister's chunk store."""
        row = self._db.execute(
            "SELECT bytes FROM chunk WHERE canister=? AND sha256=?", (canister_id, sha256)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def chunks(self, canister_id: bytes) -> list[bytes]:
        """The hashes of the chunks of a canister, sorted."""
        rows = self._db.execute("SELECT sha256 FROM chunk WHERE canister=? ORDER BY sha256", (canister_id,))
        return [bytes(row[0]) for row in rows]

    def close(self) -> None:
        """Closes the database."""
        self._db.close()
        self._held.close()


def being_deleted(canister: str) -> str:
    """The name of the note that the files of a canister, whose id this is the text of, are to be removed."""
    return f"being deleted: {canister}"


def examine(folder: Path) -> None:
    """Looks whether `folder`, if it exists, can be a network's. Changes nothing.

    Raises:
        StateError: it belongs to something else, or cannot be read.
        DamagedState: it is a network's, but the database is gone.
    """
    try:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise StateError(f"{folder} is a file, not a folder: name another place for the network's state") from None
    except OSError as error:
        raise unwritable(folder, f"{folder}: {error.strerror}") from error
    if DATABASE in names:
        return
    if f"{DATABASE}-wal" in names or any(folder.glob("canisters/*/heap-*")):
        raise DamagedState(folder, f"{folder / DATABASE} is missing, while other files of the network are there")
    others = sorted(name for name in names if not name.startswith(_OWN))
    if others:
        text = f"{folder} is not the state folder of a network: it holds {', '.join(others[:3])}"
        raise StateError(f"{text}. Name a folder that is empty or does not exist")


def check_file(folder: Path, path: Path, size: int) -> None:
    """Looks whether the file `path` of the state folder `folder` has at least `size` bytes.

    Raises:
        DamagedState: it has not.
    """
    found = path.stat().st_size if path.exists() else 0
    if found < size:
        what = f"is cut short: {found} bytes of {size}" if path.exists() else "is missing"
        raise DamagedState(folder, f"{path} {what}")


def _hold(folder: Path) -> io.FileIO:
    """Keeps other processes from using the folder until the file is closed; makes the folder if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the network's secret key
        lock = io.FileIO(os.open(folder / "network.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise unwritable(folder, str(error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.truncate(0)
        lock.write(str(os.getpid()).encode())
    except BlockingIOError:
        holder = lock.readall().decode() or "unknown"
        lock.close()
        text = f"the state folder {folder} is in use by another network (process {holder})"
        raise StateError(f"{text}: stop that first (`mainer-nb net stop`), or use another folder") from None
    except OSError as error:
        lock.close()
        raise unwritable(folder, str(error)) from error
    return lock


def unwritable(folder: Path, what: str) -> StateError:
    """The error of a state folder in which `what` cannot be read or written."""
    return StateError(
        f"the state folder {folder} cannot be read and written ({what}). Make sure that this user may write there"
        " and that the disk has room, then start the network again: nothing that it acknowledged is lost. Or keep the"
        " state in another folder: MAINER_NB_STATE names it"
    )
