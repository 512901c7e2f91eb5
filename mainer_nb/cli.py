"""The command `mainer-nb`: the embedded network and the notebooks from a shell.

    mainer-nb init FOLDER
    mainer-nb lab
    mainer-nb net start | status | stop | reset
    mainer-nb run [NOTEBOOK ...] [--network NAME] [--model NAME] [-p NAME VALUE] …

Where its state is kept, and how to have it elsewhere: see `places`.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml

from . import init, network, places, progress
from .errors import ArgumentError, MainerError
from .localnet import server

FIRST = Path("notebooks", "00_start.ipynb")


def main(argv: list[str] | None = None) -> int:
    """Run a command line; the exit status: 0 done, 1 an error or (for `net status`) not running, 2 misuse."""
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
        progress.say(f"mainer-nb: {error}", sys.stderr)
    except OSError as error:
        progress.say(f"mainer-nb: {error.filename or 'the system'}: {error.strerror or error}", sys.stderr)
    except KeyboardInterrupt as error:
        progress.say(f"mainer-nb: {error or 'stopped by Ctrl-C'}", sys.stderr)
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
    parser = argparse.ArgumentParser(prog="mainer-nb", description="The mAIner workbench.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    new = commands.add_parser("init", help="make a folder to work in, with the notebooks and the canisters")
    new.add_argument("folder", type=Path, metavar="FOLDER", help="a new or an empty folder")
    new.set_defaults(do=_init)
    lab = commands.add_parser("lab", help="open JupyterLab, in which notebooks/ and files/ are seen")
    lab.add_argument("options", nargs="*", metavar="-- OPTION", help="of JupyterLab, such as -- --no-browser")
    lab.set_defaults(do=_lab)
    net = commands.add_parser("net", help="the embedded network")
    actions = net.add_subparsers(required=True, metavar="ACTION")
    start = actions.add_parser("start", help="start it in the background, if it is not running")
    start.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    start.add_argument(
        "--outcalls",
        action=argparse.BooleanOptionalAction,
        help="let canisters make HTTPS outcalls, or not (default: as last time, at first not)",
    )
    start.set_defaults(do=_net_start)
    actions.add_parser("status", help="say where it runs").set_defaults(do=_net_status)
    actions.add_parser("stop", help="stop it; its state is kept").set_defaults(do=_net_stop)
    actions.add_parser("reset", help="stop it and remove its state: all canisters").set_defaults(do=_net_reset)
    run = commands.add_parser("run", help="run the notebooks and leave a report")
    run.add_argument(
        "notebooks", nargs="*", metavar="NOTEBOOK", help="such as 03_create or 03 (default: all, in order)"
    )
    run.add_argument("--network", help="network to use (default: local, the embedded one)")
    run.add_argument("--identity", help="identity of icp-cli or dfx, or a PEM file")
    run.add_argument("--model", help="a gguf in files/ or its path (default: Gemma 3 270M)")
    run.add_argument("--mode", help="of 01_deploy: auto, install, reinstall or upgrade")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
        help="any parameter of the notebooks; the value is YAML",
    )  # fmt: skip
    run.add_argument("--output", type=Path, help="folder for the runs (default: runs/)")
    run.set_defaults(do=_run)
    return parser


def _init(arguments: argparse.Namespace) -> int:
    for name, files in init.project(arguments.folder).items():
        progress.say(f"{arguments.folder / name}: {', '.join(files)}", sys.stdout)
    progress.say("\nNext:", sys.stdout)
    if arguments.folder.resolve() != Path.cwd():
        progress.say(f"  cd {shlex.quote(str(arguments.folder))}", sys.stdout)
    progress.say(f"  {_command('mainer-nb') + ' run':<26}  # all notebooks, in order, into one report", sys.stdout)
    progress.say(f"  {_command('mainer-nb') + ' lab':<26}  # or open them, to click and change", sys.stdout)
    progress.say(f"\nNew to the Internet Computer? Begin with {FIRST}.", sys.stdout)
    return 0


def _lab(arguments: argparse.Namespace) -> int:
    """Become JupyterLab, on the project's folder. Its kernels work in notebooks/, so variables name absolute paths."""
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={places.project()}", *arguments.options]
    os.execve(sys.executable, command, places.environment())


def _command(name: str) -> str:
    """How to type a command of this installation."""
    return name if shutil.which(name) else shlex.quote(str(Path(sys.executable).with_name(name)))


def _net_start(arguments: argparse.Namespace) -> int:
    progress.say(_where(network.start_embedded(arguments.port, arguments.outcalls)), sys.stdout)
    return 0


def _net_status(_: argparse.Namespace) -> int:
    info = server.status(places.state())
    if info is None:
        progress.say("network local is not running; start it with `mainer-nb net start`", sys.stdout)
        return 1
    progress.say(f"{_where(info)}\nroot key: {info.root_key}", sys.stdout)
    return 0


def _net_stop(_: argparse.Namespace) -> int:
    stopped = server.stop(places.state())
    progress.say(
        "network local is stopped; its state is kept" if stopped else "network local is not running", sys.stdout
    )
    return 0


def _net_reset(_: argparse.Namespace) -> int:
    server.reset(places.state())
    progress.say("network local is stopped and its state removed, canister ids included", sys.stdout)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from . import run  # loads papermill, which the network's commands need not wait for

    named = ("network", "identity", "model", "mode")
    parameters = {name: _value(name, text) for name, text in arguments.parameter}
    parameters |= {name: value for name in named if (value := getattr(arguments, name)) is not None}
    result = run.run(arguments.notebooks, parameters, arguments.output, progress.auto())
    for notebook in result.notebooks:
        progress.say(f"{notebook.name:<12} {notebook.status:<8} {notebook.seconds:6.1f} s", sys.stdout)
    where = result.summary["network"]
    if where["name"] == network.LOCAL and where["url"]:
        progress.say(
            f"network local still runs at {where['url']}; its state is kept. Stop it with `{sys.argv[0]} net stop`",
            sys.stdout,
        )
    reported = (result.folder / run.REPORT).is_file()
    if reported:
        progress.say(f"report: {result.folder / run.REPORT}", sys.stdout)
    if not result.ok:
        progress.say(f"mainer-nb: {result.failure}", sys.stderr)
    for problem in result.summary["problems"] if result.ok or not reported else ():
        progress.say(f"mainer-nb: {problem}", sys.stderr)
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


def _where(info: server.Info) -> str:
    outcalls = ", with HTTPS outcalls" if info.outcalls else ""
    return f"network local runs at {info.url} (process {info.pid}, state in {info.folder}){outcalls}"
