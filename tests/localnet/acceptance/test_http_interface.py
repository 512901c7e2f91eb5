"""HTTPS interface: envelopes, effective ids, read_state, status of requests, errors with a text."""

from __future__ import annotations

from functools import partial
from typing import Any

import cbor2
import httpx
import pytest

from mainer_nb.localnet import management
from mainer_nb.protocol import hash_tree, principal
from mainer_nb.protocol.leb128 import read_leb128
from tests.localnet import universal as u
from tests.localnet.driver import ALICE, INSTALL, REINSTALL, UPGRADE
from tests.localnet.over_http import SECOND, USER, Request, Served
from tests.localnet.users import Key

DOES_NOT_HOLD = {
    "/subnet/<id>/metrics has the metrics of the subnet": "the network keeps none, and proves that they are absent",
    "/api_boundary_nodes lists nodes": "the network has none",
}
OTHER, SESSION = Key.ed25519("other"), Key.ed25519("session")


def _refused(response: httpx.Response, status: int, text: str) -> None:
    assert response.status_code == status, response.text
    assert text in response.text


# Envelopes.


def test_a_signed_call_is_accepted(served: Served) -> None:
    """A call signed with the sender's key is accepted"""
    call = served.call(u.reply(u.caller())).signed(USER)
    tree = served.tree(served.post(served.at("call"), call.body()))
    assert hash_tree.lookup_value([b"request_status", call.id, b"reply"], tree) == USER.principal


def test_an_anonymous_call_needs_no_signature(served: Served) -> None:
    """A call of the anonymous sender needs no signature"""
    call = served.call(u.reply(u.caller()), sender=principal.ANONYMOUS)
    tree = served.tree(served.post(served.at("call"), call.body()))
    assert hash_tree.lookup_value([b"request_status", call.id, b"reply"], tree) == principal.ANONYMOUS


def test_an_anonymous_call_with_a_signature_is_refused(served: Served) -> None:
    """A call of the anonymous sender with a key or signature is refused (400)"""
    call = served.call(sender=principal.ANONYMOUS).signed(USER)
    _refused(served.post(served.at("call"), call.body()), 400, "anonymous")


def test_a_call_without_signature_is_refused(served: Served) -> None:
    """A call without signature is refused unless its sender is anonymous (400)"""
    _refused(served.post(served.at("call"), served.call().body()), 400, "sender_sig")


def test_a_signature_of_another_content_is_refused(served: Served) -> None:
    """A signature of another content is refused (400)"""
    call = served.call().signed(USER)
    call.content["arg"] = u.trap()
    _refused(served.post(served.at("call"), call.body()), 400, "signature of the request is wrong")


def test_a_key_of_another_sender_is_refused(served: Served) -> None:
    """A public key that does not belong to the sender is refused (400)"""
    _refused(served.post(served.at("call"), served.call().signed(OTHER).body()), 400, "sender_pubkey belongs to")


def test_an_expired_call_is_refused(served: Served) -> None:
    """A call whose expiry is past is refused (400)"""
    call = served.call(ingress_expiry=served.time() - SECOND).signed(USER)
    _refused(served.post(served.at("call"), call.body()), 400, "expired")


def test_an_expiry_in_the_far_future_is_refused(served: Served) -> None:
    """An expiry more than 5 minutes ahead is refused (400)"""
    for minutes in (5.5, 60, 10**6):
        call = served.call(ingress_expiry=served.time() + int(minutes * 60) * SECOND).signed(USER)
        _refused(served.post(served.at("call"), call.body()), 400, "ahead of the network's time")
    call = served.call(ingress_expiry=served.time() + 300 * SECOND).signed(USER)
    assert served.post(served.at("call"), call.body()).status_code == 200


def test_an_anonymous_query_may_have_any_expiry(served: Served) -> None:
    """A query of the anonymous sender may have any expiry"""
    fields: dict[str, Any] = {"canister_id": served.called, "method_name": "query", "arg": u.reply()}
    query = Request(served.content("query", principal.ANONYMOUS, **{**fields, "ingress_expiry": 1}))
    assert cbor2.loads(served.post(served.at("query"), query.body()).content)["status"] == "replied"


