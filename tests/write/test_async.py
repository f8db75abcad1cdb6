"""On an event loop: nothing blocks it, and handles can be awaited from any of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from afterquery import NotSettledError, Replica, Replicator
from replication.world import TIMEOUT, connect, fulfilled, of, peers, prepare, replica
from support import faults
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.proxy import Proxy

SCHEMA = "CREATE TABLE log (n INTEGER PRIMARY KEY, v)"
INSERT = "INSERT INTO log (v) VALUES (?)"
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("async"), 2) as processes:
        prepare(SCHEMA, *processes)
        yield processes


@pytest.fixture
def processes(running: list[PeerProcess]) -> list[PeerProcess]:
    prepare("DELETE FROM log", *running)
    return running


def _values(process: PeerProcess) -> list[int]:
    return [value for (value,) in process.client().rows("SELECT v FROM log ORDER BY n")]


def test_a_handle_can_be_awaited(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        async with connect(*processes) as replicator:
            assert isinstance(replicator, Replicator)
            replication = replicator.after_query(INSERT, (1,), 1)
            assert replication is not None
            outcomes = await replication
            assert [outcome.status for outcome in outcomes] == ["fulfilled", "fulfilled"]
            assert replication.settled
            # Once more, now that it is settled; and in the blocking way.
            assert await replication == outcomes
            assert replication.wait(0) == outcomes

    asyncio.run(main())
    assert [_values(process) for process in processes] == [[1], [1]]


def test_many_are_gathered(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        async with connect(*processes) as replicator:
            handles = [replicator.after_query(INSERT, (n,)) for n in range(1_000)]
            settled = await asyncio.gather(*[handle for handle in handles if handle is not None])
            assert len(settled) == 1_000
            assert all(o.status == "fulfilled" for outcomes in settled for o in outcomes)

    asyncio.run(main())
    assert [_values(process) for process in processes] == [list(range(1_000))] * 2


def test_one_handle_is_awaited_by_many(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        async with connect(*processes) as replicator:
            replication = replicator.after_query(INSERT, (1,))
            assert replication is not None

            async def wait() -> int:
                return len(await replication)

            assert await asyncio.gather(*[wait() for _ in range(50)]) == [2] * 50

    asyncio.run(main())


def test_several_event_loops_one_after_another(processes: list[PeerProcess]) -> None:
    with connect(*processes) as replicator:

        async def write(number: int) -> None:
            replication = replicator.after_query(INSERT, (number,), 1)
            assert replication is not None
            assert {outcome.status for outcome in await replication} == {"fulfilled"}

        for number in range(5):
            asyncio.run(write(number))
        kept = replicator.after_query(INSERT, (5,))
        assert kept is not None

        async def wait() -> None:
            await kept

        asyncio.run(wait())
        asyncio.run(wait())
    assert _values(processes[0]) == list(range(6))


def test_a_loop_that_ends_before_the_write_settles_harms_nothing(
    processes: list[PeerProcess],
) -> None:
    with (
        Proxy(processes[0].url, faults.always(faults.CutBeforeRequest())) as proxy,
        connect(replica(processes[0], url=proxy.url)) as replicator,
    ):
        replication = replicator.after_query(INSERT, (1,), 1)
        assert replication is not None

        async def give_up() -> None:
            task = asyncio.ensure_future(replication)
            await asyncio.sleep(0)
            assert not task.done()

        asyncio.run(give_up())
        # The awaited future's loop is closed when the outcome comes.
        proxy.set(faults.Pass())
        fulfilled(replication)
        fulfilled(replicator.after_query(INSERT, (2,), 1))
    assert _values(processes[0]) == [1, 2]


def test_cancelling_who_awaits_does_not_cancel_the_write(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        with Proxy(processes[0].url, faults.always(faults.CutBeforeRequest())) as proxy:
            async with connect(replica(processes[0], url=proxy.url)) as replicator:
                replication = replicator.after_query(INSERT, (1,), 1)
                assert replication is not None

                async def wait() -> None:
                    await replication

                tasks = [asyncio.create_task(wait()) for _ in range(3)]
                await asyncio.sleep(0)
                tasks[0].cancel()
                with pytest.raises(asyncio.CancelledError):
                    await tasks[0]
                assert not replication.settled
                proxy.set(faults.Pass())
                await asyncio.gather(*tasks[1:])
                assert [o.status for o in await replication] == ["fulfilled"]

    asyncio.run(main())
    assert _values(processes[0]) == [1]


def test_wait_for_gives_up_and_the_write_goes_on(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        with Proxy(processes[0].url, faults.always(faults.Hang())) as proxy:
            target = replica(processes[0], url=proxy.url)
            async with connect(target, request_timeout=0.2) as replicator:
                replication = replicator.after_query(INSERT, (1,), 1)
                assert replication is not None
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(replication, 0.05)
                assert await replicator.aflush(timeout=0.01) is False
                proxy.set(faults.Pass())
                outcomes = await asyncio.wait_for(replication, TIMEOUT)
                assert [outcome.status for outcome in outcomes] == ["fulfilled"]
                assert await replicator.aflush() is True
                assert await replicator.aflush(timeout=0) is True

    asyncio.run(main())
    assert _values(processes[0]) == [1]


def test_the_loop_runs_on_while_something_is_awaited() -> None:
    async def main() -> None:
        replicator = connect(Replica(NOBODY, name="dead"))
        replication = replicator.after_query(INSERT, (1,))
        assert replication is not None
        waiting = asyncio.ensure_future(replication)
        closing = asyncio.ensure_future(replicator.aclose(timeout=0.3))
        turns = 0
        while not closing.done():
            await asyncio.sleep(0.001)
            turns += 1
        # Were the loop held by the close, there would have been none.
        assert turns > 20
        assert closing.result() is False
        (outcome,) = await waiting
        assert (outcome.reason or "").startswith("closed: ")

    asyncio.run(main())


def test_async_with_lets_the_blocks_exception_pass(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        async with connect(*processes) as replicator:
            replicator.after_query(INSERT, (1,))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert _values(processes[0]) == [1]


def test_closing_twice_and_both_ways(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        replicator = connect(*processes)
        replicator.after_query(INSERT, (1,))
        assert all(await asyncio.gather(replicator.aclose(), replicator.aclose()))
        assert replicator.close() is True
        assert await replicator.aclose(None) is True

    asyncio.run(main())
    assert _values(processes[0]) == [1]


def test_awaiting_without_a_loop_is_an_error(processes: list[PeerProcess]) -> None:
    with connect(*processes) as replicator:
        replication = replicator.after_query(INSERT, (1,))
        assert replication is not None
        with pytest.raises(RuntimeError, match="no running event loop"):
            replication.__await__()
        fulfilled(replication)


def test_waiting_in_a_thread_of_the_loops(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        async with connect(Replica(NOBODY, name="dead"), *processes) as replicator:
            replication = replicator.after_query(INSERT, (1,))
            assert replication is not None
            with pytest.raises(NotSettledError):
                await asyncio.to_thread(replication.wait, 0.05)
            await replicator.aclose(timeout=0)
            assert len(await asyncio.to_thread(replication.wait)) == 3

    asyncio.run(main())


APP = """
import os, sqlite3, threading
from contextlib import asynccontextmanager
from fastapi import FastAPI
from afterquery import Replicator

