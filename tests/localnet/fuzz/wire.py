"""Sending requests byte for byte, over connections that are kept."""

from __future__ import annotations

import contextlib
import http.client
import socket
from dataclasses import dataclass

from tests.localnet.fuzz.cases import Request

#: How long an answer may take until it counts as never coming: far more than anything here needs.
PATIENCE = 120.0
#: How long to wait for the answer to a request that is not whole, which may rightly never come.
BRIEFLY = 0.5


class NoAnswer(Exception):
    """The connection was closed, or nothing came: the text says which."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Connection:
    """A connection to a server on this machine, made again when needed. One thread at a time may use it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, request: Request) -> Answer:
        """The answer to `request`; `NoAnswer` if there is none."""
        kept = self._socket is not None
        try:
            return self._ask(request)
        except NoAnswer:
            if not kept:
                raise
            return self._ask(request)  # a kept connection may have been closed meanwhile

    def _ask(self, request: Request) -> Answer:
        octets = request.octets()
        try:
            if self._socket is None:
                self._socket = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.settimeout(PATIENCE if request.whole else BRIEFLY)
            self._send(octets)
            response = http.client.HTTPResponse(self._socket, method=request.method.decode("latin-1"))
            response.begin()
            answer = Answer(response.status, tuple(response.getheaders()), response.read())
        except TimeoutError as error:
            self.close()
            raise NoAnswer("nothing came in time") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NoAnswer(f"the connection was closed: {type(error).__name__}: {error}") from error
        if response.will_close or not (request.allowed and request.whole):
            self.close()
        return answer

    def _send(self, octets: bytes) -> None:
        assert self._socket is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused meanwhile: the answer may be there
            self._socket.sendall(octets)

    def close(self) -> None:
        """Closes the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
