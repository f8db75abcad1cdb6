"""`afterquery demo`: the whole of it, small; and that its verdict can be trusted."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from afterquery.demo import compare, traffic
from support import workerd
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

DEMO = [sys.executable, "-m", "afterquery", "demo"]


@pytest.mark.slow
def test_replicas_end_identical(tmp_path: Path) -> None:
    done = demo(tmp_path, "--requests", "600", "--replicas", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed (SIGKILL)" in done.stdout
    assert "restarted after" in done.stdout
    assert "IDENTICAL" in done.stdout
    assert "the same on the primary and 2 replicas" in done.stdout
    assert list(tmp_path.iterdir()) == [], "its folder is removed"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["peer", pytest.param("workerd", marks=pytest.mark.workerd)])
def test_a_replica_of_ones_own(engine: str, tmp_path: Path) -> None:
    """It keeps its own tables, and the demo can be run there again."""
    if engine == "workerd":
        workerd.require()
    kind = PeerProcess if engine == "peer" else workerd.WorkerdProcess
    with kind(tmp_path / "replica") as replica:
        replica.client().query("CREATE TABLE mine (n)")
        for seed in ("1", "2"):
            options = ("--requests", "200", "--replicas", "0", "--seed", seed)
            done = demo(tmp_path, *options, "--replica-url", replica.url)
            assert done.returncode == 0, done.stdout + done.stderr
            assert replica.url in done.stdout
        assert replica.client().rows("SELECT count(*) FROM mine") == [(0,)]


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *options],
        env={**os.environ, "TMPDIR": str(folder), "AFTERQUERY_TOKEN": ADMIN_TOKEN},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_no_process_stays_behind(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [*DEMO, "--replicas", "2", "--seconds", "60"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert "requests" in process.stdout.readline()
        started = children(process.pid)
        process.send_signal(number)
        assert process.wait(30) == 130
    assert len(started) == 3
    deadline = time.monotonic() + 5
    while any(alive(child) for child in started):
        assert time.monotonic() < deadline, "a process stays behind"
        time.sleep(0.05)


def children(parent: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, ppid in pairs if int(ppid) == parent]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_traffic_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(islice(traffic.calls(seed), 200)) for seed in (7, 7, 8))
    assert first == again != other
    assert {call.method for call in first} == {"GET", "POST", "PUT", "DELETE"}


BASE = """CREATE TABLE t (a, b);
    INSERT INTO t VALUES (1, 'x'), (2.5, NULL), (x'00', char(97, 0, 98))"""


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("DELETE FROM t WHERE a = 1", "t"),
        ("INSERT INTO t VALUES (1, 'x')", "t"),
        ("UPDATE t SET a = '1' WHERE a = 1", "t"),
        ("UPDATE t SET a = 1.0 WHERE a = 1", "t"),
        ("UPDATE t SET a = 2.5000000000000004 WHERE a = 2.5", "t"),
        ("UPDATE t SET b = '' WHERE b IS NULL", "t"),
        ("UPDATE t SET b = char(97, 0, 99) WHERE a = x'00'", "t"),
        ("DROP TABLE t", "t"),
        ("CREATE TABLE more (n)", "more"),
    ],
)
def test_every_difference_is_seen(change: str, table: str, tmp_path: Path) -> None:
    primary, replica = database(tmp_path / "a.db", BASE), database(tmp_path / "b.db", BASE)
    assert compare.with_files(primary, {"eu": replica}) == []
    database(replica, change)
    (found,) = compare.with_files(primary, {"eu": replica})
    assert (found.replica, found.table) == ("eu", table)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("real 9.0e+999", "real Inf"),
        ("real -9.0e+999", "real -Inf"),
        ("real 1.79769313486231562234e+308", "real 1.7976931348623157e+308"),
    ],
)
def test_versions_of_sqlite_write_the_same_float_differently(one: str, other: str) -> None:
    assert compare.same_digits(one) == compare.same_digits(other)
    assert compare.same_digits(one) != compare.same_digits("real 1.7976931348623155e+308")
    assert compare.same_digits("text 9.0e+999") == "text 9.0e+999"


def test_a_replicas_own_tables_do_not_count(tmp_path: Path) -> None:
    primary, replica = database(tmp_path / "a.db", BASE), database(tmp_path / "b.db", BASE)
    database(replica, "CREATE TABLE tmp_mine (n)")
    assert compare.with_files(primary, {"eu": replica}) == []


def test_large_tables_are_read_in_pages(peer: PeerProcess, tmp_path: Path) -> None:
    numbers = """CREATE TABLE t (n); INSERT INTO t
        WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 250)
        SELECT n FROM c"""
    primary = database(tmp_path / "a.db", numbers)
    assert peer.client().query(numbers).status == 200
    assert compare.counts(primary) == {"t": 250}
    assert compare.with_urls(primary, {"eu": peer.url}, ADMIN_TOKEN) == []
    peer.client().query("DELETE FROM t WHERE n = 249")
    (found,) = compare.with_urls(primary, {"eu": peer.url}, ADMIN_TOKEN)
    assert found.missing == (("integer 249",),)


def test_pages_are_made_by_bytes_and_large_values_read_in_pieces(
    peer: PeerProcess, tmp_path: Path
) -> None:
    """No answer is longer than 1 MiB: the platform under StarbaseDB allows no more."""
    filled = """CREATE TABLE t (n INTEGER PRIMARY KEY, a TEXT, b BLOB, r REAL);
        INSERT INTO t WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 60)
        SELECT n, replace(hex(zeroblob(10000)), '00', char(0, 97, 233)), zeroblob(20000), n / 8.0
        FROM c;
        INSERT INTO t VALUES (100, replace(hex(zeroblob(300000)), '00', 'äb'), zeroblob(700000), 1);
        CREATE TABLE wide (a, b); INSERT INTO wide VALUES (1, 1), (1.0, 1), (1, 1), ('1', NULL)"""
    primary = database(tmp_path / "a.db", filled)
    for statement in filled.split(";"):
        assert peer.client().query(statement).status == 200
    assert compare.with_urls(primary, {"eu": peer.url}, ADMIN_TOKEN) == []
    assert compare.counts(primary) == {"t": 61, "wide": 4}
    peer.client().run("UPDATE t SET b = zeroblob(699999) || x'01' WHERE n = 100")
    (found,) = compare.with_urls(primary, {"eu": peer.url}, ADMIN_TOKEN)
    assert (len(found.missing), len(found.extra)) == (1, 1)


def database(path: Path, sql: str) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(sql)
    return path