def test_a_nonce_distinguishes_calls(served: Served) -> None:
    """Calls that differ in their nonce only are different calls"""
    expiry = served.time() + 200 * SECOND
    one, two = (served.call(ingress_expiry=expiry, nonce=bytes([i])) for i in range(2))
    assert one.id != two.id
    for call in (one, two):
        assert served.post(served.at("call"), call.signed(USER).body()).status_code == 200


def test_a_nonce_has_at_most_32_bytes(served: Served) -> None:
    """A nonce of more than 32 bytes is refused (400)"""
    _refused(served.post(served.at("call"), served.call(nonce=bytes(33)).signed(USER).body()), 400, "nonce")


def test_the_same_call_again_is_executed_once(served: Served) -> None:
    """The same call sent again is executed once"""
    count = u.store(1024, u.basic("add", u.stored(1024), 1))
    call = served.call(count + u.reply(u.i64(u.stored(1024)))).signed(USER)
    path = [b"request_status", call.id, b"reply"]
    answers = [served.tree(served.post(served.at("call"), call.body())) for _ in range(3)]
    assert len({hash_tree.lookup_value(path, tree) for tree in answers}) == 1


# Delegations.


def _expiry(served: Served) -> int:
    return served.time() + 600 * SECOND


def test_a_delegation_lets_another_key_sign(served: Served) -> None:
    """A delegation lets another key sign for the sender"""
    call = served.call(u.reply(u.caller()))
    call.signed(USER, SESSION, [USER.delegate(SESSION, _expiry(served))])
    tree = served.tree(served.post(served.at("call"), call.body()))
    assert hash_tree.lookup_value([b"request_status", call.id, b"reply"], tree) == USER.principal


def test_delegations_form_a_chain(served: Served) -> None:
    """Delegations form a chain, each signed by the key of the one before"""
    chain = [USER.delegate(OTHER, _expiry(served)), OTHER.delegate(SESSION, _expiry(served))]
    assert served.post(served.at("call"), served.call().signed(USER, SESSION, chain).body()).status_code == 200


@pytest.mark.parametrize(
    ("chain", "text"),
    [
        (lambda until: [USER.delegate(SESSION, 1)], "expired"),
        (lambda until: [OTHER.delegate(SESSION, until)], "signature of a delegation is wrong"),
        (lambda until: [USER.delegate(USER, until)], "occurs twice"),
        (lambda until: [USER.delegate(OTHER, until), OTHER.delegate(USER, until)], "occurs twice"),
        (lambda until: [USER.delegate(Key.ed25519("9"), until)], "signature of the request is wrong"),
        (lambda until: [USER.delegate(Key.ed25519(str(i)), until) for i in range(21)], "at most 20"),
        (lambda until: [USER.delegate(SESSION, until, targets=[ALICE] * 1001)], "at most 1000"),
    ],
    ids=["expired", "wrong signature", "to itself", "cycle", "to another key", "too many", "too many targets"],
)
def test_a_wrong_delegation_is_refused(served: Served, chain: Any, text: str) -> None:
    """A delegation that is expired, wrongly signed, in a circle or too long is refused (400)"""
    call = served.call().signed(USER, SESSION, chain(_expiry(served)))
    _refused(served.post(served.at("call"), call.body()), 400, text)


def test_a_delegation_with_targets_is_for_these_canisters_only(served: Served) -> None:
    """A delegation with targets is for calls of these canisters only"""
    for targets, status in (([served.called], 200), ([ALICE, served.called], 200), ([ALICE], 400), ([], 400)):
        delegation = USER.delegate(SESSION, _expiry(served), targets=targets)
        call = served.call().signed(USER, SESSION, [delegation])
        assert served.post(served.at("call"), call.body()).status_code == status


def test_the_targets_of_a_chain_are_those_in_all_of_its_delegations(served: Served) -> None:
    """A chain of delegations is for the canisters that are targets of each of them"""
    chain = [
        USER.delegate(OTHER, _expiry(served), targets=[served.called]),
        OTHER.delegate(SESSION, _expiry(served), targets=[ALICE]),
    ]
    call = served.call().signed(USER, SESSION, chain)
    _refused(served.post(served.at("call"), call.body()), 400, "delegation is not for canister")


