"""The command `mainer-nb`: networks, notebooks, canisters and mAIners from a shell.

    mainer-nb init FOLDER
    mainer-nb lab
    mainer-nb net start | status | stop | reset
    mainer-nb run [NOTEBOOK ...] [--network NAME] [--model NAME] [-p NAME VALUE] …
    mainer-nb status
    mainer-nb watch | metrics | logs [CANISTER ...]
    mainer-nb call CANISTER METHOD [ARGUMENTS]
    mainer-nb ask QUESTION
    mainer-nb model get URL

Each is a module of `commands`. Where the state is kept, and how to have it elsewhere: see `places`.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from importlib import metadata
from pathlib import Path

from . import commands
from .commands import ask, call, models, net, notebooks, projects, status, watching
from .errors import MainerError
from .localnet import server

EXAMPLES = """\
  mainer-nb run                                            # notebooks 01 to 04, into one report
  mainer-nb status                                         # what is on the network
  mainer-nb ask "What is the capital of Italy?" --topic geography
  mainer-nb call game_state_canister getSubmissionsAdmin --output json

`mainer-nb COMMAND --help` says more of each.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command line; the exit code: 0 done, 1 an error or (for `net status`) not running, 2 misuse."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this, as some services do
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it stays open
    for stream in (sys.stdout, sys.stderr):
        if isinstance(
            stream, io.TextIOWrapper
        ):  # whatever the terminal's encoding is, no character of ours is an error
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"mainer-nb: {message}\n"  # for people, who need no line of code
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.do(arguments))
    except (MainerError, server.ServerError) as error:
        commands.err(error)
    except OSError as error:
        commands.err(f"{error.filename or 'the system'}: {error.strerror or error}")
    except KeyboardInterrupt as error:
        commands.err(error if str(error) else "stopped by Ctrl-C")
        return 130
    finally:
        _let_go()
    return 1


def _let_go() -> None:
    """What could not be written stays unwritten: Python would complain about it when it ends, and change the status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = commands.Parser(
        prog="mainer-nb",
        description="The mAIner workbench.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[commands.quiet()],
    )
    parser.set_defaults(quiet=False)
    parser.add_argument("--version", action="version", version=f"mainer-nb {metadata.version('mainer-nb')}")
    added = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (projects, net, notebooks, models, status, watching, call, ask):
        module.add(added)
    return parser
