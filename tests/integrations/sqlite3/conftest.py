"""A followed database and its replica."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from afterquery._failures import failures
from replication.modes import CLEAN, SCHEMA, World
from replication.world import (
    Primary,
    connect,
    peers,
    prepare,
)
from support.peer import PeerProcess


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Primary, PeerProcess]]:
    folder = tmp_path_factory.mktemp("sqlite3")
    with Primary(folder / "p.db", SCHEMA) as primary, peers(folder, 1) as (peer,):
        prepare(SCHEMA, peer)
        yield primary, peer


@pytest.fixture
def world(shared: tuple[Primary, PeerProcess]) -> Iterator[World]:
    primary, peer = shared
    primary.connection.executescript(CLEAN)
    prepare(CLEAN, peer)
    failures.forget()
    with connect(peer) as replicator, ExitStack() as stack:
        yield World(primary, peer, replicator, stack)
    assert failures.counts() == {}, "an error of our own"
