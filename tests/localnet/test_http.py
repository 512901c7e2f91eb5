"""The HTTP interface: a network with a small canister, asked by stock clients and by hand."""

import asyncio
import random
import socket
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

import cbor2
import httpx
import pytest
import wasmtime
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from ic.agent import Agent, sign_request
from ic.candid import Types, encode
from ic.client import Client
from ic.identity import Identity
from icp_agent import Agent as IcpAgent
from icp_agent import Client as IcpClient
from icp_candid import Types as IcpTypes
from icp_candid import encode as icp_encode
from icp_identity import Identity as IcpIdentity

from mainer_nb.localnet import bodies, http, management
from mainer_nb.localnet.network import EmbeddedNetwork
from mainer_nb.protocol import candid, certificate, hash_tree, principal
from mainer_nb.protocol.hash_tree import lookup_value
from mainer_nb.protocol.leb128 import leb128
from mainer_nb.protocol.request_id import hash_of_map
from tests.localnet.over_http import Endpoint
from tests.localnet.serving import serving

CANISTER = """
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_method_name_size" (func $name_size (result i32)))
  (import "ic0" "accept_message" (func $accept))
  (memory (export "memory") 40)
  (global $count (mut i32) (i32.const 0))
  (func $echo
    (call $copy (i32.const 0) (i32.const 0) (call $size)) (call $append (i32.const 0) (call $size)) (call $reply))
  (func $count
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 0) (global.get $count)) (call $append (i32.const 0) (i32.const 1)) (call $reply))
  (func $slow (local $i i32)
    (loop $again
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200000000))))
    (call $reply))
  (func $trap unreachable)
  (func $inspect (if (i32.ne (call $name_size) (i32.const 7)) (then (call $accept))))
  (export "canister_query echo" (func $echo))
  (export "canister_update echo_update" (func $echo))
  (export "canister_update count" (func $count))
  (export "canister_update slow" (func $slow))
  (export "canister_update trap" (func $trap))
  (export "canister_update refused" (func $echo))
  (export "canister_inspect_message" (func $inspect)))
"""
EMPTY = b"DIDL\0\0"
OWNER = Identity(privkey="11" * 32)
STRANGER = Identity(privkey="22" * 32, type="secp256k1")


def custom_section(name: str, content: bytes) -> bytes:
    body = leb128(len(name)) + name.encode() + content
    return b"\0" + leb128(len(body)) + body


@dataclass
class Served(Endpoint):
    """A network, where it is served, and a canister on it whose controller is OWNER."""

    network: EmbeddedNetwork
    url: str
    port: int
    canister: str = ""

    @property
    def canister_id(self) -> bytes:
        return principal.from_text(self.canister)

    def call(self, method: str, arg: bytes = EMPTY, version: str = "v3") -> tuple[bytes, httpx.Response]:
        request_id, body = self.signed("call", method, arg)
        return request_id, self.post(f"{version}/canister/{self.canister}/call", body)

    def signed(self, kind: str, method: str, arg: bytes = EMPTY, sender: Identity = OWNER) -> tuple[bytes, bytes]:
        fields = {"canister_id": self.canister_id, "method_name": method, "arg": arg}
        return self.sign({"request_type": kind, **fields}, sender)

    def sign(self, fields: dict[str, Any], sender: Identity = OWNER) -> tuple[bytes, bytes]:
        expiry = self.network.now() + 200 * 10**9
        signed: tuple[bytes, bytes] = sign_request(
            {**fields, "sender": sender.sender().bytes, "ingress_expiry": expiry}, sender
        )
        return signed

    def read_state(self, paths: list[list[bytes]], sender: Identity = OWNER, url: str = "") -> httpx.Response:
        _, body = self.sign({"request_type": "read_state", "paths": paths}, sender)
        return self.post(f"{url or 'v2/canister/' + self.canister}/read_state", body)

    def manage(self, method: str, arg: dict[str, Any], effective: str) -> Any:
        described = management.INTERFACE.methods[method]
        fields = {"request_type": "call", "canister_id": b"", "method_name": method}
        request_id, body = self.sign({**fields, "arg": candid.encode(described.args, [arg])})
        tree = self.tree(self.post(f"v3/canister/{effective}/call", body))
        reply = lookup_value([b"request_status", request_id, b"reply"], tree)
        assert isinstance(reply, bytes), hash_tree.shown_values(tree)
        return candid.decode(described.results, reply)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with (
        EmbeddedNetwork(tmp_path_factory.mktemp("state"), cache=tmp_path_factory.mktemp("cache")) as network,
        serving(network) as port,
    ):
        served = Served(network, f"http://127.0.0.1:{port}", port)
        (created,) = served.manage(
            "provisional_create_canister_with_cycles", {"amount": 10**13, "settings": None}, "aaaaa-aa"
        )
        served.canister = principal.to_text(created["canister_id"])
        module = bytes(wasmtime.wat2wasm(CANISTER))
        module += custom_section("icp:public open", b"for all") + custom_section("icp:private closed", b"for few")
        install = {"mode": "install", "canister_id": created["canister_id"], "wasm_module": module, "arg": b""}
        served.manage("install_code", install, served.canister)
        yield served


