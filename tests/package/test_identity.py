"""Keys: every form that icp-cli and dfx write, signatures that others verify, and clear refusals."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import ic
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mainer_nb import identity
from mainer_nb.errors import IdentityError

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
CLEAR = serialization.NoEncryption()


def ed25519_v2(key: ed25519.Ed25519PrivateKey) -> bytes:
    """PKCS#8 version 2 with the public key, as ring and older dfx write Ed25519 keys."""
    der = (
        bytes.fromhex("3053020101300506032b657004220420")
        + key.private_bytes_raw()
        + bytes.fromhex("a123032100")
        + key.public_key().public_bytes_raw()
    )
    return pem_block(b"PRIVATE KEY", der)


def pem_block(label: bytes, der: bytes) -> bytes:
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (label, base64.encodebytes(der), label)


def test_ed25519_signs_as_ic_py_does() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    ours, theirs = identity.Identity(key), ic.Identity(privkey=key.private_bytes_raw().hex())
    assert ours.sender().to_str() == theirs.sender().to_str()
    assert ours.sign(b"message") == theirs.sign(b"message")
    assert (ours.privkey, ours.pubkey, ours.der_pubkey) == (theirs.privkey, theirs.pubkey, theirs.der_pubkey)


def test_secp256k1_signatures_are_verified_by_ic_py_and_the_other_way_round() -> None:
    key = ec.generate_private_key(ec.SECP256K1())
    ours = identity.Identity(key)
    theirs = ic.Identity(privkey=ours.privkey, type="secp256k1")
    assert ours.sender().to_str() == theirs.sender().to_str()
    public_key, signature = ours.sign(b"message")
    assert public_key == theirs.der_pubkey
    assert signature is not None
    assert len(signature) == 64
    assert theirs.verify(b"message", signature)
    assert ours.verify(b"message", theirs.sign(b"message")[1])
    assert not ours.verify(b"another message", signature)


@pytest.mark.parametrize(
    "pem_of",
    [
        pytest.param(lambda: _ed25519().private_bytes(PEM, PKCS8, CLEAR), id="ed25519 PKCS#8"),
        pytest.param(lambda: ed25519_v2(_ed25519()), id="ed25519 PKCS#8 v2"),
        pytest.param(lambda: _secp256k1().private_bytes(PEM, PKCS8, CLEAR), id="secp256k1 PKCS#8"),
        pytest.param(lambda: _secp256k1().private_bytes(PEM, SEC1, CLEAR), id="secp256k1 SEC1"),
        pytest.param(lambda: _with_parameters(_secp256k1().private_bytes(PEM, SEC1, CLEAR)), id="secp256k1 of dfx"),
        pytest.param(lambda: _prime256v1().private_bytes(PEM, SEC1, CLEAR), id="prime256v1 SEC1"),
    ],
)
def test_every_form_of_key_file_is_read(tmp_path: Path, pem_of: object) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem_of())  # type: ignore[operator]
    read = identity.load(path)
    assert read.verify(b"message", read.sign(b"message")[1] or b"")
    assert identity.Identity.from_pem(read.to_pem()).sender().to_str() == read.sender().to_str()


def _ed25519() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def _secp256k1() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(12345678901234567890, ec.SECP256K1())


def _prime256v1() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(12345678901234567890, ec.SECP256R1())


def _with_parameters(sec1: bytes) -> bytes:
    """As `dfx identity export` writes it: a block with the curve's object identifier first."""
    return pem_block(b"EC PARAMETERS", bytes.fromhex("06052b8104000a")) + sec1


def test_v1_and_v2_of_one_ed25519_key_are_one_identity() -> None:
    v1 = identity.Identity.from_pem(_ed25519().private_bytes(PEM, PKCS8, CLEAR))
    v2 = identity.Identity.from_pem(ed25519_v2(_ed25519()).decode())
    assert v1.sender().to_str() == v2.sender().to_str()


def test_identities_of_icp_cli_and_dfx_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICP_HOME", str(tmp_path / "icp"))
    keys = tmp_path / "icp/identity/keys"
    keys.mkdir(parents=True)
    (keys / "alice.pem").write_bytes(_ed25519().private_bytes(PEM, PKCS8, CLEAR))
    of_dfx = Path.home() / ".config/dfx/identity"
    (of_dfx / "bob").mkdir(parents=True)
    (of_dfx / "bob/identity.pem").write_bytes(_secp256k1().private_bytes(PEM, SEC1, CLEAR))
    (of_dfx / "carol").mkdir()
    (of_dfx / "carol/identity.pem.encrypted").write_bytes(b"\0")

    assert [(entry.name, entry.tool) for entry in identity.known()] == [
        ("development", "mainer-nb"),
        ("alice", "icp-cli"),
        ("bob", "dfx"),
        ("carol", "dfx"),
    ]
    assert identity.load("alice").key_type == "ed25519"
    assert identity.load("bob").key_type == "secp256k1"
    with pytest.raises(IdentityError, match=r"'carol' encrypted .*`dfx identity export carol"):
        identity.load("carol")


