"""What a peer gives to those who ask, with names and defaults; docs/peer.md says why these."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

from afterquery._errors import ConfigurationError
from afterquery._log import logger

_log = logger("afterquery.peer")

MIB = 1024 * 1024

QUIET_SECONDS = 60.0
"""A limit that bites again within this time is counted, and not logged."""


@dataclass(frozen=True)
class Limits:
    """The limits of a peer. Raises `ConfigurationError` for a value that cannot be.

    - `max_read_seconds`: a text of the client token that runs longer is stopped, and so is a
      "transaction" of such texts as a whole.
    - `max_read_memory_bytes`: what SQLite may hold for one read: values, sorts, temporary tables.
    - `max_result_bytes`: a larger result is refused; those of a "transaction" count together.
    - `max_value_bytes`: the longest string, blob or row of a text that writes; from Python 3.11 on.
    - `max_read_body_bytes`: a larger request of the client token is answered with 413.
    - `max_reads`, `max_writes`: how many requests of the client token, and of the admin token, may
      be on their way at the same time, with those that wait for their turn or their receiver.
    - `max_unsent_bytes`: how much of large answers may wait for receivers with the client token.
    - `max_body_seconds`, `max_send_seconds`: how long a body may take to come, and an answer to go
      to a receiver with the client token.
    - `max_wal_bytes`: at this size of the write-ahead log readers are cut off, so that it can begin
      anew.
    - `readers`: how many requests of the client token are read at the same time.
    - `max_connections`, `max_head_seconds`: open connections, and how long the head of a request
      may take. These two hold for `afterquery peer` alone: a mounted peer has its server's.
    """

    max_read_seconds: float = 10.0
    max_read_memory_bytes: int = 64 * MIB
    max_result_bytes: int = 16 * MIB
    max_value_bytes: int = 64 * MIB
    max_read_body_bytes: int = MIB
    max_reads: int = 64
    max_writes: int = 1_000
    max_unsent_bytes: int = 64 * MIB
    max_body_seconds: float = 30.0
    max_send_seconds: float = 60.0
    max_wal_bytes: int = 256 * MIB
    readers: int = 2
    max_connections: int = 1_000
    max_head_seconds: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if isinstance(field.default, float) else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds) or not value > 0:
                kind = "a number" if float in kinds else "a whole number"
                raise ConfigurationError(f"{field.name} must be {kind} above 0, not {value!r}")

    @classmethod
    def of(cls, settings: list[str]) -> Limits:
        """The limits that `NAME=VALUE` texts name; the others have their defaults."""
        kinds: dict[str, type[float]] = {
            field.name: float if isinstance(field.default, float) else int for field in fields(cls)
        }
        values: dict[str, float] = {}
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in kinds:
                raise ConfigurationError(
                    f"there is no limit {name!r}; there are {', '.join(kinds)}"
                )
            try:
                values[name] = kinds[name](value)
            except ValueError:
                raise ConfigurationError(f"{name}={value}: that is no number") from None
        return cls(**values)  # type: ignore[arg-type]


class Tally:
    """How often each limit bit; the log says so, at most once a minute for each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()

    def bit(self, name: str) -> None:
        """Count one time; from any thread."""
        now = time.monotonic()
        with self._lock:
            self._counts[name] += 1
            count = self._counts[name]
            loud = now - self._logged.get(name, -QUIET_SECONDS) >= QUIET_SECONDS
            if loud:
                self._logged[name] = now
        if loud:
            _log.warning("a request met the limit %s (%d so far)", name, count)

    def counts(self) -> Mapping[str, int]:
        """How often each limit bit that did."""
        with self._lock:
            return dict(self._counts)
