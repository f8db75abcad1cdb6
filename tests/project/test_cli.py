"""The `afterquery` command."""

from __future__ import annotations

import os
import selectors
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import afterquery.sqlite3
from afterquery import __version__, cli, outbox
from support.client import Client
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

Output = pytest.CaptureFixture[str]


def test_version(capsys: Output) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"afterquery {__version__}\n"


def test_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "afterquery", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"afterquery {__version__}\n"


def test_a_command_is_required(capsys: Output) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main([])
    assert "COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize("token", [None, ""])
def test_peer_refuses_to_start_without_a_token(
    token: str | None, tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFTERQUERY_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("AFTERQUERY_TOKEN", token)
    assert cli.main(["peer", "--db", str(tmp_path / "copy.db")]) == 2
    assert "set AFTERQUERY_TOKEN" in capsys.readouterr().err
    assert not (tmp_path / "copy.db").exists()


def test_peer_says_what_is_wrong_with_its_file(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERQUERY_TOKEN", "a-token-of-some-length")
    assert cli.main(["peer", "--db", str(tmp_path / "no" / "copy.db")]) == 2
    assert "afterquery: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "packages"),
    [("peer --db copy.db", "uvicorn"), ("demo", "fastapi, httpx, rich, uvicorn")],
)
def test_missing_packages_are_named(
    command: str, packages: str, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERQUERY_TOKEN", "a-token-of-some-length")
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    assert cli.main(command.split()) == 2
    extra = command.split()[0]
    expected = f"afterquery: this needs {packages}: pip install 'afterquery[{extra}]'\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("number", ["-1", "65536", "http"])
def test_a_port_is_a_port(number: str, capsys: Output) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["peer", "--db", "copy.db", "--port", number])
    assert "--port" in capsys.readouterr().err


def test_demo_needs_a_replica(capsys: Output) -> None:
    assert cli.main(["demo", "--replicas", "0"]) == 2
    assert "--replica-url" in capsys.readouterr().err


def test_demo_needs_the_token_of_a_given_replica(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AFTERQUERY_TOKEN", raising=False)
    assert cli.main(["demo", "--replica-url", "https://db.example.com"]) == 2
    assert "set AFTERQUERY_TOKEN to the token of https://db.example.com" in capsys.readouterr().err


def test_explain_a_write_and_a_read(capsys: Output) -> None:
    assert cli.main(["explain", "INSERT INTO main.users VALUES (1); SELECT 1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "replicated: yes"
    assert "  table:  main.users" in lines
    assert "  kind:   read" in lines


@pytest.mark.parametrize(
    ("arguments", "replicated"),
    [
        (["CREATE TABLE users (id)"], "no"),
        (["CREATE TABLE users (id)", "--ddl"], "yes"),
        (["DELETE FROM users", "--table", "USERS"], "yes"),
        (["DELETE FROM orders", "--table", "users", "--table", "prices"], "no"),
    ],
)
def test_explain_follows_the_settings(
    arguments: list[str], replicated: str, capsys: Output
) -> None:
    assert cli.main(["explain", *arguments]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"replicated: {replicated}"


def test_explain_ends_as_a_process(tmp_path: Path) -> None:
    """The interpreter ends while the replicator's threads have just been stopped."""
    command = [sys.executable, "-m", "afterquery", "explain", "SELECT 1"]
    for _ in range(5):
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_peer_serves_and_stops(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "afterquery", "peer", "--db", "copy.db", "--port", "0"]
    environment = {**os.environ, "AFTERQUERY_TOKEN": "writes", "AFTERQUERY_READ_TOKEN": "reads"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            url = listening(process)
            assert Client(url, "writes").query("CREATE TABLE t (n)").status == 200
            assert Client(url, "reads").rows("SELECT count(*) FROM t") == [(0,)]
            assert Client(url, "reads").query("INSERT INTO t VALUES (1)").status != 200
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert (tmp_path / "copy.db").exists()


def listening(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(30), "it does not say that it listens"
    return process.stdout.readline().rpartition(" ")[2].strip()


def relay_command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "afterquery", "relay", "--db", str(folder / "app.db"), *arguments]


def application(folder: Path, *names: str) -> None:
    """Writes through an outbox."""
    db = afterquery.sqlite3.connect(folder / "app.db", outbox=True, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS t (name)")
    for name in names:
        db.execute("INSERT INTO t VALUES (?)", (name,))
    db.close()


@pytest.mark.parametrize(
    ("arguments", "token", "problem"),
    [
        ([], "a-token", "a relay needs a replica"),
        (["--replica", "http://127.0.0.1:9"], "", "set AFTERQUERY_TOKEN"),
        (["--replica", "no url", "--once"], "a-token", "no url"),
    ],
)
def test_relay_says_what_is_wrong(
    arguments: list[str], token: str, problem: str, tmp_path: Path
) -> None:
    application(tmp_path)
    environment = {**os.environ, "AFTERQUERY_TOKEN": token}
    command = relay_command(tmp_path, *arguments)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert problem in done.stderr
    assert token == "" or token not in done.stderr


def test_relay_makes_no_database(tmp_path: Path, capsys: Output) -> None:
    assert cli.main(["relay", "--db", str(tmp_path / "no.db"), "--replica", "http://x"]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "no.db").exists()


def test_relay_once_and_until_it_is_told(tmp_path: Path, peer: PeerProcess) -> None:
    environment = {**os.environ, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    command = relay_command(tmp_path, "--replica", peer.url, "--ddl")
    application(tmp_path, "a")
    done = subprocess.run(
        [*command, "--once"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"relaying {tmp_path / 'app.db'}\n"
    assert peer.client().rows("SELECT name FROM t") == [("a",)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("relaying ")
            application(tmp_path, "b", "c")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert peer.client().rows("SELECT name FROM t") == [("a",), ("b",), ("c",)]


def test_relay_once_tells_what_was_not_delivered(tmp_path: Path) -> None:
    environment = {**os.environ, "AFTERQUERY_TOKEN": ADMIN_TOKEN}
    command = relay_command(tmp_path, "--replica", "http://127.0.0.1:9", "--ddl", "--once")
    application(tmp_path, "a")
    done = subprocess.run(
        [*command, "--timeout", "0.5"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "not all is delivered" in done.stderr


def test_relay_begins_anew(tmp_path: Path, capsys: Output) -> None:
    application(tmp_path, "a", "b")
    assert cli.main(["relay", "--db", str(tmp_path / "app.db"), "--reset"]) == 0
    with closing(sqlite3.connect(tmp_path / "app.db")) as plain:
        assert outbox.pending(plain) == []
        assert outbox.acquire(plain, "somebody", 60)
    assert cli.main(["relay", "--db", str(tmp_path / "app.db"), "--reset"]) == 1
    assert "a relay is at work" in capsys.readouterr().err
