"""Pages of canisters in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainer_nb.protocol import candid, principal
from tests import needed
from tests.localnet.driver import Driver, module, wat_string
from tests.localnet.serving import serving

pytestmark = needed.CHROMIUM

PAGE = b"""<!doctype html>
<title>A canister</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
<h1>Hello</h1>
<p id="fetched">nothing yet</p>
<p><a href="moved">to the other page</a></p>
<script src="script.js"></script>
"""
STYLE = b"h1 { color: rgb(1, 2, 3); }"
SCRIPT = b"""
fetch("data.json")
  .then((answer) => answer.json())
  .then(({ greeting }) => { document.getElementById("fetched").textContent = greeting; });
"""
RESPONSE = candid.record(
    {
        "status_code": candid.NAT16,
        "headers": candid.Vec(candid.record([candid.TEXT, candid.TEXT])),
        "body": candid.BLOB,
    }
)


def _asset(body: bytes, kind: str, status: int = 200, **headers: str) -> bytes:
    fields = {"status_code": status, "headers": [("Content-Type", kind), *headers.items()], "body": body}
    return candid.encode([RESPONSE], [fields])


ASSETS = {
    "/": _asset(PAGE, "text/html"),
    "/style.css": _asset(STYLE, "text/css"),
    "/script.js": _asset(SCRIPT, "text/javascript"),
    "/data.json": _asset(b'{"greeting": "from the canister"}', "application/json"),
    "/moved": _asset(b"", "text/plain", 302, Location="/other.html"),
    "/other.html": _asset(b"<h1>The other page</h1>", "text/html"),
}
MISSING = _asset(b"there is no such asset in this canister", "text/plain", 404)


def _url_offset() -> int:
    """Where in an encoded HttpRequest the URL is, after a byte with its length: it is the first of the fields."""
    fields: dict[str, candid.Type] = {
        "method": candid.TEXT,
        "url": candid.TEXT,
        "body": candid.BLOB,
        "certificate_version": candid.Opt(candid.NAT16),
    }
    headers = candid.Vec(candid.record([candid.TEXT, candid.TEXT]))
    marked = {"method": "GET", "url": "MARK", "headers": [], "body": b"", "certificate_version": 2}
    return candid.encode([candid.record({**fields, "headers": headers})], [marked]).index(b"MARK")


def _asset_canister() -> bytes:
    """A canister that gives `ASSETS` by path, else `MISSING`."""
    at, data, cases = 4096, "", ""
    for path, answer in ASSETS.items():
        name = path.encode()
        data += f'(data (i32.const {at}) "{wat_string(name)}") (data (i32.const {at + 64}) "{wat_string(answer)}")'
        give = f"(call $append (i32.const {at + 64}) (i32.const {len(answer)})) (call $reply) (return)"
        cases += f"(if (call $asked (i32.const {at}) (i32.const {len(name)})) (then {give}))"
        at += 64 + len(answer)
    url = 65536 + _url_offset()
    return module(
        f"""
      ;; Whether the request's URL, without its query, is the text at $path.
      (func $asked (param $path i32) (param $length i32) (result i32) (local $i i32)
        (loop $next
          (if (i32.ne
                (i32.load8_u (i32.add (i32.const {url}) (local.get $i)))
                (i32.load8_u (i32.add (local.get $path) (local.get $i))))
            (then (return (i32.const 0))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $next (i32.lt_u (local.get $i) (local.get $length))))
        (i32.or
          (i32.eq (local.get $i) (i32.load8_u (i32.const {url - 1})))
          (i32.eq (i32.load8_u (i32.add (i32.const {url}) (local.get $i))) (i32.const {ord("?")}))))
      (func (export "canister_query http_request")
        (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size))
        {cases}
        (call $append (i32.const {at}) (i32.const {len(MISSING)})) (call $reply))
      {data} (data (i32.const {at}) "{wat_string(MISSING)}")""",
        "(memory 4)",
    )


class Site:
    """A canister with pages and the port that it is served at."""

    def __init__(self, canister: str, port: int) -> None:
        self.canister, self.port = canister, port

    @property
    def addresses(self) -> list[str]:
        """Where its first page is."""
        own = f"http://{self.canister}.localhost:{self.port}/"
        return [own, f"http://127.0.0.1:{self.port}/?canisterId={self.canister}"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, module_cache: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site") / "network"
    with Driver(folder, module_cache) as driver, serving(driver.network) as port:
        yield Site(principal.to_text(driver.create(_asset_canister())), port)


@pytest.mark.parametrize("which", [0, 1], ids=["own host", "canister id in the query"])
def test_a_page_with_its_style_script_and_data(site: Site, page: Any, which: int) -> None:
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    answer = page.goto(site.addresses[which])
    assert answer.status == 200
    assert page.title() == "A canister"
    page.wait_for_function("document.getElementById('fetched').textContent === 'from the canister'")
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(1, 2, 3)"
    assert wrong == []


@pytest.mark.parametrize("which", [0, 1], ids=["own host", "canister id in the query"])
def test_a_link_that_the_canister_redirects(site: Site, page: Any, which: int) -> None:
    page.goto(site.addresses[which])
    page.click("a")
    page.wait_for_url("**/other.html")
    assert page.inner_text("h1") == "The other page"


def test_what_is_missing_is_said(site: Site, page: Any) -> None:
    own, _ = site.addresses
    answer = page.goto(f"{own}nothing.html")
    assert (answer.status, page.inner_text("body")) == (404, "there is no such asset in this canister")
    answer = page.goto(f"http://127.0.0.1:{site.port}/style.css")
    assert answer.status == 404
    assert "canisters are at <canister id>.localhost:<port>" in page.inner_text("body")
    absent = principal.to_text(principal.canister_id(2**40))
    answer = page.goto(f"http://{absent}.localhost:{site.port}/")
    assert answer.status == 404
    assert f"Canister {absent} not found" in page.inner_text("body")
