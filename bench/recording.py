"""What the library sends, recorded, so that a bare loop can send the very same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from afterquery import Replicator
from bench.replicas import sinks
from bench.workload import TOKEN, WRITE, literal, row


@dataclass(frozen=True)
class Recording:
    """Request bodies in a file that the tool `post` reads; the first is the handshake."""

    path: Path
    requests: int
    bytes: int


def record(path: Path, writes: int) -> Recording:
    """What is sent for so many writes that were all there before the first could be sent."""
    with sinks(1, path) as sink:
        sink.hold()
        with Replicator(sink.urls, auth_token=TOKEN) as replicator:
            for n in range(writes):
                replicator.after_query(WRITE, row(n), 1)
            sink.release()
            assert replicator.flush(60)
    return _tidy(path)


def record_singles(path: Path, writes: int) -> Recording:
    """What is sent for so many writes when each is alone."""
    with sinks(1, path) as sink, Replicator(sink.urls, auth_token=TOKEN) as replicator:
        for n in range(writes):
            replication = replicator.after_query(WRITE, row(n), 1)
            assert replication is not None
            replication.wait(30)
    return _tidy(path)


def plain(path: Path, like: Recording, writes: int) -> Recording:
    """The same writes in as many requests, without the watermark; the first body does nothing."""
    size = -(-writes // (like.requests - 1))
    texts = [
        ";".join(literal(n) for n in range(first, min(first + size, writes)))
        for first in range(0, writes, size)
    ]
    return _write(path, (_body(text) for text in ["SELECT 1", *texts]))


def texts(recording: Recording) -> list[str]:
    """The SQL of each request."""
    return [json.loads(body)["sql"] for body in _read(recording.path)]


def _tidy(path: Path) -> Recording:
    """Without what closing sends: the row must stay for the next round."""
    bodies = _read(path)
    kept = [body for body in bodies if b'"DELETE FROM' not in body[:30]]
    assert literal(0).encode() in kept[1], "literals are no longer rendered as bench.workload does"
    return _write(path, kept)


def _body(sql: str) -> bytes:
    return json.dumps({"sql": sql}, separators=(",", ":")).encode()


def _read(path: Path) -> list[bytes]:
    data = path.read_bytes()
    bodies, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        bodies.append(data[at + 4 : end])
        at = end
    return bodies


def _write(path: Path, bodies: Iterable[bytes]) -> Recording:
    parts = [len(body).to_bytes(4, "little") + body for body in bodies]
    path.write_bytes(b"".join(parts))
    return Recording(path, len(parts), sum(map(len, parts)))
