"""HTTP gateway: canisters answer browsers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mainer_nb.localnet import gateway
from mainer_nb.protocol import candid, did, principal
from tests.localnet.driver import Driver, module, wat_string
from tests.localnet.serving import serving

DOES_NOT_HOLD = {
    "the gateway verifies IC-Certificate": "it passes through; the gateway is part of the network itself",
}

INTERFACE = did.parse(
    """
type HeaderField = record { text; text };
type Token = record { key : text; index : nat };
type Answer = record {
  status_code : nat16; headers : vec HeaderField; body : blob; upgrade : opt bool;
  streaming_strategy : opt variant {
    Callback : record { callback : func (Token) -> (record { body : blob; token : opt Token }) query; token : Token }
  };
};
service : { answer : () -> (Answer); part : () -> (record { body : blob; token : opt Token }) }
"""
)


def _answer(**fields: Any) -> bytes:
    whole = {"status_code": 200, "headers": [], "body": b"", "upgrade": None, "streaming_strategy": None, **fields}
    return candid.encode(INTERFACE.methods["answer"].results, [whole])


def _site(answer: bytes, update: bytes = b"", parts: tuple[bytes, ...] = ()) -> bytes:
    """A canister that prints each request and gives fixed answers; `part` gives the parts by the token's last byte."""
    data, bodies, at = "", "", 100_000
    for number, blob in enumerate((answer, update, *parts)):
        data += f'(data (i32.const {at}) "{wat_string(blob)}")'
        reply = f"(call $append (i32.const {at}) (i32.const {len(blob)})) (call $reply)"
        if number < 2:
            name = ("canister_query http_request", "canister_update http_request_update")[number]
            bodies += f'(func (export "{name}") (call $note) {reply})'
        else:
            bodies += f"(func $part{number - 2} {reply})"
        at += len(blob) + 16
    choose = "".join(
        f"(if (i32.eq (local.get $last) (i32.const {i})) (then (call $part{i}) (return)))" for i in range(len(parts))
    )
    return module(
        f"""
      (func $note
        (call $arg_copy (i32.const 2000) (i32.const 0) (call $arg_size))
        (call $print (i32.const 2000) (call $arg_size)))
      {bodies}
      (func (export "canister_query part") (local $last i32)
        (call $note)
        (local.set $last (i32.load8_u (i32.add (i32.const 1999) (call $arg_size))))
        {choose} (call $trap (i32.const 0) (i32.const 0)))
      {data}""",
        "(memory 4)",
    )


class Gateway(Driver):
    """A network that is served over HTTP."""

    port = 0

    def get(self, canister: bytes, path: str = "/", **options: Any) -> httpx.Response:
        """What a browser gets from the canister's own address."""
        host = options.pop("host", f"{principal.to_text(canister)}.localhost:{self.port}")
        headers = {"Host": host, **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(options.pop("method", "GET"), url, headers=headers, timeout=30, **options)

    def seen(self, canister: bytes) -> dict[str, Any]:
        """The last request that the canister printed."""
        _, _, arg = self.network.subnet.canisters[canister].logs[-1]
        headers = candid.Vec(candid.record([candid.TEXT] * 2))
        expected = candid.record({"method": candid.TEXT, "url": candid.TEXT, "headers": headers, "body": candid.BLOB})
        found: dict[str, Any] = candid.decode([expected], arg)[0]
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, module_cache: Path) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway") / "network"
    with Gateway(folder, module_cache) as driver, serving(driver.network) as driver.port:
        yield driver


@pytest.fixture(scope="module")
def site(served: Gateway) -> bytes:
    headers = [("Content-Type", "text/html"), ("IC-Certificate", "certificate=:abc:"), ("X-Own", "one")]
    return served.create(_site(_answer(body=b"<h1>hello</h1>", headers=headers)))


@pytest.fixture(scope="module")
def form(served: Gateway) -> bytes:
    """A canister that answers by update calls, and so keeps what it prints."""
    return served.create(_site(_answer(upgrade=True), _answer(body=b"<h1>hello</h1>")))


def test_a_page_is_at_the_canisters_own_host(served: Gateway, site: bytes) -> None:
    """A canister's page is at http://<canister id>.localhost"""
    page = served.get(site)
    assert (page.status_code, page.text) == (200, "<h1>hello</h1>")
    assert page.headers["content-type"] == "text/html"


