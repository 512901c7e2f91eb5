"""BLS signatures: a signature of the Internet Computer, our own, forgeries."""

import pytest

from mainer_nb.protocol import bls

# A state root signed by a subnet, as published with the JavaScript agent's tests.
PUBLIC_KEY = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100"
    "9933e1f89e8a3c4d7fdcccdbd518089e2bd4d8180a261f18d9c247a52768ebce98dc7328a39814a8f911086a1dd50cbe"
    "015e2a53b7bf78b55288893daa15c346640e8831d72a12bdedd979d28470c34823b8d1c3f4795d9c3984a247132e94fe"
)
MESSAGE = bytes.fromhex("0d69632d73746174652d726f6f74b294b418b11ebe5dd7dd1dcb099e4e0372b9a42aef7a7a37fb4f25667d705ea9")
SIGNATURE = bytes.fromhex(
    "89a2be21b5fa8ac9fab1527e041327ce899d7da971436a1f2165393947b4d942365bfe5488710e61a619ba48388a21b1"
)


def test_a_signature_of_the_internet_computer() -> None:
    assert bls.verify(PUBLIC_KEY, MESSAGE, SIGNATURE)
    assert not bls.verify(PUBLIC_KEY, MESSAGE + b"!", SIGNATURE)


def test_sign_and_verify() -> None:
    key = bls.SecretKey(bytes(range(32)))
    signature = key.sign(b"message")
    assert len(signature) == bls.SIGNATURE_LENGTH
    assert len(key.public_key_der) == 133
    assert bls.verify(key.public_key_der, b"message", signature)
    assert not bls.verify(key.public_key_der, b"another message", signature)
    assert not bls.verify(bls.SecretKey(bytes([1] * 32)).public_key_der, b"message", signature)


def test_the_same_seed_gives_the_same_key() -> None:
    assert bls.SecretKey(b"s" * 32).public_key_der == bls.SecretKey(b"s" * 32).public_key_der


@pytest.mark.parametrize("signature", [b"", bytes(48), b"\xff" * 48, b"\xc0" + bytes(47), bytes(96)])
def test_no_signature_at_all(signature: bytes) -> None:
    assert not bls.verify(PUBLIC_KEY, MESSAGE, signature)


@pytest.mark.parametrize("key", [b"", PUBLIC_KEY[:-1], b"\x31" + PUBLIC_KEY[1:], PUBLIC_KEY[:37] + b"\x81" * 96])
def test_malformed_keys(key: bytes) -> None:
    with pytest.raises(bls.BlsError, match="not a BLS12-381 public key"):
        bls.verify(key, MESSAGE, SIGNATURE)


def test_the_key_zero_signs_nothing() -> None:
    identity = PUBLIC_KEY[:37] + b"\xc0" + bytes(95)
    assert not bls.verify(identity, MESSAGE, b"\xc0" + bytes(47))


def test_seeds() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        bls.SecretKey(bytes(31))
    with pytest.raises(ValueError, match="key zero"):
        bls.SecretKey(bytes(32))
