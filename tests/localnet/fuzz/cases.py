"""What all kinds of cases have in common: where they are aimed, what they send, and how bytes are damaged.

A case is a function of its kind, a seed and a number, `chance(kind, seed, number)`, and of the world it is aimed at
(the ids of canisters, the time): the same case is made again by running it again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.localnet.users import Key

#: Numbers at whose neighbours programs err.
EDGES: tuple[int, ...] = (0, 1, 2, 23, 24, 31, 63, 64, 127, 128, 255, 256, 1000, 65535, 65536)
EDGES += (2**31 - 1, 2**31, 2**32 - 1, 2**32)
EDGES += (2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**128 - 1, 2**128)


@dataclass(frozen=True)
class Login:
    """A user for whom a canister has signed.

    Attributes:
        user: its public key, DER.
        session: the key to which the canister has delegated for it, with `delegation`.
        sender_info: what the canister says of it.
    """

    user: bytes
    session: Key
    delegation: dict[str, Any]
    sender_info: dict[str, bytes]


@dataclass(frozen=True)
class Target:
    """What cases are aimed at.

    Attributes:
        witnesses: ids of canisters that nothing may change.
        echo: a canister whose methods `echo`, `store` and so on anybody may call.
        puppet: a canister that answers HTTP requests with what their body says, see `world.PUPPET`.
        motoko: a Motoko canister, whose interface is `motoko_methods` (name, argument types, mode).
        victims: canisters that anybody controls.
        login: a user whose requests are accepted.
        now: the network's time in nanoseconds.
    """

    subnet: bytes
    witnesses: Sequence[bytes]
    echo: bytes
    puppet: bytes
    motoko: bytes
    motoko_methods: Sequence[tuple[str, tuple[Any, ...], str]]
    victims: Sequence[bytes]
    login: Login
    now: Callable[[], int]

    def anyone(self, random: random.Random) -> bytes:
        """The id of some canister, or of none."""
        pool = [*self.witnesses, self.echo, self.puppet, self.motoko, *self.victims, b"", b"\x04", self.subnet]
        return random.choice([*pool, random.randbytes(random.choice((1, 8, 10, 29, 30)))])


@dataclass(frozen=True)
class Request:
    """An HTTP request, byte for byte.

    Attributes:
        allowed: HTTP allows it; else the connection may be closed without an answer.
        whole: nothing of it is missing; else the server may wait for the rest.
        raw: all of it, if it is not made of the other parts.
    """

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"Content-Type", b"application/cbor"),)
    body: bytes = b""
    allowed: bool = True
    whole: bool = True
    raw: bytes | None = None

    def octets(self) -> bytes:
        """What goes over the wire."""
        if self.raw is not None:
            return self.raw
        names = {name.lower() for name, _ in self.headers}
        headers = self.headers
        if b"host" not in names:
            headers = ((b"Host", b"localhost"), *headers)
        if not names & {b"content-length", b"transfer-encoding"}:
            headers = (*headers, (b"Content-Length", str(len(self.body)).encode()))
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), *(name + b": " + value for name, value in headers)]
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@dataclass
class Odd:
    """Bytes to stand where a value is expected, as they are."""

    octets: bytes = field(default=b"")


def chance(kind: str, seed: int, number: int) -> random.Random:
    """The randomness of one case."""
    return random.Random(f"{kind}/{seed}/{number}")


def edge(random: random.Random) -> int:
    """A number near one at which programs err, or any."""
    if random.random() < 0.2:
        return random.getrandbits(random.choice((3, 8, 16, 32, 64, 100)))
    return max(0, random.choice(EDGES) + random.choice((-1, 0, 0, 1)))


def damaged(random: random.Random, data: bytes, times: int | None = None) -> bytes:
    """`data` with a few bytes changed, lost, repeated or put in."""
    out = bytearray(data)
    for _ in range(times or random.choice((1, 1, 1, 2, 3, 8))):
        at = random.randrange(len(out) + 1)
        some = random.choice((1, 1, 2, 4, 16, 100))
        match random.randrange(8):
            case 0 if out:
                out[at % len(out)] ^= 1 << random.randrange(8)
            case 1 if out:
                out[at % len(out)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 2:
                del out[at : at + some]
            case 3:
                out[at:at] = random.randbytes(some)
            case 4:
                out[at:at] = out[at : at + some] * random.choice((1, 1, 2, 50))
            case 5:
                out[at:at] = bytes([random.choice((0, 0x7F, 0x80, 0xFF))]) * some
            case 6:
                del out[at:]
            case 7:
                start = random.randrange(len(out) + 1)
                out[at : at + some] = out[start : start + some]
    return bytes(out)


def text(random: random.Random) -> str:
    """A text, often an awkward one."""
    awkward = ("", "\0", "a\0b", "é", "\U0001f980", "\ufeff", "\u202e", "a" * 1000, "../..", "%00", "canister_query x")
    if random.random() < 0.7:
        return random.choice(awkward)
    return "".join(chr(random.randrange(1, 0xD7FF)) for _ in range(random.choice((1, 5, 40)))) * random.choice(
        (1, 1, 99)
    )
