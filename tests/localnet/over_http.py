"""A network of this process with a universal canister, and requests that are sent to it over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cbor2
import httpx

from mainer_nb.localnet.network import EmbeddedNetwork
from mainer_nb.protocol import certificate, hash_tree, principal
from mainer_nb.protocol.request_id import hash_of_map
from tests.localnet import universal as u
from tests.localnet.driver import Driver
from tests.localnet.users import Key, User

SECOND = 10**9
USER = Key.ed25519("user")


@dataclass
class Request:
    """A request in the making: its content, and how it is signed."""

    content: dict[str, Any]
    envelope: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> bytes:
        return hash_of_map(self.content)

    def signed(self, user: User, by: User | None = None, delegations: list[dict[str, Any]] | None = None) -> Request:
        """Signed by `user`, or by a key that it delegates to."""
        self.envelope = user.envelope(self.content, by, delegations)
        return self

    def body(self) -> bytes:
        return cbor2.dumps({**self.envelope, "content": self.content})


class Endpoint:
    """Where a network is served, to be asked byte for byte."""

    network: EmbeddedNetwork
    url: str

    def post(self, path: str, body: bytes) -> httpx.Response:
        return httpx.post(f"{self.url}/api/{path}", content=body, timeout=30)

    def tree(self, response: httpx.Response) -> hash_tree.Node:
        """The verified tree of a certificate in an answer."""
        assert response.status_code == 200, response.text
        return certificate.verify(cbor2.loads(response.content)["certificate"], self.network.root_key)


class Served(Driver, Endpoint):
    """A network that is served over HTTP, with a universal canister."""

    url = ""
    called = b""  # the canister

    def content(self, kind: str, sender: bytes = USER.principal, **fields: Any) -> dict[str, Any]:
        """The content of a request, with an expiry in four minutes unless another is given."""
        return {"request_type": kind, "sender": sender, "ingress_expiry": self.time() + 240 * SECOND, **fields}

    def call(self, program: bytes = b"", sender: bytes = USER.principal, **fields: Any) -> Request:
        """A call of the canister's method `update`."""
        wanted = {"canister_id": self.called, "method_name": "update", "arg": program or u.reply()}
        return Request(self.content("call", sender, **{**wanted, **fields}))

    def read(self, *paths: list[bytes], sender: bytes = USER.principal) -> Request:
        """A request to read the state."""
        return Request(self.content("read_state", sender, paths=list(paths)))

    def at(self, verb: str, version: str = "v3", canister: bytes | None = None) -> str:
        """The path of a request about the canister."""
        return f"{version}/canister/{principal.to_text(self.called if canister is None else canister)}/{verb}"
