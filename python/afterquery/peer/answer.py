"""Sending an answer, in parts where its receiver may be slow."""

from __future__ import annotations

import asyncio

from afterquery.peer.body import DisconnectedError, Send

PART_BYTES = 64 * 1024
"""So much is sent at once; the server around holds no more of an answer, in bytes."""

_JSON = (b"content-type", b"application/json")
_RETRY_SOON = (b"retry-after", b"1")


async def send(send: Send, status: int, content: bytes, seconds: float | None = None) -> None:
    """Send an answer of this status; one that takes longer than `seconds` ends in the middle."""
    headers = [_JSON, (b"content-length", str(len(content)).encode())]
    if status == 503:
        headers.append(_RETRY_SOON)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if len(content) <= PART_BYTES:
        await send({"type": "http.response.body", "body": content})
        return
    try:
        await asyncio.wait_for(_parts(send, content), seconds)
    except asyncio.TimeoutError:
        # The server around closes the connection of an answer that is not whole.
        raise DisconnectedError from None


async def _parts(send: Send, content: bytes) -> None:
    for at in range(0, len(content), PART_BYTES):
        part = content[at : at + PART_BYTES]
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
