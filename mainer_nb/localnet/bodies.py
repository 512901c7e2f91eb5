"""Reading what a request carries."""

from __future__ import annotations

import asyncio

from aiohttp import web

SECONDS = 30.0  # how long a body may take to arrive


async def read(request: web.Request) -> bytes:
    """The body of `request`, unpacked if it is compressed.

    Raises:
        web.HTTPRequestTimeout: its end has not come after `SECONDS`: the sender has stopped, or a stream of deflate is
            cut off, about which aiohttp says nothing.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await request.read()
    except TimeoutError:
        text = f"the end of the body has not come after {SECONDS:g} s; if it is compressed, it may be cut off"
        refusal = web.HTTPRequestTimeout(text=text)
        refusal.force_close()  # what still comes is no request
        raise refusal from None
