"""The bytes of a Candid message and the place reached in them."""

from __future__ import annotations

from ..leb128 import leb128_value
from .types import CandidError

_LONGEST_TYPE = 400  # characters of a type in an error
_FREE_VALUES = 100_000  # how many values, beyond what the length of a message explains, it may make us build


class Mismatch(CandidError):
    """A well-formed value that is not of the expected type; an option that it is in becomes null.

    The text is made when it is asked for: types may be long, and mismatches many.
    """

    def __init__(self, pos: int, wire: object, expected: object, why: str) -> None:
        super().__init__(pos, wire, expected, why)

    def __str__(self) -> str:
        pos, wire, expected, why = self.args
        return f"at byte {pos}: expected {_brief(expected)}{why}, the message has {_brief(wire)}"


def _brief(what: object) -> str:
    text = str(what)
    return text if len(text) <= _LONGEST_TYPE else f"{text[:_LONGEST_TYPE]} ..."


class Reader:
    """A message and the position reached in it.

    Attributes:
        fuel: how many more values may be made; a few bytes could otherwise ask for endless work.
    """

    __slots__ = ("data", "fuel", "pos")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0
        self.fuel = _FREE_VALUES + 4 * len(data)

    def error(self, message: str) -> CandidError:
        return CandidError(f"not a valid Candid message: at byte {self.pos}: {message}")

    def mismatch(self, wire: object, expected: object, why: str = "") -> Mismatch:
        return Mismatch(self.pos, wire, expected, why)

    def charge(self, values: int) -> None:
        self.fuel -= values
        if self.fuel < 0:
            raise self.error(f"it would unfold to more values than its {len(self.data)} bytes justify")

    def byte(self) -> int:
        try:
            value = self.data[self.pos]
        except IndexError:
            raise self.error("it ends too early") from None
        self.pos += 1
        return value

    def take(self, length: int) -> bytes:
        end = self.pos + length
        if end > len(self.data):
            raise self.error(f"{length} bytes are announced, {len(self.data) - self.pos} are left")
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def _digits(self) -> bytes:
        """The LEB128 digits from here on."""
        data, end = self.data, self.pos
        try:
            while data[end] & 0x80:
                end += 1
        except IndexError:
            raise self.error("it ends within a number") from None
        digits = data[self.pos : end + 1]
        self.pos = end + 1
        return digits

    def leb128(self) -> int:
        pos = self.pos
        if pos < len(self.data) and (value := self.data[pos]) < 0x80:
            self.pos = pos + 1
            return value
        return leb128_value(self._digits())

    def sleb128(self) -> int:
        pos = self.pos
        if pos < len(self.data) and (value := self.data[pos]) < 0x80:
            self.pos = pos + 1
            return value - 0x80 if value & 0x40 else value
        digits = self._digits()
        value = leb128_value(digits)
        return value - (1 << 7 * len(digits)) if digits[-1] & 0x40 else value

    def size(self) -> int:
        """A count, a length, an index or an id: at most 64 bits."""
        return self._short(self.leb128())

    def opcode(self) -> int:
        """A type: an opcode, or an entry of the type table."""
        return self._short(self.sleb128())

    def _short(self, number: int) -> int:
        if number.bit_length() > 64:
            raise self.error(f"a number of {number.bit_length()} bits, at most 64 are accepted here")
        return number

    def text(self) -> str:
        start = self.pos
        octets = self.take(self.size())
        try:
            return octets.decode()
        except UnicodeDecodeError as error:
            self.pos = start
            raise self.error(f"the text is not UTF-8: {error.reason}") from None

    def count(self, what: str) -> int:
        """The number of things that follow, each of which takes at least a byte."""
        number = self.size()
        if number > len(self.data) - self.pos:
            raise self.error(f"{number} {what} are announced, {len(self.data) - self.pos} bytes are left")
        self.charge(number)
        return number
