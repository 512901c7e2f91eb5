"""The types of Candid, as Python values (spec, "Core Grammar")."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class CandidError(ValueError):
    """Bytes that are not Candid of the expected type, or a Python value that does not fit its Candid type.

    The text says where: the byte offset when decoding, the path to the value (`argument 1 .settings[2]`) when encoding.
    """


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
FLOATS = (FLOAT32, FLOAT64)
INTEGERS = (NAT, INT, NAT8, NAT16, NAT32, NAT64, INT8, INT16, INT32, INT64)
PRIM_OF_OPCODE = {prim.opcode: prim for prim in PRIMS.values()}


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
        return f"{label_text(self.label)} : {self.type}"


@dataclass(frozen=True)
class Record:
    """Fields in the order of declaration, which is also the order of the keys of decoded records."""

    fields: tuple[Field, ...] = ()

    def __str__(self) -> str:
        fields = [str(f.type) for f in self.fields] if is_tuple(self) else [str(f) for f in self.fields]
        return f"record {{ {'; '.join(fields)} }}" if fields else "record {}"


@dataclass(frozen=True)
class Variant:
    fields: tuple[Field, ...] = ()

    def __str__(self) -> str:
        fields = [label_text(f.label) if f.type == NULL else str(f) for f in self.fields]
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
        return f"service {{ {'; '.join(f'{label_text(name)} : {type_}' for name, type_ in self.methods)} }}"


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
        """What the name stands for; never a `Rec` itself.

        Raises:
            CandidError: the name is not defined, or only as itself.
        """
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


def record(fields: Mapping[Any, Type] | Sequence[Type]) -> Record:
    """A record type.

    Args:
        fields: types by name or number, as `record({"a": NAT, "b": TEXT})`; a sequence of types makes a tuple,
            `record {0 : ...; 1 : ...}`.

    Raises:
        CandidError: two labels have the same id.
    """
    items: Iterable[tuple[str | int, Type]] = fields.items() if isinstance(fields, Mapping) else enumerate(fields)
    return Record(tuple(_distinct([Field(label, type_) for label, type_ in items], "record")))


def variant(tags: Mapping[Any, Type] | Sequence[str]) -> Variant:
    """A variant type.

    Args:
        tags: types by name or number, as `variant({"Ok": NAT, "Err": TEXT})`; a sequence of names makes tags of type
            null.

    Raises:
        CandidError: two tags have the same id.
    """
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


def label_text(label: str | int) -> str:
    if isinstance(label, int) or (label.isascii() and label.isidentifier() and label not in KEYWORDS):
        return str(label)
    return '"' + label.replace("\\", "\\\\").replace('"', '\\"') + '"'


KEYWORDS = {
    *("import", "service", "func", "type", "opt", "vec", "record", "variant", "blob"),
    *("query", "oneway", "composite_query", *PRIMS),
}


def resolve(type_: Type) -> Type:
    """What a named type stands for; other types as they are.

    Raises:
        CandidError: the name is not defined.
    """
    return type_.resolve() if isinstance(type_, Rec) else type_


def by_id(fields: tuple[Field, ...]) -> list[Field]:
    return sorted(fields, key=operator.attrgetter("id"))


def is_tuple(type_: Record) -> bool:
    return bool(type_.fields) and [f.label for f in by_id(type_.fields)] == list(range(len(type_.fields)))


def some_is_wrapped(opt: Opt) -> bool:
    """Whether a present value of this option is shown as a one-tuple because None may be its content."""
    inner = resolve(opt.of)
    return isinstance(inner, Opt) or inner in (NULL, RESERVED)


def may_be_absent(type_: Type) -> bool:
    """Whether a record may lack a field (or a message an argument) of this type: `opt empty <: type`."""
    type_ = resolve(type_)
    return isinstance(type_, Opt) or type_ == RESERVED


#: How values of fixed size are written, as codes of Python's `struct` (little-endian).
STRUCT_CODES = dict(
    zip((NAT8, NAT16, NAT32, NAT64, INT8, INT16, INT32, INT64, FLOAT32, FLOAT64), "BHIQbhiqfd", strict=True)
)
