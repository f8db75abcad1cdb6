"""Several processes write one SQLite file, and what they commit reaches the replicas in order.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 python examples/outbox_app.py
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import afterquery.sqlite3
from afterquery.outbox import Relay

DATABASE = "shop.db"


def sell(worker: int) -> int:
    """A process of its own: all it needs is the file."""
    db = afterquery.sqlite3.connect(DATABASE, outbox=True, timeout=60)
    for _ in range(25):
        with db:
            (left,) = db.execute("UPDATE stock SET n = n - 1 RETURNING n").fetchone()
            db.execute("INSERT INTO sales VALUES (?, ?)", (worker, left))
    db.close()
    return worker


def main() -> None:
    db = afterquery.sqlite3.connect(DATABASE, outbox=True)
    db.executescript("CREATE TABLE stock (n INTEGER); CREATE TABLE sales (worker, n_left);")
    with db:
        db.execute("INSERT INTO stock VALUES (100)")
    db.close()
    replicas = os.environ["REPLICAS"].split(",")
    # In each process, or in one, or `afterquery relay` in none: one works at a time.
    with (
        Relay(DATABASE, replicas, auth_token=os.environ["AFTERQUERY_TOKEN"], ddl=True),
        ProcessPoolExecutor(4, get_context("spawn")) as workers,
    ):
        print("sold by", *sorted(workers.map(sell, range(4))))


if __name__ == "__main__":
    main()
