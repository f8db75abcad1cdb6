"""Calling an ASGI application without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from support.client import Answer
from support.process import ADMIN_TOKEN

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


async def call(
    app: App,
    parts: Iterable[bytes],
    *,
    path: str = "/query",
    root_path: str = "",
    headers: dict[str, str] | None = None,
    whole: bool = True,
) -> Answer | None:
    """Send a body in parts; without `whole` the sender goes away after the last one.

    None when the application gave no answer.
    """
    waiting: list[Message] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    if whole:
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Message] = []

    async def receive() -> Message:
        if not waiting and whole:
            # The sender waits for its answer.
            await asyncio.Event().wait()
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    fields = {
        "authorization": f"Bearer {ADMIN_TOKEN}",
        "content-type": "application/json",
    } | (headers or {})
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": root_path,
        "headers": [(k.encode(), v.encode()) for k, v in fields.items()],
    }
    await app(scope, receive, send)
    if not sent:
        return None
    start, *bodies = sent
    given = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], b"".join(part["body"] for part in bodies).decode(), given)


def ask(app: App, body: bytes, **options: Any) -> Answer:
    """One request with its body in one part."""
    answer = asyncio.run(call(app, [body], **options))
    assert answer is not None
    return answer
