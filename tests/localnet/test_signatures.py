"""Signatures of users: each kind of key, and everything about it that may be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mainer_nb.localnet import signatures
from mainer_nb.localnet.signatures import InvalidKey, WrongSignature
from mainer_nb.protocol import certificate, hash_tree, principal
from mainer_nb.protocol.bls import SecretKey
from mainer_nb.protocol.cbor import self_described
from tests.localnet.users import (
    Authenticator,
    CanisterUser,
    Key,
    Private,
    User,
    canister_key,
    canister_signature,
    cose,
    ec_key,
    web_signature,
    wrapped,
)

NETWORK, ANOTHER = SecretKey(bytes(range(32))), SecretKey(bytes(range(1, 33)))
ROOT_KEY = NETWORK.public_key_der
CANISTER, OTHER = principal.canister_id(3), principal.canister_id(4)
MESSAGE = b"\x0aic-request" + bytes(32)
RSA = rsa.generate_private_key(65537, 2048)
P256 = ec_key("authenticator", ec.SECP256R1())


def certified(data: bytes, canister_id: bytes = CANISTER, key: SecretKey = NETWORK, **more: Any) -> bytes:
    """The certificate of a canister with this certified data."""
    state = hash_tree.tree({b"canister": {canister_id: {b"certified_data": data}}, b"time": b"\1"})
    (made,) = certificate.certify(state, [[[b"canister", canister_id, b"certified_data"], [b"time"]]], key)
    return self_described({**cbor2.loads(made), **more}) if more else made


def canister_user(seed: bytes = b"anchor") -> CanisterUser:
    return CanisterUser(CANISTER, seed, certified)


USERS: dict[str, User] = {
    "Ed25519": Key.ed25519("one"),
    "secp256k1": Key.ecdsa("two", ec.SECP256K1()),
    "P-256": Key.ecdsa("three", ec.SECP256R1()),
    "authenticator P-256": Authenticator(P256),
    "authenticator RSA": Authenticator(RSA),
    "authenticator Ed25519": Authenticator(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
    "canister": canister_user(),
    "canister, no seed": canister_user(b""),
    "canister, long seed": canister_user(bytes(400)),
}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
def test_a_signature_holds_for_its_message_and_its_key_only(user: User) -> None:
    signature = user.sign(MESSAGE)
    signatures.check(user.der, signature, MESSAGE, ROOT_KEY)
    with pytest.raises(WrongSignature):
        signatures.check(user.der, signature, MESSAGE + b"x", ROOT_KEY)
    for other in USERS.values():
        if other is not user:
            with pytest.raises(WrongSignature):
                signatures.check(other.der, signature, MESSAGE, ROOT_KEY)
    for wrong in (b"", b"x", signature[:-1], signature + b"x"):
        with pytest.raises(WrongSignature):
            signatures.check(user.der, wrong, MESSAGE, ROOT_KEY)


POINT = P256.public_key()
RSA_NUMBERS = RSA.public_key().public_numbers()


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ({}, "not a key of"),
        ([], "not a key of"),
        ({**cose(P256), 3: -8}, "not a key of"),
        ({**cose(P256), -1: 2}, "not a key of"),
        ({**cose(P256), -3: True}, "not a key of"),
        ({**cose(P256), -2: bytes(31)}, "not a key of"),
        ({**cose(P256), -2: bytes(32)}, "not a valid key"),
        ({**cose(RSA), 3: -37}, "not a key of"),
        ({**cose(RSA), -1: RSA_NUMBERS.n}, "not a key of"),
        ({**cose(RSA), -1: bytes(255) + b"\3"}, "must have 2048 to 8192 bits, this one has 2"),
        ({**cose(RSA), -1: b"\xff" * 1025}, "not a key of"),
        ({**cose(RSA), -2: b"\2"}, "not a valid key"),
        ({**cose(P256), 99: bytes(20_000)}, "bytes; at most 16384 are accepted"),
        ({1: 1, 3: -8, -1: 6, -2: bytes(31)}, "not a valid key"),
        ({1: 1, 3: -8, -1: 7, -2: bytes(32)}, "not a key of"),
    ],
)
def test_a_cose_key_that_is_none_is_told(key: Any, error: str) -> None:
    with pytest.raises(InvalidKey, match=error):
        signatures.check(wrapped(1, cbor2.dumps(key)), b"", MESSAGE, ROOT_KEY)


def test_a_cose_key_that_is_not_cbor_is_told() -> None:
    for content in (b"", b"\xff", b"\x81" * 5000, b"\xd8\x1c\x81\xd8\x1d\x00", cbor2.dumps(cose(P256)) + b"\0"):
        with pytest.raises(InvalidKey, match="COSE form is not CBOR"):
            signatures.check(wrapped(1, content), b"", MESSAGE, ROOT_KEY)


DATA = bytes(37)
CHALLENGE = base64.urlsafe_b64encode(MESSAGE).rstrip(b"=").decode()
CLIENT = {"type": "webauthn.get", "challenge": CHALLENGE, "origin": "x"}


@pytest.mark.parametrize(
    ("signature", "error"),
    [
        (cbor2.dumps({}), "the tag of self-described CBOR"),
        (b"\xd9\xd9\xf7", "not CBOR"),
        (b"\xd9\xd9\xf7" + b"\x81" * 5000, "not CBOR"),
        (self_described({}), "not a map with authenticator_data"),
        (self_described([]), "not a map with authenticator_data"),
        (self_described({"authenticator_data": "", "client_data_json": "", "signature": b""}), "not a map with"),
        (self_described({"authenticator_data": b"", "client_data_json": b"", "signature": b""}), "not a map with"),
        (web_signature(DATA, "", b""), "not JSON"),
        (web_signature(DATA, "[" * 100_000, b""), "not JSON"),
        (web_signature(DATA, "7" * 10_000, b""), "not JSON"),
        (web_signature(DATA, "[]", b""), "the challenge"),
        (web_signature(DATA, "{}", b""), "the challenge"),
        (web_signature(DATA, json.dumps({**CLIENT, "challenge": 7}), b""), "the challenge"),
        (web_signature(DATA, json.dumps({**CLIENT, "challenge": CLIENT["challenge"] + "="}), b""), "the challenge"),
        (web_signature(DATA, json.dumps(CLIENT), b""), "does not fit"),
        (web_signature(DATA, json.dumps(CLIENT), bytes(64)), "does not fit"),
    ],
)
@pytest.mark.parametrize("kind", [name for name in USERS if name.startswith("authenticator")])
def test_a_signature_of_an_authenticator_that_is_none_is_told(kind: str, signature: bytes, error: str) -> None:
    with pytest.raises(WrongSignature, match=error):
        signatures.check(USERS[kind].der, signature, MESSAGE, ROOT_KEY)


def test_an_authenticator_signs_what_the_browser_says_too() -> None:
    user = Authenticator(P256)
    signatures.check(user.der, user.assertion(DATA, json.dumps(CLIENT)), MESSAGE, ROOT_KEY)
    content = cbor2.loads(user.assertion(DATA, json.dumps(CLIENT)))
    for changed in ({"authenticator_data": DATA[1:]}, {"client_data_json": json.dumps({**CLIENT, "origin": "y"})}):
        with pytest.raises(WrongSignature, match="does not fit"):
            signatures.check(user.der, self_described({**content, **changed}), MESSAGE, ROOT_KEY)


SIGNED = hash_tree.tree({hashlib.sha256(b"anchor").digest(): {hashlib.sha256(MESSAGE).digest(): b""}})


def _tree(**more: Any) -> hash_tree.Node:
    return hash_tree.tree({b"sig": SIGNED, **{name.encode(): value for name, value in more.items()}})


def _value_instead() -> hash_tree.Node:
    return hash_tree.tree({b"sig": {hashlib.sha256(b"anchor").digest(): {hashlib.sha256(MESSAGE).digest(): b"x"}}})


UNORDERED = hash_tree.Fork(hash_tree.Labeled(b"z", hash_tree.Leaf(b"")), hash_tree.Labeled(b"sig", SIGNED))
TWICE = hash_tree.Fork(hash_tree.Labeled(b"sig", SIGNED), hash_tree.Labeled(b"sig", SIGNED))
BESIDE = hash_tree.Fork(hash_tree.Labeled(b"sig", SIGNED), hash_tree.Leaf(b""))


@pytest.mark.parametrize(
    ("tree", "error"),
    [
        (hash_tree.EMPTY, "does not have key and content"),
        (hash_tree.Leaf(b""), "a value"),
        (hash_tree.tree({b"sig": b""}), "a value"),
        (hash_tree.Pruned(_tree().digest), "does not have key and content"),
        (hash_tree.tree({b"gis": SIGNED}), "does not have key and content"),
        (_value_instead(), "does not have key and content"),
        (UNORDERED, "not in order"),
        (TWICE, "not in order"),
        (BESIDE, "a value stands beside labels"),
    ],
)
def test_a_tree_without_the_signature_is_refused_though_certified(tree: hash_tree.Node, error: str) -> None:
    with pytest.raises(WrongSignature, match=error):
        signatures.check(canister_user().der, canister_user().sign_tree(tree), MESSAGE, ROOT_KEY)


def test_other_labels_and_signatures_in_the_tree_do_not_matter() -> None:
    for tree in (_tree(other=b"x", zzz={b"a": b"b"}), hash_tree.prune(_tree(other=b"x"), [[b"sig"]])):
        signatures.check(canister_user().der, canister_user().sign_tree(tree), MESSAGE, ROOT_KEY)


@pytest.mark.parametrize(
    ("signature", "error"),
    [
        (cbor2.loads(canister_user().sign(MESSAGE)), "the tag of self-described CBOR"),
        (self_described({}), "not a map with certificate and tree"),
        (self_described({"certificate": certified(_tree().digest), "tree": b""}), "not a map with"),
        (self_described({"certificate": certified(_tree().digest), "tree": [7]}), "not a hash tree"),
        (canister_signature(b"", _tree()), "the certificate is not CBOR"),
        (canister_signature(self_described({}), _tree()), "the certificate is not a map"),
        (canister_signature(certified(bytes(32)), _tree()), "is not what canister .* has certified"),
        (canister_signature(certified(_tree().digest, OTHER), _tree()), "is not what canister"),
        (canister_signature(certified(_tree().digest, key=ANOTHER), _tree()), "not signed with this key"),
        (canister_signature(certified(_tree().digest, delegation=7), _tree()), "the delegation is not a map"),
    ],
)
def test_a_signature_of_a_canister_that_is_none_is_told(signature: Any, error: str) -> None:
    encoded = signature if isinstance(signature, bytes) else cbor2.dumps(signature)
    with pytest.raises(WrongSignature, match=error):
        signatures.check(canister_user().der, encoded, MESSAGE, ROOT_KEY)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ({b"type": b"application"}, None),
        ({b"type": b"system"}, None),
        ({b"type": b"cloud_engine"}, "a subnet of type cloud_engine"),
        ({}, "does not show subnet/.*/type"),
        ({b"type": b"application", b"canister_ranges": self_described([[OTHER, OTHER]])}, "does not cover"),
    ],
    ids=["application", "system", "cloud engine", "unknown", "of other canisters"],
)
def test_a_canister_of_another_subnet_may_sign_unless_it_is_a_cloud_engine(
    labels: dict[bytes, bytes], error: str | None
) -> None:
    subnet = principal.self_authenticating(ANOTHER.public_key_der)
    known = {
        b"public_key": ANOTHER.public_key_der,
        b"canister_ranges": self_described([[CANISTER, CANISTER]]),
        **labels,
    }
    state = hash_tree.tree({b"subnet": {subnet: known}, b"time": b"\1"})
    (delegating,) = certificate.certify(state, [[[b"subnet"], [b"time"]]], NETWORK)
    delegation = {"subnet_id": subnet, "certificate": delegating}
    user = CanisterUser(CANISTER, b"", lambda data: certified(data, key=ANOTHER, delegation=delegation))
    if error is None:
        signatures.check(user.der, user.sign(MESSAGE), MESSAGE, ROOT_KEY)
    else:
        with pytest.raises(WrongSignature, match=error):
            signatures.check(user.der, user.sign(MESSAGE), MESSAGE, ROOT_KEY)


def _compressed(private: ec.EllipticCurvePrivateKey) -> bytes:
    whole = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    prefix = bytearray(whole[: -len(point) * 2 + 1])
    prefix[1] -= 32
    prefix[-2] -= 32
    return bytes(prefix) + point


@pytest.mark.parametrize(
    ("der", "error"),
    [
        (b"", "is not a valid DER key"),
        (b"not a key", "is not a valid DER key"),
        (Key.ed25519("one").der + b"\0", "DER"),
        (_compressed(P256), "DER"),
        (
            RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "of another kind than Ed25519",
        ),
        (canister_key(CANISTER, b"") + b"\0", "is not a valid DER key"),
        (canister_key(CANISTER, b"seed")[:-1], "is not a valid DER key"),
        (canister_key(CANISTER, b"seed").replace(b"\x30\x0c", b"\x30\x0d"), "is not a valid DER key"),
        (wrapped(2, b""), "names no canister"),
        (wrapped(2, b"\x0a" + bytes(9)), "names no canister"),
        (wrapped(2, b"\x1e" + bytes(30)), "names no canister"),
        (wrapped(3, b"\x01\x01"), "is not a valid DER key|of another kind"),
    ],
)
def test_a_key_of_another_form_is_told(der: bytes, error: str) -> None:
    with pytest.raises(InvalidKey, match=error):
        signatures.check(der, b"", MESSAGE, ROOT_KEY)


def test_the_canister_that_signs_for_a_key() -> None:
    assert signatures.signing_canister(canister_key(CANISTER, b"seed")) == CANISTER
    for other in (Key.ed25519("one").der, Authenticator(P256).der, b""):
        with pytest.raises(InvalidKey, match="not a key of canister signatures"):
            signatures.signing_canister(other)


def test_an_rsa_key_that_is_too_weak_is_refused() -> None:
    weak: Private = rsa.generate_private_key(65537, 1024)
    with pytest.raises(InvalidKey, match="must have 2048 to 8192 bits, this one has 1024"):
        signatures.check(Authenticator(weak).der, b"", MESSAGE, ROOT_KEY)
