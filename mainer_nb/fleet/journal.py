"""What was done to each canister of a fleet, on disk at once: another process can go on where this one was killed.

    with Journal(path) as journal:
        journal.begin(canister_id, task="upgrade")
        taken = journal.once(canister_id, "snapshot", lambda: {"snapshot_id": take()})      # done in one life only

A record is a line of JSON, written and synced before what follows is begun. A line that was not written to its end is
as if it had never been begun.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .. import places
from ..errors import ArtifactCorrupt, PreconditionError

BEGIN = "begin"


@dataclass(frozen=True)
class Entry:
    """A step that was done.

    Attributes:
        time: seconds since 1970.
        data: what is to be known of it, as JSON has it.
    """

    canister_id: str
    step: str
    time: float
    data: dict[str, Any]


class Journal:
    """The steps in the order in which they were done; for several threads, one canister each.

    Args:
        path: the file; made if it is not there.

    Raises:
        PreconditionError: it cannot be written.
        ArtifactCorrupt: it is not a journal.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self._file.seek(0)
            whole, _, _ = self._file.read().rpartition(b"\n")
            self._file.truncate(len(whole) + 1 if whole else 0)
        except OSError as error:
            raise PreconditionError(_unwritable(path, error)) from error
        self._entries: dict[str, list[Entry]] = {}
        for line in whole.splitlines():
            self._add(_entry(line, path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def canister_ids(self) -> tuple[str, ...]:
        """The canisters of which there is any record, in the order in which they were begun."""
        return tuple(self._entries)

    def find(self, canister_id: str, step: str) -> Entry | None:
        """The last record of a step; None if it was not done."""
        found = self.every(canister_id, step)
        return found[-1] if found else None

    def begin(self, canister_id: str, **data: Any) -> Entry:
        """Begin with a canister, or begin anew: what is recorded of it before counts no more. Errors as of `note`."""
        return self.note(canister_id, BEGIN, **data)

    def begun(self, canister_id: str) -> Entry:
        """With what a canister was begun."""
        return self.every(canister_id, BEGIN)[0]

    def every(self, canister_id: str, step: str) -> list[Entry]:
        """All records of a step, in their order."""
        with self._lock:
            return [entry for entry in self._entries.get(canister_id, []) if entry.step == step]

    def note(self, canister_id: str, step: str, **data: Any) -> Entry:
        """Record a step as done, on disk when this returns.

        Raises:
            PreconditionError: it cannot be written.
        """
        entry = Entry(canister_id, step, time.time(), data)
        line = json.dumps({"canister_id": canister_id, "step": step, "time": entry.time, "data": data})
        with self._lock:
            try:
                self._file.write(line.encode() + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise PreconditionError(_unwritable(self.path, error)) from error
            self._add(entry)
        return entry

    def _add(self, entry: Entry) -> None:
        if entry.step == BEGIN:
            self._entries[entry.canister_id] = []
        self._entries.setdefault(entry.canister_id, []).append(entry)

    def once(self, canister_id: str, step: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What a step came to; it is done unless there is a record of it."""
        done = self.find(canister_id, step) or self.note(canister_id, step, **do())
        return done.data


def _unwritable(path: Path, error: OSError) -> str:
    return places.unwritable(path, error, "have the state elsewhere: MAINER_NB_STATE")


def _entry(line: bytes, path: Path) -> Entry:
    try:
        record = json.loads(line)
        return Entry(record["canister_id"], record["step"], record["time"], dict(record["data"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactCorrupt(
            f"{path} is not a journal: {error!r} in the line {line[:80]!r}. Move it away; what it told is lost then."
        ) from error
