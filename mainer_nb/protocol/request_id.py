"""Representation-independent hashing, which gives request ids (IC interface specification, sections
"Representation-independent hashing of structured data" and "Request ids"), and how requests are signed ("Signatures").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from .leb128 import leb128

_KNOWN_NAMES = {
    name: hashlib.sha256(name.encode()).digest()
    for name in ("request_type", "sender", "canister_id", "method_name", "arg", "ingress_expiry", "nonce", "paths")
}

#: What the signature of a request covers, before its id; of a delegation, before its hash; of sender_info, before it.
REQUEST_DOMAIN = b"\x0aic-request"
DELEGATION_DOMAIN = b"\x1aic-request-auth-delegation"
SENDER_INFO_DOMAIN = b"\x0eic-sender-info"


class HashError(ValueError):
    """A value of a kind that has no hash; the text says which."""


def hash_of_map(content: Mapping[str, Any]) -> bytes:
    """The representation-independent hash of a map; of a request's content, this is the request id.

    Raises:
        HashError: a value is of another kind than blob, text, natural number, array and map.
    """
    pairs = sorted([_name_hash(name) + _hash(value) for name, value in content.items()])
    return hashlib.sha256(b"".join(pairs)).digest()


def _name_hash(name: str) -> bytes:
    return _KNOWN_NAMES.get(name) or hashlib.sha256(name.encode()).digest()


def _hash(value: Any) -> bytes:
    match value:
        case bytes():
            return hashlib.sha256(value).digest()
        case str():
            return hashlib.sha256(value.encode()).digest()
        case int() if value >= 0 and not isinstance(value, bool):
            return hashlib.sha256(leb128(value)).digest()
        case Mapping() if all(isinstance(key, str) for key in value):
            return hash_of_map(value)
        case Sequence():
            return hashlib.sha256(b"".join(map(_hash, value))).digest()
    raise HashError(f"a negative number or a {type(value).__name__}, which has no hash")
