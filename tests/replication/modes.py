"""A database followed by `afterquery.sqlite3`, in each mode that `sqlite3` has."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery import Replicator
from replication.world import (
    Primary,
    assert_same,
    of,
)
from support.peer import PeerProcess

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name UNIQUE, n DEFAULT 0);
CREATE TABLE parents (id INTEGER PRIMARY KEY);
CREATE TABLE children (parent REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
"""

CLEAN = "DELETE FROM users; DELETE FROM children; DELETE FROM parents;"

LEGACY: list[dict[str, Any]] = [
    {"isolation_level": level} for level in ("", "DEFERRED", "IMMEDIATE", "EXCLUSIVE")
]

AUTOCOMMIT: list[dict[str, Any]] = [{"isolation_level": None}]

MANUAL = LEGACY
if sys.version_info >= (3, 12):
    AUTOCOMMIT = [*AUTOCOMMIT, {"autocommit": True}]
    MANUAL = [*LEGACY, {"autocommit": False}]

EVERY = [*AUTOCOMMIT, *MANUAL]


def ids(mode: dict[str, Any]) -> str:
    return "-".join(repr(value) for value in mode.values())


@dataclass
class World:
    primary: Primary
    peer: PeerProcess
    replicator: Replicator
    stack: ExitStack

    def open(self, **settings: Any) -> afterquery.sqlite3.Connection:
        path = self.primary.path
        db = afterquery.sqlite3.connect(path, replicator=self.replicator, **settings)
        return self.stack.enter_context(closing(db))

    def same(self, writes: int) -> None:
        """The replica is as the primary, after so many writes, of which none was rejected."""
        assert self.replicator.flush(30)
        assert_same(self.primary, self.peer)
        assert self.replicator.stats().writes == writes
        assert self.replicator.dead_letters() == []
        assert of(self.replicator, self.peer.name).changes_differ == 0


every = pytest.mark.parametrize("mode", EVERY, ids=ids)

manual = pytest.mark.parametrize("mode", MANUAL, ids=ids)

alone = pytest.mark.parametrize("mode", AUTOCOMMIT, ids=ids)
