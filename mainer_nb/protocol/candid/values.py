"""Candid values as people write them, such as `(variant { Own }, null)` (dfinity/candid, spec/Candid.md, "Values").

    >>> types = [did.parse_type("variant { Own }"), did.parse_type("opt text")]
    >>> parse(types, '(variant { Own }, opt "1")')
    [{'Own': None}, '1']

What is read must be of the expected types, as with dfx and icp: `opt` is written, numbers need no annotation, fields
and arguments of type opt may be left out. `printing` writes such texts.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .. import did, principal
from ..tokens import Token, Tokens
from .subtyping import is_subtype
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
    field_hash,
    is_tuple,
    label_text,
    may_be_absent,
    resolve,
    some_is_wrapped,
)


@dataclass(frozen=True)
class _Value:
    """A value as it is written: what it is by its syntax ("number", "record", …), where it begins, and its content."""

    kind: str
    at: int
    content: Any = None


def parse(types: Sequence[Type], text: str, source: str = "the value", names: Sequence[str | None] = ()) -> list[Any]:
    """The Python values that a text in parentheses stands for; the package says which.

    Args:
        source: what to call the text in errors.
        names: what to call the values in errors, where they have names.

    Raises:
        CandidError: the text is not well-formed, or a value is of another type; with line and column.
    """
    tokens = Tokens(text, source, CandidError)
    try:
        written = _Reader(tokens).arguments()
        if len(written) > len(types):
            expected = ", ".join(map(str, types)) or "none"
            where = tokens.error(written[len(types)].at, f"{len(types)} arguments are expected ({expected})")
            raise CandidError(f"{where}, {len(written)} are given")
        for type_, name in list(zip(types, [*names, *[None] * len(types)], strict=False))[len(written) :]:
            if not may_be_absent(type_):
                what = f" for {name}" if name else ""
                raise tokens.error(len(text), f"a value of type {type_}{what} is missing: {len(types)} are expected")
        values = [
            _argument(tokens, number, names, type_, value)
            for number, (type_, value) in enumerate(zip(types, written, strict=False))
        ]
    except RecursionError:
        raise CandidError(f"{source}: the value is nested too deeply") from None
    return values + [None] * (len(types) - len(values))


def _argument(tokens: Tokens, number: int, names: Sequence[str | None], type_: Type, value: _Value) -> Any:
    try:
        return _typed(tokens, type_, value)
    except CandidError as error:
        name = f" ({names[number]})" if number < len(names) and names[number] else ""
        raise CandidError(f"argument {number + 1}{name}: {error}") from None


class _Reader:
    """Recursive descent over the grammar of values."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._type = did.type_reader(tokens)

    def arguments(self) -> list[_Value]:
        self._tokens.expect("(", "before the values")
        values = self._until(")", ",", self._annotated)
        if self._tokens.current.kind != "end":
            raise self._unexpected("the end")
        return values

    def _until(self, end: str, separator: str, item: Any) -> list[Any]:
        items = []
        while not self._tokens.accept(end):
            items.append(item())
            if self._tokens.current.kind != end:
                self._tokens.expect(separator, f"or {end!r}")
        return items

    def _unexpected(self, expected: str) -> ValueError:
        token = self._tokens.current
        return self._tokens.error(token.at, f"expected {expected}, found {token.text}")

    def _annotated(self) -> _Value:
        value = self._value()
        if self._tokens.accept(":"):
            return _Value("annotated", value.at, (value, self._type()))
        return value

    def _value(self) -> _Value:
        token = self._tokens.advance()
        match token.kind, token.text:
            case "text", _:
                return _Value("text", token.at, self._tokens.string(token))
            case (("number" | "float" | "sign"), _):
                return self._number(token)
            case "id", "true" | "false":
                return _Value("bool", token.at, token.text == "true")
            case "id", "null":
                return _Value("null", token.at)
            case "id", "NaN" | "inf":
                return _Value("float", token.at, float(token.text))
            case "id", "opt":
                return _Value("opt", token.at, self._value())
            case "id", "vec":
                self._tokens.expect("{", "after 'vec'")
                return _Value("vec", token.at, self._until("}", ";", self._annotated))
            case "id", "blob":
                return _Value("blob", token.at, self._tokens.octets(self._quoted("the bytes in quotes")))
            case "id", "record":
                return _Value("record", token.at, self._record())
            case "id", "variant":
                return _Value("variant", token.at, self._variant())
            case "id", "principal" | "service":
                return _Value(token.text, token.at, self._principal())
            case "id", "func":
                octets = self._principal()
                self._tokens.expect(".", "between the principal and the name of the method")
                return _Value("func", token.at, (octets, str(self._label("the name of the method"))))
            case "(", _:
                value = self._annotated()
                self._tokens.expect(")", "after the value")
                return value
        raise self._tokens.error(token.at, f"expected a value, found {token.text}{_hint(token)}")

    def _number(self, token: Token) -> _Value:
        sign = token if token.kind == "sign" else None
        digits = self._tokens.advance() if sign else token
        factor = -1 if sign and sign.text == "-" else 1
        text = digits.text.replace("_", "")
        if digits.kind == "number":
            try:
                return _Value("number", token.at, factor * int(text, 16 if text.startswith("0x") else 10))
            except ValueError:  # Python reads no more digits
                raise self._tokens.error(token.at, f"a number of {len(text)} digits is too long") from None
        if digits.kind == "float" or (sign and digits.text == "inf"):
            with suppress(OverflowError):
                number = float.fromhex(text) if "0x" in text else float(text)
                if math.isfinite(number) or text == "inf":
                    return _Value("float", token.at, factor * number)
            raise self._tokens.error(token.at, f"{text} is too large for float64")
        raise self._tokens.error(digits.at, f"expected a number after the sign, found {digits.text}")

    def _quoted(self, what: str) -> Token:
        if self._tokens.current.kind != "text":
            raise self._unexpected(what)
        return self._tokens.advance()

    def _principal(self) -> bytes:
        token = self._quoted("a principal in quotes")
        try:
            return principal.from_text(self._tokens.string(token))
        except ValueError as error:
            raise self._tokens.error(token.at, str(error)) from None

    def _label(self, what: str) -> str | int:
        token = self._tokens.current
        if token.kind not in ("id", "text", "number"):
            raise self._unexpected(what)
        self._tokens.advance()
        if token.kind == "number":
            return int(token.text, 16) if token.text.startswith("0x") else int(token.text)
        return self._tokens.string(token) if token.kind == "text" else token.text

    def _is_labelled(self) -> bool:
        return self._tokens.all[min(self._tokens.next + 1, len(self._tokens.all) - 1)].kind == "="

    def _record(self) -> dict[int, tuple[str | int, _Value]]:
        """The fields by their ids; one without a label has the id after that of the one before."""
        self._tokens.expect("{", "after 'record'")
        fields: dict[int, tuple[str | int, _Value]] = {}
        previous = -1

        def field() -> None:
            nonlocal previous
            at = self._tokens.current.at
            label: str | int = previous + 1
            if self._is_labelled():
                label = self._label("the name of a field")
                self._tokens.advance()
            previous = label if isinstance(label, int) else field_hash(label)
            if previous in fields:
                raise self._tokens.error(
                    at, f"the fields {fields[previous][0]} and {label} have the same id {previous}"
                )
            fields[previous] = label, self._annotated()

        self._until("}", ";", field)
        return fields

    def _variant(self) -> tuple[str | int, _Value]:
        self._tokens.expect("{", "after 'variant'")
        at = self._tokens.current.at
        tag = self._label("the tag of the variant")
        content = self._annotated() if self._tokens.accept("=") else _Value("null", at)
        self._tokens.accept(";")
        self._tokens.expect("}", "after the variant, which has one tag")
        return tag, content


