"""Certificates: parts of the state tree under the network's signature (IC interface specification, "Certification")."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import cbor2

from . import bls, hash_tree
from .cbor import CborError, decode, self_described
from .hash_tree import Node, Path
from .leb128 import read_leb128
from .principal import to_text

_STATE_ROOT = b"\x0dic-state-root"
_MAX_DEPTH = 400  # of the CBOR of a certificate, whose tree is nested lists


class InvalidCertificate(ValueError):
    """A certificate that must not be trusted; says why."""


def certify(state: Node, wanted: Iterable[Iterable[Path]], key: bls.SecretKey) -> list[bytes]:
    """Certificates of parts of the state, all with one signature.

    Args:
        state: the complete state tree.
        wanted: the paths that each certificate is to show; of paths that do not exist it proves so.
        key: the root key, so that no delegation is needed.

    Returns:
        A certificate in CBOR for each of `wanted`.
    """
    signature = key.sign(_STATE_ROOT + state.digest)
    trees = [hash_tree.to_cbor(hash_tree.prune(state, paths)) for paths in wanted]
    return [self_described({"tree": tree, "signature": signature}) for tree in trees]


def verify(
    certificate: bytes,
    root_key: bytes,
    canister_id: bytes | None = None,
    now: int | None = None,
    max_age_seconds: float = 300,
    refused_subnets: Collection[bytes] = (),
) -> Node:
    """The tree of a certificate, once its signature, and that of its delegation if it has one, is checked.

    Args:
        certificate: CBOR.
        root_key: the network's public key, DER.
        canister_id: the canister that the certificate is about; a delegation must cover it.
        now: nanoseconds since 1970, against which the certificate's time is checked; None: it is not.
        max_age_seconds: how far the certificate's time may be from `now`.
        refused_subnets: types of subnets to which a delegation is refused; if any, it must show its subnet's type.

    Raises:
        InvalidCertificate: it must not be trusted.
    """
    content = _decode(certificate)
    key = root_key
    if "delegation" in content:
        key = _delegated_key(content["delegation"], root_key, canister_id, refused_subnets)
    tree = _verified_tree(content, key)
    if now is not None:
        _check_time(tree, now, max_age_seconds)
    return tree


def time_of(tree: Node) -> int:
    """The time that the tree of a certificate states, in nanoseconds since 1970.

    Raises:
        InvalidCertificate: it states none.
    """
    digits = _value([b"time"], tree)
    try:
        return read_leb128(digits)
    except ValueError as error:
        raise InvalidCertificate(f"the certificate's time is malformed: {error}") from None


def _decode(certificate: bytes) -> Mapping[str, Any]:
    try:
        content = decode(certificate, _MAX_DEPTH)
    except CborError as error:
        raise InvalidCertificate(f"the certificate is not CBOR: {error}") from None
    if not isinstance(content, Mapping) or not isinstance(content.get("signature"), bytes) or "tree" not in content:
        raise InvalidCertificate("the certificate is not a map with a tree and a signature")
    return content


def _verified_tree(content: Mapping[str, Any], key: bytes) -> Node:
    try:
        tree = hash_tree.from_cbor(content["tree"])
        if not bls.verify(key, _STATE_ROOT + tree.digest, content["signature"]):
            raise InvalidCertificate("the certificate is not signed with this key")
    except (hash_tree.TreeError, bls.BlsError) as error:
        raise InvalidCertificate(f"the certificate is malformed: {error}") from None
    return tree


def _delegated_key(
    delegation: Any, root_key: bytes, canister_id: bytes | None, refused_subnets: Collection[bytes]
) -> bytes:
    """The key of the subnet to which the root subnet delegates."""
    match delegation:
        case {"subnet_id": bytes(subnet), "certificate": bytes(inner)}:
            content = _decode(inner)
        case _:
            raise InvalidCertificate("the delegation is not a map with subnet_id and certificate")
    if "delegation" in content:
        raise InvalidCertificate("the delegation's certificate has itself a delegation")
    tree = _verified_tree(content, root_key)
    if canister_id is not None and not _covers(tree, subnet, canister_id):
        raise InvalidCertificate(f"the delegation to subnet {to_text(subnet)} does not cover {to_text(canister_id)}")
    if refused_subnets and (kind := _value([b"subnet", subnet, b"type"], tree)) in refused_subnets:
        raise InvalidCertificate(f"the delegation is to a subnet of type {kind.decode(errors='replace')}")
    return _value([b"subnet", subnet, b"public_key"], tree)


def _covers(tree: Node, subnet: bytes, canister_id: bytes) -> bool:
    """Whether the subnet's canister ranges, in one value or (newer) in several under /canister_ranges, have the id."""
    sharded = hash_tree.lookup([b"canister_ranges", subnet], tree)
    if isinstance(sharded, hash_tree.Absence):
        lists = [_value([b"subnet", subnet, b"canister_ranges"], tree)]
    else:
        lists = hash_tree.shown_values(sharded)
    return any(low <= canister_id <= high for ranges in lists for low, high in cbor2.loads(ranges))


def _check_time(tree: Node, now: int, max_age_seconds: float) -> None:
    age = (now - time_of(tree)) / 1e9
    if abs(age) > max_age_seconds:
        distance = f"{abs(age):.0f} s {'ago' if age > 0 else 'ahead'}"
        raise InvalidCertificate(f"the certificate's time is {distance}, at most {max_age_seconds:.0f} s are accepted")


def _value(path: Path, tree: Node) -> bytes:
    try:
        value = hash_tree.lookup_value(path, tree)
    except hash_tree.TreeError as error:
        raise InvalidCertificate(str(error)) from None
    if isinstance(value, hash_tree.Absence):
        raise InvalidCertificate(f"the certificate does not show {hash_tree.path_text(path)}")
    return value
