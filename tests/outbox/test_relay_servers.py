"""Real servers with a relay in each worker: one of them works, and another one when it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from afterquery import outbox
from replication.world import Primary, contents, peers, prepare, reader
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.serve import ServerProcess
from support.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCHEMA = """
CREATE TABLE items (id INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE);
CREATE TABLE chain (h INTEGER NOT NULL);
INSERT INTO chain VALUES (1);
"""

SERVERS = {
    "gunicorn": ["gunicorn", "-b", "127.0.0.1:{port}", "-k", "uvicorn_worker.UvicornWorker"],
    "uvicorn": ["uvicorn", "--port", "{port}", "--log-level", "warning"],
}
WORKERS = 4
REQUESTS = 400
COUNT = "SELECT count(*) FROM items"


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path, 2) as started:
        yield started


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """Every request over a connection of its own: any worker may take it."""
    with httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as client:
        yield client


def states(client: httpx.Client, url: str) -> dict[int, str]:
    """What the relay of each worker does, by the worker's process."""
    found: dict[int, str] = {}
    while len(found) < WORKERS:
        pid, state = client.get(url).json()
        found[pid] = state
    return found


def one_works(client: httpx.Client, url: str) -> Callable[[], bool]:
    waiting = ["waiting"] * (WORKERS - 1)
    return lambda: sorted(states(client, url).values()) == [*waiting, "working"]


def add(client: httpx.Client, url: str) -> None:
    """Until it is there: a worker that is killed answers nothing, whether it committed or not."""

    def is_there() -> bool:
        try:
            answer = client.post(url)
        except httpx.TransportError:
            return False
        assert answer.status_code in {201, 409}, answer.text
        return True

    until(is_there, 60)


def holder(primary: Primary) -> int:
    """The process whose relay has the lease."""
    ((name,),) = primary.rows("SELECT holder FROM afterquery_relay")
    return int(name.split(":")[1])


def is_same(primary: Primary, replicas: list[PeerProcess]) -> bool:
    tables = [table for table in primary.tables() if table.name in {"items", "chain"}]
    expected = contents(primary.read, tables)
    for replica in replicas:
        with reader(replica) as read:
            if contents(read, tables) != expected:
                return False
    return True


@pytest.mark.parametrize("through", ["sqlite3", "sqlalchemy"])
@pytest.mark.parametrize("server", list(SERVERS))
def test_the_worker_that_relays_is_killed(
    replicas: list[PeerProcess], client: httpx.Client, tmp_path: Path, server: str, through: str
) -> None:
    """In the middle of the traffic; nothing is lost, and nothing comes twice."""
    arguments = [*SERVERS[server], "--workers", str(WORKERS), "apps.outbox_app:app"]
    given = {
        "DATABASE": str(tmp_path / "app.db"),
        "REPLICAS": ",".join(replica.url for replica in replicas),
        "TOKEN": ADMIN_TOKEN,
    }
    prepare(SCHEMA, *replicas)
    with Primary(tmp_path / "app.db", f"PRAGMA journal_mode = WAL; {SCHEMA}") as primary:
        with ServerProcess(arguments, tmp_path, given) as process, ThreadPoolExecutor(8) as pool:
            until(one_works(client, process.url), 60)
            victim = holder(primary)
            assert states(client, process.url)[victim] == "working"
            urls = [f"{process.url}/{through}/{number}" for number in range(REQUESTS)]
            added = [pool.submit(add, client, url) for url in urls]
            until(lambda: bool(replicas[0].client().value(COUNT)))
            os.kill(victim, signal.SIGKILL)
            assert primary.rows(COUNT)[0][0] < REQUESTS
            for one in added:
                one.result()
            until(one_works(client, process.url), 60)
            assert holder(primary) != victim
            until(lambda: is_same(primary, replicas), 60)
            assert primary.rows(COUNT) == [(REQUESTS,)]
            assert process.stop() in {0, -signal.SIGTERM}, process.log()
        assert is_same(primary, replicas)
        assert outbox.pending(primary.connection) == []
