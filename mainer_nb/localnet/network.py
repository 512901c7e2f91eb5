"""A network: one subnet of the Internet Computer in this process.

`Network` is what the HTTP interface, and a Python program, talk to: it accepts ingress messages and
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
from . import canister as limits
from . import cycles, management, rejections
from .canister import Canister, Surroundings
from .clock import Clock
from .composite import Evaluation
from .envelope import Call, Query
from .errors import Failure, Reject, Reply, Response
from .node import SEED_LENGTH, NodeKey
from .pool import Pool
from .runtime import Runtime
from .scheduler import Scheduler
from .state import CallMessage, FromUser, Request
from .state_tree import RANGE, StateTree
from .store import Store, unwritable
from .system_api import Execution

if TYPE_CHECKING:
    from .outcalls import Outcalls

#: Arguments of more bytes are not read by the thread that serves everybody.
_LONG_ARGUMENT = 64 * 1024
#: Queries that may run at once, however long they take, and those of one canister (as mainnet's nodes have it).
MOST_QUERIES = 200
QUERIES_OF_A_CANISTER = 2
#: The owner in the pool that all composite queries share: only one of them runs at a time.
_COMPOSITE = b"composite"
_T = TypeVar("_T")


def cache_folder() -> Path:
    """Where compiled modules are kept for all networks of this user."""
    return caches.folder() / "modules"


class Network:
    """A running network with its state in `folder`.

    Args:
        folder: made if missing; a network's state survives in it.
        cache: folder for compiled modules; by default one for all networks of this user.
        workers: canisters that may run at once, those whose messages take long not counted; by default the number of
            processors.
        outcalls: whether canisters can make HTTPS outcalls; by default as last time, at first not.

    Raises:
        StateError: the folder cannot be used: it is damaged, something else's, in use, or cannot be written.
    """

    def __init__(
        self, folder: Path, cache: Path | None = None, workers: int | None = None, outcalls: bool | None = None
    ) -> None:
        self.clock = Clock()
        self.store = Store(folder)
        try:
            self._start(Runtime(cache or cache_folder()), workers or max(2, os.cpu_count() or 1), outcalls)
        except OSError as error:
            self.store.close()
            raise unwritable(folder, str(error)) from error
        except BaseException:
            self.store.close()
            raise

    def _start(self, runtime: Runtime, workers: int, outcalls: bool | None) -> None:
        self._key = bls.SecretKey(self._seed("root key seed", bls.SEED_LENGTH))
        #: The key that signs answers to queries.
        self.node = NodeKey(self._seed("node key seed", SEED_LENGTH))
        #: The root key, DER.
        self.root_key = self._key.public_key_der
        self.subnet_id = principal.self_authenticating(self.root_key)
        around = Surroundings(self.subnet_id, self.root_key)
        self.scheduler = Scheduler(self.store, runtime, self.clock, around, workers)
        self._tree = StateTree(
            self.scheduler, self.subnet_id, self.root_key, {self.node.node_id: self.node.public_key_der}
        )
        self.scheduler.on_change = self._tree.canister_changed
        self.scheduler.on_request_done = self._request_changed
        self.scheduler.on_written = self._wake_answered
        self._waiting: dict[bytes, list[asyncio.Future[None]]] = {}
        self._answered: list[asyncio.Future[None]] = []
        #: Only one composite query at a time holds several canisters, so that two cannot wait for each other.
        self._composite = threading.Lock()
        self._threads = Pool("query", max(4, workers), MOST_QUERIES, QUERIES_OF_A_CANISTER)
        self._threads.start()
        self._outside = self.scheduler.outside = _outside() if self._remembered("outcalls", outcalls) else None
        self.scheduler.start()

    def _seed(self, name: str, length: int) -> bytes:
        seed: bytes | None = self.store.meta(name)
        if seed is None:
            seed = os.urandom(length)
            self.store.set_meta(name, seed)
        return seed

    def _remembered(self, name: str, wanted: bool | None) -> bool:
        """An option of the network: as `wanted`, else as it was last time, else off."""
        before: bool = self.store.meta(name, False)
        if wanted is None or wanted == before:
            return before
        self.store.set_meta(name, wanted)
        return wanted

    @property
    def outcalls(self) -> bool:
        """Whether canisters can make HTTPS outcalls."""
        return self._outside is not None

    def close(self) -> None:
        """Stops the network; everything acknowledged is in its folder."""
        self._threads.stop()
        self.scheduler.stop()
        if self._outside is not None:
            self._outside.close()
        self.store.close()

    def __enter__(self) -> Network:
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
        if call.request_id in self.scheduler.requests:
            return None
        if self._inspects_slowly(call):
            refusal = await self._on_thread(call.canister_id, functools.partial(self.inspect, call))
        else:
            refusal = self.inspect(call)
        if refusal is None:
            self.accept(call)
        return refusal

    def _inspects_slowly(self, call: Call) -> bool:
        """Whether `inspect` runs code of the canister, or reads a long argument."""
        if call.canister_id == principal.MANAGEMENT:
            return len(call.arg) > _LONG_ARGUMENT
        canister = self.scheduler.canisters.get(call.canister_id)
        if canister is None or canister.compiled is None:
            return False
        return "canister_inspect_message" in canister.compiled.info.exports

    def inspect(self, call: Call) -> Reject | None:
        """Why the callee does not take this message: it must exist, run, be able to pay, and accept it if asked."""
        if call.canister_id == principal.MANAGEMENT:
            return self._inspect_management(call)
        canister = self.scheduler.canisters.get(call.canister_id)
        if canister is None:
            return rejections.not_found(principal.to_text(call.canister_id))
        if canister.state.status != "running":
            return rejections.not_accepting(canister.name, canister.state.status)
        if canister.compiled is None:
            return rejections.empty(canister.name)
        refusal = self.scheduler.out_of_cycles(canister, _ingress_price(call))
        if refusal is None and "canister_inspect_message" in canister.compiled.info.exports:
            refusal = self._ask_canister(canister, call)
        return refusal

    def _inspect_management(self, call: Call) -> Reject | None:
        try:
            canister = management.check_ingress(self.scheduler, call.sender, call.method, call.arg)
        except Failure as failure:
            return failure.reject
        if canister is None or call.method in management.FREE_FOR_USERS:
            return None
        # Settings can be changed by a frozen canister's controllers, or nobody could thaw it.
        price = 0 if call.method == "update_settings" else _ingress_price(call)
        missing = price and self.scheduler.out_of_cycles(canister, price)
        return missing or None

    def _ask_canister(self, canister: Canister, call: Call) -> Reject | None:
        def prepare(execution: Execution) -> None:
            execution.caller, execution.arg, execution.method = call.sender, call.arg, call.method

        around, now = self.scheduler.around, self.now()
        try:
            outcome = canister.query("F", around, now, limits.INSPECT_LIMIT, "canister_inspect_message", prepare)
        except Failure as failure:
            return failure.reject
        if outcome.trap is not None:
            with self.scheduler.lock:
                return self.scheduler.trap(canister, outcome)
        if not outcome.execution.accepted_message:
            return rejections.not_accepted(canister.name)
        return None

    def accept(self, call: Call) -> None:
        """Queues a message that `inspect` found nothing against.

        It is written with its first effects; before it is acknowledged earlier, `keep` must be called.
        """
        scheduler = self.scheduler
        with scheduler.lock:
            if call.request_id in scheduler.requests:
                return
            payer = self._payer(call)
            if payer is not None:
                scheduler.burn(payer, _ingress_price(call))
            request = Request(
                call.sender, call.canister_id, call.ingress_expiry, effective=self._effective_canister(call)
            )
            scheduler.requests[call.request_id] = request
            self._tree.request_changed(call.request_id)
            origin = FromUser(call.request_id)
            scheduler.dispatch(CallMessage(origin, call.sender, call.canister_id, call.method, call.arg))
            if not request.pending:
                scheduler.flush()

    def keep(self) -> None:
        """Writes what was accepted: from now on it survives the end of this process, and may be acknowledged."""
        with self.scheduler.lock:
            self.scheduler.keep()

    def _payer(self, call: Call) -> Canister | None:
        """Who pays for an ingress message: its callee, or the canister that a management call is about."""
        if call.canister_id != principal.MANAGEMENT:
            return self.scheduler.canisters.get(call.canister_id)
        if call.method in management.FREE_FOR_USERS:
            return None
        return self.scheduler.canisters.get(management.named_canister(call.method, call.arg) or b"")

    def _effective_canister(self, call: Call) -> bytes | None:
        """The canister that must be in the URL of requests about `call`; None if any will do."""
        if call.canister_id != principal.MANAGEMENT:
            return call.canister_id
        try:
            return management.named_canister(call.method, call.arg)
        except Failure:
            return None

    def _request_changed(self, request_id: bytes) -> None:
        self._tree.request_changed(request_id)
        request = self.scheduler.requests.get(request_id)
        if request is None or not request.pending:
            self._answered += self._waiting.pop(request_id, [])

    def _wake_answered(self) -> None:
        """Tells who waits for answers that are written now."""
        answered, self._answered = self._answered, []
        for waiter in answered:
            loop = waiter.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_wake, waiter)

    async def wait(self, request_id: bytes, timeout_seconds: float) -> bool:
        """Waits until the request is replied to or rejected; False if that takes longer."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with self.scheduler.lock:
            request = self.scheduler.requests.get(request_id)
            if request is None or not request.pending:
                return request is not None
            self._waiting.setdefault(request_id, []).append(waiter)
        try:
            await asyncio.wait((waiter,), timeout=timeout_seconds)
            return waiter.done()
        finally:
            if not waiter.done():
                with self.scheduler.lock, contextlib.suppress(KeyError, ValueError):
                    self._waiting[request_id].remove(waiter)

    def outcome(self, request_id: bytes) -> Response:
        """The response to a request that `wait` waited for."""
        response = self.scheduler.requests[request_id].response
        assert response is not None
        return response

    # Queries.

    async def query(self, query: Query) -> Response:
        """Executes a query call on the committed state."""
        owner = _COMPOSITE if self._is_composite(query) else query.canister_id
        return await self._on_thread(owner, functools.partial(self.execute_query, query))

    async def _on_thread(self, owner: bytes, job: Callable[[], _T]) -> _T:
        """Has a thread execute what may run code of canister `owner`; canisters take turns."""
        done: _T = await asyncio.wrap_future(self._threads.submit(job, owner))
        return done

    def _is_composite(self, query: Query) -> bool:
        canister = self.scheduler.canisters.get(query.canister_id)
        compiled = canister.compiled if canister is not None else None
        return compiled is not None and compiled.info.method_kind(query.method) == "composite_query"

    def execute_query(self, query: Query) -> Response:
        """Executes a query call on the committed state."""
        if query.canister_id == principal.MANAGEMENT:
            return self._query_management(query)
        refusal = self.scheduler.query_refusal(query.canister_id, query.method)
        if refusal is not None:
            return refusal
        canister = self.scheduler.canisters[query.canister_id]
        assert canister.compiled is not None
        if canister.compiled.info.method_kind(query.method) == "composite_query":
            return self._execute_composite(query)

        def prepare(execution: Execution) -> None:
            execution.caller, execution.arg, execution.method = query.sender, query.arg, query.method
            execution.data_certificate = functools.cache(lambda: self._data_certificate(query.canister_id))

        export = f"canister_query {query.method}"
        try:
            outcome = canister.query("NRQ", self.scheduler.around, self.now(), limits.QUERY_LIMIT, export, prepare)
        except Failure as failure:
            return failure.reject
        execution = outcome.execution
        with self.scheduler.lock:
            if outcome.trap is not None:
                return self.scheduler.trap(canister, outcome)
            stats = canister.state.query_stats
            stats[:] = stats[0] + 1, stats[1] + outcome.instructions, stats[2] + len(query.arg), stats[3]
        if execution.answer is None:
            return rejections.silent_query(canister.name)
        if isinstance(execution.answer, Reply):
            stats[3] += len(execution.answer.data)
        return execution.answer

    def _execute_composite(self, query: Query) -> Response:
        certificate = functools.cache(lambda: self._data_certificate(query.canister_id))
        with self._composite:
            return Evaluation(self.scheduler, self.scheduler.query_refusal, certificate).run(query)

    def _query_management(self, query: Query) -> Response:
        described = management.INTERFACE.methods.get(query.method)
        if described is None or described.mode != "query":
            return rejections.no_method(principal.to_text(principal.MANAGEMENT), "query", query.method)
        message = CallMessage(FromUser(query.request_id), query.sender, query.canister_id, query.method, query.arg)
        try:
            target = self.scheduler.canisters[management.target(self.scheduler, message)]
            answer = management.handle(self.scheduler, target, message)
        except Failure as failure:
            return failure.reject
        assert isinstance(answer, management.Answer)
        return answer.response

    # Certificates.

    def state_tree(self) -> Node:
        """The complete state tree now."""
        with self.scheduler.lock:
            self.scheduler.check()
            tree = self._tree.current(self.now())
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
        requests = self.scheduler.requests
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
            case [b"time"] | [b"subnet", *_] | [b"api_boundary_nodes", *_]:
                return None
            case [b"canister_ranges", _]:
                return None if effective == self.subnet_id else "canister_ranges can be read at the subnet's URL only"
            case [b"canister", canister_id, b"controllers" | b"module_hash"]:
                return None if canister_id == effective else "the path is about another canister than the URL"
            case [b"canister", canister_id, b"metadata", name]:
                if canister_id != effective:
                    return "the path is about another canister than the URL"
                return self._may_read_metadata(sender, canister_id, name)
            case [b"request_status", request_id, *_] if len(path) <= 3:
                return self._may_read_request(sender, request_id, effective, targets)
        return "Invalid path requested."

    def _may_read_request(
        self, sender: bytes, request_id: bytes, effective: bytes, targets: frozenset[bytes] | None
    ) -> str | None:
        request = self.scheduler.requests.get(request_id)
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
        canister = self.scheduler.canisters.get(canister_id)
        if canister is None or canister.compiled is None:
            return None
        public, _ = canister.compiled.info.metadata().get(name.decode(), (True, b""))
        if public or sender in canister.state.settings.controllers:
            return None
        return f"custom section {name.decode(errors='replace')!r} is private: only controllers may read it"


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _outside() -> Outcalls:
    from .outcalls import Outcalls  # loads aiohttp, which a program with a network of its own seldom needs

    return Outcalls()


def _ingress_price(call: Call) -> int:
    return cycles.ingress(len(call.method) + len(call.arg) + len(call.nonce or b""))
