"""Threshold signatures of subnets: BLS on the curve BLS12-381, signatures in G1, keys in G2 (IC interface
specification, "Signature algorithms", ciphersuite BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_).
"""

from __future__ import annotations

from functools import lru_cache

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

SEED_LENGTH = 32
SIGNATURE_LENGTH = 48
KEY_LENGTH = 96

_CIPHERSUITE = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_DER_PREFIX = bytes.fromhex("308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100")
_G2 = G2Point()


class BlsError(ValueError):
    """Bytes that are not a BLS public key."""


class SecretKey:
    """A subnet's key.

    Args:
        seed: 32 bytes; the same seed gives the same key.

    Raises:
        ValueError: the seed has another length or gives the key zero.
    """

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_LENGTH:
            raise ValueError(f"the seed of a BLS key has {SEED_LENGTH} bytes, not {len(seed)}")
        self._scalar = Scalar.from_be_bytes_mod_order(seed)
        if self._scalar.is_zero():
            raise ValueError("this seed gives the key zero")
        self.public_key_der = _DER_PREFIX + bytes((_G2 * self._scalar).to_compressed_bytes())

    def sign(self, message: bytes) -> bytes:
        """The signature, 48 bytes (a compressed point of G1)."""
        return bytes((G1Point.hash_to_curve(message, _CIPHERSUITE) * self._scalar).to_compressed_bytes())


def public_key(der: bytes) -> bytes:
    """The key in its DER form: 96 bytes, a compressed point of G2.

    Raises:
        BlsError: `der` is not the DER form of such a key.
    """
    if len(der) != len(_DER_PREFIX) + KEY_LENGTH or not der.startswith(_DER_PREFIX):
        raise BlsError(f"not a BLS12-381 public key in the Internet Computer's DER form: {der[:40].hex()}...")
    return der[len(_DER_PREFIX) :]


@lru_cache(maxsize=64)
def _point(public_key_der: bytes) -> G2Point:
    try:
        return G2Point.from_compressed_bytes(public_key(public_key_der))
    except ValueError as error:
        raise BlsError(f"not a BLS12-381 public key: {error}") from None


def verify(public_key_der: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the key holder's for `message`.

    Args:
        public_key_der: the key, DER.
        message: what was signed, with its domain separator.
        signature: 48 bytes; of other lengths it is wrong.

    Raises:
        BlsError: the key is malformed.
    """
    key = _point(public_key_der)
    if len(signature) != SIGNATURE_LENGTH or key == G2Point.identity():
        return False
    return _holds(public_key_der, message, signature)


@lru_cache(maxsize=1024)  # a network certifies many answers with one signature
def _holds(public_key_der: bytes, message: bytes, signature: bytes) -> bool:
    key = _point(public_key_der)
    try:
        point = G1Point.from_compressed_bytes(signature)
    except ValueError:
        return False
    hashed = G1Point.hash_to_curve(message, _CIPHERSUITE)
    return bool(GT.pairing_check([point, -hashed], [_G2, key]))