def _hint(token: Token) -> str:
    """How to write what was probably meant."""
    return f'. A text is written in quotes: "{token.text}"' if token.kind == "id" else ""


#: What a value that is written so is called in an error.
WRITTEN = {"float": "a number with a fraction", "null": "null", "opt": "an opt", "blob": "a blob"}


def _typed(tokens: Tokens, type_: Type, value: _Value) -> Any:
    """The value in Python, if it is of the type.

    Raises:
        CandidError: it is not.
    """
    type_ = resolve(type_)
    kind, content = value.kind, value.content
    if kind == "annotated":
        inner, said = content
        _typed(tokens, said, inner)
        if not is_subtype(said, type_):
            raise tokens.error(value.at, f"expected {type_}, found a value of type {said}")
        return _typed(tokens, type_, inner)
    match type_:
        case Prim():
            if type_ == RESERVED or (kind == "null" and type_ == NULL):
                return None
            if (kind == "text" and type_ == TEXT) or (kind == "bool" and type_ == BOOL):
                return content
            if kind == "principal" and type_ == PRINCIPAL:
                return content
            if kind in ("number", "float") and type_ in (INTEGERS if kind == "number" else FLOATS):
                return _in_range(tokens, type_, value)
            if kind == "number" and type_ in FLOATS:
                return _in_range(tokens, type_, _Value("float", value.at, _float(tokens, value)))
        case Opt(inner) if kind == "null":
            return None
        case Opt(inner) if kind == "opt":
            present = _typed(tokens, inner, content)
            return (present,) if some_is_wrapped(type_) else present
        case Vec(of) if kind == "vec":
            items = [_typed(tokens, of, item) for item in content]
            return bytes(items) if resolve(of) == NAT8 else items
        case Vec(of) if kind == "blob" and resolve(of) == NAT8:
            return content
        case Record() if kind == "record":
            return _typed_record(tokens, type_, value)
        case Variant() if kind == "variant":
            return _typed_variant(tokens, type_, value)
        case Service() if kind == "service":
            return content
        case Func() if kind == "func":
            return content
    raise tokens.error(value.at, f"expected {type_}, found {WRITTEN.get(kind, f'a {kind}')}{_remedy(type_, value)}")


