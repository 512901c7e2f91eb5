"""CBOR as no library writes it: other lengths, tags, repeated keys, wrong types (RFC 8949)."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from typing import Any

from tests.localnet.fuzz.cases import Odd, edge, text

#: Tags that libraries give a meaning, and some without.
TAGS = (0, 1, 2, 3, 4, 5, 21, 24, 25, 28, 29, 30, 32, 35, 36, 37, 42, 64, 100, 256, 258, 260, 261, 1004, 43000, 55799)
BREAK = b"\xff"


def head(major: int, number: int, size: int | None = None) -> bytes:
    """The first bytes of a data item, its number in `size` bytes (0, 1, 2, 4, 8) or as few as possible."""
    if size is None:
        size = next((n for n in (0, 1, 2, 4, 8) if number < (24 if n == 0 else 1 << 8 * n)), 8)
    if size == 0:
        return bytes([major << 5 | number])
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[size]]) + (number & (1 << 8 * size) - 1).to_bytes(
        size, "big"
    )


def encode(value: Any, chance: random.Random | None = None, oddity: float = 0.0) -> bytes:
    """`value` in CBOR; with probability `oddity` a data item is written in an odd but well-formed way.

    A list of pairs wrapped in `Odd` cannot be said in Python otherwise: use `encode_map`.
    """
    odd = chance is not None and chance.random() < oddity
    match value:
        case Odd(octets):
            return octets
        case bool() | None:
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int() if value >= 1 << 64:
            return head(6, 2) + encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        case int() if value >= 0:
            size = chance.choice((None, 8, 4, 2)) if odd and chance else None
            return head(0, value, size if size is None or value < 1 << 8 * size else None)
        case int():
            return head(1, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case bytes() | str():
            octets, major = (value, 2) if isinstance(value, bytes) else (value.encode(), 3)
            if odd and (major == 2 or octets.isascii()):
                middle = len(octets) // 2
                parts = (octets[:middle], octets[middle:])
                return bytes([major << 5 | 31]) + b"".join(head(major, len(p)) + p for p in parts) + BREAK
            return head(major, len(octets)) + octets
        case Mapping():
            return encode_map(list(value.items()), chance, oddity)
        case list() | tuple():
            items = b"".join(encode(item, chance, oddity) for item in value)
            return b"\x9f" + items + BREAK if odd else head(4, len(value)) + items
    raise TypeError(f"{type(value).__name__} is not encoded here")


def encode_map(pairs: list[tuple[Any, Any]], chance: random.Random | None = None, oddity: float = 0.0) -> bytes:
    """A map with these pairs, equal keys included."""
    odd = chance is not None and chance.random() < oddity
    items = b"".join(encode(key, chance, oddity) + encode(value, chance, oddity) for key, value in pairs)
    return b"\xbf" + items + BREAK if odd else head(5, len(pairs)) + items


def strange(chance: random.Random, depth: int = 0) -> Any:
    """A value of any kind, also of kinds that requests do not have; what `encode` takes."""
    match chance.randrange(16 if depth < 5 else 9):
        case 0:
            return edge(chance)
        case 1:
            return -1 - edge(chance) % (1 << 64)
        case 2:
            return chance.choice((float("nan"), float("inf"), -0.0, 1e308, 0.5))
        case 3:
            return chance.choice((None, True, False))
        case 4:
            return chance.randbytes(chance.choice((0, 1, 10, 29, 30, 32, 33, 100)))
        case 5:
            return text(chance)
        case 6:
            return Odd(chance.choice((b"\xf7", b"\xf8\xff", b"\xe0", b"\xf9\x7e\x00", b"\xff", b"\x1c", b"\x78\x05ab")))
        case 7:
            return Odd(head(chance.choice((2, 3, 4, 5)), edge(chance) % (1 << 64), 8))
        case 8:
            bits = chance.choice((65, 128, 4000, 20_000, 200_000))
            return Odd(encode(chance.getrandbits(bits) | 1 << bits))
        case 9 | 10:
            return [strange(chance, depth + 1) for _ in range(chance.choice((0, 1, 2, 5)))]
        case 11 | 12:
            pairs = [(strange(chance, depth + 3), strange(chance, depth + 1)) for _ in range(chance.choice((0, 1, 2)))]
            return Odd(encode_map(pairs))
        case 13 | 14:
            return Odd(head(6, chance.choice(TAGS)) + encode(strange(chance, depth + 1)))
        case _:
            return chance.choice((Odd(deep(chance)), Odd(laughs(chance))))


def deep(chance: random.Random) -> bytes:
    """Nested more deeply than most stacks bear."""
    wrap = chance.choice((b"\x81", b"\x9f", b"\xa1\x60", b"\xd9\xd9\xf7", b"\xa1", b"\x81\xa1\x00", b"\x5f", b"\xc2"))
    return wrap * chance.choice((100, 398, 1000, 20_000)) + chance.choice((b"", b"\0"))


def laughs(chance: random.Random) -> bytes:
    """Few bytes that unfold to many values where shared values are understood (tags 28 and 29)."""
    levels = chance.choice((3, 12, 40))
    inner = b"\xd8\x1c\x81\x00"
    for level in range(levels):
        inner = b"\xd8\x1c\x82" + inner + b"\xd8\x1d" + head(0, levels - level)
    return inner