def test_the_status_of_a_request_outside_of_the_targets_cannot_be_read(served: Served) -> None:
    """The status of a call to a canister outside of the delegation's targets cannot be read (403)"""
    call = served.call().signed(USER)
    served.post(served.at("call"), call.body())
    for targets, status in (([served.called], 200), ([ALICE], 403)):
        read = served.read([b"request_status", call.id])
        read.signed(USER, SESSION, [USER.delegate(SESSION, _expiry(served), targets=targets)])
        assert served.post(served.at("read_state"), read.body()).status_code == status


# Effective canister ids.


@pytest.mark.parametrize("verb", ["call", "query"])
def test_the_canister_in_the_url_must_be_the_called_one(served: Served, verb: str) -> None:
    """The canister in the URL of a call or query must be the called one (400)"""
    fields: dict[str, Any] = {"canister_id": served.called, "method_name": "query", "arg": u.reply()}
    request = Request(served.content(verb, **fields)).signed(USER)
    other = principal.canister_id(12345)
    _refused(served.post(served.at(verb, canister=other), request.body()), 400, "wrong canister id")


def test_calls_of_the_management_canister_go_to_the_canister_they_are_about(served: Served) -> None:
    """Calls of the management canister are sent to the URL of the canister that they are about"""
    arg = served.encoded("canister_status", {"canister_id": served.called})
    call = served.call(canister_id=b"", method_name="canister_status", arg=arg).signed(USER)
    assert served.post(served.at("call"), call.body()).status_code == 200
    _refused(served.post(served.at("call", canister=b""), call.body()), 400, "wrong canister id")


def test_creations_go_to_any_canister_id_and_to_the_subnet(served: Served) -> None:
    """Calls that create canisters are sent to the URL of any canister id, or of the subnet"""
    for path in (served.at("call"), served.at("call", canister=b""), _at_subnet(served, "call", "v4")):
        arg = served.encoded("provisional_create_canister_with_cycles", {"amount": 10**12, "settings": None})
        call = served.call(canister_id=b"", method_name="provisional_create_canister_with_cycles", arg=arg)
        tree = served.tree(served.post(path, call.signed(USER).body()))
        assert hash_tree.lookup_value([b"request_status", call.id, b"status"], tree) == b"replied"


def _at_subnet(served: Served, verb: str, version: str = "v3", subnet: bytes = b"") -> str:
    return f"{version}/subnet/{principal.to_text(subnet or served.network.subnet_id)}/{verb}"


def test_other_calls_cannot_be_sent_to_the_subnet(served: Served) -> None:
    """Calls that create nothing cannot be sent to the URL of the subnet (400)"""
    _refused(served.post(_at_subnet(served, "call", "v4"), served.call().signed(USER).body()), 400, "create_canister")


def test_queries_of_the_subnet(served: Served) -> None:
    """At the URL of the subnet only list_canisters can be queried; without admins of the subnet, nobody may"""
    fields: dict[str, Any] = {"canister_id": b"", "method_name": "list_canisters", "arg": b"DIDL\0\0"}
    query = Request(served.content("query", **fields)).signed(USER)
    answer = served.post(_at_subnet(served, "query"), query.body())
    assert answer.status_code == 200, answer.text
    assert cbor2.loads(answer.content)["status"] == "rejected"
    _refused(served.post(_at_subnet(served, "query", subnet=USER.principal), query.body()), 400, "there is no subnet")
    for other in ({"canister_id": served.called}, {"method_name": "canister_status"}):
        query = Request(served.content("query", **{**fields, **other})).signed(USER)
        _refused(served.post(_at_subnet(served, "query"), query.body()), 400, "only list_canisters")


def test_another_subnet_is_unknown(served: Served) -> None:
    """A URL with the id of another subnet is refused (400)"""
    read = served.read([b"time"]).signed(USER)
    _refused(
        served.post(_at_subnet(served, "read_state", subnet=USER.principal), read.body()), 400, "there is no subnet"
    )


# Reading the state.


