"""Servers that fork their workers, with one journal's directory for all."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from replication.site import Site
from replication.world import TIMEOUT, until
from support.process import ADMIN_TOKEN
from support.program import Program

REPLICATOR = """
import os
from afterquery import Replica, Replicator

urls = enumerate(os.environ["REPLICAS"].split())
replicator = Replicator(
    [Replica(url, name=f"peer-{number}") for number, url in urls],
    auth_token=os.environ["TOKEN"],
    journal=os.environ["JOURNAL"],
    durability="process",
    retry_base=0.01,
)
INSERT = "INSERT INTO log (who, k) VALUES (?, ?)"
# Used before the workers are forked, as a cache that is warmed would.
replicator.after_query(INSERT, ("loaded", 0), 1).wait(30)

def write(k):
    replication = replicator.after_query(INSERT, ("worker", k), 1)
    return f"{replication.origin} {os.getpid()}"
"""

WSGI = (
    REPLICATOR
    + """
def app(environ, start_response):
    body = write(int(environ["PATH_INFO"][1:]))
    start_response("200 OK", [("content-type", "text/plain")])
    return [body.encode()]
"""
)

ASGI = (
    REPLICATOR
    + """
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()

@app.get("/{k}", response_class=PlainTextResponse)
async def call(k: int):
    return write(k)
"""
)

GUNICORN = ["gunicorn", "--preload", "--bind", "127.0.0.1:0", "--workers", "3"]

SERVERS = {
    "gunicorn sync": (WSGI, [*GUNICORN, "-k", "sync"]),
    "gunicorn gthread": (WSGI, [*GUNICORN, "-k", "gthread", "--threads", "4"]),
    "gunicorn uvicorn": (ASGI, [*GUNICORN, "-k", "uvicorn_worker.UvicornWorker"]),
    "uvicorn --workers 4": (ASGI, ["uvicorn", "--port", "0", "--workers", "4"]),
}

REQUESTS = 120


def _environment(site: Site) -> dict[str, str]:
    return {
        "REPLICAS": " ".join(proxy.url for proxy in site.proxies),
        "TOKEN": ADMIN_TOKEN,
        "JOURNAL": str(site.journal),
        "PYTHONPATH": str(site.folder),
    }


@contextmanager
def _serving(site: Site, server: str) -> Iterator[tuple[Program, str]]:
    code, command = SERVERS[server]
    (site.folder / "forked_app.py").write_text(code)
    whole = [sys.executable, "-m", *command, "forked_app:app"]
    folder, env = site.folder / "server", _environment(site)
    with Program(folder, "", env=env, command=whole) as program:
        address = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")
        until(lambda: address.search(program.errors), "it listens")
        found = address.search(program.errors)
        assert found is not None
        yield program, found[0]


def _get(url: str, k: int) -> str:
    answers: list[str] = []

    def answered() -> bool:
        try:
            answer = httpx.get(f"{url}/{k}", timeout=TIMEOUT)
        except httpx.TransportError:
            # No worker listens yet; nobody has heard of it.
            return False
        answers.append(answer.text)
        return answer.status_code == 200

    until(answered, "a worker answers")
    return answers[-1]


@pytest.mark.slow
@pytest.mark.parametrize("server", list(SERVERS))
def test_each_worker_has_its_own_origin_and_nothing_is_lost(site: Site, server: str) -> None:
    with _serving(site, server) as (program, url):
        with ThreadPoolExecutor(6) as pool:
            answers = set(pool.map(lambda k: _get(url, k), range(REQUESTS)))
        program.send(signal.SIGTERM)
        assert program.end(30) in (0, -signal.SIGTERM), program.errors
    origins = {answer.split()[0] for answer in answers}
    processes = {answer.split()[1] for answer in answers}
    assert len(origins) == len(processes) == len(answers) >= 1
    site.deliver()
    for number in range(2):
        assert sorted(site.written(number, "worker")) == list(range(REQUESTS))
    assert "Traceback" not in program.errors


@pytest.mark.slow
def test_a_worker_that_is_killed_leaves_its_writes_to_the_one_that_replaces_it(
    site: Site,
) -> None:
    import os

    with _serving(site, "gunicorn sync") as (program, url):
        _get(url, 0)
        site.down()
        answers = {_get(url, k) for k in range(1, 30)}
        victims = {int(answer.split()[1]) for answer in answers}
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        site.up()
        # A worker takes over when it first writes.
        k = 30
        while not site.written(0, "worker") or len(site.written(0, "worker")) < k:
            _get(url, k)
            k += 1
            assert k < 500, "nobody took over what the dead workers left"
        program.send(signal.SIGTERM)
        assert program.end(30) == 0, program.errors
    site.deliver()
    assert sorted(site.written(0, "worker")) == sorted(site.written(1, "worker")) == list(range(k))


TASKS = (
    REPLICATOR
    + """
from celery import Celery

folder = os.environ["BROKER"]
app = Celery("forked_tasks", broker="filesystem://")
app.conf.broker_transport_options = {
    "data_folder_in": folder, "data_folder_out": folder, "control_folder": folder + "-control",
}
app.conf.worker_hijack_root_logger = False

@app.task
def work(k):
    with open(os.environ["DONE"], "a") as done:
        done.write(write(k) + "\\n")
"""
)


@pytest.mark.slow
def test_celery_with_its_prefork_pool(site: Site) -> None:
    """Its children end without `atexit`: what they had not delivered is in their files."""
    (site.folder / "forked_tasks.py").write_text(TASKS)
    broker, done = site.folder / "broker", site.folder / "done.txt"
    broker.mkdir()
    done.touch()
    env = {**_environment(site), "BROKER": str(broker), "DONE": str(done)}
    send = "from forked_tasks import work\nfor k in range(60): work.delay(k)\n"
    Program(site.folder / "send", send, env=env).succeed()
    worker = [
        "-m",
        "celery",
        "-A",
        "forked_tasks",
        "worker",
        "-P",
        "prefork",
        "-c",
        "3",
        "-l",
        "info",
    ]
    command = [sys.executable, *worker]
    with Program(site.folder / "worker", "", env=env, command=command) as program:
        until(lambda: len(done.read_text().splitlines()) == 60, "the tasks are done")
        program.send(signal.SIGTERM)
        assert program.end(30) == 0, program.errors
    assert len({line.split()[0] for line in done.read_text().splitlines()}) <= 3
    site.deliver()
    for number in range(2):
        assert sorted(site.written(number, "worker")) == list(range(60))
