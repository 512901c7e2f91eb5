"""Requests: ids, signatures of stock clients, delegations, expiry, malformed bodies."""

from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from ic.agent import sign_request
from ic.identity import Identity
from icp_identity.identity import Identity as IcpIdentity

from mainer_nb.localnet import envelope
from mainer_nb.localnet.envelope import BadRequest, TooLarge
from mainer_nb.protocol import principal
from mainer_nb.protocol.bls import SecretKey
from mainer_nb.protocol.request_id import hash_of_map
from tests.localnet.users import Key, User, canister_key

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
CANISTER = principal.canister_id(3)
ROOT_KEY = SecretKey(bytes(range(32))).public_key_der


def content(sender: bytes = principal.ANONYMOUS, **changes: Any) -> dict[str, Any]:
    fields = {
        "request_type": "call",
        "sender": sender,
        "canister_id": CANISTER,
        "method_name": "greet",
        "arg": b"DIDL\0\0",
        "ingress_expiry": NOW + 300 * SECOND,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def nested(value: Any, levels: int) -> Any:
    """`value` in a list in a list and so on."""
    for _ in range(levels):
        value = [value]
    return value


def delegation(by: User, to: User, expiration: int = NOW + 60 * SECOND, **more: Any) -> dict[str, Any]:
    return by.delegate(to, expiration, **more)


KEY, SESSION, LAST = (Key.ed25519(name) for name in ("user", "session", "last"))


def test_an_anonymous_call() -> None:
    call = envelope.parse_call(cbor2.dumps({"content": content(nonce=b"n")}), NOW, ROOT_KEY)
    assert call == envelope.Call(
        canister_id=CANISTER,
        method="greet",
        arg=b"DIDL\0\0",
        sender=principal.ANONYMOUS,
        nonce=b"n",
        ingress_expiry=NOW + 300 * SECOND,
        request_id=hash_of_map(content(nonce=b"n")),
    )


def test_query_and_read_state() -> None:
    fields = content(KEY.principal, request_type="query")
    query = envelope.parse_query(KEY.request(fields), NOW, ROOT_KEY)
    assert (query.method, query.sender) == ("greet", KEY.principal)
    fields = {
        "request_type": "read_state",
        "sender": KEY.principal,
        "ingress_expiry": NOW,
        "paths": [[b"time"], [b"request_status", b"r" * 32]],
    }
    read = envelope.parse_read_state(KEY.request(fields), NOW, ROOT_KEY)
    assert read.paths == ((b"time",), (b"request_status", b"r" * 32))
    assert read.targets is None


@pytest.mark.parametrize(
    "key",
    [KEY, Key.ecdsa("k1", ec.SECP256K1()), Key.ecdsa("r1", ec.SECP256R1())],
    ids=["ed25519", "secp256k1", "p256"],
)
def test_signatures(key: Key) -> None:
    fields = content(key.principal)
    assert envelope.parse_call(key.request(fields), NOW, ROOT_KEY).sender == key.principal
    forged = cbor2.loads(key.request(fields))
    forged["content"]["arg"] = b"DIDL\0\1"
    with pytest.raises(BadRequest, match="the signature of the request is wrong"):
        envelope.parse_call(cbor2.dumps(forged), NOW, ROOT_KEY)
    forged["sender_sig"] = b"short"
    with pytest.raises(BadRequest, match="the signature of the request is wrong"):
        envelope.parse_call(cbor2.dumps(forged), NOW, ROOT_KEY)


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1"])
@pytest.mark.parametrize("identity_class", [Identity, IcpIdentity])
def test_identities_of_python_agents(identity_class: Callable[..., Any], kind: str) -> None:
    identity = identity_class(privkey="11" * 32, type=kind)
    fields = content(identity.sender().bytes)
    request_id, body = sign_request(fields, identity)
    call = envelope.parse_call(body, NOW, ROOT_KEY)
    assert call.sender == identity.sender().bytes
    assert call.request_id == request_id


def test_the_anonymous_identity_of_ic_py_writes_nulls() -> None:
    _, body = sign_request(content(), Identity(anonymous=True))
    assert cbor2.loads(body)["sender_sig"] is None
    assert envelope.parse_call(body, NOW, ROOT_KEY).sender == principal.ANONYMOUS


def test_delegations() -> None:
    chain = [delegation(KEY, SESSION), delegation(SESSION, LAST, targets=[CANISTER, principal.MANAGEMENT])]
    body = KEY.request(content(KEY.principal), LAST, chain)
    assert envelope.parse_call(body, NOW, ROOT_KEY).sender == KEY.principal

    fields = {"request_type": "read_state", "sender": KEY.principal, "ingress_expiry": NOW, "paths": []}
    read = envelope.parse_read_state(KEY.request(fields, LAST, chain), NOW, ROOT_KEY)
    assert read.targets == frozenset((CANISTER, principal.MANAGEMENT))


OTHER = principal.canister_id(9)


@pytest.mark.parametrize(
    ("delegations", "error"),
    [
        ([delegation(KEY, LAST, expiration=NOW - SECOND)], "a delegation expired 1.0 s ago"),
        ([delegation(SESSION, LAST)], "the signature of a delegation is wrong"),
        ([delegation(KEY, SESSION)], "the signature of the request is wrong"),
        ([delegation(KEY, LAST, targets=[OTHER])], "the delegation is not for canister"),
        ([delegation(KEY, LAST, targets=[])], "the delegation is not for canister"),
        (
            [delegation(KEY, SESSION, targets=[CANISTER]), delegation(SESSION, LAST, targets=[OTHER])],
            "the delegation is not for canister",
        ),
        ([delegation(KEY, LAST, targets=[CANISTER] * 1001)], "at most 1000 principals"),
        ([delegation(KEY, LAST, targets=[CANISTER, "x"])], "at most 1000 principals"),
        ([delegation(KEY, LAST, targets=[CANISTER, bytes(30)])], "more than the 29 bytes of a principal"),
        ([delegation(KEY, LAST, targets=CANISTER)], "targets is a bytes, it must be an array"),
        ([delegation(KEY, LAST), delegation(LAST, KEY)], "a key occurs twice"),
        ([delegation(KEY, KEY)], "a key occurs twice"),
        ([delegation(KEY, LAST)] * 21, "21 delegations, at most 20"),
        ([{"delegation": {"pubkey": b""}}], "no expiration"),
        (["x"], "not a map with delegation and signature"),
        ("x", "sender_delegation is a str, it must be an array"),
    ],
)
def test_bad_delegations(delegations: Any, error: str) -> None:
    with pytest.raises(BadRequest, match=error):
        envelope.parse_call(KEY.request(content(KEY.principal), LAST, delegations), NOW, ROOT_KEY)


@pytest.mark.parametrize(
    ("expiry", "error"),
    [
        (NOW - 1, "expired 0.0 s ago"),
        (NOW - 10 * SECOND, "expired 10.0 s ago"),
        (NOW + 300 * SECOND + 1, "300 s ahead of the network's time 1700000000000000000; at most 300 s"),
    ],
)
def test_expiry(expiry: int, error: str) -> None:
    for body in (
        cbor2.dumps({"content": content(ingress_expiry=expiry)}),
        KEY.request(content(KEY.principal, ingress_expiry=expiry)),
    ):
        with pytest.raises(BadRequest, match=error):
            envelope.parse_call(body, NOW, ROOT_KEY)


def test_expiry_does_not_matter_to_anonymous_queries() -> None:
    body = cbor2.dumps({"content": content(request_type="query", ingress_expiry=0)})
    assert envelope.parse_query(body, NOW, ROOT_KEY).ingress_expiry == 0
    with pytest.raises(BadRequest, match="expired"):
        envelope.parse_query(KEY.request(content(KEY.principal, request_type="query", ingress_expiry=0)), NOW, ROOT_KEY)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({7: 1}, "map key must be a text string"),
        ({b"x": 1}, "the names of fields must be texts"),
        ({"x": 1.5}, "a float, which has no hash"),
        ({"expiration": 1 << 20_000}, "natural number below"),
    ],
)
def test_malformed_delegations(changes: dict[Any, Any], error: str) -> None:
    signed = {"delegation": {"pubkey": KEY.der, "expiration": NOW, **changes}, "signature": b""}
    with pytest.raises(BadRequest, match=error):
        envelope.parse_call(KEY.request(content(KEY.principal), delegations=[signed]), NOW, ROOT_KEY)