def _path(served: Served, text: str) -> list[bytes]:
    """A path written with slashes: SELF is the canister, SUBNET the subnet, NODE its node, ID some other principal."""
    known = {"SELF": served.called, "SUBNET": served.network.subnet_id, "NODE": served.network.node.node_id}
    known |= {"ID": USER.principal, "REQUEST": bytes(32)}
    return [known.get(label, label.encode()) for label in text.split("/")] if text else []


def _read(served: Served, text: str, at: str) -> httpx.Response:
    """The answer to an anonymous request to read a path, `at` the "canister" or the "subnet"."""
    read = served.read(_path(served, text), sender=principal.ANONYMOUS)
    address = served.at("read_state") if at == "canister" else _at_subnet(served, "read_state")
    return served.post(address, read.body())


@pytest.mark.parametrize(
    "path",
    [
        "time",
        "api_boundary_nodes",
        "api_boundary_nodes/ID",
        "api_boundary_nodes/ID/domain",
        "api_boundary_nodes/ID/ipv4_address",
        "api_boundary_nodes/ID/ipv6_address",
        "subnet",
        "subnet/SUBNET",
        "subnet/SUBNET/public_key",
        "subnet/SUBNET/type",
        "subnet/SUBNET/node",
        "subnet/SUBNET/node/NODE",
        "subnet/SUBNET/node/NODE/public_key",
        "subnet/SUBNET/canister_ranges",
        "subnet/ID/type",
        "request_status/REQUEST",
        "request_status/REQUEST/status",
        "request_status/REQUEST/reply",
        "request_status/REQUEST/reject_code",
        "request_status/REQUEST/reject_message",
        "request_status/REQUEST/error_code",
    ],
)
def test_open_paths(served: Served, path: str) -> None:
    """Everybody may read time, subnets, nodes, boundary nodes and unknown requests, at either URL"""
    for at in ("canister", "subnet"):
        assert _read(served, path, at).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["module_hash", "controllers", "canister_creation_timestamp", "last_install_timestamp", "metadata/candid:service"],
)
def test_open_paths_of_a_canister(served: Served, path: str) -> None:
    """Everybody may read of a canister, at its own URL only, hash, controllers, both timestamps, public metadata"""
    assert _read(served, f"canister/SELF/{path}", "canister").status_code == 200
    assert _read(served, f"canister/SELF/{path}", "subnet").status_code == 403
    assert _read(served, f"canister/ID/{path}", "canister").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "",
        "nonsense",
        "time/SELF",
        "canister",
        "canister/SELF",
        "canister/SELF/certified_data",
        "canister/SELF/metadata",
        "canister/SELF/module_hash/x",
        "request_status",
        "request_status/REQUEST/nonsense",
        "request_status/REQUEST/status/x",
        "canister_ranges",
        "canister_ranges/SUBNET/SELF",
        "subnet/SUBNET/nonsense",
        "subnet/SUBNET/type/x",
        "subnet/SUBNET/node/NODE/nonsense",
        "api_boundary_nodes/ID/nonsense",
    ],
)
def test_closed_paths(served: Served, path: str) -> None:
    """Paths of no form that the specification lists, such as a canister's certified data, cannot be read (403)"""
    for at in ("canister", "subnet"):
        assert _read(served, path, at).status_code == 403


def test_older_ranges(served: Served) -> None:
    """/subnet/<id>/canister_ranges of a subnet that is not the root subnet is read at /api/v2 only"""
    read = served.read(_path(served, "subnet/ID/canister_ranges"), sender=principal.ANONYMOUS)
    for version, status in (("v2", 200), ("v3", 403)):
        for address in (served.at("read_state", version), _at_subnet(served, "read_state", version)):
            assert served.post(address, read.body()).status_code == status


def test_names_of_metadata(served: Served) -> None:
    """A name of metadata that is not UTF-8 cannot be read (403)"""
    read = served.read([b"canister", served.called, b"metadata", b"\xff"], sender=principal.ANONYMOUS)
    _refused(served.post(served.at("read_state"), read.body()), 403, "not UTF-8")


def test_paths_of_the_subnet(served: Served) -> None:
    """/canister_ranges/<id> and /subnet/<id>/metrics are read at the URL of the subnet only"""
    for path in ("canister_ranges/SUBNET", "subnet/SUBNET/metrics"):
        assert _read(served, path, "subnet").status_code == 200
        assert _read(served, path, "canister").status_code == 403
    assert _read(served, "canister_ranges/ID", "subnet").status_code == 200
    assert _read(served, "subnet/ID/metrics", "subnet").status_code == 403


