"""`mainer-nb run`: the notebooks, headless."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from .. import network, places, progress
from ..errors import ArgumentError
from . import Subparsers, command, err, out, say

EXAMPLES = """\
  mainer-nb run                                            # 01 to 04
  mainer-nb run 03 04 -p agents 3 -p challenges 4          # some, with parameters
  mainer-nb run --junit build/junit.xml                    # for a CI: a test case for each expectation
  mainer-nb run --model qwen2.5-0.5b-instruct-q8_0         # another model
"""


def add(commands: Subparsers) -> None:
    run = command(commands, "run", "run the notebooks and leave a report", EXAMPLES, mixed=True)
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 03_create or 03 (default: 01 to 04)")
    run.add_argument("--network", help="network to use (default: local, the embedded one)")
    run.add_argument("--identity", help="identity of icp-cli or dfx, or a PEM file")
    run.add_argument("--model", help="a gguf in files/ or its path (default: Gemma 3 270M)")
    run.add_argument("--mode", help="of 01_deploy: auto, install, reinstall or upgrade")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="any parameter of the notebooks; the value is YAML",
    )  # fmt: skip
    run.add_argument("--output", type=Path, help="folder for the runs (default: runs/)")
    run.add_argument(
        "--junit", type=Path, metavar="FILE", help="write JUnit XML too, with a test case for each expectation"
    )
    run.set_defaults(do=_run)


def _run(arguments: argparse.Namespace) -> int:
    from .. import junit, run  # loads papermill, which the other commands need not wait for

    named = ("network", "identity", "model", "mode")
    options = [(name, value) for name in named if (value := getattr(arguments, name)) is not None]
    given = [(name, _value(name, text)) for name, text in arguments.parameter] + options
    if twice := [name for name, times in Counter(name for name, _ in given).items() if times > 1]:
        raise ArgumentError(f"parameter {twice[0]} is given more than once. Give each parameter one value.")
    parameters = dict(given)
    face = progress.Silent() if arguments.quiet else progress.auto()
    result = run.run(arguments.notebooks, parameters, arguments.output, face)
    for notebook in result.notebooks:
        if notebook.status == "not run":  # of the others the progress says how they ended
            say(arguments, f"{notebook.name}: not run")
    where = result.summary["network"]
    if where and where["name"] == network.LOCAL and where["url"]:
        say(
            arguments,
            f"network local still runs at {where['url']}; its state is kept. Stop it with `{sys.argv[0]} net stop`",
        )
    reported = (result.folder / run.REPORT).is_file()
    if reported:
        out(f"report: {result.folder / run.REPORT}")
    if not result.ok:
        err(result.failure)
    for problem in result.summary["problems"] if result.ok or not reported else ():
        err(problem)
    if arguments.junit:
        junit.write(places.given(arguments.junit), result)
        say(arguments, f"JUnit XML: {places.given(arguments.junit)}")
    if result.signal:
        return 128 + result.signal
    return 0 if result.ok and reported else 1


def _value(name: str, text: str) -> Any:
    """The value that a YAML text stands for."""
    try:
        return yaml.safe_load(text)
    except Exception as error:  # YAML's own errors, and whatever Python's types say to texts such as !!int ""
        problem = getattr(error, "problem", None) or str(error) or "nested too deeply"
        raise ArgumentError(
            f"parameter {name}: {text[:60]!r} is not YAML ({problem}). Put text into quotes: -p {name} '\"…\"'"
        ) from error