def test_a_page_is_at_the_canisters_raw_host(served: Gateway, site: bytes) -> None:
    """A canister's page is also at http://<canister id>.raw.localhost"""
    assert served.get(site, host=f"{principal.to_text(site)}.raw.localhost:{served.port}").text == "<h1>hello</h1>"


def test_a_page_is_at_the_canister_id_in_the_query(served: Gateway, form: bytes) -> None:
    """A canister's page is also at any host with ?canisterId=<canister id> in the URL"""
    path = f"/index.html?canisterId={principal.to_text(form)}"
    assert served.get(form, path, host=f"127.0.0.1:{served.port}").text == "<h1>hello</h1>"
    assert served.seen(form)["url"] == path


def test_what_such_a_page_asks_for_is_found_by_its_referer(served: Gateway, form: bytes) -> None:
    """What a page at ?canisterId=<canister id> loads comes from the same canister, which the Referer header names"""
    referer = f"http://127.0.0.1:{served.port}/?canisterId={principal.to_text(form)}"
    page = served.get(form, "/style.css", host=f"127.0.0.1:{served.port}", headers={"Referer": referer})
    assert page.status_code == 200
    assert served.seen(form)["url"] == "/style.css"


def test_headers_pass_to_the_browser_the_certificate_included(served: Gateway, site: bytes) -> None:
    """Headers of a canister's page pass to the browser, IC-Certificate included"""
    page = served.get(site)
    assert page.headers["ic-certificate"] == "certificate=:abc:"
    assert page.headers["x-own"] == "one"
    assert page.headers["x-ic-canister-id"] == principal.to_text(site)
    assert "access-control-allow-origin" not in page.headers


def test_method_path_headers_and_body_pass_to_the_canister(served: Gateway, form: bytes) -> None:
    """Method, path, headers and body of a browser's request pass to http_request"""
    served.get(form, "/a/b?c=d%20e", method="POST", content=b"the body", headers={"X-Mine": "two"})
    seen = served.seen(form)
    assert (seen["method"], seen["url"], seen["body"]) == ("POST", "/a/b?c=d%20e", b"the body")
    assert dict(seen["headers"])["X-Mine"] == "two"


@pytest.mark.parametrize("status", [404, 418, 500])
def test_the_status_is_the_canisters(served: Gateway, status: int) -> None:
    """The HTTP status of a page is the one that the canister gives"""
    assert served.get(served.create(_site(_answer(status_code=status, body=b"so")))).status_code == status


def test_a_head_request_gets_no_body(served: Gateway, site: bytes) -> None:
    """The answer to a HEAD request has no body"""
    page = served.get(site, method="HEAD")
    assert (page.status_code, page.content) == (200, b"")


def test_an_upgraded_request_is_an_update_call(served: Gateway) -> None:
    """When http_request answers with upgrade, the request goes to http_request_update, an update call"""
    canister = served.create(_site(_answer(upgrade=True, body=b"query"), _answer(body=b"update", status_code=201)))
    page = served.get(canister, "/new", method="PUT", content=b"thing")
    assert (page.status_code, page.content) == (201, b"update")
    assert served.seen(canister)["body"] == b"thing"


def _streaming(served: Gateway, parts: tuple[bytes, ...]) -> bytes:
    canister = served.create()
    strategy = {"Callback": {"callback": (canister, "part"), "token": {"key": "page", "index": 0}}}
    site = _site(_answer(body=b"first, ", streaming_strategy=strategy), parts=parts)
    assert served.install(canister, site, {"install": None}) is None
    return canister


def _part(body: bytes, following: int | None) -> bytes:
    token = None if following is None else {"key": "page", "index": following}
    return candid.encode(INTERFACE.methods["part"].results, [{"body": body, "token": token}])


def test_a_body_is_streamed(served: Gateway) -> None:
    """A body that the canister gives in parts (streaming_strategy) is streamed"""
    canister = _streaming(served, (_part(b"second, ", 1), _part(b"third", None)))
    assert served.get(canister).content == b"first, second, third"


def test_a_body_cut_short_does_not_look_whole(served: Gateway) -> None:
    """A streamed body whose next part fails is cut off, so that it does not look whole"""
    canister = _streaming(served, (_part(b"second, ", 7),))
    with pytest.raises(httpx.RemoteProtocolError):
        served.get(canister)


