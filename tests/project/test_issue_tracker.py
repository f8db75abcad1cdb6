"""An application of somebody who does not know us gains replication by five lines."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from replication.world import Primary, assert_same, peers, until
from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

APP = ROOT / "examples/issue_tracker"
PATCH = APP / "replication.patch"
SECONDS = 100.0


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A copy of the application."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    return shutil.copytree(APP, tmp_path / "app", ignore=ignored)


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path, 2) as processes:
        yield processes


def run(app: Path, *arguments: str, **environment: str) -> str:
    """Run a Python module in the application's folder; its output."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=app,
        env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def settings(database: Path, replicas: list[PeerProcess]) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{database}",
        "REPLICAS": ",".join(process.url for process in replicas),
        "AFTERQUERY_TOKEN": ADMIN_TOKEN,
    }


def passed(output: str) -> str:
    """What pytest says at the end, without the time it took."""
    return output.splitlines()[-1].split(" in ")[0]


def test_it_knows_nothing_of_us() -> None:
    for source in APP.rglob("*.py"):
        assert "afterquery" not in source.read_text(), source


def test_five_lines_are_enough() -> None:
    lines = PATCH.read_text().splitlines()
    assert len([line for line in lines if line.startswith("+++")]) == 1
    added = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    removed = [line for line in lines if line.startswith("-") and not line.startswith("---")]
    assert len(added) <= 5
    assert not removed


@pytest.mark.slow
def test_its_own_tests_pass_and_the_replicas_are_equal(
    app: Path, tmp_path: Path, replicas: list[PeerProcess]
) -> None:
    alone = run(app, "pytest", "-q", DATABASE_URL=f"sqlite:///{tmp_path / 'alone.db'}")
    subprocess.run(["git", "apply", str(PATCH)], cwd=app, check=True)
    database = tmp_path / "replicated.db"
    replicated = run(app, "pytest", "-q", **settings(database, replicas))
    assert " passed" in alone
    assert passed(alone) == passed(replicated)
    with Primary(database) as primary:
        tables = {table.name for table in primary.tables()}
        assert {"alembic_version", "comments", "issue_labels", "issues"} <= tables
        assert_same(primary, *replicas)
        schema = "SELECT name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'tmp_%' ORDER BY 1"
        for process in replicas:
            assert process.client().rows(schema) == primary.rows(schema)


def test_it_is_served_and_replicated(
    app: Path, tmp_path: Path, replicas: list[PeerProcess]
) -> None:
    subprocess.run(["git", "apply", str(PATCH)], cwd=app, check=True)
    environment = settings(tmp_path / "served.db", replicas)
    run(app, "alembic", "upgrade", "head", **environment)
    with served(app, environment) as client:
        user = client.post("/users", json={"name": "Ada", "email": "ada@example.com"}).json()
        client.post("/projects", json={"key": "AQ", "name": "afternoon queries"})
        given = [{"title": str(n), "author_id": user["id"] if n % 2 else 99} for n in range(9)]
        counts = client.post("/projects/AQ/issues/import", json=given).json()
        assert counts == {"taken": 4, "refused": 5}
        client.put("/projects/AQ/issues/1/labels/new")
        assert client.post("/users", json={"name": "A", "email": "ada@example.com"}).is_error
    with Primary(tmp_path / "served.db") as primary:
        assert primary.rows("SELECT count(*) FROM issues") == [(4,)]
        assert_same(primary, *replicas)


@contextmanager
def served(app: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    """The application under uvicorn, ended as an operator ends it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tracker.app:app", "--port", str(port)]
    with (
        subprocess.Popen(command, cwd=app, env={**os.environ, **environment}) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SECONDS) as client,
    ):
        try:
            until(lambda: answers(client) or process.poll() is not None, "the application answers")
            yield client
        finally:
            process.terminate()
        assert process.wait(SECONDS) in {0, -15}


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/users").is_success
    except httpx.TransportError:
        return False
