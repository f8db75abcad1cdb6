"""Whether somebody still waits for an answer."""

from __future__ import annotations

import asyncio

from afterquery.peer.body import DisconnectedError, Receive

UNWATCHED_SECONDS = 0.05
"""Most answers are there sooner, and cost less when nobody watches meanwhile, in seconds."""


class Sender:
    """The sender of a request whose body is whole."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def wait_for(self, done: asyncio.Future[bytes]) -> None:
        """Return when it is done; raise `DisconnectedError` when the sender goes before."""
        await asyncio.wait((done,), timeout=UNWATCHED_SECONDS)
        if done.done():
            return
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if not done.done():
            raise DisconnectedError

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
