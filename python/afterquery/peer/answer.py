"""Sending an answer, in parts where its receiver may be slow."""

from __future__ import annotations

import asyncio

from afterquery.peer.body import DisconnectedError, Send

PART_BYTES = 64 * 1024
"""So much is sent at once; the server around holds no more of an answer, in bytes."""

_JSON = (b"content-type", b"application/json")
_RETRY_SOON = (b"retry-after", b"1")


Header = tuple[bytes, bytes]


async def send_in_time(send: Send, content: bytes, seconds: float, *headers: Header) -> None:
    """Send a result; one that takes longer than `seconds` ends in the middle."""
    try:
        await asyncio.wait_for(send_all(send, 200, content, *headers), seconds)
    except asyncio.TimeoutError:
        # The server around closes the connection of an answer that is not whole.
        raise DisconnectedError from None


async def send_all(send: Send, status: int, content: bytes, *headers: Header) -> None:
    """Send an answer of this status, with more headers than each has."""
    every = [_JSON, (b"content-length", str(len(content)).encode()), *headers]
    if status == 503:
        every.append(_RETRY_SOON)
    await send({"type": "http.response.start", "status": status, "headers": every})
    if len(content) <= PART_BYTES:
        await send({"type": "http.response.body", "body": content})
        return
    for at in range(0, len(content), PART_BYTES):
        part = content[at : at + PART_BYTES]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
