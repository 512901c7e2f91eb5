"""The HTTPS interface of a network, here over plain HTTP (IC interface specification, "HTTPS Interface").

| request                                        | answer                                                             |
|------------------------------------------------|--------------------------------------------------------------------|
| GET  /api/v2/status                            | root key and health                                                |
| POST /api/v2/canister/<id>/call                | 202 at once; the outcome is to be asked for with read_state        |
| POST /api/v3, v4/canister/<id>/call            | 200 with a certificate of the outcome, or 202 if that takes long   |
| POST /api/v2, v3/canister/<id>/query           | the reply, signed by the node                                      |
| POST /api/v2, v3/canister/<id>/read_state      | a certificate                                                      |
| POST /api/v4/subnet/<id>/call                  | as for a canister; only for calls that create canisters            |
| POST /api/v3/subnet/<id>/query                 | as for a canister; only for list_canisters                         |
| POST /api/v2, v3/subnet/<id>/read_state        | a certificate                                                      |
| any other path                                 | what a canister answers, see `gateway`                             |

Whatever is wrong with a request is said in the text of a 4xx answer.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import cbor2
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..protocol import principal
from . import bodies
from .certification import Certification
from .envelope import BadRequest, Call, Query, TooLarge, parse_call, parse_query, parse_read_state
from .errors import Reject, Reply
from .gateway import LOCALHOST, Domains, Gateway
from .replica import Replica

MAX_BODY = 5 * 1024 * 1024  # bytes, as of the main network's nodes; the argument of a call: MAX_PAYLOAD
SYNCHRONOUS_SECONDS = 10.0  # how long a synchronous call waits for its outcome

#: The version of the specification that the network keeps to (docs/specification.md).
API_VERSION = "0.67.0"
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Accept, Content-Type, User-Agent",
    "Access-Control-Max-Age": "86400",
}
_CREATING = ("create_canister", "provisional_create_canister_with_cycles")
_LISTING = "list_canisters"
#: What aiohttp raises about requests that are not HTTP, or not all of it, or end with the connection.
_FAULTS_OF_CLIENTS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
_log = logging.getLogger(__name__)


def application(replica: Replica, domains: Domains = LOCALHOST) -> web.Application:
    """The web application that serves `replica`, its canisters as web sites at `domains`."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_plain_errors])
    handlers = _Handlers(replica)
    app.router.add_get("/api/v2/status", handlers.status)
    app.router.add_post("/api/v2/canister/{id}/call", handlers.call)
    for synchronous in ("v3", "v4"):
        app.router.add_post(f"/api/{synchronous}/canister/{{id}}/call", handlers.call_and_wait)
    for version in ("v2", "v3"):
        app.router.add_post(f"/api/{version}/canister/{{id}}/query", handlers.query)
        app.router.add_post(f"/api/{version}/canister/{{id}}/read_state", handlers.read_canister_state)
        app.router.add_post(f"/api/{version}/subnet/{{id}}/read_state", handlers.read_subnet_state)
    app.router.add_post("/api/v4/subnet/{id}/call", handlers.create_on_subnet)
    app.router.add_post("/api/v3/subnet/{id}/query", handlers.list_on_subnet)
    app.router.add_options("/api/{any:.*}", _preflight)
    app.router.add_route("*", "/api/{any:.*}", _nothing_here)
    app.router.add_route("*", "/{any:.*}", Gateway(replica, domains).handle)
    app.on_response_prepare.append(_add_cors)
    return app


async def set_up(served: web.Application, **options: Any) -> web.AppRunner:
    """What serves an `application` as soon as it is told where to listen, until its `cleanup()`.

    `options` are those of `AppRunner`.
    """
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    runner = web.AppRunner(served, access_log=None, **options)
    await runner.setup()
    assert runner.server is not None
    runner.server.request_handler = functools.partial(_quotable, runner.server.request_handler)
    return runner


