"""Management canister: ECDSA, Schnorr and vetKD with development keys."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from ecdsa import NIST256p, SECP256k1
from ecdsa.ellipticcurve import PointJacobi
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp
from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from mainer_nb.localnet import keys
from tests.localnet.acceptance.proxy import Proxy, rejected
from tests.localnet.driver import Driver

ECDSA = {"curve": {"secp256k1": None}, "name": "dfx_test_key"}
P256 = {"curve": {"secp256r1": None}, "name": "dfx_test_key"}
BIP340 = {"algorithm": {"bip340secp256k1": None}, "name": "dfx_test_key"}
ED25519 = {"algorithm": {"ed25519": None}, "name": "dfx_test_key"}
VETKD = {"curve": {"bls12_381_g2": None}, "name": "dfx_test_key"}
FEE = 10_000_000_000
HASH = hashlib.sha256(b"message").digest()
PATH = [b"\0\0\0\1", b"", b"any bytes"]
_ORDER = SECP256k1.order


@pytest.fixture
def proxy(ic: Driver) -> Proxy:
    """A canister that asks for signatures."""
    return Proxy(ic)


def point(encoded: bytes) -> Any:
    return PointJacobi.from_bytes(SECP256k1.curve, encoded)


def bip32_child(public_key: bytes, chain_code: bytes, index: bytes) -> tuple[bytes, bytes]:
    """The public child key of BIP32, with any bytes as index."""
    output = hmac.digest(chain_code, public_key + index, "sha512")
    child = point(public_key) + SECP256k1.generator * int.from_bytes(output[:32], "big")
    return child.to_bytes("compressed"), output[32:]


def tagged(tag: str, data: bytes) -> bytes:
    prefix = hashlib.sha256(tag.encode()).digest()
    return hashlib.sha256(prefix * 2 + data).digest()


def is_bip340(public_x: bytes, message: bytes, signature: bytes) -> bool:
    """Verification as BIP340 describes it."""
    challenge = int.from_bytes(tagged("BIP0340/challenge", signature[:32] + public_x + message), "big") % _ORDER
    found = SECP256k1.generator * int.from_bytes(signature[32:], "big") + point(b"\2" + public_x) * (_ORDER - challenge)
    return bool(found.y() % 2 == 0 and found.x() == int.from_bytes(signature[:32], "big"))


# ECDSA


def ecdsa_key(proxy: Proxy, path: list[bytes], **more: Any) -> Any:
    return proxy.manage("ecdsa_public_key", {"derivation_path": path, "key_id": ECDSA, **more})


def sign_ecdsa(proxy: Proxy, cycles: int = FEE, digest: bytes = HASH, **more: Any) -> Any:
    args = {"message_hash": digest, "derivation_path": PATH, "key_id": ECDSA, **more}
    return proxy.manage("sign_with_ecdsa", args, cycles)


def test_ecdsa_signature(ic: Driver, proxy: Proxy) -> None:
    """an ECDSA signature verifies under the public key of caller and path, and has the smaller s"""
    public = ecdsa_key(proxy, PATH)["public_key"]
    signature = sign_ecdsa(proxy)["signature"]
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), public)
    key.verify(encode_dss_signature(r, s), HASH, ec.ECDSA(Prehashed(hashes.SHA256())))
    assert s <= _ORDER // 2


def test_ecdsa_derivation(ic: Driver, proxy: Proxy) -> None:
    """ECDSA keys along a path are derived from the canister's as in BIP32"""
    root = ecdsa_key(proxy, [])
    public, chain_code = root["public_key"], root["chain_code"]
    for index in PATH:
        public, chain_code = bip32_child(public, chain_code, index)
    assert ecdsa_key(proxy, PATH) == {"public_key": public, "chain_code": chain_code}


def test_p256_signature(proxy: Proxy) -> None:
    """on the curve secp256r1 an ECDSA signature verifies under the public key, and costs as on secp256k1"""
    public = ecdsa_key(proxy, PATH, key_id=P256)["public_key"]
    signature = sign_ecdsa(proxy, key_id=P256)["signature"]
    assert proxy.refunded == 0
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
    key.verify(encode_dss_signature(r, s), HASH, ec.ECDSA(Prehashed(hashes.SHA256())))
    unknown = sign_ecdsa(proxy, key_id={**P256, "name": "nobody's"})
    rejected(unknown, 4, "Requested unknown threshold key: ecdsa:Secp256r1:nobody's, existing keys: [ecdsa:Secp256r1:")


