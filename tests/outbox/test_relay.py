"""What is in the outbox reaches the replicas, in order and once, whatever becomes of the relays."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import afterquery.sqlite3
from afterquery import ConfigurationError, JournalError, outbox
from afterquery.outbox import Relay, _record
from afterquery.outbox._record import Record
from afterquery.outbox._table import Extent
from replication.world import Primary, contents, peers, prepare, reader
from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.until import until

SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, k UNIQUE, v);
CREATE TABLE chain (h INTEGER NOT NULL);
INSERT INTO chain VALUES (1);
CREATE TABLE facts (id INTEGER PRIMARY KEY AUTOINCREMENT, worker INT, n INT, h INT);
"""
INSERT = "INSERT INTO t (k, v) VALUES (?, ?)"
CHAIN = "UPDATE chain SET h = (h * 31 + ?) % 1000003"


@dataclass
class Site:
    """An application's database with its outbox, and replicas."""

    folder: Path
    peers: list[PeerProcess]
    stack: ExitStack
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.folder / "app.db"

    @property
    def journal(self) -> Path:
        return self.folder / "app.db-replication"

    def connect(self, **settings: Any) -> afterquery.sqlite3.Connection:
        given: dict[str, Any] = {"isolation_level": None, "timeout": 60, **settings}
        db = afterquery.sqlite3.connect(self.path, outbox=True, **given)
        return self.stack.enter_context(closing(db))

    def relay(self, *urls: str, **settings: Any) -> Relay:
        """A relay that tries again soon."""
        quick = {"retry_base": 0.01, "retry_max": 0.2, "poll": 0.02, "lease": 0.5}
        targets = urls or [peer.url for peer in self.peers]
        relay = Relay(self.path, targets, **{"auth_token": ADMIN_TOKEN, **quick, **settings})
        self.stack.callback(relay.stop, 0)
        return relay

    def write(self, count: int = 1, start: int = 0) -> None:
        db = self.connect()
        for number in range(start, start + count):
            db.execute("BEGIN IMMEDIATE")
            db.execute(CHAIN, (number,))
            db.execute(INSERT, (number, "x"))
            db.execute("COMMIT")

    def rows(self) -> int:
        with closing(sqlite3.connect(self.path, timeout=60)) as plain:
            return len(outbox.pending(plain))

    def delivered(self) -> None:
        """Deliver all, and compare every row."""
        until(lambda: self.relay().run(once=30), 60)
        self.same()

    def same(self) -> None:
        with Primary(self.path) as primary:
            tables = [t for t in primary.tables() if t.name in {"t", "chain", "facts"}]
            expected = contents(primary.read, tables)
        for peer in self.peers:
            with reader(peer) as read:
                assert contents(read, tables) == expected

    def is_same(self) -> bool:
        try:
            self.same()
        except AssertionError:
            return False
        return True

    def program(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "tests/support" / script), str(self.path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
        process = subprocess.Popen(
            [*command, *arguments], env=environment, text=True, stderr=subprocess.PIPE
        )
        self.stack.callback(end, process)
        return process


def end(process: subprocess.Popen[str]) -> str:
    process.kill()
    return process.communicate(timeout=30)[1]


@pytest.fixture(params=[1])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    with peers(tmp_path, request.param) as processes, ExitStack() as stack:
        site = Site(tmp_path, processes, stack)
        with closing(sqlite3.connect(site.path)) as plain:
            plain.executescript(f"PRAGMA journal_mode = WAL; {SCHEMA}")
        prepare(SCHEMA, *processes)
        site.connect()
        yield site


def working(relay: Relay) -> Callable[[], bool]:
    return lambda: relay.state == "working"


@pytest.mark.parametrize("site", [2], indirect=True)
def test_what_is_committed_arrives(site: Site) -> None:
    site.write(3)
    with site.relay() as relay:
        until(site.is_same)
        site.write(3, 3)
        until(site.is_same)
        until(lambda: site.rows() == 0)
        assert (relay.state, relay.problem) == ("working", None)
        assert relay.replicator is not None
        assert [one.changes_differ for one in relay.replicator.stats().replicas] == [0, 0]
    assert relay.state == "stopped"
    assert relay.replicator is None


def test_a_commit_of_this_process_wakes_it(site: Site) -> None:
    relay = site.relay(poll=60)
    relay.start()
    until(working(relay))
    for number in range(3):
        site.write(1, number)
        until(site.is_same)


def test_stopping_hands_over_what_is_there(site: Site) -> None:
    relay = site.relay(poll=60)
    relay.start()
    until(working(relay))
    with closing(sqlite3.connect(site.path)) as plain:  # wakes nobody
        statements = outbox._values.kept(INSERT, (1, "x"), 1, many=False)
        plain.execute(INSERT, (1, "x"))
        plain.execute(outbox._table.WRITE, (outbox._values.encode([statements]),))
        plain.commit()
    relay.stop()
    relay.stop()
    site.same()


def test_stopping_at_once_hands_over_all_the_same(site: Site) -> None:
    site.write(3)
    with site.relay():
        pass
    site.same()


def test_starting_again_goes_on(site: Site) -> None:
    relay = site.relay()
    for number in range(3):
        site.write(2, number * 2)
        relay.start()
        relay.start()
        until(site.is_same)
        relay.stop()
    site.same()


def test_async_with(site: Site) -> None:
    async def run() -> None:
        async with site.relay():
            site.write()

    asyncio.run(run())
    site.same()


def test_the_database_may_come_later(tmp_path: Path, peer: PeerProcess) -> None:
    peer.client().run(SCHEMA)
    with ExitStack() as stack:
        site = Site(tmp_path, [peer], stack)
        relay = site.relay()
        relay.start()
        until(lambda: relay.state == "waiting")
        with closing(sqlite3.connect(site.path)) as plain:
            plain.executescript(SCHEMA)
        site.write()
        until(site.is_same)


def test_settings_that_cannot_work(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError, match="durability"):
        site.relay(durability="async")
    with pytest.raises(ConfigurationError):
        site.relay("no url").run(once=5)
    relay = site.relay("no url")
    relay.start()
    until(lambda: relay.state == "failed")
    assert relay.problem is not None
    until(lambda: str(relay.problem) in caplog.text)
    with pytest.raises(ConfigurationError, match="outbox=True"):
        afterquery.sqlite3.connect(site.path)


@pytest.mark.parametrize("site", [2], indirect=True)
def test_a_replica_that_is_down_for_a_while(site: Site) -> None:
    relay = site.relay()
    relay.start()
    site.write(3)
    until(site.is_same)
    site.peers[1].kill()
    site.write(5, 3)
    until(lambda: site.rows() == 0)  # it is in the journal now
    relay.stop(0)
    relay.start()
    site.write(5, 8)
    site.peers[1].start()
    until(site.is_same)
    relay.stop()
    site.same()


def test_a_rejected_write_is_a_dead_letter(site: Site) -> None:
    site.peers[0].client().run("INSERT INTO t (k) VALUES (1)")
    site.write(3)
    with site.relay() as relay:
        until(lambda: site.rows() == 0)
        until(lambda: relay.replicator is not None and len(relay.replicator.dead_letters()) == 1)
        assert relay.replicator is not None
        assert relay.replicator.flush(30)
        (letter,) = relay.replicator.dead_letters()
        assert "UNIQUE" in letter.reason
    assert site.peers[0].client().rows("SELECT k FROM t ORDER BY k") == [(0,), (1,), (2,)]


def test_halt_keeps_the_rest_until_it_is_set_right(site: Site) -> None:
    site.peers[0].client().run(
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.k = 1 BEGIN SELECT raise(ABORT, 'no'); END"
    )
    site.write(3)
    relay = site.relay(on_reject="halt")
    relay.start()

    def halted() -> bool:
        replicator = relay.replicator
        return replicator is not None and replicator.stats().replicas[0].state == "halted"

    until(halted)
    relay.stop(0)
    assert site.peers[0].client().rows("SELECT k FROM t ORDER BY k") == [(0,)]
    site.peers[0].client().run("DROP TRIGGER no")
    site.delivered()


def test_a_replica_that_is_added_gets_what_comes(site: Site, tmp_path: Path) -> None:
    with site.relay():
        site.write(3)
        until(site.is_same)
    with peers(tmp_path / "new", 1) as (new,):
        new.name = "new"
        with closing(sqlite3.connect(site.path)) as plain:
            prepare(
                "".join(
                    f"{line}\n"
                    for line in plain.iterdump()
                    if "afterquery" not in line
                    and not line.startswith(("BEGIN", "COMMIT", 'DELETE FROM "sqlite'))
                ),
                new,
            )
        site.peers.append(new)
        site.same()
        with site.relay():
            site.write(3, 3)
            until(site.is_same)


def test_parameters_that_could_not_be_kept_are_told(site: Site) -> None:
    statement = outbox.Statement(INSERT, (), False, 1, "parameters: no such type")
    with closing(sqlite3.connect(site.path)) as plain:
        plain.execute(outbox._table.WRITE, (outbox._values.encode([statement]),))
        plain.commit()
    with site.relay() as relay:
        until(lambda: relay.replicator is not None and len(relay.replicator.dead_letters()) == 1)
        assert relay.replicator is not None
        assert "no such type" in relay.replicator.dead_letters()[0].reason


def test_one_of_two_works_and_the_other_takes_over(site: Site) -> None:
    first, second = site.relay(), site.relay()
    first.start()
    until(working(first))
    second.start()
    until(lambda: second.state == "waiting")
    site.write(3)
    until(site.is_same)
    assert second.state == "waiting"
    first.stop()
    until(working(second))
    site.write(3, 3)
    until(site.is_same)


def test_whose_lease_ran_out_gives_way_and_the_lock_decides(site: Site) -> None:
    """The lease of the first is taken away while it works: the journal is its own until it ends."""
    first = site.relay()
    first.start()
    until(working(first))
    with closing(sqlite3.connect(site.path, timeout=60)) as plain:
        plain.execute("UPDATE afterquery_relay SET holder = 'other', expires = 1e99")
        plain.commit()
        until(lambda: first.state == "waiting")
        site.write(3)
        plain.execute("UPDATE afterquery_relay SET holder = NULL, expires = 0")
        plain.commit()
    until(site.is_same)


def test_a_lease_that_a_clock_set_back_makes_endless_is_taken(site: Site) -> None:
    """Its end is a time of day; that its holder is dead is seen by the steady clock."""
    site.write()
    relay = site.relay()
    assert relay.run(once=30)
    with closing(sqlite3.connect(site.path)) as plain, plain:
        plain.execute("UPDATE afterquery_relay SET holder = 'dead', expires = 1e12")
    site.write(start=1)
    assert site.relay().run(once=30)
    site.same()


def test_a_database_that_is_locked_for_a_while_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A batch job, or VACUUM: nothing fails, the session goes on, and `problem` says why."""
    monkeypatch.setattr("afterquery.outbox._relay._BUSY_SECONDS", 0.05)
    site.write()
    relay = site.relay()
    relay.start()
    until(lambda: site.rows() == 0)
    replicator = relay.replicator
    with closing(sqlite3.connect(site.path, isolation_level=None)) as plain:
        plain.execute("BEGIN EXCLUSIVE")
        until(lambda: "locked by another connection" in (relay.problem or ""))
        assert relay.state == "working"
        plain.execute("COMMIT")
    site.write(start=1)
    until(lambda: site.rows() == 0)
    assert relay.problem is None
    assert relay.replicator is replicator
    relay.stop()
    site.same()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_backlog_of_large_rows_is_read_a_few_at_a_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterquery.outbox._table._READ_CHARACTERS", 4_000)
    db = site.connect()
    for number in range(8):
        db.execute(INSERT, (number, "x" * 1_500))
    with closing(sqlite3.connect(site.path)) as plain:
        assert [entry.id for entry in outbox.pending(plain)] == [1, 2, 3]
        assert [entry.id for entry in outbox.pending(plain, 3, 2)] == [4, 5]
        assert not plain.in_transaction
    site.delivered()


def test_a_relay_that_is_killed_is_replaced(site: Site) -> None:
    process = site.program("relay_worker.py", "0", site.peers[0].url)
    until(lambda: bool(site.peers[0].client().rows("SELECT 1 FROM facts LIMIT 1")))
    relay = site.relay()
    relay.start()
    until(lambda: relay.state == "waiting")
    end(process)
    until(working(relay), 20)
    until(site.is_same)


def test_a_relay_that_is_stopped_keeps_the_journal(site: Site) -> None:
    """SIGSTOP: its lease runs out, and still nobody works in its place."""
    site.write(3)
    process = site.program("relay_stopped.py", site.peers[0].url)
    until(site.is_same)
    process.send_signal(signal.SIGUSR1)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    site.write(3, 3)
    relay = site.relay()
    with closing(sqlite3.connect(site.path, timeout=60)) as plain:
        until(lambda: outbox.acquire(plain, "test", 0))  # the lease is free
        relay.start()
        until(lambda: relay.state == "waiting")
        with pytest.raises(JournalError, match="another process is using it"):
            afterquery.Replicator(
                [site.peers[0].url], journal=site.journal, origin=outbox.origin(plain)
            )
    assert relay.state == "waiting"
    assert not site.is_same()
    end(process)
    until(working(relay), 20)
    until(site.is_same)


def restored(site: Site) -> Callable[[], None]:
    """Take a backup; the answer puts it back."""
    backup = site.folder / "backup.db"
    with closing(sqlite3.connect(site.path)) as plain, closing(sqlite3.connect(backup)) as copy:
        plain.backup(copy)

    def restore() -> None:
        with closing(sqlite3.connect(site.path)) as plain, closing(sqlite3.connect(backup)) as copy:
            copy.backup(plain)

    return restore


@pytest.mark.parametrize("after", [0, 1, 3, 10])
@pytest.mark.parametrize("stop", ["clean", "killed"])
def test_a_backup_that_was_restored_is_noticed(
    site: Site, after: int, stop: str, caplog: pytest.LogCaptureFixture
) -> None:
    """However many transactions come after it: their ids were given before."""
    site.write(4)
    with site.relay():
        until(site.is_same)
        until(lambda: site.rows() == 0)
    restore = restored(site)
    site.write(3, 10)
    if stop == "clean":
        with site.relay():
            until(site.is_same)
            until(lambda: site.rows() == 0)
    else:
        process = site.program("relay_killed.py", "1000000", site.peers[0].url)
        until(site.is_same)
        end(process)
    restore()
    site.write(after, 100)
    relay = site.relay()
    relay.start()
    until(lambda: relay.state == "diverged")
    assert relay.problem is not None
    assert relay.problem.startswith("diverged: the outbox is not the one")
    until(lambda: str(relay.problem) in caplog.text)
    assert site.rows() >= after
    relay.stop()
    assert relay.run(once=0.1) is False


def test_a_backup_restored_under_a_relay_at_work(site: Site) -> None:
    relay = site.relay()
    relay.start()
    site.write(2)
    until(site.is_same)
    until(lambda: site.rows() == 0)
    restore = restored(site)
    site.write(2, 2)
    until(site.is_same)
    until(lambda: site.rows() == 0)
    restore()
    site.write(5, 100)
    until(lambda: relay.state == "diverged")
    assert site.rows() == 5


def test_after_a_copy_to_every_replica_it_begins_anew(site: Site) -> None:
    site.write(4)
    with site.relay():
        until(site.is_same)
        until(lambda: site.rows() == 0)
    restore = restored(site)
    site.write(3, 10)
    with site.relay():
        until(site.is_same)
        until(lambda: site.rows() == 0)
    restore()
    site.write(2, 100)
    site.peers[0].client().run("DELETE FROM t WHERE k BETWEEN 10 AND 12; DELETE FROM chain")
    with closing(sqlite3.connect(site.path)) as plain:
        rows = plain.execute("SELECT id, k, v FROM t WHERE k >= 100").fetchall()
        chain = plain.execute("SELECT h FROM chain").fetchall()
    for row in rows:
        site.peers[0].client().run(f"INSERT INTO t VALUES {row}")
    site.peers[0].client().run(f"INSERT INTO chain VALUES ({chain[0][0]})")
    site.relay().reset()
    assert site.rows() == 0
    site.write(3, 200)
    site.delivered()


def test_it_does_not_begin_anew_under_a_relay_at_work(site: Site) -> None:
    relay = site.relay()
    relay.start()
    until(working(relay))
    with pytest.raises(JournalError, match="a relay is at work"):
        site.relay().reset()


@pytest.mark.parametrize("lost", ["all of it", "the file"])
def test_a_journal_that_is_lost_is_noticed(site: Site, lost: str) -> None:
    site.peers[0].kill()
    with site.relay() as relay:
        site.write(3)
        until(lambda: site.rows() == 0)
        relay.stop(0)
    if lost == "all of it":
        shutil.rmtree(site.journal)
    else:
        for path in site.journal.glob("*.journal*"):
            path.unlink()
    site.peers[0].start()
    site.write(2, 3)
    relay.start()
    until(lambda: relay.state == "diverged")
    assert site.rows() == 2
    assert site.peers[0].client().rows("SELECT * FROM t") == []


def test_a_copy_of_the_database_is_not_relayed(site: Site) -> None:
    with site.relay():
        site.write(3)
        until(site.is_same)
        until(lambda: site.rows() == 0)
        with (
            closing(sqlite3.connect(site.path)) as plain,
            closing(sqlite3.connect(site.folder / "copy.db")) as copy,
        ):
            plain.backup(copy)
    relay = Relay(site.folder / "copy.db", [site.peers[0].url], auth_token=ADMIN_TOKEN)
    assert relay.run(once=2) is False
    assert relay.problem is not None
    assert "no journal knows of them" in relay.problem


def extent(deleted: int, last: int, base: int = 0, origin: str = "a") -> Extent:
    return Extent(origin, base, deleted, last)


@pytest.mark.parametrize(
    ("found", "record", "mark", "same"),
    [
        (extent(0, 0), None, None, True),
        (extent(0, 5), None, None, True),
        (extent(5, 5, 5), None, None, True),
        (extent(1, 5), None, None, False),
        (extent(3, 5), Record("a", 3, "00"), None, True),
        (extent(2, 5), Record("a", 3, "00"), b"\0", True),
        (extent(2, 5), Record("a", 3, "00"), b"\1", False),
        (extent(2, 2), Record("a", 3, "00"), None, False),
        (extent(4, 5), Record("a", 3, "00"), None, False),
        (extent(2, 5), Record("a", 3, "00"), None, False),
        (extent(3, 5, 3), Record("b", 3, "00", settled=True), None, True),
        (extent(3, 5, 3), Record("b", 3, "00"), None, False),
        (extent(3, 5, 2), Record("b", 3, "00", settled=True), None, False),
    ],
)
def test_what_tells_an_outbox_from_another(
    found: Extent, record: Record | None, mark: bytes | None, same: bool
) -> None:
    assert (_record.difference(found, record, mark) is None) == same


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_before_each_of_its_statements(site: Site) -> None:
    """As many rounds as it takes until one has had fewer statements than its limit."""
    for number in range(1, 100):
        site.write(2, number * 2)
        process = site.program("relay_killed.py", str(number), site.peers[0].url)
        status = process.wait(60)
        if status == 0:
            break
        assert status == -signal.SIGKILL, process.communicate()[1]
    assert number > 15
    site.delivered()
    assert site.rows() == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("site", [2], indirect=True)
def test_writers_and_relays_that_are_killed(site: Site) -> None:
    """Four processes write and relay at a time, one of them at a time is killed."""
    chance = random.Random()
    urls = [peer.url for peer in site.peers]
    primary = site.stack.enter_context(closing(sqlite3.connect(site.path, timeout=60)))
    workers: list[subprocess.Popen[str]] = []

    def given() -> int:
        return outbox._table.extent(primary).last

    def wrote(worker: int) -> bool:
        sql = "SELECT 1 FROM facts WHERE worker = ? LIMIT 1"
        return primary.execute(sql, (worker,)).fetchone() is not None

    for number in range(14):
        workers.append(site.program("relay_worker.py", str(number), *urls))
        until(lambda number=number: wrote(number))  # type: ignore[misc]
        while len(workers) >= 4:
            wanted = given() + chance.randrange(1, 100)
            until(lambda wanted=wanted: given() >= wanted)  # type: ignore[misc]
            victim = workers.pop(chance.randrange(len(workers)))
            assert victim.poll() is None, victim.communicate()[1]
            end(victim)
    assert [worker.poll() for worker in workers] == [None] * 3
    while workers:
        end(workers.pop())
    site.delivered()
    assert site.rows() == 0
    seen = primary.execute("SELECT count(DISTINCT worker) FROM facts").fetchone()
    assert seen[0] == 14
    assert primary.execute("PRAGMA integrity_check").fetchone() == ("ok",)