def test_an_endless_stream_ends(served: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of parts without end is cut off in the end"""
    monkeypatch.setattr(gateway, "MAX_PARTS", 5)
    canister = _streaming(served, (_part(b"more", 0),))
    with pytest.raises(httpx.RemoteProtocolError):
        served.get(canister)


def test_nothing_is_at_the_networks_own_address(served: Gateway) -> None:
    """At the network's own address, where no canister is named, an error says how to name one"""
    page = served.get(b"", host=f"127.0.0.1:{served.port}")
    assert page.status_code == 404
    assert "<canister id>.localhost" in page.text


@pytest.mark.parametrize(
    ("host", "status", "text"),
    [
        ("not-a-canister.localhost", 400, "not a principal"),
        (f"{principal.to_text(principal.canister_id(999))}.localhost", 404, "not found"),
    ],
    ids=["no principal", "no canister"],
)
def test_a_wrong_host_is_named(served: Gateway, host: str, status: int, text: str) -> None:
    """A host that names no canister is answered with an error that says why"""
    page = served.get(b"", host=host)
    assert page.status_code == status
    assert text in page.text


def test_a_canister_that_serves_no_pages_is_named(served: Gateway) -> None:
    """A canister without http_request is answered with an error that names it"""
    page = served.get(served.create(module("")))
    assert page.status_code == 404
    assert "no query method 'http_request'" in page.text


def test_a_wrong_answer_of_a_canister_is_told(served: Gateway) -> None:
    """An answer of http_request that is not an HttpResponse gives an error that says so"""
    page = served.get(served.create(_site(b"DIDL\0\1\x71\2hi")))
    assert page.status_code == 502
    assert "not a valid HttpResponse" in page.text


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 0},
        {"status_code": 101},
        {"status_code": 65535},
        {"headers": [("a b", "")]},
        {"headers": [("", "")]},
        {"headers": [("X-A", "1\r\nSet-Cookie: b")]},
        {"headers": [("X-A", "\0")]},
    ],
    ids=str,
)
def test_an_answer_that_http_cannot_carry_is_told(served: Gateway, answer: dict[str, Any]) -> None:
    """A status or header of a canister that HTTP cannot carry gives an error that says so"""
    page = served.get(served.create(_site(_answer(**answer))))
    assert page.status_code == 502
    assert "the canister answers with" in page.text
    assert "Set-Cookie" not in page.headers


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_gets_none(served: Gateway, status: int) -> None:
    """The body of an answer with status 204 or 304 is not sent: the client would read it as the next answer"""
    canister = served.create(_site(_answer(status_code=status, body=b"HTTP/1.1 200 OK\r\n\r\n")))
    with httpx.Client(headers={"Host": f"{principal.to_text(canister)}.localhost"}) as browser:
        for _ in range(2):
            page = browser.get(f"http://127.0.0.1:{served.port}/")
            assert (page.status_code, page.content) == (status, b"")


@pytest.mark.parametrize("headers", [{"Referer": "http://["}, {"Host": b"\xff\xfe"}], ids=str)
def test_a_header_that_makes_no_sense_is_not_the_networks_fault(served: Gateway, headers: dict[str, Any]) -> None:
    """A request whose Host or Referer header cannot be understood is answered with a text that says what to do"""
    page = httpx.post(f"http://127.0.0.1:{served.port}/", headers=headers, content=b"x", timeout=30)
    assert page.status_code == 404
    assert "<canister id>.localhost" in page.text


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_that_is_not_compressed_as_it_says_is_told(served: Gateway, site: bytes, coding: str) -> None:
    """A request whose body is not compressed as its header says is refused with a text"""
    page = served.get(site, method="POST", headers={"Content-Encoding": coding}, content=b"plain")
    assert page.status_code == 400
    assert coding in page.text


@pytest.mark.parametrize("name", ["X-A", "Expect"])
def test_a_header_that_is_not_utf8_is_told(served: Gateway, site: bytes, name: str) -> None:
    """A request with a header that is not UTF-8 is refused with a text"""
    page = served.get(site, headers={name: b"\xff\xfe"})
    assert page.status_code == 400
    assert "UTF-8" in page.text


def test_the_interface_is_at_every_host(served: Gateway, site: bytes) -> None:
    """The paths below /api are the network's interface at every host"""
    assert served.get(site, "/api/v2/status").headers["content-type"] == "application/cbor"
