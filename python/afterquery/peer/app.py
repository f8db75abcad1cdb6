"""The ASGI application: from a request to an answer."""

from __future__ import annotations

import asyncio
import logging
import os

from afterquery._errors import ConfigurationError
from afterquery.peer import body, connect, protocol
from afterquery.peer.auth import Refusal, Role, Tokens
from afterquery.peer.batch import Rules
from afterquery.peer.database import Database, Form
from afterquery.peer.errors import RequestError

_log = logging.getLogger("afterquery.peer")

_FORMS: dict[str, Form] = {"/query": protocol.as_objects, "/query/raw": protocol.as_raw}

# Parsing a body up to this many bytes takes the event loop less than a millisecond or two.
_PARSE_AT_ONCE = 200_000

_JSON = (b"content-type", b"application/json")
_RETRY_SOON = (b"retry-after", b"1")

MAX_SQL_BYTES = 4 * 1024 * 1024
"""The longest text taken by default. A sender believes no more, whatever a replica says."""


class Peer:
    """A replica on a SQLite file, as an ASGI application.

    - `db`: the file; it is created if there is none.
    - `admin_token`: who sends it may read and write.
    - `client_token`: who sends it may read.
    - `max_body_bytes`: a larger request is answered with 413.
    - `max_sql_bytes`: a longer text is refused, and nothing of it applied. Senders are told it
      with each answer, and send a write of more than 100,000 bytes as one text up to this; below
      100,000 they are not asked for less. StarbaseDB takes 100,000.
    - `max_seconds`: a text that runs longer is stopped and answered with 503, and nothing of it
      applied.
    - `rollback_on_error`: take a text back as a whole when one of its statements fails. By default
      what ran before the failing statement stays, as on StarbaseDB.
    - `synchronous`: with FULL an answered write survives a power failure; with NORMAL it survives
      the process, and the last ones may be lost with the power.

    Raises `ConfigurationError` when a setting or the file cannot serve.
    """

    def __init__(
        self,
        db: str | os.PathLike[str],
        *,
        admin_token: str,
        client_token: str | None = None,
        max_body_bytes: int = 16 * 1024 * 1024,
        max_sql_bytes: int = MAX_SQL_BYTES,
        max_seconds: float = 30.0,
        rollback_on_error: bool = False,
        synchronous: connect.Synchronous = "FULL",
    ) -> None:
        if max_body_bytes < 1 or max_sql_bytes < 1:
            raise ConfigurationError("max_body_bytes and max_sql_bytes must be 1 or more")
        if not max_seconds > 0:
            raise ConfigurationError(f"max_seconds must be more than 0, not {max_seconds!r}")
        if synchronous not in {"FULL", "NORMAL"}:
            raise ConfigurationError(f"synchronous is FULL or NORMAL, not {synchronous!r}")
        self._tokens = Tokens(admin_token, client_token)
        self._max_body_bytes = max_body_bytes
        self._peer = (b"afterquery-peer", b"1 max_sql_bytes=%d" % max_sql_bytes)
        self.path = connect.checked(db)
        """The file. Open it with `sqlite3` to read from it; writing is for the peer alone."""
        rules = Rules(
            max_sql_bytes=max_sql_bytes,
            max_seconds=max_seconds,
            rollback_on_error=rollback_on_error,
        )
        self._database = Database(self.path, rules, synchronous)

    def __repr__(self) -> str:
        return f"Peer({str(self.path)!r})"

    async def __call__(self, scope: body.Scope, receive: body.Receive, send: body.Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def close(self) -> None:
        """Finish what is under way and close the file. A later request opens it again."""
        self._database.close()

    async def _lifespan(self, receive: body.Receive, send: body.Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: body.Scope, receive: body.Receive, send: body.Send) -> None:
        try:
            status, answer = 200, await self._answer(scope, receive)
        except RequestError as error:
            status, answer = error.status, protocol.encode("error", error.message)
        except body.DisconnectedError:
            return
        except Exception:
            _log.exception("a request failed")
            status, answer = 500, protocol.encode("error", "internal error")
        headers = [_JSON, (b"content-length", str(len(answer)).encode())]
        if status == 200:
            headers.append(self._peer)
        if status == 503:
            headers.append(_RETRY_SOON)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, scope: body.Scope, receive: body.Receive) -> bytes:
        headers = list(scope["headers"])
        role = self._tokens.role(headers)
        if isinstance(role, Refusal):
            raise RequestError(role.value, "Unauthorized request")
        form = _FORMS.get(_path(scope))
        if form is None or scope["method"] != "POST":
            raise RequestError(404, "Not found")
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if b"application/json" not in kind:
            raise RequestError(400, "Content-Type must be application/json.")
        content = await body.read(receive, headers, self._max_body_bytes)
        if len(content) > _PARSE_AT_ONCE:
            request = await asyncio.to_thread(protocol.parse, content)
        else:
            request = protocol.parse(content)
        return await self._run(request, form, may_write=role is Role.ADMIN)

    async def _run(self, request: protocol.Request, form: Form, *, may_write: bool) -> bytes:
        results = []
        for query in request.queries:
            submitted = self._database.submit(query, form, may_write=may_write)
            # A sender that is gone does not take back what it sent.
            results.append(await asyncio.shield(asyncio.wrap_future(submitted)))
        return protocol.join(results) if request.is_transaction else results[0]


def _path(scope: body.Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    # Older Starlette versions have cut it off already.
    if root and path.startswith(root + "/"):
        return path[len(root) :]
    return path
