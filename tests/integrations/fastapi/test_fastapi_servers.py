"""Whole servers in processes of their own: what was answered is on the replicas at the end."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path

import httpx
import pytest

from replication.items import SCHEMA
from replication.world import Primary, peers, prepare
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.serve import ServerProcess
from support.until import until

pytestmark = pytest.mark.slow

UVICORN = ["uvicorn", "apps.items_app:app", "--port", "{port}", "--log-level", "warning"]
GUNICORN = ["gunicorn", "apps.items_app:app", "-b", "127.0.0.1:{port}"]
GUNICORN += ["-k", "uvicorn_worker.UvicornWorker"]
SERVERS = {
    "uvicorn": (UVICORN, 1),
    "uvicorn-4-workers": ([*UVICORN, "--workers", "4"], 4),
    "gunicorn-2-workers": ([*GUNICORN, "-w", "2"], 2),
    "gunicorn-preload": ([*GUNICORN, "-w", "2", "--preload"], 2),
}
REQUESTS = 120
COUNT = "SELECT count(*) FROM items"


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path, 2) as started:
        prepare(SCHEMA, *started)
        yield started


def environment(folder: Path, replicas: list[PeerProcess], **more: str) -> dict[str, str]:
    urls = ",".join(process.url for process in replicas)
    database = str(folder / "p.db")
    return {"DATABASE": database, "REPLICAS": urls, "TOKEN": ADMIN_TOKEN, **more}


def add_many(url: str, count: int) -> None:
    """Adds so many items, each over a connection of its own."""

    def add(number: int) -> int:
        return httpx.post(f"{url}/items/n{number}", timeout=60).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(add, range(count))) == {201}


def wait_for_workers(url: str, workers: int) -> None:
    seen: set[int] = set()

    def all_seen() -> bool:
        seen.add(httpx.get(url).json())
        return len(seen) == workers

    until(all_seen)


def has(replica: PeerProcess, count: int) -> bool:
    return bool(replica.client().value(COUNT) == count)


@pytest.mark.parametrize(
    ("server", "commit", "shared"),
    [
        *product(SERVERS, ["immediate"], [False]),
        ("uvicorn-4-workers", "request", False),
        ("gunicorn-preload", "request", True),
    ],
)
def test_what_was_answered_arrives_before_the_end(
    replicas: list[PeerProcess], tmp_path: Path, server: str, commit: str, shared: bool
) -> None:
    arguments, workers = SERVERS[server]
    more = {"COMMIT": commit} | ({"SHARED_REPLICATOR": "yes"} if shared else {})
    with Primary(tmp_path / "p.db", SCHEMA) as primary:
        with ServerProcess(arguments, tmp_path, environment(tmp_path, replicas, **more)) as process:
            wait_for_workers(process.url, workers)
            add_many(process.url, REQUESTS)
            assert process.stop() in {0, -15}, process.log()
        assert "Traceback" not in process.log()
        expected = sorted(name for _, name in primary.rows("SELECT * FROM items"))
        assert len(expected) == REQUESTS
        for replica in replicas:
            found = sorted(name for (name,) in replica.client().rows("SELECT name FROM items"))
            assert found == expected
            # A clean end leaves no origin behind.
            assert replica.client().value("SELECT count(*) FROM tmp_afterquery_watermark") == 0


def test_a_replica_that_is_away_holds_the_end_up_no_longer_than_told(
    replicas: list[PeerProcess], tmp_path: Path
) -> None:
    given = environment(tmp_path, replicas, DRAIN_SECONDS="0.5")
    with Primary(tmp_path / "p.db", SCHEMA), ServerProcess(UVICORN, tmp_path, given) as process:
        add_many(process.url, 2)
        for replica in replicas:
            until(partial(has, replica, 2))
        replicas[1].kill()
        assert httpx.post(f"{process.url}/items/more", timeout=60).status_code == 201
        assert process.stop() in {0, -15}
    told = f"closed with 1 writes that replica {replicas[1].url} did not confirm"
    assert told in process.log()
    assert replicas[0].client().value(COUNT) == 3


def test_a_client_waits_for_its_own_write(replicas: list[PeerProcess], tmp_path: Path) -> None:
    with (
        Primary(tmp_path / "p.db", SCHEMA),
        ServerProcess(UVICORN, tmp_path, environment(tmp_path, replicas)) as process,
        httpx.Client(base_url=process.url) as client,
    ):
        for number in range(20):
            position = client.post(f"/items/n{number}").headers["afterquery-position"]
            answer = client.get("/settled", headers={"Afterquery-Position": position})
            assert answer.json() is True
            for replica in replicas:
                assert replica.client().value(COUNT) == number + 1
