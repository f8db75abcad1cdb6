"""The examples run as they are told to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.serve import ServerProcess


@contextmanager
def uvicorn(app: str, folder: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    """The application under uvicorn; leaving the block stops it and expects a clean end."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--app-dir", str(ROOT / "examples")]
    with subprocess.Popen(
        [*command, "--port", str(port)], cwd=folder, env={**os.environ, **environment}
    ) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait(client, process)
                yield client
        finally:
            process.terminate()
        assert process.wait(20) in {0, -15}


def wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            client.get("/")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the example does not start")


def test_fastapi_app(peer: PeerProcess, tmp_path: Path) -> None:
    environment = {"REPLICAS": peer.url, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    with uvicorn("fastapi_app:app", tmp_path, environment) as client:
        for name in ("Ada", "O'Brien", "☃"):
            assert client.post("/users", json={"name": name}).status_code == 201
        users = client.get("/users").json()
    # The application's end has waited for the replica.
    copied = peer.client().rows("SELECT id, name FROM users ORDER BY id")
    assert copied == [(user["id"], user["name"]) for user in users]
    assert [name for _, name in copied] == ["Ada", "O'Brien", "☃"]


def test_fastapi_middleware(peer: PeerProcess, tmp_path: Path) -> None:
    environment = {"REPLICAS": peer.url, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    with uvicorn("fastapi_middleware:app", tmp_path, environment) as client:
        for name in ("Ada", "O'Brien", "☃"):
            answer = client.post("/users", json={"name": name})
            assert answer.status_code == 201
            position = answer.headers["afterquery-position"]
            settled = client.get("/settled", headers={"afterquery-position": position})
            assert settled.json() is True
            assert peer.client().value("SELECT max(id) FROM users") == answer.json()["id"]
        users = client.get("/users").json()
    copied = peer.client().rows("SELECT id, name FROM users ORDER BY id")
    assert copied == [(user["id"], user["name"]) for user in users]


def test_django_app(peer: PeerProcess, tmp_path: Path) -> None:
    environment = {"REPLICAS": peer.url, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    command = ["gunicorn", "--chdir", str(ROOT / "examples"), "django_app:application"]
    environment["DATABASE"] = str(tmp_path / "app.db")
    with ServerProcess([*command, "-b", "127.0.0.1:{port}"], tmp_path, environment) as server:
        for name in ("Ada", "O'Brien", "☃"):
            assert httpx.post(f"{server.url}/users", data={"name": name}).status_code == 201
        users = httpx.get(f"{server.url}/users").json()
        assert server.stop() == 0
    copied = peer.client().rows("SELECT id, name FROM users_user ORDER BY id")
    assert copied == [(user["id"], user["name"]) for user in users]
    assert len(copied) == 3


def test_sqlite3_app(peer: PeerProcess, tmp_path: Path) -> None:
    environment = {"REPLICAS": peer.url, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples/sqlite3_app.py")],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stderr == ""
    assert ran.stdout == f"CHECK constraint failed: balance >= 0\n{peer.url} fulfilled\n"
    rows = peer.client().rows("SELECT name, balance FROM accounts ORDER BY name")
    assert rows == [("Ada", 70), ("Eve", 50)]


def test_outbox_app(peer: PeerProcess, tmp_path: Path) -> None:
    environment = {"REPLICAS": peer.url, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples/outbox_app.py")],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("sold by 0 1 2 3\n", "")
    assert peer.client().rows("SELECT n FROM stock") == [(0,)]
    sold = peer.client().rows("SELECT n_left FROM sales ORDER BY rowid")
    assert sold == [(left,) for left in reversed(range(100))]
