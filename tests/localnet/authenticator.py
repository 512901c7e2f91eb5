"""A page in Chromium with a virtual authenticator, which asks nobody (Chrome DevTools Protocol, "WebAuthn")."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests import chromium


@contextlib.contextmanager
def page_with_authenticator() -> Iterator[Any]:
    """An empty page: it must still go to an address of `localhost`, where keys belong to."""
    with chromium.browser() as started:
        page = started.new_page()
        devtools = page.context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasUserVerification": True, "isUserVerified": True}
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": {**options, "automaticPresenceSimulation": True}})
        yield page