def test_status(served: Served) -> None:
    response = httpx.get(f"{served.url}/api/v2/status")
    status = cbor2.loads(response.content)
    assert status["root_key"] == served.network.root_key
    assert status["replica_health_status"] == "healthy"
    assert response.headers["content-type"] == "application/cbor"


def test_browsers_may_ask(served: Served) -> None:
    response = httpx.options(f"{served.url}/api/v2/canister/{served.canister}/query")
    assert response.status_code == 204
    for answer in (response, httpx.get(f"{served.url}/api/v2/status"), httpx.get(f"{served.url}/api/nothing")):
        assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]


@pytest.mark.parametrize("identity", [OWNER, STRANGER, Identity(anonymous=True)], ids=["ed25519", "secp256k1", "none"])
def test_stock_ic_py(served: Served, identity: Identity) -> None:
    agent = Agent(identity, Client(served.url))
    argument = encode([{"type": Types.Nat, "value": 2**70}])
    assert agent.query_raw(served.canister, "echo", argument) == [{"type": "nat", "value": 2**70}]
    assert agent.update_raw(served.canister, "echo_update", argument) == [{"type": "nat", "value": 2**70}]
    assert "no query method" in agent.query_raw(served.canister, "missing", argument)
    with pytest.raises(Exception, match=r"Rejected: .*trapped"):
        agent.update_raw(served.canister, "trap", argument)


def test_icp_py_core(served: Served) -> None:
    agent = IcpAgent(IcpIdentity(privkey="33" * 32), IcpClient(served.url))
    argument = icp_encode([{"type": IcpTypes.Text, "value": "hello"}])
    assert agent.query(served.canister, "echo", argument)[0]["value"] == "hello"
    answer = agent.update(served.canister, "echo_update", argument, verify_certificate=False)
    assert answer[0]["value"] == "hello"


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_synchronous_call(served: Served, version: str) -> None:
    request_id, response = served.call("echo_update", b"DIDL\0\1\x7e\1", version)
    assert cbor2.loads(response.content)["status"] == "replied"
    tree = served.tree(response)
    assert lookup_value([b"request_status", request_id, b"status"], tree) == b"replied"
    assert lookup_value([b"request_status", request_id, b"reply"], tree) == b"DIDL\0\1\x7e\1"
    assert abs(certificate.time_of(tree) - served.network.now()) < 60 * 10**9


def test_a_trap_is_a_certified_rejection(served: Served) -> None:
    request_id, response = served.call("trap")
    tree = served.tree(response)
    below = [b"request_status", request_id]
    assert lookup_value([*below, b"status"], tree) == b"rejected"
    assert lookup_value([*below, b"reject_code"], tree) == b"\5"
    assert lookup_value([*below, b"error_code"], tree) == b"IC0502"
    assert lookup_value([*below, b"reply"], tree) is hash_tree.ABSENT


def test_asynchronous_call(served: Served) -> None:
    request_id, response = served.call("echo_update", version="v2")
    assert (response.status_code, response.content) == (202, b"")
    status: bytes | hash_tree.Absence = b""
    while status != b"replied":
        assert status in (b"", b"received", b"processing")
        status = lookup_value(
            [b"request_status", request_id, b"status"],
            served.tree(served.read_state([[b"request_status", request_id]])),
        )


def test_a_call_that_takes_long_is_answered_before(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "SYNCHRONOUS_SECONDS", 0.0)
    request_id, response = served.call("slow")
    assert (response.status_code, response.content) == (202, b"")
    path = [b"request_status", request_id, b"status"]
    while lookup_value(path, served.tree(served.read_state([path[:2]]))) != b"replied":
        time.sleep(0.05)


def test_the_same_request_twice_is_one_call(served: Served) -> None:
    request_id, body = served.signed("call", "count")
    replies = {
        lookup_value(
            [b"request_status", request_id, b"reply"],
            served.tree(served.post(f"v3/canister/{served.canister}/call", body)),
        )
        for _ in range(3)
    }
    assert len(replies) == 1


def test_refused_by_the_canister_before_execution(served: Served) -> None:
    text = f"Error from Canister {served.canister}: Canister rejected the message"
    expected = {"reject_code": 4, "reject_message": text, "error_code": "IC0406"}
    for version, status in (("v2", {}), ("v3", {"status": "non_replicated_rejection"})):
        _, response = served.call("refused", version=version)
        assert response.status_code == 200
        assert cbor2.loads(response.content) == {**status, **expected}


