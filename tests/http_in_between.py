"""Servers between an agent and a network: they answer for it, lose its answers, or pass everything on."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def serving(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server that reads one request a connection, answers with these bytes and closes it; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.sendall(answer(read_request(connection)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def read_request(connection: socket.socket) -> bytes:
    request = b""
    while b"\r\n\r\n" not in request:
        request += connection.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(headers.get(b"content-length", 0))
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def forwarded(request: bytes, upstream: str) -> bytes:
    """The network's answer to this request."""
    target = urlsplit(upstream)
    with socket.create_connection((target.hostname, target.port)) as onward:
        line, _, rest = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", request, count=1).partition(b"\r\n")
        onward.sendall(line + b"\r\nConnection: close\r\n" + rest)
        return b"".join(iter(lambda: onward.recv(65536), b""))


@contextmanager
def lossy(upstream: str, losses: int) -> Iterator[str]:
    """A way to the network on which the first answers are lost; its address."""
    left = [losses]

    def pass_on(request: bytes) -> bytes:
        reply = forwarded(request, upstream)
        if left[0]:
            left[0] -= 1
            return b""
        return reply

    with serving(pass_on) as url:
        yield url
