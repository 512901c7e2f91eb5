"""The environment that chat templates are written for, as transformers' `apply_chat_template` has it: loop controls,
`generation` blocks, `tojson` for people, `raise_exception`, `strftime_now`; and no way out of the sandbox.

A template is a program that somebody else wrote. It is rendered in a process of its own, which is this file as a
script, with limits of time and memory.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 2  # of processor time; a template of a known family takes a few milliseconds
PATIENCE = 60.0  # seconds that those may take on a busy machine
MEMORY = 2**30  # bytes; where the system keeps to it
MOST_TEXT = 2**20  # characters

# Templates that let a model think unless told otherwise are told, in the words of the several families.
WITHOUT_THOUGHTS = {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"}


class TemplateFault(Exception):
    """A template cannot be rendered; the text says why."""


class Generation(Extension):
    """`{% generation %}` … `{% endgeneration %}` marks what the assistant says; here it is written as it is."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def render(template: str, messages: Sequence[dict[str, Any]], tokens: dict[str, str], now: datetime) -> str:
    """What `template` makes of these messages, with a cue to answer and without tools.

    Args:
        tokens: bos_token, eos_token and so on.
        now: for templates that tell the model the date.

    Raises:
        TemplateFault: the template is faulty, refuses the messages, or takes too much time or memory.
    """
    request = {"template": template, "messages": messages, "tokens": tokens, "now": now.isoformat()}
    answer = _answer(json.dumps(request))
    if "error" in answer:
        raise TemplateFault(answer["error"])
    return answer["text"]


@lru_cache(maxsize=32)
def _answer(request: str) -> dict[str, str]:
    """What the process says: a "text" or an "error"."""
    command, too_long = [sys.executable, "-P", __file__, str(SECONDS)], {"error": f"it takes more than {SECONDS} s"}
    try:
        done = subprocess.run(command, input=request, capture_output=True, encoding="utf-8", timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return too_long
    if done.returncode == -signal.SIGXCPU:
        return too_long
    if done.returncode:
        return {"error": f"rendering it ended with {done.returncode}: {done.stderr.strip().rpartition(chr(10))[2]}"}
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def _main() -> None:
    """Render what standard input asks for, in as many seconds as the command line says."""
    seconds = int(sys.argv[1])
    for limited, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, MEMORY)):
        with suppress(ValueError, OSError):  # the system has no such limit, or a lower one
            resource.setrlimit(limited, (most, most + 1))  # the higher one kills without saying why
    request = json.load(sys.stdin)
    try:
        text = _render(**request)
    except Exception as fault:
        answer = {"error": str(fault) or type(fault).__name__}
    else:
        answer = {"text": text} if len(text) <= MOST_TEXT else {"error": f"it makes {len(text)} characters"}
    json.dump(answer, sys.stdout)


def _render(template: str, messages: Sequence[dict[str, Any]], tokens: dict[str, str], now: str) -> str:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": datetime.fromisoformat(now).strftime}
    return environment.from_string(template).render(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, **WITHOUT_THOUGHTS, **tokens
    )


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON; jinja2's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


if __name__ == "__main__":
    _main()
