"""Management canister: HTTPS outcalls, if the network is asked to make them."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mainer_nb.localnet import cycles, management, outcalls, server
from mainer_nb.localnet.errors import Reply
from mainer_nb.protocol import candid, principal
from tests.localnet.acceptance.proxy import PROXY_BODY, Proxy, rejected, request
from tests.localnet.driver import Driver, eventually, module, wat_string

DOES_NOT_HOLD = {
    "plain http is refused for every host": "taken for this machine itself, where a program under development runs",
    "responses are agreed on by several nodes": "there is only one, so a missing transform function shows on mainnet",
}

PLENTY = 10**12
RESPONSE = management.INTERFACE.methods["http_request"].results[0]
TRANSFORM_ARG = candid.record({"response": RESPONSE, "context": candid.BLOB})
#: A Candid value of `RESPONSE` with an empty body ends with: length of the body, number of headers.
_EMPTY = candid.encode([RESPONSE], [{"status": 201, "headers": [], "body": b""}])
_START, _END = _EMPTY[:-2], _EMPTY[-1:]


#: Query methods that get a response. `wrap` gives its argument back as the body of another response.
TRANSFORMS = f"""
  (func (export "canister_query wrap") (local $size i32) (local $at i32)
    (local.set $size (call $arg_size))
    (call $append (i32.const 3000) (i32.const {len(_START)}))
    (local.set $at (i32.const 0))
    (loop $digits  ;; the length in five digits of LEB128
      (i32.store8 (i32.add (i32.const 4000) (local.get $at))
        (i32.or (i32.and (local.get $size) (i32.const 127))
          (i32.shl (i32.lt_u (local.get $at) (i32.const 4)) (i32.const 7))))
      (local.set $size (i32.shr_u (local.get $size) (i32.const 7)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $digits (i32.lt_u (local.get $at) (i32.const 5))))
    (call $append (i32.const 4000) (i32.const 5))
    (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size))
    (call $append (i32.const 65536) (call $arg_size))
    (call $append (i32.const 3500) (i32.const {len(_END)}))
    (call $reply))
  (func (export "canister_query whoever")
    (call $caller_copy (i32.const 3600) (i32.const 0) (call $caller_size))
    (call $append (i32.const 3600) (call $caller_size)) (call $reply))
  (func (export "canister_query stumble") (call $trap (i32.const 0) (i32.const 12)))
  (func (export "canister_query refuse") (call $reject (i32.const 0) (i32.const 12)))
  (func (export "canister_query silence"))
  (func (export "canister_update change") (call $reply))
  (data (i32.const 3000) "{wat_string(_START)}")
  (data (i32.const 3500) "{wat_string(_END)}")
"""
CALLER = module(PROXY_BODY + TRANSFORMS, "(memory 64)")


class Site(http.server.BaseHTTPRequestHandler):
    """What the tests' server answers, by path; it keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.command, self.path, self.headers.items(), body))
        kind, _, number = self.path.strip("/").partition("/")
        if kind == "wait":
            self.server.let_go.wait(60)
        if kind == "hang-up":
            self.close_connection = True
            return
        status = {"moved": 302, "missing": 404}.get(kind, 200)
        data = b"x" * int(number) if kind == "size" else b"hello"
        headers = [(f"x-{i}", "y") for i in range(int(number))] if kind == "headers" else [("X-Own", "One")]
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if kind == "moved":
            self.send_header("Location", "/")
        if kind == "long-header":
            self.send_header("x-long", "v" * int(number))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, *_: Any) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """A web server on this machine, for as long as a test."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Site)
        self.seen: list[tuple[str, str, list[tuple[str, str]], bytes]] = []
        self.let_go = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are no news."""

    def stop(self) -> None:
        self.let_go.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def site() -> Iterator[Server]:
    """A server that speaks plain http."""
    found = Server()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1 in one file, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's server")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secure_site(authority: Path) -> Iterator[Server]:
    """A server that speaks https."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    found = Server(context)
    yield found
    found.stop()


@pytest.fixture
def ic(tmp_path: Path, module_cache: Path, authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Driver]:
    """A network that makes outcalls, and trusts the server."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    driver = Driver(tmp_path / "network", module_cache, outcalls=True)
    yield driver
    driver.network.close()


@pytest.fixture
def caller(ic: Driver) -> Proxy:
    """A canister that makes outcalls and transforms their responses."""
    return Proxy(ic, wasm=CALLER)


