"""The examples and the documentation of SQLAlchemy and SQLModel run as they are told to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from afterquery import Replicator
from afterquery.sqlalchemy import attach
from replication.world import Primary, assert_same, until
from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

DOCUMENT = ROOT / "docs/integrations.md"


def environment(peer: PeerProcess, folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "REPLICAS": peer.url,
        "AFTERQUERY_TOKEN": ADMIN_TOKEN,
        "DATABASE_URL": f"sqlite:///{folder / 'app.db'}",
    }


def test_sqlalchemy_app(peer: PeerProcess, tmp_path: Path) -> None:
    output = subprocess.run(
        [sys.executable, ROOT / "examples/sqlalchemy_app.py"],
        env=environment(peer, tmp_path),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert output.splitlines() == ["Ada, Grace", f"{peer.url} fulfilled"]
    with Primary(tmp_path / "app.db") as primary:
        assert_same(primary, peer)


def test_sqlmodel_app(peer: PeerProcess, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "sqlmodel_app:app", "--port", str(port)]
    with (
        subprocess.Popen(
            [*command, "--app-dir", str(ROOT / "examples")],
            env=environment(peer, tmp_path),
            cwd=tmp_path,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        try:
            until(lambda: answers(client) or process.poll() is not None, "the example answers")
            for name in ("Deadpond", "Rusty-Man"):
                assert client.post("/heroes", json={"name": name}).status_code == 201
            heroes = client.get("/heroes").json()
        finally:
            process.terminate()
        assert process.wait(20) in {0, -15}
    assert [hero["name"] for hero in heroes] == ["Deadpond", "Rusty-Man"]
    copied = peer.client().rows("SELECT id, name FROM hero ORDER BY name")
    assert copied == [(hero["id"], hero["name"]) for hero in heroes]


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/heroes").is_success
    except httpx.TransportError:
        return False


def code(section: str) -> list[str]:
    """The Python blocks of one section of the document."""
    text = DOCUMENT.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [block.split("```")[0] for block in text.split("```python\n")[1:]]


def test_the_blocks_of_sqlalchemy(
    peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = code("SQLAlchemy")
    assert len(blocks) == 3
    names: dict[str, Any] = {
        "create_async_engine": create_async_engine,
        "attach": attach,
        "create_engine": create_engine,
    }
    with Replicator([peer.url], auth_token=ADMIN_TOKEN, ddl=True) as replicator:
        for block in blocks:
            exec(block, names | {"replicator": replicator})
        assert replicator.flush(10)
    assert peer.client().rows("SELECT name FROM users") == [("Ada",)]


def test_the_blocks_of_sqlmodel(
    peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = code("SQLModel")
    with Replicator([peer.url], auth_token=ADMIN_TOKEN, ddl=True) as replicator:
        exec(block, {"replicator": replicator, "__name__": "block"})
        assert replicator.flush(10)
    assert peer.client().rows("SELECT name FROM villain") == [("Thinker",)]
