"""The middleware: a request scope around each request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Literal

from afterquery import _scope
from afterquery._core import Replicator
from afterquery._errors import ConfigurationError
from afterquery._failures import failures
from afterquery.fastapi import asgi
from afterquery.fastapi.scope import RequestScope

# RFC 9110, section 5.1: a field name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# A write waits for its number only while a thread that committed before it waits for the GIL.
_TRIES, _PAUSE = 50, 0.001


class ReplicationMiddleware:
    """Opens a request scope around each request: pure ASGI, for FastAPI, Starlette and others.

    - `app`: the ASGI application inside.
    - `replicator`: the replicator, or a function that gives it (called whenever it is needed). None
      takes the one that `lifespan` started.
    - `commit`: `"immediate"` submits what integrations commit at once. `"request"` holds it until
      the response starts: submitted in order when the status is below 500; dropped, and counted in
      `stats().skipped["dropped"]`, when it is not, or when the application raises before that.
    - `position_header`: the response header that gets the position of the request's last write
      (`afterquery.position`); None for no header. It is only set where there is a write.

    What is handed over after the response started, or in a websocket, is submitted at once.

    Raises `ConfigurationError` when an argument cannot work.
    """

    def __init__(
        self,
        app: asgi.App,
        *,
        replicator: Replicator | Callable[[], Replicator] | None = None,
        commit: Literal["immediate", "request"] = "immediate",
        position_header: str | None = None,
    ) -> None:
        if commit not in ("immediate", "request"):
            raise ConfigurationError(f'commit={commit!r}: it is "immediate" or "request"')
        if position_header is not None and not _HEADER_NAME.fullmatch(position_header):
            raise ConfigurationError(f"position_header={position_header!r} is not a header's name")
        if not (replicator is None or callable(replicator) or isinstance(replicator, Replicator)):
            raise ConfigurationError("replicator is a Replicator or a function that gives it")
        self.app = app
        self._replicator = replicator
        self._holding = commit == "request"
        self._position_header = position_header

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        http = kind == "http"
        request = RequestScope(
            scope,
            self._find,
            _scope.current.get(),
            holding=http and self._holding,
            deciding=http,
        )
        token = _scope.current.set(request)
        try:
            await self.app(scope, receive, self._deciding(request, send) if http else send)
        finally:
            if http:
                # It raised, or did not answer: nothing happens here if it did.
                request.end(succeeded=False)
            _scope.current.reset(token)

    def _deciding(self, request: RequestScope, send: asgi.Send) -> asgi.Send:
        async def decide_and_send(message: asgi.Message) -> None:
            if message["type"] == "http.response.start":
                try:
                    request.end(succeeded=message["status"] < 500)
                    if self._position_header is not None:
                        message = await self._positioned(request, message)
                except Exception:
                    failures.caught("a request's end could not be followed")
            await send(message)

        return decide_and_send

    async def _positioned(self, request: RequestScope, message: asgi.Message) -> asgi.Message:
        for _ in range(_TRIES):
            if request.numbered:
                break
            await asyncio.sleep(_PAUSE)
        position = request.position
        if self._position_header is None or not position:
            return message
        return asgi.with_header(message, self._position_header, position)

    def _find(self, scope: asgi.Scope) -> Replicator:
        given = self._replicator
        if given is None:
            given = scope.get("state", {}).get(asgi.STATE_KEY)
        if given is None:
            raise RuntimeError(
                "no replicator: give ReplicationMiddleware one, or use afterquery.fastapi.lifespan"
            )
        return given if isinstance(given, Replicator) else given()
