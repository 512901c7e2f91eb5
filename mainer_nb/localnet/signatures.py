"""Signatures of users: which keys they may have, and how what they sign is checked.

Source: IC interface specification, section "Signatures": plain Ed25519 and ECDSA, Web Authentication, canister
signatures. All of it depends on nothing but key, signature, message and the network's root key.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from ..protocol import certificate, hash_tree
from ..protocol.cbor import SELF_DESCRIBED_PREFIX, CborError, decode
from ..protocol.principal import MAX_LENGTH, to_text

#: Bits of RSA keys (as mainnet has it).
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192
MAX_COSE_DEPTH = 8
#: Bytes of a key other than of canister signatures, whose seed may be long: keys are kept once they were seen.
MAX_KEY = 16 * 1024
MAX_TREE_DEPTH = 400
#: The signatures of canisters of such subnets are not valid (changelog 0.60.0).
_REFUSED_SUBNETS = frozenset({b"cloud_engine"})


class InvalidKey(ValueError):
    """Bytes that are no public key of a user; the text says why."""


class WrongSignature(ValueError):
    """A signature that is not the key's for the message; the text says why, as far as there is more to say."""


def check(public_key: bytes, signature: bytes, message: bytes, root_key: bytes) -> None:
    """Checks a signature of any kind.

    Args:
        public_key: of the user, DER.
        message: what is signed, with its domain separator.
        root_key: the network's, DER, under which certificates of canister signatures are verified.

    Raises:
        InvalidKey: `public_key` is not one.
        WrongSignature: the signature is not the key's for the message.
    """
    canister = _content(_CANISTER_SIGNATURE, public_key)
    if canister is not None:
        _check_canister_signature(*_split(canister), signature, message, root_key)
        return
    try:
        _verifier(public_key)(signature, message)
    except InvalidSignature:
        raise WrongSignature("it does not fit key and content") from None


def signing_canister(public_key: bytes) -> bytes:
    """The canister that makes the signatures of a key.

    Raises:
        InvalidKey: the key is not one of canister signatures.
    """
    content = _content(_CANISTER_SIGNATURE, public_key)
    if content is None:
        raise InvalidKey("it is not a key of canister signatures")
    return _split(content)[0]


# Keys

_Verify = Callable[[bytes, bytes], None]  # (signature, message); raises InvalidSignature

# AlgorithmIdentifiers of the Internet Computer's own kinds of keys, in their DER form.
_WEB_AUTHENTICATION = bytes.fromhex("300c060a2b0601040183b8430101")
_CANISTER_SIGNATURE = bytes.fromhex("300c060a2b0601040183b8430102")
_SEQUENCE, _BIT_STRING = 0x30, 0x03


@lru_cache(maxsize=1024)
def _verifier(public_key: bytes) -> _Verify:
    """How signatures of a key, given in DER, are checked; not of one of canister signatures."""
    if len(public_key) > MAX_KEY:
        raise InvalidKey(f"it has {len(public_key)} bytes; at most {MAX_KEY} are accepted")
    cose = _content(_WEB_AUTHENTICATION, public_key)
    if cose is not None:
        return partial(_check_web_authentication, _cose_verifier(cose))
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKey(f"{public_key[:64].hex()} is not a valid DER key: {error}") from None
    if isinstance(key, ed25519.Ed25519PublicKey):
        verify: _Verify = key.verify
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256K1 | ec.SECP256R1):
        verify = partial(_verify_ecdsa, key)
    else:
        raise InvalidKey(
            "it is of another kind than Ed25519, ECDSA on P-256 and on secp256k1, Web Authentication and canister"
            " signatures"
        )
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != public_key:
        raise InvalidKey("its DER form must be the usual one, a point uncompressed, and nothing may follow")
    return verify


def _verify_ecdsa(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    """The signature is r and s, 32 bytes each, big-endian, of the message's SHA-256."""
    if len(signature) != 64:
        raise InvalidSignature
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))


def _content(algorithm: bytes, public_key: bytes) -> bytes | None:
    """The bit string of a ``SubjectPublicKeyInfo`` with this AlgorithmIdentifier; None if it has another.

    Raises:
        InvalidKey: it has this one, but is not well-formed.
    """
    start = public_key.find(algorithm, 0, len(algorithm) + 6)
    if start < 0:
        return None
    bits = public_key[start + len(algorithm) :]
    for header in range(2, 7):
        content = bits[header + 1 :]
        if _der(_SEQUENCE, algorithm + _der(_BIT_STRING, b"\0" + content)) == public_key:
            return content
    raise InvalidKey(f"{public_key[:64].hex()} is not a valid DER key")


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(digits)]) + digits + content


# Web Authentication