def test_ranges_of_one_subnet(served: Served) -> None:
    """All paths below /canister_ranges must be of one subnet (400)"""
    read = served.read(*(_path(served, f"canister_ranges/{subnet}") for subnet in ("SUBNET", "ID"))).signed(USER)
    _refused(served.post(_at_subnet(served, "read_state"), read.body()), 400, "canister_ranges must be of one subnet")


def test_ranges(served: Served) -> None:
    """The canister ranges of the subnet are at /subnet/<id>/canister_ranges and, in parts, at /canister_ranges/<id>"""
    subnet = served.network.subnet_id
    read = served.read(_path(served, "canister_ranges/SUBNET"), _path(served, "subnet/SUBNET/canister_ranges"))
    tree = served.tree(served.post(_at_subnet(served, "read_state"), read.signed(USER).body()))
    whole = hash_tree.lookup_value([b"subnet", subnet, b"canister_ranges"], tree)
    assert isinstance(whole, bytes)
    ranges = [(bytes(low), bytes(high)) for low, high in cbor2.loads(whole)]
    assert any(low <= served.called <= high for low, high in ranges)
    parts = hash_tree.lookup([b"canister_ranges", subnet], tree)
    assert not isinstance(parts, hash_tree.Absence)
    assert [tuple(pair) for part in hash_tree.shown_values(parts) for pair in cbor2.loads(part)] == ranges
    assert hash_tree.lookup_value([b"canister_ranges", subnet, ranges[0][0]], tree) == whole


def test_the_type_of_the_subnet(served: Served) -> None:
    """The type of the subnet, at /subnet/<id>/type, is application"""
    tree = served.tree(_read(served, "subnet/SUBNET/type", "subnet"))
    assert hash_tree.lookup_value([b"subnet", served.network.subnet_id, b"type"], tree) == b"application"


def _timestamp(served: Served, canister: bytes, label: bytes) -> int | hash_tree.Absence:
    path = [b"canister", canister, label]
    read = served.read(path).signed(USER)
    tree = served.tree(served.post(served.at("read_state", canister=canister), read.body()))
    value = hash_tree.lookup_value(path, tree)
    return value if isinstance(value, hash_tree.Absence) else read_leb128(value)


def test_creation_timestamp(served: Served) -> None:
    """/canister/<id>/canister_creation_timestamp is when the canister was created, with or without code"""
    before = served.time()
    canister = served.create()
    created = _timestamp(served, canister, b"canister_creation_timestamp")
    assert isinstance(created, int)
    assert before <= created <= served.time()
    served.install(canister, u.universal(), INSTALL, b"")
    served.manage("uninstall_code", {"canister_id": canister})
    assert _timestamp(served, canister, b"canister_creation_timestamp") == created
    served.manage("stop_canister", {"canister_id": canister})
    served.manage("delete_canister", {"canister_id": canister})
    assert _timestamp(served, canister, b"canister_creation_timestamp") is hash_tree.ABSENT


def test_install_timestamp(served: Served) -> None:
    """/canister/<id>/last_install_timestamp is when code or a snapshot was last installed; absent without code"""
    canister = served.create()
    one = {"canister_id": canister}
    assert _timestamp(served, canister, b"last_install_timestamp") is hash_tree.ABSENT

    def load() -> None:
        served.manage("load_canister_snapshot", {**one, "snapshot_id": snapshot["id"]})

    served.install(canister, u.universal(), INSTALL, b"")
    snapshot = served.manage("take_canister_snapshot", one)

    def deploy(mode: dict[str, Any]) -> None:
        assert served.install(canister, u.universal(), mode, b"") is None

    for deployed in (partial(deploy, UPGRADE), partial(deploy, REINSTALL), load):
        before = served.time()
        assert _timestamp(served, canister, b"last_install_timestamp") <= before  # type: ignore[operator]
        deployed()
        installed = _timestamp(served, canister, b"last_install_timestamp")
        assert isinstance(installed, int)
        assert before <= installed <= served.time()
        served.update(canister, "update", u.reply())
        assert _timestamp(served, canister, b"last_install_timestamp") == installed
    served.manage("uninstall_code", one)
    assert _timestamp(served, canister, b"last_install_timestamp") is hash_tree.ABSENT


