"""The folder of a network: everything that survives it.

    network.sqlite        canisters, messages, requests, modules, chunks, logs: one transaction a commit
    canisters/<id>/       the memories of a canister (see `journal`)
    snapshots/<id>/<hex>/ module and memories of a snapshot of a canister

A transaction is acknowledged when the operating system has it: a process killed at any moment loses
nothing acknowledged. (After a power failure the last moments may be missing.)
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import principal, state
from .state import CanisterState, Message, Request, Snapshot

_FORMAT = 2
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


class DamagedState(Exception):
    """The folder of a network cannot be read as one; the text says what is wrong and what to do."""


#: A line that a canister printed: number, ns since the epoch, text.
LogRecord = tuple[int, int, bytes]


@dataclass
class Changes:
    """What one step of the network changed, written in one transaction."""

    canisters: dict[bytes, CanisterState | None] = field(default_factory=dict)
    messages: list[tuple[int, bytes, bool, Message]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    requests: dict[bytes, Request | None] = field(default_factory=dict)
    logs: dict[bytes, list[LogRecord]] = field(default_factory=dict)
    snapshots: dict[bytes, Snapshot | None] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


class Store:
    """The database of a network in `folder` (made if missing).

    Raises:
        DamagedState: there is something else, or a database of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds the network's secret key
        path = folder / "network.sqlite"
        self.fresh = not path.exists()
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;")
            if self.fresh:
                self._db.executescript("BEGIN;" + _TABLES + f"PRAGMA user_version={_FORMAT}; COMMIT;")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not self.fresh:
                raise DamagedState(f"{path} is not a network's database{_REMEDY}")
            if version != _FORMAT:
                raise DamagedState(f"{path} has format {version}, this program reads format {_FORMAT}{_REMEDY}")
        except sqlite3.DatabaseError as error:
            raise DamagedState(f"{path} cannot be read: {error}{_REMEDY}") from error

    def canister_folder(self, canister_id: bytes) -> Path:
        """Where the memories of a canister are."""
        return self.folder / "canisters" / principal.to_text(canister_id)

    def snapshot_folder(self, snapshot: Snapshot) -> Path:
        """Where the module and the memories of a snapshot are."""
        return self.folder / "snapshots" / principal.to_text(snapshot.canister_id) / snapshot.id.hex()

    def write(self, changes: Changes) -> None:
        """Commits `changes`."""
        with self._lock:
            self._write(changes)

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
        for canister_id, records in changes.logs.items():
            db.execute("INSERT OR REPLACE INTO log VALUES (?,?)", (canister_id, state.pack(records)))
        for snapshot_id, snapshot in changes.snapshots.items():
            if snapshot is None:
                db.execute("DELETE FROM snapshot WHERE id=?", (snapshot_id,))
                db.execute("DELETE FROM chunk WHERE canister=?", (snapshot_id,))
            else:
                row = (snapshot_id, snapshot.canister_id, state.pack(snapshot))
                db.execute("INSERT OR REPLACE INTO snapshot VALUES (?,?,?)", row)
        for name, value in changes.meta.items():
            db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, state.pack(value)))
        db.execute("COMMIT")

    def meta(self, name: str, default: Any = None) -> Any:
        """A named value."""
        row = self._db.execute("SELECT value FROM meta WHERE name=?", (name,)).fetchone()
        return default if row is None else state.unpack(row[0])

    def set_meta(self, name: str, value: Any) -> None:
        """Sets a named value."""
        self.write(Changes(meta={name: value}))

    def canisters(self) -> Iterator[CanisterState]:
        """All canisters."""
        for (body,) in self._db.execute("SELECT state FROM canister ORDER BY id"):
            yield state.unpack(body)

    def messages(self) -> Iterator[tuple[int, bytes, bool, Message]]:
        """All messages under way, oldest first: (number, target, for the management of the target, message)."""
        for number, target, management, body in self._db.execute("SELECT * FROM message ORDER BY number"):
            yield number, target, bool(management), state.unpack(body)

    def requests(self) -> Iterator[tuple[bytes, Request]]:
        """All requests whose status is still known."""
        for request_id, body in self._db.execute("SELECT id, body FROM request"):
            yield request_id, state.unpack(body)

    def logs(self, canister_id: bytes) -> list[LogRecord]:
        """What a canister printed, as far as it is kept, oldest first."""
        row = self._db.execute("SELECT records FROM log WHERE canister=?", (canister_id,)).fetchone()
        return [] if row is None else [(number, time, text) for number, time, text in state.unpack(row[0])]

    def snapshots(self, canister_id: bytes) -> list[Snapshot]:
        """The snapshots of a canister, oldest first."""
        rows = self._db.execute("SELECT body FROM snapshot WHERE canister=? ORDER BY id", (canister_id,))
        return [state.unpack(body) for (body,) in rows]

    def remove_orphans(self) -> None:
        """Removes the files of snapshots that were not finished, or were deleted, when the process ended."""
        known = {row[0].hex() for row in self._db.execute("SELECT id FROM snapshot")}
        for folder in self.folder.glob("snapshots/*/*"):
            if folder.name not in known:
                shutil.rmtree(folder)

    def put_module(self, sha256: bytes, wasm: bytes) -> None:
        """Keeps a module under its hash."""
        with self._lock:
            if self._db.execute("SELECT 1 FROM module WHERE sha256=?", (sha256,)).fetchone() is None:
                self._db.execute("INSERT INTO module VALUES (?,?)", (sha256, wasm))

    def module(self, sha256: bytes) -> bytes:
        """The module with this hash.

        Raises:
            DamagedState: a canister's module is missing.
        """
        row = self._db.execute("SELECT wasm FROM module WHERE sha256=?", (sha256,)).fetchone()
        if row is None:
            raise DamagedState(f"{self.folder}: the module {sha256.hex()} of a canister is missing{_REMEDY}")
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

    def clear_chunks(self, canister_id: bytes) -> None:
        """Empties the chunk store of a canister."""
        with self._lock:
            self._db.execute("DELETE FROM chunk WHERE canister=?", (canister_id,))

    def close(self) -> None:
        """Closes the database."""
        self._db.close()


_REMEDY = "; start with a new state folder (mainer-nb net start --reset) or put back a copy of the old one"
