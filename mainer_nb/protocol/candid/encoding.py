"""From Python values to a Candid message (spec, "Binary Format")."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn

from ..leb128 import leb128, sleb128
from ..principal import MAX_LENGTH, from_text
from .type_table import TypeTable
from .types import (
    BOOL,
    EMPTY,
    FLOAT32,
    FLOAT64,
    INT,
    NAT,
    NAT8,
    NULL,
    PRINCIPAL,
    RESERVED,
    STRUCT_CODES,
    TEXT,
    CandidError,
    Field,
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
    may_be_absent,
    resolve,
    some_is_wrapped,
)


class _BadValue(Exception):
    """A Python value that does not fit its type; on the way out it collects the path to the value, innermost first."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.path: list[str] = []


_Encoder = Callable[[bytearray, Any], None]


def encode(types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """The message that carries `values`.

    Args:
        types: of a method's arguments or results.
        values: a Python value for each of them; the package says which.

    Raises:
        CandidError: there are too few or too many, or one does not fit; the error names the path to it.
    """
    if len(types) != len(values):
        expected = ", ".join(map(str, types))
        raise CandidError(f"{len(types)} arguments are expected ({expected}), {len(values)} are given")
    try:
        header, encoders = _compile(tuple(types))
        out = bytearray(header)
        for number, (encoder, value) in enumerate(zip(encoders, values, strict=True), 1):
            try:
                encoder(out, value)
            except _BadValue as bad:
                path = "".join(reversed(bad.path))
                raise CandidError(f"argument {number}{' ' + path if path else ''}: {bad.message}") from None
    except RecursionError:
        raise CandidError("the value is nested too deeply") from None
    return bytes(out)


@lru_cache(maxsize=512)
def _compile(types: tuple[Type, ...]) -> tuple[bytes, list[_Encoder]]:
    """What all messages of these types begin with, and the encoders of their values."""
    table = TypeTable()
    references = b"".join(table.reference(type_) for type_ in types)
    header = b"DIDL" + leb128(len(table.entries)) + b"".join(table.entries) + leb128(len(types)) + references
    compiler = _EncoderCompiler()
    return header, [compiler.encoder(type_) for type_ in types]


class _EncoderCompiler:
    """Makes the encoder of a type, each type once, so that recursion ends."""

    def __init__(self) -> None:
        self._done: dict[Type, _Encoder] = {}

    def encoder(self, type_: Type) -> _Encoder:
        type_ = resolve(type_)
        if type_ not in self._done:
            self._done[type_] = lambda out, value: self._done[type_](out, value)  # stands in while a cycle is made
            self._done[type_] = self._make(type_)
        return self._done[type_]

    def _make(self, type_: Type) -> _Encoder:
        match type_:
            case Prim():
                return _PRIM_ENCODERS[type_]
            case Opt():
                return _encode_opt(type_, self.encoder(type_.of))
            case Vec(of):
                if of == NAT8:
                    return _encode_blob
                return _encode_vec(type_, self.encoder(of))
            case Record():
                return _encode_record(type_, [(f, self.encoder(f.type)) for f in by_id(type_.fields)])
            case Variant():
                return _encode_variant(type_, [(f, self.encoder(f.type)) for f in by_id(type_.fields)])
            case Func():
                return _encode_func
            case Service():
                return _encode_principal
        raise CandidError(f"{type_} cannot be encoded")


def number_text(number: int) -> str:
    """A number in an error: its digits, or how many bits it has if they are too many to be read (or printed)."""
    return str(number) if number.bit_length() <= 200 else f"a number of {number.bit_length()} bits"


def _shown(value: object) -> str:
    """A value in an error: its type and as much of it as is readable."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"int of {value.bit_length()} bits"
    try:
        text = repr(value[:40] if isinstance(value, (str, bytes)) else value)
    except (ValueError, RecursionError):  # a huge number or a cycle inside
        text = "(not printable)"
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _expected(what: object, value: object) -> NoReturn:
    raise _BadValue(f"expected {what}, got {'null (None)' if value is None else _shown(value)}")


def _integer(type_: Prim, value: Any) -> int:
    if isinstance(value, bool):
        _expected(type_, value)
    try:
        return operator.index(value)
    except TypeError:
        _expected(type_, value)


def _encode_null(out: bytearray, value: Any) -> None:
    if value is not None:
        _expected(NULL, value)


def _encode_reserved(out: bytearray, value: Any) -> None:
    pass


def _encode_empty(out: bytearray, value: Any) -> None:
    raise _BadValue("type empty has no values")


def _encode_bool(out: bytearray, value: Any) -> None:
    if not isinstance(value, bool):
        _expected(BOOL, value)
    out.append(value)


def _encode_nat(out: bytearray, value: Any) -> None:
    number = _integer(NAT, value)
    if number < 0:
        _expected(NAT, value)
    out += leb128(number)


def _encode_int(out: bytearray, value: Any) -> None:
    out += sleb128(_integer(INT, value))


def _encode_text(out: bytearray, value: Any) -> None:
    if not isinstance(value, str):
        _expected(TEXT, value)
    try:
        utf8 = value.encode()
    except UnicodeEncodeError as error:
        raise _BadValue(f"the text has no UTF-8 form: {error.reason} at position {error.start}") from None
    out += leb128(len(utf8))
    out += utf8


def _encode_principal(out: bytearray, value: Any) -> None:
    if isinstance(value, str):
        try:
            value = from_text(value)
        except ValueError as error:
            raise _BadValue(f"expected principal: {error}") from None
    octets = value if isinstance(value, (bytes, bytearray)) else getattr(value, "bytes", None)
    if not isinstance(octets, (bytes, bytearray)):
        _expected(PRINCIPAL, value)
    if len(octets) > MAX_LENGTH:
        raise _BadValue(f"expected principal, at most {MAX_LENGTH} bytes, got {len(octets)} bytes")
    out += bytes((1, len(octets)))
    out += octets


def _encode_func(out: bytearray, value: Any) -> None:
    if not (isinstance(value, (tuple, list)) and len(value) == 2):
        _expected("func as (principal, method name)", value)
    out.append(1)
    _encode_principal(out, value[0])
    _encode_text(out, value[1])


def _encode_fixed(type_: Prim) -> _Encoder:
    pack = struct.Struct("<" + STRUCT_CODES[type_]).pack
    is_float = type_ in (FLOAT32, FLOAT64)

    def encode_fixed(out: bytearray, value: Any) -> None:
        if isinstance(value, bool):
            _expected(type_, value)
        try:
            out += pack(value)
        except (struct.error, OverflowError):
            problem = "too large for " if is_float and isinstance(value, (int, float)) else "expected "
            raise _BadValue(f"{problem}{type_}, got {_shown(value)}") from None

    return encode_fixed


def _encode_blob(out: bytearray, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        try:
            value = bytes(value)
        except (TypeError, ValueError):
            _expected("bytes", value)
    try:
        view = memoryview(value)
    except TypeError:
        _expected("bytes", value)
    out += leb128(view.nbytes)
    out += view if view.contiguous else view.tobytes()


def _encode_vec(vec: Vec, element: _Encoder) -> _Encoder:
    inner = resolve(vec.of)
    code = STRUCT_CODES.get(inner) if isinstance(inner, Prim) else None

    def encode_vec(out: bytearray, value: Any) -> None:
        if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Iterable):
            _expected(vec, value)
        items = value if isinstance(value, (list, tuple)) else list(value)
        out += leb128(len(items))
        if code is not None and bool not in map(type, items):
            try:
                out += struct.pack(f"<{len(items)}{code}", *items)
                return
            except (struct.error, OverflowError):
                pass  # some item does not fit: let the element's own encoder say which
        for number, item in enumerate(items):
            try:
                element(out, item)
            except _BadValue as bad:
                bad.path.append(f"[{number}]")
                raise

    return encode_vec


def _encode_opt(opt: Opt, inner: _Encoder) -> _Encoder:
    wrapped = some_is_wrapped(opt)

    def encode_opt(out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
            return
        if wrapped:
            if not (isinstance(value, (tuple, list)) and len(value) == 1):
                _expected(f"{opt} as None or a one-tuple", value)
            value = value[0]
        out.append(1)
        inner(out, value)

    return encode_opt


def _encode_record(type_: Record, fields: list[tuple[Field, _Encoder]]) -> _Encoder:
    plan = [(f.label, encoder, may_be_absent(f.type)) for f, encoder in fields]
    labels = {f.label for f, _ in fields}
    names = ", ".join(str(f.label) for f in type_.fields)
    as_tuple = is_tuple(type_)

    def encode_record(out: bytearray, value: Any) -> None:
        if as_tuple and isinstance(value, (tuple, list)):
            if len(value) != len(plan):
                raise _BadValue(f"expected {len(plan)} values, got {len(value)}")
            value = dict(enumerate(value))
        if not isinstance(value, Mapping):
            _expected(type_, value)
        if not value.keys() <= labels:
            unknown = ", ".join(sorted(repr(key) for key in value.keys() - labels))
            raise _BadValue(f"unknown field {unknown}; the fields are {names}")
        for label, encoder, optional in plan:
            try:
                if label in value:
                    encoder(out, value[label])
                elif optional:
                    encoder(out, None)
                else:
                    raise _BadValue("the field is missing")
            except _BadValue as bad:
                bad.path.append(f".{label}")
                raise

    return encode_record


def _encode_variant(type_: Variant, fields: list[tuple[Field, _Encoder]]) -> _Encoder:
    tags = {f.label: (leb128(index), encoder) for index, (f, encoder) in enumerate(fields)}
    names = ", ".join(str(f.label) for f in type_.fields)

    def encode_variant(out: bytearray, value: Any) -> None:
        if isinstance(value, (str, int)):
            tag, content = value, None
        elif isinstance(value, Mapping) and len(value) == 1:
            ((tag, content),) = value.items()
        else:
            _expected(f"variant as a dict with one of the keys {names}", value)
        if tag not in tags:
            raise _BadValue(f"unknown tag {tag!r}; the tags are {names}")
        index, encoder = tags[tag]
        out += index
        try:
            encoder(out, content)
        except _BadValue as bad:
            bad.path.append(f".{tag}")
            raise

    return encode_variant


_PRIM_ENCODERS: dict[Prim, _Encoder] = {
    NULL: _encode_null,
    BOOL: _encode_bool,
    NAT: _encode_nat,
    INT: _encode_int,
    TEXT: _encode_text,
    RESERVED: _encode_reserved,
    EMPTY: _encode_empty,
    PRINCIPAL: _encode_principal,
    **{type_: _encode_fixed(type_) for type_ in STRUCT_CODES},
}