def test_a_body_that_would_unfold_to_endless_values_is_refused() -> None:
    inner = b"\xd8\x1c\x81\x00"
    for level in range(10):
        inner = b"\xd8\x1c\x82" + inner + b"\xd8\x1d" + bytes([9 - level])
    with pytest.raises(BadRequest, match="the tag has no meaning"):
        envelope.parse_call(b"\xa1\x67content" + inner, NOW, ROOT_KEY)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "the request body is not CBOR"),
        (b"\xff\xff", "the request body is not CBOR"),
        (b"\x81" * 5000, "the request body is not CBOR"),
        (cbor2.dumps([1]), "not a CBOR map"),
        (cbor2.dumps({}), "the request has no content"),
        (cbor2.dumps({"content": 1}), "content is a int, it must be a map"),
        (cbor2.dumps({"content": {}}), "no request_type"),
        (
            cbor2.dumps({"content": content(request_type="query")}),
            "request_type is 'query'; at this URL it must be 'call'",
        ),
        (cbor2.dumps({"content": content(sender=bytes(30))}), "sender has 30 bytes"),
        (cbor2.dumps({"content": content(canister_id="aaaaa-aa")}), "canister_id is a str, it must be a blob"),
        (cbor2.dumps({"content": content(arg=...)}), "the request has no arg"),
        (cbor2.dumps({"content": content(method_name=b"x")}), "method_name is a bytes, it must be a text"),
        (cbor2.dumps({"content": content(ingress_expiry=-1)}), "which has no hash|natural number"),
        (cbor2.dumps({"content": content(ingress_expiry=1 << 64)}), "natural number below 2\\^64"),
        (cbor2.dumps({"content": content(ingress_expiry=True)}), "which has no hash|natural number"),
        (cbor2.dumps({"content": content(ingress_expiry=-(1 << 20_000))}), "which has no hash"),
        (cbor2.dumps({"content": content(ingress_expiry=1 << 20_000)}), "natural number below"),
        (cbor2.dumps({"content": content(nonce=bytes(33))}), "the nonce has 33 bytes"),
        (cbor2.dumps({"content": content(extra=1.5)}), "a float, which has no hash"),
        (cbor2.dumps({"content": {**content(), 1: 2}}), "map key must be a text string"),
        (cbor2.dumps({"content": {**content(), b"x": 2}}), "the names of fields must be texts"),
        (cbor2.dumps({"content": content(nonce=1 << 20_000)}), "nonce is a int, it must be a blob"),
        (b"\xc2\x5a\x00\x01\x00\x00" + b"\xff" * 65536, "not a CBOR map"),
        (b"\xd8\x1c\x81\xd8\x1d\x00", "the tag has no meaning"),
        (b"\xc4\x82\x1b" + b"\x7f" * 8 + b"\x01", "the tag has no meaning"),
        (b"\xa2\x67content\xa0\x67content\xa0", "Duplicate map key"),
        (cbor2.dumps({"content": content(arg=nested(b"", 40))}), "nesting depth"),
        (cbor2.dumps({"content": content(extra=[0] * 200_000)}), "more than 150000 values"),
        (cbor2.dumps({"content": content(extra=[[0] * 999] * 200)}), "more than 150000 values"),
        (cbor2.dumps({"content": content(), "sender_sig": b"x"}), "the sender is anonymous"),
        (cbor2.dumps({"content": content(), "sender_sig": b""}), "the sender is anonymous"),
        (cbor2.dumps({"content": content(), "sender_delegation": []}), "the sender is anonymous"),
        (cbor2.dumps({"content": content(KEY.principal)}), "sender_pubkey and sender_sig are needed"),
        (
            cbor2.dumps({"content": content(OTHER), "sender_pubkey": KEY.der, "sender_sig": b""}),
            "the sender is .*, but sender_pubkey belongs to",
        ),
    ],
)
def test_malformed_requests(body: bytes, error: str) -> None:
    with pytest.raises(BadRequest, match=error):
        envelope.parse_call(body, NOW, ROOT_KEY)


