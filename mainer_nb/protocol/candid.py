"""Candid, the interface language of canisters: its types and its binary format (dfinity/candid, spec/Candid.md).

    >>> greeting = record({"name": TEXT, "age": Opt(NAT8)})
    >>> data = encode([greeting], [{"name": "Ada", "age": 36}])
    >>> decode([greeting], data)
    [{'name': 'Ada', 'age': 36}]

Candid values as Python values, in both directions unless said otherwise:

| Candid                    | Python                                                                              |
|---------------------------|-------------------------------------------------------------------------------------|
| null, reserved            | None (any value is accepted for reserved)                                           |
| bool, text                | bool, str                                                                           |
| nat, int, nat8 ... int64  | int                                                                                 |
| float32, float64          | float (int is accepted)                                                             |
| principal, service        | bytes, or what `decode(principal=...)` makes of them; accepted: bytes, the text form, |
|                           | an object whose `bytes` are the principal (ic-py's Principal)                       |
| func                      | (principal, method name)                                                            |
| vec nat8                  | bytes (any bytes-like object, or a list of int, is accepted)                        |
| vec t                     | list (any sequence or iterable but str and dict is accepted)                        |
| opt t                     | None or the value; if t is itself opt, null or reserved: None or a one-tuple, so    |
|                           | that `opt null` and `null` differ (a list of one is accepted too)                   |
| record {0: a; 1: b; ...}  | tuple (a list or a dict with int keys is accepted)                                  |
| other records             | dict; a field without a name has its number as key; absent opt fields may be left out |
| variant                   | {tag: value}; for a null tag `{tag: None}` (the tag alone is accepted)              |

Whatever is wrong with a value or with bytes raises `CandidError`.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

from . import principal as principals


class CandidError(ValueError):
    """Bytes that are not Candid of the expected type, or a Python value that does not fit its Candid type.

    The text says where: the byte offset when decoding, the path to the value (`argument 1 .settings[2]`) when encoding.
    """


# Types ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prim:
    """A primitive type; use the constants NULL, BOOL, NAT, ... below."""

    name: str
    opcode: int

    def __str__(self) -> str:
        return self.name


NULL = Prim("null", -1)
BOOL = Prim("bool", -2)
NAT = Prim("nat", -3)
INT = Prim("int", -4)
NAT8 = Prim("nat8", -5)
NAT16 = Prim("nat16", -6)
NAT32 = Prim("nat32", -7)
NAT64 = Prim("nat64", -8)
INT8 = Prim("int8", -9)
INT16 = Prim("int16", -10)
INT32 = Prim("int32", -11)
INT64 = Prim("int64", -12)
FLOAT32 = Prim("float32", -13)
FLOAT64 = Prim("float64", -14)
TEXT = Prim("text", -15)
RESERVED = Prim("reserved", -16)
EMPTY = Prim("empty", -17)
PRINCIPAL = Prim("principal", -24)

PRIMS = {
    prim.name: prim
    for prim in (
        *(NULL, BOOL, NAT, INT, NAT8, NAT16, NAT32, NAT64, INT8, INT16, INT32, INT64),
        *(FLOAT32, FLOAT64, TEXT, RESERVED, EMPTY, PRINCIPAL),
    )
}
_PRIM_OF_OPCODE = {prim.opcode: prim for prim in PRIMS.values()}
_OPT, _VEC, _RECORD, _VARIANT, _FUNC, _SERVICE = range(-18, -24, -1)

_ANNOTATIONS = {1: "query", 2: "oneway", 3: "composite_query"}
_ANNOTATION_CODES = {name: code for code, name in _ANNOTATIONS.items()}


@dataclass(frozen=True)
class Opt:
    of: Type

    def __str__(self) -> str:
        return f"opt {self.of}"


@dataclass(frozen=True)
class Vec:
    of: Type

    def __str__(self) -> str:
        return "blob" if self.of == NAT8 else f"vec {self.of}"


@dataclass(frozen=True)
class Field:
    """A field of a record or a tag of a variant; its label is a name, or a number where no name is known."""

    label: str | int
    type: Type
    id: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", field_hash(self.label) if isinstance(self.label, str) else self.label)

    def __str__(self) -> str:
        return f"{_label_text(self.label)} : {self.type}"


@dataclass(frozen=True)
class Record:
    """Fields in the order of declaration, which is also the order of the keys of decoded records."""

    fields: tuple[Field, ...] = ()

    def __str__(self) -> str:
        fields = [str(f.type) for f in self.fields] if _is_tuple(self) else [str(f) for f in self.fields]
        return f"record {{ {'; '.join(fields)} }}" if fields else "record {}"


@dataclass(frozen=True)
class Variant:
    fields: tuple[Field, ...] = ()

    def __str__(self) -> str:
        fields = [_label_text(f.label) if f.type == NULL else str(f) for f in self.fields]
        return f"variant {{ {'; '.join(fields)} }}" if fields else "variant {}"


@dataclass(frozen=True)
class Func:
    """A function type; `modes` holds any of "query", "oneway", "composite_query"."""

    args: tuple[Type, ...] = ()
    results: tuple[Type, ...] = ()
    modes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"func {self.signature()}"

    def signature(self) -> str:
        args, results = (", ".join(map(str, types)) for types in (self.args, self.results))
        return " ".join([f"({args}) -> ({results})", *self.modes])


@dataclass(frozen=True)
class Service:
    """A service type: method names with their function types (`Func`, or a `Rec` of one)."""

    methods: tuple[tuple[str, Type], ...] = ()

    def __str__(self) -> str:
        return f"service {{ {'; '.join(f'{_label_text(name)} : {type_}' for name, type_ in self.methods)} }}"


@dataclass(frozen=True)
class Future:
    """A type of a later version of Candid: its values can be skipped, not understood. Found in messages only."""

    opcode: int

    def __str__(self) -> str:
        return f"future type {self.opcode}"


class Rec:
    """A type known by name, for recursion: make it, use it in its own definition, then `define` it.

    >>> tree = Rec("Tree")
    >>> tree.define(variant({"leaf": NAT, "fork": record([tree, tree])}))
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._definition: Type | None = None

    def define(self, definition: Type) -> None:
        if self._definition is not None:
            raise CandidError(f"type {self.name} is defined twice")
        self._definition = definition

    def resolve(self) -> Type:
        """What the name stands for; never a `Rec` itself."""
        seen = [self]
        while True:
            definition = seen[-1]._definition
            if definition is None:
                raise CandidError(f"type {seen[-1].name} is not defined")
            if not isinstance(definition, Rec):
                return definition
            if definition in seen:
                raise CandidError(f"type {self.name} is only defined as itself")
            seen.append(definition)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Rec({self.name!r})"


