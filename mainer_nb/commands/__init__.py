"""The commands of `mainer-nb`, a module each: its options, and what it does.

    projects     init, lab
    notebooks    run
    net          net start, net status, net stop, net reset
    status       status
    watching     watch, metrics, logs
    call         call
    ask          ask
    models       model get

Each module has a function `add`, which adds its commands to a parser; each command is a function of the arguments that
returns the exit code.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, TypeAlias

from .. import network, progress

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Parser(argparse.ArgumentParser):
    """A parser of a command line, in which options may stand between arguments if it is `mixed`."""

    def __init__(self, *, mixed: bool = False, **how: Any) -> None:
        super().__init__(**how)
        self._mixed = mixed

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if not self._mixed:
            return super().parse_known_args(args, namespace)
        self._mixed = False  # since the following calls this
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixed = True


def command(
    to: Subparsers,
    name: str,
    does: str,
    examples: str = "",
    of: tuple[argparse.ArgumentParser, ...] = (),
    mixed: bool = False,
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        does: what it does, a phrase for the list of commands.
        examples: lines for its help.
        of: parsers of options that it shares with others.
        mixed: whether options may stand between its arguments.
    """
    epilog = f"examples:\n{examples.rstrip()}" if examples else None
    return to.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[quiet(), *of],
        mixed=mixed,
    )


def quiet() -> argparse.ArgumentParser:
    """The option that every command has."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print results and errors only"
    )
    return parser


def connection() -> argparse.ArgumentParser:
    """The options of commands that talk to a network."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--network", default=network.LOCAL, help="network to use (default: local, the embedded one)")
    parser.add_argument("--identity", help="identity of icp-cli or dfx, or a PEM file")
    return parser


def connect(arguments: argparse.Namespace, start: bool = True) -> network.Network:
    """The chosen network; errors as of `network.connect`."""
    return network.connect(arguments.network, arguments.identity, start)


def shown(arguments: argparse.Namespace) -> progress.Progress:
    """How progress is shown: on standard error, since results are on standard output."""
    return progress.Silent() if arguments.quiet else progress.auto(sys.stderr)


def out(text: object) -> None:
    """Print a result."""
    progress.say(str(text), sys.stdout)


def say(arguments: argparse.Namespace, text: object) -> None:
    """Print what is worth knowing, but no result."""
    if not arguments.quiet:
        progress.say(str(text), sys.stdout)


def err(text: Any) -> None:
    """Print what went wrong."""
    progress.say(f"mainer-nb: {progress.plain(str(text))}", sys.stderr)