def test_p256_derivation(proxy: Proxy) -> None:
    """on the curve secp256r1 keys along a path are derived from the canister's as in SLIP-10"""
    key = ecdsa_key(proxy, [], key_id=P256)
    public, chain_code = key["public_key"], key["chain_code"]
    for index in PATH:
        output = hmac.digest(chain_code, public + index, "sha512")
        parent = PointJacobi.from_bytes(NIST256p.curve, public)
        child = parent + NIST256p.generator * int.from_bytes(output[:32], "big")
        public, chain_code = child.to_bytes("compressed"), output[32:]
    assert ecdsa_key(proxy, PATH, key_id=P256) == {"public_key": public, "chain_code": chain_code}


def test_slip10_vectors() -> None:
    """derivation on secp256r1 is that of SLIP-10: its vectors m/0, and m/28578'/33941, whose first number is too big"""
    secret = int("eaa31c2e46ca2962227cf21d73a7ef0ce8b31c756897521eb6c7b39796633357", 16)
    chain_code = bytes.fromhex("96cd4465a9644e31528eda3592aa35eb39a9527769ce1855beafc1b81055e75d")
    derived = keys.Secp256r1Key(secret, chain_code).derive([bytes(4)])
    assert derived.chain_code.hex() == "84e9c258bb8557a40e0d041115b376dd55eda99c0042ce29e81ebe4efed9b86a"
    child = int("d7d065f63a62624888500cdb4f88b6d59c2927fee9e6d0cdff9cad555884df6e", 16)
    assert derived.public_key == keys.Secp256r1Key(child).public_key
    secret = int("06f0db126f023755d0b8d86d4591718a5210dd8d024e3e14b6159d63f53aa669", 16)
    chain_code = bytes.fromhex("e94c8ebe30c2250a14713212f6449b20f3329105ea15b652ca5bdfc68f6c65c2")
    derived = keys.Secp256r1Key(secret, chain_code).derive([(33941).to_bytes(4, "big")])
    assert derived.chain_code.hex() == "9e87fe95031f14736774cd82f25fd885065cb7c358c1edf813c72af535e83071"
    child = int("092154eed4af83e078ff9b84322015aefe5769e31270f62c3f66c33888335f3a", 16)
    assert derived.public_key == keys.Secp256r1Key(child).public_key


def test_bip32_vector() -> None:
    """derivation along numbers below 2**31 is that of BIP32 (its test vector 2, m/0)"""
    public = bytes.fromhex("03cbcaa9c98c877a26977d00825c956a238e8dddfbd322cce4f74b0b5bd6ace4a7")
    chain_code = bytes.fromhex("60499f801b896d83179a4374aeb7822aaeaceaa0db1f85ee3e904c4defbd9689")
    secret = int("4b03d6fc340455b363f51020ad3ecca4f0850280cf436c70c727923f6db46c3e", 16)
    child = keys.Secp256k1Key(secret, chain_code)
    assert child.public_key == public
    derived = child.derive([bytes(4)])
    assert derived.public_key.hex() == "02fc9e5af0ac8d9b3cecfe2a888e2117ba3d089d8585886c9c826b6b22a98d12ea"
    assert derived.chain_code.hex() == "f0909affaa7ee7abe5dd4e100598d4dc53cd709d5a5c2cac40e7412f232f7c9c"


def test_ecdsa_keys_differ(ic: Driver, proxy: Proxy) -> None:
    """each canister, path and key name has a key of its own; a canister may ask for the public key of another"""
    other = Proxy(ic)
    mine, theirs = ecdsa_key(proxy, PATH), ecdsa_key(other, PATH)
    assert mine != theirs
    assert ecdsa_key(other, PATH, canister_id=proxy.id) == mine
    assert ecdsa_key(proxy, PATH[:2]) != mine
    assert ecdsa_key(proxy, PATH, key_id={**ECDSA, "name": "key_1"}) != mine


def test_keys_survive(ic: Driver, proxy: Proxy) -> None:
    """development keys are the same after a restart, and different on another network"""
    before = ecdsa_key(proxy, PATH)
    ic.restart()
    assert ecdsa_key(proxy, PATH) == before


def test_ecdsa_hash_size(ic: Driver, proxy: Proxy) -> None:
    """sign_with_ecdsa takes hashes of 32 bytes only"""
    rejected(sign_ecdsa(proxy, digest=b"short"), 4, "message_hash must be 32 bytes")
    assert proxy.refunded == FEE


@pytest.mark.parametrize(("name", "fee"), [("dfx_test_key", FEE), ("test_key_1", FEE), ("key_1", 26_153_846_153)])
def test_fee(ic: Driver, proxy: Proxy, name: str, fee: int) -> None:
    """a signature costs the fee of its key, and cycles beyond the fee come back"""
    key_id = {**ECDSA, "name": name}
    outcome = sign_ecdsa(proxy, fee - 1, key_id=key_id)
    rejected(outcome, 4, f"sign_with_ecdsa request sent with {fee - 1} cycles, but {fee} cycles are required.")
    assert proxy.refunded == fee - 1
    assert len(sign_ecdsa(proxy, fee + 5, key_id=key_id)["signature"]) == 64
    assert proxy.refunded == 5


