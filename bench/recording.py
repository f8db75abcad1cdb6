"""What the library sends, recorded, so that a bare loop can send the very same bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from afterquery import Replicator
from bench.replicas import sinks
from bench.workload import INSERTS, TOKEN, Workload

MAX_TEXT_BYTES = 100_000
"""What StarbaseDB takes as one text."""

# The frame that `src/wire/batch.rs` puts around the statements.
_HEAD = re.compile(r"INSERT INTO tmp_afterquery_watermark .*?,changes='';", re.DOTALL)
_MARK = re.compile(
    r";UPDATE tmp_afterquery_watermark SET [^;]*?';' WHERE id=\d+|"
    r";UPDATE tmp_afterquery_watermark SET [^;]*?'/\d+;' WHERE id=\d+"
)
_LAST = re.compile(r";SELECT seq,step,chain,changes FROM tmp_afterquery_watermark WHERE id=\d+$")


@dataclass(frozen=True)
class Recording:
    """Request bodies in a file that the tool `post` reads; the first is the handshake."""

    path: Path
    requests: int
    bytes: int


def record(path: Path, writes: int, workload: Workload = INSERTS) -> Recording:
    """What is sent for so many writes that were all there before the first could be sent."""
    with sinks(1, path) as sink:
        sink.hold()
        with Replicator(sink.urls, auth_token=TOKEN) as replicator:
            for n in range(writes):
                replicator.after_query(*workload.write(n), 1)
            sink.release()
            assert replicator.flush(60)
    return _tidy(path)


def record_singles(path: Path, writes: int) -> Recording:
    """What is sent for so many writes when each is alone."""
    with sinks(1, path) as sink, Replicator(sink.urls, auth_token=TOKEN) as replicator:
        for n in range(writes):
            replication = replicator.after_query(*INSERTS.write(n), 1)
            assert replication is not None
            replication.wait(30)
    return _tidy(path)


def without_watermark(path: Path, recorded: Recording) -> Recording:
    """The same requests, without the watermark around their statements; the first does nothing."""
    _, *bodies = texts(recorded)
    bare = [_LAST.sub("", _MARK.sub("", _HEAD.sub("", text, count=1))) for text in bodies]
    return _write(path, map(_body, ["SELECT 1", *bare]))


def plain(path: Path, writes: int, workload: Workload = INSERTS) -> Recording:
    """The same writes as a careful person would send them: as many in a text as it may hold."""
    return _write(path, map(_body, ["SELECT 1", *_full_texts(writes, workload)]))


def _full_texts(writes: int, workload: Workload) -> Iterator[str]:
    gathered: list[str] = []
    size = 0
    for n in range(writes):
        statement = workload.literal(n)
        if size + len(statement) + 1 > MAX_TEXT_BYTES:
            yield ";".join(gathered)
            gathered, size = [], 0
        gathered.append(statement)
        size += len(statement) + 1
    yield ";".join(gathered)


def texts(recording: Recording) -> list[str]:
    """The SQL of each request."""
    return [json.loads(body)["sql"] for body in _read(recording.path)]


def _tidy(path: Path) -> Recording:
    """Without what closing sends: the row must stay for the next round."""
    bodies = _read(path)
    kept = [body for body in bodies if b'"DELETE FROM' not in body[:30]]
    assert INSERTS.literal(0).encode() in kept[1], (
        "literals are no longer rendered as bench.workload does"
    )
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