@pytest.mark.parametrize("der", [b"not a key", canister_key(CANISTER, b"")[:-1]], ids=["nonsense", "cut short"])
def test_a_key_that_is_none_is_told(der: bytes) -> None:
    body = {"content": content(principal.self_authenticating(der)), "sender_pubkey": der, "sender_sig": b""}
    with pytest.raises(BadRequest, match=r"a public key is invalid: .* is not a valid DER key"):
        envelope.parse_call(cbor2.dumps(body), NOW, ROOT_KEY)


@pytest.mark.parametrize(("permissions", "queries_only"), [("queries", True), ("all", False)])
def test_permissions_of_a_delegation(permissions: str, queries_only: bool) -> None:
    for chain in (
        [delegation(KEY, LAST, permissions=permissions)],
        [delegation(KEY, SESSION, permissions=permissions), delegation(SESSION, LAST, permissions="all")],
        [delegation(KEY, SESSION), delegation(SESSION, LAST, permissions=permissions)],
    ):
        fields = content(KEY.principal, request_type="query")
        assert envelope.parse_query(KEY.request(fields, LAST, chain), NOW, ROOT_KEY).sender == KEY.principal
        fields = {"request_type": "read_state", "sender": KEY.principal, "ingress_expiry": NOW, "paths": []}
        envelope.parse_read_state(KEY.request(fields, LAST, chain), NOW, ROOT_KEY)
        body = KEY.request(content(KEY.principal), LAST, chain)
        if queries_only:
            with pytest.raises(BadRequest, match="a delegation is for queries only"):
                envelope.parse_call(body, NOW, ROOT_KEY)
        else:
            envelope.parse_call(body, NOW, ROOT_KEY)


