"""HTTPS interface: who a request is from: Web Authentication, canister signatures, sender_info, permissions."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mainer_nb.protocol import certificate, hash_tree, principal
from mainer_nb.protocol.bls import SecretKey
from tests import needed
from tests.localnet import universal as u
from tests.localnet.authenticator import page_with_authenticator
from tests.localnet.outcomes import replied
from tests.localnet.over_http import SECOND, USER, Request, Served
from tests.localnet.users import (
    Authenticator,
    CanisterUser,
    Key,
    User,
    canister_key,
    canister_signature,
    ec_key,
    web_signature,
    wrapped,
)

SESSION, OTHER = Key.ed25519("session"), Key.ed25519("other")


def _reply(served: Served, request: Request) -> bytes:
    """The reply to a call or query, which must be accepted."""
    kind = request.content["request_type"]
    answer = served.post(served.at(kind, canister=request.content["canister_id"]), request.body())
    assert answer.status_code == 200, answer.text
    if kind == "query":
        fields = cbor2.loads(answer.content)
        assert fields["status"] == "replied", fields
        return bytes(fields["reply"]["arg"])
    reply = hash_tree.lookup_value([b"request_status", request.id, b"reply"], served.tree(answer))
    assert isinstance(reply, bytes)
    return reply


def _refused(served: Served, request: Request, text: str) -> None:
    answer = served.post(served.at(request.content["request_type"]), request.body())
    assert answer.status_code == 400, answer.text
    assert text in answer.text


def _query(served: Served, program: bytes, sender: bytes, method: str = "query", **fields: Any) -> Request:
    wanted = {"canister_id": served.called, "method_name": method, "arg": program}
    return Request(served.content("query", sender, **wanted, **fields))


def _both(served: Served, sender: bytes, program: bytes, **fields: Any) -> list[Request]:
    """The same as call and as query."""
    return [served.call(program, sender, **fields), _query(served, program, sender, **fields)]


WHO = u.reply(u.caller())


# A canister that signs, as Internet Identity does: its certified data is the hash of the tree of what it signed.


@pytest.fixture(scope="module")
def login(served: Served) -> CanisterUser:
    """A user for whom a canister of the network signs."""
    signing = served.create(u.universal(), arg=b"")

    def certify(data: bytes) -> bytes:
        served.update(signing, "update", u.api("certified_data_set", u.blob(data)) + u.reply())
        return replied(served.query(signing, "query", u.reply(u.taken("data_certificate"))))

    return CanisterUser(signing, b"anchor 10000", certify)


def _expiry(served: Served) -> int:
    return served.time() + 600 * SECOND


def test_canister_signatures(served: Served, login: CanisterUser) -> None:
    """Canister signatures, as Internet Identity makes them, sign calls, queries and read_state requests"""
    for request in _both(served, login.principal, WHO):
        assert _reply(served, request.signed(login)) == login.principal
    call = served.call(sender=login.principal).signed(login)
    _reply(served, call)
    read = served.read([b"request_status", call.id], sender=login.principal).signed(login)
    assert served.post(served.at("read_state"), read.body()).status_code == 200


def test_canister_signatures_of_delegations(served: Served, login: CanisterUser) -> None:
    """A canister signs a delegation to the key of a browser's session, which signs the requests: a login"""
    chain = [login.delegate(SESSION, _expiry(served))]
    for request in _both(served, login.principal, WHO):
        assert _reply(served, request.signed(login, SESSION, chain)) == login.principal
    further = [*chain, SESSION.delegate(OTHER, _expiry(served))]
    assert _reply(served, served.call(WHO, login.principal).signed(login, OTHER, further)) == login.principal
    reverse = [USER.delegate(login, _expiry(served))]
    assert _reply(served, served.call(WHO).signed(USER, login, reverse)) == USER.principal


def test_canister_signature_refused(served: Served, login: CanisterUser) -> None:
    """A canister signature of another request, seed, canister or network, or that is malformed, is refused (400)"""
    call = served.call(WHO, login.principal)
    right = login.sign(b"\x0aic-request" + call.id)
    parts = cbor2.loads(right)
    tree = hash_tree.from_cbor(parts["tree"])
    changed: list[tuple[bytes, str]] = [
        (login.sign(b"\x0aic-request" + bytes(32)), "does not have key and content"),
        (canister_signature(parts["certificate"], hash_tree.EMPTY), "is not what canister"),
        (canister_signature(parts["certificate"][:-1], tree), "not CBOR"),
        (canister_signature(_certificate_of_another_network(login.canister_id, tree.digest), tree), "not signed"),
        (cbor2.dumps(parts), "tag of self-described CBOR"),
        (right[:-1], "not CBOR"),
        (b"", "tag of self-described CBOR"),
    ]
    for signature, text in changed:
        call.envelope = {"sender_pubkey": login.der, "sender_sig": signature}
        _refused(served, call, text)
    other = CanisterUser(login.canister_id, b"anchor 10001", lambda data: b"")
    call = served.call(WHO, other.principal)
    call.envelope = {"sender_pubkey": other.der, "sender_sig": login.sign(b"\x0aic-request" + call.id)}
    _refused(served, call, "does not have key and content")


