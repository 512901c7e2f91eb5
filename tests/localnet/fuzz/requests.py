"""HTTP requests: methods, paths, headers and bodies that no client sends; and what canisters answer as web sites."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

from mainer_nb.protocol import candid
from mainer_nb.protocol.candid import BLOB, BOOL, NAT16, TEXT, Func, Opt, Type, Vec
from mainer_nb.protocol.principal import to_text
from tests.localnet.fuzz import cbor, envelopes, messages
from tests.localnet.fuzz.cases import Request, Target, damaged, edge, text
from tests.localnet.fuzz.world import MARK

METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE", b"CONNECT", b"BREW", b"get")
TYPES = (b"application/cbor", b"text/plain; charset=nope", b"multipart/form-data", b"", b"\xff", b"a/b; charset=utf-16")
PIECES: tuple[bytes, ...] = (b"/..", b"/%2e%2e", b"//", b"/%00", b"%", b"%zz", b"%ff%fe", b"/\xff\xfe", b"?", b"#")
PIECES += (b"?canisterId=", b";a")
PIECES += (b"?a=%ff&b=\xff", b"/" * 3000, b"/etc/passwd", b"\\", b"?canisterId=aaaaa-aa&canisterId=x", b"/\xc3\xa9")
HEADERS: tuple[bytes, ...] = (b"Host", b"Referer", b"Content-Type", b"Content-Encoding", b"Expect", b"Range")
HEADERS += (b"Connection", b"Upgrade")
HEADERS += (b"Accept-Encoding", b"Cookie", b"Origin", b"X-\xff", b"If-None-Match", b"Access-Control-Request-Method")
VALUES: tuple[bytes, ...] = (b"", b"\xff\xfe", b"http://[", b"http://[::1", b"localhost:99999999", b"gzip")
VALUES += (b"deflate", b"br", b"zstd")
VALUES += (b"100-continue", b"a" * 7000, b"close", b"websocket", b"http://h/?canisterId=x", b"*", b"[", b"a.localhost")


def case(chance: random.Random, target: Target) -> Request:
    """Any of the kinds below."""
    weights = {damaged_body: 5, strange_body: 3, strange_request: 4, bad_framing: 1, encoded_body: 1, website: 4}
    maker = chance.choices(list(weights), list(weights.values()))[0]
    return maker(chance, target)


def damaged_body(chance: random.Random, target: Target) -> Request:
    """A request as it should be, with some bytes of its body changed."""
    message = envelopes.valid(chance, target, signed=False)
    body = cbor.encode({"content": message.content})
    return Request(b"POST", envelopes.url(chance, target, message), envelopes.CBOR, damaged(chance, body))


def strange_body(chance: random.Random, target: Target) -> Request:
    """A body of CBOR that is not a request, or of no CBOR."""
    message = envelopes.valid(chance, target, signed=False)
    if chance.random() < 0.5:
        body = cbor.encode(cbor.strange(chance))
    elif chance.random() < 0.5:
        body = cbor.encode({"content": {**message.content, text(chance): cbor.strange(chance)}})
    else:
        body = chance.randbytes(chance.choice((0, 1, 100, 10_000)))
    return Request(b"POST", envelopes.url(chance, target, message), envelopes.CBOR, body)


def strange_request(chance: random.Random, target: Target) -> Request:
    """Another method, another path, other headers."""
    message = envelopes.valid(chance, target, signed=False)
    where = chance.choice((envelopes.url(chance, target, message), b"/", b"/api/v2/status", b"/api/", b"/index.html"))
    for _ in range(chance.choice((0, 1, 1, 2))):
        at = chance.randrange(len(where) + 1)
        where = where[:at] + chance.choice(PIECES) + where[at:]
    if chance.random() < 0.2:
        where = damaged(chance, where)
    headers = [(b"Content-Type", chance.choice(TYPES))]
    headers += [(chance.choice(HEADERS), chance.choice(VALUES)) for _ in range(chance.choice((0, 1, 2, 5)))]
    if chance.random() < 0.3:
        named = to_text(chance.choice((target.puppet, target.echo, *target.witnesses)))
        host = chance.choice(("{}.localhost", "{}.raw.localhost:1", "{}.LOCALHOST", "{}.localhost.localhost", "{}"))
        headers.append((b"Host", host.format(named).encode()))
    if chance.random() < 0.02:
        headers.append((b"X-Long", b"a" * 9000))
    body = chance.choice((b"", b"", cbor.encode({"content": message.content}), chance.randbytes(200)))
    where = where.replace(b" ", b"").replace(b"\r", b"").replace(b"\n", b"") or b"/"
    return Request(chance.choice(METHODS), where, tuple(headers), body, allowed=False)


def bad_framing(chance: random.Random, target: Target) -> Request:
    """What is not HTTP, or not all of it."""
    message = envelopes.valid(chance, target, signed=False)
    where, body = envelopes.url(chance, target, message), cbor.encode({"content": message.content})
    whole = Request(b"POST", where, envelopes.CBOR, body)
    match chance.randrange(6):
        case 0:
            raw = damaged(chance, whole.octets())
        case 1:
            raw = whole.octets()[: chance.randrange(len(whole.octets()))]
        case 2:
            length = chance.choice((b"-1", b"+5", b"0x10", b"1, 2", b"99999999999999999999", b"2097153", b"\xff", b""))
            raw = Request(b"POST", where, ((b"Content-Length", length),), body).octets()
        case 3:
            size = chance.choice((b"%x" % len(body), b"-1", b"ffffffffffffffffff", b"zz", b"0", b""))
            chunks = size + b"\r\n" + body + chance.choice((b"\r\n0\r\n\r\n", b"\r\n", b""))
            raw = Request(b"POST", where, ((b"Transfer-Encoding", b"chunked"),), chunks).octets()
        case 4:
            raw = Request(b"POST", where, ((b"A", b"b\r\n c"), (b"Host", b"a"), (b"Host", b"b")), body).octets()
        case _:
            raw = chance.choice(
                (b"", b"\0" * 100, b"\x16\x03\x01\x02\0\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n" * 9)
            )
    return Request(b"POST", where, allowed=False, whole=False, raw=raw)


def encoded_body(chance: random.Random, target: Target) -> Request:
    """A body that says it is compressed: right, damaged, or unfolding to far more than a message may have."""
    message = envelopes.valid(chance, target, signed=False)
    body = cbor.encode({"content": message.content})
    if chance.random() < 0.1:
        body = bytes(chance.choice((2_097_152, 2_097_153, 30_000_000)))
    coding = chance.choice((b"gzip", b"deflate", b"br", b"identity", b"nothing", b"gzip, gzip"))
    packers: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}
    packed = packers.get(coding, bytes)(body)
    if chance.random() < 0.3:
        packed = damaged(chance, packed)
    headers = (*envelopes.CBOR, (b"Content-Encoding", coding))
    return Request(b"POST", envelopes.url(chance, target, message), headers, packed[:3_000_000])


_HEADER = candid.record([TEXT, TEXT])


def website(chance: random.Random, target: Target) -> Request:
    """A request to a canister that answers as its body tells it to."""
    answer, streams = _http_response(chance, target)
    body = MARK + len(answer).to_bytes(4, "little") + answer
    headers = ((b"Host", to_text(target.puppet).encode() + b".localhost"),)
    method = chance.choice((b"POST", b"POST", b"PUT", b"PATCH", b"HEAD"))
    return Request(method, b"/a?b=%ff", headers, body, allowed=not streams)  # a stream may be cut short


def _http_response(chance: random.Random, target: Target) -> tuple[bytes, bool]:
    """What a canister answers, and whether it wants to stream the rest."""
    status = chance.choice((200, 200, 200, 204, 206, 304, 404, 500, 0, 99, 100, 101, 199, 999, 1000, 65535))
    names = ("Content-Type", "content-length", "Connection", "Transfer-Encoding", "", "a b", "a:", "X\r\nY", "é", "\0")
    values = ("text/html", "", "5", "chunked", "a\r\nSet-Cookie: b", "é\U0001f980", "\0", "x" * 9000, " a ")
    headers = [(chance.choice(names), chance.choice(values)) for _ in range(chance.choice((0, 0, 1, 2)))]
    fields: dict[str, Type] = {"status_code": NAT16, "headers": Vec(_HEADER), "body": BLOB, "upgrade": Opt(BOOL)}
    values_: dict[str, object] = {
        "status_code": status,
        "headers": headers,
        "body": chance.randbytes(chance.choice((0, 5, 1000))),
        "upgrade": chance.choice((None, None, False, True)),
    }
    if chance.random() < 0.5:
        token_type: Type = chance.choice((BLOB, TEXT, candid.NAT, candid.record({"a": BLOB, "b": Opt(candid.NULL)})))
        token = messages.value(chance, token_type)
        if token_type == BLOB and chance.random() < 0.8:
            token = _part(chance)
        callback = candid.record({"callback": Func((token_type,), (), ("query",)), "token": token_type})
        fields["streaming_strategy"] = Opt(candid.variant({"Callback": callback}))
        owner = chance.choice((target.puppet, target.puppet, target.echo, b"", chance.randbytes(10)))
        method = chance.choice(("stream", "stream", "http_request", "nothing", text(chance)))
        values_["streaming_strategy"] = {"Callback": {"callback": (owner, method), "token": token}}
    for name in list(fields):
        if chance.random() < 0.02:
            del fields[name], values_[name]
    data = candid.encode([candid.record(fields)], [values_])
    return damaged(chance, data) if chance.random() < 0.2 else data, "streaming_strategy" in fields


def _part(chance: random.Random) -> bytes:
    """A token with which the puppet's `stream` gives a part of a body."""
    types: dict[str, Type] = {"body": BLOB, "token": Opt(BLOB)}
    token = None if chance.random() < 0.9 else chance.randbytes(edge(chance) % 100)
    part = candid.encode([candid.record(types)], [{"body": b"part", "token": token}])
    return MARK + len(part).to_bytes(4, "little") + part
