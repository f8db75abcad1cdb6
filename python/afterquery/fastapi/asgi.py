"""The types of ASGI, https://asgi.readthedocs.io: so that no framework has to be installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STATE_KEY = "afterquery"
"""Under this name `lifespan` puts the replicator into the state that requests see."""


def header(scope: Scope, name: str) -> str | None:
    """The first value of a request's header; None where it is missing."""
    wanted = name.lower().encode("latin-1")
    found = (value for key, value in scope.get("headers", ()) if key.lower() == wanted)
    value = next(found, None)
    return None if value is None else value.decode("latin-1")


def with_header(message: Message, name: str, value: str) -> Message:
    """The start of a response with the header set, whatever it was before."""
    wanted = name.lower().encode("latin-1")
    others = [(key, old) for key, old in message.get("headers", ()) if key.lower() != wanted]
    return {**message, "headers": [*others, (wanted, value.encode("latin-1"))]}