def ask(
    caller: Proxy,
    url: str,
    cycles: int = PLENTY,
    transform: str = "",
    context: bytes = b"",
    owner: bytes | None = None,
    **more: Any,
) -> Any:
    """Has `caller` make an outcall; the response or the `Reject`. `owner`: whose function `transform` is."""
    function = {"function": (owner or caller.id, transform), "context": context} if transform else None
    arg = {"url": url, "method": {"get": None}, "headers": [], "transform": function, **more}
    return caller.manage("http_request", arg, cycles)


def price(url: str, transform: str = "", context: bytes = b"", limit: int = 2_000_000, more: int = 0) -> int:
    """Section "Cycles costs": 13 nodes, each byte of the request 400 cycles a node, each of the response 800."""
    size = len(url) + len(transform) + len(context) + more
    return 13 * (3_000_000 + 13 * 60_000) + 13 * 400 * size + 13 * 800 * limit


# Asking for them.


def test_off_unless_asked_for(tmp_path: Path, module_cache: Path, site: Server) -> None:
    """http_request is refused unless the network was started with outcalls, and the text names the remedy"""
    ic = Driver(tmp_path / "network", module_cache)
    try:
        caller = Proxy(ic)
        rejected(ask(caller, site.url), 4, "mainer-nb net start --outcalls")
        assert caller.refunded == PLENTY
    finally:
        ic.close()
    assert not site.seen


def test_remembered(tmp_path: Path, module_cache: Path) -> None:
    """a network that was started with outcalls makes them after a restart too, until it is told not to"""
    folder = tmp_path / "network"
    for wanted, expected in ((None, False), (True, True), (None, True), (False, False), (None, False)):
        ic = Driver(folder, module_cache, outcalls=wanted)
        assert ic.network.outcalls is expected
        ic.close()


def test_background(tmp_path: Path) -> None:
    """a network in the background says whether it makes outcalls; a running one is not changed"""
    folder = tmp_path / "state"
    try:
        assert server.start(folder, outcalls=True).outcalls
        assert server.start(folder).outcalls
        with pytest.raises(server.ServerError, match=r"runs already, with HTTPS outcalls; stop it first"):
            server.start(folder, outcalls=False)
        server.stop(folder)
        assert server.start(folder).outcalls
    finally:
        server.stop(folder)


# What is sent and what comes back.


def test_https(caller: Proxy, secure_site: Server) -> None:
    """an outcall over https gives status, headers and body of the response"""
    answer = ask(caller, f"{secure_site.url}/page?a=b%20c")
    assert answer["status"] == 200
    assert {"name": "x-own", "value": "One"} in answer["headers"]
    assert answer["body"] == b"hello"
    assert [(verb, path) for verb, path, _, _ in secure_site.seen] == [("GET", "/page?a=b%20c")]


def test_wrong_name(caller: Proxy, secure_site: Server) -> None:
    """an outcall is not sent to a server whose certificate is for another name"""
    rejected(ask(caller, secure_site.url.replace("127.0.0.1", "localhost")), 2, "Connecting to localhost failed")
    assert not secure_site.seen


def test_unknown_authority(tmp_path: Path, module_cache: Path, secure_site: Server) -> None:
    """an outcall is not sent to a server whose certificate has an unknown issuer"""
    ic = Driver(tmp_path / "network", module_cache, outcalls=True)
    try:
        rejected(ask(Proxy(ic, wasm=CALLER), secure_site.url), 2, "Connecting to 127.0.0.1 failed")
    finally:
        ic.close()
    assert not secure_site.seen


def test_http(caller: Proxy, site: Server) -> None:
    """outcalls over plain http are for servers on this machine only"""
    assert ask(caller, site.url)["body"] == b"hello"
    assert ask(caller, site.url.replace("127.0.0.1", "localhost"))["body"] == b"hello"
    for url in ("http://example.org", "http://127.0.0.1.example.org/", "http://192.0.2.1/", "ftp://127.0.0.1/"):
        rejected(ask(caller, url), 1, "Url need to specify https scheme")


@pytest.mark.parametrize("url", ["", "nonsense", "https://", "https://[::1", "https:// x/"])
def test_url(caller: Proxy, url: str) -> None:
    """an outcall to a text that is not a URL is rejected"""
    assert rejected(ask(caller, url), 1).message.startswith(("Failed to parse URL", "Url need to specify https"))


