"""What the application does: writes of every kind, transactions, reads, and some that fail.

The endpoints are `async def`: a local SQLite file answers in microseconds, and `after_query` never
waits, so none of them holds up the event loop.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from fastapi import APIRouter, Body, HTTPException, Request

from afterquery.demo.database import Database
from afterquery.demo.values import SAMPLES

routes = APIRouter()
# For FastAPI 0.115.0: `response_model=None`, as it takes the annotation "None" beside a 204 for a
# body, and a default for what may be null, as it takes null for missing.


def database(request: Request) -> Database:
    db: Database = request.app.state.db
    return db


def one(rows: list[sqlite3.Row]) -> dict[str, Any]:
    if not rows:
        raise HTTPException(404)
    return dict(rows[0])


@routes.post("/users", status_code=201)
async def add_user(request: Request, user: dict[str, str]) -> dict[str, Any]:
    sql = "INSERT INTO demo_users (email, name) VALUES (:email, :name) RETURNING id"
    return one(database(request).run(sql, user))


@routes.put("/users")
async def add_or_rename_user(request: Request, user: dict[str, str]) -> dict[str, Any]:
    sql = """INSERT INTO demo_users (email, name) VALUES (@email, @name)
        ON CONFLICT (email) DO UPDATE SET name = excluded.name, visits = visits + 1
        RETURNING id, visits"""
    return one(database(request).run(sql, user))


@routes.post("/users/{user}/visits")
async def visit(request: Request, user: int, seen: str = Body(embed=True)) -> dict[str, Any]:
    sql = "UPDATE demo_users SET visits = visits + 1, seen = ?2 WHERE id = ?1 RETURNING visits"
    return one(database(request).run(sql, (user, seen)))


@routes.get("/users/{user}")
async def show_user(request: Request, user: int) -> dict[str, Any]:
    return one(database(request).run("SELECT * FROM demo_users WHERE id = ?", (user,)))


@routes.delete("/users/{user}", status_code=204, response_model=None)
async def delete_user(request: Request, user: int) -> None:
    database(request).run("DELETE FROM demo_users WHERE id = $user", {"user": user})


@routes.post("/orders", status_code=201)
async def order(
    request: Request, user: int = Body(), quantities: list[int] = Body()
) -> dict[str, Any]:
    """One transaction; a quantity of nought breaks a CHECK and rolls all of it back."""
    with database(request).transaction() as run:
        made = one(
            run(
                "INSERT INTO demo_orders (user_id, total) VALUES (?, ?) RETURNING id",
                (user, sum(quantities) * 9.99),
            )
        )
        run(
            "INSERT INTO demo_items VALUES (?, ?, ?, ?)",
            [
                (made["id"], line, f"sku-{line}", quantity)
                for line, quantity in enumerate(quantities)
            ],
            many=True,
        )
    return made


@routes.post("/transfers", status_code=201)
async def transfer(
    request: Request, source: int = Body(), target: int = Body(), amount: int = Body()
) -> None:
    """Non-idempotent on purpose: applied twice, or not at all, it would show in the balance."""
    with database(request).transaction() as run:
        run("UPDATE demo_accounts SET balance = balance + ? WHERE id = ?", (amount, target))
        run("UPDATE demo_accounts SET balance = balance - ? WHERE id = ?", (amount, source))


@routes.post("/samples/{kind}", status_code=201)
async def sample(request: Request, kind: str) -> None:
    sql = "INSERT INTO demo_samples (kind, value) VALUES (?, ?)"
    database(request).run(sql, [kind, SAMPLES[kind]])


@routes.put("/settings/{key}", status_code=204, response_model=None)
async def set_setting(request: Request, key: str, value: Any = Body(None, embed=True)) -> None:
    sql = "INSERT OR REPLACE INTO demo_settings (key, value) VALUES (?, ?)"
    database(request).run(sql, (key, value))


@routes.post("/events", status_code=201)
async def add_events(request: Request, day: str = Body(), count: int = Body()) -> None:
    rows = [{"day": day, "payload": bytes([number]) * 16} for number in range(count)]
    sql = "INSERT INTO demo_events (day, payload) VALUES (:day, :payload)"
    database(request).run(sql, rows, many=True)


@routes.delete("/events", status_code=204, response_model=None)
async def forget_events(request: Request) -> None:
    sql = """WITH newest (id) AS (SELECT max(id) FROM demo_events)
        DELETE FROM demo_events WHERE id <= (SELECT id - 200 FROM newest)"""
    database(request).run(sql)


@routes.get("/report")
async def report(request: Request) -> list[dict[str, Any]]:
    sql = """WITH spent (user, total) AS
            (SELECT user_id, sum(total) FROM demo_orders GROUP BY user_id)
        SELECT name, total FROM spent JOIN demo_users ON id = user ORDER BY total DESC LIMIT 5"""
    return [dict(row) for row in database(request).run(sql)]


@routes.get("/broken")
async def broken(request: Request) -> None:
    database(request).run("UPDATE demo_no_such_table SET n = n + 1")
