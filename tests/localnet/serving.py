"""Serving a network of this process over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from mainer_nb.localnet import http
from mainer_nb.localnet.network import EmbeddedNetwork


@contextlib.contextmanager
def serving(network: EmbeddedNetwork) -> Iterator[int]:
    """Serves `network` on loopback, from a thread; the port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(http.listen(network), loop).result()
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
