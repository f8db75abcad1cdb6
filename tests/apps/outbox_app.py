"""A FastAPI application with an outbox, of sqlite3 or SQLAlchemy, and a relay in each worker."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

from fastapi import FastAPI, HTTPException
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError

import afterquery.sqlite3
from afterquery.outbox import Relay
from afterquery.sqlalchemy import attach

# Its value tells the order of all that was added.
CHAIN = "UPDATE chain SET h = (h * 31 + ?) % 1000003"
INSERT = "INSERT INTO items (number) VALUES (?)"

database = os.environ["DATABASE"]
relay = Relay(
    database,
    os.environ["REPLICAS"].split(","),
    auth_token=os.environ["TOKEN"],
    lease=1.0,
    poll=0.05,
    retry_base=0.01,
)
engine = create_engine(f"sqlite:///{database}", connect_args={"timeout": 60})
attach(engine, outbox=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with relay:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def state() -> tuple[int, str]:
    return os.getpid(), relay.state


@app.post("/sqlite3/{number}", status_code=201)
def add(number: int) -> None:
    opened = afterquery.sqlite3.connect(database, outbox=True, isolation_level=None, timeout=60)
    with closing(opened) as db:
        db.execute("BEGIN IMMEDIATE")
        try:
            db.execute(CHAIN, (number,))
            db.execute(INSERT, (number,))
        except sqlite3.IntegrityError:
            db.execute("ROLLBACK")
            raise HTTPException(409) from None
        db.execute("COMMIT")


@app.post("/sqlalchemy/{number}", status_code=201)
def add_through_sqlalchemy(number: int) -> None:
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(CHAIN, (number,))
            connection.exec_driver_sql(INSERT, (number,))
    except IntegrityError:
        raise HTTPException(409) from None
