"""HTTPS outcalls, if the network makes them (see `outcalls`).

A call is answered in two steps: `http_request` checks it and says what to fetch; when that is there, or has
failed, `conclude` lets the canister transform it and answers. In between the call is kept among the messages of
the subnet, so that after a restart it is made again, as the specification has it made by several nodes.
"""

from __future__ import annotations

from typing import Any

from ...protocol import candid, principal
from .. import cycles, queries, rejections
from ..errors import Reject, RejectCode, Reply, Response
from ..execution import EntryPoint, Input
from ..outcalls import MAX_SIZE, MAX_URL, Headers, HttpRequest, HttpResponse, oversize
from ..rejections import caller_fault
from ..state import CallMessage, Use
from ..subnet import Subnet
from .methods import INTERFACE, Answer, Callers, decode, subnet_method

OFF = (
    "http_request is not supported by this network: it was started without HTTPS outcalls. To have them, stop it and"
    " start it with `mainer-nb net start --outcalls` (`python -m mainer_nb.localnet serve --outcalls`,"
    " `Sandbox(outcalls=True)`)"
)

_RESPONSE = INTERFACE.methods["http_request"].results[0]
_TRANSFORM_ARG = candid.record({"response": _RESPONSE, "context": candid.BLOB})


@subnet_method(Callers.CANISTERS)
def http_request(subnet: Subnet, message: CallMessage, args: Any) -> HttpRequest:
    if not subnet.info.outcalls:
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
    if next(iter(args["method"])) in ("put", "delete", "patch") and args["is_replicated"] is not False:
        return "The requested HTTP method is only allowed for non-replicated requests."
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


def conclude(subnet: Subnet, message: CallMessage, fetched: HttpResponse | Reject) -> Answer:
    """The answer to a call whose request is answered."""
    args = decode(message.method, message.arg)
    price, caller = _price(args), subnet.canisters.get(message.caller)
    if caller is not None:
        with subnet.step(write=False) as step:
            caller.state.consume(price, Use.OUTCALLS)
            step.touch(caller)
    return Answer(_response(subnet, message.caller, args, fetched), message.cycles - price)


def _response(subnet: Subnet, caller: bytes, args: Any, fetched: HttpResponse | Reject) -> Response:
    if isinstance(fetched, Reject):
        return fetched
    headers = [{"name": name, "value": value} for name, value in fetched.headers]
    value = {"status": fetched.status, "headers": headers, "body": fetched.body}
    if args["transform"] is None:
        return Reply(candid.encode([_RESPONSE], [value]))
    _, name = args["transform"]["function"]
    arg = candid.encode([_TRANSFORM_ARG], [{"response": value, "context": args["transform"]["context"]}])
    answer = _transformed(subnet, caller, name, arg)
    limit = _max_response_bytes(args)
    if isinstance(answer, Reply) and len(answer.data) > limit:
        return Reject(RejectCode.SYS_FATAL, f"Transformed http response exceeds limit: {limit}")
    return answer


def _transformed(subnet: Subnet, canister_id: bytes, name: str, arg: bytes) -> Response:
    """What the query method `name` of the canister makes of a response; the management canister calls it."""
    if queries.is_composite(subnet, canister_id, name):
        return queries.refusal(subnet, canister_id, name) or rejections.composite_as_transform()
    response, _ = queries.execute(
        subnet, canister_id, name, Input(principal.MANAGEMENT, name, arg), EntryPoint.TRANSFORM
    )
    return response
