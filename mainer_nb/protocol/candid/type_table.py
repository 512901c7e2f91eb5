"""The type table at the beginning of a message, written and read (spec, "Binary Format", section "Types")."""

from __future__ import annotations

from enum import IntEnum

from ..leb128 import leb128, sleb128
from .reader import Reader
from .types import (
    PRIM_OF_OPCODE,
    PRINCIPAL,
    CandidError,
    Field,
    Func,
    Future,
    Opt,
    Prim,
    Rec,
    Record,
    Service,
    Type,
    Variant,
    Vec,
    by_id,
    resolve,
)

_MAX_TYPES = 10_000  # entries of a message's type table

ANNOTATIONS = {1: "query", 2: "oneway", 3: "composite_query"}
_ANNOTATION_CODES = {name: code for code, name in ANNOTATIONS.items()}


class Opcode(IntEnum):
    OPT = -18
    VEC = -19
    RECORD = -20
    VARIANT = -21
    FUNC = -22
    SERVICE = -23


class TypeTable:
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
                return sleb128(Opcode.OPT) + self.reference(of)
            case Vec(of):
                return sleb128(Opcode.VEC) + self.reference(of)
            case Record(fields):
                return sleb128(Opcode.RECORD) + self._fields(fields)
            case Variant(fields):
                return sleb128(Opcode.VARIANT) + self._fields(fields)
            case Func(args, results, modes):
                return sleb128(Opcode.FUNC) + self._list(args) + self._list(results) + self._modes(modes)
            case Service(methods):
                by_name = sorted((name.encode(), type_) for name, type_ in methods)
                entries = (leb128(len(name)) + name + self.reference(type_) for name, type_ in by_name)
                return sleb128(Opcode.SERVICE) + leb128(len(by_name)) + b"".join(entries)
        raise CandidError(f"{type_} cannot be encoded")

    def _fields(self, fields: tuple[Field, ...]) -> bytes:
        entries = (leb128(f.id) + self.reference(f.type) for f in by_id(fields))
        return leb128(len(fields)) + b"".join(entries)

    def _list(self, types: tuple[Type, ...]) -> bytes:
        return leb128(len(types)) + b"".join(map(self.reference, types))

    def _modes(self, modes: tuple[str, ...]) -> bytes:
        return leb128(len(modes)) + bytes(_ANNOTATION_CODES[mode] for mode in modes)


def read_type_table(reader: Reader) -> list[Rec]:
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


def read_reference(reader: Reader, table: list[Rec]) -> Type:
    code = reader.opcode()
    if 0 <= code < len(table):
        return table[code]
    if code in PRIM_OF_OPCODE:
        return PRIM_OF_OPCODE[code]
    raise reader.error(f"{code} is neither a primitive type nor an entry of the type table")


def _read_definition(reader: Reader, table: list[Rec]) -> Type:
    opcode = reader.opcode()
    match opcode:
        case Opcode.OPT:
            return Opt(read_reference(reader, table))
        case Opcode.VEC:
            return Vec(read_reference(reader, table))
        case Opcode.RECORD:
            return Record(_read_fields(reader, table))
        case Opcode.VARIANT:
            return Variant(_read_fields(reader, table))
        case Opcode.FUNC:
            args = tuple(read_reference(reader, table) for _ in range(reader.count("arguments")))
            results = tuple(read_reference(reader, table) for _ in range(reader.count("results")))
            return Func(args, results, tuple(_read_annotation(reader) for _ in range(reader.count("annotations"))))
        case Opcode.SERVICE:
            return Service(_read_methods(reader, table))
    if opcode >= PRINCIPAL.opcode:
        raise reader.error(f"{opcode} does not begin a type definition")
    reader.take(reader.size())
    return Future(opcode)


def _read_fields(reader: Reader, table: list[Rec]) -> tuple[Field, ...]:
    fields = []
    previous = -1
    for _ in range(reader.count("fields")):
        number = reader.size()
        if not previous < number < 1 << 32:
            raise reader.error(f"field {number} after field {previous}: ids must ascend and be below 2^32")
        previous = number
        fields.append(Field(number, read_reference(reader, table)))
    return tuple(fields)


def _read_annotation(reader: Reader) -> str:
    code = reader.byte()
    if code not in ANNOTATIONS:
        raise reader.error(f"{code} is not a function annotation")
    return ANNOTATIONS[code]


def _read_methods(reader: Reader, table: list[Rec]) -> tuple[tuple[str, Type], ...]:
    methods: list[tuple[str, Type]] = []
    for _ in range(reader.count("methods")):
        name = reader.text()
        if methods and methods[-1][0].encode() >= name.encode():
            raise reader.error(f"method {name!r} after {methods[-1][0]!r}: method names must ascend")
        methods.append((name, read_reference(reader, table)))
    return tuple(methods)