def _certificate_of_another_network(canister_id: bytes, data: bytes) -> bytes:
    state = hash_tree.tree({b"canister": {canister_id: {b"certified_data": data}}, b"time": b"\1"})
    return certificate.certify(state, [[[b"canister"], [b"time"]]], SecretKey(bytes(range(32))))[0]


def test_canister_signatures_last(served: Served, login: CanisterUser) -> None:
    """A canister signature stays valid when the canister has signed something else since"""
    chain = [login.delegate(SESSION, _expiry(served))]
    login.sign(b"something else")
    assert _reply(served, served.call(WHO, login.principal).signed(login, SESSION, chain)) == login.principal


def test_keys_malformed(served: Served) -> None:
    """A public key that is malformed, or of a kind that users cannot have, is refused with a text (400)"""
    for der, text in (
        (b"", "valid DER key"),
        (b"\x30\x0c", "valid DER key"),
        (canister_key(served.called, b"x")[:-1], "valid DER key"),
        (wrapped(2, b"\x20"), "names no canister"),
        (wrapped(1, b"\xff"), "not CBOR"),
        (wrapped(1, cbor2.dumps({1: 2})), "is not a key of"),
        (USER.der + b"\0", "DER"),
    ):
        call = served.call(WHO, principal.self_authenticating(der))
        call.envelope = {"sender_pubkey": der, "sender_sig": b""}
        _refused(served, call, text)


# Web Authentication.

AUTHENTICATORS = {
    "P-256": Authenticator(ec_key("authenticator", ec.SECP256R1())),
    "RSA": Authenticator(rsa.generate_private_key(65537, 2048)),
    "Ed25519": Authenticator(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))),
}


def test_web_authentication(served: Served) -> None:
    """Web Authentication keys, ECDSA on P-256, RSA (PKCS#1 v1.5, SHA-256) and Ed25519, sign requests and delegations"""
    for user in AUTHENTICATORS.values():
        for request in _both(served, user.principal, WHO):
            assert _reply(served, request.signed(user)) == user.principal
        chain = [user.delegate(SESSION, _expiry(served))]
        assert _reply(served, served.call(WHO, user.principal).signed(user, SESSION, chain)) == user.principal


def test_web_authentication_refused(served: Served) -> None:
    """A signature of an authenticator for another challenge, by another key, or that is malformed, is refused (400)"""
    for user in AUTHENTICATORS.values():
        call = served.call(WHO, user.principal)
        message = b"\x0aic-request" + call.id
        parts = cbor2.loads(user.sign(message))
        changed = [
            (user.sign(message + b"x"), "challenge"),
            (web_signature(parts["authenticator_data"] + b"x", parts["client_data_json"], parts["signature"]), "fit"),
            (web_signature(parts["authenticator_data"], parts["client_data_json"] + " ", parts["signature"]), "fit"),
            (web_signature(parts["authenticator_data"], parts["client_data_json"], b""), "fit"),
            (web_signature(b"", "", b""), "not JSON"),
            (cbor2.dumps(parts), "tag of self-described CBOR"),
            (b"", "tag of self-described CBOR"),
        ]
        changed += [(other.sign(message), "fit") for other in AUTHENTICATORS.values() if other is not user]
        for signature, text in changed:
            call.envelope = {"sender_pubkey": user.der, "sender_sig": signature}
            _refused(served, call, text)


_BYTES = """
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
"""
_CREATE = f"""async (alg) => {{ {_BYTES}
  const user = {{ id: new Uint8Array(8), name: "user", displayName: "user" }};
  const publicKey = {{ challenge: new Uint8Array(16), rp: {{ name: "test" }}, user,
    pubKeyCredParams: [{{ type: "public-key", alg }}], attestation: "none" }};
  const made = await navigator.credentials.create({{ publicKey }});
  return text(made.response.attestationObject);
}}"""
_GET = f"""async ([id, challenge]) => {{ {_BYTES}
  const allowCredentials = [{{ type: "public-key", id: bytes(id) }}];
  const publicKey = {{ challenge: bytes(challenge), allowCredentials }};
  const {{ response }} = await navigator.credentials.get({{ publicKey }});
  return [response.authenticatorData, response.clientDataJSON, response.signature].map(text);
}}"""