async def _quotable(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], request: web.BaseRequest
) -> web.StreamResponse:
    """Answers 400 where aiohttp fails: when it echoes a header that is not UTF-8."""
    try:
        return await handler(request)
    except UnicodeEncodeError:
        return _plain(400, f"a header of the request is not UTF-8: {dict(request.headers)}")


async def listen(replica: Replica, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, int]:
    """Serves `replica` until the returned runner's `cleanup()`.

    Returns:
        The runner, and the port, which port 0 leaves open.

    Raises:
        OSError: the address is taken.
    """
    runner = await set_up(application(replica), shutdown_timeout=1.0)
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, runner.addresses[0][1]


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether the log tells of more than a request that is not HTTP, whose sender has been told."""
    return not (record.exc_info and isinstance(record.exc_info[1], _FAULTS_OF_CLIENTS))


class _Handlers:
    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._certification = Certification(replica.certificates)

    async def status(self, request: web.Request) -> web.Response:
        return _cbor(
            {
                "ic_api_version": API_VERSION,
                "impl_version": "mainer-nb",
                "replica_health_status": "healthy",
                "root_key": self._replica.root_key,
                "time": self._replica.now(),
            }
        )

    async def call(self, request: web.Request) -> web.Response:
        _, refusal = await self._submit(request)
        if refusal is not None:
            return _cbor(_rejection(refusal))
        self._replica.keep()
        return web.Response(status=202)

    async def call_and_wait(self, request: web.Request) -> web.Response:
        return await self._outcome(*await self._submit(request))

    async def create_on_subnet(self, request: web.Request) -> web.Response:
        self._own_subnet(request)
        call = parse_call(await bodies.read(request), self._replica.now(), self._replica.root_key)
        if call.canister_id != principal.MANAGEMENT or call.method not in _CREATING:
            raise BadRequest(f"only {' and '.join(_CREATING)} of the management canister can be called on a subnet")
        return await self._outcome(call, await self._replica.submit(call))

    async def _outcome(self, call: Call, refusal: Reject | None) -> web.Response:
        if refusal is not None:
            return _cbor({"status": "non_replicated_rejection", **_rejection(refusal)})
        with self._certification.soon(call.request_id):
            if not await self._replica.wait(call.request_id, SYNCHRONOUS_SECONDS):
                self._replica.keep()
                return web.Response(status=202)
        certificate = await self._certification.certificate([[b"request_status", call.request_id]])
        return _cbor({"status": "replied", "certificate": certificate})

    async def _submit(self, request: web.Request) -> tuple[Call, Reject | None]:
        effective = _id_in_url(request)
        call = parse_call(await bodies.read(request), self._replica.now(), self._replica.root_key)
        self._check_effective(call, effective)
        return call, await self._replica.submit(call)

    async def query(self, request: web.Request) -> web.Response:
        effective = _id_in_url(request)
        query = parse_query(await bodies.read(request), self._replica.now(), self._replica.root_key)
        self._check_effective(query, effective)
        return await self._answer(query)

    async def list_on_subnet(self, request: web.Request) -> web.Response:
        self._own_subnet(request)
        query = parse_query(await bodies.read(request), self._replica.now(), self._replica.root_key)
        if query.canister_id != principal.MANAGEMENT or query.method != _LISTING:
            raise BadRequest(f"only {_LISTING} of the management canister can be queried on a subnet")
        return await self._answer(query)

    async def _answer(self, query: Query) -> web.Response:
        response = await self._replica.query(query)
        answer: dict[str, Any]
        if isinstance(response, Reply):
            answer = {"status": "replied", "reply": {"arg": response.data}}
        else:
            answer = {"status": "rejected", **_rejection(response)}
        signature = self._replica.node.sign(answer, query.request_id, self._replica.now())
        return _cbor({**answer, "signatures": [signature]})

    def _check_effective(self, request: Call | Query, effective: bytes) -> None:
        if not self._replica.effective_canister_id_ok(request, effective):
            called = f"{principal.to_text(request.canister_id)}.{request.method}"
            raise BadRequest(f"{principal.to_text(effective)} in the URL is the wrong canister id for calling {called}")

    async def read_canister_state(self, request: web.Request) -> web.Response:
        return await self._read_state(request, _id_in_url(request))

    async def read_subnet_state(self, request: web.Request) -> web.Response:
        return await self._read_state(request, self._own_subnet(request))

    def _is_legacy(self, path: Sequence[bytes]) -> bool:
        """Whether a path is the older form of the canister ranges of a subnet that is not the root subnet."""
        match path:
            case [b"subnet", subnet_id, b"canister_ranges"]:
                return subnet_id != self._replica.subnet_id
        return False

    def _own_subnet(self, request: web.Request) -> bytes:
        subnet = _id_in_url(request)
        if subnet != self._replica.subnet_id:
            own = principal.to_text(self._replica.subnet_id)
            raise BadRequest(f"there is no subnet {principal.to_text(subnet)}; this network's only subnet is {own}")
        return subnet

    async def _read_state(self, request: web.Request, effective: bytes) -> web.Response:
        read = parse_read_state(await bodies.read(request), self._replica.now(), self._replica.root_key)
        for label, whose in (("request_status", "request"), ("canister_ranges", "subnet")):
            if len({path[1] for path in read.paths if len(path) > 1 and path[0] == label.encode()}) > 1:
                raise BadRequest(f"all paths under {label} must be of one {whose}")
        deprecated = request.path.startswith("/api/v2/")
        for path in read.paths:
            if not deprecated and self._is_legacy(path):
                raise web.HTTPForbidden(text="canister_ranges of another subnet can be read at /api/v2 only")
            reason = self._replica.may_read(read.sender, list(path), effective, read.targets)
            if reason is not None:
                raise web.HTTPForbidden(text=reason)
        certificate = await self._certification.certificate([list(path) for path in read.paths])
        return _cbor({"certificate": certificate})


def _id_in_url(request: web.Request) -> bytes:
    try:
        return principal.from_text(request.match_info["id"])
    except ValueError as error:
        raise BadRequest(f"in the URL: {error}") from None


def _rejection(reject: Reject) -> dict[str, Any]:
    fields = {"reject_code": int(reject.code), "reject_message": reject.message}
    return {**fields, "error_code": reject.error_code} if reject.error_code else fields


def _cbor(content: Mapping[str, Any]) -> web.Response:
    """Without the self-describing tag, which the specification leaves to the sender: ic-py does not expect it."""
    return web.Response(body=cbor2.dumps(content), content_type="application/cbor")


async def _nothing_here(request: web.Request) -> web.Response:
    text = f"the network's interface has no {request.method} {request.path}: paths are as in /api/v2/status, and POST"
    return _plain(404, text)


async def _preflight(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def _add_cors(request: web.Request, response: web.StreamResponse) -> None:
    if request.path.startswith("/api/"):  # pages of canisters decide for themselves
        response.headers.update(_CORS)


@web.middleware
async def _plain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors as a text that says what is wrong."""
    try:
        return await handler(request)
    except TooLarge as error:
        return _plain(413, str(error))
    except (BadRequest, *_FAULTS_OF_CLIENTS) as error:
        return _plain(400, str(error))
    except web.HTTPRequestEntityTooLarge:
        size = request.content_length
        said = f"the request has {size} bytes" if size is not None else "the request is too large"
        return _plain(413, f"{said}; at most {MAX_BODY} bytes are accepted")
    except web.HTTPException:
        raise
    except Exception as error:
        _log.exception("request %s failed", request.path)
        return _plain(500, f"internal error of the network: {type(error).__name__}: {error}")


def _plain(status: int, text: str) -> web.Response:
    """An answer of text, parts of which may come from a request that is not UTF-8."""
    body = text.encode(errors="backslashreplace")
    return web.Response(status=status, body=body, content_type="text/plain", charset="utf-8")
