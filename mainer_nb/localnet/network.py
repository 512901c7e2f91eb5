"""A network: one subnet of the Internet Computer in this process.

`EmbeddedNetwork` is what the HTTP interface, and a Python program, talk to: it accepts ingress messages and
queries, gives certificates, and owns clock, keys and state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..protocol import bls, certificate, principal
from ..protocol.hash_tree import Node
from . import cache as caches
from . import ingress, management, queries
from .composite import Evaluation
from .envelope import Call, Query
from .errors import Failure, Reject, Response, StateError
from .execution import Input, SubnetInfo
from .node import SEED_LENGTH, NodeKey
from .pool import Pool
from .runtime import Runtime
from .scheduler import Scheduler
from .state import CallMessage, FromUser
from .state_tree import RANGE, READABLE, REQUEST_LABELS, StateTree
from .store import Changes, Store, unwritable
from .subnet import Listeners

if TYPE_CHECKING:
    from .fetcher import Fetcher

#: Queries that may run at once, however long they take, and those of one canister (as mainnet's nodes have it).
MOST_QUERIES = 200
QUERIES_OF_A_CANISTER = 2
#: The owner in the pool that all composite queries share: only one of them runs at a time.
_COMPOSITE = b"composite"
_T = TypeVar("_T")


def cache_folder() -> Path:
    """Where compiled modules are kept for all networks of this user."""
    return caches.folder() / "modules"


class EmbeddedNetwork:
    """A running network with its state in `folder`.

    Args:
        folder: made if missing; a network's state survives in it.
        cache: folder for compiled modules; by default one for all networks of this user.
        workers: canisters that may run at once, those whose messages take long not counted; by default the number of
            processors.
        outcalls: whether canisters can make HTTPS outcalls; by default as last time, at first not.
        snapshot_wait: seconds until a new or changed snapshot can be loaded onto another canister; on mainnet that
            takes until the next checkpoint, usually ten minutes. By default as last time, at first none.
        failed: called when the state cannot be written: nothing is executed or acknowledged any more.

    Attributes:
        subnet: the state of the network.

    Raises:
        StateError: the folder cannot be used: it is damaged, something else's, in use, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path | None = None,
        workers: int | None = None,
        outcalls: bool | None = None,
        snapshot_wait: int | None = None,
        failed: Callable[[StateError], None] = lambda error: None,
    ) -> None:
        self.store = Store(folder)
        workers = workers or max(2, os.cpu_count() or 1)
        with contextlib.ExitStack() as undo:
            undo.callback(self.store.close)
            try:
                self._fetcher = _fetcher() if self._remembered("outcalls", outcalls, False) else None
                self._snapshot_wait = self._remembered("snapshot wait", snapshot_wait, 0)
                if self._fetcher is not None:
                    undo.callback(self._fetcher.close)
                self._start(Runtime(cache or cache_folder()), workers, failed)
            except OSError as error:
                raise unwritable(folder, str(error)) from error
            undo.pop_all()

    def _start(self, runtime: Runtime, workers: int, failed: Callable[[StateError], None]) -> None:
        self._key = bls.SecretKey(self._seed("root key seed", bls.SEED_LENGTH))
        #: The key that signs answers to queries.
        self.node = NodeKey(self._seed("node key seed", SEED_LENGTH))
        #: The root key, DER.
        self.root_key = self._key.public_key_der
        self.subnet_id = principal.self_authenticating(self.root_key)
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}
        self._tree = StateTree(self.subnet_id, self.root_key, {self.node.node_id: self.node.public_key_der})
        listeners = Listeners(self._tree.canister_changed, self._tree.request_changed, self._wake_answered, failed)
        info = SubnetInfo(self.subnet_id, self.root_key, self.outcalls, self._snapshot_wait)
        fetch = self._fetcher.begin if self._fetcher is not None else None
        self.scheduler = Scheduler(self.store, runtime, info, listeners, workers, fetch)
        self.subnet, self.clock = self.scheduler.subnet, self.scheduler.clock
        #: Only one composite query at a time holds several canisters, so that two cannot wait for each other.
        self._composite = threading.Lock()
        self._threads = Pool("query", max(4, workers), MOST_QUERIES, QUERIES_OF_A_CANISTER)
        self._threads.start()
        self.scheduler.start()

    def _seed(self, name: str, length: int) -> bytes:
        seed: bytes | None = self.store.meta(name)
        if seed is None:
            seed = os.urandom(length)
            self.store.set_meta(name, seed)
        return seed

    def _remembered(self, name: str, wanted: _T | None, default: _T) -> _T:
        """An option of the network: as `wanted`, else as it was last time, else `default`."""
        before: _T = self.store.meta(name, default)
        if wanted is None or wanted == before:
            return before
        self.store.set_meta(name, wanted)
        return wanted

    @property
    def outcalls(self) -> bool:
        """Whether canisters can make HTTPS outcalls."""
        return self._fetcher is not None

    def close(self) -> None:
        """Stops the network; everything acknowledged is in its folder."""
        self._threads.stop()
        self.scheduler.stop()
        if self._fetcher is not None:
            self._fetcher.close()
        self.store.close()

    def __enter__(self) -> EmbeddedNetwork:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def now(self) -> int:
        """The network's time, ns since the epoch."""
        return self.clock.now()

    # Ingress messages.

    async def submit(self, call: Call) -> Reject | None:
        """Accepts an ingress message whose envelope was checked; the same request id again changes nothing.

        Returns:
            None if it was accepted, else why not: the "non-replicated rejection" of the specification.
        """
        if call.request_id in self.subnet.requests:
            return None
        if ingress.inspects_slowly(self.subnet, call):
            refusal = await self._on_thread(call.canister_id, functools.partial(self.inspect, call))
        else:
            refusal = self.inspect(call)
        if refusal is None:
            self.accept(call)
        return refusal

    def inspect(self, call: Call) -> Reject | None:
        """Why an ingress message is not let in; None if it is."""
        return ingress.inspect(self.subnet, call)

    def accept(self, call: Call) -> None:
        """Takes in a message that `inspect` found nothing against: see `ingress.accept`."""
        ingress.accept(self.subnet, call)

    def keep(self) -> None:
        """Writes what was accepted: from now on it survives the end of this process, and may be acknowledged."""
        with self.subnet.step() as step:
            step.keep()

    def _wake_answered(self, written: Changes) -> None:
        """Tells who waits for answers that are written now."""
        for request_id, request in written.requests.items():
            if request is None or not request.pending:
                for waiter in self._waiting.pop(request_id, []):
                    loop = waiter.get_loop()
                    if not loop.is_closed():
                        loop.call_soon_threadsafe(_wake, waiter)

    async def wait(self, request_id: bytes, timeout_seconds: float) -> bool:
        """Waits until the request is replied to or rejected; False if that takes longer."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.subnet.lock:
            request = self.subnet.requests.get(request_id)
            if request is None or not request.pending:
                return request is not None
            self._waiting.setdefault(request_id, []).append(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout_seconds)
            return waiter.done()
        finally:
            if not waiter.done():
                with self.subnet.lock, contextlib.suppress(KeyError, ValueError):
                    self._waiting[request_id].remove(waiter)

    def outcome(self, request_id: bytes) -> Response:
        """The response to a request that `wait` waited for."""
        response = self.subnet.requests[request_id].response
        assert response is not None
        return response

    # Queries.

    async def query(self, query: Query) -> Response:
        """Executes a query call on the committed state."""
        owner = _COMPOSITE if queries.is_composite(self.subnet, query.canister_id, query.method) else query.canister_id
        return await self._on_thread(owner, functools.partial(self.execute_query, query))

    async def _on_thread(self, owner: bytes, job: Callable[[], _T]) -> _T:
        """Has a thread execute what may run code of canister `owner`; canisters take turns."""
        done: _T = await asyncio.wrap_future(self._threads.submit(job, owner))
        return done

    def execute_query(self, query: Query) -> Response:
        """Executes a query call on the committed state."""
        if query.canister_id == principal.MANAGEMENT:
            return self._query_management(query)
        certificate = functools.cache(lambda: self._data_certificate(query.canister_id))
        if queries.is_composite(self.subnet, query.canister_id, query.method):
            with self._composite:
                return Evaluation(self.subnet, certificate).run(query)
        given = Input(query.sender, query.method, query.arg, certificate=certificate, sender_info=query.sender_info)
        response, outcome = queries.execute(self.subnet, query.canister_id, query.method, given)
        if outcome is not None:
            with self.subnet.step(write=False) as step:
                queries.count(step, query.canister_id, len(query.arg), response, outcome)
        return response

    def _query_management(self, query: Query) -> Response:
        message = CallMessage(FromUser(query.request_id), query.sender, query.canister_id, query.method, query.arg)
        return management.query(self.subnet, message)

    # Certificates.

    def state_tree(self) -> Node:
        """The complete state tree now."""
        with self.subnet.lock:
            self.subnet.check()
            tree = self._tree.current(self.subnet)
            assert tree.digest  # computed here, while nothing changes
            return tree

    def certificate(self, paths: list[list[bytes]]) -> bytes:
        """A certificate (CBOR) of the parts of the state tree under `paths`, and of the time."""
        return self.certificates([paths])[0]

    def certificates(self, wanted: Sequence[list[list[bytes]]]) -> list[bytes]:
        """Certificates of parts of one and the same state tree, under one signature.

        What they show of messages that were accepted and not executed is acknowledged by that, so it is kept.
        """
        shown = {path[1] for paths in wanted for path in paths if path[0] == b"request_status" and len(path) > 1}
        requests = self.subnet.requests
        if any(request_id in requests and requests[request_id].pending for request_id in shown):
            self.keep()
        return certificate.certify(self.state_tree(), [[[b"time"], *paths] for paths in wanted], self._key)

    def _data_certificate(self, canister_id: bytes) -> bytes:
        return self.certificate([[b"canister", canister_id, b"certified_data"]])

    # What the HTTP interface must know to judge a request.

    def effective_canister_id_ok(self, request: Call | Query, effective: bytes) -> bool:
        """Whether `effective` is the right id in the URL of this request (section "Effective canister id")."""
        if request.canister_id != principal.MANAGEMENT:
            return request.canister_id == effective
        try:
            named = management.named_canister(request.method, request.arg)
        except Failure:
            return True  # the call itself will be answered with what is wrong with it
        return named == effective if named is not None else effective == b"" or RANGE[0] <= effective <= RANGE[1]

    def may_read(
        self, sender: bytes, path: list[bytes], effective: bytes, targets: frozenset[bytes] | None = None
    ) -> str | None:
        """Why `sender` may not read `path` at the URL of canister or subnet `effective`; None if it may.

        `targets` are the canisters that the sender's delegations are limited to, None if they are not.
        See section "Request: Read state".
        """
        match path:
            case [b"time"] | [b"subnet"] | [b"subnet", _]:
                return None
            case [b"subnet", _, b"public_key" | b"type" | b"node" | b"canister_ranges"]:
                return None
            case [b"subnet", _, b"node", _] | [b"subnet", _, b"node", _, b"public_key"]:
                return None
            case [b"subnet", subnet_id, b"metrics"]:
                return None if effective == subnet_id else "the metrics of a subnet can be read at its own URL only"
            case [b"api_boundary_nodes"] | [b"api_boundary_nodes", _]:
                return None
            case [b"api_boundary_nodes", _, b"domain" | b"ipv4_address" | b"ipv6_address"]:
                return None
            case [b"canister_ranges", _]:
                return None if effective == self.subnet_id else "canister_ranges can be read at the subnet's URL only"
            case [b"canister", canister_id, label] if label in READABLE:
                return None if canister_id == effective else "the path is about another canister than the URL"
            case [b"canister", canister_id, b"metadata", name]:
                if canister_id != effective:
                    return "the path is about another canister than the URL"
                return self._may_read_metadata(sender, canister_id, name)
            case [b"request_status", request_id, *rest] if not rest or rest in REQUEST_LABELS:
                return self._may_read_request(sender, request_id, effective, targets)
        return "Invalid path requested."

    def _may_read_request(
        self, sender: bytes, request_id: bytes, effective: bytes, targets: frozenset[bytes] | None
    ) -> str | None:
        request = self.subnet.requests.get(request_id)
        if request is None:
            return None
        if request.sender != sender:
            return "the request status may be read only by the sender of the request"
        if request.effective not in (None, effective):
            return "the request was sent to another canister than the one in the URL"
        if targets is not None and request.canister_id not in targets:
            return f"the delegation is not for canister {principal.to_text(request.canister_id)}"
        return None

    def _may_read_metadata(self, sender: bytes, canister_id: bytes, name: bytes) -> str | None:
        try:
            name.decode()
        except UnicodeDecodeError:
            return f"the name of the custom section 0x{name.hex()} is not UTF-8"
        canister = self.subnet.canisters.get(canister_id)
        if canister is None or canister.compiled is None:
            return None
        public, _ = canister.compiled.info.metadata().get(name.decode(), (True, b""))
        if public or sender in canister.state.settings.controllers:
            return None
        return f"custom section {name.decode(errors='replace')!r} is private: only controllers may read it"


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _fetcher() -> Fetcher:
    from .fetcher import Fetcher  # loads aiohttp, which a program with a network of its own seldom needs

    return Fetcher()
