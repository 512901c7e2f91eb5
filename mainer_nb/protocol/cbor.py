"""CBOR as the Internet Computer writes and reads it (RFC 8949; IC interface specification, "CBOR encoding")."""

from __future__ import annotations

import io
from typing import Any, NoReturn

import cbor2

_SELF_DESCRIBED = 55799  # RFC 8949, section 3.4.6; `decode` passes over this tag
#: What data of somebody else begins with that must say that it is CBOR.
SELF_DESCRIBED_PREFIX = b"\xd9\xd9\xf7"


class CborError(ValueError):
    """Bytes that are not CBOR of plain kinds; the text says why."""


def self_described(value: Any) -> bytes:
    """The CBOR form of `value`, which begins with the tag that says that it is CBOR."""
    return cbor2.dumps(cbor2.CBORTag(_SELF_DESCRIBED, value))


def decode(data: bytes, max_depth: int, other_keys: bool = False) -> Any:
    """The one data item in CBOR that comes from somebody else: of plain kinds, no key of a map twice.

    Args:
        other_keys: keys of maps may be other than texts and blobs, such as numbers.

    Raises:
        CborError: it is not, or it is nested more than `max_depth` deep.
    """
    stream = io.BytesIO(data)
    try:
        decoded = cbor2.load(
            stream,
            semantic_decoders=_FOREIGN_TAGS,
            max_depth=max_depth,
            allow_duplicate_keys=False,
            strict_hashable_types=not other_keys,
        )
    except (cbor2.CBORError, ValueError, RecursionError) as error:
        raise CborError(str(error.__cause__ or error)) from None
    if stream.tell() != len(data):
        raise CborError(f"after the data item, {len(data) - stream.tell()} bytes follow")
    return decoded


def _refuse_tag(value: object, immutable: bool) -> NoReturn:
    raise ValueError("the tag has no meaning here")


#: Tags that cbor2 would make dates, decimals, patterns and so on of, and shared values, which few bytes make endless.
_FOREIGN_TAGS = dict.fromkeys(
    (0, 1, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000), _refuse_tag
)
