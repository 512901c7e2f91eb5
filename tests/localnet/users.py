"""Users as the specification has them: keys of every kind, which sign requests and delegate to others."""

from __future__ import annotations

import base64
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mainer_nb.protocol import hash_tree, principal
from mainer_nb.protocol.cbor import self_described
from mainer_nb.protocol.request_id import hash_of_map

Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_WEB_AUTHENTICATION, _CANISTER_SIGNATURE = 1, 2


class User(ABC):
    """Who signs with the key `der`."""

    def __init__(self, der: bytes) -> None:
        self.der = der
        self.principal = principal.self_authenticating(der)

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """A signature of `message`, which begins with its domain separator."""

    def delegate(self, to: User, expiration: int, **more: Any) -> dict[str, Any]:
        """A delegation to another key, with `more` fields."""
        delegation = {"pubkey": to.der, "expiration": expiration, **more}
        return {
            "delegation": delegation,
            "signature": self.sign(b"\x1aic-request-auth-delegation" + hash_of_map(delegation)),
        }

    def envelope(
        self, content: dict[str, Any], by: User | None = None, delegations: Sequence[Any] | None = None
    ) -> dict[str, Any]:
        """A request of this user, signed by it, or `by` a key that it delegates to."""
        signature = (by or self).sign(b"\x0aic-request" + hash_of_map(content))
        whole = {"content": content, "sender_pubkey": self.der, "sender_sig": signature}
        return whole if delegations is None else {**whole, "sender_delegation": delegations}

    def request(
        self, content: dict[str, Any], by: User | None = None, delegations: Sequence[Any] | None = None
    ) -> bytes:
        """The same in CBOR."""
        return cbor2.dumps(self.envelope(content, by, delegations))


class Key(User):
    """An Ed25519 or ECDSA key."""

    def __init__(self, private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        super().__init__(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        self._private = private

    @classmethod
    def ed25519(cls, name: str) -> Key:
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))

    @classmethod
    def ecdsa(cls, name: str, curve: ec.EllipticCurve) -> Key:
        return cls(ec_key(name, curve))

    def sign(self, message: bytes) -> bytes:
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def ec_key(name: str, curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    """The same key for the same name."""
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"), curve)


class Authenticator(User):
    """A Web Authentication key, with the browser that asks it to sign."""

    def __init__(self, private: Private) -> None:
        super().__init__(wrapped(_WEB_AUTHENTICATION, cbor2.dumps(cose(private))))
        self._private = private

    def sign(self, message: bytes) -> bytes:
        challenge = base64.urlsafe_b64encode(message).rstrip(b"=").decode()
        data = hashlib.sha256(b"localhost").digest() + bytes([1, 0, 0, 0, 7])
        return self.assertion(data, json.dumps({"type": "webauthn.get", "challenge": challenge, "origin": "http://x"}))

    def assertion(self, data: bytes, client_data: str) -> bytes:
        """The signature of an authenticator that has this to sign."""
        signed = data + hashlib.sha256(client_data.encode()).digest()
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            inner = self._private.sign(signed)
        elif isinstance(self._private, rsa.RSAPrivateKey):
            inner = self._private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            inner = self._private.sign(signed, ec.ECDSA(hashes.SHA256()))
        return web_signature(data, client_data, inner)


def web_signature(data: bytes, client_data: str, inner: bytes) -> bytes:
    """What an authenticator gives, in the form of the Internet Computer."""
    return self_described({"authenticator_data": data, "client_data_json": client_data, "signature": inner})


def cose(private: Private) -> dict[int, Any]:
    """The public key as an authenticator gives it."""
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return {1: 1, 3: -8, -1: 6, -2: private.public_key().public_bytes_raw()}
    if isinstance(private, rsa.RSAPrivateKey):
        n, e = private.public_key().public_numbers().n, private.public_key().public_numbers().e
        return {1: 3, 3: -257, -1: n.to_bytes((n.bit_length() + 7) // 8, "big"), -2: e.to_bytes(3, "big")}
    point = private.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}


#: Gives the certificate of a canister once its certified data is this.
Certify = Callable[[bytes], bytes]


class CanisterUser(User):
    """A user for whom a canister signs, as Internet Identity does: its certified data is the hash of what it signed."""

    def __init__(self, canister_id: bytes, seed: bytes, certify: Certify) -> None:
        super().__init__(canister_key(canister_id, seed))
        self.canister_id = canister_id
        self._seed = hashlib.sha256(seed).digest()
        self._certify = certify

    def sign(self, message: bytes) -> bytes:
        return self.sign_tree(hash_tree.tree({b"sig": {self._seed: {hashlib.sha256(message).digest(): b""}}}))

    def sign_tree(self, tree: hash_tree.Node) -> bytes:
        """The signature of a canister that certifies this tree."""
        return canister_signature(self._certify(tree.digest), tree)

    def sender_info(self, info: bytes) -> dict[str, bytes]:
        """What the canister says of its user."""
        return {"info": info, "signer": self.canister_id, "sig": self.sign(b"\x0eic-sender-info" + info)}


def canister_signature(certificate: bytes, tree: hash_tree.Node) -> bytes:
    return self_described({"certificate": certificate, "tree": hash_tree.to_cbor(tree)})


def canister_key(canister_id: bytes, seed: bytes) -> bytes:
    """The DER form of a key of canister signatures."""
    return wrapped(_CANISTER_SIGNATURE, bytes([len(canister_id)]) + canister_id + seed)


def wrapped(kind: int, content: bytes) -> bytes:
    """The DER form of a key of the Internet Computer's own kinds: OID 1.3.6.1.4.1.56387.1.`kind`."""
    algorithm = bytes.fromhex("300c060a2b0601040183b84301") + bytes([kind])
    return _der(0x30, algorithm + _der(0x03, b"\0" + content))


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    digits = size.to_bytes(4, "big").lstrip(b"\0")
    return bytes([tag]) + (bytes([size]) if size < 128 else bytes([0x80 + len(digits)]) + digits) + content
