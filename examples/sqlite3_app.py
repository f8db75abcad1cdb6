"""A program on the standard library's sqlite3, replicated: only the line that connects is another.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 python examples/sqlite3_app.py
"""

import os
import sqlite3

import afterquery.sqlite3
from afterquery import Replicator


def transfer(db: sqlite3.Connection, source: str, target: str, amount: int) -> None:
    """All of it or nothing, here and on the replicas."""
    with db:
        db.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, target))
        db.execute("UPDATE accounts SET balance = balance - ? WHERE name = ?", (amount, source))


def main() -> None:
    replicas = os.environ["REPLICAS"].split(",")
    with Replicator(replicas, auth_token=os.environ["AFTERQUERY_TOKEN"], ddl=True) as replicator:
        db = afterquery.sqlite3.connect("accounts.db", replicator=replicator)
        db.execute(
            "CREATE TABLE IF NOT EXISTS accounts"
            " (name TEXT PRIMARY KEY, balance INTEGER NOT NULL CHECK (balance >= 0))"
        )
        with db:
            rows = [("Ada", 100), ("Eve", 20)]
            db.executemany("INSERT OR IGNORE INTO accounts VALUES (?, ?)", rows)
        transfer(db, "Ada", "Eve", 30)
        try:
            transfer(db, "Ada", "Eve", 1_000_000)
        except sqlite3.IntegrityError as error:
            print(error)  # and the first UPDATE is undone, and was never replicated
        if db.replication is not None:
            for outcome in db.replication.wait(timeout=10):
                print(outcome.replica, outcome.status)
        db.close()


main()
