"""Principals: text form, classes, errors."""

import hashlib

import pytest
from ic.principal import Principal

from mainer_nb.protocol import principal


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("aaaaa-aa", ""),
        ("2vxsx-fae", "04"),
        ("w7x7r-cok77-xa", "caffee"),
        ("rrkah-fqaaa-aaaaa-aaaaq-cai", "00000000000000010101"),
        ("ryjl3-tyaaa-aaaaa-aaaba-cai", "00000000000000020101"),
    ],
)
def test_text_form(text: str, octets: str) -> None:
    assert principal.to_text(bytes.fromhex(octets)) == text
    assert principal.from_text(text) == bytes.fromhex(octets)


@pytest.mark.parametrize("length", range(30))
def test_ic_py_reads_the_same_text(length: int) -> None:
    octets = hashlib.sha256(bytes([length])).digest()[:length]
    text = principal.to_text(octets)
    assert Principal(octets).to_str() == text
    assert principal.from_text(text) == octets


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "too short"),
        ("aaaaa", "too short"),
        ("aaaaa-ab", "'aaaaa-aa'"),
        ("rrkaj-fqaaa-aaaaa-aaaaq-cai", "checksum"),
        ("hello world", "a-z, 2-7 and dashes"),
        ("aaaaa-äa", "a-z, 2-7 and dashes"),
        ("AAAAA-AA", "'aaaaa-aa'"),
        ("2vxsxfae", "'2vxsx-fae'"),
        ("2vxsx-fae-", "'2vxsx-fae'"),
        ("a" * 100, "too long"),
    ],
)
def test_bad_text_is_named_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        principal.from_text(text)
    assert repr(text) in str(raised.value)


def test_too_many_bytes() -> None:
    with pytest.raises(ValueError, match="30 bytes"):
        principal.to_text(bytes(30))


def test_self_authenticating() -> None:
    key = b"any public key"
    octets = principal.self_authenticating(key)
    assert octets == Principal.self_authenticating(key).bytes
    assert principal.is_self_authenticating(octets)
    assert not principal.is_self_authenticating(principal.ANONYMOUS)


def test_canister_ids() -> None:
    octets = principal.canister_id(2)
    assert principal.to_text(octets) == "ryjl3-tyaaa-aaaaa-aaaba-cai"
    assert principal.is_canister_id(octets)
    assert principal.canister_index(octets) == 2
    with pytest.raises(ValueError, match="2vxsx-fae is not a canister id"):
        principal.canister_index(principal.ANONYMOUS)
