"""What the HTTP interface and the gateway ask of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .envelope import Call, Query
from .errors import Reject, Response
from .node import NodeKey


class Replica(Protocol):
    """What answers the requests; `network.EmbeddedNetwork` is one."""

    root_key: bytes  # DER
    subnet_id: bytes
    node: NodeKey

    def now(self) -> int:
        """The network's time in nanoseconds since 1970."""

    async def submit(self, call: Call) -> Reject | None:
        """Accepts a call, once per request id; or says why it does not."""

    async def wait(self, request_id: bytes, timeout_seconds: float) -> bool:
        """Waits until an accepted call is replied to or rejected; False if that takes longer."""

    def outcome(self, request_id: bytes) -> Response:
        """The response to a call that `wait` waited for."""

    async def query(self, query: Query) -> Response:
        """Executes a query."""

    def keep(self) -> None:
        """Makes what was accepted survive the end of the process, so that it may be acknowledged."""

    def certificates(self, wanted: Sequence[list[list[bytes]]]) -> list[bytes]:
        """CBOR certificates, each of these paths of the state tree, and of the time."""

    def effective_canister_id_ok(self, request: Call | Query, effective: bytes) -> bool:
        """Whether the canister id in the URL is the right one for the request."""

    def may_read(
        self, sender: bytes, path: list[bytes], effective: bytes, targets: frozenset[bytes] | None
    ) -> str | None:
        """Why `sender`, with a delegation for `targets`, may not read `path` at the URL of `effective`."""
