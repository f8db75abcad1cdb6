"""libsql's dialect, where its driver can be installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert

from replication.world import peers
from support.alchemy import users, world_on

pytest.importorskip("sqlalchemy_libsql", reason="pip install sqlalchemy-libsql")


def test_a_local_file(tmp_path: Path) -> None:
    path = tmp_path / "primary.db"
    engine = create_engine(f"sqlite+libsql:///{path}")
    with peers(tmp_path, 1) as replicas, world_on(engine, path, replicas) as world:
        with engine.connect() as connection:
            connection.execute(insert(users), [{"name": "a", "n": 1}, {"name": "b", "n": 2}])
            with connection.begin_nested() as savepoint:
                connection.execute(insert(users).values(name="gone"))
                savepoint.rollback()
            connection.execute(insert(users).values(name="c"))
            connection.commit()
            connection.execute(insert(users).values(name="last"))
            connection.rollback()
        world.same(writes=1)
        assert world.names() == ["a", "b", "c"]
