"""A replica that does what it likes: raw sockets, and a script that may answer with anything."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

Row = dict[str, Any]
Reply = bytes | tuple[int, object] | None
"""Raw bytes, a status with a body as JSON, or nothing: the connection ends."""


@dataclass
class Request:
    """What came, and the connection to answer on by hand."""

    head: bytes
    sql: str
    connection: socket.socket

    @property
    def kind(self) -> str:
        if self.sql.startswith("CREATE TABLE IF NOT EXISTS tmp_afterquery"):
            return "greeting"
        if self.sql.startswith("INSERT INTO tmp_afterquery_watermark"):
            return "text"
        return "question" if self.sql.startswith("SELECT id,") else "other"


Script = Callable[[Request], Reply]


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Hostile:
    """Answers each request as its script says, in a thread for each connection."""

    script: Script
    heads: list[bytes] = field(default_factory=list)
    requests: int = 0

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        for connection in list(self._open):
            connection.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := self._read(stream, connection)) is not None:
                    reply = self.script(request)
                    if reply is None:
                        return
                    if isinstance(reply, tuple):
                        reply = http(reply[0], json.dumps(reply[1]).encode())
                    connection.sendall(reply)
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(connection)

    def _read(self, stream: Any, connection: socket.socket) -> Request | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return None
            head += line
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = stream.read(int(length[1])) if length else b""
        self.requests += 1
        self.heads.append(head)
        return Request(head, json.loads(body)["sql"] if body else "", connection)


NEW = {"id": 1, "seq": 0, "step": 0, "chain": 0, "changes": ""}


@dataclass
class Liar:
    """Keeps a watermark as an honest replica does, with no data behind it; `lie` may change what
    it says to requests of one kind."""

    lie: Callable[[Request, Row], Reply]
    about: str = "text"
    row: Row = field(default_factory=lambda: dict(NEW))

    def __call__(self, request: Request) -> Reply:
        if request.kind == "text":
            self.row = applied(request.sql)
        if request.kind == self.about:
            return self.lie(request, dict(self.row))
        return (200, {"result": [] if request.kind == "other" else [self.row]})


def applied(sql: str) -> Row:
    """The row after a text that ran to its end."""
    head = re.search(r"THEN (\d+) END.*?\),(\d+),(\d+),''", sql)
    assert head, sql
    seqs = [int(seq) for seq in re.findall(r"SET seq=(\d+)", sql)]
    marks = "".join(f"1{count or ''};" for count in re.findall(r"changes\(\)\|\|'(/\d+)?;'", sql))
    seq = seqs[-1] if seqs else int(head[1])
    return {"id": 1, "seq": seq, "step": 0, "chain": int(head[3]), "changes": marks}


def saying(**fields: Any) -> Callable[[Request, Row], Reply]:
    """The row with other values; a function gets the true one."""

    def lie(_: Request, row: Row) -> Reply:
        for name, value in fields.items():
            row[name] = value(row[name]) if callable(value) else value
        return (200, {"result": [row]})

    return lie