@pytest.mark.parametrize("verb", ["get", "head", "post"])
def test_methods(caller: Proxy, site: Server, verb: str) -> None:
    """GET, HEAD and POST send the canister's headers and body, and add only user-agent and host"""
    headers = [{"name": "X-One", "value": "1"}, {"name": "x-one", "value": "2"}]
    answer = ask(caller, f"{site.url}/", method={verb: None}, headers=headers, body=b"data")
    assert answer["body"] == (b"" if verb == "head" else b"hello")
    seen_verb, _, seen, body = site.seen[0]
    assert seen_verb == verb.upper()
    assert body == b"data"
    assert [(name, value) for name, value in seen if name.lower() == "x-one"] == [("x-one", "1"), ("x-one", "2")]
    added = {name.lower(): value for name, value in seen if name.lower() != "x-one"}
    assert added == {"host": site.url.removeprefix("http://"), "content-length": "4", "user-agent": "ic/1.0"}


def test_user_agent(caller: Proxy, site: Server) -> None:
    """a user-agent header of the canister's own is sent instead of ic/1.0"""
    ask(caller, site.url, headers=[{"name": "User-AGENT", "value": "me"}])
    assert [value for name, value in site.seen[0][2] if name.lower() == "user-agent"] == ["me"]


@pytest.mark.parametrize("verb", ["put", "delete", "patch"])
def test_not_replicated(caller: Proxy, site: Server, verb: str) -> None:
    """PUT, DELETE and PATCH are for outcalls by one node (is_replicated = false)"""
    for replicated in (None, True):
        refused = ask(caller, site.url, method={verb: None}, is_replicated=replicated)
        rejected(refused, 4, "The requested HTTP method is only allowed for non-replicated requests.")
        assert caller.refunded == PLENTY
    assert ask(caller, site.url, method={verb: None}, is_replicated=False)["status"] == 200
    assert [seen[0] for seen in site.seen] == [verb.upper()]


def test_url_beyond_ascii(caller: Proxy, site: Server) -> None:
    """a URL may have characters that are not ASCII; they are sent as UTF-8 with percent signs"""
    assert ask(caller, f"{site.url}/Zürich?q=東京")["status"] == 200
    assert [path for _, path, _, _ in site.seen] == ["/Z%C3%BCrich?q=%E6%9D%B1%E4%BA%AC"]


def test_status(caller: Proxy, site: Server) -> None:
    """an answer with an HTTP error is a response like any other, and redirections are not followed"""
    assert ask(caller, f"{site.url}/missing")["status"] == 404
    assert ask(caller, f"{site.url}/moved")["status"] == 302
    assert [path for _, path, _, _ in site.seen] == ["/missing", "/moved"]


# Limits.


def test_response_size(caller: Proxy, site: Server) -> None:
    """a response larger than max_response_bytes is rejected; headers and body count"""
    own = len("x-own" + "One" + "content-length" + "1000")
    answer = ask(caller, f"{site.url}/size/1000", max_response_bytes=1000 + own)
    assert len(answer["body"]) == 1000
    refused = ask(caller, f"{site.url}/size/1000", max_response_bytes=999 + own)
    rejected(refused, 1, f"Http body exceeds size limit of {999 + own} bytes.")
    rejected(ask(caller, site.url, max_response_bytes=10), 1, "Header size exceeds specified response size limit 10")


def test_largest_response(caller: Proxy, site: Server) -> None:
    """without max_response_bytes a response may have 2,000,000 bytes"""
    assert len(ask(caller, f"{site.url}/size/1900000")["body"]) == 1_900_000
    rejected(ask(caller, f"{site.url}/size/2000000"), 1, "Http body exceeds size limit of 2000000 bytes.")


def test_max_response_bytes(caller: Proxy, site: Server) -> None:
    """max_response_bytes of more than 2,000,000 is rejected"""
    refused = ask(caller, site.url, max_response_bytes=2_000_001)
    rejected(refused, 4, "max_response_bytes expected to be in the range [0..2000000], got 2000001")


def test_url_length(caller: Proxy, site: Server) -> None:
    """the URL of an outcall has at most 8192 bytes"""
    url = f"{site.url}/".ljust(8192, "a")
    assert ask(caller, url)["status"] == 200
    rejected(ask(caller, url + "a"), 4, "url size 8193 exceeds 8192")


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ([("n", "v")] * 65, "number of all http headers 65 exceeds 64"),
        ([("n" * 8193, "v")], "number of bytes to represent some http header name 8193 exceeds 8192"),
        ([("n", "v" * 8193)], "number of bytes to represent some http header value 8193 exceeds 8192"),
        ([("n", "v" * 8000)] * 7, "total number of bytes to represent all http header names and values 56007"),
    ],
)
def test_request_headers(caller: Proxy, site: Server, headers: list[tuple[str, str]], text: str) -> None:
    """an outcall has at most 64 headers, with names and values of at most 8 KiB, 48 KiB in all"""
    given = [{"name": name, "value": value} for name, value in headers]
    rejected(ask(caller, site.url, headers=given), 4, text)
    assert caller.refunded == PLENTY
    assert not site.seen


