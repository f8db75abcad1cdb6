"""FastAPI with replication that nobody has to think of.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 \
    uvicorn fastapi_middleware:app --app-dir examples
curl -i -X POST localhost:8000/users -H 'content-type: application/json' -d '{"name": "Ada"}'
curl localhost:8000/settled -H 'afterquery-position: <the header of the answer above>'
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Annotated, Any

from fastapi import Body, Depends, FastAPI

import afterquery.sqlite3
from afterquery import Replicator
from afterquery.fastapi import (
    POSITION_HEADER,
    ReplicationMiddleware,
    WaitForReplicas,
    get_replicator,
    lifespan,
)


def make_replicator() -> Replicator:
    replicas = os.environ["REPLICAS"].split(",")
    return Replicator(replicas, auth_token=os.environ["AFTERQUERY_TOKEN"], ddl=True)


def connect(replicator: Replicator) -> sqlite3.Connection:
    file = os.environ.get("DATABASE", "app.db")
    return afterquery.sqlite3.connect(file, replicator=replicator, check_same_thread=False)


@asynccontextmanager
async def tables(_: FastAPI) -> AsyncIterator[None]:
    with closing(connect(await get_replicator())) as db:
        db.execute("CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    yield


async def database(
    replicator: Annotated[Replicator, Depends(get_replicator)],
) -> AsyncIterator[sqlite3.Connection]:
    with closing(connect(replicator)) as db:
        yield db


Database = Annotated[sqlite3.Connection, Depends(database)]

app = FastAPI(lifespan=lifespan(make_replicator, tables))
app.add_middleware(ReplicationMiddleware, position_header=POSITION_HEADER)


@app.post("/users", status_code=201)
async def add_user(db: Database, name: str = Body(embed=True)) -> dict[str, Any]:
    with db:  # commits, or rolls back: only what is committed is replicated
        cursor = db.execute("INSERT INTO users (name) VALUES (?)", (name,))
    return {"id": cursor.lastrowid, "name": name}


@app.get("/users")
async def list_users(db: Database) -> list[dict[str, Any]]:
    rows = db.execute("SELECT id, name FROM users ORDER BY id")
    return [{"id": row[0], "name": row[1]} for row in rows]


@app.get("/settled")
async def settled(settled: Annotated[bool, Depends(WaitForReplicas(timeout=2))]) -> bool:
    """Whether the write that the header names is on the replicas, after two seconds at most."""
    return settled