def test_a_canister_is_read_at_its_own_url(served: Served) -> None:
    """The state of a canister cannot be read at the URL of another (403)"""
    read = served.read([b"canister", principal.canister_id(77), b"module_hash"]).signed(USER)
    _refused(served.post(served.at("read_state"), read.body()), 403, "another canister than the URL")


def test_the_status_of_a_request_is_for_its_sender(served: Served) -> None:
    """The status of a call can be read by its sender only (403)"""
    call = served.call().signed(USER)
    served.post(served.at("call"), call.body())
    read = served.read([b"request_status", call.id], sender=OTHER.principal).signed(OTHER)
    _refused(served.post(served.at("read_state"), read.body()), 403, "sender of the request")


def test_the_status_of_a_request_is_read_at_the_url_it_was_sent_to(served: Served) -> None:
    """The status of a call is read at the URL that the call was sent to (403)"""
    call = served.call().signed(USER)
    served.post(served.at("call"), call.body())
    read = served.read([b"request_status", call.id]).signed(USER)
    wrong = served.at("read_state", canister=principal.canister_id(77))
    _refused(served.post(wrong, read.body()), 403, "another canister than the one in the URL")


def test_the_status_of_two_requests_cannot_be_read_at_once(served: Served) -> None:
    """The status of two calls cannot be read at once (400)"""
    read = served.read([b"request_status", bytes(32)], [b"request_status", b"\1" * 32]).signed(USER)
    _refused(served.post(served.at("read_state"), read.body()), 400, "one request")


def test_an_unknown_request_is_proven_absent(served: Served) -> None:
    """A certificate proves that an unknown call has no status"""
    path = [b"request_status", b"\7" * 32]
    tree = served.tree(served.post(served.at("read_state"), served.read(path).signed(USER).body()))
    assert hash_tree.lookup([*path, b"status"], tree) is hash_tree.ABSENT


def test_too_many_paths_are_refused(served: Served) -> None:
    """More than 1000 paths at once are refused (400)"""
    read = served.read(*[[b"time"]] * 1001).signed(USER)
    _refused(served.post(served.at("read_state"), read.body()), 400, "at most 1000")


def test_a_path_that_is_too_long_is_refused(served: Served) -> None:
    """A path of more than 127 labels is refused (400)"""
    read = served.read([b"x"] * 128).signed(USER)
    _refused(served.post(served.at("read_state"), read.body()), 400, "127")


# Calls: three ways.


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_a_refused_call_is_a_non_replicated_rejection(served: Served, version: str) -> None:
    """A call that the network does not take in is answered with a non-replicated rejection, at v3 and v4"""
    call = served.call(canister_id=principal.canister_id(999)).signed(USER)
    answer = served.post(served.at("call", version, principal.canister_id(999)), call.body())
    fields = cbor2.loads(answer.content)
    assert (answer.status_code, fields["status"], fields["reject_code"]) == (200, "non_replicated_rejection", 3)
    assert fields["error_code"] == "IC0301"


def test_a_refused_asynchronous_call_says_why(served: Served) -> None:
    """A call at v2 that the network does not take in is answered with code and text of the rejection"""
    call = served.call(canister_id=principal.canister_id(999)).signed(USER)
    answer = served.post(served.at("call", "v2", principal.canister_id(999)), call.body())
    assert answer.status_code == 200
    assert cbor2.loads(answer.content)["reject_code"] == 3


@pytest.mark.parametrize("method", ["create_canister", "raw_rand", "deposit_cycles"])
def test_methods_for_canisters_cannot_be_called_by_users(served: Served, method: str) -> None:
    """Users cannot call the management canister's methods for canisters, such as create_canister and raw_rand"""
    arguments: dict[str, dict[str, Any]] = {
        "create_canister": {"settings": None, "sender_canister_version": None},
        "deposit_cycles": {"canister_id": served.called},
    }
    described = management.INTERFACE.methods[method]
    encoded = served.encoded(method, arguments[method]) if method in arguments else b"DIDL\0\0"
    assert described.name == method
    call = served.call(canister_id=b"", method_name=method, arg=encoded).signed(USER)
    answer = served.post(served.at("call"), call.body())
    assert cbor2.loads(answer.content)["status"] == "non_replicated_rejection"


