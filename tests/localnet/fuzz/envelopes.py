"""Requests whose envelope is odd: any field of a call, query, read_state or delegation replaced, and then signed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from mainer_nb.protocol import principal
from mainer_nb.protocol.candid import encode
from mainer_nb.protocol.principal import to_text
from mainer_nb.protocol.request_id import HashError, hash_of_map
from tests.localnet.fuzz import cbor
from tests.localnet.fuzz.cases import Login, Odd, Request, Target, damaged, edge, text
from tests.localnet.users import Authenticator, Key, User, ec_key, wrapped

SECOND = 10**9
KEYS: list[User] = [Key.ed25519("one"), Key.ed25519("two"), Key.ed25519("three")]
KEYS += [Key.ecdsa("four", ec.SECP256K1()), Key.ecdsa("five", ec.SECP256R1())]
KEYS += [
    Authenticator(ec_key("six", ec.SECP256R1())),
    Authenticator(ed25519.Ed25519PrivateKey.from_private_bytes(b"7" * 32)),
]
PATHS = {
    "call": ("v2/canister/{}/call", "v3/canister/{}/call", "v4/canister/{}/call", "v4/subnet/{}/call"),
    "query": ("v2/canister/{}/query", "v3/canister/{}/query", "v3/subnet/{}/query"),
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
    key: User | None
    login: Login | None = None


def valid(chance: random.Random, target: Target, signed: bool = True) -> Message:
    """A request that has nothing wrong, to some canister; `signed` by one of `KEYS`, by a login, or by nobody."""
    kind = chance.choice(("call", "query", "read_state"))
    key = chance.choice(KEYS[:3] if chance.random() < 0.8 else KEYS) if signed else None
    login = target.login if signed and chance.random() < 0.15 else None
    sender = principal.self_authenticating(login.user) if login else key.principal if key else principal.ANONYMOUS
    content: dict[Any, Any] = {
        "request_type": kind,
        "sender": sender,
        "ingress_expiry": target.now() + chance.randrange(1, 300) * SECOND,
    }
    if chance.random() < 0.5:
        content["nonce"] = chance.randbytes(chance.choice((0, 8, 16, 32)))
    effective = chance.choice([*target.witnesses, target.echo, target.echo, *target.victims])
    if kind == "read_state":
        content["paths"] = [path(chance, target, effective) for _ in range(chance.choice((0, 1, 1, 2, 10)))]
        return Message(kind, content, effective, key, login)
    methods = {"call": ("store", "count", "nothing", "canister_status"), "query": ("echo", "chorus", "numbers", "none")}
    content["canister_id"] = effective
    content["method_name"] = chance.choice(methods[kind])
    content["arg"] = chance.choice((b"", encode((), ()), chance.randbytes(chance.choice((1, 100, 5000)))))
    if chance.random() < (0.5 if login else 0.03):
        content["sender_info"] = target.login.sender_info
    return Message(kind, content, effective, key, login)


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
        [b"canister", one, chance.choice((b"canister_creation_timestamp", b"last_install_timestamp"))],
        [b"subnet", target.subnet, chance.choice((b"type", b"metrics", b"canister_ranges", b"node"))],
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
    match chance.randrange(13):
        case 0:
            content.pop(name)
        case 11:
            content["sender_info"] = changed_map(chance, target.login.sender_info)
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


def changed_map(chance: random.Random, content: Mapping[Any, Any]) -> dict[Any, Any]:
    """A map with one thing changed: a value that is damaged, strange, missing or too many."""
    changed = dict(content)
    name = chance.choice(list(changed))
    match chance.randrange(4):
        case 0:
            changed.pop(name)
        case 1:
            changed[name] = cbor.strange(chance)
        case 2 if isinstance(changed[name], bytes):
            changed[name] = damaged(chance, changed[name])
        case _:
            changed[text(chance)] = cbor.strange(chance)
    return changed


def odd_key(chance: random.Random, target: Target) -> bytes:
    """A public key that nobody has: of Web Authentication or canister signatures, mostly malformed."""
    match chance.randrange(5):
        case 0:
            size = chance.choice((0, 1, 255, 256, 257, 1024, 1025, 100_000))
            key = {
                1: 3,
                3: -257,
                -1: b"\xc1" + chance.randbytes(size),
                -2: chance.choice((b"\1\0\1", b"\3", b"", b"\2")),
            }
            return wrapped(1, cbor.encode(key))
        case 1:
            curve = chance.choice((1, 2, 6, 7, 8, edge(chance)))
            key = {1: chance.choice((1, 2, 3, 4)), 3: chance.choice((-7, -8, -257, -37)), -1: curve}
            coordinates = {
                -2: chance.randbytes(chance.choice((31, 32, 33))),
                -3: chance.choice((True, chance.randbytes(32))),
            }
            return wrapped(1, cbor.encode({**key, **coordinates}))
        case 2:
            return wrapped(chance.choice((1, 2, 3)), cbor.encode(cbor.strange(chance)))
        case 3:
            signing = target.anyone(chance)
            return wrapped(
                2, bytes([chance.choice((len(signing), edge(chance) % 256))]) + signing + chance.randbytes(8)
            )
        case _:
            return damaged(chance, target.login.user)


def odd_signature(chance: random.Random, target: Target) -> bytes:
    """A signature of an authenticator or a canister that is malformed inside."""
    data = chance.choice(("{}", "[" * 9999, '{"challenge": "AA"}', text(chance)))
    web = {"authenticator_data": chance.randbytes(37), "client_data_json": data, "signature": chance.randbytes(64)}
    parts = cbor2.loads(target.login.delegation["signature"])
    trees = (
        cbor.strange(chance),
        [1, [0], [0]],
        [2, b"sig", [3, b""]],
        Odd(b"\x83\x01\x81\x00" * 5000 + b"\x81\x00"),
    )
    canister = {"certificate": parts["certificate"], "tree": chance.choice((*trees, parts["tree"]))}
    if chance.random() < 0.5:
        inside = {**cbor2.loads(parts["certificate"]), "delegation": cbor.strange(chance)}
        canister["certificate"] = (
            damaged(chance, parts["certificate"]) if chance.random() < 0.5 else cbor.encode(inside)
        )
    content: dict[Any, Any] = chance.choice((web, canister))
    if chance.random() < 0.5:
        content = changed_map(chance, content)
    encoded = cbor.encode(content, chance, chance.choice((0.0, 0.1)))
    return encoded if chance.random() < 0.1 else b"\xd9\xd9\xf7" + encoded


def request_id(content: Mapping[Any, Any], chance: random.Random) -> bytes:
    """What is to be signed; where a content has no hash, anything."""
    try:
        return hash_of_map({key: value for key, value in content.items() if value is not None})
    except (HashError, AttributeError, UnicodeEncodeError):
        return chance.randbytes(32)


def delegated(chance: random.Random, target: Target, first: User) -> tuple[list[Any], User]:
    """A chain of delegations from `first`, mostly right, and the key at its end."""
    chain: list[Any] = []
    key = first
    others = [other for other in KEYS if other is not first]
    for _ in range(chance.choice((1, 1, 2, 3, 21))):
        following = others.pop() if others else Key.ed25519(str(chance.random()))
        delegation: dict[Any, Any] = {"pubkey": following.der, "expiration": target.now() + 600 * SECOND}
        if chance.random() < 0.4:
            delegation["targets"] = [target.anyone(chance) for _ in range(chance.choice((0, 1, 3, 1001)))]
        if chance.random() < 0.3:
            delegation["permissions"] = chance.choice(("all", "all", "queries", "updates", text(chance)))
        if chance.random() < 0.2:
            named = chance.choice(
                ("pubkey", "expiration", "targets", "permissions", text(chance), chance.randbytes(2), 7)
            )
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
    if message.login is not None:
        signed = message.login.delegation
        whole["sender_pubkey"], key = message.login.user, message.login.session
        whole["sender_delegation"] = [signed if chance.random() < 0.9 else changed_map(chance, signed)]
    else:
        whole["sender_pubkey"] = key.der
        if chance.random() < 0.2:
            whole["sender_delegation"], key = delegated(chance, target, key)
    whole["sender_sig"] = key.sign(_REQUEST + request_id(message.content, chance))
    if chance.random() < 0.15:
        name = chance.choice(list(whole))
        match chance.randrange(7):
            case 0:
                whole.pop(name)
            case 4:
                whole["sender_pubkey"] = odd_key(chance, target)
                if chance.random() < 0.8 and isinstance(message.content, dict):
                    message.content["sender"] = principal.self_authenticating(whole["sender_pubkey"])
            case 5:
                whole["sender_sig"] = odd_signature(chance, target)
            case 1:
                whole[name] = cbor.strange(chance)
            case 2:
                whole["sender_sig"] = damaged(chance, whole["sender_sig"])
            case 3:
                whole["sender_pubkey"] = damaged(chance, whole["sender_pubkey"])
            case _:
                whole[text(chance)] = cbor.strange(chance)
    return whole


def url(chance: random.Random, target: Target, message: Message) -> bytes:
    """Where to send a request."""
    kind = message.kind if chance.random() < 0.98 else chance.choice(list(PATHS))
    path = chance.choice(PATHS[kind])
    of_subnet = "/subnet/" in path and chance.random() < 0.9
    return b"/api/" + path.format(to_text(target.subnet if of_subnet else message.effective)).encode()


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
    return Request(b"POST", url(chance, target, message), CBOR, body)
