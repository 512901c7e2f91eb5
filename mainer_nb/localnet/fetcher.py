"""Making HTTPS outcalls: the requests that canisters make to the world outside (``http_request``).

What is sent and taken follows the IC interface specification, section "IC method `http_request`"; what goes
wrong is said in mainnet's words. Requests run side by side in one event loop on a thread of its own, so that
no canister waits for another's.

One thing is taken that mainnet refuses: plain http to this machine itself, because a program under development
seldom has a certificate.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import ipaddress
import logging
import re
import ssl
import threading
from collections.abc import Callable

import aiohttp
from yarl import URL

from .errors import Failure, Reject, RejectCode
from .header_names import HEADER_NAME
from .outcalls import MAX_HEADERS_SIZE, TIMEOUT_SECONDS, Headers, HttpRequest, HttpResponse, oversize

USER_AGENT = "ic/1.0"

_log = logging.getLogger(__name__)
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_ADDED_BY_AIOHTTP = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class Fetcher:
    """Makes requests. Server certificates are checked against the system's roots (or ``SSL_CERT_FILE``)."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="outcalls", daemon=True)
        self._thread.start()
        self._session = asyncio.run_coroutine_threadsafe(_session(), self._loop).result()
        self._running: set[concurrent.futures.Future[HttpResponse | Reject]] = set()

    def begin(self, request: HttpRequest, done: Callable[[HttpResponse | Reject], None]) -> None:
        """Makes `request`; `done` gets what became of it, on another thread, unless `close` comes first."""
        future = asyncio.run_coroutine_threadsafe(self._fetch(request), self._loop)
        self._running.add(future)

        def finish(finished: concurrent.futures.Future[HttpResponse | Reject]) -> None:
            self._running.discard(finished)
            if not finished.cancelled():
                done(_outcome(finished))

        future.add_done_callback(finish)

    async def _fetch(self, request: HttpRequest) -> HttpResponse | Reject:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await _fetch(self._session, request)
        except TimeoutError:
            return _reject(RejectCode.SYS_FATAL, "Timeout expired")
        except Failure as failure:
            return failure.reject

    def close(self) -> None:
        """Gives up what is under way."""
        for future in list(self._running):
            future.cancel()
        asyncio.run_coroutine_threadsafe(self._session.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _outcome(finished: concurrent.futures.Future[HttpResponse | Reject]) -> HttpResponse | Reject:
    error = finished.exception()
    if error is None:
        return finished.result()
    _log.error("internal error while making an outcall", exc_info=error)
    return _reject(RejectCode.SYS_FATAL, "internal error of the network; see its log")


async def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=ssl.create_default_context()),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=_ADDED_BY_AIOHTTP,
        auto_decompress=False,
        max_field_size=4 * MAX_HEADERS_SIZE,
    )


async def _fetch(session: aiohttp.ClientSession, request: HttpRequest) -> HttpResponse:
    url = _url(request.url)
    sending = session.request(
        request.method, url, headers=_sendable(request.headers), data=request.body or None, allow_redirects=False
    )
    try:
        async with sending as response:
            headers = _received(response)
            body = await _body(response, request.max_response_bytes, headers)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        text = f"Connecting to {(url.host or '')[:50]} failed: {error or type(error).__name__}"
        raise Failure(_reject(RejectCode.SYS_TRANSIENT, text)) from error
    too_much = oversize(headers, body)
    if too_much is not None:
        raise _fatal(too_much)
    return HttpResponse(response.status, headers, body)


def _url(text: str) -> URL:
    try:
        url = URL(text, encoded=text.isascii())
        host = url.host
    except ValueError as error:
        raise _fatal(f"Failed to parse URL: {error}") from error
    if not host or any(letter <= " " for letter in text):
        raise _fatal("Failed to parse URL: invalid uri character or no host")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise _fatal("Url need to specify https scheme")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _sendable(headers: Headers) -> Headers:
    for name, value in headers:
        if not HEADER_NAME.fullmatch(name):
            raise _fatal("Failed to parse header name invalid HTTP header name")
        if not _VALUE.fullmatch(value):
            raise _fatal("Failed to parse header value failed to parse header value")
    lower = [(name.lower(), value) for name, value in headers]
    return lower if any(name == "user-agent" for name, _ in lower) else [*lower, ("user-agent", USER_AGENT)]


def _received(response: aiohttp.ClientResponse) -> Headers:
    try:
        return [(name.decode("ascii").lower(), value.decode("ascii")) for name, value in response.raw_headers]
    except UnicodeDecodeError as error:
        text = "Failed to parse headers: failed to convert header to a str"
        raise Failure(_reject(RejectCode.SYS_TRANSIENT, text)) from error


async def _body(response: aiohttp.ClientResponse, limit: int, headers: Headers) -> bytes:
    left = limit - sum(len(name) + len(value) for name, value in headers)
    if left < 0:
        raise _fatal(f"Header size exceeds specified response size limit {limit}")
    body = b""
    async for part in response.content.iter_any():
        body += part
        if len(body) > left:
            raise _fatal(f"Http body exceeds size limit of {limit} bytes.")
    return body


def _reject(code: RejectCode, text: str) -> Reject:
    return Reject(code, text)


def _fatal(text: str) -> Failure:
    return Failure(_reject(RejectCode.SYS_FATAL, text))
