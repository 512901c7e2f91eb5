"""`mainer-nb model`: model files."""

from __future__ import annotations

import argparse

from . import Subparsers, command, out, say, shown

EXAMPLES = """\
  mainer-nb model get https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/qwen2.5-0.5b-instruct-q8_0.gguf
  mainer-nb run --model qwen2.5-0.5b-instruct-q8_0
"""


def add(commands: Subparsers) -> None:
    model = command(commands, "model", "get models", EXAMPLES)
    actions = model.add_subparsers(required=True, metavar="ACTION")
    get = command(
        actions, "get", "download a gguf into files/; one that was cut short goes on where it ended", EXAMPLES
    )
    get.add_argument("url", metavar="URL", help="the address of a gguf file")
    get.add_argument("--sha256", metavar="HEX", help="what its sha256 must be (default: what the server says it is)")
    get.add_argument("--name", help="what to call it in files/ (default: as in the address)")
    get.set_defaults(do=_get)


def _get(arguments: argparse.Namespace) -> int:
    from .. import artifacts, downloads

    file = downloads.get(arguments.url, arguments.name, arguments.sha256, shown(arguments))
    out(f"{file.path}: {file.size:,} bytes, sha256 {file.sha256}")
    artifacts.model(file.path)
    say(arguments, f"Run the notebooks with it: mainer-nb run --model {file.path.stem}")
    return 0
