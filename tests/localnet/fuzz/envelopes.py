"""Requests whose envelope is odd: any field of a call, query, read_state or delegation replaced, and then signed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from localnet.fuzz import cbor
from localnet.fuzz.cases import Request, Target, damaged, edge, text
from localnet.users import Key

from mainer_nb.protocol import principal
from mainer_nb.protocol.candid import encode
from mainer_nb.protocol.principal import to_text
from mainer_nb.protocol.request_id import HashError, hash_of_map

SECOND = 10**9
KEYS = [Key.ed25519("one"), Key.ed25519("two"), Key.ed25519("three")]
KEYS += [Key.ecdsa("four", ec.SECP256K1()), Key.ecdsa("five", ec.SECP256R1())]
PATHS = {
    "call": ("v2/canister/{}/call", "v3/canister/{}/call", "v4/canister/{}/call", "v4/subnet/{}/call"),
    "query": ("v2/canister/{}/query", "v3/canister/{}/query"),
    "read_state": ("v2/canister/{}/read_state", "v3/canister/{}/read_state", "v2/subnet/{}/read_state"),
}
CBOR = ((b"Content-Type", b"application/cbor"),)
_REQUEST, _DELEGATION = b"\x0aic-request", b"\x1aic-request-auth-delegation"


@dataclass
class Message:
    """A request before it is bytes."""

    kind: str
    content: dict[Any, Any]
    effective: bytes
    key: Key | None


def valid(chance: random.Random, target: Target, signed: bool = True) -> Message:
    """A request that has nothing wrong, to some canister; `signed` by one of `KEYS`, or by nobody."""
    kind = chance.choice(("call", "query", "read_state"))
    key = chance.choice(KEYS[:3] if chance.random() < 0.8 else KEYS) if signed else None
    content: dict[Any, Any] = {
        "request_type": kind,
        "sender": key.principal if key else principal.ANONYMOUS,
        "ingress_expiry": target.now() + chance.randrange(1, 300) * SECOND,
    }
    if chance.random() < 0.5:
        content["nonce"] = chance.randbytes(chance.choice((0, 8, 16, 32)))
    effective = chance.choice([*target.witnesses, target.echo, target.echo, *target.victims])
    if kind == "read_state":
        content["paths"] = [path(chance, target, effective) for _ in range(chance.choice((0, 1, 1, 2, 10)))]
        return Message(kind, content, effective, key)
    methods = {"call": ("store", "count", "nothing", "canister_status"), "query": ("echo", "chorus", "numbers", "none")}
    content["canister_id"] = effective
    content["method_name"] = chance.choice(methods[kind])
    content["arg"] = chance.choice((b"", encode((), ()), chance.randbytes(chance.choice((1, 100, 5000)))))
    return Message(kind, content, effective, key)


def path(chance: random.Random, target: Target, effective: bytes) -> list[Any]:
    """A path of the state tree, often one that may be read."""
    one = effective if chance.random() < 0.7 else target.anyone(chance)
    known: list[list[Any]] = [
        [b"time"],
        [b"subnet"],
        [b"subnet", target.subnet, b"public_key"],
        [b"subnet", one, b"node", chance.randbytes(29), b"public_key"],
        [b"canister", one, b"module_hash"],
        [b"canister", one, b"controllers"],
        [b"canister", one, b"metadata", text(chance).encode()],
        [b"canister", one, b"metadata", chance.randbytes(5)],
        [b"canister_ranges", target.subnet],
        [b"request_status", chance.randbytes(32)],
        [b"request_status", chance.randbytes(chance.choice((0, 31, 5000))), b"status"],
        [],
    ]
    found = chance.choice(known)
    if chance.random() < 0.2:
        found = [*found, *(chance.randbytes(chance.choice((0, 1, 40))) for _ in range(chance.choice((1, 5, 130))))]
    return found


def change(chance: random.Random, target: Target, message: Message) -> None:
    """Changes one thing of a request."""
    content = message.content
    name = chance.choice(list(content))
    match chance.randrange(12):
        case 0:
            content.pop(name)
        case 1 | 2:
            content[name] = cbor.strange(chance)
        case 3:
            content[chance.choice((text(chance), chance.randbytes(3), chance.randrange(9)))] = cbor.strange(chance)
        case 4:
            now = target.now()
            near = (now, now - 1, now + 359 * SECOND, now + 361 * SECOND, now // SECOND, now // 10**6, 0, 2**64 - 1)
            content["ingress_expiry"] = chance.choice([*near, 2**64, -1, float(now), str(now), edge(chance)])
        case 5:
            content["sender"] = target.anyone(chance)
        case 6:
            content["nonce"] = chance.randbytes(chance.choice((0, 31, 32, 33, 1000)))
        case 7 if message.kind != "read_state":
            content["canister_id"] = target.anyone(chance)
            if chance.random() < 0.7:
                message.effective = content["canister_id"][: principal.MAX_LENGTH]
        case 7:
            paths = [path(chance, target, message.effective) for _ in range(chance.choice((1, 2, 1001)))]
            content["paths"] = paths + [cbor.strange(chance)] * chance.choice((0, 1))
        case 8 if message.kind != "read_state":
            long = "m" * (1_000_000 if chance.random() < 0.03 else chance.choice((100, 20_001)))
            content["method_name"] = chance.choice((text(chance), long, "http_request", "canister_init"))
        case 8:
            message.effective = target.subnet
        case 9 if message.kind != "read_state":
            content["arg"] = chance.randbytes(
                2_000_000 if chance.random() < 0.03 else chance.choice((0, 1, 1000, 60_000))
            )
        case 9:
            content["paths"] = [[cbor.strange(chance) for _ in range(3)], path(chance, target, message.effective)]
        case 10:
            message.effective = target.anyone(chance)[: principal.MAX_LENGTH]
        case _:
            content["request_type"] = chance.choice(("call", "query", "read_state", "", text(chance)))


def request_id(content: Mapping[Any, Any], chance: random.Random) -> bytes:
    """What is to be signed; where a content has no hash, anything."""
    try:
        return hash_of_map({key: value for key, value in content.items() if value is not None})
    except (HashError, AttributeError, UnicodeEncodeError):
        return chance.randbytes(32)


def delegated(chance: random.Random, target: Target, first: Key) -> tuple[list[Any], Key]:
    """A chain of delegations from `first`, mostly right, and the key at its end."""
    chain: list[Any] = []
    key = first
    others = [key for key in KEYS if key is not first]
    for _ in range(chance.choice((1, 1, 2, 3, 21))):
        following = others.pop() if others else Key.ed25519(str(chance.random()))
        delegation: dict[Any, Any] = {"pubkey": following.der, "expiration": target.now() + 600 * SECOND}
        if chance.random() < 0.4:
            delegation["targets"] = [target.anyone(chance) for _ in range(chance.choice((0, 1, 3, 1001)))]
        if chance.random() < 0.2:
            named = chance.choice(("pubkey", "expiration", "targets", text(chance), chance.randbytes(2), 7))
            delegation[named] = cbor.strange(chance)
        if chance.random() < 0.1:
            delegation["expiration"] = chance.choice((0, target.now() - 1, 2**64 - 1, 2**64))
        signature: Any = key.sign(_DELEGATION + request_id(delegation, chance))
        if chance.random() < 0.1:
            signature = chance.choice((damaged(chance, signature), cbor.strange(chance)))
        signed: Any = {"delegation": delegation, "signature": signature}
        chain.append(cbor.strange(chance) if chance.random() < 0.03 else signed)
        key = following
    return chain, key


def envelope_of(chance: random.Random, target: Target, message: Message) -> dict[Any, Any]:
    """`message` with key, signature and delegations, mostly right ones."""
    whole: dict[Any, Any] = {"content": message.content}
    if message.key is None:
        return whole
    key = message.key
    whole["sender_pubkey"] = key.der
    if chance.random() < 0.2:
        whole["sender_delegation"], key = delegated(chance, target, key)
    whole["sender_sig"] = key.sign(_REQUEST + request_id(message.content, chance))
    if chance.random() < 0.15:
        name = chance.choice(list(whole))
        match chance.randrange(5):
            case 0:
                whole.pop(name)
            case 1:
                whole[name] = cbor.strange(chance)
            case 2:
                whole["sender_sig"] = damaged(chance, whole["sender_sig"])
            case 3:
                whole["sender_pubkey"] = damaged(chance, whole["sender_pubkey"])
            case _:
                whole[text(chance)] = cbor.strange(chance)
    return whole


def url(chance: random.Random, message: Message) -> bytes:
    """Where to send a request."""
    kind = message.kind if chance.random() < 0.98 else chance.choice(list(PATHS))
    return b"/api/" + chance.choice(PATHS[kind]).format(to_text(message.effective)).encode()


def case(chance: random.Random, target: Target) -> Request:
    """A request with a few things wrong, signed, and encoded in a way that is not always the usual one."""
    message = valid(chance, target, signed=chance.random() < 0.8)
    for _ in range(chance.choice((0, 1, 1, 1, 1, 2, 3))):
        if message.content:
            change(chance, target, message)
    whole = envelope_of(chance, target, message)
    body = cbor.encode(whole, chance, chance.choice((0.0, 0.0, 0.1)))
    if chance.random() < 0.05:
        again = [*whole.items(), *list(whole.items())[:1]]
        body = cbor.encode_map(again, chance)
    if chance.random() < 0.5:
        body = b"\xd9\xd9\xf7" + body
    return Request(b"POST", url(chance, message), CBOR, body)
