"""Who calls: an identity of icp-cli or dfx, any other PEM file, or a development identity made on first use.

    me = identity.load()                       # the development identity
    me = identity.load("alice")                # by the name it has in icp-cli or dfx
    me = identity.load("~/keys/alice.pem")     # by file
    print(me.sender())                         # its principal

An identity signs requests; its principal is the caller that canisters see.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import ic
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from . import places
from .errors import IdentityError

DEVELOPMENT = "development"
ANONYMOUS = "anonymous"

# Interface specification, "Signatures": the schemes of which this module holds keys.
CURVES = {"secp256k1": ec.SECP256K1, "secp256r1": ec.SECP256R1}
# RFC 8410: a PKCS#8 Ed25519 key holds its 32-byte seed as an octet string in an octet string, after this algorithm id.
ED25519_SEED = bytes.fromhex("300506032b657004220420")

# Kinds of identities that have no key which a program can use, by a part of their names in icp-cli and dfx.
WITHOUT_KEY = {
    "internet-identity": "an Internet Identity, whose keys are in a browser or a device",
    "delegation": "a delegation, which signs for somebody else's key for some time",
    "hsm": "in a hardware security module, which does not give its key away",
}
NEW = {"icp-cli": "icp identity new", "dfx": "dfx identity new --storage-mode plaintext"}

KEYRING_SECONDS = 120.0  # in which the user can unlock the keyring

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class Identity(ic.Identity):
    """An ic-py Identity that signs with `cryptography` (about 0.1 ms instead of several) and shows no secret in its
    repr.

    Args:
        key: the private key; None for the anonymous identity.
        name: what to call it.
    """

    def __init__(self, key: PrivateKey | None, name: str = "") -> None:
        self.name = name
        self.key = key
        self.anonymous = key is None
        if key is None:
            self.key_type = ANONYMOUS
            return
        self.key_type = "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else key.curve.name
        self._der_pubkey = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, msg: bytes) -> tuple[bytes | None, bytes | None]:
        """(DER public key, signature) as request envelopes carry them: raw 64 bytes, r ‖ s for ECDSA with SHA-256."""
        if self.key is None:
            return None, None
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self._der_pubkey, self.key.sign(msg)
        r, s = decode_dss_signature(self.key.sign(msg, ec.ECDSA(hashes.SHA256())))
        return self._der_pubkey, r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def verify(self, msg: bytes | str, sig: bytes) -> bool:
        """Whether `sig` is this identity's signature of `msg` (bytes or hex)."""
        data = bytes.fromhex(msg) if isinstance(msg, str) else msg
        if self.key is None:
            return False
        try:
            if isinstance(self.key, ed25519.Ed25519PrivateKey):
                self.key.public_key().verify(sig, data)
            else:
                der = encode_dss_signature(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
                self.key.public_key().verify(der, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def privkey(self) -> str:
        """The private key as hex: 32 bytes."""
        if self.key is None:
            raise IdentityError("the anonymous identity has no private key")
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.private_bytes_raw().hex()
        return self.key.private_numbers().private_value.to_bytes(32, "big").hex()

    @property
    def pubkey(self) -> str:
        """The public key as hex: 32 bytes for Ed25519, else x ‖ y."""
        if self.key is None:
            raise IdentityError("the anonymous identity has no public key")
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.public_key().public_bytes_raw().hex()
        point = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return point[1:].hex()

    def to_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM."""
        if self.key is None:
            raise IdentityError("the anonymous identity has no key to write")
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @staticmethod
    def from_pem(pem: str | bytes, name: str = "") -> Identity:
        """The identity of a PEM text: Ed25519 (PKCS#8 v1 or v2), secp256k1 or prime256v1 (PKCS#8 or SEC1).

        Raises:
            IdentityError: the key is encrypted or of another kind, or there is none.
        """
        return Identity(_private_key(pem.encode() if isinstance(pem, str) else pem, name or "the PEM text"), name)

    def __repr__(self) -> str:
        return f"Identity({self.name!r}, {self.key_type}, {self.sender()})"

    __str__ = __repr__


def _private_key(pem: bytes, source: str) -> PrivateKey:
    if b"ENCRYPTED" in pem:
        raise IdentityError(
            f"{source} is encrypted. Export it in the clear and use that file: "
            "`dfx identity export NAME > NAME.pem` or `icp identity export NAME > NAME.pem`."
        )
    # dfx writes secp256k1 keys after a block of curve parameters, which says nothing new
    block = re.search(rb"-----BEGIN ((?:EC )?PRIVATE KEY)-----.*?-----END \1-----", pem, re.DOTALL)
    if not block:
        raise IdentityError(f"{source} has no private key: expected a PEM block 'PRIVATE KEY' or 'EC PRIVATE KEY'.")
    try:
        key = serialization.load_pem_private_key(block[0], password=None)
    except (ValueError, TypeError) as error:
        seed = _ed25519_v2_seed(block[0])
        if seed is None:
            raise IdentityError(f"{source} is not a key that can be read: {error}") from error
        key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return key
    raise IdentityError(f"{source} is a {type(key).__name__}; the IC takes Ed25519, secp256k1 and prime256v1 keys.")


def _ed25519_v2_seed(pem_block: bytes) -> bytes | None:
    """The seed of an Ed25519 key in PKCS#8 version 2 (RFC 5958, with the public key), which OpenSSL does not read."""
    try:
        der = base64.b64decode(b"".join(pem_block.splitlines()[1:-1]))
    except ValueError:  # cut off, such as by copying
        return None
    at = der.find(ED25519_SEED)
    seed = der[at + len(ED25519_SEED) :][:32]
    return seed if at >= 0 and len(seed) == 32 else None


@dataclass(frozen=True)
class Known:
    """An identity that could be used: its name, the tool that keeps it, its file (None if not in a plain file).

    Attributes:
        kind: what it is in that tool: "pem", "keyring", "hsm", "internet-identity", …
    """

    name: str
    tool: Literal["mainer-nb", "icp-cli", "dfx"]
    path: Path | None
    kind: str = "pem"


def icp_cli_directory() -> Path:
    """Where icp-cli keeps identities: ICP_HOME or the platform's data directory."""
    if home := os.environ.get("ICP_HOME"):
        return Path(home) / "identity"
    if sys.platform == "darwin":
        return places.home() / "Library/Application Support/org.dfinity.icp-cli/identity"
    return Path(os.environ.get("XDG_DATA_HOME") or places.home() / ".local/share") / "icp-cli/identity"


def dfx_directory() -> Path:
    """Where dfx keeps identities: below DFX_CONFIG_ROOT or the home directory."""
    return Path(os.environ.get("DFX_CONFIG_ROOT") or places.home()) / ".config/dfx/identity"


def known() -> list[Known]:
    """The identities on this machine: the development identity first, then icp-cli's, then dfx's."""
    found = [Known(DEVELOPMENT, "mainer-nb", _development_path())]
    found += _of_icp_cli()
    for directory in _folders(dfx_directory()):
        plain = directory / "identity.pem"
        found.append(Known(directory.name, "dfx", plain if plain.is_file() else None, _kind_in_dfx(directory)))
    return found


def _kind_in_dfx(directory: Path) -> str:
    """What identity.json of an identity of dfx says it is; there is none for a plain PEM file."""
    try:
        entry = json.loads((directory / "identity.json").read_text(encoding="utf-8"))
        return next((kind for kind in ("hsm", "delegation") if entry.get(kind)), "pem")
    except (OSError, ValueError, AttributeError):
        return "pem"


def _folders(path: Path) -> list[Path]:
    """The folders in a folder; none of one that is not there or may not be read, such as another user's."""
    try:
        return sorted(folder for folder in path.iterdir() if folder.is_dir())
    except OSError:
        return []


def _of_icp_cli() -> list[Known]:
    """Those with a PEM file, and those of other kinds in identity_list.json."""
    try:
        files = {path.stem: path for path in (icp_cli_directory() / "keys").glob("*.pem")}
    except OSError:
        files = {}
    path = icp_cli_directory() / "identity_list.json"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["identities"]
        kinds = {name: str(entry["kind"]) for name, entry in listed.items()}
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # none, or another user's
        kinds = {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IdentityError(
            f"cannot understand the list of icp-cli's identities in {path}: {error!r}. Correct it."
        ) from error
    names = {*files, *(name for name, kind in kinds.items() if kind not in ("pem", ANONYMOUS))}
    return [Known(name, "icp-cli", files.get(name), kinds.get(name, "pem")) for name in sorted(names)]


def load(name: str | Path | None = None) -> Identity:
    """The identity of this name or file.

    What icp-cli keeps in the keyring is asked of its command `icp`; the system may then ask you to unlock the keyring.

    Args:
        name: None: the development identity, which is made on first use.

    Raises:
        IdentityError: there is none, or it is encrypted, or it is not a key for the IC.
    """
    if name is None or str(name) == DEVELOPMENT:
        return _development()
    text = str(name)
    if text == ANONYMOUS:
        return Identity(None, ANONYMOUS)
    if isinstance(name, Path) or "/" in text or text.endswith(".pem"):
        return _from_file(places.given(name), text)
    same = [entry for entry in known() if entry.name == text]
    if not same:
        names = ", ".join(entry.name for entry in known())
        raise IdentityError(f"no identity '{text}'. Known here: {names}. Or give the path of a PEM file.")
    for entry in same:
        for kind, what in WITHOUT_KEY.items():
            if kind in entry.kind:
                raise IdentityError(
                    f"identity '{text}' of {entry.tool} is {what} (kind {entry.kind}), which cannot sign here. "
                    f"Make one with a key of its own, such as by `{NEW[entry.tool]} NAME`, and add its principal to "
                    "the controllers of your canisters."
                )
        if entry.path:
            return _from_file(entry.path, text)
    if any(entry.tool == "icp-cli" for entry in same):
        return Identity(_private_key(_exported_by_icp_cli(text), f"what icp-cli keeps as '{text}'"), text)
    raise IdentityError(
        f"dfx keeps identity '{text}' encrypted or in the keyring. Export it and use the file: "
        f"`dfx identity export {text} > {text}.pem`."
    )


def _exported_by_icp_cli(name: str) -> bytes:
    """The PEM text of an identity in the keyring."""
    command = ["icp", "identity", "export", name]
    remedy = f"Export it and use the file: `{' '.join(command)} > {name}.pem`."
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=KEYRING_SECONDS)
    except OSError as error:
        raise IdentityError(
            f"icp-cli keeps identity '{name}' in the keyring, and its command `icp` cannot be run here to ask"
            f" ({error.strerror}). {remedy}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise IdentityError(f"the keyring was not unlocked for identity '{name}' of icp-cli. {remedy}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").partition("Stack backtrace")[0].strip()
        raise IdentityError(f"icp-cli does not give identity '{name}': {said} {remedy}")
    return done.stdout


def _from_file(path: Path, name: str) -> Identity:
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise IdentityError(f"cannot read the identity file {path}: {error.strerror}") from error
    return Identity(_private_key(pem, f"identity file {path}"), name)


def _development_path() -> Path:
    """Where the development identity is, or will be: with what is configured, or else beside the network's state."""
    configured = places.config() / "identity" / f"{DEVELOPMENT}.pem"
    beside_state = places.state() / f"network.{DEVELOPMENT}.pem"
    return beside_state if _is_there(beside_state) and not _is_there(configured) else configured


def _is_there(path: Path) -> bool:
    return os.access(path, os.F_OK)  # unlike Path.exists, no error where one may not look


def _development() -> Identity:
    path = _development_path()
    if _is_there(path):
        return _from_file(path, DEVELOPMENT)
    key = Identity(ed25519.Ed25519PrivateKey.generate()).to_pem()
    try:
        _keep(key, path)
    except OSError as error:
        instead = places.state() / f"network.{DEVELOPMENT}.pem"
        try:
            _keep(key, instead)
        except OSError:
            remedy = "name another folder for the development identity in MAINER_NB_CONFIG"
            raise IdentityError(places.unwritable(path.parent, error, remedy)) from error
        warnings.warn(
            f"{path.parent} cannot be written ({error.strerror}); the development identity is kept in {instead}, "
            "and MAINER_NB_CONFIG names another folder",
            stacklevel=2,
        )
        path = instead
    return _from_file(path, DEVELOPMENT)


def _keep(key: bytes, path: Path) -> None:
    """Write a new key: complete before it gets its name, and never in place of one that another process made meanwhile.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=path.parent) as draft:  # its mode is 0600
        draft.write(key)
        draft.flush()
        with contextlib.suppress(FileExistsError):
            os.link(draft.name, path)
