"""CBOR as the Internet Computer writes it (RFC 8949; IC interface specification, "CBOR encoding")."""

from __future__ import annotations

from typing import Any

import cbor2

_SELF_DESCRIBED = 55799  # RFC 8949, section 3.4.6; `cbor2.loads` passes over this tag


def self_described(value: Any) -> bytes:
    """The CBOR form of `value`, which begins with the tag that says that it is CBOR."""
    return cbor2.dumps(cbor2.CBORTag(_SELF_DESCRIBED, value))