Type = Prim | Opt | Vec | Record | Variant | Func | Service | Future | Rec

BLOB = Vec(NAT8)


def record(fields: Mapping[str, Type] | Mapping[int, Type] | Sequence[Type]) -> Record:
    """`record({"a": NAT, "b": TEXT})`, or of a sequence of types the tuple `record {0 : ...; 1 : ...}`."""
    items: Iterable[tuple[str | int, Type]] = fields.items() if isinstance(fields, Mapping) else enumerate(fields)
    return Record(tuple(_distinct([Field(label, type_) for label, type_ in items], "record")))


def variant(tags: Mapping[str, Type] | Mapping[int, Type] | Sequence[str]) -> Variant:
    """`variant({"Ok": NAT, "Err": TEXT})`, or of a sequence of names the variant with these tags of type null."""
    items: Iterable[tuple[str | int, Type]] = tags.items() if isinstance(tags, Mapping) else ((t, NULL) for t in tags)
    return Variant(tuple(_distinct([Field(label, type_) for label, type_ in items], "variant")))


def _distinct(fields: list[Field], what: str) -> list[Field]:
    seen: dict[int, Field] = {}
    for f in fields:
        if f.id in seen:
            raise CandidError(f"{what}: the labels {seen[f.id].label} and {f.label} have the same id {f.id}")
        seen[f.id] = f
    return fields


def field_hash(name: str) -> int:
    """The number that stands for a field name in messages (spec, "Symbolic Field Ids")."""
    value = 0
    for byte in name.encode():
        value = (value * 223 + byte) & 0xFFFFFFFF
    return value


def _label_text(label: str | int) -> str:
    if isinstance(label, int) or (label.isascii() and label.isidentifier() and label not in KEYWORDS):
        return str(label)
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'


KEYWORDS = {
    *("import", "service", "func", "type", "opt", "vec", "record", "variant", "blob"),
    *("query", "oneway", "composite_query", *PRIMS),
}


def resolve(type_: Type) -> Type:
    """The type itself, whatever it is called."""
    return type_.resolve() if isinstance(type_, Rec) else type_


