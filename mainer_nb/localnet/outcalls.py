"""What an HTTPS outcall is: a request, what a server answered, and their limits.

Source: IC interface specification, section "IC method `http_request`".
"""

from __future__ import annotations

from dataclasses import dataclass

#: Limits of requests and responses: bytes, except for the number of headers.
MAX_URL = 8192
MAX_SIZE = 2_000_000
MAX_HEADERS = 64
MAX_HEADER = 8 * 1024
MAX_HEADERS_SIZE = 48 * 1024
#: Seconds until a request must be answered.
TIMEOUT_SECONDS = 30

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
class HttpResponse:
    """What a server answered: names of headers are in lower case, the body is as it was sent."""

    status: int
    headers: Headers
    body: bytes


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
