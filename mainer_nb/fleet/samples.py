"""Samples of a fleet on disk: a line for each canister each time it is looked at, in a CSV file for each network.

    samples.append(net, [watch.sample(reading) for reading in watch.look(net, fleet.of(net))])
    history = samples.read(net)
    samples.burn(history, canister_id).cycles_per_day
    pandas.read_csv(samples.path(net))                             # any other tool reads it, too

Several processes may append at once, and one that is killed while it writes harms nothing: only whole lines count. From
`MOST_BYTES` on a file is put aside as the older one, and the one before it is dropped.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from .. import places
from ..errors import PreconditionError
from ..network import Network

MOST_BYTES = 16 * 2**20  # of a file; there are two at most. A line has some 200 bytes
WINDOW = timedelta(days=7)  # what burn is measured over
SHORTEST = timedelta(hours=6)  # from which burn is measured: an hour with many answers says little of a week
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Sample:
    """A canister at a moment; None where it was not told.

    Attributes:
        time: UTC.
        cycles: its balance.
        memory: bytes.
        idle_per_day: cycles that it uses up without being called.
        queue: challenges that wait.
        oldest_queued: seconds that the oldest of them has waited.
    """

    time: datetime
    canister_id: str
    name: str
    role: str
    state: str
    cycles: int | None
    memory: int | None
    idle_per_day: int | None
    queue: int | None
    oldest_queued: int | None
    health: str
    module_hash: str


@dataclass(frozen=True)
class Burn:
    """What a canister uses up: `measured`: over how long; None if it is what the network says it would use up idle."""

    cycles_per_day: float
    measured: timedelta | None


COLUMNS = tuple(field.name for field in fields(Sample))


def path(net: Network) -> Path:
    """The file with a network's samples. A network that was made anew, with another key, has another file."""
    key = hashlib.sha256(net.root_key).hexdigest()[:8]
    return places.runs() / "samples" / f"{re.sub(r'[^A-Za-z0-9.-]', '_', net.name)}-{key}.csv"


def append(net: Network, taken: Iterable[Sample]) -> Path:
    """Add samples to a network's file; the file.

    Raises:
        PreconditionError: it cannot be written.
    """
    file = path(net)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_row, taken))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            _rotate(file)
            _append(file, text.getvalue().encode())
    except OSError as error:
        raise PreconditionError(
            places.unwritable(file, error, "have the project elsewhere: MAINER_NB_PROJECT")
        ) from error
    return file


def read(net: Network, since: datetime | None = None) -> list[Sample]:
    """The samples of a network, oldest first, from `since` on; what is no whole line is left out.

    Raises:
        PreconditionError: the file cannot be read.
    """
    file = path(net)
    try:
        found = [sample for each in (_older(file), file) for sample in _samples(each)]
    except OSError as error:
        raise PreconditionError(f"{file} cannot be read: {error.strerror}. Allow it, or delete it.") from error
    return [sample for sample in found if since is None or sample.time >= since]


def burn(
    history: Sequence[Sample], canister_id: str, window: timedelta = WINDOW, shortest: timedelta = SHORTEST
) -> Burn | None:
    """What a canister uses up a day, measured by the samples of the last `window`. Between two samples of which the
    later has more cycles it was topped up: what it used up then is not known, so this time does not count.

    Returns:
        None if less than `shortest` is left to measure by.
    """
    told = sorted(
        (sample.time, sample.cycles)
        for sample in history
        if sample.canister_id == canister_id and sample.cycles is not None
    )
    recent = [(time, cycles) for time, cycles in told if time >= told[-1][0] - window]
    spent, measured = 0, timedelta()
    for (begun, before), (ended, after) in pairwise(recent):
        if after <= before:
            spent += before - after
            measured += ended - begun
    if measured < shortest:
        return None
    return Burn(spent / measured.total_seconds() * SECONDS_PER_DAY, measured)


def _row(sample: Sample) -> list[str]:
    values = ("" if value is None else value for value in astuple(sample))
    return [
        value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else " ".join(str(value).split())
        for value in values
    ]


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Write as the only process. The lock of one that is killed goes with it."""
    with file.with_suffix(".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _rotate(file: Path) -> None:
    with suppress(FileNotFoundError):
        if file.stat().st_size >= MOST_BYTES:
            file.replace(_older(file))


def _older(file: Path) -> Path:
    return file.with_suffix(".older.csv")


def _append(file: Path, rows: bytes) -> None:
    """Write whole lines behind the last whole line: half of one was left by a process that was killed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    with os.fdopen(descriptor, "r+b") as opened:
        end = _whole(opened)
        opened.truncate(end)
        opened.seek(end)
        opened.write((f"{','.join(COLUMNS)}\n".encode() if end == 0 else b"") + rows)


def _whole(opened: io.BufferedRandom) -> int:
    """The number of bytes up to the end of the last whole line."""
    position = opened.seek(0, os.SEEK_END)
    while position:
        begin = max(0, position - 4096)
        opened.seek(begin)
        found = opened.read(position - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        position = begin
    return 0


def _samples(file: Path) -> Iterator[Sample]:
    if not file.exists():
        return
    whole, _, _ = file.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    for line in whole.split("\n"):
        with suppress(ValueError, csv.Error):  # the head, or what is no sample
            yield _sample(next(csv.reader([line]), ()))


def _sample(row: Sequence[str]) -> Sample:
    time, canister_id, name, role, state, *numbers, health, module_hash = row
    cycles, memory, idle, queue, oldest = (int(number) if number else None for number in numbers)
    moment = datetime.fromisoformat(time).astimezone(UTC)
    return Sample(moment, canister_id, name, role, state, cycles, memory, idle, queue, oldest, health, module_hash)
