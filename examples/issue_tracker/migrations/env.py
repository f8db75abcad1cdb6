"""Alembic's entry point: it migrates the application's own engine."""

import tracker.models  # noqa: F401 - so that Base knows the tables
from alembic import context
from tracker.database import Base, engine

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