@pytest.mark.parametrize("permissions", ["", "Queries", "updates", "x" * 10_000, b"queries", ["queries"], 1])
def test_other_permissions_of_a_delegation_are_refused(permissions: Any) -> None:
    chain = [delegation(KEY, LAST, permissions=permissions)]
    for kind, parse in (("call", envelope.parse_call), ("query", envelope.parse_query)):
        with pytest.raises(BadRequest, match=r"permissions .{0,80}must be"):
            parse(KEY.request(content(KEY.principal, request_type=kind), LAST, chain), NOW, ROOT_KEY)


def test_the_argument_of_a_call_has_at_most_2_mib() -> None:
    largest = 2 * 1024 * 1024
    call = envelope.parse_call(KEY.request(content(KEY.principal, arg=bytes(largest))), NOW, ROOT_KEY)
    assert len(call.arg) == largest
    with pytest.raises(TooLarge, match=f"{largest + 1} bytes; at most {largest} bytes"):
        envelope.parse_call(KEY.request(content(KEY.principal, arg=bytes(largest + 1))), NOW, ROOT_KEY)


@pytest.mark.parametrize(
    ("paths", "error"),
    [
        (b"time", "paths is a bytes, it must be an array"),
        ([b"time"], "a path must be an array of blobs, not bytes"),
        ([["time"]], "a label of a path must be a blob, not str 'time'"),
        ([[b"x"] * 128], "a path has 128 labels"),
        ([[]] * 1001, "1001 paths are requested"),
        (..., "the request has no paths"),
    ],
)
def test_bad_paths(paths: Any, error: str) -> None:
    fields = content(request_type="read_state", canister_id=..., method_name=..., arg=..., paths=paths)
    with pytest.raises(BadRequest, match=error):
        envelope.parse_read_state(cbor2.dumps({"content": fields}), NOW, ROOT_KEY)
