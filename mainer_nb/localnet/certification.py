"""One signature for all who wait for a certificate at the same time.

A subnet of the Internet Computer certifies its state once a round, and all requests that were answered in the round get
parts of the same signed tree. Here a round is as long as answers keep coming in quickly: signing costs the network, and
verifying costs each client, about as much as a whole small call.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

Paths = list[list[bytes]]

#: A request accepted less than this ago (seconds) is likely to be answered in this round, which lasts no longer either.
_QUICK = 0.004
_PAUSE = 0.0005


class Certification:
    """Collects what certificates are asked for, and has them issued together.

    Belongs to one event loop. `issue(list of paths)` gives the certificates, in that order.
    """

    def __init__(self, issue: Callable[[Sequence[Paths]], list[bytes]]) -> None:
        self._issue = issue
        self._asked: list[tuple[Paths, asyncio.Future[bytes]]] = []
        self._coming: dict[bytes, float] = {}

    @contextlib.contextmanager
    def soon(self, request_id: bytes) -> Iterator[None]:
        """While a request is executed whose outcome is to be certified afterwards."""
        self._coming[request_id] = asyncio.get_running_loop().time()
        try:
            yield
        finally:
            self._coming.pop(request_id, None)

    async def certificate(self, paths: Paths) -> bytes:
        """A certificate of `paths`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._asked.append((paths, future))
        if len(self._asked) == 1:
            loop.call_soon(self._round, loop, loop.time() + _QUICK)
        return await future

    def _round(self, loop: asyncio.AbstractEventLoop, end: float) -> None:
        now = loop.time()
        if now < end and any(accepted > now - _QUICK for accepted in self._coming.values()):
            loop.call_later(_PAUSE, self._round, loop, end)
            return
        asked, self._asked = self._asked, []
        try:
            certificates = self._issue([paths for paths, _ in asked])
        except Exception as error:
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), certificate in zip(asked, certificates, strict=True):
            if not future.done():
                future.set_result(certificate)
