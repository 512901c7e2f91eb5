"""``python -m mainer_nb.localnet serve --state FOLDER``: a network in the foreground."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import server


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mainer_nb.localnet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run a network until it is interrupted")
    serve.add_argument("--state", type=Path, required=True, help="folder of the network's state, made if missing")
    serve.add_argument("--port", type=int, default=0, help="port on loopback; 0 for any free one")
    serve.add_argument(
        "--outcalls",
        action=argparse.BooleanOptionalAction,
        help="let canisters make HTTPS outcalls, or not (default: as last time, at first not)",
    )
    serve.add_argument(
        "--snapshot-wait",
        type=int,
        help="seconds until a new snapshot can be loaded onto another canister, as on mainnet, where it takes until the"
        " next checkpoint, usually 600 (default: as last time, at first 0)",
    )
    serve.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    return server.serve(options.state, options.port, options.outcalls, options.ready_fd, options.snapshot_wait)


if __name__ == "__main__":
    sys.exit(main())
