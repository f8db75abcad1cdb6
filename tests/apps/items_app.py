"""A FastAPI application on one SQLite file, for servers with any number of workers.

With SHARED_REPLICATOR the replicator is made when the module is imported: before the fork, where
gunicorn preloads it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI

from afterquery import Replicator, _scope
from afterquery.fastapi import (
    POSITION_HEADER,
    ReplicationMiddleware,
    WaitForReplicas,
    get_replicator,
    lifespan,
)

INSERT = "INSERT INTO items (name) VALUES (?)"


def make_replicator() -> Replicator:
    return Replicator(os.environ["REPLICAS"].split(","), auth_token=os.environ["TOKEN"])


@asynccontextmanager
async def own_lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"db": connect()}


def connect() -> sqlite3.Connection:
    db = sqlite3.connect(
        os.environ["DATABASE"], isolation_level=None, timeout=60, check_same_thread=False
    )
    db.execute("PRAGMA synchronous = OFF")
    return db


shared = make_replicator() if "SHARED_REPLICATOR" in os.environ else None
seconds = float(os.environ.get("DRAIN_SECONDS", "20"))
app = FastAPI(lifespan=lifespan(shared or make_replicator, own_lifespan, timeout=seconds))
app.add_middleware(
    ReplicationMiddleware,
    replicator=shared,
    commit="request" if os.environ.get("COMMIT") == "request" else "immediate",
    position_header=POSITION_HEADER,
)


@app.get("/")
async def process() -> int:
    return os.getpid()


@app.post("/items/{name}", status_code=201)
def add(name: str, replicator: Annotated[Replicator, Depends(get_replicator)]) -> None:
    db = connect()
    transaction = replicator.transaction()
    transaction.after_query(INSERT, (name,), db.execute(INSERT, (name,)))
    _scope.submit(replicator, transaction)
    db.close()


@app.get("/settled")
async def settled(settled: Annotated[bool, Depends(WaitForReplicas(timeout=10))]) -> bool:
    return settled