def test_a_damaged_list_of_identities_of_icp_cli_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICP_HOME", str(tmp_path / "icp"))
    path = tmp_path / "icp/identity/identity_list.json"
    path.parent.mkdir(parents=True)
    for content in ("{", "[]", '{"identities": {"alice": {}}}'):
        path.write_text(content)
        with pytest.raises(IdentityError, match=r"icp-cli's identities in .*identity_list\.json"):
            identity.known()


def test_the_development_identity_is_made_once_and_is_the_users_alone(tmp_path: Path) -> None:
    first, second = identity.load(), identity.load("development")
    assert first.sender().to_str() == second.sender().to_str()
    path = tmp_path / "config/identity/development.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_anonymous_identity_signs_nothing() -> None:
    anonymous = identity.load("anonymous")
    assert anonymous.sender().to_str() == "2vxsx-fae"
    assert anonymous.sign(b"message") == (None, None)


def test_no_secret_is_shown() -> None:
    one = identity.Identity(_ed25519(), "alice")
    assert one.privkey not in repr(one) + str(one)
    assert str(one.sender()) in repr(one)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            lambda: _ed25519().private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"secret")),
            "is encrypted. Export it",
            id="encrypted",
        ),
        pytest.param(lambda: b"hello", "has no private key", id="no PEM"),
        pytest.param(
            lambda: rsa.generate_private_key(65537, 2048).private_bytes(PEM, PKCS8, CLEAR), "RSAPrivateKey", id="RSA"
        ),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP384R1()).private_bytes(PEM, PKCS8, CLEAR),
            "takes Ed25519",
            id="P-384",
        ),
        pytest.param(
            lambda: pem_block(b"PRIVATE KEY", bytes(3)),
            "is not a key that can be read",
            id="damaged",
        ),
        *(
            pytest.param(
                lambda length=length: (
                    _ed25519().private_bytes(PEM, PKCS8, CLEAR)[:length] + b"\n-----END PRIVATE KEY-----\n"
                ),
                "is not a key that can be read",
                id=f"cut off after {length} bytes",
            )
            for length in (33, 58, 59, 60, 61)
        ),
    ],
)
def test_unusable_key_files_are_refused_by_name(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content())  # type: ignore[operator]
    with pytest.raises(IdentityError, match=message) as caught:
        identity.load(path)
    assert str(path) in str(caught.value)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(IdentityError, match=r"no identity 'nobody'\. Known here: development"):
        identity.load("nobody")
    with pytest.raises(IdentityError, match=r"cannot read the identity file /nowhere/key\.pem"):
        identity.load("/nowhere/key.pem")


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("internet-identity", "an Internet Identity"),
        ("delegation", "a delegation"),
        ("pending-delegation", "a delegation"),
        ("hsm", "in a hardware security module"),
    ],
)
def test_an_identity_of_icp_cli_without_a_key_is_named_for_what_it_is(kind: str, what: str) -> None:
    folder = identity.icp_cli_directory()
    folder.mkdir(parents=True)
    listed = {"identities": {"anonymous": {"kind": "anonymous"}, "dora": {"kind": kind, "principal": "aaaaa-aa"}}}
    (folder / "identity_list.json").write_text(json.dumps(listed))
    assert ("dora", "icp-cli", kind) in [(one.name, one.tool, one.kind) for one in identity.known()]
    with pytest.raises(IdentityError, match=f"'dora' of icp-cli is {what}.*kind {kind}.*`icp identity new NAME`"):
        identity.load("dora")


def test_an_identity_of_dfx_in_a_hardware_module_is_named_for_what_it_is() -> None:
    folder = identity.dfx_directory() / "erik"
    folder.mkdir(parents=True)
    (folder / "identity.json").write_text('{"hsm": {"pkcs11_lib_path": "/lib.so", "key_id": "01"}}')
    with pytest.raises(IdentityError, match=r"'erik' of dfx is in a hardware security module.*`dfx identity new"):
        identity.load("erik")
