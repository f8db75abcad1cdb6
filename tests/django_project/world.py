"""Django set up in this process, with its database replicated to two peers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import django
import pytest
from django.core.management import call_command
from django.db import connections

from afterquery.django import replicator
from replication.world import TIMEOUT, Primary, assert_same, counted, peers
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN


class DjangoWorld:
    """What the tests ask of it."""

    def __init__(self, database: Path, replicas: Sequence[PeerProcess]) -> None:
        self.database = database
        self.replicas = replicas

    def same(self) -> None:
        """Every table of every replica is as on the primary."""
        assert replicator().flush(TIMEOUT)
        stats = replicator().stats()
        for replica in stats.replicas:
            assert (replica.rejected, replica.changes_differ) == (0, 0)
        with Primary(self.database) as primary:
            assert_same(primary, *self.replicas)

    def writes(self) -> int:
        return replicator().stats().writes

    def dropped(self) -> int:
        return counted(replicator().stats().skipped).get("dropped", 0)

    def on_replica(self, sql: str) -> list[tuple[object, ...]]:
        assert replicator().flush(TIMEOUT)
        with closing(sqlite3.connect(self.replicas[0].db)) as db:
            return db.execute(sql).fetchall()


@contextmanager
def django_world(folder: Path) -> Iterator[DjangoWorld]:
    """Once in a process: Django reads its settings only once."""
    with peers(folder, 2) as replicas:
        environment = {
            "DATABASE": str(folder / "p.db"),
            "REPLICAS": ",".join(process.url for process in replicas),
            "TOKEN": ADMIN_TOKEN,
            "DJANGO_SETTINGS_MODULE": "django_project.settings",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            django.setup()
        call_command("migrate", verbosity=0)
        try:
            yield DjangoWorld(folder / "p.db", replicas)
        finally:
            connections.close_all()
            replicator().close()
