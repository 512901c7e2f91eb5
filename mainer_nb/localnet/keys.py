"""Development keys for signing and key derivation: what threshold keys are on the main network.

Every network has its own keys, made from one secret seed. From a master key the key of a canister is
derived, then keys along a derivation path, as the IC interface specification says:

* secp256k1, for ECDSA and BIP340: a generalisation of BIP32 (``ecdsa_public_key``); secp256r1, for ECDSA: the same,
  which for this curve is SLIP-10;
* Ed25519: section "Ed25519 hierarchical key derivation";
* BLS12-381, for vetKD: ``vetkd_public_key``, ``vetkd_derive_key``.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

SEED_LENGTH = 32
NAMES = ("dfx_test_key", "test_key_1", "key_1")

_SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SECP256R1_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
_MASTER_CHAIN_CODE = bytes(32)
_AUGMENTED = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_AUG_"


def _master(seed: bytes, purpose: str, order: int) -> int:
    """A number from 1 to `order` - 1."""
    material = HKDF(hashes.SHA512(), 64, None, purpose.encode()).derive(seed)
    return int.from_bytes(material, "big") % (order - 1) + 1


class EcdsaKey:
    """An extended private key of a curve: the number and the chain code.

    Attributes:
        public_key: SEC1, compressed.
        chain_code: 32 bytes.
    """

    _curve: ec.EllipticCurve
    _order: int

    def __init__(self, secret: int, chain_code: bytes = _MASTER_CHAIN_CODE) -> None:
        self._secret = secret
        self._key = ec.derive_private_key(secret, self._curve)
        self.public_key = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        self.chain_code = chain_code

    @classmethod
    def master(cls, seed: bytes, purpose: str) -> Self:
        """The master key for `purpose`, such as ``ecdsa/key_1``."""
        return cls(_master(seed, purpose, cls._order))

    def derive(self, path: Sequence[bytes]) -> Self:
        """The key at the end of `path`, each element of which is any bytes (BIP32 has 4, big-endian)."""
        key = self
        for index in path:
            key = key._child(index)
        return key

    def _child(self, index: bytes) -> Self:
        data = self.public_key
        while True:
            output = hmac.digest(self.chain_code, data + index, "sha512")
            offset, chain_code = int.from_bytes(output[:32], "big"), output[32:]
            secret = (self._secret + offset) % self._order
            if offset < self._order and secret:
                return type(self)(secret, chain_code)
            data = b"\1" + chain_code  # as SLIP-10 says; happens once in 2**127 times, with secp256r1 in 2**32

    def sign_ecdsa(self, message_hash: bytes) -> bytes:
        """r and s, 32 bytes each, of the ECDSA signature with the smaller s."""
        r, s = decode_dss_signature(self._key.sign(message_hash, ec.ECDSA(Prehashed(hashes.SHA256()))))
        return r.to_bytes(32, "big") + min(s, self._order - s).to_bytes(32, "big")


class Secp256r1Key(EcdsaKey):
    """A key of the curve NIST P-256."""

    _curve = ec.SECP256R1()
    _order = _SECP256R1_ORDER


class Secp256k1Key(EcdsaKey):
    """A key of the curve of Bitcoin."""

    _curve = ec.SECP256K1()
    _order = _SECP256K1_ORDER

    def sign_bip340(self, message: bytes, merkle_root: bytes | None = None) -> bytes:
        """The Schnorr signature of BIP340; with a `merkle_root` (may be empty) by the output key of BIP341."""
        key = self if merkle_root is None else self._tweaked(merkle_root)
        secret, public = key._even()
        mask = int.from_bytes(_tagged("BIP0340/aux", os.urandom(32)), "big")
        nonce_hash = _tagged("BIP0340/nonce", (secret ^ mask).to_bytes(32, "big") + public + message)
        nonce, point = Secp256k1Key(int.from_bytes(nonce_hash, "big") % _SECP256K1_ORDER)._even()
        challenge = int.from_bytes(_tagged("BIP0340/challenge", point + public + message), "big")
        return point + ((nonce + challenge * secret) % _SECP256K1_ORDER).to_bytes(32, "big")

    def _even(self) -> tuple[int, bytes]:
        """The number whose point has an even y, and the point's x."""
        odd = self.public_key[0] == 3
        return _SECP256K1_ORDER - self._secret if odd else self._secret, self.public_key[1:]

    def _tweaked(self, merkle_root: bytes) -> Secp256k1Key:
        secret, public = self._even()
        tweak = int.from_bytes(_tagged("TapTweak", public + merkle_root), "big")
        return Secp256k1Key((secret + tweak) % _SECP256K1_ORDER)


