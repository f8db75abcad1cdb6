"""The end of an ASGI server: Django's own application does not hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from afterquery.django.process import process

_App = Callable[[Any, Any, Any], Awaitable[None]]


def drained(application: _App) -> _App:
    """An ASGI application that delivers what is pending when the server ends.

        application = drained(get_asgi_application())

    uvicorn ends its process by a signal, and Python's exit handlers do not run then.
    """

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await application(scope, receive, send)

    return app


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.to_thread(process.close)
    await send({"type": "lifespan.shutdown.complete"})
