"""Reading a request's body, up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, NamedTuple

from afterquery.peer.errors import RequestError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class DisconnectedError(Exception):
    """The sender went away before its request was whole."""


class Limit(NamedTuple):
    """How large a body may be, in bytes, with the name of that limit; and how long it may take."""

    name: str
    most: int
    seconds: float


async def read(receive: Receive, headers: Iterable[tuple[bytes, bytes]], limit: Limit) -> bytes:
    """The whole body, or a `RequestError` as soon as it is known to exceed the limit."""
    length = next((value for name, value in headers if name.lower() == b"content-length"), b"")
    if length.isdigit() and int(length) > limit.most:
        raise _too_large(limit)
    try:
        return await asyncio.wait_for(_read(receive, limit), limit.seconds)
    except asyncio.TimeoutError:
        message = f"The body took more than {limit.seconds} s to come."
        raise RequestError(408, message, limit="max_body_seconds") from None


async def _read(receive: Receive, limit: Limit) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit.most:
            raise _too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(limit: Limit) -> RequestError:
    return RequestError(413, f"The body is larger than {limit.most} bytes.", limit=limit.name)