def _tagged(tag: str, message: bytes) -> bytes:
    """The tagged hash of BIP340."""
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix + prefix + message).digest()


class Ed25519Key:
    """An extended private key; its number is not clamped.

    Attributes:
        public_key: as RFC 8032 encodes it.
        chain_code: 32 bytes.
    """

    def __init__(self, secret: int, chain_code: bytes = _MASTER_CHAIN_CODE) -> None:
        self._secret = secret
        self.public_key = _ed25519_point(secret)
        self.chain_code = chain_code

    @classmethod
    def master(cls, seed: bytes, purpose: str) -> Ed25519Key:
        """The master key for `purpose`."""
        return cls(_master(seed, purpose, _ED25519_ORDER))

    def derive(self, path: Sequence[bytes]) -> Ed25519Key:
        """The key at the end of `path`."""
        key = self
        for index in path:
            output = HKDF(hashes.SHA512(), 96, key.chain_code, b"Ed25519").derive(key.public_key + index)
            tweak = int.from_bytes(output[:64], "big")
            key = Ed25519Key((key._secret + tweak) % _ED25519_ORDER, output[64:])
        return key

    def sign(self, message: bytes) -> bytes:
        """The signature (RFC 8032, 5.1.6)."""
        nonce = _little(hashlib.sha512(os.urandom(32) + self._secret.to_bytes(32, "little") + message).digest())
        point = _ed25519_point(nonce)
        challenge = _little(hashlib.sha512(point + self.public_key + message).digest())
        return point + ((nonce + challenge * self._secret) % _ED25519_ORDER).to_bytes(32, "little")


def _little(digest: bytes) -> int:
    return int.from_bytes(digest, "little") % _ED25519_ORDER


def _ed25519_point(scalar: int) -> bytes:
    return bytes(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little")))


class VetKey:
    """A vetKD key, in G2. `public_key`: 96 bytes, compressed."""

    def __init__(self, secret: Scalar) -> None:
        self._secret = secret
        self.public_key = bytes((G2Point() * secret).to_compressed_bytes())

    @classmethod
    def master(cls, seed: bytes, purpose: str) -> VetKey:
        """The master key for `purpose`."""
        return cls(Scalar.from_be_bytes_mod_order(HKDF(hashes.SHA512(), 64, None, purpose.encode()).derive(seed)))

    def derive(self, canister_id: bytes, context: bytes) -> VetKey:
        """The key of a canister for `context`; for an empty one the canister's own."""
        key = self._child(canister_id, b"ic-vetkd-bls12-381-g2-canister-id")
        return key._child(context, b"ic-vetkd-bls12-381-g2-context") if context else key

    def _child(self, index: bytes, domain: bytes) -> VetKey:
        data = b"".join(len(part).to_bytes(8, "big") + part for part in (self.public_key, index))
        return VetKey(self._secret + Scalar.from_be_bytes_mod_order(_expand(data, domain)))

    def encrypted(self, message: bytes, transport_key: bytes) -> bytes:
        """The key derived for `message`, encrypted for the holder of `transport_key` (a compressed point of G1).

        Raises:
            ValueError: that is no such point.
        """
        transport = G1Point.from_compressed_bytes(transport_key)
        if transport == G1Point.identity():
            raise ValueError("the transport key is the point at infinity")
        derived = G1Point.hash_to_curve(self.public_key + message, _AUGMENTED) * self._secret
        blinding = Scalar.from_be_bytes_mod_order(os.urandom(64))
        parts = (G1Point() * blinding, G2Point() * blinding, transport * blinding + derived)
        return b"".join(bytes(part.to_compressed_bytes()) for part in parts)


def _expand(message: bytes, domain: bytes) -> bytes:
    """48 bytes of expand_message_xmd with SHA-256 (RFC 9380, section 5.3.1), to be reduced to a scalar."""
    suffix = domain + bytes([len(domain)])
    first = hashlib.sha256(bytes(64) + message + (48).to_bytes(2, "big") + b"\0" + suffix).digest()
    second = hashlib.sha256(first + b"\1" + suffix).digest()
    mixed = bytes(a ^ b for a, b in zip(first, second, strict=True))
    return (second + hashlib.sha256(mixed + b"\2" + suffix).digest())[:48]
