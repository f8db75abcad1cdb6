"""The smallest FastAPI application with replication.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 uvicorn fastapi_app:app --app-dir examples
curl -X POST localhost:8000/users -H 'content-type: application/json' -d '{"name": "Ada"}'
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Body, FastAPI

from afterquery import Replicator

db = sqlite3.connect(os.environ.get("DATABASE", "app.db"), isolation_level=None)
db.row_factory = sqlite3.Row
replicator: Replicator


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    global replicator
    replicas = os.environ["REPLICAS"].split(",")
    async with Replicator(
        replicas, auth_token=os.environ["AFTERQUERY_TOKEN"], ddl=True
    ) as replicator:
        run("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        yield  # leaving waits a few seconds for the replicas


app = FastAPI(lifespan=lifespan)


def run(sql: str, params: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    """The one place that runs SQL, and so the one place that replicates."""
    cursor = db.execute(sql, params)
    rows = [dict(row) for row in cursor.fetchall()]
    replicator.after_query(sql, params, cursor)
    return rows


@app.post("/users", status_code=201)
async def add_user(name: str = Body(embed=True)) -> dict[str, Any]:
    return run("INSERT INTO users (name) VALUES (?) RETURNING id, name", (name,))[0]


@app.get("/users")
async def list_users() -> list[dict[str, Any]]:
    return run("SELECT id, name FROM users ORDER BY id")