def test_request_size(caller: Proxy, site: Server) -> None:
    """headers and body of an outcall have at most 2,000,000 bytes together"""
    refused = ask(caller, site.url, method={"post": None}, body=bytes(2_000_001))
    rejected(refused, 4, "http header names and values and http body 2000001 exceeds 2000000")


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("", "x"), ("a", "x\r\nb: c"), ("a", "ü")])
def test_header_characters(caller: Proxy, site: Server, name: str, value: str) -> None:
    """an outcall with headers that HTTP does not allow is rejected, and nothing is sent"""
    rejected(ask(caller, site.url, headers=[{"name": name, "value": value}]), 1, "Failed to parse header")
    assert not site.seen


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("headers/65", "number of all http headers 66 exceeds 64"),
        ("long-header/8193", "number of bytes to represent some http header value 8193 exceeds 8192"),
    ],
)
def test_response_headers(caller: Proxy, site: Server, path: str, text: str) -> None:
    """the limits of headers hold for responses to outcalls too"""
    rejected(ask(caller, f"{site.url}/{path}"), 1, text)


# Transformation.


def test_transform(caller: Proxy, site: Server) -> None:
    """the transform function gets response and context; the caller gets what it gives back"""
    answer = ask(caller, site.url, transform="wrap", context=b"some context")
    assert (answer["status"], answer["headers"]) == (201, [])
    given = candid.decode([TRANSFORM_ARG], answer["body"])[0]
    assert given["context"] == b"some context"
    assert given["response"]["status"] == 200
    assert given["response"]["body"] == b"hello"
    assert {"name": "x-own", "value": "One"} in given["response"]["headers"]


def test_transform_caller(caller: Proxy, site: Server) -> None:
    """the transform function is called by the management canister"""
    function = {"function": (caller.id, "whoever"), "context": b""}
    arg = {"url": site.url, "method": {"get": None}, "headers": [], "transform": function}
    data = candid.encode(management.INTERFACE.methods["http_request"].args, [arg])
    assert caller.call(principal.MANAGEMENT, "http_request", data, PLENTY) == Reply(principal.MANAGEMENT)


def test_transform_of_another(ic: Driver, caller: Proxy, site: Server) -> None:
    """the transform function must be the calling canister's own"""
    other = ic.create(CALLER)
    refused = ask(caller, site.url, transform="wrap", owner=other)
    expected, actual = principal.to_text(caller.id), principal.to_text(other)
    rejected(refused, 4, f"transform principal id expected to be {expected}, got {actual}")
    assert not site.seen


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("stumble", 5, "Canister called `ic0.trap` with message"),
        ("refuse", 4, "call_perform"),
        ("silence", 5, "did not produce a response"),
        ("change", 5, "has no query method 'change'"),
        ("nowhere", 5, "has no query method 'nowhere'"),
    ],
)
def test_transform_fails(caller: Proxy, site: Server, name: str, code: int, text: str) -> None:
    """an outcall is rejected if its transform function traps, rejects, does not respond or is no query method"""
    rejected(ask(caller, site.url, transform=name), code, text)
    assert caller.refunded == PLENTY - price(site.url, name)


def test_transform_size(caller: Proxy, site: Server) -> None:
    """what the transform function gives back is bounded by max_response_bytes, encoding included"""
    refused = ask(caller, site.url, transform="wrap", context=bytes(1000), max_response_bytes=500)
    rejected(refused, 1, "Transformed http response exceeds limit: 500")


# Cycles.


def test_price(caller: Proxy, site: Server) -> None:
    """the price of an outcall depends on the size of the request and max_response_bytes; more cycles go back"""
    ask(caller, site.url)
    assert caller.refunded == PLENTY - price(site.url)
    more: dict[str, Any] = {"headers": [{"name": "abc", "value": "de"}], "body": b"1234567", "max_response_bytes": 3000}
    ask(caller, site.url, transform="wrap", context=b"ctx", method={"post": None}, **more)
    cost = price(site.url, "wrap", b"ctx", 3000, more=5 + 7)
    assert caller.refunded == PLENTY - cost
    assert cost == cycles.http_request(len(site.url) + 4 + 3 + 12, 3000)


