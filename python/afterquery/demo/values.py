"""A parameter of every type that Python's sqlite3 takes, with the awkward values of each."""

from __future__ import annotations

import datetime as dt
import sqlite3
from decimal import Decimal
from uuid import UUID

SAMPLES: dict[str, object] = {
    "null": None,
    "bool": True,
    "int": 42,
    "int-min": -(2**63),
    "int-max": 2**63 - 1,
    "float": 0.1,
    "float-whole": 5.0,
    "float-tiny": 5e-324,
    "float-huge": 1.7976931348623157e308,
    "float-inf": float("inf"),
    "float-minus-inf": float("-inf"),
    "float-nan": float("nan"),  # sqlite3 stores NULL
    "text": "naïve ☃ 'single' \"double\" \\ ; -- no comment /* nor this */ ?1 :name",
    "text-empty": "",
    "text-nul": "before\0after",
    "text-digits": "007",
    "text-long": "snow ☃ " * 30_000,  # too large for a literal
    "blob": bytes(range(256)),
    "blob-empty": b"",
    "blob-view": memoryview(b"\x00\xff" * 8),
    "date": dt.date(2026, 2, 28),
    "datetime": dt.datetime(2026, 2, 28, 23, 59, 59, 123456),  # noqa: DTZ001
    "decimal": Decimal("19.90"),
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
}


def register_adapters() -> None:
    """As sqlite3's documentation recommends: its own date adapters are deprecated since 3.12."""
    sqlite3.register_adapter(dt.date, dt.date.isoformat)
    sqlite3.register_adapter(dt.datetime, lambda value: value.isoformat(" "))
    sqlite3.register_adapter(Decimal, str)
    sqlite3.register_adapter(UUID, str)