@pytest.mark.parametrize(
    ("method", "key_id", "more"),
    [
        ("ecdsa_public_key", ECDSA, {"derivation_path": []}),
        ("sign_with_ecdsa", ECDSA, {"derivation_path": [], "message_hash": HASH}),
        ("schnorr_public_key", BIP340, {"derivation_path": []}),
        ("sign_with_schnorr", ED25519, {"derivation_path": [], "message": b""}),
        ("vetkd_public_key", VETKD, {"context": b""}),
        ("vetkd_derive_key", VETKD, {"context": b"", "input": b"", "transport_public_key": b""}),
    ],
)
def test_unknown_keys(ic: Driver, proxy: Proxy, method: str, key_id: dict[str, Any], more: dict[str, Any]) -> None:
    """an unknown key name is rejected with a text that lists the known ones; users cannot call these methods"""
    args = {"key_id": {**key_id, "name": "no_key"}, **more}
    outcome = proxy.manage(method, args, FEE)
    rejected(outcome, 4, "Requested unknown threshold key")
    assert ":no_key, existing keys: [" in outcome.message
    rejected(ic.manage(method, args), 4, f"Only canisters can call ic00 method {method}", "IC0406")


def test_path_length(ic: Driver, proxy: Proxy) -> None:
    """a derivation path has at most 255 elements"""
    assert "public_key" in ecdsa_key(proxy, [b""] * 255)
    rejected(ecdsa_key(proxy, [b""] * 256), 4, "at most 255 elements")


# Schnorr


