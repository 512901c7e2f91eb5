"""Logins in a browser with @icp-sdk/core: its WebAuthn identity, its delegations, its attributes of a user."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainer_nb.protocol import principal
from tests import needed
from tests.localnet import universal as u
from tests.localnet.authenticator import page_with_authenticator
from tests.localnet.driver import Driver
from tests.localnet.outcomes import replied
from tests.localnet.serving import serving
from tests.localnet.users import CanisterUser, Key

pytestmark = [needed.CHROMIUM, needed.JAVASCRIPT_AGENT]

SECOND = 10**9
SCRIPT = Path(__file__).parent / "logins.mjs"
_SDK = "/npm/@icp-sdk/core/lib/esm"
#: Where the browser finds what modules import by name: a bundler would look it up in their package.json.
MODULES = {
    **{f"@icp-sdk/core/{name}": f"{_SDK}/{name}/index.js" for name in ("agent", "candid", "identity", "principal")},
    "@noble/curves/": "/npm/@noble/curves/",
    "@noble/hashes/": "/npm/@noble/hashes/",
    "@dfinity/cbor": "/npm/@dfinity/cbor/dist/cbor.mjs",
    "asn1js": "/npm/asn1js/build/index.es.js",
    "pvtsutils": "/npm/pvtsutils/build/index.es.js",
    "pvutils": "/npm/pvutils/build/utils.es.js",
    "tslib": "/npm/tslib/tslib.es6.mjs",
}
PAGE = f'<!doctype html><title>Logins</title><script type="importmap">{json.dumps({"imports": MODULES})}</script>'


@pytest.fixture(scope="module")
def ic(tmp_path_factory: pytest.TempPathFactory, module_cache: Path) -> Iterator[Driver]:
    with Driver(tmp_path_factory.mktemp("logins") / "network", module_cache) as driver:
        yield driver


@pytest.fixture(scope="module")
def page(ic: Driver) -> Iterator[Any]:
    """A page at the network's address, which finds the packages from npm below /npm."""

    def package(route: Any) -> None:
        _, _, name = route.request.url.partition("/npm/")
        path = SCRIPT if name == SCRIPT.name else needed.CLIENTS / name
        route.fulfill(body=path.read_text(), content_type="text/javascript")

    with serving(ic.network) as port, page_with_authenticator() as page:
        page.route("**/npm/**", package)
        page.route("**/page", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        page.goto(f"http://localhost:{port}/page")
        yield page


def _run(page: Any, function: str, *args: Any) -> dict[str, str]:
    """What a function of `logins.mjs` gives."""
    asked = f"async (args) => (await import('/npm/{SCRIPT.name}')).{function}(...args)"
    found: dict[str, str] = page.evaluate(asked, list(args))
    return found


WHO = u.reply(u.caller()).hex()


def test_a_web_authentication_identity(ic: Driver, page: Any) -> None:
    called = ic.create(u.universal(), arg=b"")
    found = _run(page, "authenticator", principal.to_text(called), WHO)
    assert (found["updated"], found["queried"]) == (found["user"], found["user"])


def test_delegations_of_a_web_authentication_identity(ic: Driver, page: Any) -> None:
    called = principal.to_text(ic.create(u.universal(), arg=b""))
    for options in ({}, {"permissions": "all"}):
        found = _run(page, "delegated", called, WHO, options)
        assert (found["updated"], found["queried"]) == (found["user"], found["user"])
    found = _run(page, "delegated", called, WHO, {"permissions": "queries"})
    assert found["queried"] == found["user"]
    assert "a delegation is for queries only (permissions)" in found["updated"]
    found = _run(page, "delegated", called, WHO, {"permissions": "updates"})
    for refused in (found["updated"], found["queried"]):
        assert "must be 'all' or 'queries'" in refused


def test_attributes_of_a_user_for_whom_a_canister_signs(ic: Driver, page: Any) -> None:
    signing, called = (ic.create(u.universal(), arg=b"") for _ in range(2))

    def certify(data: bytes) -> bytes:
        ic.update(signing, "update", u.api("certified_data_set", u.blob(data)) + u.reply())
        return replied(ic.query(signing, "query", u.reply(u.taken("data_certificate"))))

    user, session = CanisterUser(signing, b"anchor", certify), Key.ed25519("session")
    signed = user.delegate(session, ic.time() + 600 * SECOND)
    delegation = {"pubkey": session.der.hex(), "expiration": f"{signed['delegation']['expiration']:x}"}
    chain = {
        "publicKey": user.der.hex(),
        "delegations": [{"delegation": delegation, "signature": signed["signature"].hex()}],
    }
    info = user.sender_info(b"verified")
    told = u.append(u.caller()) + u.append(u.taken("msg_caller_info_data")) + u.reply(u.taken("msg_caller_info_signer"))
    found = _run(
        page,
        "attributed",
        principal.to_text(called),
        told.hex(),
        hashlib.sha256(b"session").hexdigest(),
        json.dumps(chain),
        info["info"].hex(),
        info["sig"].hex(),
        principal.to_text(signing),
    )
    assert found["user"] == user.principal.hex()
    expected = (user.principal + b"verified" + signing).hex()
    assert (found["updated"], found["queried"]) == (expected, expected)
