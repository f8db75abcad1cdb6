"""The README's code does what the README says."""

from __future__ import annotations

import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from afterquery import Replicator, cli
from support.docs import ROOT, blocks
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN


def here(code: str, peer: PeerProcess) -> str:
    """The code as it stands there, aimed at this test's replica."""
    return code.replace("http://127.0.0.1:9001", peer.url).replace('"secret"', repr(ADMIN_TOKEN))


def test_first_program(
    peer: PeerProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(here(blocks("README.md", "python")[0], peer), {})
    assert capsys.readouterr().out == here(blocks("README.md", "text")[0], peer)
    assert peer.client().rows("SELECT name FROM users") == [("Ada",)]


def test_transaction(peer: PeerProcess) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    with Replicator([peer.url], auth_token=ADMIN_TOKEN, ddl=True) as replicator:
        schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"
        replicator.after_query(schema, (), db.execute(schema))
        exec(blocks("README.md", "python")[3], {"db": db, "replicator": replicator})
        assert replicator.flush(timeout=10)
    assert peer.client().rows("SELECT id, name FROM users") == [(1, "Grace"), (2, "Edsger")]
    db.close()


def test_freezing(peer: PeerProcess) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    with Replicator([peer.url], auth_token=ADMIN_TOKEN, ddl=True) as replicator:
        schema = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"
        replicator.after_query(schema, (), db.execute(schema))
        exec(blocks("README.md", "python")[4], {"db": db, "replicator": replicator})
        assert replicator.flush(timeout=10)
    rows = db.execute("SELECT id, name FROM users").fetchall()
    assert len(rows) == 1
    assert peer.client().rows("SELECT id, name FROM users") == rows
    db.close()


def test_journal(peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is rejected is replayed once its table is there."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"Replicator": Replicator, "urls": [peer.url], "token": ADMIN_TOKEN}
    exec(blocks("README.md", "python")[1], names)
    with names["replicator"] as replicator:
        (outcome,) = replicator.after_query("INSERT INTO late VALUES (1)").wait(timeout=10)
        assert outcome.status == "rejected"
        peer.client().query("CREATE TABLE late (id INTEGER PRIMARY KEY)")
        exec(blocks("README.md", "python")[2], names)
        assert replicator.flush(timeout=10)
        assert replicator.dead_letters() == []
    assert peer.client().rows("SELECT id FROM late") == [(1,)]
    assert list((tmp_path / "var/replication").iterdir()) == []


def test_no_python_block_is_left_untested() -> None:
    assert len(blocks("README.md", "python")) == 5


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_commands_exist(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in "".join(blocks(document, "sh")).splitlines():
        words = [word for word in shlex.split(line, comments=True) if "=" not in word]
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "afterquery":
            cli.parser().parse_args(words[1:])
        else:
            assert words[:2] == ["pip", "install"], line


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert link.startswith("https://") or (ROOT / link).exists(), link


@pytest.mark.parametrize("command", ["", "peer", "relay", "demo", "explain", "lint"])
def test_help_is_in_step(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "90")
    call = ["afterquery", *([command] if command else []), "--help"]
    with pytest.raises(SystemExit, match="0"):
        cli.main(call[1:])
    expected = f"$ {' '.join(call)}\n{capsys.readouterr().out}"
    shown = [block.split() for block in blocks("README.md", "text")]
    assert expected.split() in shown, f"put this into the README:\n{expected}"


def test_settings_and_their_defaults() -> None:
    """The table names every setting of `Replicator`, each with the stub's default."""
    readme = (ROOT / "README.md").read_text()
    stub = (ROOT / "python/afterquery/_core.pyi").read_text()
    signature = stub.split("class Replicator:")[1].split(") ->")[0]
    for name, default in re.findall(r"(\w+): [^=\n]+ = ([^,\n]+)", signature):
        row = next((line for line in readme.splitlines() if f"`{name}`" in line), None)
        assert row is not None, name
        assert any(form in row for form in forms(default)), (name, default, row)


def forms(default: str) -> list[str]:
    """How a default may be written for people."""
    if not default[0].isdigit():
        return ["none", "all"] if default == "None" else [default]
    value = float(default)
    number = f"{value:,.0f}" if value.is_integer() else str(value)
    return [number, f"{number} s", f"{value / 2**20:.0f} MiB"]