INSERT = "INSERT INTO log (v) VALUES (?)"
replicas = os.environ["REPLICAS"].split()
lock = threading.Lock()

@asynccontextmanager
async def lifespan(app):
    global db, replicator
    db = sqlite3.connect(os.environ["DB"], isolation_level=None, check_same_thread=False)
    db.execute("CREATE TABLE log (n INTEGER PRIMARY KEY, v)")
    async with Replicator(replicas, auth_token=os.environ["TOKEN"]) as replicator:
        yield

app = FastAPI(lifespan=lifespan)

def write(value):
    # One connection for all threads; and the order of the calls is that of the writes.
    with lock:
        return replicator.after_query(INSERT, (value,), db.execute(INSERT, (value,)))

@app.post("/async/{value}")
async def of_the_loop(value: int):
    write(value)

@app.post("/sync/{value}")
def of_a_thread(value: int):
    write(value)

@app.post("/settled/{value}")
async def until_settled(value: int):
    return [outcome.status for outcome in await write(value)]

@app.get("/count")
def count():
    sql = "SELECT count(*) FROM log"
    with lock:
        rows = db.execute(sql).fetchall()
    assert replicator.after_query(sql, None, rows) is None
    return rows[0][0]
"""


@contextlib.contextmanager
def _served(folder: Path, replicas: list[PeerProcess]) -> Iterator[str]:
    """The application under uvicorn, as it would be run."""
    (folder / "the_app.py").write_text(APP)
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "the_app:app", "--port", "0", "--app-dir", str(folder)],
        env={
            **os.environ,
            "DB": str(folder / "primary.db"),
            "REPLICAS": " ".join(process.url for process in replicas),
            "TOKEN": ADMIN_TOKEN,
        },
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert server.stderr is not None
    lines: list[str] = []
    try:
        while True:
            line = server.stderr.readline()
            assert line, "".join(lines)
            lines.append(line)
            if "running on " in line:
                break
        yield line.split("running on ")[1].split()[0]
    finally:
        server.terminate()
        _, rest = server.communicate(timeout=TIMEOUT)
    assert "Traceback" not in rest, rest


def test_a_fastapi_application_under_uvicorn(tmp_path: Path, processes: list[PeerProcess]) -> None:
    async def main(url: str) -> None:
        limits = httpx.Limits(max_connections=8)
        async with httpx.AsyncClient(base_url=url, timeout=TIMEOUT, limits=limits) as client:

            async def send(value: int) -> None:
                kind = ("async", "sync", "settled")[value % 3]
                answer = await client.post(f"/{kind}/{value}")
                assert answer.status_code == 200, answer.text
                if kind == "settled":
                    assert answer.json() == ["fulfilled", "fulfilled"]
                if value % 10 == 0:
                    assert (await client.get("/count")).json() >= 1

            await asyncio.gather(*[send(value) for value in range(300)])

    with _served(tmp_path, processes) as url:
        asyncio.run(main(url))
    # SIGTERM has ended it in order: nothing is pending. The primary tells the order.
    with contextlib.closing(sqlite3.connect(tmp_path / "primary.db")) as primary:
        values = [value for (value,) in primary.execute("SELECT v FROM log ORDER BY n")]
    assert sorted(values) == list(range(300))
    assert [_values(process) for process in processes] == [values, values]


def test_stats_and_skips_from_a_coroutine(processes: list[PeerProcess]) -> None:
    async def main() -> None:
        async with connect(*processes) as replicator:
            for number in range(20):
                assert replicator.after_query("SELECT 1") is None
                replicator.after_query(INSERT, (number,))
                await asyncio.sleep(0)
            assert await replicator.aflush(TIMEOUT)
            assert replicator.stats().skipped["read"] == 20
            assert of(replicator, processes[0].name).fulfilled == 20

    asyncio.run(main())


CLOSED_LOOP = """
import asyncio, sys
from afterquery import Replica, Replicator

replicator = Replicator([Replica(sys.argv[1], auth_token=sys.argv[2], name="peer")], retry_max=0.1)
handle = replicator.after_query("INSERT INTO log (v) VALUES (1)", (), 1)

async def wait():
    return await handle

async def main():
    asyncio.ensure_future(wait())
    asyncio.ensure_future(replicator.aflush(None))
    await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
print("closed", flush=True)
sys.stdin.readline()
assert replicator.flush(60) and handle.settled
assert asyncio.run(wait())[0].status == "fulfilled"
replicator.close(10)
"""


def test_an_answer_for_a_loop_that_is_closed_is_dropped_without_a_word(
    processes: list[PeerProcess],
) -> None:
    def until_it_may(_: object) -> faults.Fault:
        return faults.Pass() if may else faults.CutBeforeRequest()

    may = False
    with Proxy(processes[0].url, until_it_may) as proxy:
        command = [sys.executable, "-c", CLOSED_LOOP, proxy.url, ADMIN_TOKEN]
        program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "closed\n"
        may = True
        _, errors = program.communicate("\n", TIMEOUT)
    assert program.returncode == 0, errors
    assert "Event loop is closed" not in errors
    assert _values(processes[0]) == [1]