def _cose_verifier(cose: bytes) -> _Verify:
    """How signatures of a COSE key are checked (RFC 9052, section 7; RFC 9053; RFC 8230)."""
    try:
        key = decode(cose, MAX_COSE_DEPTH, other_keys=True)
    except CborError as error:
        raise InvalidKey(f"its COSE form is not CBOR: {error}") from None
    try:
        match key:
            case {1: 2, 3: -7, -1: 1, -2: bytes(x), -3: bytes(y)} if len(x) == len(y) == 32:
                point = ec.EllipticCurvePublicNumbers(
                    int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1()
                )
                return partial(_verify_der_ecdsa, point.public_key())
            case {1: 3, 3: -257, -1: bytes(n), -2: bytes(e)} if len(n) <= MAX_RSA_BITS // 8 and len(e) <= 8:
                return partial(_verify_rsa, _rsa_key(int.from_bytes(n, "big"), int.from_bytes(e, "big")))
            case {1: 1, 3: -8, -1: 6, -2: bytes(x)}:
                return ed25519.Ed25519PublicKey.from_public_bytes(x).verify
    except ValueError as error:
        raise InvalidKey(f"its COSE form is not a valid key: {error}") from None
    raise InvalidKey("its COSE form is not a key of ECDSA on P-256, RSA with SHA-256, or Ed25519")


def _rsa_key(n: int, e: int) -> rsa.RSAPublicKey:
    if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS:
        raise ValueError(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this one has {n.bit_length()}")
    return rsa.RSAPublicNumbers(e, n).public_key()


def _verify_der_ecdsa(key: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> None:
    key.verify(signature, message, ec.ECDSA(SHA256()))


def _verify_rsa(key: rsa.RSAPublicKey, signature: bytes, message: bytes) -> None:
    key.verify(signature, message, padding.PKCS1v15(), SHA256())


def _check_web_authentication(verify: _Verify, signature: bytes, message: bytes) -> None:
    """The authenticator signed its data and the browser's, whose challenge is the message."""
    match _tagged(signature):
        case {"authenticator_data": bytes(data), "client_data_json": str(client_data), "signature": bytes(inner)}:
            pass
        case _:
            raise WrongSignature("it is not a map with authenticator_data, client_data_json and signature")
    if _challenge(client_data) != base64.urlsafe_b64encode(message).rstrip(b"=").decode():
        raise WrongSignature("the challenge in client_data_json is not what is to be signed")
    verify(inner, data + hashlib.sha256(client_data.encode()).digest())


def _challenge(client_data: str) -> Any:
    try:
        content = json.loads(client_data)
    except (ValueError, RecursionError):
        raise WrongSignature("client_data_json is not JSON") from None
    return content.get("challenge") if isinstance(content, dict) else None


# Canister signatures


def _split(content: bytes) -> tuple[bytes, bytes]:
    """The canister id and the seed in a key of canister signatures."""
    if not content or content[0] > min(MAX_LENGTH, len(content) - 1):
        raise InvalidKey("it names no canister, although it is a key of canister signatures")
    return content[1 : 1 + content[0]], content[1 + content[0] :]


def _check_canister_signature(canister_id: bytes, seed: bytes, signature: bytes, message: bytes, root: bytes) -> None:
    """The canister's certified data is the hash of a tree that has seed and message."""
    match _tagged(signature):
        case {"certificate": bytes(certified), "tree": list(nested) | tuple(nested)}:
            pass
        case _:
            raise WrongSignature("it is not a map with certificate and tree")
    try:
        tree = hash_tree.from_cbor(nested)
        hash_tree.check_well_formed(tree)
        state = certificate.verify(certified, root, canister_id, refused_subnets=_REFUSED_SUBNETS)
        data = hash_tree.lookup_value([b"canister", canister_id, b"certified_data"], state)
        path = [b"sig", hashlib.sha256(seed).digest(), hashlib.sha256(message).digest()]
        found = hash_tree.lookup_value(path, tree)
    except (hash_tree.TreeError, certificate.InvalidCertificate) as error:
        raise WrongSignature(str(error)) from None
    if data != tree.digest:
        raise WrongSignature(f"its tree is not what canister {to_text(canister_id)} has certified")
    if found != b"":
        raise WrongSignature("its tree does not have key and content")


def _tagged(signature: bytes) -> Mapping[Any, Any] | None:
    """What a signature in CBOR contains, which must begin with the tag that says so."""
    if not signature.startswith(SELF_DESCRIBED_PREFIX):
        raise WrongSignature("it does not begin with the tag of self-described CBOR")
    try:
        content = decode(signature, MAX_TREE_DEPTH)
    except CborError as error:
        raise WrongSignature(f"it is not CBOR: {error}") from None
    return content if isinstance(content, Mapping) else None
