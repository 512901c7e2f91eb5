"""HTTPS outcalls, if the network makes them (see `outcalls`).

A call is answered in two steps: `http_request` checks it and says what to fetch; when that is there, or has
failed, `conclude` lets the canister transform it and answers. In between the call is kept among the messages of
the network, so that after a restart it is made again, as the specification has it made by several nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...protocol import candid, principal
from .. import canister as limits
from .. import cycles, rejections
from ..canister import Canister
from ..errors import Failure, Reject, RejectCode, Reply, Response
from ..rejections import caller_fault
from ..state import CallMessage
from ..system_api import Execution
from .methods import INTERFACE, Answer, decode, method

if TYPE_CHECKING:
    from ..scheduler import Scheduler

#: Limits of requests and responses (section "IC method `http_request`"): bytes, except for the number of headers.
MAX_URL = 8192
MAX_SIZE = 2_000_000
MAX_HEADERS = 64
MAX_HEADER = 8 * 1024
MAX_HEADERS_SIZE = 48 * 1024

OFF = (
    "http_request is not supported by this network: it was started without HTTPS outcalls. To have them, stop it and"
    " start it with `mainer-nb net start --outcalls` (`python -m mainer_nb.localnet serve --outcalls`,"
    " `Sandbox(outcalls=True)`)"
)

_RESPONSE = INTERFACE.methods["http_request"].results[0]
_TRANSFORM_ARG = candid.record({"response": _RESPONSE, "context": candid.BLOB})

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class HttpRequest:
    """A request to be made; its response may have `max_response_bytes`, headers and body together."""

    url: str
    method: str
    headers: Headers
    body: bytes
    max_response_bytes: int


@dataclass(frozen=True)
class Fetched:
    """What a server answered: names of headers are in lower case, the body is as it was sent."""

    status: int
    headers: Headers
    body: bytes


@method("canisters", target=None)
def http_request(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> HttpRequest:
    if network.outside is None:
        raise caller_fault("IC0406", OFF)
    wrong = _wrong(message.caller, args)
    if wrong is not None:
        raise caller_fault("IC0406", wrong)
    price = _price(args)
    if message.cycles < price:
        text = f"http_request request sent with {message.cycles} cycles, but {price} cycles are required."
        raise caller_fault("IC0406", text)
    verb = next(iter(args["method"])).upper()
    return HttpRequest(args["url"], verb, _headers(args), args["body"] or b"", _max_response_bytes(args))


def _wrong(caller: bytes, args: Any) -> str | None:
    """What of the arguments is beyond the limits, if anything is."""
    transform, url_size, limit = args["transform"], len(args["url"].encode()), _max_response_bytes(args)
    if transform is not None and transform["function"][0] != caller:
        expected, actual = principal.to_text(caller), principal.to_text(transform["function"][0])
        return f"transform principal id expected to be {expected}, got {actual}"
    if url_size > MAX_URL:
        return f"url size {url_size} exceeds {MAX_URL}"
    too_much = oversize(_headers(args), args["body"] or b"")
    if too_much is not None:
        return too_much
    if limit > MAX_SIZE:
        return f"max_response_bytes expected to be in the range [0..{MAX_SIZE}], got {limit}"
    if next(iter(args["method"])) in ("put", "delete") and args["is_replicated"] is not False:
        return "The requested HTTP method is only allowed for non-replicated requests."
    return None


def oversize(headers: Headers, body: bytes) -> str | None:
    """How headers and body, of a request or of a response, go beyond the limits; None if they do not."""
    names, values = max((len(n) for n, _ in headers), default=0), max((len(v) for _, v in headers), default=0)
    total = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS:
        return f"number of all http headers {len(headers)} exceeds {MAX_HEADERS}"
    if names > MAX_HEADER:
        return f"number of bytes to represent some http header name {names} exceeds {MAX_HEADER}"
    if values > MAX_HEADER:
        return f"number of bytes to represent some http header value {values} exceeds {MAX_HEADER}"
    if total > MAX_HEADERS_SIZE:
        return f"total number of bytes to represent all http header names and values {total} exceeds {MAX_HEADERS_SIZE}"
    if total + len(body) > MAX_SIZE:
        return (
            f"total number of bytes to represent all http header names and values and http body {total + len(body)}"
            f" exceeds {MAX_SIZE}"
        )
    return None


def _headers(args: Any) -> Headers:
    return [(header["name"], header["value"]) for header in args["headers"]]


def _max_response_bytes(args: Any) -> int:
    given = args["max_response_bytes"]
    return MAX_SIZE if given is None else int(given)


def _price(args: Any) -> int:
    size = len(args["url"].encode()) + len(args["body"] or b"")
    size += sum(len(name.encode()) + len(value.encode()) for name, value in _headers(args))
    if args["transform"] is not None:
        size += len(args["transform"]["function"][1].encode()) + len(args["transform"]["context"])
    return cycles.http_request(size, _max_response_bytes(args))


def conclude(network: Scheduler, message: CallMessage, fetched: Fetched | Reject) -> Answer:
    """The answer to a call whose request is answered."""
    args = decode(message.method, message.arg)
    return Answer(_response(network, message.caller, args, fetched), message.cycles - _price(args))


def _response(network: Scheduler, caller: bytes, args: Any, fetched: Fetched | Reject) -> Response:
    if isinstance(fetched, Reject):
        return fetched
    headers = [{"name": name, "value": value} for name, value in fetched.headers]
    value = {"status": fetched.status, "headers": headers, "body": fetched.body}
    if args["transform"] is None:
        return Reply(candid.encode([_RESPONSE], [value]))
    _, name = args["transform"]["function"]
    arg = candid.encode([_TRANSFORM_ARG], [{"response": value, "context": args["transform"]["context"]}])
    answer = _transformed(network, caller, name, arg)
    limit = _max_response_bytes(args)
    if isinstance(answer, Reply) and len(answer.data) > limit:
        return Reject(int(RejectCode.SYS_FATAL), f"Transformed http response exceeds limit: {limit}")
    return answer


def _transformed(network: Scheduler, canister_id: bytes, name: str, arg: bytes) -> Response:
    """What the query method `name` of the canister makes of a response; the management canister calls it."""
    refusal = network.query_refusal(canister_id, name)
    if refusal is not None:
        return refusal
    canister = network.canisters[canister_id]
    if canister.compiled is not None and canister.compiled.info.method_kind(name) == "composite_query":
        return rejections.composite_as_transform()

    def prepare(execution: Execution) -> None:
        execution.caller, execution.arg, execution.method = principal.MANAGEMENT, arg, name

    export, now = f"canister_query {name}", network.clock.now()
    try:
        outcome = canister.query("NRQ", network.around, now, limits.QUERY_LIMIT, export, prepare)
    except Failure as failure:
        return failure.reject
    if outcome.trap is not None:
        with network.lock:
            return network.trap(canister, outcome)
    if outcome.execution.answer is None:
        return rejections.silent_query(canister.name)
    return outcome.execution.answer
