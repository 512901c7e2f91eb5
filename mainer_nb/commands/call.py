"""`mainer-nb call`: any method of any canister."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import ArgumentError
from . import Subparsers, command, connect, connection, err, out

EXAMPLES = """\
  mainer-nb call mainer_creator_canister health
  mainer-nb call mainer_creator_canister testCreateMainerControllerCanister '(variant {Own}, null)'
  mainer-nb call game_state_canister getNumSubmissionsAdmin --output json
  mainer-nb call "ShareAgent 2" getChallengeQueueAdmin
  mainer-nb call mainer_creator_canister setMasterCanisterId '["bkyz2-fmaaa-aaaaa-qaaaq-cai"]'
  mainer-nb call aaaaa-aa canister_status '(record {canister_id = principal "bkyz2-fmaaa-aaaaa-qaaaq-cai"})'
  mainer-nb call game_state_canister addChallengeTopic - < topic.json
"""


def add(commands: Subparsers) -> None:
    does = "call a method of a canister, and print its results"
    call = command(commands, "call", does, EXAMPLES, (connection(),), mixed=True)
    call.add_argument(
        "canister", metavar="CANISTER", help="an id, a role such as game_state_canister, or a mAIner such as 'Own 1'"
    )
    call.add_argument("method", metavar="METHOD", help="a method of its interface")
    call.add_argument(
        "arguments", nargs="?", metavar="ARGUMENTS",
        help="Candid text '(…)', or JSON: a list of all arguments, or the only one; -: from standard input",
    )  # fmt: skip
    call.add_argument("--argument-file", type=Path, metavar="FILE", help="a file with the arguments, instead")
    call.add_argument(
        "--output", choices=("idl", "json"), default="idl", help="results as Candid text (default) or JSON"
    )
    call.add_argument("--did", type=Path, metavar="FILE", help="the canister's interface, if it does not tell it")
    call.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="(default: 900)")
    call.set_defaults(do=_call)


def _call(arguments: argparse.Namespace) -> int:
    from .. import calls

    text = _text(arguments)
    net = connect(arguments)
    method = calls.method(calls.find(net, arguments.canister, arguments.did), arguments.method)
    results = calls.call(method, calls.arguments(method, text), arguments.timeout)
    out(calls.as_json(method, results) if arguments.output == "json" else calls.text(method, results))
    failure = calls.failure(method, results)
    if failure:
        err(failure)
    return 1 if failure else 0


def _text(arguments: argparse.Namespace) -> str:
    """The text of the arguments, from where it is given."""
    given, file = arguments.arguments, arguments.argument_file
    if file is None and given != "-":
        return given or ""
    if file is not None and given is not None:
        raise ArgumentError("the arguments are given twice: on the command line, and with --argument-file")
    where = "standard input" if file is None or str(file) == "-" else str(file)
    try:
        octets = sys.stdin.buffer.read() if where == "standard input" else file.read_bytes()
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"the arguments in {where} are not text in UTF-8: {error.reason}") from error
