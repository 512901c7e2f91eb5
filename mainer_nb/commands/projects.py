"""`mainer-nb init` and `mainer-nb lab`: folders to work in, and JupyterLab there."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from .. import init, places
from . import Subparsers, command, say

FIRST = Path("notebooks", "00_start.ipynb")
EXAMPLES = """\
  mainer-nb init my-mainers
"""


def add(commands: Subparsers) -> None:
    new = command(commands, "init", "make a folder to work in, with the notebooks and the canisters", EXAMPLES)
    new.add_argument("folder", type=Path, metavar="FOLDER", help="a new or an empty folder")
    new.set_defaults(do=_init)
    lab = command(commands, "lab", "open JupyterLab, in which notebooks/ and files/ are seen")
    lab.add_argument("options", nargs="*", metavar="-- OPTION", help="of JupyterLab, such as -- --no-browser")
    lab.set_defaults(do=_lab)


def _init(arguments: argparse.Namespace) -> int:
    for name, files in init.project(arguments.folder).items():
        say(arguments, f"{arguments.folder / name}: {', '.join(files)}")
    say(arguments, "\nNext:")
    if arguments.folder.resolve() != Path.cwd():
        say(arguments, f"  cd {shlex.quote(str(arguments.folder))}")
    say(arguments, f"  {_typed('mainer-nb') + ' run':<26}  # notebooks 01 to 04, into one report")
    say(arguments, f"  {_typed('mainer-nb') + ' lab':<26}  # or open them, to click and change")
    say(arguments, f"\nNew to the Internet Computer? Begin with {FIRST}.")
    return 0


def _lab(arguments: argparse.Namespace) -> int:
    """Become JupyterLab, on the project's folder. Its kernels work in notebooks/, so variables name absolute paths.

    JupyterLab refuses root unless told otherwise; in a container there is often nobody else.
    """
    options = [f"--ServerApp.root_dir={places.project()}", *(["--allow-root"] if os.geteuid() == 0 else [])]
    command = [sys.executable, "-m", "jupyterlab", *options, *arguments.options]
    os.execve(sys.executable, command, places.environment())


def _typed(name: str) -> str:
    """How to type a command of this installation."""
    return name if shutil.which(name) else shlex.quote(str(Path(sys.executable).with_name(name)))