def _sorted(fields: tuple[Field, ...]) -> list[Field]:
    return sorted(fields, key=operator.attrgetter("id"))


def _is_tuple(type_: Record) -> bool:
    return bool(type_.fields) and [f.label for f in _sorted(type_.fields)] == list(range(len(type_.fields)))


def _some_is_wrapped(opt: Opt) -> bool:
    """Whether a present value of this option is shown as a one-tuple because None may be its content."""
    inner = resolve(opt.of)
    return isinstance(inner, Opt) or inner in (NULL, RESERVED)


def _may_be_absent(type_: Type) -> bool:
    """Whether a record may lack a field (or a message an argument) of this type: `opt empty <: type`."""
    type_ = resolve(type_)
    return isinstance(type_, Opt) or type_ == RESERVED


# LEB128 -----------------------------------------------------------------------------------------------------------


def leb128(value: int) -> bytes:
    """The unsigned LEB128 form of `value` >= 0; linear in its length."""
    if value < 0x80:
        return bytes((value,))
    return _leb128_digits(value, (value.bit_length() + 6) // 7)


def sleb128(value: int) -> bytes:
    """The signed LEB128 form of `value`; linear in its length."""
    if -0x40 <= value < 0x40:
        return bytes((value & 0x7F,))
    magnitude = value if value >= 0 else ~value
    return _leb128_digits(value, magnitude.bit_length() // 7 + 1)


_SHIFTS = range(0, 56, 7)


def _leb128_digits(value: int, count: int) -> bytes:
    groups = (count + 7) // 8  # of 8 digits, which are 56 bits or 7 bytes
    whole = (value & ((1 << 56 * groups) - 1)).to_bytes(7 * groups, "little")
    digits = bytearray()
    for start in range(0, 7 * groups, 7):
        group = int.from_bytes(whole[start : start + 7], "little")
        digits += bytes([(group >> shift) & 0x7F | 0x80 for shift in _SHIFTS])
    del digits[count:]
    digits[-1] &= 0x7F
    return bytes(digits)


def _leb128_value(digits: bytes) -> int:
    """The unsigned number with these LEB128 digits."""
    groups = []
    for start in range(0, len(digits), 8):
        group = 0
        for shift, digit in enumerate(digits[start : start + 8]):
            group |= (digit & 0x7F) << 7 * shift
        groups.append(group.to_bytes(7, "little"))
    return int.from_bytes(b"".join(groups), "little")


def read_leb128(digits: bytes) -> int:
    """The number that `digits` are the unsigned LEB128 form of; raises `CandidError`."""
    if not digits or digits[-1] & 0x80 or any(digit < 0x80 for digit in digits[:-1]):
        raise CandidError(f"not an LEB128 number: {digits[:20].hex()}")
    return _leb128_value(digits)


# Encoding ---------------------------------------------------------------------------------------------------------


class _BadValue(Exception):
    """A Python value that does not fit; collects the path to it on the way out, innermost step first."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.path: list[str] = []


_Encoder = Callable[[bytearray, Any], None]


def encode(types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """The message that carries `values`, one for each of `types` (a method's arguments or results)."""
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
    table = _TypeTable()
    references = b"".join(table.reference(type_) for type_ in types)
    header = b"DIDL" + leb128(len(table.entries)) + b"".join(table.entries) + leb128(len(types)) + references
    compiler = _EncoderCompiler()
    return header, [compiler.encoder(type_) for type_ in types]


class _TypeTable:
    """Collects the type definitions of a message, each structure once."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self._index: dict[Type, int] = {}

    def reference(self, type_: Type) -> bytes:
        type_ = resolve(type_)
        if isinstance(type_, Prim):
            return sleb128(type_.opcode)
        index = self._index.get(type_)
        if index is None:
            index = self._index[type_] = len(self.entries)
            self.entries.append(b"")
            self.entries[index] = self._definition(type_)
        return sleb128(index)

    def _definition(self, type_: Type) -> bytes:
        match type_:
            case Opt(of):
                return sleb128(_OPT) + self.reference(of)
            case Vec(of):
                return sleb128(_VEC) + self.reference(of)
            case Record(fields):
                return sleb128(_RECORD) + self._fields(fields)
            case Variant(fields):
                return sleb128(_VARIANT) + self._fields(fields)
            case Func(args, results, modes):
                return sleb128(_FUNC) + self._list(args) + self._list(results) + self._modes(modes)
            case Service(methods):
                by_name = sorted((name.encode(), type_) for name, type_ in methods)
                entries = (leb128(len(name)) + name + self.reference(type_) for name, type_ in by_name)
                return sleb128(_SERVICE) + leb128(len(by_name)) + b"".join(entries)
        raise CandidError(f"{type_} cannot be encoded")

    def _fields(self, fields: tuple[Field, ...]) -> bytes:
        entries = (leb128(f.id) + self.reference(f.type) for f in _sorted(fields))
        return leb128(len(fields)) + b"".join(entries)

    def _list(self, types: tuple[Type, ...]) -> bytes:
        return leb128(len(types)) + b"".join(map(self.reference, types))

    def _modes(self, modes: tuple[str, ...]) -> bytes:
        return leb128(len(modes)) + bytes(_ANNOTATION_CODES[mode] for mode in modes)


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
                return _encode_record(type_, [(f, self.encoder(f.type)) for f in _sorted(type_.fields)])
            case Variant():
                return _encode_variant(type_, [(f, self.encoder(f.type)) for f in _sorted(type_.fields)])
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
            value = principals.from_text(value)
        except ValueError as error:
            raise _BadValue(f"expected principal: {error}") from None
    octets = value if isinstance(value, (bytes, bytearray)) else getattr(value, "bytes", None)
    if not isinstance(octets, (bytes, bytearray)):
        _expected(PRINCIPAL, value)
    if len(octets) > principals.MAX_LENGTH:
        raise _BadValue(f"expected principal, at most {principals.MAX_LENGTH} bytes, got {len(octets)} bytes")
    out += bytes((1, len(octets)))
    out += octets


def _encode_func(out: bytearray, value: Any) -> None:
    if not (isinstance(value, (tuple, list)) and len(value) == 2):
        _expected("func as (principal, method name)", value)
    out.append(1)
    _encode_principal(out, value[0])
    _encode_text(out, value[1])


_FORMATS = dict(
    zip((NAT8, NAT16, NAT32, NAT64, INT8, INT16, INT32, INT64, FLOAT32, FLOAT64), "BHIQbhiqfd", strict=True)
)


def _encode_fixed(type_: Prim) -> _Encoder:
    pack = struct.Struct("<" + _FORMATS[type_]).pack
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
    code = _FORMATS.get(inner) if isinstance(inner, Prim) else None

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
    wrapped = _some_is_wrapped(opt)

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
    plan = [(f.label, encoder, _may_be_absent(f.type)) for f, encoder in fields]
    labels = {f.label for f, _ in fields}
    names = ", ".join(str(f.label) for f in type_.fields)
    as_tuple = _is_tuple(type_)

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
        for label, encoder, may_be_absent in plan:
            try:
                if label in value:
                    encoder(out, value[label])
                elif may_be_absent:
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
    **{type_: _encode_fixed(type_) for type_ in _FORMATS},
}


# Decoding ---------------------------------------------------------------------------------------------------------

_LONGEST_TYPE = 400  # characters of a type in an error
_MAX_TYPES = 10_000  # entries of a message's type table
_FREE_VALUES = 100_000  # how many values, beyond what the length of a message explains, it may make us build


class _Mismatch(CandidError):
    """A well-formed value that is not of the expected type; an enclosing option becomes null.

    What is wrong is put into words only when somebody asks: types may be long, and mismatches many.
    """

    def __init__(self, pos: int, wire: object, expected: object, why: str) -> None:
        super().__init__(pos, wire, expected, why)

    def __str__(self) -> str:
        pos, wire, expected, why = self.args
        return f"at byte {pos}: expected {_brief(expected)}{why}, the message has {_brief(wire)}"


def _brief(what: object) -> str:
    text = str(what)
    return text if len(text) <= _LONGEST_TYPE else f"{text[:_LONGEST_TYPE]} ..."


class _Reader:
    """A message and the place reached in it. `fuel` bounds the work that few bytes can ask for."""

    __slots__ = ("data", "fuel", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.fuel = _FREE_VALUES + 4 * len(data)

    def error(self, message: str) -> CandidError:
        return CandidError(f"not a valid Candid message: at byte {self.pos}: {message}")

    def mismatch(self, wire: object, expected: object, why: str = "") -> _Mismatch:
        return _Mismatch(self.pos, wire, expected, why)

    def charge(self, values: int) -> None:
        self.fuel -= values
        if self.fuel < 0:
            raise self.error(f"it would unfold to more values than its {len(self.data)} bytes justify")

    def byte(self) -> int:
        try:
            value = self.data[self.pos]
        except IndexError:
            raise self.error("it ends too early") from None
        self.pos += 1
        return value

    def take(self, length: int) -> bytes:
        end = self.pos + length
        if end > len(self.data):
            raise self.error(f"{length} bytes are announced, {len(self.data) - self.pos} are left")
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def _digits(self) -> bytes:
        """The LEB128 digits from here on."""
        data, end = self.data, self.pos
        try:
            while data[end] & 0x80:
                end += 1
        except IndexError:
            raise self.error("it ends within a number") from None
        digits = data[self.pos : end + 1]
        self.pos = end + 1
        return digits

    def leb128(self) -> int:
        pos = self.pos
        if pos < len(self.data) and (value := self.data[pos]) < 0x80:
            self.pos = pos + 1
            return value
        return _leb128_value(self._digits())

    def sleb128(self) -> int:
        pos = self.pos
        if pos < len(self.data) and (value := self.data[pos]) < 0x80:
            self.pos = pos + 1
            return value - 0x80 if value & 0x40 else value
        digits = self._digits()
        value = _leb128_value(digits)
        return value - (1 << 7 * len(digits)) if digits[-1] & 0x40 else value

    def size(self) -> int:
        """A count, a length, an index or an id: what is no value, and takes 64 bits at most."""
        return self._short(self.leb128())

    def opcode(self) -> int:
        """A type: an opcode, or an entry of the type table."""
        return self._short(self.sleb128())

    def _short(self, number: int) -> int:
        if number.bit_length() > 64:
            raise self.error(f"a number of {number.bit_length()} bits, at most 64 are accepted here")
        return number

    def text(self) -> str:
        start = self.pos
        octets = self.take(self.size())
        try:
            return octets.decode()
        except UnicodeDecodeError as error:
            self.pos = start
            raise self.error(f"the text is not UTF-8: {error.reason}") from None

    def count(self, what: str) -> int:
        """A number of things that take at least a byte each."""
        number = self.size()
        if number > len(self.data) - self.pos:
            raise self.error(f"{number} {what} are announced, {len(self.data) - self.pos} bytes are left")
        self.charge(number)
        return number


_Decoder = Callable[[_Reader], Any]


def decode(types: Sequence[Type] | None, data: bytes, principal: Callable[[bytes], Any] = bytes) -> list[Any]:
    """The values in a message, coerced to the expected `types` by the rules of the spec (section "Decoding").

    With `types` None the values are given as the message's own types describe them, with numbers for field names.
    `principal` turns the bytes of each principal into what the caller works with.
    Raises `CandidError`, also for messages nested more deeply than Python's recursion limit bears (some 400 levels).
    """
    reader = _Reader(bytes(data))
    try:
        values = list(_decode_arguments(reader, _read_head(reader, None if types is None else tuple(types), principal)))
    except RecursionError:
        raise CandidError("the Candid message is nested too deeply") from None
    if reader.pos != len(reader.data):
        raise reader.error(f"{len(reader.data) - reader.pos} bytes follow the last value")
    return values


def types(data: bytes) -> list[Type]:
    """The types of the values in a message, as the message itself describes them; raises `CandidError`."""
    reader = _Reader(bytes(data))
    table = _read_type_table(reader)
    return [_read_reference(reader, table) for _ in range(reader.count("arguments"))]


@dataclass(frozen=True)
class _Head:
    """What messages begin with that hold values of the same types, and how those are decoded.

    `used`: reader's fuel that reading it takes; `absent`: how many expected arguments such messages lack.
    """

    octets: bytes
    used: int
    decoders: tuple[tuple[_Decoder, bool], ...]  # and whether the value is expected
    absent: int


_HEADS_KEPT = 16  # of each sequence of expected types
_LONGEST_HEAD_KEPT = 4096  # bytes


@lru_cache(maxsize=512)
def _heads(types: tuple[Type, ...] | None, principal: Callable[[bytes], Any]) -> dict[bytes, _Head]:
    """The heads of messages that were decoded as `types`: a program's messages of one method begin all the same."""
    return {}


def _read_head(reader: _Reader, types: tuple[Type, ...] | None, principal: Callable[[bytes], Any]) -> _Head:
    """Reads up to the first value."""
    known = _heads(types, principal)
    for head in tuple(known.values()):
        if reader.data.startswith(head.octets):
            reader.pos = len(head.octets)
            reader.fuel -= head.used
            return head
    fuel = reader.fuel
    table = _read_type_table(reader)
    wire_types = [_read_reference(reader, table) for _ in range(reader.count("arguments"))]
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
        if not _may_be_absent(type_):
            raise CandidError(f"argument {number} of type {type_} is missing in the message")
    decoders = [(compiler.decoder(wire, type_), True) for wire, type_ in zip(wire_types, expected, strict=False)]
    decoders += [(compiler.decoder(wire, None), False) for wire in wire_types[len(expected) :]]
    return tuple(decoders), max(0, len(types or ()) - len(wire_types))


def _decode_arguments(reader: _Reader, head: _Head) -> Iterator[Any]:
    for number, (decode_value, is_expected) in enumerate(head.decoders, 1):
        try:
            value = decode_value(reader)
        except _Mismatch as mismatch:
            raise CandidError(f"argument {number}: {mismatch}") from None
        if is_expected:
            yield value
    yield from [None] * head.absent


def _read_type_table(reader: _Reader) -> list[Rec]:
    if reader.data[:4] != b"DIDL":
        raise reader.error("it does not begin with DIDL")
    reader.pos = 4
    length = reader.count("types")
    if length > _MAX_TYPES:
        raise reader.error(f"{length} types are announced, at most {_MAX_TYPES} are accepted")
    table = [Rec(f"table{index}") for index in range(length)]
    for entry in table:
        entry.define(_read_definition(reader, table))
    for entry in table:
        definition = entry.resolve()
        if isinstance(definition, Service):
            for name, method in definition.methods:
                if not isinstance(resolve(method), Func):
                    raise reader.error(f"the type of method {name!r} is not a function")
    return table


def _read_reference(reader: _Reader, table: list[Rec]) -> Type:
    code = reader.opcode()
    if 0 <= code < len(table):
        return table[code]
    if code in _PRIM_OF_OPCODE:
        return _PRIM_OF_OPCODE[code]
    raise reader.error(f"{code} is neither a primitive type nor an entry of the type table")


def _read_definition(reader: _Reader, table: list[Rec]) -> Type:
    opcode = reader.opcode()
    match opcode:
        case -18:
            return Opt(_read_reference(reader, table))
        case -19:
            return Vec(_read_reference(reader, table))
        case -20:
            return Record(_read_fields(reader, table))
        case -21:
            return Variant(_read_fields(reader, table))
        case -22:
            args = tuple(_read_reference(reader, table) for _ in range(reader.count("arguments")))
            results = tuple(_read_reference(reader, table) for _ in range(reader.count("results")))
            return Func(args, results, tuple(_read_annotation(reader) for _ in range(reader.count("annotations"))))
        case -23:
            return Service(_read_methods(reader, table))
    if opcode >= -24:
        raise reader.error(f"{opcode} does not begin a type definition")
    reader.take(reader.size())
    return Future(opcode)


def _read_fields(reader: _Reader, table: list[Rec]) -> tuple[Field, ...]:
    fields = []
    previous = -1
    for _ in range(reader.count("fields")):
        number = reader.size()
        if not previous < number < 1 << 32:
            raise reader.error(f"field {number} after field {previous}: ids must ascend and be below 2^32")
        previous = number
        fields.append(Field(number, _read_reference(reader, table)))
    return tuple(fields)


def _read_annotation(reader: _Reader) -> str:
    code = reader.byte()
    if code not in _ANNOTATIONS:
        raise reader.error(f"{code} is no function annotation")
    return _ANNOTATIONS[code]


def _read_methods(reader: _Reader, table: list[Rec]) -> tuple[tuple[str, Type], ...]:
    methods: list[tuple[str, Type]] = []
    for _ in range(reader.count("methods")):
        name = reader.text()
        if methods and methods[-1][0].encode() >= name.encode():
            raise reader.error(f"method {name!r} after {methods[-1][0]!r}: method names must ascend")
        methods.append((name, _read_reference(reader, table)))
    return tuple(methods)


class _DecoderCompiler:
    """Makes the decoder of a pair of types: the message's and the expected one (None: whatever comes).

    Each pair is made once, so that recursion ends. Pairs that never match get a decoder that raises `_Mismatch`,
    because they may never be reached: in an empty vector, in another tag.
    """

    def __init__(self, principal: Callable[[bytes], Any]) -> None:
        self._principal = principal
        self._done: dict[tuple[int, int], _Decoder] = {}
        self._subtypes: dict[tuple[int, int], bool] = {}

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
                return _decode_opt(self.decoder(wire.of, None), None, _some_is_wrapped(wire))
            case Opt(), Opt():
                skip = self.decoder(wire.of, None)
                return _decode_opt(self.decoder(wire.of, expected.of), skip, _some_is_wrapped(expected))
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

    def _decode_principal(self, reader: _Reader) -> Any:
        if reader.byte() != 1:
            reader.pos -= 1
            raise reader.error("a principal must begin with byte 1 (opaque references are not supported)")
        length = reader.size()
        if length > principals.MAX_LENGTH:
            raise reader.error(f"a principal of {length} bytes, at most {principals.MAX_LENGTH} are allowed")
        return self._principal(reader.take(length))

    def _decode_func(self, reader: _Reader) -> Any:
        if reader.byte() != 1:
            reader.pos -= 1
            raise reader.error("a function must begin with byte 1 (opaque references are not supported)")
        return self._decode_principal(reader), reader.text()

    def _opt_of_other(self, wire: Type, expected: Opt) -> _Decoder:
        skip = self.decoder(wire, None)
        if wire in (NULL, RESERVED) or _some_is_wrapped(expected):
            return _decode_and_drop(skip)
        return _or_null(self.decoder(wire, expected.of), skip)

    def _vec(self, wire: Vec, expected: Type | None) -> _Decoder:
        inner = resolve(wire.of)
        if isinstance(inner, Prim) and inner in _FORMATS and (expected is None or resolve(expected) == inner):
            return _decode_blob if inner == NAT8 else _decode_fixed_vec(inner)
        takes_bytes = not isinstance(inner, Record) and inner not in (NULL, RESERVED, EMPTY)
        return _decode_vec(self.decoder(inner, expected), takes_bytes)

    def _record(self, wire: Record, expected: Record) -> _Decoder:
        wanted = {f.id: f for f in expected.fields}
        known = {f.id for f in wire.fields}
        for f in expected.fields:
            if f.id not in known and not _may_be_absent(f.type):
                return _never(wire, expected, f"; field {f.label} is missing")
        plan: list[tuple[str | int | None, _Decoder]] = []
        for f in wire.fields:  # _read_fields has them in order
            target = wanted.get(f.id)
            if target is None:
                plan.append((None, self.decoder(f.type, None)))
            else:
                plan.append((target.label, self.decoder(f.type, None if wire is expected else target.type)))
        template: dict[str | int, Any] = {f.label: None for f in expected.fields}
        if _is_tuple(expected):
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
    def decode_never(reader: _Reader) -> NoReturn:
        raise reader.mismatch(wire, expected, why)

    return decode_never


def _decode_and_drop(decoder: _Decoder) -> _Decoder:
    def decode_and_drop(reader: _Reader) -> None:
        decoder(reader)

    return decode_and_drop


def _skip_future(reader: _Reader) -> None:
    length, references = reader.size(), reader.size()
    if references:
        raise reader.error("opaque references are not supported")
    reader.take(length)


def _decode_null(reader: _Reader) -> None:
    return None


def _decode_empty(reader: _Reader) -> NoReturn:
    raise reader.error("type empty has no values")


def _decode_bool(reader: _Reader) -> bool:
    value = reader.byte()
    if value > 1:
        reader.pos -= 1
        raise reader.error(f"byte {value} is no bool")
    return value == 1


def _decode_fixed(type_: Prim) -> _Decoder:
    format_ = struct.Struct("<" + _FORMATS[type_])
    unpack, size = format_.unpack_from, format_.size

    def decode_fixed(reader: _Reader) -> Any:
        try:
            (value,) = unpack(reader.data, reader.pos)
        except struct.error:
            raise reader.error(f"it ends within a {type_}") from None
        reader.pos += size
        return value

    return decode_fixed


def _decode_blob(reader: _Reader) -> bytes:
    return reader.take(reader.size())


def _decode_fixed_vec(type_: Prim) -> _Decoder:
    code = _FORMATS[type_]
    size = struct.calcsize("<" + code)

    def decode_fixed_vec(reader: _Reader) -> list[Any]:
        length = reader.size()
        return list(struct.unpack(f"<{length}{code}", reader.take(length * size)))

    return decode_fixed_vec


def _decode_vec(element: _Decoder, takes_bytes: bool) -> _Decoder:
    def decode_vec(reader: _Reader) -> list[Any]:
        if takes_bytes:
            length = reader.count("elements")
        else:
            length = reader.size()
            reader.charge(length)
        return [element(reader) for _ in range(length)]

    return decode_vec


def _decode_opt(inner: _Decoder, skip: _Decoder | None, wrapped: bool) -> _Decoder:
    """`skip` passes over a value that `inner` does not accept; None if it accepts all."""

    def decode_opt(reader: _Reader) -> Any:
        present = reader.byte()
        if present == 0:
            return None
        if present != 1:
            reader.pos -= 1
            raise reader.error(f"byte {present} does not begin an option")
        start = reader.pos
        try:
            value = inner(reader)
        except _Mismatch:
            assert skip is not None
            reader.pos = start
            skip(reader)
            return None
        return (value,) if wrapped else value

    return decode_opt


def _or_null(inner: _Decoder, skip: _Decoder) -> _Decoder:
    def decode_or_null(reader: _Reader) -> Any:
        start = reader.pos
        try:
            return inner(reader)
        except _Mismatch:
            reader.pos = start
            skip(reader)
            return None

    return decode_or_null


def _decode_record(template: dict[str | int, Any], plan: list[tuple[str | int | None, _Decoder]]) -> _Decoder:
    cost = len(template) + len(plan) + 1

    def decode_record(reader: _Reader) -> dict[str | int, Any]:
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

    def decode_tuple(reader: _Reader) -> tuple[Any, ...]:
        return tuple(decode_record(reader).values())

    return decode_tuple


def _decode_variant(cases: list[tuple[str | int, _Decoder]]) -> _Decoder:
    def decode_variant(reader: _Reader) -> dict[str | int, Any]:
        index = reader.size()
        if index >= len(cases):
            raise reader.error(f"tag number {index} of a variant with {len(cases)} tags")
        label, decoder = cases[index]
        return {label: decoder(reader)}

    return decode_variant


_PRIM_DECODERS: dict[Prim, _Decoder] = {
    NULL: _decode_null,
    BOOL: _decode_bool,
    NAT: _Reader.leb128,
    INT: _Reader.sleb128,
    TEXT: _Reader.text,
    RESERVED: _decode_null,
    EMPTY: _decode_empty,
    **{type_: _decode_fixed(type_) for type_ in _FORMATS},
}


# Subtyping --------------------------------------------------------------------------------------------------------


def is_subtype(type_: Type, of: Type, assumed: dict[tuple[int, int], bool] | None = None) -> bool:
    """Whether every value of `type_` can be used where `of` is expected (spec, section "Rules").

    `assumed` remembers pairs that were or are being compared; pass one to share work as long as its types live.
    """
    assumed = {} if assumed is None else assumed
    sub, sup = resolve(type_), resolve(of)
    if sub is sup or sup == RESERVED or sub == EMPTY or isinstance(sup, Opt):
        return True
    key = (id(sub), id(sup))
    if key not in assumed:
        assumed[key] = True
        assumed[key] = _is_subtype_by_structure(sub, sup, assumed)
    return assumed[key]


def _is_subtype_by_structure(sub: Type, sup: Type, assumed: dict[tuple[int, int], bool]) -> bool:
    match sub, sup:
        case Prim(), Prim():
            return sub == sup or (sub, sup) == (NAT, INT)
        case Vec(), Vec():
            return is_subtype(sub.of, sup.of, assumed)
        case Record(), Record():
            present = {f.id: f.type for f in sub.fields}
            return all(
                is_subtype(present[f.id], f.type, assumed) if f.id in present else _may_be_absent(f.type)
                for f in sup.fields
            )
        case Variant(), Variant():
            tags = {f.id: f.type for f in sup.fields}
            return all(f.id in tags and is_subtype(f.type, tags[f.id], assumed) for f in sub.fields)
        case Func(), Func():
            return (
                set(sub.modes) == set(sup.modes)
                and _is_subsequence_type(sup.args, sub.args, assumed)
                and _is_subsequence_type(sub.results, sup.results, assumed)
            )
        case Service(), Service():
            methods = dict(sub.methods)
            return all(name in methods and is_subtype(methods[name], method, assumed) for name, method in sup.methods)
        case Service(), Prim():
            return sup == PRINCIPAL
    return False


def _is_subsequence_type(sub: tuple[Type, ...], sup: tuple[Type, ...], assumed: dict[tuple[int, int], bool]) -> bool:
    return all(is_subtype(sub[i], t, assumed) if i < len(sub) else _may_be_absent(t) for i, t in enumerate(sup))