@pytest.mark.parametrize("method", ["echo", "missing"])
def test_answers_to_queries_are_signed(served: Served, method: str) -> None:
    request_id, body = served.signed("query", method, b"DIDL\0\1\x7e\1")
    answer = dict(cbor2.loads(served.post(f"v3/canister/{served.canister}/query", body).content))
    assert answer["status"] == ("replied" if method == "echo" else "rejected")
    (signature,) = answer.pop("signatures")

    subnet = served.network.subnet_id
    tree = served.tree(served.read_state([[b"subnet"]]))
    key_der = lookup_value([b"subnet", subnet, b"node", signature["identity"], b"public_key"], tree)
    assert isinstance(key_der, bytes)
    key = load_der_public_key(key_der)
    assert isinstance(key, Ed25519PublicKey)
    signed = {**answer, "timestamp": signature["timestamp"], "request_id": request_id}
    key.verify(signature["signature"], b"\x0bic-response" + hash_of_map(signed))


def test_read_state_of_canister_and_subnet(served: Served) -> None:
    below = [b"canister", served.canister_id]
    asked = [[*below, b"module_hash"], [*below, b"controllers"], [*below, b"metadata", b"open"]]
    tree = served.tree(served.read_state(asked, sender=STRANGER, url=f"v3/canister/{served.canister}"))
    assert lookup_value([*below, b"metadata", b"open"], tree) == b"for all"
    controllers = lookup_value([*below, b"controllers"], tree)
    assert isinstance(controllers, bytes)
    assert list(cbor2.loads(controllers)) == [OWNER.sender().bytes]

    subnet = served.network.subnet_id
    for version in ("v2", "v3"):
        url = f"{version}/subnet/{principal.to_text(subnet)}"
        tree = served.tree(served.read_state([[b"subnet", subnet, b"public_key"]], url=url))
        assert lookup_value([b"subnet", subnet, b"public_key"], tree) == served.network.root_key
    elsewhere = served.read_state([], url=f"v2/subnet/{served.canister}")
    assert elsewhere.status_code == 400
    assert f"there is no subnet {served.canister}" in elsewhere.text


def test_what_others_must_not_read(served: Served) -> None:
    request_id, _ = served.call("echo_update")
    private = [b"canister", served.canister_id, b"metadata", b"closed"]
    assert lookup_value(private, served.tree(served.read_state([private]))) == b"for few"
    for path in (
        private,
        [b"request_status", request_id],
        [b"canister", principal.canister_id(77), b"module_hash"],
        [],
    ):
        assert served.read_state([path], sender=STRANGER).status_code == 403
    both = served.read_state([[b"request_status", request_id], [b"request_status", b"x" * 32]])
    assert both.status_code == 400
    assert "must be of one request" in both.text


def test_errors_are_told(served: Served) -> None:
    _, body = served.signed("call", "echo_update")
    canister = f"v3/canister/{served.canister}"
    too_large = served.signed("call", "echo_update", bytes(http.MAX_BODY))[1]
    for path, content, status, text in [
        ("v3/canister/aaaaa-aa/call", body, 400, "aaaaa-aa in the URL is the wrong canister id for calling"),
        ("v3/canister/nonsense/call", body, 400, "in the URL: 'nonsense' is not a principal"),
        (f"{canister}/query", body, 400, "request_type is 'call'; at this URL it must be 'query'"),
        (f"{canister}/call", b"nonsense", 400, "not CBOR"),
        (f"{canister}/call", body.replace(b"echo_update", b"echo_Update"), 400, "signature of the request is wrong"),
        (f"{canister}/call", too_large, 413, f"at most {http.MAX_BODY} bytes are accepted"),
    ]:
        response = served.post(path, content)
        assert response.status_code == status
        assert text in response.text


def test_a_body_that_does_not_come_to_its_end_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS", 0.3)
    _, body = served.signed("call", "echo_update", bytes(100_000))
    cut_off = zlib.compress(random.Random(1).randbytes(300_000))[:-10]
    half, size = body[: len(body) // 2], f"Content-Length: {len(body)}"
    api, site = f"/api/v3/canister/{served.canister}/call", f"/?canisterId={served.canister}"
    for path, header, sent in [
        (api, size, half),
        (api, "Transfer-Encoding: chunked", b"%x\r\n%s\r\n" % (len(half), half)),
        (api, f"Content-Encoding: deflate\r\nContent-Length: {len(cut_off)}", cut_off),
        (site, size, half),
    ]:
        with socket.create_connection(("127.0.0.1", served.port), 30) as sender:
            sender.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n".encode() + sent)
            response = HTTPResponse(sender)
            response.begin()
            assert response.status == 408
            assert "the end of the body has not come after 0.3 s" in response.read().decode()
            assert response.will_close
    monkeypatch.undo()
    assert served.post(api.removeprefix("/api/"), body).status_code == 200


def test_a_taken_port(served: Served) -> None:
    with pytest.raises(OSError, match="address already in use"):
        asyncio.run(http.listen(served.network, port=served.port))