class BrowserUser(User):
    """Who signs with a new key of the authenticator of the browser that shows `page`."""

    def __init__(self, page: Any, algorithm: int) -> None:
        attestation = cbor2.loads(base64.b64decode(page.evaluate(_CREATE, algorithm)))
        found = attestation["authData"][37 + 16 :]  # after the hash of the host, flags, counter, and the device's id
        length = int.from_bytes(found[:2], "big")
        super().__init__(wrapped(1, found[2 + length :]))
        self._page, self._credential = page, found[2 : 2 + length]

    def sign(self, message: bytes) -> bytes:
        encoded = [base64.b64encode(part).decode() for part in (self._credential, message)]
        data, client_data, signature = map(base64.b64decode, self._page.evaluate(_GET, encoded))
        return web_signature(data, client_data.decode(), signature)


@pytest.fixture(scope="module")
def page(served: Served) -> Iterator[Any]:
    """A page in Chromium, with a virtual authenticator that asks nobody."""
    with page_with_authenticator() as page:
        page.goto(f"{served.url.replace('127.0.0.1', 'localhost')}/")
        yield page


@needed.CHROMIUM
@pytest.mark.parametrize("algorithm", [-7, -257, -8], ids=["P-256", "RSA", "Ed25519"])
def test_a_browsers_authenticator(served: Served, page: Any, algorithm: int) -> None:
    """Requests and delegations are signed by an authenticator in Chromium"""
    user = BrowserUser(page, algorithm)
    for request in _both(served, user.principal, WHO):
        assert _reply(served, request.signed(user)) == user.principal
    chain = [user.delegate(SESSION, _expiry(served))]
    assert _reply(served, served.call(WHO, user.principal).signed(user, SESSION, chain)) == user.principal
    call = served.call(WHO, user.principal).signed(user)
    call.content["arg"] = u.reply()
    _refused(served, call, "challenge")


# sender_info: what the canister that signs for a user says of it.

#: Replies with what is said of the caller, and who says it.
INFO = u.append(u.taken("msg_caller_info_data")) + u.append(u.blob(b"|")) + u.reply(u.taken("msg_caller_info_signer"))
SAID = b"\x00anything that a canister says of its user" * 20


def test_sender_info(served: Served, login: CanisterUser) -> None:
    """sender_info of calls and queries is told to the called method by ic0.msg_caller_info_data and _signer"""
    chain = [login.delegate(SESSION, _expiry(served))]
    for said in (SAID, b""):
        info = login.sender_info(said)
        requests = [
            *_both(served, login.principal, INFO, sender_info=info),
            _query(served, INFO, login.principal, "composite_query", sender_info=info),
            served.call(INFO, login.principal, method_name="query", sender_info=info),
        ]
        for request in requests:
            assert _reply(served, request.signed(login)) == said + b"|" + login.canister_id
            assert _reply(served, request.signed(login, SESSION, chain)) == said + b"|" + login.canister_id


def test_sender_info_absent(served: Served, login: CanisterUser) -> None:
    """Without sender_info, ic0.msg_caller_info_data and _signer are empty, whoever signs"""
    for user in (login, USER, AUTHENTICATORS["P-256"]):
        for request in _both(served, user.principal, INFO):
            assert _reply(served, request.signed(user)) == b"|"


def test_sender_info_in_callbacks(served: Served, login: CanisterUser) -> None:
    """Callbacks of a call know its sender_info; canisters that it calls do not"""
    called = served.create(u.universal(), arg=b"")
    info = login.sender_info(SAID)
    told = SAID + b"|" + login.canister_id
    for on, payload in (("on_reply", WHO), ("on_reject", u.reject("no"))):
        program = u.call(called, "query", payload, **{on: INFO})
        call = served.call(program, login.principal, sender_info=info).signed(login)
        assert _reply(served, call) == told
        query = _query(served, program, login.principal, "composite_query", sender_info=info).signed(login)
        assert _reply(served, query) == told
    program = u.call(called, "query", INFO)
    assert _reply(served, served.call(program, login.principal, sender_info=info).signed(login)) == b"|"
    query = _query(served, program, login.principal, "composite_query", sender_info=info).signed(login)
    assert _reply(served, query) == b"|"


