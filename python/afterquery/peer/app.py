"""The ASGI application: from a request to an answer."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from afterquery._errors import ConfigurationError
from afterquery._log import logger
from afterquery.peer import answer, body, connect, protocol
from afterquery.peer.auth import Refusal, Role, Tokens
from afterquery.peer.batch import Rules, Text
from afterquery.peer.database import Database
from afterquery.peer.errors import RequestError
from afterquery.peer.limits import Limits, Tally
from afterquery.peer.process import interrupted
from afterquery.peer.sender import Sender

_log = logger("afterquery.peer")

ROLE = "afterquery.role"
"""Where a request's scope says which `Role` it had, for the server around."""

# Parsing a body up to this many bytes takes the event loop less than a millisecond or two.
_PARSE_AT_ONCE = 200_000

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
    - `limits`: what else strangers are held to.

    Raises `ConfigurationError` when a setting or the file cannot serve.
    """

    def __init__(
        self,
        db: str | os.PathLike[str],
        *,
        admin_token: str | Tokens,
        client_token: str | None = None,
        max_body_bytes: int = 16 * 1024 * 1024,
        max_sql_bytes: int = MAX_SQL_BYTES,
        max_seconds: float = 30.0,
        rollback_on_error: bool = False,
        synchronous: connect.Synchronous = "FULL",
        limits: Limits | None = None,
    ) -> None:
        # From here on no frame has a token in a variable, where a report of an error would show it.
        self._tokens = Tokens.of(admin_token, client_token)
        del admin_token, client_token
        if max_body_bytes < 1 or max_sql_bytes < 1:
            raise ConfigurationError("max_body_bytes and max_sql_bytes must be 1 or more")
        if not max_seconds > 0:
            raise ConfigurationError(f"max_seconds must be more than 0, not {max_seconds!r}")
        if synchronous not in {"FULL", "NORMAL"}:
            raise ConfigurationError(f"synchronous is FULL or NORMAL, not {synchronous!r}")
        self.limits = limits or Limits()
        """What strangers are held to."""
        self._tally = Tally()
        self._max_body_bytes = max_body_bytes
        self._max_seconds = max_seconds
        self._peer = (b"afterquery-peer", b"1 max_sql_bytes=%d" % max_sql_bytes)
        self.path = connect.checked(db)
        """The file. Open it with `sqlite3` to read from it; writing is for the peer alone."""
        rules = Rules(
            max_sql_bytes=max_sql_bytes,
            rollback_on_error=rollback_on_error,
            max_result_bytes=self.limits.max_result_bytes,
        )
        self._database = Database(self.path, rules, self.limits, synchronous, self._tally)
        self._under_way = {Role.ADMIN: 0, Role.CLIENT: 0}
        self._unsent = 0

    def __repr__(self) -> str:
        # A report of an error in the constructor asks for it, too.
        return f"Peer({str(getattr(self, 'path', ''))!r})"

    async def __call__(self, scope: body.Scope, receive: body.Receive, send: body.Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    def close(self, timeout: float = 10.0) -> None:
        """Finish what is under way, for at most `timeout` seconds, and close the file.

        Reads end sooner; a text that still writes then is stopped, and nothing of it applied. A
        later request opens the file again.
        """
        self._database.close(timeout)

    def limits_met(self) -> Mapping[str, int]:
        """How often each limit was met, by its name; a limit that never was is not in it."""
        return self._tally.counts()

    def end_reads(self) -> None:
        """Finish the reads that are under way, for a second, and end the others."""
        self._database.end_reads()

    def met(self, limit: str) -> None:
        """Count a limit that the server around this application has met."""
        self._tally.bit(limit)

    async def _lifespan(self, receive: body.Receive, send: body.Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self.close, LIFESPAN_SECONDS)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: body.Scope, receive: body.Receive, send: body.Send) -> None:
        try:
            role = self._role(scope)
            with self._admitted(role):
                result = await self._result(scope, receive, role)
                await self._sent(send, result, role)
        except body.DisconnectedError:
            return
        except RequestError as error:
            if error.limit is not None:
                self._tally.bit(error.limit)
            await answer.send_all(send, error.status, protocol.failure(error.message))
        except Exception:
            _log.exception("a request failed")
            await answer.send_all(send, 500, protocol.failure("internal error"))

    def _role(self, scope: body.Scope) -> Role:
        role = self._tokens.role(scope["headers"])
        if isinstance(role, Refusal):
            raise RequestError(role.value, "Unauthorized request")
        scope[ROLE] = role
        return role

    @contextmanager
    def _admitted(self, role: Role) -> Iterator[None]:
        """Count a request while it is on its way; refuse it where there are too many."""
        name = "max_writes" if role is Role.ADMIN else "max_reads"
        most: int = getattr(self.limits, name)
        if self._under_way[role] >= most:
            message = f"too many requests: {name} ({most}) are under way"
            raise RequestError(503, message, limit=name)
        self._under_way[role] += 1
        try:
            yield
        finally:
            self._under_way[role] -= 1

    async def _result(self, scope: body.Scope, receive: body.Receive, role: Role) -> bytes:
        form = protocol.FORMS.get(_path(scope))
        if form is None or scope["method"] != "POST":
            raise RequestError(404, "Not found")
        headers = list(scope["headers"])
        kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
        if b"application/json" not in kind:
            raise RequestError(400, "Content-Type must be application/json.")
        request = await self._request(receive, headers, role)
        results = await self._results(request, form, role, Sender(receive))
        return protocol.answer(results, is_transaction=request.is_transaction)

    async def _request(
        self, receive: body.Receive, headers: list[tuple[bytes, bytes]], role: Role
    ) -> protocol.Request:
        limit = body.Limit("max_body_bytes", self._max_body_bytes, self.limits.max_body_seconds)
        if role is Role.CLIENT and self.limits.max_read_body_bytes < limit.most:
            limit = body.Limit(
                "max_read_body_bytes", self.limits.max_read_body_bytes, limit.seconds
            )
        content = await body.read(receive, headers, limit)
        if len(content) > _PARSE_AT_ONCE:
            return await asyncio.to_thread(protocol.parse, content)
        return protocol.parse(content)

    async def _results(
        self,
        request: protocol.Request,
        form: protocol.Form,
        role: Role,
        sender: Sender,
    ) -> list[bytes]:
        """What each text of the request results in, as long as its sender is there."""
        results: list[bytes] = []
        room = self.limits.max_result_bytes
        began = time.monotonic()
        for query in request.queries:
            seconds = self._max_seconds
            if role is Role.CLIENT:
                # Reads have one time together; a first one does not pay for its turn.
                spent = time.monotonic() - began if results else 0.0
                seconds = min(seconds, self.limits.max_read_seconds) - spent
                if seconds <= 0:
                    raise interrupted("max_read_seconds")
            text = Text(query, form, seconds, room)
            results.append(await self._run(text, role, sender))
            room -= len(results[-1])
        return results

    async def _run(self, text: Text, role: Role, sender: Sender) -> bytes:
        job = self._database.submit(text, role)
        done = asyncio.wrap_future(job.future)
        try:
            await sender.wait_for(done)
            if done.cancelled():
                raise interrupted()
            return done.result()
        except RequestError as error:
            if error.limit == "max_seconds" and role is Role.CLIENT:
                error.limit = "max_read_seconds"
            raise
        finally:
            # A write that has begun goes on; what waits, and what only reads, does not.
            done.cancel()
            job.abandon()

    async def _sent(self, send: body.Send, result: bytes, role: Role) -> None:
        """Send a result, and count it against its role while its receiver takes it."""
        if role is Role.ADMIN:
            await answer.send_all(send, 200, result, self._peer)
            return
        if self._unsent + len(result) > self.limits.max_unsent_bytes:
            most = self.limits.max_unsent_bytes
            raise RequestError(
                503,
                f"answers of max_unsent_bytes ({most}) are on their way",
                limit="max_unsent_bytes",
            )
        self._unsent += len(result)
        try:
            await answer.send_in_time(send, result, self.limits.max_send_seconds, self._peer)
        finally:
            self._unsent -= len(result)


LIFESPAN_SECONDS = 2.0
"""How long the end of the server around waits for what it has cut off already, in seconds."""


def _path(scope: body.Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    # Older Starlette versions have cut it off already.
    if root and path.startswith(root + "/"):
        return path[len(root) :]
    return path
