"""`mainer-nb net`: the embedded network."""

from __future__ import annotations

import argparse

from .. import network, places
from ..localnet import server
from . import Subparsers, command, out, say

EXAMPLES = """\
  mainer-nb net start --port 4943      # at a port of your choice
  mainer-nb net status                 # its address and root key
  mainer-nb net stop                   # its state is kept
"""


def add(commands: Subparsers) -> None:
    net = command(commands, "net", "start, stop and reset the embedded network", EXAMPLES)
    actions = net.add_subparsers(required=True, metavar="ACTION")
    start = command(actions, "start", "start it in the background, if it is not running")
    start.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    start.add_argument(
        "--outcalls",
        action=argparse.BooleanOptionalAction,
        help="let canisters make HTTPS outcalls, or not (default: as last time, at first not)",
    )
    start.set_defaults(do=_start)
    command(actions, "status", "say where it runs").set_defaults(do=_status)
    command(actions, "stop", "stop it; its state is kept").set_defaults(do=_stop)
    command(actions, "reset", "stop it and remove its state: all canisters").set_defaults(do=_reset)


def _start(arguments: argparse.Namespace) -> int:
    out(_where(network.start_embedded(arguments.port, arguments.outcalls)))
    return 0


def _status(_: argparse.Namespace) -> int:
    info = server.status(places.state())
    if info is None:
        out("network local is not running; start it with `mainer-nb net start`")
        return 1
    out(f"{_where(info)}\nroot key: {info.root_key}")
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    stopped = server.stop(places.state())
    say(arguments, "network local is stopped; its state is kept" if stopped else "network local is not running")
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    removed = server.reset(places.state())
    gone = "network local is stopped and its state removed, canister ids included"
    say(arguments, gone if removed else f"network local has no state in {places.state()}: nothing was removed")
    return 0


def _where(info: server.Info) -> str:
    outcalls = ", with HTTPS outcalls" if info.outcalls else ""
    return f"network local runs at {info.url} (process {info.pid}, state in {info.folder}){outcalls}"
