"""Migrations reach the replicas: `ddl=True` lets them through, batch mode's table copies too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, insert

from replication.world import Primary, counted, peers
from support.alchemy import MODES, World, engine_on, users, world_on

ENV = """
from alembic import context

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
"""

REVISIONS = {
    "a1": (
        """
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Text))
    op.create_index("notes_by_x", "notes", ["x"])
    op.bulk_insert(sa.table("notes", sa.column("x")), [{"x": str(n)} for n in range(30)])
""",
        'op.drop_table("notes")',
    ),
    "a2": (
        """
    with op.batch_alter_table("notes") as batch:
        batch.add_column(sa.Column("y", sa.Integer, nullable=False, server_default="7"))
        batch.create_unique_constraint("notes_x", ["x"])
        batch.alter_column("x", nullable=False)
    op.execute("UPDATE notes SET y = id * 2 WHERE id > 10")
""",
        """
    with op.batch_alter_table("notes") as batch:
        batch.drop_constraint("notes_x", type_="unique")
        batch.alter_column("x", nullable=True)
        batch.drop_column("y")
""",
    ),
    "a3": (
        """
    op.add_column("users", sa.Column("note", sa.Text))
    op.execute(sa.text("UPDATE users SET note = :note").bindparams(note="it's new"))
""",
        """
    with op.batch_alter_table("users", recreate="always") as batch:
        batch.drop_column("note")
""",
    ),
}


def migrations(folder: Path, engine: Engine) -> Config:
    """A real Alembic environment with the revisions above."""
    versions = folder / "versions"
    versions.mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    before = None
    for name, (up, down) in REVISIONS.items():
        (versions / f"{name}.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = {name!r}\ndown_revision = {before!r}\n"
            f"def upgrade():\n    {up.strip()}\n"
            f"def downgrade():\n    {down.strip()}\n"
        )
        before = name
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = engine
    return config


@pytest.fixture(params=MODES[:2])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    path = tmp_path / "primary.db"
    engine = engine_on(path, request.param)
    with peers(tmp_path, 2) as replicas, world_on(engine, path, replicas) as world:
        yield world


def same_schema(world: World) -> None:
    world.same()
    sql = "SELECT name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'tmp_%' ORDER BY 1"
    with Primary(world.path) as primary:
        for process in world.replicas:
            assert process.client().rows(sql) == primary.rows(sql)


def test_up_and_down(world: World, tmp_path: Path) -> None:
    config = migrations(tmp_path / "migrations", world.engine)
    with world.engine.begin() as connection:
        connection.execute(insert(users), [{"name": "Ada"}, {"name": "Bob"}])
    for name in REVISIONS:
        command.upgrade(config, name)
        same_schema(world)
    with Primary(world.path) as primary:
        assert primary.rows("SELECT y FROM notes WHERE id IN (6, 16) ORDER BY id") == [(7,), (32,)]
        assert primary.rows("SELECT DISTINCT note FROM users") == [("it's new",)]
    for _ in REVISIONS:
        command.downgrade(config, "-1")
        same_schema(world)
    with Primary(world.path) as primary:
        assert primary.rows("SELECT name FROM users") == [("Ada",), ("Bob",)]
        assert "notes" not in {table.name for table in primary.tables()}
    command.upgrade(config, "head")
    same_schema(world)
    assert counted(world.replicator.stats().skipped).get("ddl", 0) == 0
