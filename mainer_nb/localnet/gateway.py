"""Canisters as web sites: HTTP requests that canisters answer (HTTP gateway protocol specification).

A request is for the canister that its address names:

    http://<canister id>.localhost:<port>/…         also <canister id>.raw.localhost
    http://127.0.0.1:<port>/…?canisterId=<id>       also what a page opened so asks for, by its Referer

Other domains than ``localhost``, and names for canisters, are given as `Domains`.

The canister's method `http_request` is queried; if its answer says ``upgrade``, `http_request_update`
is called; if it has a streaming strategy, the rest of the body comes from its callback. Headers pass
through both ways, ``IC-Certificate`` included: this gateway does not verify it, on any of the addresses.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from ..protocol import candid, principal
from ..protocol.candid import BLOB, BOOL, NAT16, TEXT, Func, Opt, Type, Vec
from ..protocol.request_id import hash_of_map
from . import bodies
from .envelope import MAX_INGRESS_TTL, MAX_PAYLOAD, Call, Query
from .errors import Reject, Response
from .header_names import HEADER_NAME
from .replica import Replica

_log = logging.getLogger(__name__)

#: Parts that a canister may stream a body in.
MAX_PARTS = 1000
#: How long an upgraded request may take.
UPDATE_SECONDS = 60.0

_HEADER = candid.record([TEXT, TEXT])
_REQUEST: dict[str, Type] = {"method": TEXT, "url": TEXT, "headers": Vec(_HEADER), "body": BLOB}
_QUERY = candid.record({**_REQUEST, "certificate_version": Opt(NAT16)})
_UPDATE = candid.record(_REQUEST)
_OF_THE_CONNECTION = {"connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"}
_NO_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True)
class Domains:
    """Where canisters are found by the name of the host.

    Attributes:
        suffixes: domains that have every canister as ``<canister id>.<suffix>``.
        names: a file of lines ``<host name>:<canister id>``, read at each request, since it may change and come later.
    """

    suffixes: Sequence[str] = ("localhost",)
    names: Path | None = None

    def find(self, host: str) -> str | None:
        """The canister id that `host` (without port) stands for, as text."""
        wanted = host.lower()
        if named := self._named().get(wanted):
            return named
        for suffix in self.suffixes:
            if found := re.fullmatch(rf"([a-z0-9-]+)(\.raw)?\.{re.escape(suffix.lower())}", wanted):
                return found[1]
        return None

    def _named(self) -> dict[str, str]:
        if self.names is None:
            return {}
        try:
            lines = self.names.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        pairs = (line.strip().rpartition(":") for line in lines if line.strip())
        return {host.lower(): canister_id for host, _, canister_id in pairs}


LOCALHOST = Domains()


class _NotAnswered(Exception):
    """The request could not be answered by a canister.

    Attributes:
        status: the HTTP status that says so; the text says why.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Gateway:
    """Answers HTTP requests by canisters of `replica`, found at `domains`."""

    def __init__(self, replica: Replica, domains: Domains) -> None:
        self._replica = replica
        self._domains = domains

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The answer of the canister that the request is for."""
        try:
            canister_id = _canister(request, self._domains)
            answer = await self._ask(canister_id, request, await bodies.read(request))
            return await self._send(canister_id, request, answer)
        except _NotAnswered as failure:
            return web.Response(status=failure.status, text=str(failure))

    async def _ask(self, canister_id: bytes, request: web.Request, body: bytes) -> Mapping[str, Any]:
        values = {
            "method": request.method,
            "url": request.path_qs,
            "headers": [(name, value) for name, value in request.headers.items()],
            "body": body,
        }
        try:
            arg = candid.encode([_QUERY], [{**values, "certificate_version": 2}])
        except candid.CandidError as error:
            raise _NotAnswered(400, f"the request cannot be given to a canister: {error}") from None
        answer = _answer(await self._query(canister_id, "http_request", arg))
        if answer["upgrade"]:
            answer = _answer(await self._update(canister_id, candid.encode([_UPDATE], [values])))
        return answer

    async def _query(self, canister_id: bytes, method: str, arg: bytes) -> bytes:
        message = self._message("query", canister_id, method, arg)
        return _reply(await self._replica.query(Query(**message)))

    async def _update(self, canister_id: bytes, arg: bytes) -> bytes:
        if len(arg) > MAX_PAYLOAD:
            raise _NotAnswered(
                413, f"the request has {len(arg)} bytes as an argument; at most {MAX_PAYLOAD} are accepted"
            )
        call = Call(**self._message("call", canister_id, "http_request_update", arg))
        refusal = await self._replica.submit(call)
        if refusal is not None:
            return _reply(refusal)
        if not await self._replica.wait(call.request_id, UPDATE_SECONDS):
            raise _NotAnswered(504, f"the canister's http_request_update takes longer than {UPDATE_SECONDS:.0f} s")
        return _reply(self._replica.outcome(call.request_id))

    def _message(self, kind: str, canister_id: bytes, method: str, arg: bytes) -> dict[str, Any]:
        content = {
            "canister_id": canister_id,
            "arg": arg,
            "sender": principal.ANONYMOUS,
            "nonce": os.urandom(16),
            "ingress_expiry": self._replica.now() + MAX_INGRESS_TTL,
        }
        request_id = hash_of_map({**content, "request_type": kind, "method_name": method})
        return {**content, "method": method, "request_id": request_id}

    async def _send(self, canister_id: bytes, request: web.Request, answer: Mapping[str, Any]) -> web.StreamResponse:
        _check(answer)
        response = web.StreamResponse(status=answer["status_code"])
        for name, value in answer["headers"]:
            if name.lower() not in _OF_THE_CONNECTION:
                response.headers.add(name, value)
        response.headers["x-ic-canister-id"] = principal.to_text(canister_id)
        has_body = request.method != "HEAD" and answer["status_code"] not in _WITHOUT_BODY
        strategy = answer["streaming_strategy"]
        if strategy is None:
            response.content_length = len(answer["body"])
        await response.prepare(request)
        if has_body:
            await response.write(answer["body"])
        if has_body and strategy is not None:
            try:
                await self._stream(response, answer["token_type"], strategy["Callback"])
            except (_NotAnswered, candid.CandidError) as error:
                _log.warning(
                    "%s: streaming from %s ended early: %s", request.path, principal.to_text(canister_id), error
                )
                response.force_close()
                if request.transport is not None:
                    request.transport.abort()  # a body cut short must not look like a whole one
                return response
        await response.write_eof()
        return response

    async def _stream(self, response: web.StreamResponse, token_type: Type, callback: Mapping[str, Any]) -> None:
        owner, method = callback["callback"]
        fields: dict[str, Type] = {"body": BLOB, "token": Opt(token_type)}
        part_type = candid.record(fields)
        token = callback["token"]
        for _ in range(MAX_PARTS):
            arg = candid.encode([token_type], [token])
            part = candid.decode([part_type], await self._query(owner, method, arg))[0]
            await response.write(part["body"])
            token = part["token"]
            if token is None:
                return
        raise _NotAnswered(502, f"the canister streams more than {MAX_PARTS} parts")


def _canister(request: web.Request, domains: Domains) -> bytes:
    """The canister that `request` is for."""
    text = domains.find(request.host.partition(":")[0]) or request.query.get("canisterId")
    if text is None:
        text = _canister_of_page(request.headers.get("Referer", ""))
    if text is None:
        raise _NotAnswered(
            404,
            f"there is nothing at {request.path}: canisters are at <canister id>.localhost:<port> or at"
            " /?canisterId=<canister id>, the Internet Computer's interface at /api",
        )
    try:
        return principal.from_text(text)
    except ValueError as error:
        raise _NotAnswered(400, str(error)) from None


def _canister_of_page(referer: str) -> str | None:
    """The canister that the address of a page names in its query."""
    try:
        return next(iter(parse_qs(urlsplit(referer).query).get("canisterId", [])), None)
    except ValueError:  # no address at all
        return None


def _reply(response: Response) -> bytes:
    if not isinstance(response, Reject):
        return response.data
    missing = response.code == 3 or response.error_code in ("IC0536", "IC0537")
    raise _NotAnswered(404 if missing else 502, response.message)


def _answer(data: bytes) -> dict[str, Any]:
    """The fields of a canister's HttpResponse, and the type of its streaming token, which is the canister's own."""
    try:
        token_type = _token_type(candid.types_of(data)[0])
        callback = candid.record({"callback": Func((token_type,), (), ("query",)), "token": token_type})
        fields: dict[str, Type] = {
            "status_code": NAT16,
            "headers": Vec(_HEADER),
            "body": BLOB,
            "upgrade": Opt(BOOL),
            "streaming_strategy": Opt(candid.variant({"Callback": callback})),
        }
        return {**candid.decode([candid.record(fields)], data)[0], "token_type": token_type}
    except (candid.CandidError, IndexError) as error:
        raise _NotAnswered(502, f"the canister's answer is not a valid HttpResponse: {error}") from None


def _check(answer: Mapping[str, Any]) -> None:
    """Checks that HTTP can carry the answer of a canister.

    Raises:
        _NotAnswered: it cannot.
    """
    status = answer["status_code"]
    if not 200 <= status < 600:
        raise _NotAnswered(502, f"the canister answers with status {status}, which is not from 200 to 599")
    for name, value in answer["headers"]:
        if not HEADER_NAME.fullmatch(name) or _NO_VALUE.search(value):
            raise _NotAnswered(502, f"the canister answers with a header that HTTP does not allow: {name!r:.80}")


def _token_type(response: Type) -> Type:
    found: Type | None = response
    for label in ("streaming_strategy", None, "Callback", "token"):
        found = _part(found, label)
    return found or candid.NULL


def _part(type_: Type | None, label: str | None) -> Type | None:
    """What is in an opt (`label` None), or in the field `label` of a record or variant."""
    if type_ is None:
        return None
    inner = candid.resolve(type_)
    if label is None:
        return inner.of if isinstance(inner, Opt) else None
    if not isinstance(inner, candid.Record | candid.Variant):
        return None
    return next((item.type for item in inner.fields if item.id == candid.field_hash(label)), None)
