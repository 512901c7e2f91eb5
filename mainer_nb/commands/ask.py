"""`mainer-nb ask`: a question for a mAIner."""

from __future__ import annotations

import argparse

from . import Subparsers, command, connect, connection, out, shown

EXAMPLES = """\
  mainer-nb ask "What is the capital of Italy?" --topic geography
  mainer-nb ask "What do bees make?" --mainer "ShareAgent 2" --topic nature
"""


def add(commands: Subparsers) -> None:
    ask = command(commands, "ask", "ask a mAIner a question, and print its answer", EXAMPLES, (connection(),))
    ask.add_argument("question", metavar="QUESTION", help="the question")
    ask.add_argument(
        "--mainer", metavar="NAME", help="a name such as 'ShareAgent 2', or an id (default: the first Own)"
    )
    ask.add_argument("--topic", default="general", help="the challenge's topic (default: general)")
    ask.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="(default: 600)")
    ask.set_defaults(do=_ask)


def _ask(arguments: argparse.Namespace) -> int:
    from .. import calls, operate

    net = connect(arguments)
    mainer = arguments.mainer and calls.mainer_id(net, arguments.mainer)
    answered = operate.ask(
        net, arguments.question, mainer, arguments.topic, arguments.timeout, progress=shown(arguments)
    )
    out(answered.answer)
    return 0
