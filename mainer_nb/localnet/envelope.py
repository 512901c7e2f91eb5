"""Requests that come over HTTP: their form, their id and their authentication (IC interface specification,
"HTTPS Interface", sections "Authentication", "Representation-independent hashing", "Request ids").

The network's time and its root key are all that is needed to judge them. How signatures are checked is in `signatures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocol import principal
from ..protocol.cbor import CborError, decode
from ..protocol.principal import to_text
from ..protocol.request_id import DELEGATION_DOMAIN, REQUEST_DOMAIN, SENDER_INFO_DOMAIN, HashError, hash_of_map
from . import signatures
from .state import CallerInfo

MAX_INGRESS_TTL = 5 * 60 * 1_000_000_000  # nanoseconds
MAX_PAYLOAD = 2 * 1024 * 1024  # bytes of the argument of a call
MAX_NONCE = 32
MAX_DELEGATIONS = 20
MAX_TARGETS = 1000
MAX_PATHS = 1000
MAX_PATH_LENGTH = 127
MAX_DEPTH = 32  # of the CBOR of a request; the specification's own requests have 6
MAX_VALUES = 150_000  # in the arrays and maps of a request: more than MAX_PATHS of MAX_PATH_LENGTH, and all targets


class BadRequest(ValueError):
    """A request that the network does not accept (HTTP 400); the text says why."""


class TooLarge(BadRequest):
    """A call whose argument is too large (HTTP 413)."""


@dataclass(frozen=True)
class _Invocation:
    """A request to call a method."""

    canister_id: bytes
    method: str
    arg: bytes
    sender: bytes
    nonce: bytes | None
    ingress_expiry: int  # nanoseconds since 1970
    request_id: bytes
    sender_info: CallerInfo | None = None


class Call(_Invocation):
    """A request to call an update method (or a query method in replicated mode)."""


class Query(_Invocation):
    """A request to call a query method."""


@dataclass(frozen=True)
class ReadState:
    """A request for a certificate of `paths` in the state tree.

    targets: if the sender's delegations are limited to canisters, these; status of calls to others must not be shown.
    """

    paths: tuple[tuple[bytes, ...], ...]
    sender: bytes
    targets: frozenset[bytes] | None
    ingress_expiry: int
    request_id: bytes


def parse_call(body: bytes, now: int, root_key: bytes) -> Call:
    """The authenticated call in an HTTP body.

    Args:
        body: CBOR.
        now: the network's time, in nanoseconds since 1970.
        root_key: the network's, DER.

    Raises:
        BadRequest: it is malformed, expired, too large or not signed as it should be.
    """
    call = Call(**_invocation(body, "call", now, root_key))
    if len(call.arg) > MAX_PAYLOAD:
        raise TooLarge(f"the argument of the call has {len(call.arg)} bytes; at most {MAX_PAYLOAD} bytes are accepted")
    return call


def parse_query(body: bytes, now: int, root_key: bytes) -> Query:
    """The authenticated query in an HTTP body; arguments and errors as of `parse_call`."""
    return Query(**_invocation(body, "query", now, root_key))


def parse_read_state(body: bytes, now: int, root_key: bytes) -> ReadState:
    """The authenticated read_state request in an HTTP body; arguments and errors as of `parse_call`."""
    envelope = _parse(body, "read_state")
    targets = _authenticate(envelope, now, root_key)
    paths = _field(envelope.content, "paths", Sequence)
    if len(paths) > MAX_PATHS:
        raise BadRequest(f"{len(paths)} paths are requested, at most {MAX_PATHS} are allowed")
    return ReadState(tuple(map(_path, paths)), envelope.sender, targets, envelope.ingress_expiry, envelope.request_id)


# Form


@dataclass(frozen=True)
class _Envelope:
    content: Mapping[str, Any]
    sender: bytes
    ingress_expiry: int
    request_id: bytes
    public_key: bytes | None
    signature: bytes | None
    delegations: Sequence[Any] | None


def _decode(body: bytes) -> Any:
    """The CBOR data item in an HTTP body: of plain kinds, no key twice.

    Raises:
        BadRequest: it is not.
    """
    try:
        decoded = decode(body, MAX_DEPTH)
    except CborError as error:
        raise BadRequest(f"the request body is not CBOR as requests have it: {error}") from None
    _check_count(decoded)
    return decoded


def _check_count(decoded: Any) -> None:
    """Bounds the time that hashing a request takes.

    Raises:
        BadRequest: it has more than `MAX_VALUES` values.
    """
    count, pending = 0, [decoded]
    while pending:
        value = pending.pop()
        if isinstance(value, str | bytes | int) or not isinstance(value, Mapping | Sequence):
            continue
        count += len(value)
        if count > MAX_VALUES:
            raise BadRequest(f"the request has more than {MAX_VALUES} values")
        pending.extend(value.values() if isinstance(value, Mapping) else value)


def _parse(body: bytes, request_type: str) -> _Envelope:
    envelope = _decode(body)
    if not isinstance(envelope, Mapping):
        raise BadRequest("the request body is not a CBOR map with a content")
    content = _field(envelope, "content", Mapping)
    found_type = _field(content, "request_type", str)
    if found_type != request_type:
        raise BadRequest(f"request_type is {found_type!r}; at this URL it must be {request_type!r}")
    nonce = _optional(content, "nonce", bytes)
    if nonce is not None and len(nonce) > MAX_NONCE:
        raise BadRequest(f"the nonce has {len(nonce)} bytes, at most {MAX_NONCE} are allowed")
    request_id = _hash_of(content)
    return _Envelope(
        content,
        sender=_principal(content, "sender"),
        ingress_expiry=_natural(content, "ingress_expiry"),
        request_id=request_id,
        public_key=_optional(envelope, "sender_pubkey", bytes),
        signature=_optional(envelope, "sender_sig", bytes),
        delegations=_optional(envelope, "sender_delegation", Sequence),
    )


def _invocation(body: bytes, request_type: str, now: int, root_key: bytes) -> dict[str, Any]:
    """The fields of a `Call` or `Query`, authenticated."""
    envelope = _parse(body, request_type)
    content = envelope.content
    targets = _authenticate(envelope, now, root_key)
    canister_id = _principal(content, "canister_id")
    _check_target(canister_id, targets)
    return {
        "canister_id": canister_id,
        "method": _field(content, "method_name", str),
        "arg": _field(content, "arg", bytes),
        "sender": envelope.sender,
        "nonce": _optional(content, "nonce", bytes),
        "ingress_expiry": envelope.ingress_expiry,
        "request_id": envelope.request_id,
        "sender_info": _sender_info(envelope, root_key),
    }


_KINDS = {bytes: "a blob", str: "a text", int: "a natural number", Mapping: "a map", Sequence: "an array"}


def _hash_of(content: Mapping[Any, Any]) -> bytes:
    """The hash of a map as it came; some clients write an absent field as null.

    Raises:
        BadRequest: it has none.
    """
    if not all(isinstance(name, str) for name in content):
        raise BadRequest("the names of fields must be texts")
    try:
        return hash_of_map({name: value for name, value in content.items() if value is not None})
    except HashError as error:
        raise BadRequest(f"the request contains {error}") from None


def _optional(content: Mapping[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if value is None or (isinstance(value, kind) and not (kind is Sequence and isinstance(value, str | bytes))):
        return value
    raise BadRequest(f"{name} is a {type(value).__name__}, it must be {_KINDS[kind]}")


def _field(content: Mapping[str, Any], name: str, kind: type) -> Any:
    value = _optional(content, name, kind)
    if value is None:
        raise BadRequest(f"the request has no {name}")
    return value


def _principal(content: Mapping[str, Any], name: str) -> bytes:
    octets: bytes = _field(content, name, bytes)
    if len(octets) > principal.MAX_LENGTH:
        raise BadRequest(f"{name} has {len(octets)} bytes; a principal has at most {principal.MAX_LENGTH}")
    return octets


def _natural(content: Mapping[str, Any], name: str) -> int:
    number: int = _field(content, name, int)
    if isinstance(number, bool) or not 0 <= number < 1 << 64:
        raise BadRequest(f"{name} must be a natural number below 2^64")
    return number


def _path(path: Any) -> tuple[bytes, ...]:
    if isinstance(path, str | bytes) or not isinstance(path, Sequence):
        raise BadRequest(f"a path must be an array of blobs, not {type(path).__name__}")
    if len(path) > MAX_PATH_LENGTH:
        raise BadRequest(f"a path has {len(path)} labels, at most {MAX_PATH_LENGTH} are allowed")
    for label in path:
        if not isinstance(label, bytes):
            what = f" {label!r:.80}" if isinstance(label, str) else ""
            raise BadRequest(f"a label of a path must be a blob, not {type(label).__name__}{what}")
    return tuple(path)


# Authentication


def _authenticate(envelope: _Envelope, now: int, root_key: bytes) -> frozenset[bytes] | None:
    """Checks expiry, sender and signature; returns the canisters that delegations limit the request to, if they do."""
    if envelope.sender == principal.ANONYMOUS:
        if (envelope.public_key, envelope.signature, envelope.delegations) != (None, None, None):
            raise BadRequest("the sender is anonymous, so the request must have no key, signature or delegation")
        if envelope.content["request_type"] == "call":
            _check_expiry(envelope.ingress_expiry, now)
        return None
    _check_expiry(envelope.ingress_expiry, now)
    if envelope.public_key is None or envelope.signature is None:
        raise BadRequest(f"sender_pubkey and sender_sig are needed for the sender {to_text(envelope.sender)}")
    owner = principal.self_authenticating(envelope.public_key)
    if owner != envelope.sender:
        raise BadRequest(f"the sender is {to_text(envelope.sender)}, but sender_pubkey belongs to {to_text(owner)}")
    request_type = envelope.content["request_type"]
    key, targets = _follow_delegations(envelope.public_key, envelope.delegations or (), request_type, now, root_key)
    message = REQUEST_DOMAIN + envelope.request_id
    _check_signature("the signature of the request", key, envelope.signature, message, root_key)
    return targets


def _check_signature(what: str, key: bytes, signature: bytes, message: bytes, root_key: bytes) -> None:
    try:
        signatures.check(key, signature, message, root_key)
    except signatures.InvalidKey as error:
        raise BadRequest(f"a public key is invalid: {error}") from None
    except signatures.WrongSignature as error:
        raise BadRequest(f"{what} is wrong: {error}") from None


def _sender_info(envelope: _Envelope, root_key: bytes) -> CallerInfo | None:
    """What the canister that signs for the sender says of it (``sender_info``), once its signature is checked."""
    fields = _optional(envelope.content, "sender_info", Mapping)
    if fields is None:
        return None
    info, signer, signature = _field(fields, "info", bytes), _principal(fields, "signer"), _field(fields, "sig", bytes)
    if envelope.public_key is None:
        raise BadRequest("sender_info needs a sender who signs with canister signatures; this one is anonymous")
    try:
        signing = signatures.signing_canister(envelope.public_key)
    except signatures.InvalidKey as error:
        raise BadRequest(f"sender_info does not fit sender_pubkey: {error}") from None
    if signer != signing:
        raise BadRequest(
            f"the signer of sender_info is {to_text(signer)}, but sender_pubkey is of canister {to_text(signing)}"
        )
    message = SENDER_INFO_DOMAIN + info
    _check_signature("the signature of sender_info", envelope.public_key, signature, message, root_key)
    return CallerInfo(info, signer)


def _check_expiry(ingress_expiry: int, now: int) -> None:
    ahead = (ingress_expiry - now) / 1e9
    if ahead < 0:
        raise BadRequest(
            f"the request expired {-ahead:.1f} s ago (ingress_expiry {ingress_expiry}, network time {now})"
        )
    if ingress_expiry > now + MAX_INGRESS_TTL:
        raise BadRequest(
            f"ingress_expiry is {ahead:.0f} s ahead of the network's time {now}; "
            f"at most {MAX_INGRESS_TTL // 10**9} s are accepted"
        )


def _check_target(canister_id: bytes, targets: frozenset[bytes] | None) -> None:
    if targets is not None and canister_id not in targets:
        raise BadRequest(f"the delegation is not for canister {to_text(canister_id)}")


def _follow_delegations(
    key: bytes, delegations: Sequence[Any], request_type: str, now: int, root_key: bytes
) -> tuple[bytes, frozenset[bytes] | None]:
    """The key at the end of a chain of delegations, and the canisters that all of them allow (None: any)."""
    if len(delegations) > MAX_DELEGATIONS:
        raise BadRequest(f"there are {len(delegations)} delegations, at most {MAX_DELEGATIONS} are allowed")
    seen = {key}
    allowed: frozenset[bytes] | None = None
    for signed in delegations:
        if not isinstance(signed, Mapping):
            raise BadRequest("a delegation is not a map with delegation and signature")
        delegation = _field(signed, "delegation", Mapping)
        expiration = _natural(delegation, "expiration")
        if expiration < now:
            raise BadRequest(f"a delegation expired {(now - expiration) / 1e9:.1f} s ago")
        message = DELEGATION_DOMAIN + _hash_of(delegation)
        _check_signature("the signature of a delegation", key, _field(signed, "signature", bytes), message, root_key)
        _check_permissions(delegation, request_type)
        key = _field(delegation, "pubkey", bytes)
        if key in seen:
            raise BadRequest("a key occurs twice in the chain of delegations")
        seen.add(key)
        targets = _targets(delegation)
        if targets is not None:
            allowed = targets if allowed is None else allowed & targets
    return key, allowed


def _check_permissions(delegation: Mapping[str, Any], request_type: str) -> None:
    """A delegation may be for queries and read_state requests only."""
    permissions = _optional(delegation, "permissions", str)
    if permissions not in (None, "all", "queries"):
        raise BadRequest(f"the permissions of a delegation are {permissions[:40]!r}; they must be 'all' or 'queries'")
    if permissions == "queries" and request_type == "call":
        raise BadRequest("a delegation is for queries only (permissions), this request is a call")


def _targets(delegation: Mapping[str, Any]) -> frozenset[bytes] | None:
    targets = _optional(delegation, "targets", Sequence)
    if targets is None:
        return None
    if len(targets) > MAX_TARGETS or not all(isinstance(target, bytes) for target in targets):
        raise BadRequest(f"the targets of a delegation must be at most {MAX_TARGETS} principals")
    if any(len(target) > principal.MAX_LENGTH for target in targets):
        raise BadRequest(f"a target of a delegation has more than the {principal.MAX_LENGTH} bytes of a principal")
    return frozenset(targets)
