"""From a Candid message to Python values (spec, "Binary Format" and "Coercion")."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from ..principal import MAX_LENGTH
from .reader import Mismatch, Reader
from .subtyping import Compared, is_subtype
from .type_table import read_reference, read_type_table
from .types import (
    BOOL,
    EMPTY,
    INT,
    NAT,
    NAT8,
    NULL,
    PRINCIPAL,
    RESERVED,
    STRUCT_CODES,
    TEXT,
    CandidError,
    Func,
    Future,
    Opt,
    Prim,
    Record,
    Service,
    Type,
    Variant,
    Vec,
    is_tuple,
    may_be_absent,
    resolve,
    some_is_wrapped,
)

_Decoder = Callable[[Reader], Any]


def decode(types: Sequence[Type] | None, data: bytes, principal: Callable[[bytes], Any] = bytes) -> list[Any]:
    """The values in a message (section "Decoding").

    Args:
        types: what is expected, to which the values are coerced; None: the values are given as the message's own types
            describe them, with numbers for field names.
        data: the message.
        principal: makes of the bytes of each principal what the caller works with.

    Raises:
        CandidError: the message is malformed, or of other types, or nested more deeply than some 400 levels.
    """
    reader = Reader(bytes(data))
    try:
        values = list(_decode_arguments(reader, _read_head(reader, None if types is None else tuple(types), principal)))
    except RecursionError:
        raise CandidError("the Candid message is nested too deeply") from None
    if reader.pos != len(reader.data):
        raise reader.error(f"{len(reader.data) - reader.pos} bytes follow the last value")
    return values


def types_of(data: bytes) -> list[Type]:
    """The types of the values in a message, as the message itself describes them.

    Raises:
        CandidError: the message's head is malformed.
    """
    reader = Reader(bytes(data))
    table = read_type_table(reader)
    return [read_reference(reader, table) for _ in range(reader.count("arguments"))]


@dataclass(frozen=True)
class _Head:
    """The bytes before the first value, which all messages with values of these types share, and their decoders.

    Attributes:
        used: the reader's fuel that reading the head takes.
        absent: how many of the expected arguments such messages lack.
    """

    octets: bytes
    used: int
    decoders: tuple[tuple[_Decoder, bool], ...]  # and whether the value is expected
    absent: int


_HEADS_KEPT = 16  # of each sequence of expected types
_LONGEST_HEAD_KEPT = 4096  # bytes


@lru_cache(maxsize=512)
def _heads(types: tuple[Type, ...] | None, principal: Callable[[bytes], Any]) -> dict[bytes, _Head]:
    """The heads of messages that were decoded as `types`; most messages for a method have the same one."""
    return {}


def _read_head(reader: Reader, types: tuple[Type, ...] | None, principal: Callable[[bytes], Any]) -> _Head:
    """Reads up to the first value."""
    known = _heads(types, principal)
    for head in tuple(known.values()):
        if reader.data.startswith(head.octets):
            reader.pos = len(head.octets)
            reader.fuel -= head.used
            return head
    fuel = reader.fuel
    table = read_type_table(reader)
    wire_types = [read_reference(reader, table) for _ in range(reader.count("arguments"))]
    decoders, absent = _compile_decoders(_DecoderCompiler(principal), wire_types, types)
    head = _Head(reader.data[: reader.pos], fuel - reader.fuel, decoders, absent)
    if len(head.octets) <= _LONGEST_HEAD_KEPT:
        if len(known) >= _HEADS_KEPT:
            known.clear()
        known[head.octets] = head
    return head


def _compile_decoders(
    compiler: _DecoderCompiler, wire_types: list[Type], types: tuple[Type, ...] | None
) -> tuple[tuple[tuple[_Decoder, bool], ...], int]:
    expected = [None] * len(wire_types) if types is None else [*types[: len(wire_types)]]
    for number, type_ in enumerate((types or ())[len(wire_types) :], len(wire_types) + 1):
        if not may_be_absent(type_):
            raise CandidError(f"argument {number} of type {type_} is missing in the message")
    decoders = [(compiler.decoder(wire, type_), True) for wire, type_ in zip(wire_types, expected, strict=False)]
    decoders += [(compiler.decoder(wire, None), False) for wire in wire_types[len(expected) :]]
    return tuple(decoders), max(0, len(types or ()) - len(wire_types))


def _decode_arguments(reader: Reader, head: _Head) -> Iterator[Any]:
    for number, (decode_value, is_expected) in enumerate(head.decoders, 1):
        try:
            value = decode_value(reader)
        except Mismatch as mismatch:
            raise CandidError(f"argument {number}: {mismatch}") from None
        if is_expected:
            yield value
    yield from [None] * head.absent


class _DecoderCompiler:
    """Makes the decoder of a pair of types: the message's and the expected one (None: whatever comes).

    Each pair is made once, so that recursion ends. Pairs that never match get a decoder that raises `Mismatch`,
    because they may never be reached: in an empty vector, in another tag.
    """

    def __init__(self, principal: Callable[[bytes], Any]) -> None:
        self._principal = principal
        self._done: dict[tuple[int, int], _Decoder] = {}
        self._subtypes: Compared = {}

    def decoder(self, wire: Type, expected: Type | None) -> _Decoder:
        wire = resolve(wire)
        expected = None if expected is None else resolve(expected)
        key = (id(wire), id(expected))  # both outlive this object
        if key not in self._done:
            self._done[key] = lambda reader: self._done[key](reader)  # stands in while a cycle is made
            self._done[key] = self._make(wire, expected)
        return self._done[key]

    def _make(self, wire: Type, expected: Type | None) -> _Decoder:
        if isinstance(expected, Opt) and not isinstance(wire, Opt):
            return self._opt_of_other(wire, expected)
        if expected == RESERVED:
            return _decode_and_drop(self.decoder(wire, None))
        match wire, expected:
            case Future(), None:
                return _skip_future
            case Prim(), None:
                return self._prim(wire)
            case Prim(), Prim() if wire in (expected, EMPTY) or (wire, expected) == (NAT, INT):
                return self._prim(wire)
            case Opt(), None:
                return _decode_opt(self.decoder(wire.of, None), None, some_is_wrapped(wire))
            case Opt(), Opt():
                skip = self.decoder(wire.of, None)
                return _decode_opt(self.decoder(wire.of, expected.of), skip, some_is_wrapped(expected))
            case Vec(), None:
                return self._vec(wire, None)
            case Vec(), Vec():
                return self._vec(wire, expected.of)
            case Record(), None:
                return self._record(wire, wire)
            case Record(), Record():
                return self._record(wire, expected)
            case Variant(), None:
                return self._variant(wire, None)
            case Variant(), Variant():
                return self._variant(wire, expected)
            case Func(), None | Func() if expected is None or is_subtype(wire, expected, self._subtypes):
                return self._decode_func
            case Service(), None | Service() if expected is None or is_subtype(wire, expected, self._subtypes):
                return self._decode_principal
            case Service(), Prim() if expected == PRINCIPAL:
                return self._decode_principal
        return _never(wire, expected)

    def _prim(self, wire: Prim) -> _Decoder:
        return self._decode_principal if wire == PRINCIPAL else _PRIM_DECODERS[wire]

    def _decode_principal(self, reader: Reader) -> Any:
        if reader.byte() != 1:
            reader.pos -= 1
            raise reader.error("a principal must begin with byte 1 (opaque references are not supported)")
        length = reader.size()
        if length > MAX_LENGTH:
            raise reader.error(f"a principal of {length} bytes, at most {MAX_LENGTH} are allowed")
        return self._principal(reader.take(length))

    def _decode_func(self, reader: Reader) -> Any:
        if reader.byte() != 1:
            reader.pos -= 1
            raise reader.error("a function must begin with byte 1 (opaque references are not supported)")
        return self._decode_principal(reader), reader.text()

    def _opt_of_other(self, wire: Type, expected: Opt) -> _Decoder:
        skip = self.decoder(wire, None)
        if wire in (NULL, RESERVED) or some_is_wrapped(expected):
            return _decode_and_drop(skip)
        return _or_null(self.decoder(wire, expected.of), skip)

    def _vec(self, wire: Vec, expected: Type | None) -> _Decoder:
        inner = resolve(wire.of)
        if isinstance(inner, Prim) and inner in STRUCT_CODES and (expected is None or resolve(expected) == inner):
            return _decode_blob if inner == NAT8 else _decode_fixed_vec(inner)
        takes_bytes = not isinstance(inner, Record) and inner not in (NULL, RESERVED, EMPTY)
        return _decode_vec(self.decoder(inner, expected), takes_bytes)

    def _record(self, wire: Record, expected: Record) -> _Decoder:
        wanted = {f.id: f for f in expected.fields}
        known = {f.id for f in wire.fields}
        for f in expected.fields:
            if f.id not in known and not may_be_absent(f.type):
                return _never(wire, expected, f"; field {f.label} is missing")
        plan: list[tuple[str | int | None, _Decoder]] = []
        for f in wire.fields:  # _read_fields has them in order
            target = wanted.get(f.id)
            if target is None:
                plan.append((None, self.decoder(f.type, None)))
            else:
                plan.append((target.label, self.decoder(f.type, None if wire is expected else target.type)))
        template: dict[str | int, Any] = {f.label: None for f in expected.fields}
        if is_tuple(expected):
            return _decode_tuple(dict(sorted(template.items())), plan)
        return _decode_record(template, plan)

    def _variant(self, wire: Variant, expected: Variant | None) -> _Decoder:
        if expected is None:
            return _decode_variant([(f.label, self.decoder(f.type, None)) for f in wire.fields])
        wanted = {f.id: f for f in expected.fields}
        cases: list[tuple[str | int, _Decoder]] = []
        for f in wire.fields:
            target = wanted.get(f.id)
            if target is None:
                cases.append((f.label, _never(f"variant tag {f.label}", expected)))
            else:
                cases.append((target.label, self.decoder(f.type, target.type)))
        return _decode_variant(cases)


def _never(wire: object, expected: object, why: str = "") -> _Decoder:
    def decode_never(reader: Reader) -> NoReturn:
        raise reader.mismatch(wire, expected, why)

    return decode_never


def _decode_and_drop(decoder: _Decoder) -> _Decoder:
    def decode_and_drop(reader: Reader) -> None:
        decoder(reader)

    return decode_and_drop


def _skip_future(reader: Reader) -> None:
    length, references = reader.size(), reader.size()
    if references:
        raise reader.error("opaque references are not supported")
    reader.take(length)


def _decode_null(reader: Reader) -> None:
    return None


def _decode_empty(reader: Reader) -> NoReturn:
    raise reader.error("type empty has no values")


def _decode_bool(reader: Reader) -> bool:
    value = reader.byte()
    if value > 1:
        reader.pos -= 1
        raise reader.error(f"byte {value} is not a bool")
    return value == 1


def _decode_fixed(type_: Prim) -> _Decoder:
    format_ = struct.Struct("<" + STRUCT_CODES[type_])
    unpack, size = format_.unpack_from, format_.size

    def decode_fixed(reader: Reader) -> Any:
        try:
            (value,) = unpack(reader.data, reader.pos)
        except struct.error:
            raise reader.error(f"it ends within a {type_}") from None
        reader.pos += size
        return value

    return decode_fixed


def _decode_blob(reader: Reader) -> bytes:
    return reader.take(reader.size())


def _decode_fixed_vec(type_: Prim) -> _Decoder:
    code = STRUCT_CODES[type_]
    size = struct.calcsize("<" + code)

    def decode_fixed_vec(reader: Reader) -> list[Any]:
        length = reader.size()
        return list(struct.unpack(f"<{length}{code}", reader.take(length * size)))

    return decode_fixed_vec


def _decode_vec(element: _Decoder, takes_bytes: bool) -> _Decoder:
    def decode_vec(reader: Reader) -> list[Any]:
        if takes_bytes:
            length = reader.count("elements")
        else:
            length = reader.size()
            reader.charge(length)
        return [element(reader) for _ in range(length)]

    return decode_vec


def _decode_opt(inner: _Decoder, skip: _Decoder | None, wrapped: bool) -> _Decoder:
    """Decodes an option.

    Args:
        inner: decodes the content.
        skip: passes over a content that `inner` does not accept; None if it accepts all.
        wrapped: whether a content is given as a one-tuple.
    """

    def decode_opt(reader: Reader) -> Any:
        present = reader.byte()
        if present == 0:
            return None
        if present != 1:
            reader.pos -= 1
            raise reader.error(f"byte {present} does not begin an option")
        start = reader.pos
        try:
            value = inner(reader)
        except Mismatch:
            assert skip is not None
            reader.pos = start
            skip(reader)
            return None
        return (value,) if wrapped else value

    return decode_opt


def _or_null(inner: _Decoder, skip: _Decoder) -> _Decoder:
    def decode_or_null(reader: Reader) -> Any:
        start = reader.pos
        try:
            return inner(reader)
        except Mismatch:
            reader.pos = start
            skip(reader)
            return None

    return decode_or_null


def _decode_record(template: dict[str | int, Any], plan: list[tuple[str | int | None, _Decoder]]) -> _Decoder:
    cost = len(template) + len(plan) + 1

    def decode_record(reader: Reader) -> dict[str | int, Any]:
        reader.charge(cost)
        value = template.copy()
        for label, decoder in plan:
            if label is None:
                decoder(reader)
            else:
                value[label] = decoder(reader)
        return value

    return decode_record


def _decode_tuple(template: dict[str | int, Any], plan: list[tuple[str | int | None, _Decoder]]) -> _Decoder:
    decode_record = _decode_record(template, plan)

    def decode_tuple(reader: Reader) -> tuple[Any, ...]:
        return tuple(decode_record(reader).values())

    return decode_tuple


def _decode_variant(cases: list[tuple[str | int, _Decoder]]) -> _Decoder:
    def decode_variant(reader: Reader) -> dict[str | int, Any]:
        index = reader.size()
        if index >= len(cases):
            raise reader.error(f"tag number {index} of a variant with {len(cases)} tags")
        label, decoder = cases[index]
        return {label: decoder(reader)}

    return decode_variant


_PRIM_DECODERS: dict[Prim, _Decoder] = {
    NULL: _decode_null,
    BOOL: _decode_bool,
    NAT: Reader.leb128,
    INT: Reader.sleb128,
    TEXT: Reader.text,
    RESERVED: _decode_null,
    EMPTY: _decode_empty,
    **{type_: _decode_fixed(type_) for type_ in STRUCT_CODES},
}
