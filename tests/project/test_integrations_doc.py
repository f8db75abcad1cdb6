"""The code of docs/integrations.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from afterquery.django.configuration import configuration
from replication.world import Primary
from support.docs import ROOT, blocks
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.serve import served

DOCUMENT = "docs/integrations.md"


def section(name: str, language: str) -> list[str]:
    """The blocks of one language below one heading."""
    text = (ROOT / DOCUMENT).read_text()
    part = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    return [block for block in blocks(DOCUMENT, language) if block in part]


def test_sqlite3(
    peer: PeerProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    programs = section("sqlite3", "python")
    shown = section("sqlite3", "text")
    assert len(programs) == len(shown) == 2
    for program, output in zip(programs, shown, strict=True):
        here = program.replace("http://127.0.0.1:9001", peer.url)
        exec(here.replace('"secret"', repr(ADMIN_TOKEN)), scope)
        assert capsys.readouterr().out == output.replace("http://127.0.0.1:9001", peer.url)
    names = ["Ada", "Grace", "Edsger", "Barbara"]
    assert peer.client().rows("SELECT name FROM users ORDER BY id") == [(name,) for name in names]


def test_fastapi(peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERQUERY_TOKEN", ADMIN_TOKEN)
    schema = "CREATE TABLE users (name TEXT); CREATE TABLE orders (name TEXT);"
    peer.client().run(schema)
    with Primary(tmp_path / "app.db", schema), Primary(tmp_path / "other.db", schema) as other:
        app, by_hand, near_a_replica = section("FastAPI and Starlette", "python")
        scope: dict[str, Any] = {"other_db": other.connection}
        for program in (app, by_hand):
            exec(program.replace("http://127.0.0.1:9001", peer.url), scope)
        with served(scope["app"], lifespan="on") as url:
            for path in ("/users/Ada", "/orders/book"):
                scope["header"] = httpx.post(url + path).headers["afterquery-position"]
                exec(near_a_replica.replace("http://127.0.0.1:9001", peer.url), scope)
                assert scope["arrived"] is True
    assert peer.client().value("SELECT name FROM users") == "Ada"
    assert peer.client().value("SELECT name FROM orders") == "book"


def test_django(peer: PeerProcess) -> None:
    """Its settings are those of the tests' project; here they only have to be right."""
    settings, asgi = section("Django", "python")
    scope: dict[str, Any] = {"os": SimpleNamespace(environ={"AFTERQUERY_TOKEN": ADMIN_TOKEN})}
    exec(settings.replace("http://127.0.0.1:9001", peer.url), scope)
    found = configuration(scope["AFTERQUERY"])
    assert scope["INSTALLED_APPS"] == ["afterquery.django"]
    assert [replica.url for replica in found.replicas] == [peer.url]
    for line in filter(None, asgi.splitlines()):
        assert line in (ROOT / "tests/django_project/asgi.py").read_text()


def test_the_keys_of_the_django_setting_and_their_defaults() -> None:
    part = (ROOT / DOCUMENT).read_text().split("\n## Django\n")[1]
    found = configuration({"REPLICAS": ["http://127.0.0.1:9001"]})
    defaults = {
        "DATABASES": f'`["{found.databases[0]}"]`',
        "CLOSE_TIMEOUT": f"{found.close_timeout:g} s",
        "TEST_DATABASES": f"`{found.test_databases}`",
    }
    for key, default in defaults.items():
        assert f"| `{key}` | {default} |" in part


def test_outbox(peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (program,) = section("The outbox", "python")
    here = program.replace("http://127.0.0.1:9001", peer.url)
    exec(here.replace('"secret"', repr(ADMIN_TOKEN)), {})
    assert peer.client().rows("SELECT what FROM sales") == [("a lamp",)]


def test_links_lead_somewhere() -> None:
    text = (ROOT / DOCUMENT).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / "docs" / link).exists(), link
