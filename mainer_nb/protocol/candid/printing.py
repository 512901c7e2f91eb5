"""Candid values as text, laid out as dfx, icp and didc do it, 80 columns wide; `values` reads such texts.

    >>> show([Opt(TEXT), PRINCIPAL], ["Own", "aaaaa-aa"])
    '(opt "Own", principal "aaaaa-aa")'

Different from theirs is a vec of more than ten items, which they put into one line however long it is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .. import principal
from .types import (
    BOOL,
    FLOAT32,
    FLOATS,
    INTEGERS,
    NAT8,
    NULL,
    PRINCIPAL,
    RESERVED,
    TEXT,
    CandidError,
    Func,
    Opt,
    Prim,
    Record,
    Service,
    Type,
    Variant,
    Vec,
    by_id,
    is_tuple,
    label_text,
    resolve,
    some_is_wrapped,
)

WIDTH, INDENT = 80, 2


@dataclass(frozen=True)
class _Group:
    """A part of a text that stands on one line if it fits, else with a line for each item."""

    open: str
    items: list[str | _Part]
    close: str
    separator: str = ";"
    spaced: bool = True
    trailing: bool = True  # whether the last item has a separator, too, where each has its line

    def flat(self) -> str:
        inside = f"{self.separator} ".join(_flat(item) for item in self.items)
        space = " " if self.spaced and self.items else ""
        return f"{self.open}{space}{inside}{space}{self.close}"


@dataclass(frozen=True)
class _Part:
    """A text before a group."""

    before: str
    group: _Group | str | _Part


def _flat(part: str | _Part | _Group) -> str:
    if isinstance(part, _Part):
        return part.before + _flat(part.group)
    return part if isinstance(part, str) else part.flat()


def show(types: Sequence[Type], values: Sequence[Any]) -> str:
    """Python values of these types as text, which `parse` reads."""
    items: list[Any] = [_shown_value(type_, value) for type_, value in zip(types, values, strict=True)]
    return _laid_out(_Group("(", items, ")", ",", spaced=False), 0, 0, 0)


def _laid_out(part: Any, indent: int, column: int, after: int) -> str:
    """`column`: where it begins; `after`: how many characters must fit behind it on its last line."""
    if isinstance(part, str):
        return part
    if isinstance(part, _Part):
        return part.before + _laid_out(part.group, indent, column + len(part.before), after)
    flat = part.flat()
    if column + len(flat) + after <= WIDTH or not part.items:
        return str(flat)
    lines = []
    for number, item in enumerate(part.items, 1):
        separator = part.separator if part.trailing or number < len(part.items) else ""
        lines.append(
            " " * (indent + INDENT) + _laid_out(item, indent + INDENT, indent + INDENT, len(separator)) + separator
        )
    return "\n".join([part.open, *lines, " " * indent + part.close])


def _shown_value(type_: Type, value: Any) -> Any:
    type_ = resolve(type_)
    match type_:
        case Prim():
            return _shown_primitive(type_, value)
        case Opt(inner):
            if value is None:
                return "null"
            content = _shown_value(inner, value[0] if some_is_wrapped(type_) else value)
            resolved = resolve(inner)
            if resolved in INTEGERS or resolved in FLOATS or resolved in (NULL, RESERVED):
                return _Group("opt (", [content], ")", "", spaced=False)
            return _Part("opt ", content)
        case Vec(of):
            if resolve(of) == NAT8:
                return _shown_blob(bytes(value))
            return _Group("vec {", [_shown_value(of, item) for item in value], "}")
        case Record():
            if is_tuple(type_):
                return _Group("record {", [_shown_value(f.type, value[f.id]) for f in by_id(type_.fields)], "}")
            fields = [_Part(f"{_label(f.label)} = ", _shown_value(f.type, value[f.label])) for f in by_id(type_.fields)]
            return _Group("record {", list(fields), "}")
        case Variant():
            ((tag, content),) = value.items()
            (field,) = (field for field in type_.fields if field.label == tag)
            name = _label(tag)
            inside = name if resolve(field.type) == NULL else _Part(f"{name} = ", _shown_value(field.type, content))
            return _Group("variant {", [inside], "}", trailing=False)
        case Func():
            return f'func "{_principal_text(value[0])}".{_label(value[1])}'
        case Service():
            return f'service "{_principal_text(value)}"'
    raise CandidError(f"{type_} cannot be shown")


def _shown_primitive(type_: Prim, value: Any) -> str:
    if type_ in (NULL, RESERVED):
        return f"null : {type_}"
    if type_ == BOOL:
        return "true" if value else "false"
    if type_ == TEXT:
        return f'"{_escaped(value)}"'
    if type_ == PRINCIPAL:
        return f'principal "{_principal_text(value)}"'
    number = _float_text(type_, value) if type_ in FLOATS else f"{value:_}"
    return f"{number} : {type_}"


def _label(label: str | int) -> str:
    if isinstance(label, int):
        return f"{label:_}"
    return label if label_text(label) == label else f'"{_escaped(label)}"'


def _principal_text(value: bytes | str) -> str:
    return value if isinstance(value, str) else principal.to_text(value)


def _escaped(text: str) -> str:
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\", '"': '\\"', "'": "\\'"}
    return "".join(named.get(char) or (char if char.isprintable() else f"\\u{{{ord(char):x}}}") for char in text)


def _shown_blob(octets: bytes) -> str:
    """Bytes as text if all of them are printable, else all in hexadecimal digits."""
    readable = all(0x20 <= octet <= 0x7E or octet in b"\t\n\r" for octet in octets)
    plain = {octet for octet in range(0x20, 0x7F) if chr(octet) not in "\"'`\\"} if readable else set()
    return 'blob "' + "".join(chr(octet) if octet in plain else f"\\{octet:02x}" for octet in octets) + '"'


def _float_text(type_: Prim, value: float) -> str:
    """The shortest digits that are read as this float, without exponent."""
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    digits = repr(value)
    if type_ == FLOAT32:
        stored = struct.pack("<f", value)
        candidates = (f"{value:.{count}g}" for count in range(1, 18))
        digits = next(text for text in candidates if struct.pack("<f", float(text)) == stored)
    text = f"{Decimal(digits):f}"
    return text if "." in text else f"{text}.0"
