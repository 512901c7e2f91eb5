"""`mainer-nb watch`, `metrics`, `logs`: how the canisters are, for people, for Prometheus, and in their own words."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import ArgumentError
from ..network import Network
from . import Subparsers, command, connect, connection, err, out, say

if TYPE_CHECKING:
    from ..fleet import Fleet
    from ..fleet.logs import LogLine
    from ..fleet.watch import Bounds, Reading

WATCH_EXAMPLES = """\
  mainer-nb watch                        # a table; the exit code is 1 if something is out of bounds
  mainer-nb watch -b days 60 -b timers true
  mainer-nb watch -q                     # for cron: prints what is out of bounds only
  mainer-nb watch --network ic --identity alice bkyz2-fmaaa-aaaaa-qaaaq-cai
"""
METRICS_EXAMPLES = """\
  mainer-nb metrics
  mainer-nb metrics > mainers.prom.new && mv mainers.prom.new /var/lib/node_exporter/mainers.prom
"""
LOGS_EXAMPLES = """\
  mainer-nb logs                         # of all canisters, what the network keeps
  mainer-nb logs "Own 1" --since 2h
  mainer-nb logs game_state_canister --follow
"""
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def add(commands: Subparsers) -> None:
    does = "read every canister once, keep the figures as samples, and say what is out of bounds"
    watch = command(commands, "watch", does, WATCH_EXAMPLES, (connection(),), mixed=True)
    watch.add_argument(
        "-b", "--bound", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="a bound other than the default, such as days 60, queue 10, timers true; null: none",
    )  # fmt: skip
    watch.set_defaults(do=_watch)
    does = "print the figures of every canister as Prometheus text"
    metrics = command(commands, "metrics", does, METRICS_EXAMPLES, (connection(),), mixed=True)
    metrics.set_defaults(do=_metrics)
    logs = command(commands, "logs", "print what canisters log", LOGS_EXAMPLES, (connection(),), mixed=True)
    logs.add_argument("--since", metavar="TIME", help="90s, 5m, 2h, 3d ago, or a time such as 2026-11-26T12:00 (UTC)")
    logs.add_argument("--follow", action="store_true", help="go on with what comes, until Ctrl-C")
    logs.set_defaults(do=_logs)
    for parser in (watch, metrics, logs):
        parser.add_argument("who", nargs="*", metavar="CANISTER", help="an id, or a name of a table (default: all)")


def _watch(arguments: argparse.Namespace) -> int:
    from .. import tables
    from ..fleet import watch

    bounds = _bounds(arguments.bound)
    net = connect(arguments, start=False)
    readings = _look(net, arguments.who)
    watch.keep(net, readings)
    say(arguments, tables.watched(readings, bounds))
    marked = [(reading.member, mark) for reading in readings for mark in watch.marks(reading, bounds)]
    for member, mark in marked:
        err(f"{member.name} ({member.canister_id}) {mark}")
    return 1 if marked else 0


def _bounds(given: list[list[str]]) -> Bounds:
    """The bounds in which these names have these values.

    Raises:
        ArgumentError: there is no such bound, or it cannot have the value.
    """
    from ..fleet import watch

    known = [field.name for field in fields(watch.Bounds)]
    values = {}
    for name, text in given:
        if name not in known:
            raise ArgumentError(f"there is no bound {name!r}; there are {', '.join(known)}")
        try:
            values[name] = json.loads(text.lower())
        except ValueError:
            raise ArgumentError(f"bound {name} is {text!r}, but must be a number, true, false or null") from None
    return watch.Bounds(**values)


def _metrics(arguments: argparse.Namespace) -> int:
    from ..fleet import metrics

    net = connect(arguments, start=False)
    out(metrics.text(_look(net, arguments.who), net.name).rstrip("\n"))
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    from ..fleet import logs

    since = None if arguments.since is None else moment(arguments.since, datetime.now(UTC))
    net = connect(arguments, start=False)
    fleet = _fleet(net, arguments.who)
    if not arguments.follow:
        found = logs.fetch(net, fleet, since)
        for why in found.unseen.values():
            err(why)
        _print(found.lines)
        return 0
    _print(logs.follow(net, fleet, since))
    return 0


def _print(lines: Iterable[LogLine]) -> None:
    for line in lines:
        out(f"{line.time:%Y-%m-%d %H:%M:%S} {line.name} [{line.number}] {line.text}")


def _look(net: Network, who: list[str]) -> list[Reading]:
    from ..fleet import watch

    fleet = _fleet(net, who)
    for gap in fleet.gaps:
        err(gap)
    return watch.look(net, fleet)


def _fleet(net: Network, who: list[str]) -> Fleet:
    """The canisters of these names and ids; all of the project, if there are none."""
    from .. import calls, fleet

    return fleet.of_ids(net, [calls.find_id(net, each) for each in who]) if who else fleet.of(net)


def moment(text: str, now: datetime) -> datetime:
    """The time that somebody means by "2h" (ago) or "2026-11-26T12:00" (UTC, unless it says another zone).

    Raises:
        ArgumentError: it is neither.
    """
    try:
        if ago := re.fullmatch(r"(\d+)([smhd])", text):
            return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ArgumentError(f"--since {text!r} is no time: write 90s, 5m, 2h, 3d, or 2026-11-26T12:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
