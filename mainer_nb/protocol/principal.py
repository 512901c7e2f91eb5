"""Principals: the identifiers of canisters, users and nodes (IC interface specification, "Principals").

A principal is plain `bytes` of length 0 to 29 everywhere in `mainer_nb`; this module knows its classes and text form.

    >>> to_text(MANAGEMENT)
    'aaaaa-aa'
    >>> from_text("2vxsx-fae") == ANONYMOUS
    True
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from functools import lru_cache

MAX_LENGTH = 29
MANAGEMENT = b""
ANONYMOUS = b"\x04"

_CANISTER_SUFFIX = b"\x01\x01"
_SELF_AUTHENTICATING = 0x02
_CHECKSUM_LENGTH = 4


@lru_cache(maxsize=4096)
def to_text(principal: bytes) -> str:
    """The text form of a principal (section "Textual representation of principals").

    Returns:
        Base32 of the CRC-32 and the bytes, in lower case, in groups of five, such as "2vxsx-fae".

    Raises:
        ValueError: there are more than 29 bytes.
    """
    if len(principal) > MAX_LENGTH:
        raise ValueError(f"principal 0x{principal.hex()} has {len(principal)} bytes, at most {MAX_LENGTH} are allowed")
    checksum = binascii.crc32(principal).to_bytes(_CHECKSUM_LENGTH, "big")
    text = base64.b32encode(checksum + principal).decode().rstrip("=").lower()
    return "-".join(text[i : i + 5] for i in range(0, len(text), 5))


@lru_cache(maxsize=4096)
def from_text(text: str) -> bytes:
    """The principal of a text form: the inverse of `to_text`.

    Raises:
        ValueError: `text` is not exactly what `to_text` writes; the error names it and what is wrong with it.
    """
    letters = text.replace("-", "").upper()
    try:
        decoded = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        raise ValueError(f"{text!r} is not a principal: it may consist of a-z, 2-7 and dashes only") from None
    checksum, principal = decoded[:_CHECKSUM_LENGTH], decoded[_CHECKSUM_LENGTH:]
    if len(decoded) < _CHECKSUM_LENGTH:
        raise ValueError(f"{text!r} is not a principal: it is too short")
    if len(principal) > MAX_LENGTH:
        raise ValueError(f"{text!r} is not a principal: it is too long")
    if binascii.crc32(principal).to_bytes(_CHECKSUM_LENGTH, "big") != checksum:
        raise ValueError(f"{text!r} is not a principal: its checksum is wrong, so some letter must be")
    if to_text(principal) != text:
        raise ValueError(f"{text!r} is not a principal: it should be written {to_text(principal)!r}")
    return principal


def self_authenticating(der_public_key: bytes) -> bytes:
    """The principal of the holder of a public key in DER: 29 bytes (section "Special forms of Principals")."""
    return hashlib.sha224(der_public_key).digest() + bytes([_SELF_AUTHENTICATING])


def is_self_authenticating(principal: bytes) -> bool:
    """Whether `principal` belongs to the class of `self_authenticating`."""
    return len(principal) == MAX_LENGTH and principal[-1] == _SELF_AUTHENTICATING


def canister_id(index: int) -> bytes:
    """The id of the network's canister number `index`, opaque: the index in 8 bytes, big-endian, 0x01, 0x01."""
    return index.to_bytes(8, "big") + _CANISTER_SUFFIX


def is_canister_id(principal: bytes) -> bool:
    """Whether `principal` has the form of `canister_id`."""
    return len(principal) == 10 and principal[8:] == _CANISTER_SUFFIX


def canister_index(principal: bytes) -> int:
    """The number of a canister of the network: the inverse of `canister_id`.

    Raises:
        ValueError: the principal has another form.
    """
    if not is_canister_id(principal):
        raise ValueError(f"{to_text(principal)} is not a canister id of this network")
    return int.from_bytes(principal[:8], "big")
