"""LEB128: whole numbers as seven-bit digits, lowest first, with a mark on all but the last."""

from __future__ import annotations


def leb128(value: int) -> bytes:
    """The unsigned LEB128 form of `value`, which is not negative; in a time linear in its length."""
    if value < 0x80:
        return bytes((value,))
    return _leb128_digits(value, (value.bit_length() + 6) // 7)


def sleb128(value: int) -> bytes:
    """The signed LEB128 form of `value`; in a time linear in its length."""
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


def leb128_value(digits: bytes) -> int:
    """The unsigned number with these digits, each a byte of which the highest bit does not count."""
    groups = []
    for start in range(0, len(digits), 8):
        group = 0
        for shift, digit in enumerate(digits[start : start + 8]):
            group |= (digit & 0x7F) << 7 * shift
        groups.append(group.to_bytes(7, "little"))
    return int.from_bytes(b"".join(groups), "little")


def read_leb128(digits: bytes) -> int:
    """The number of which `digits` are the unsigned LEB128 form.

    Raises:
        ValueError: they are none, or end too early, or are followed by something.
    """
    if not digits or digits[-1] & 0x80 or any(digit < 0x80 for digit in digits[:-1]):
        raise ValueError(f"not an LEB128 number: {digits[:20].hex()}")
    return leb128_value(digits)
