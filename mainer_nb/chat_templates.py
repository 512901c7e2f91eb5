"""The environment that chat templates are written for, as transformers' `apply_chat_template` has it: loop controls,
`generation` blocks, `tojson` for people, `raise_exception`, `strftime_now`; and no way out of the sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What a faulty template can raise besides jinja2.TemplateError."""

# Templates that let a model think unless told otherwise are told, in the words of the several families.
WITHOUT_THOUGHTS = {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"}


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
        jinja2.TemplateError: the template is faulty or refuses the messages; or one of `FAULTS`.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {"raise_exception": _refuse, "strftime_now": now.strftime}
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