def schnorr_key(proxy: Proxy, key_id: dict[str, Any], path: list[bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = proxy.manage("schnorr_public_key", {"derivation_path": path, "key_id": key_id})
    return found


def sign_schnorr(proxy: Proxy, key_id: dict[str, Any], message: bytes, **more: Any) -> Any:
    args = {"message": message, "derivation_path": PATH, "key_id": key_id, **more}
    return proxy.manage("sign_with_schnorr", args, FEE)


@pytest.mark.parametrize("message", [b"", b"message", HASH, b"x" * 1000])
def test_bip340(ic: Driver, proxy: Proxy, message: bytes) -> None:
    """a BIP340 signature of a message of any length verifies under the x coordinate of the public key"""
    public = schnorr_key(proxy, BIP340, PATH)["public_key"]
    signature = sign_schnorr(proxy, BIP340, message)["signature"]
    assert is_bip340(public[1:], message, signature)
    assert not is_bip340(public[1:], message + b"!", signature)


def test_bip340_derivation(ic: Driver, proxy: Proxy) -> None:
    """BIP340 keys are derived in the same way as ECDSA keys, from another master key"""
    root = schnorr_key(proxy, BIP340, [])
    public, chain_code = bip32_child(root["public_key"], root["chain_code"], b"x")
    assert schnorr_key(proxy, BIP340, [b"x"]) == {"public_key": public, "chain_code": chain_code}
    assert root != ecdsa_key(proxy, [])


@pytest.mark.parametrize("root", [b"", bytes(32)])
def test_bip341(ic: Driver, proxy: Proxy, root: bytes) -> None:
    """with a bip341 merkle root the signature verifies under the tweaked output key"""
    internal = schnorr_key(proxy, BIP340, PATH)["public_key"][1:]
    aux = {"bip341": {"merkle_root_hash": root}}
    signature = sign_schnorr(proxy, BIP340, HASH, aux=aux)["signature"]
    tweak = int.from_bytes(tagged("TapTweak", internal + root), "big")
    output = (point(b"\2" + internal) + SECP256k1.generator * tweak).to_bytes("compressed")[1:]
    assert is_bip340(output, HASH, signature)


def test_bip341_refused(ic: Driver, proxy: Proxy) -> None:
    """bip341 is refused for Ed25519 keys and for merkle roots of other sizes"""
    aux = {"bip341": {"merkle_root_hash": b"short"}}
    rejected(sign_schnorr(proxy, BIP340, HASH, aux=aux), 4, "must be empty or 32 bytes")
    aux = {"bip341": {"merkle_root_hash": b""}}
    rejected(sign_schnorr(proxy, ED25519, HASH, aux=aux), 4, "bip340secp256k1 keys only")


@pytest.mark.parametrize("message", [b"", b"message", b"x" * 1000])
def test_ed25519(ic: Driver, proxy: Proxy, message: bytes) -> None:
    """an Ed25519 signature verifies with any library"""
    public = schnorr_key(proxy, ED25519, PATH)["public_key"]
    signature = sign_schnorr(proxy, ED25519, message)["signature"]
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def test_ed25519_derivation(ic: Driver, proxy: Proxy) -> None:
    """Ed25519 keys along a path are derived as the specification says"""
    root = schnorr_key(proxy, ED25519, [])
    output = HKDF(hashes.SHA512(), 96, root["chain_code"], b"Ed25519").derive(root["public_key"] + b"index")
    tweak = int.from_bytes(output[:64], "big") % (2**252 + 27742317777372353535851937790883648493)
    offset = crypto_scalarmult_ed25519_base_noclamp(tweak.to_bytes(32, "little"))
    expected = {"public_key": crypto_core_ed25519_add(root["public_key"], offset), "chain_code": output[64:]}
    assert schnorr_key(proxy, ED25519, [b"index"]) == expected


# vetKD

_AUGMENTED = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_AUG_"


def vetkd_key(proxy: Proxy, context: bytes) -> bytes:
    found: bytes = proxy.manage("vetkd_public_key", {"context": context, "key_id": VETKD})["public_key"]
    return found


def derive(proxy: Proxy, transport: bytes, **more: Any) -> Any:
    args = {"input": b"file 1", "context": b"files", "transport_public_key": transport, "key_id": VETKD, **more}
    return proxy.manage("vetkd_derive_key", args, FEE)


def test_vetkd(ic: Driver, proxy: Proxy) -> None:
    """a derived vetKD key passes both checks of the specification and decrypts to a BLS signature of the input"""
    secret = Scalar(123456789)
    transport = G1Point() * secret
    encrypted = derive(proxy, bytes(transport.to_compressed_bytes()))["encrypted_key"]
    one = G1Point.from_compressed_bytes(encrypted[:48])
    two = G2Point.from_compressed_bytes(encrypted[48:144])
    three = G1Point.from_compressed_bytes(encrypted[144:])
    public_bytes = vetkd_key(proxy, b"files")
    public = G2Point.from_compressed_bytes(public_bytes)
    hashed = G1Point.hash_to_curve(public_bytes + b"file 1", _AUGMENTED)
    assert GT.pairing_check([one, -G1Point()], [G2Point(), two])
    assert GT.pairing_check([three, -transport, -hashed], [G2Point(), two, public])
    assert GT.pairing_check([three - one * secret, -hashed], [G2Point(), public])


def test_vetkd_is_repeatable(ic: Driver, proxy: Proxy) -> None:
    """the same input gives the same vetKD key, encrypted differently each time; another input gives another key"""
    secret = Scalar(99)
    transport = bytes((G1Point() * secret).to_compressed_bytes())

    def decrypted(**more: Any) -> G1Point:
        encrypted = derive(proxy, transport, **more)["encrypted_key"]
        seen.add(encrypted)
        one, three = G1Point.from_compressed_bytes(encrypted[:48]), G1Point.from_compressed_bytes(encrypted[144:])
        return three - one * secret

    seen: set[bytes] = set()
    assert decrypted() == decrypted()
    assert decrypted() != decrypted(input=b"file 2")
    assert decrypted() != decrypted(context=b"letters")
    assert len(seen) == 6


def test_vetkd_contexts(ic: Driver, proxy: Proxy) -> None:
    """the public vetKD key of a context is the canister's plus a hash of both, which anybody can compute"""
    canister = vetkd_key(proxy, b"")
    data = len(canister).to_bytes(8, "big") + canister + (5).to_bytes(8, "big") + b"files"
    offset = Scalar.from_be_bytes_mod_order(expand(data, b"ic-vetkd-bls12-381-g2-context"))
    expected = G2Point.from_compressed_bytes(canister) + G2Point() * offset
    assert vetkd_key(proxy, b"files") == bytes(expected.to_compressed_bytes())


def expand(message: bytes, domain: bytes) -> bytes:
    """expand_message_xmd of RFC 9380 with SHA-256, 48 bytes."""
    suffix = domain + bytes([len(domain)])
    b0 = hashlib.sha256(bytes(64) + message + b"\0\x30\0" + suffix).digest()
    blocks = [hashlib.sha256(b0 + b"\1" + suffix).digest()]
    mixed = (int.from_bytes(b0, "big") ^ int.from_bytes(blocks[0], "big")).to_bytes(32, "big")
    blocks.append(hashlib.sha256(mixed + b"\2" + suffix).digest())
    return b"".join(blocks)[:48]


def test_vetkd_transport_keys(ic: Driver, proxy: Proxy) -> None:
    """a transport key that is no point of G1, or infinity, is rejected"""
    for transport in (b"", b"x" * 48, b"\xc0" + bytes(47)):
        rejected(derive(proxy, transport), 4, "invalid transport_public_key")
        assert proxy.refunded == FEE
