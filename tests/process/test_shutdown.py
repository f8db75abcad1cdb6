"""However a process ends: nothing hangs, what is left is told, and the next one delivers it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from replication.site import Site, proxied_peers
from replication.world import TIMEOUT, until
from support import faults
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.program import Program

WITHIN = 12.0
"""Seconds for a whole program: its start, 5 s for the replicas, and what else it does."""

WAYS = {
    "close": "replicator.close(0.2)",
    "close without a deadline, from another thread": """
        threading.Timer(0.2, lambda: replicator.close(0.1)).start()
        replicator.close(None)
    """,
    "with": """
        with replicator:
            pass
    """,
    "async with": """
        import asyncio
        async def main():
            async with replicator:
                pass
        asyncio.run(main())
    """,
    "aclose": """
        import asyncio
        async def main():
            assert await replicator.aclose(0.2) is False
        asyncio.run(main())
    """,
    "an aclose that is given up": """
        import asyncio
        async def main():
            try:
                await asyncio.wait_for(replicator.aclose(None), 0.1)
            except asyncio.TimeoutError:
                pass
        asyncio.run(main())
    """,
    "a loop that is closed while a write is awaited": """
        import asyncio
        loop = asyncio.new_event_loop()
        async def wait():
            await handles[0]
        task = loop.create_task(wait())
        loop.run_until_complete(asyncio.sleep(0.05))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
    """,
    "a loop that is stopped and never closed": """
        import asyncio
        loop = asyncio.new_event_loop()
        async def start():
            asyncio.ensure_future(replicator.aclose(None))
            await asyncio.sleep(0.05)
        loop.run_until_complete(start())
    """,
    "garbage": "del replicator",
    "the end of the interpreter": "",
    "an exception": "raise SystemExit(0)",
    "twice at once": """
        threads = [threading.Thread(target=replicator.close, args=(0.2,)) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """,
    "daemon threads that go on writing": """
        def work(number):
            while True:
                write(replicator, f"daemon-{number}", 0)
                time.sleep(0.001)
        for number in range(3):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        time.sleep(0.05)
    """,
    "a daemon thread that waits": """
        def wait():
            try:
                handles[0].wait()
            except NotSettledError:
                pass
        threading.Thread(target=wait, daemon=True).start()
        threading.Thread(target=replicator.flush, daemon=True).start()
        time.sleep(0.05)
    """,
}

REPLICAS = ["down", "hanging"]


def _program(site: Site, way: str, settings: str = "") -> Program:
    code = f"""
replicator = connect({settings})
handles = [write(replicator, "left", k) for k in range(10)]
"""
    return site.program(code + textwrap.dedent(way))


@pytest.mark.slow
@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize("way", WAYS)
def test_it_ends_in_time_tells_what_is_left_and_the_next_process_delivers(
    site: Site, way: str, replicas: str
) -> None:
    if replicas == "down":
        site.down()
    else:
        for proxy in site.proxies:
            proxy.set(faults.Hang())
    program = _program(site, WAYS[way])
    assert program.end(WITHIN) == 0, program.errors
    told = re.findall(
        r"closed with (\d+) writes that replica (peer-\d) did not confirm"
        r".*; they are kept in (\S+),",
        program.errors,
    )
    assert [(name, where) for _, name, where in told] == [
        ("peer-0", str(site.journal)),
        ("peer-1", str(site.journal)),
    ], program.errors
    assert all(int(count) >= 10 for count, _, _ in told)
    assert "Traceback" not in program.errors
    site.up()
    site.deliver()
    assert site.written(0, "left") == site.written(1, "left") == list(range(10))


@pytest.mark.parametrize("way", ["close", "the end of the interpreter", "async with"])
def test_without_a_journal_it_is_told_what_is_lost(site: Site, way: str) -> None:
    site.down(1)
    program = _program(site, WAYS[way], "journal=None")
    assert program.end(WITHIN) == 0
    assert "closed with 10 writes that replica peer-1 did not confirm" in program.errors
    assert "peer-0" not in program.errors
    assert "kept" not in program.errors
    assert site.written(0) == list(range(10))


@pytest.mark.parametrize("durability", ["async", "process"])
@pytest.mark.parametrize("way", ["with", "async with", "the end of the interpreter"])
def test_with_live_replicas_everything_is_delivered_first(
    site: Site, way: str, durability: str
) -> None:
    program = _program(site, WAYS[way], f"durability='{durability}'").succeed(WITHIN)
    assert program.errors == ""
    assert site.written(0) == site.written(1) == list(range(10))
    site.gone()


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_write_after_close_is_rejected_at_once(site: Site, durability: str) -> None:
    code = f"""
        replicator = connect(durability="{durability}")
        replicator.close(0)
        (outcome, _) = write(replicator, "late", 0).wait(1)
        assert outcome.reason.startswith("closed: "), outcome
        say("rejected")
    """
    with site.program(code) as program:
        program.expect("rejected", 5)
        program.succeed(WITHIN)


def test_a_second_close_says_the_same_as_the_first(site: Site) -> None:
    site.down()
    code = """
        replicator = connect()
        write(replicator, "left", 0)
        assert replicator.close(0.1) is False
        assert replicator.flush(0.1) is False
        assert replicator.close(0.1) is False
    """
    site.program(code).succeed(WITHIN)


CTRL_C = {
    "flush": "replicator.flush()",
    "wait": "handles[0].wait()",
    "close": "replicator.close(None)",
    "with": "replicator.__exit__(None, None, None)",
    "exit": "sys.exit(0)",
}


@pytest.mark.parametrize("call", CTRL_C)
def test_ctrl_c(site: Site, call: str) -> None:
    site.down()
    way = f"""
say("now")
try:
    {CTRL_C[call]}
except KeyboardInterrupt:
    say("interrupted")
"""
    with _program(site, way) as program:
        program.expect("now")
        if call == "exit":
            # While the interpreter ends it finishes within its deadline all the same.
            program.send(signal.SIGINT)
            program.end(WITHIN)
        else:
            program.send(signal.SIGINT)
            program.expect("interrupted")
            program.succeed(WITHIN)
    site.up()
    site.deliver()
    assert site.written(0) == list(range(10))


def test_close_from_a_signal_handler(site: Site) -> None:
    """As servers do that handle SIGTERM in Python."""
    site.down()
    way = """
def stop(*_):
    replicator.close(0.1)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
say("now")
while True:
    write(replicator, "more", 0)
    time.sleep(0.001)
"""
    with _program(site, way, "durability='process'") as program:
        program.expect("now")
        program.send(signal.SIGTERM)
        program.succeed(WITHIN)
    site.up()
    site.deliver()
    assert site.written(0, "left") == list(range(10))


def test_many_hanging_replicas_share_one_deadline(tmp_path: Path) -> None:
    """They have everything, and hang when they are to be left tidy."""
    with proxied_peers(tmp_path, 4) as running:
        site = Site(tmp_path, *running)
        way = """
assert replicator.flush(30)
say("now")
while not os.path.exists("go"):
    time.sleep(0.01)
began = time.monotonic()
replicator.close(0.5)
say(time.monotonic() - began)
"""
        with _program(site, way) as program:
            program.expect("now")
            for proxy in site.proxies:
                proxy.set(faults.Hang())
            (tmp_path / "program" / "go").touch()
            program.succeed(WITHIN)
    assert float(program.lines[-1]) < 2.5


APP = """
import os
from contextlib import asynccontextmanager
from fastapi import FastAPI
from afterquery import Replica, Replicator

def connect():
    urls = enumerate(os.environ["REPLICAS"].split())
    replicas = [Replica(url, name=f"peer-{n}") for n, url in urls]
    quick = {"auth_token": os.environ["TOKEN"], "retry_base": 0.01, "retry_max": 0.2}
    return Replicator(replicas, journal=os.environ["JOURNAL"], **quick)

@asynccontextmanager
async def lifespan(app):
    async with connect() as app.state.replicator:
        yield

app = FastAPI(lifespan=lifespan)

@app.post("/{k}")
async def write(k: int):
    sql = "INSERT INTO log (who, k) VALUES (?, ?)"
    return app.state.replicator.after_query(sql, ("app", k), 1).seq
"""

SERVERS = {
    "uvicorn": ["uvicorn", "--port", "0"],
    "uvicorn with workers": ["uvicorn", "--port", "0", "--workers", "2"],
    "gunicorn": ["gunicorn", "-k", "uvicorn_worker.UvicornWorker", "-b", "127.0.0.1:0", "-w", "2"],
}


@contextmanager
def _serving(site: Site, server: str) -> Iterator[tuple[Program, str]]:
    (site.folder / "shutdown_app.py").write_text(APP)
    command = [sys.executable, "-m", *SERVERS[server], "shutdown_app:app"]
    env = {
        "REPLICAS": " ".join(proxy.url for proxy in site.proxies),
        "TOKEN": ADMIN_TOKEN,
        "JOURNAL": str(site.journal),
        "PYTHONPATH": str(site.folder),
    }
    with Program(site.folder / "server", "", env=env, command=command) as program:
        url = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")
        ready = "Application startup complete" if server != "gunicorn" else "Listening at"
        until(lambda: ready in program.errors and url.search(program.errors), "it serves")
        found = url.search(program.errors)
        assert found is not None
        yield program, found[0]


@pytest.mark.parametrize("server", SERVERS)
def test_sigterm_to_a_server_delivers_and_says_what_is_left(site: Site, server: str) -> None:
    site.down(1)
    with _serving(site, server) as (program, url):
        until(lambda: _post(url, 0), "a worker answers")
        for k in range(1, 30):
            assert _post(url, k)
        program.send(signal.SIGTERM)
        status = program.end(20)
    assert status in (0, -signal.SIGTERM), program.errors
    assert "did not confirm" in program.errors
    assert str(site.journal) in program.errors
    assert sorted(set(site.written(0))) == list(range(30))
    site.up()
    site.deliver()
    assert sorted(site.written(1)) == sorted(site.written(0))


def _post(url: str, k: int) -> bool:
    try:
        return httpx.post(f"{url}/{k}", timeout=TIMEOUT).status_code == 200
    except httpx.TransportError:
        return False


def test_a_peer_that_stands_still(site: Site, tmp_path: Path) -> None:
    """The replica's process is stopped: it takes connections and never answers."""
    with PeerProcess(tmp_path / "own") as peer:
        peer.client().run("CREATE TABLE log (n INTEGER PRIMARY KEY, who TEXT, k INT)")
        code = """
            replicator = connect()
            fulfilled(write(replicator, "one", 0))
            say("now")
            while not os.path.exists("go"):
                time.sleep(0.01)
            write(replicator, "one", 1)
        """
        own = Site(tmp_path, [peer], site.proxies[:0])
        env = {"REPLICAS": peer.url}
        with own.program(code, **env) as program:
            program.expect("now")
            listed = subprocess.run(
                ["pgrep", "-f", str(peer.db)], capture_output=True, text=True, check=True
            )
            pids = [int(pid) for pid in listed.stdout.split()]
            _signal(pids, signal.SIGSTOP)
            (tmp_path / "program" / "go").touch()
            assert program.end(WITHIN) == 0
            _signal(pids, signal.SIGCONT)
        assert "closed with 1 writes that replica peer-0 did not confirm" in program.errors


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)