def test_sender_info_before_acceptance(served: Served, login: CanisterUser) -> None:
    """canister_inspect_message knows the sender_info of the message"""
    asked = served.create(u.universal(), arg=b"")
    if_told = u.unless_zero(u.api("msg_caller_info_data_size"), u.api("accept_message"))
    served.update(asked, "update", u.hook("canister_inspect_message", if_told) + u.reply())
    info = login.sender_info(SAID)
    for more, status in (({"sender_info": info}, "replied"), ({}, "non_replicated_rejection")):
        call = served.call(u.reply(), login.principal, canister_id=asked, **more).signed(login)
        answer = served.post(served.at("call", canister=asked), call.body())
        assert cbor2.loads(answer.content)["status"] == status, answer.text


def test_sender_info_refused(served: Served, login: CanisterUser) -> None:
    """sender_info that is malformed or not signed by the signer, or comes with another kind of key, is refused (400)"""
    info: dict[str, Any] = login.sender_info(SAID)
    canister = principal.to_text(login.canister_id)
    changed: list[tuple[Any, str]] = [
        ({**info, "info": SAID + b"x"}, "the signature of sender_info is wrong"),
        ({**info, "sig": login.sign(SAID)}, "the signature of sender_info is wrong"),
        ({**info, "sig": login.sign(b"\x0aic-request" + SAID)}, "the signature of sender_info is wrong"),
        ({**info, "sig": b""}, "the signature of sender_info is wrong"),
        ({**info, "signer": served.called}, f"but sender_pubkey is of canister {canister}"),
        ({**info, "signer": b""}, f"but sender_pubkey is of canister {canister}"),
        ({**info, "signer": bytes(30)}, "signer has 30 bytes"),
        ({**info, "signer": canister}, "signer is a str, it must be a blob"),
        ({**info, "info": "text"}, "info is a str, it must be a blob"),
        ({**info, "sig": [b""]}, "it must be a blob"),
        *(({name: value for name, value in info.items() if name != left_out}, f"no {left_out}") for left_out in info),
        ({}, "the request has no info"),
        (b"", "sender_info is a bytes, it must be a map"),
        ([info], "it must be a map"),
    ]
    for wrong, text in changed:
        for request in _both(served, login.principal, INFO, sender_info=wrong):
            _refused(served, request.signed(login), text)
    for user in (USER, AUTHENTICATORS["P-256"], AUTHENTICATORS["Ed25519"]):
        for request in _both(served, user.principal, INFO, sender_info=info):
            _refused(served, request.signed(user), "sender_info does not fit sender_pubkey")
    for request in _both(served, principal.ANONYMOUS, INFO, sender_info=info):
        _refused(served, request, "this one is anonymous")
    chain = [USER.delegate(login, _expiry(served))]
    _refused(served, served.call(INFO, sender_info=info).signed(USER, login, chain), "does not fit sender_pubkey")


# Permissions of delegations.


def test_permissions(served: Served) -> None:
    """A delegation with permissions "queries" signs queries and read_state requests, no calls; one with "all" any"""
    for permissions, status in (("queries", 400), ("all", 200)):
        chain = [USER.delegate(SESSION, _expiry(served), permissions=permissions)]
        assert _reply(served, _query(served, WHO, USER.principal).signed(USER, SESSION, chain)) == USER.principal
        read = served.read([b"time"]).signed(USER, SESSION, chain)
        assert served.post(served.at("read_state"), read.body()).status_code == 200
        call = served.call(WHO).signed(USER, SESSION, chain)
        for version in ("v2", "v3", "v4"):
            answer = served.post(served.at("call", version), call.body())
            assert answer.status_code == (202 if (version, status) == ("v2", 200) else status), answer.text
            assert status == 200 or "a delegation is for queries only (permissions)" in answer.text


def test_permissions_chain(served: Served) -> None:
    """One delegation with permissions "queries" anywhere in the chain is enough to refuse calls"""
    for first, second in ((True, False), (False, True)):
        limits: list[dict[str, str]] = [{"permissions": "queries"} if limited else {} for limited in (first, second)]
        chain = [
            USER.delegate(OTHER, _expiry(served), **limits[0]),
            OTHER.delegate(SESSION, _expiry(served), **limits[1]),
        ]
        _refused(served, served.call(WHO).signed(USER, SESSION, chain), "a delegation is for queries only")
        assert _reply(served, _query(served, WHO, USER.principal).signed(USER, SESSION, chain)) == USER.principal


def test_permissions_unknown(served: Served) -> None:
    """Requests of any kind with a delegation whose permissions are something else are refused (400)"""
    for permissions in ("", "updates", "QUERIES", b"queries", ["queries"], 0):
        chain = [USER.delegate(SESSION, _expiry(served), permissions=permissions)]
        for request in (*_both(served, USER.principal, WHO), served.read([b"time"])):
            _refused(served, request.signed(USER, SESSION, chain), "permissions")
