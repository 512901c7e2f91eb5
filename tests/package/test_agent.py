"""Calls over HTTP to a real canister: what is answered, rejected, sent again, and what is not believed."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import cbor2
import ic
import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ic.candid import Types, encode
from ic.certificate import lookup
from ic.constants import IC_ROOT_KEY
from ic.identity import DelegateIdentity

from mainer_nb import agent as agents
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.errors import (
    CallTimeout,
    CanisterError,
    CertificateError,
    NetworkError,
    NetworkNotRunning,
    RejectError,
    TransportError,
)
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from mainer_nb.protocol.request_id import DELEGATION_DOMAIN, hash_of_map
from tests.http_in_between import forwarded, lossy, serving
from tests.probe_canister import PROBE_DID

NOTHING = b"DIDL\0\0"


def test_bytes_go_in_and_come_out(agent: Agent, probe: str) -> None:
    assert agent.query_bytes(probe, "echo", b"hello") == b"hello"
    assert agent.update_bytes(probe, "echo_update", b"hello") == b"hello"
    large = bytes(range(256)) * 7000
    assert agent.update_bytes(probe, "echo_update", large) == large


@pytest.mark.parametrize("synchronous", [True, False])
def test_updates_are_answered_at_once_or_by_polling(agent: Agent, probe: str, synchronous: bool) -> None:
    agent._synchronous = synchronous
    assert Canister(agent, probe, PROBE_DID).increment() == 1


def test_equal_calls_are_two_calls(agent: Agent, probe: str) -> None:
    canister = Canister(agent, probe, PROBE_DID)
    assert [canister.increment(), canister.increment()] == [1, 2]


def test_calls_from_many_threads_are_each_carried_out_once(agent: Agent, probe: str) -> None:
    canister = Canister(agent, probe, PROBE_DID)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: canister.increment(), range(40)))
    assert sorted(counts) == list(range(1, 41))


def test_a_secp256k1_identity_is_accepted(running: server.Info, probe: str) -> None:
    identity = Identity(ec.generate_private_key(ec.SECP256K1()))
    other = Agent(identity, running.url, bytes.fromhex(running.root_key))
    assert Canister(other, probe, PROBE_DID).increment() == 1


def test_the_anonymous_identity_is_accepted(running: server.Info, probe: str) -> None:
    other = Agent(Identity(None), running.url, bytes.fromhex(running.root_key))
    assert Canister(other, probe, PROBE_DID).increment() == 1


@pytest.mark.parametrize(
    ("method", "code", "text"),
    [
        ("refuse", 4, "no such luck"),
        ("refuse_update", 4, "no such luck"),
        ("fall", 5, "no such luck"),
    ],
)
def test_rejections_are_typed(agent: Agent, probe: str, method: str, code: int, text: str) -> None:
    with pytest.raises(RejectError, match=text) as caught:
        getattr(Canister(agent, probe, PROBE_DID), method)()
    assert (caught.value.reject_code, caught.value.method, caught.value.canister_id) == (code, method, probe)
    assert text in caught.value.reject_message


@pytest.mark.parametrize("call", ["query_bytes", "update_bytes"])
def test_unknown_canisters_and_methods_are_rejected_by_name(agent: Agent, probe: str, call: str) -> None:
    with pytest.raises(RejectError, match="nowhere") as caught:
        getattr(agent, call)(probe, "nowhere", NOTHING)
    assert caught.value.error_code
    with pytest.raises(RejectError, match="n2m2m-wyaaa-aaaaa-p777a-cai") as caught:
        getattr(agent, call)("n2m2m-wyaaa-aaaaa-p777a-cai", "echo", NOTHING)
    assert caught.value.reject_code == 3


def test_a_call_is_too_large(agent: Agent, probe: str) -> None:
    with pytest.raises(TransportError, match="413"):
        agent.update_bytes(probe, "echo_update", bytes(3_000_000))


def test_an_answer_under_another_root_key_is_not_believed(running: server.Info, caller: Identity, probe: str) -> None:
    stranger = Agent(caller, running.url, IC_ROOT_KEY)
    with pytest.raises(CertificateError, match="cannot be verified with its root key"):
        stranger.update_bytes(probe, "echo_update", b"hello")
    with pytest.raises(CertificateError):
        stranger.read_canister(probe, "module_hash")


def test_a_late_answer_names_the_request(agent: Agent, probe: str) -> None:
    agent._synchronous = False
    with pytest.raises(CallTimeout, match="no answer within 0 s") as caught:
        agent.update_bytes(probe, "increment", NOTHING, timeout=0)
    assert len(caught.value.request_id) == 32


def test_nothing_listens(caller: Identity) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NetworkNotRunning, match=f"127.0.0.1:{port}.*mainer-nb net start"):
        Agent(caller, f"http://127.0.0.1:{port}").query_bytes("aaaaa-aa", "echo", NOTHING)


def test_another_kind_of_server_is_recognised(caller: Identity) -> None:
    with serving(lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello") as url:
        agent = Agent(caller, url)
        with pytest.raises(TransportError, match="HTTP 404: hello"):
            agent.query_bytes("aaaaa-aa", "echo", NOTHING)
        with pytest.raises(TransportError, match="does not answer as an Internet Computer does"):
            agent.client.get_status()


def test_a_call_whose_answer_is_lost_is_sent_again_and_carried_out_once(
    running: server.Info, caller: Identity, probe: str
) -> None:
    """The first two connections break after the network has the request, before its answer is passed on."""
    with lossy(running.url, losses=2) as url:
        canister = Canister(Agent(caller, url, bytes.fromhex(running.root_key)), probe, PROBE_DID)
        assert canister.increment() == 1
        assert canister.value() == 1


def test_a_query_is_sent_again_too(running: server.Info, caller: Identity, probe: str) -> None:
    with lossy(running.url, losses=2) as url:
        assert Agent(caller, url).query_bytes(probe, "echo", b"hello") == b"hello"


def test_a_network_that_is_busy_is_asked_again(caller: Identity) -> None:
    answers = iter([b"429 Too Many Requests", b"503 Service Unavailable", b"400 Bad Request"])
    busy = serving(lambda _: b"HTTP/1.1 " + next(answers) + b"\r\nContent-Length: 0\r\n\r\n")
    with busy as url, pytest.raises(TransportError, match="HTTP 400"):
        Agent(caller, url).query_bytes("aaaaa-aa", "echo", NOTHING)
    assert next(answers, None) is None


def test_ic_pys_own_canister_works_on_this_agent(agent: Agent, probe: str) -> None:
    theirs = ic.Canister(agent, probe, PROBE_DID)
    assert theirs.increment() == [1]
    assert theirs.value() == [1]
    with pytest.raises(RejectError):
        theirs.refuse()


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1"])
def test_ic_pys_own_identities_and_principals_work_on_this_agent(running: server.Info, probe: str, kind: str) -> None:
    theirs = Agent(ic.Identity(type=kind), running.url, bytes.fromhex(running.root_key))
    assert theirs.update_bytes(ic.Principal.from_str(probe), "echo_update", b"hello") == b"hello"
    assert theirs.query_bytes(ic.Principal.from_str(probe), "echo", b"hello") == b"hello"


def test_a_delegated_identity_of_ic_pys_signs_for_its_owner(running: server.Info, probe: str) -> None:
    owner, session = Identity(Ed25519PrivateKey.generate()), ic.Identity()
    delegation = {"pubkey": session.der_pubkey, "expiration": time.time_ns() + 60 * 10**9}
    owner_key, signature = owner.sign(DELEGATION_DOMAIN + hash_of_map(delegation))
    assert owner_key is not None
    assert signature is not None
    signed = {
        "delegation": {"pubkey": session.der_pubkey.hex(), "expiration": f"{delegation['expiration']:x}"},
        "signature": signature.hex(),
    }
    identity = DelegateIdentity(session, {"publicKey": owner_key.hex(), "delegations": [signed]})
    theirs = Agent(identity, running.url, bytes.fromhex(running.root_key))
    assert theirs.get_principal().bytes == owner.sender().bytes
    assert theirs.update_bytes(probe, "echo_update", b"hello") == b"hello"


def test_ic_pys_methods_decode_as_ic_py_does(agent: Agent, probe: str) -> None:
    message = encode([{"type": Types.Nat, "value": 42}])
    theirs = [{"type": "nat", "value": 42}]
    assert agent.query_raw(probe, "echo", message) == theirs
    assert agent.update_raw(probe, "echo_update", message, timeout=60.0) == theirs
    assert asyncio.run(agent.query_raw_async(probe, "echo", message)) == theirs
    assert asyncio.run(agent.update_raw_async(probe, "echo_update", message)) == theirs


def test_ic_pys_own_reading_of_the_state_works_on_this_agent(agent: Agent, probe: str, probe_wasm: bytes) -> None:
    path = [b"canister", ic.Principal.from_str(probe).bytes, b"module_hash"]
    assert lookup(path, agent.read_state_raw(probe, [path])) == hashlib.sha256(probe_wasm).digest()
    assert lookup(path, asyncio.run(agent.read_state_raw_async(probe, [path]))) == hashlib.sha256(probe_wasm).digest()


def test_certified_facts_of_a_canister(agent: Agent, probe: str, probe_wasm: bytes) -> None:
    assert agent.read_canister(probe, "module_hash") == hashlib.sha256(probe_wasm).digest()
    assert agent.read_canister("n2m2m-wyaaa-aaaaa-p777a-cai", "module_hash") is None


def test_a_network_without_synchronous_calls_is_polled(running: server.Info, caller: Identity, probe: str) -> None:
    def older(request: bytes) -> bytes:
        if request.startswith(b"POST /api/v3/"):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        return forwarded(request, running.url)

    with serving(older) as url:
        canister = Canister(Agent(caller, url, bytes.fromhex(running.root_key)), probe, PROBE_DID)
        assert [canister.increment(), canister.increment()] == [1, 2]


def test_self_described_cbor_is_understood(caller: Identity) -> None:
    body = cbor2.dumps(cbor2.CBORTag(55799, {"root_key": b"key", "replica_health_status": "healthy"}))
    with serving(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as url:
        assert Agent(caller, url).client.get_status()["root_key"] == b"key"


@pytest.mark.parametrize(
    ("passed_on", "helps"),
    [
        ("Canister aaaaa-aa is stopped", "start it"),
        ("IC0508: Canister aaaaa-aa is not running", "start it"),
        ("IC0207: Canister aaaaa-aa is out of cycles", "top it up"),
        ("the shop is stopped", None),
    ],
)
def test_what_a_canister_passes_on_of_a_rejection_is_explained(passed_on: str, helps: str | None) -> None:
    """A calling canister reads the rejections of a stopped one without an error code."""
    text = str(CanisterError("aaaaa-aa", "method", "Other", f"the Game State does not answer: {passed_on}"))
    assert ("Remedy" in text) == (helps is not None)
    assert helps is None or f"Remedy: {helps}" in text


@pytest.mark.parametrize(("hours", "said"), [(3, "180 minutes ahead of"), (-49, "2940 minutes behind")])
@pytest.mark.parametrize("header", [True, False])
def test_a_clock_that_is_off_is_named_with_how_much(hours: int, said: str, header: bool) -> None:
    theirs = datetime.now(UTC) - timedelta(hours=hours)
    text = "" if header else f"Minimum allowed expiry: {theirs:%Y-%m-%d %H:%M:%S}.123456 UTC, Maximum allowed …"
    answer = agents.HttpAnswer(400, text.encode(), format_datetime(theirs) if header else "")
    assert f"The clock of this machine is {said} the network's" in str(agents.refused("http://x", answer))


def test_a_clock_that_is_right_is_not_mentioned() -> None:
    for date in ("", "yesterday", format_datetime(datetime.now(UTC) - timedelta(seconds=5))):
        assert "clock" not in str(agents.refused("http://x", agents.HttpAnswer(400, b"no", date)))


def set_proxies(monkeypatch: pytest.MonkeyPatch, proxies: dict[str, str]) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", ["localhost:3128", "http://localhost:3128"])
def test_a_proxy_is_used_with_or_without_a_scheme(monkeypatch: pytest.MonkeyPatch, name: str, proxy: str) -> None:
    set_proxies(monkeypatch, {name: proxy})
    http = agents.Client("http://network.example").http
    assert isinstance(http, urllib3.ProxyManager)
    assert http.proxy is not None
    assert http.proxy.url == "http://localhost:3128"


@pytest.mark.parametrize(
    "proxy", ["socks5://u:secret@localhost:1080", "socks5h://localhost:1080", "ftp://x", "http://["]
)
def test_a_proxy_that_cannot_be_used_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    set_proxies(monkeypatch, {"ALL_PROXY": proxy})
    with pytest.raises(NetworkError, match=r"ALL_PROXY.*must be an HTTP proxy.*NO_PROXY=network\.example") as caught:
        agents.Client("http://network.example")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.53", "[::1]", "x.localhost", "other.example"])
def test_no_proxy_is_used_for_this_machine_and_what_no_proxy_names(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    set_proxies(monkeypatch, {"ALL_PROXY": "socks5://localhost:1080", "NO_PROXY": "other.example"})
    assert not isinstance(agents.Client(f"http://{host}:8080").http, urllib3.ProxyManager)


def test_the_network_states_its_time(agent: Agent) -> None:
    answer = agent.client._request("GET", "/api/v2/status")
    assert abs((datetime.now(UTC) - parsedate_to_datetime(answer.date)).total_seconds()) < agents.CLOCKS_DIFFER
