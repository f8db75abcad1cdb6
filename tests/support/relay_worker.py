"""A process that writes through an outbox, and relays it, until it is killed.

`relay_worker.py DB NUMBER [URL...]`: an even number writes through sqlite3, an odd one through
SQLAlchemy; with the URLs of replicas it has a relay.
"""

from __future__ import annotations

import random
import sys
from itertools import count
from typing import Any

from sqlalchemy import Connection, create_engine, text

import afterquery.sqlite3
from afterquery.outbox import Relay
from afterquery.sqlalchemy import attach
from support.outbox_worker import CHAIN, FACT, step
from support.process import ADMIN_TOKEN

LEASE_SECONDS = 1.0


def alchemy_step(connection: Connection, worker: int, n: int, chance: random.Random) -> None:
    with connection.begin() as outer:
        # The write lock first: what is read below must not change until the COMMIT.
        connection.exec_driver_sql(CHAIN, (n,))
        nested = connection.begin_nested()
        connection.exec_driver_sql(FACT, (worker, n)).fetchall()
        if chance.randrange(3) == 0:
            nested.rollback()
        else:
            nested.commit()
        rows = [{"worker": worker, "n": n}] * 2
        connection.execute(text("INSERT INTO facts (worker, n) VALUES (:worker, :n)"), rows)
        if chance.randrange(4) == 0:
            outer.rollback()


def write_through_sqlalchemy(path: str, number: int, chance: random.Random) -> None:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
    attach(engine, outbox=True)
    for n in count():
        with engine.connect() as connection:
            alchemy_step(connection, number, n, chance)
        alone = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        with alone as connection:
            connection.exec_driver_sql(CHAIN, (n,))


def write_through_sqlite3(path: str, number: int, chance: random.Random) -> None:
    db = afterquery.sqlite3.connect(path, outbox=True, isolation_level=None, timeout=60)
    for n in count():
        step(db, number, n, chance)


def main() -> None:
    path, number, *urls = sys.argv[1:]
    if urls:
        settings: dict[str, Any] = {"auth_token": ADMIN_TOKEN, "retry_base": 0.01, "retry_max": 0.2}
        Relay(path, urls, poll=0.05, lease=LEASE_SECONDS, **settings).start()
    write = write_through_sqlalchemy if int(number) % 2 else write_through_sqlite3
    write(path, int(number), random.Random())


if __name__ == "__main__":
    main()
