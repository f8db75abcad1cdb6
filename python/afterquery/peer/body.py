"""Reading a request's body, up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from afterquery.peer.errors import RequestError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class DisconnectedError(Exception):
    """The sender went away before its request was whole."""


async def read(
    receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: int, seconds: float
) -> bytes:
    """The whole body; a `RequestError` as soon as it exceeds `limit` bytes, or `seconds`."""
    length = next((value for name, value in headers if name.lower() == b"content-length"), b"")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    try:
        return await asyncio.wait_for(_read(receive, limit), seconds)
    except asyncio.TimeoutError:
        raise RequestError(
            408, f"The body took more than {seconds} s to come.", limit="max_body_seconds"
        ) from None


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(limit: int) -> RequestError:
    return RequestError(413, f"The body is larger than {limit} bytes.", limit="max_body_bytes")
