"""Candid values as JSON, as dfx prints them with `--output json`, so that what reads its output reads ours.

| Candid                        | JSON                                    | also read                          |
|-------------------------------|-----------------------------------------|------------------------------------|
| null, reserved                | null                                    | anything, for reserved             |
| bool, text                    | true or false, text                     |                                    |
| nat, int, nat64, int64        | text of digits, since JSON's numbers    | a whole number                     |
|                               | are exact to 2^53 only                  |                                    |
| nat8 … nat32, int8 … int32    | number                                  | text of digits                     |
| float32, float64              | number, or "NaN", "Infinity", "-Infinity" |                                  |
| principal, service            | text                                    |                                    |
| func                          | {"principal": text, "code": method}     |                                    |
| vec nat8                      | list of numbers                         |                                    |
| vec t                         | list                                    |                                    |
| opt t                         | [] or [value]                           | null; a value that is no list      |
| record                        | object; a field without a name has its  | a list, for records without names; |
|                               | number as key                           | absent opt fields may be left out  |
| variant                       | {tag: value}, {tag: null}               | the tag alone, for a null tag      |
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from .. import principal
from .types import (
    FLOATS,
    INT64,
    INTEGERS,
    NAT8,
    NAT64,
    NULL,
    RESERVED,
    CandidError,
    Func,
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

#: Types whose every value is a number that JSON readers keep exactly.
EXACT = tuple(type_ for type_ in INTEGERS if type_.name[-1].isdigit() and type_ not in (NAT64, INT64))
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json(type_: Type, value: Any) -> Any:
    """What `json.dumps` takes for a Python value of this type."""
    type_ = resolve(type_)
    match type_:
        case Prim() if type_ in INTEGERS:
            return value if type_ in EXACT else str(value)
        case Prim() if type_ in FLOATS and not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Prim() | Service():
            return principal.to_text(value) if isinstance(value, bytes) else value
        case Opt(of):
            content = value[0] if value is not None and some_is_wrapped(type_) else value
            return [] if value is None else [to_json(of, content)]
        case Vec(of):
            return list(value) if resolve(of) == NAT8 else [to_json(of, item) for item in value]
        case Record():
            fields = dict(enumerate(value)) if is_tuple(type_) else value
            return {str(field.label): to_json(field.type, fields[field.label]) for field in type_.fields}
        case Variant():
            ((tag, content),) = value.items()
            (field,) = (field for field in type_.fields if field.label == tag)
            return {str(tag): to_json(field.type, content)}
        case Func():
            address, method = value
            return {"principal": to_json(Service(), address), "code": method}
    raise CandidError(f"{type_} has no form in JSON")


def arguments_from_json(types: Sequence[Type], given: Any) -> list[Any]:
    """Python values of these types: a list in JSON has a value for each of them, anything else is the only one.

    Raises:
        CandidError: there are too few or too many, or one does not fit; the error names the path to it.
    """
    values = given if isinstance(given, list) else [given]
    if len(values) > len(types) or not all(map(may_be_absent, types[len(values) :])):
        expected = ", ".join(map(str, types)) or "none"
        raise CandidError(
            f"{len(types)} arguments are expected ({expected}), {len(values)} are given. "
            "In JSON the list of all arguments is given, [] for none; a list as the only argument is given as [[…]]"
        )
    values = values + [None] * (len(types) - len(values))
    return [
        from_json(type_, value, f"argument {n}") for n, (type_, value) in enumerate(zip(types, values, strict=True), 1)
    ]


def from_json(type_: Type, value: Any, path: str = "the value") -> Any:
    """The Python value of this type for what `json.loads` returned; whether it fits, `encode` checks.

    Args:
        path: what to call the value in errors.

    Raises:
        CandidError: JSON of another form is expected.
    """
    type_ = resolve(type_)
    match type_, value:
        case Prim(), _ if type_ == RESERVED:
            return None
        case Prim(), str() if type_ in INTEGERS:
            if not re.fullmatch(r"-?[0-9](_?[0-9])*", value):
                raise CandidError(f"{path}: expected {type_}, digits only, got {value[:40]!r}")
            return _integer(value, path)
        case Prim(), str() if type_ in FLOATS and value in NOT_FINITE:
            return NOT_FINITE[value]
        case Opt(), None:
            return None
        case Opt(), list():
            if len(value) > 1:
                raise CandidError(f"{path}: expected {type_} as null, [] or a list of one, got {len(value)} values")
            content = [from_json(type_.of, item, f"{path}[0]") for item in value]
            if some_is_wrapped(type_):
                return tuple(content) if content else None
            return content[0] if content else None
        case Opt(), _:
            content = from_json(type_.of, value, path)
            return (content,) if some_is_wrapped(type_) else content
        case Vec(), list():
            return [from_json(type_.of, item, f"{path}[{number}]") for number, item in enumerate(value)]
        case Record(), list() if is_tuple(type_):
            return _from_fields(type_, dict(enumerate(value)), path)
        case Record(), dict():
            return _from_fields(type_, value, path)
        case Variant(), str():
            return _from_fields(type_, {value: None}, path)
        case Variant(), dict():
            return _from_fields(type_, value, path)
        case Func(), {"principal": address, "code": method, **other} if not other:
            return address, method
        case ((Record() | Variant() | Func() | Vec()), _):
            raise CandidError(f"{path}: expected {type_}, got {_called(value)}")
    return value


def _from_fields(type_: Record | Variant, value: dict[Any, Any], path: str) -> dict[str | int, Any]:
    """The fields by their labels; what is no label stays, so that `encode` names it."""
    labels: dict[Any, str | int] = {str(field.label): field.label for field in type_.fields}
    types = {field.label: field.type for field in type_.fields}
    fields = {}
    for key, content in value.items():
        label = labels.get(str(key), key)
        fields[label] = from_json(types.get(label, NULL), content, f"{path}.{key}")
    return fields


def _integer(digits: str, path: str) -> int:
    try:
        return int(digits.replace("_", ""))
    except ValueError:  # Python reads no more digits
        raise CandidError(f"{path}: a number of {len(digits)} digits is too long") from None


def _called(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a bool", type(None): "null"}
    return names.get(type(value), "a number")
