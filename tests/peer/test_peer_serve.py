"""The peer as a process: its start, its end, and what it says."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from afterquery._errors import ConfigurationError
from afterquery.peer import serve as served
from afterquery.peer.serve import serve
from support.client import Client
from support.docs import ROOT
from support.peer import PeerProcess, locked
from support.process import ADMIN_TOKEN, CLIENT_TOKEN
from support.until import until

SLOW = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000)"
    " INSERT INTO t SELECT count(*) FROM n"
)


def test_it_ends_normally_on_sigterm(tmp_path: Path) -> None:
    peer = PeerProcess(tmp_path)
    peer.start()
    peer.client().run("CREATE TABLE t (a)")
    assert peer.stop() == 0
    # The log was folded into the file.
    assert [path.name for path in tmp_path.glob("copy.db*")] == ["copy.db"]


def test_it_finishes_what_is_under_way(tmp_path: Path) -> None:
    peer = PeerProcess(tmp_path)
    peer.start()
    peer.client().run("CREATE TABLE t (a)")
    statuses = []

    def write() -> None:
        statuses.append(peer.client().query(f"{SLOW};{SLOW}").status)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: locked(peer.db))
    assert peer.stop() == 0
    writer.join()
    assert statuses == [200]


def test_sigint_ends_it_too(tmp_path: Path) -> None:
    peer = PeerProcess(tmp_path)
    peer.start()
    assert peer._end(signal.SIGINT) == 0


def test_it_says_nothing_but_that_it_listens(tmp_path: Path) -> None:
    script = ROOT / "tests" / "support" / "run_peer.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "copy.db"), "0"],
        env=PeerProcess(tmp_path).full_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    url = line.removeprefix("listening on ").strip()
    client = Client(url, ADMIN_TOKEN)
    client.run("CREATE TABLE t (a)")
    assert client.query("NOT SQL").status == 500
    assert Client(url, "wrong").query("SELECT 1").status == 400
    process.terminate()
    rest, errors = process.communicate(timeout=15)
    assert (rest, errors) == ("", "")
    assert ADMIN_TOKEN not in line
    assert CLIENT_TOKEN not in line


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}: "):
            serve(tmp_path / "copy.db", "127.0.0.1", port, "t")


def test_a_host_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on no\.invalid:0"):
        serve(tmp_path / "copy.db", "no.invalid", 0, "t")


def test_without_uvicorn_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'afterquery\[peer\]'"):
        serve(tmp_path / "copy.db", "127.0.0.1", 0, "t")


def test_the_url_of_an_ipv6_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        assert served._url(listener).startswith("http://[::1]:")
