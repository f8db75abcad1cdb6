"""The peer behind nginx, with the configuration that docs/serving.md has."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from afterquery import Replicator
from support.client import Client, UnansweredError
from support.docs import blocks
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN, CLIENT_TOKEN
from support.until import until

ONE_CALL = "SELECT instr(hex(zeroblob(6000000)), hex(zeroblob(3000000)) || '1') AS a"

FRAME = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


def binary() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        reason = (
            "NOT TESTED BEHIND NGINX: it is not installed (Debian: apt-get install nginx-light)"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[PeerProcess]:
    with PeerProcess(tmp_path / "peer") as peer:
        yield peer


@pytest.fixture
def url(tmp_path: Path, peer: PeerProcess) -> Iterator[str]:
    """Where nginx listens in front of the peer."""
    (servers,) = blocks("docs/serving.md", "nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    servers = servers.replace("127.0.0.1:9001", f"127.0.0.1:{peer.port}")
    assert "listen 443 ssl;" in servers
    servers = servers.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    lines = [line for line in servers.splitlines() if "ssl_certificate" not in line]
    file = tmp_path / "nginx.conf"
    file.write_text(FRAME.format(folder=tmp_path, servers="\n".join(lines)))
    process = subprocess.Popen([binary(), "-c", str(file), "-p", str(tmp_path)])
    try:
        until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_writes_arrive_through_nginx(url: str, peer: PeerProcess) -> None:
    with Replicator([url], auth_token=ADMIN_TOKEN, ddl=True, retry_max=0.2) as replicator:
        replicator.after_query("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        for number in range(200):
            replicator.after_query("INSERT INTO t VALUES (?, ?)", (number, "x" * 2_000))
        assert replicator.flush(timeout=30)
        # The peer restarts on its port, and nginx says 502 meanwhile.
        peer.kill()
        replicator.after_query("INSERT INTO t VALUES (200, 'meanwhile')")
        assert not replicator.flush(timeout=0.3)
        peer.start()
        assert replicator.flush(timeout=30)
        assert replicator.dead_letters() == []
    assert Client(url, CLIENT_TOKEN).value("SELECT count(*) FROM t") == 201


def test_the_sizes_of_the_peer_go_through_nginx(url: str) -> None:
    client = Client(url, ADMIN_TOKEN)
    body = b'{"sql": "SELECT 1 AS a", "rest": "' + b"x" * 15_000_000 + b'"}'
    assert client.send(body).result == [{"a": 1}]
    large = client.query("SELECT hex(zeroblob(8000000)) AS a")
    assert len(large.body) > 16_000_000
    assert Client(url, None).send(b"{}").status == 401
    assert Client(url, "wrong").send(b"{}").status == 400


def test_readers_that_leave_nginx_leave_the_peer(url: str) -> None:
    for _ in range(4):
        with suppress(UnansweredError):
            Client(url, CLIENT_TOKEN, timeout=0.3).query(ONE_CALL)
    assert Client(url, CLIENT_TOKEN, timeout=5).query("SELECT 1 AS a").result == [{"a": 1}]
    assert Client(url, ADMIN_TOKEN, timeout=5).query("SELECT 1 AS a").result == [{"a": 1}]
