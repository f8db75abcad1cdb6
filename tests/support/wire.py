"""Reading HTTP/1.1 messages from a stream: as much of it as replicas and their clients use."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """A request or an answer, as it came; the names of the headers are in lower case."""

    start: str
    headers: dict[str, str]
    body: bytes

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def path(self) -> str:
        return self.start.split(" ")[1]

    @property
    def sql(self) -> str:
        """The text of a query."""
        sql = json.loads(self.body)["sql"]
        assert isinstance(sql, str)
        return sql

    def encode(self, **headers: str) -> bytes:
        """The message for the wire, with its length and these headers instead of its own."""
        replaced = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {k: v for k, v in self.headers.items() if k != "transfer-encoding"}
        fields = kept | {"content-length": str(len(self.body))} | replaced
        lines = [self.start, *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


async def read(stream: asyncio.StreamReader) -> Message | None:
    """The next message; None when the stream ends before one is whole."""
    try:
        head = (await stream.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.rstrip("\r\n").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        headers = {name.strip().lower(): value.strip() for name, value in pairs}
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await _chunks(stream)
        else:
            body = await stream.readexactly(int(headers.get("content-length", "0")))
        return Message(start, headers, body)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _chunks(stream: asyncio.StreamReader) -> bytes:
    parts = []
    while size := int(await stream.readuntil(b"\r\n"), 16):
        parts.append(await stream.readexactly(size))
        await stream.readexactly(2)
    await stream.readuntil(b"\r\n")
    return b"".join(parts)