def _remedy(type_: Type, value: _Value) -> str:
    if isinstance(type_, Opt):
        return ": write opt before it"
    if value.kind == "text" and (type_ == PRINCIPAL or isinstance(type_, Service)):
        return f": write {'principal' if type_ == PRINCIPAL else 'service'} before it"
    return ""


def _float(tokens: Tokens, value: _Value) -> float:
    try:
        return float(value.content)
    except OverflowError:
        raise tokens.error(value.at, "the number is too large for a float") from None


def _in_range(tokens: Tokens, type_: Prim, value: _Value) -> Any:
    number = value.content
    if type_ == FLOAT32 and math.isfinite(number):
        try:
            struct.pack("<f", number)
        except OverflowError:
            raise tokens.error(value.at, f"{number} is too large for float32") from None
    bits = re.fullmatch(r"(nat|int)(\d*)", type_.name)
    if bits:
        signed, size = bits[1] == "int", int(bits[2] or 0)
        least = -(1 << size - 1) if signed and size else 0
        most = (1 << size - signed) - 1 if size else math.inf
        if not (signed and not size) and not least <= number <= most:
            raise tokens.error(value.at, f"{_shown(number)} is not a {type_}{f', {least} to {most}' if size else ''}")
    return number


def _shown(number: int) -> str:
    return str(number) if number.bit_length() <= 200 else f"a number of {number.bit_length()} bits"


def _typed_record(tokens: Tokens, type_: Record, value: _Value) -> Any:
    given = value.content
    known = {field.id for field in type_.fields}
    for field_id, (label, content) in given.items():
        if field_id not in known:
            fields = ", ".join(label_text(field.label) for field in type_.fields) or "none"
            raise tokens.error(content.at, f"unknown field {label_text(label)}; the fields are {fields}")
    typed: dict[str | int, Any] = {}
    for field in type_.fields:
        if field.id in given:
            typed[field.label] = _typed(tokens, field.type, given[field.id][1])
        elif may_be_absent(field.type):
            typed[field.label] = None
        else:
            raise tokens.error(
                value.at, f"the field {label_text(field.label)} : {field.type} is missing in this record"
            )
    return tuple(typed[number] for number in range(len(typed))) if is_tuple(type_) else typed


def _typed_variant(tokens: Tokens, type_: Variant, value: _Value) -> Any:
    tag, content = value.content
    tag_id = tag if isinstance(tag, int) else field_hash(tag)
    for field in type_.fields:
        if field.id == tag_id:
            return {field.label: _typed(tokens, field.type, content)}
    tags = ", ".join(label_text(field.label) for field in type_.fields)
    raise tokens.error(value.at, f"unknown tag {label_text(tag)}; the tags are {tags}")