def test_too_few_cycles(caller: Proxy, site: Server) -> None:
    """an outcall with less than its price is rejected, and its cycles go back"""
    cost = price(site.url)
    text = f"http_request request sent with {cost - 1} cycles, but {cost} cycles are required."
    rejected(ask(caller, site.url, cycles=cost - 1), 4, text)
    assert caller.refunded == cost - 1
    assert not site.seen
    assert ask(caller, site.url, cycles=cost)["status"] == 200


# Failing, waiting, going on.


def test_no_connection(caller: Proxy) -> None:
    """an outcall to a server that does not answer is rejected with SYS_TRANSIENT, and its price is spent"""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{unused.getsockname()[1]}"
    rejected(ask(caller, url), 2, "Connecting to 127.0.0.1 failed")
    assert caller.refunded == PLENTY - price(url)


def test_no_such_host(caller: Proxy) -> None:
    """an outcall to a host with an unknown name is rejected with SYS_TRANSIENT"""
    rejected(ask(caller, "https://no-such-host.invalid/"), 2, "Connecting to no-such-host.invalid failed")


def test_hanging_up(caller: Proxy, site: Server) -> None:
    """an outcall to a server that closes the connection without an answer is rejected with SYS_TRANSIENT"""
    rejected(ask(caller, f"{site.url}/hang-up"), 2, "Connecting to 127.0.0.1 failed")


def test_timeout(caller: Proxy, site: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """an outcall to a server that sends nothing for 30 s is rejected with SYS_FATAL"""
    assert outcalls.TIMEOUT_SECONDS == 30
    monkeypatch.setattr(outcalls, "TIMEOUT_SECONDS", 0.2)
    rejected(ask(caller, f"{site.url}/wait"), 1, "Timeout expired")


def test_others_go_on(ic: Driver, caller: Proxy, site: Server) -> None:
    """while one canister waits for a server, it and others go on, with outcalls as well"""
    waiting = ic.submit(caller.id, "call", _request(f"{site.url}/wait"))
    assert isinstance(waiting, bytes)
    eventually(lambda: site.seen)
    other = Proxy(ic, wasm=CALLER)
    assert len(other.manage("raw_rand")) == 32
    assert ask(other, site.url)["body"] == b"hello"
    assert ask(caller, site.url)["body"] == b"hello"
    assert ic.network.subnet.requests[waiting].pending
    site.let_go.set()
    assert isinstance(ic.response(waiting), Reply)


def test_stopping(ic: Driver, caller: Proxy, site: Server) -> None:
    """a canister is not stopped before its outcalls are answered"""
    waiting = ic.submit(caller.id, "call", _request(f"{site.url}/wait"))
    eventually(lambda: site.seen)
    stopping = ic.submit(principal.MANAGEMENT, "stop_canister", ic.encoded("stop_canister", {"canister_id": caller.id}))
    assert isinstance(waiting, bytes)
    assert isinstance(stopping, bytes)
    eventually(lambda: ic.network.subnet.canisters[caller.id].state.status == "stopping")
    assert ic.network.subnet.requests[stopping].pending
    site.let_go.set()
    assert isinstance(ic.response(waiting), Reply)
    assert isinstance(ic.response(stopping), Reply)


def test_restart(ic: Driver, caller: Proxy, site: Server) -> None:
    """an outcall under way when the network stops is made again when it runs again"""
    waiting = ic.submit(caller.id, "call", _request(f"{site.url}/wait"))
    assert isinstance(waiting, bytes)
    eventually(lambda: site.seen)
    ic.restart()
    eventually(lambda: len(site.seen) == 2)
    assert ic.network.subnet.requests[waiting].pending
    site.let_go.set()
    outcome = ic.response(waiting)
    assert isinstance(outcome, Reply)
    assert outcome.data[0] == 0
    assert candid.decode([RESPONSE], outcome.data[9:])[0]["body"] == b"hello"


def test_idle(ic: Driver, caller: Proxy, site: Server) -> None:
    """a network with an outcall under way is not idle"""
    waiting = ic.submit(caller.id, "call", _request(f"{site.url}/wait"))
    assert isinstance(waiting, bytes)
    eventually(lambda: site.seen)
    assert not ic.network.scheduler.wait_until_idle(0.05)
    site.let_go.set()
    assert ic.network.scheduler.wait_until_idle(30)
    assert not ic.network.subnet.requests[waiting].pending


def _request(url: str) -> bytes:
    arg = {"url": url, "method": {"get": None}, "headers": []}
    data = candid.encode(management.INTERFACE.methods["http_request"].args, [arg])
    return request(principal.MANAGEMENT, "http_request", data, PLENTY)