def test_a_rejection_is_certified(served: Served) -> None:
    """A rejection by the canister is certified: status, code and text"""
    call = served.call(u.reject("certainly not")).signed(USER)
    tree = served.tree(served.post(served.at("call"), call.body()))
    path = [b"request_status", call.id]
    assert hash_tree.lookup_value([*path, b"status"], tree) == b"rejected"
    assert hash_tree.lookup_value([*path, b"reject_message"], tree) == b"certainly not"
    assert hash_tree.lookup_value([*path, b"reject_code"], tree) == b"\4"


# Malformed requests.


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "CBOR"),
        (b"\xff\xff", "CBOR"),
        (b"hello", ""),
        (cbor2.dumps([1, 2]), "map"),
        (cbor2.dumps({}), "content"),
        (cbor2.dumps({"content": {}}), ""),
        (cbor2.dumps({"content": {"request_type": "sing"}}), ""),
    ],
    ids=["empty", "no CBOR", "text", "no map", "no content", "empty content", "unknown type"],
)
@pytest.mark.parametrize("verb", ["call", "query", "read_state"])
def test_a_malformed_body_is_refused_with_a_text(served: Served, verb: str, body: bytes, text: str) -> None:
    """A body that is not CBOR, or no request, is refused with a text (400)"""
    answer = served.post(served.at(verb), body)
    _refused(answer, 400, text)
    assert answer.text


@pytest.mark.parametrize("name", ["canister_id", "method_name", "arg", "sender", "ingress_expiry"])
def test_a_missing_field_is_named(served: Served, name: str) -> None:
    """A request without a field that it must have is refused with the field's name (400)"""
    call = served.call()
    del call.content[name]
    _refused(served.post(served.at("call"), call.signed(USER).body()), 400, name)


@pytest.mark.parametrize("name", ["canister_id", "method_name", "arg", "sender", "ingress_expiry"])
def test_a_field_of_the_wrong_type_is_named(served: Served, name: str) -> None:
    """A request with a field of the wrong type is refused with the field's name (400)"""
    call = served.call()
    call.content[name] = [1, 2]
    _refused(served.post(served.at("call"), call.signed(USER).body()), 400, name)


def test_an_id_in_the_url_that_is_no_principal_is_refused(served: Served) -> None:
    """An id in the URL that is no principal is refused (400)"""
    _refused(served.post("v3/canister/not-a-principal/call", served.call().signed(USER).body()), 400, "in the URL")


def test_a_body_that_is_too_large_is_refused(served: Served) -> None:
    """A request has at most 5 MiB, whatever it is; 413 says so"""
    answer = served.post(served.at("query"), bytes(5 * 1024 * 1024 + 1))
    _refused(answer, 413, "at most")


def test_the_argument_of_a_call_has_at_most_2_mib(served: Served) -> None:
    """The argument of a call has at most 2 MiB (the whole HTTP body may be larger); 413 says so"""
    largest = 2 * 1024 * 1024
    program = u.reply(u.i64(u.api("msg_arg_data_size")))
    for size, status in ((largest, 200), (largest + 1, 413)):
        call = served.call(program.ljust(size, b"\0")).signed(USER)
        answer = served.post(served.at("call"), call.body())
        assert answer.status_code == status, answer.text
        if status == 200:
            reply = hash_tree.lookup_value([b"request_status", call.id, b"reply"], served.tree(answer))
            assert reply == largest.to_bytes(8, "little")
        else:
            assert f"at most {largest} bytes" in answer.text


def test_an_unknown_path_and_a_wrong_method_are_refused(served: Served) -> None:
    """A path or HTTP method that the interface does not have is answered with 404"""
    _refused(httpx.get(f"{served.url}/api/v9/status"), 404, "GET /api/v9/status")
    _refused(httpx.get(f"{served.url}/api/{served.at('call')}"), 404, "GET")
