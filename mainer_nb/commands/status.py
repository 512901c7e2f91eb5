"""`mainer-nb status`: what is on a network."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from . import Subparsers, command, connect, connection, out

EXAMPLES = """\
  mainer-nb status
  mainer-nb status --network ic --identity alice --output json
"""


def add(commands: Subparsers) -> None:
    status = command(
        commands, "status", "show the network, its canisters, mAIners and balances", EXAMPLES, (connection(),)
    )
    status.add_argument("--output", choices=("table", "json"), default="table", help="a table (default) or JSON")
    status.set_defaults(do=_status)


def _status(arguments: argparse.Namespace) -> int:
    from .. import overview, tables

    net = connect(arguments, start=False)
    found = overview.canisters(net)
    if arguments.output == "json":
        where = {"name": net.name, "url": net.url, "caller": net.caller}
        out(json.dumps({"network": where, "canisters": [asdict(standing) for standing in found]}, indent=2))
    else:
        out(f"network {net.name} at {net.url}, as {net.caller}\n\n{tables.overview(found)}")
    return 0
