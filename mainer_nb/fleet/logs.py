"""What canisters log, of one or of a whole fleet, since a time, and as it comes.

    found = logs.last(net, whole, hours=1)
    [line.text for line in found.lines], found.unseen
    for line in logs.follow(net, whole): print(line.time, line.name, line.text)

Who may see a canister's log is a setting of it: its controllers, unless it says more (interface specification,
"fetch_canister_logs"). The network keeps the newest lines only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from .. import management, stopping
from ..errors import PreconditionError, RejectError
from ..network import Network
from .members import AT_ONCE, Fleet, Member

SECONDS_BETWEEN_LOOKS = 2.0
START = datetime(1970, 1, 1, tzinfo=UTC)
END = 2**64 - 1  # of what a filter wants: no line is at it


@dataclass(frozen=True)
class LogLine:
    """A line of a canister's log: `number`: counted by the canister from 0 on; `time`: UTC."""

    canister_id: str
    name: str
    number: int
    time: datetime
    text: str


@dataclass(frozen=True)
class Logs:
    """Lines of several canisters, oldest first; `unseen`: by id, why those of a canister are not among them."""

    lines: tuple[LogLine, ...]
    unseen: Mapping[str, str] = field(default_factory=dict)


def fetch(net: Network, fleet: Fleet, since: datetime | None = None) -> Logs:
    """The lines that the network keeps of these canisters, from `since` on.

    Raises:
        PreconditionError: none of them can be seen; the text says why.
        TransportError, NetworkNotRunning: the network does not answer.
    """
    begin = 0 if since is None else _nanoseconds(since)
    found = _of_all(net, fleet, {member.canister_id: _From(begin, 0) for member in fleet.members})
    if fleet.members and len(found.unseen) == len(fleet.members):
        raise PreconditionError("; ".join(dict.fromkeys(found.unseen.values())))
    return found


def last(net: Network, fleet: Fleet, hours: float) -> Logs:
    """The lines of the last hours. Errors as of `fetch`."""
    return fetch(net, fleet, datetime.now(UTC) - timedelta(hours=hours))


def follow(
    net: Network, fleet: Fleet, since: datetime | None = None, seconds: float = SECONDS_BETWEEN_LOOKS
) -> Iterator[LogLine]:
    """The lines of these canisters as they come, each once, without end; what cannot be seen (any more) is passed over.

    Args:
        since: None: from now on.
        seconds: between two looks.

    Raises:
        PreconditionError: none of them can be seen at first. Further errors as of `fetch`.
    """
    begin = since or datetime.now(UTC)
    found = fetch(net, fleet, begin)
    places = {member.canister_id: _From(_nanoseconds(begin), 0) for member in fleet.members}
    while True:
        yield from found.lines
        places |= {line.canister_id: replace(places[line.canister_id], number=line.number + 1) for line in found.lines}
        stopping.pause(seconds)
        found = _of_all(net, fleet, places)


@dataclass(frozen=True)
class _From:
    """Where to begin in a log: with lines of that time (nanoseconds since 1970) and that number, or later ones."""

    nanoseconds: int
    number: int


def _of_all(net: Network, fleet: Fleet, places: Mapping[str, _From]) -> Logs:
    unseen: dict[str, str] = {}

    def lines(member: Member) -> list[LogLine]:
        try:
            return _lines(net, member, places[member.canister_id])
        except RejectError as error:
            unseen[member.canister_id] = (
                f"{net.caller} may not see the log of {member.name} ({member.canister_id}): {error.reject_message}. "
                "Its controllers may, and whoever its setting log_visibility allows."
            )
            return []

    found = [line for each in stopping.every(lines, fleet.members, AT_ONCE) for line in each]
    return Logs(tuple(sorted(found, key=lambda line: (line.time, line.canister_id, line.number))), unseen)


def _lines(net: Network, member: Member, begin: _From) -> list[LogLine]:
    """The lines of a canister, page by page. Networks of before specification 0.67 know no filter and give the newest
    lines, so the filter is applied here, too.
    """
    found: list[LogLine] = []
    wanted: management.LogFilter = {"by_timestamp_nanos": {"start": begin.nanoseconds, "end": END}}
    number = begin.number
    while True:
        if number:
            wanted = {"by_idx": {"start": number, "end": END}}
        page = [
            record
            for record in management.fetch_logs(net.agent, member.canister_id, wanted)
            if record["idx"] >= number and record["timestamp_nanos"] >= begin.nanoseconds
        ]
        if not page:
            return found
        found += (_line(member, record) for record in page)
        number = page[-1]["idx"] + 1


def _line(member: Member, record: dict[str, Any]) -> LogLine:
    time = START + timedelta(microseconds=record["timestamp_nanos"] // 1000)
    text = record["content"].decode(errors="replace")
    return LogLine(member.canister_id, member.name, record["idx"], time, text)


def _nanoseconds(time: datetime) -> int:
    """Since 1970; exact, so that a line is found by its own time."""
    return (time - START) // timedelta(microseconds=1) * 1000
