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

from .decoding import decode, types_of
from .encoding import encode, number_text
from .subtyping import ServiceChange, is_subtype, service_change, why_not
from .types import (
    BLOB,
    BOOL,
    EMPTY,
    FLOAT32,
    FLOAT64,
    INT,
    INT8,
    INT16,
    INT32,
    INT64,
    KEYWORDS,
    NAT,
    NAT8,
    NAT16,
    NAT32,
    NAT64,
    NULL,
    PRIMS,
    PRINCIPAL,
    RESERVED,
    TEXT,
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
    field_hash,
    record,
    resolve,
    variant,
)

__all__ = [
    "BLOB",
    "BOOL",
    "EMPTY",
    "FLOAT32",
    "FLOAT64",
    "INT",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "KEYWORDS",
    "NAT",
    "NAT8",
    "NAT16",
    "NAT32",
    "NAT64",
    "NULL",
    "PRIMS",
    "PRINCIPAL",
    "RESERVED",
    "TEXT",
    "CandidError",
    "Field",
    "Func",
    "Future",
    "Opt",
    "Prim",
    "Rec",
    "Record",
    "Service",
    "ServiceChange",
    "Type",
    "Variant",
    "Vec",
    "decode",
    "encode",
    "field_hash",
    "is_subtype",
    "number_text",
    "record",
    "resolve",
    "service_change",
    "types_of",
    "variant",
    "why_not",
]
