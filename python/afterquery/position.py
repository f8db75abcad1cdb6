"""Where a write stands, and whether a replica has it: for reading one's own writes there.

A replica keeps a row for each origin, `tmp_afterquery_watermark` (docs/design.md): the number of
the last write applied. So anyone who may read there can tell whether a write has arrived.

    query = http_query("https://replica.example.com", auth_token=token)
    if wait_until_applied(Position.parse(response.headers["afterquery-position"]), query):
        ...  # what was written is there

A position is the text `origin:seq`; several, of several origins, are separated by commas.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from afterquery._http import MAX_ANSWER_BYTES, Asker

__all__ = ["Position", "Query", "http_query", "is_applied", "wait_until_applied"]

Query = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a SELECT on a replica and returns its rows."""

_TABLE = "tmp_afterquery_watermark"
_FORM = re.compile(r"([0-9A-Za-z-]{1,200}):([0-9]{1,18})")
_PAUSE, _LONGEST_PAUSE = 0.005, 0.1


class Position(NamedTuple):
    """A write: the journal that numbered it, and its number."""

    origin: str
    seq: int

    def __str__(self) -> str:
        return f"{self.origin}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `text` names. Raises `ValueError` when it names none."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise ValueError("not a position: the form is origin:seq")
        return cls(match[1], int(match[2]))

    @classmethod
    def parse_all(cls, text: str) -> list[Position]:
        """The positions that `text` lists. Raises `ValueError` when one is none."""
        return [cls.parse(part) for part in text.split(",")]


def is_applied(position: Position, query: Query) -> bool:
    """Whether the write, and all before it, are applied on the replica that `query` asks.

    False also where the origin is not known there (yet, or any more: a clean end of the
    application removes its row). Raises what `query` raises, and `ValueError` where the replica
    answers with something else than a number.
    """
    # Checked again: whoever makes one without `parse` must not put SQL into it.
    origin, seq = Position.parse(str(position))
    if not query(f"SELECT name FROM sqlite_master WHERE name = '{_TABLE}'"):
        return False
    rows = query(f"SELECT seq FROM {_TABLE} WHERE origin = '{origin}'")
    if not rows:
        return False
    applied = rows[0][0]
    if not isinstance(applied, int):
        raise ValueError("the replica's watermark is not a number")
    return applied >= seq


def wait_until_applied(position: Position, query: Query, *, timeout: float = 5.0) -> bool:
    """Wait until `is_applied`, at most `timeout` seconds and the time of one query more; returns
    whether it came to that.

    It sleeps: in a coroutine, use `await asyncio.to_thread(wait_until_applied, ...)`. Raises what
    `query` raises.
    """
    deadline = time.monotonic() + timeout
    pause = _PAUSE
    while not is_applied(position, query):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True


def http_query(
    url: str,
    *,
    auth_token: str | None = None,
    timeout: float = 5.0,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> Query:
    """A `Query` over StarbaseDB's protocol: POST `url`/query, as a reader with `auth_token`.

    `timeout` is for one request, in seconds, whatever the replica does meanwhile; only looking up
    its name is the system's to limit. `max_bytes` is for one answer with its headers. A redirect is
    not followed, and no proxy is asked: the token goes to `url` alone. What it returns raises
    `OSError` when the replica does not answer, or not as a replica.
    """
    return Asker(url, auth_token, timeout, max_bytes).ask
