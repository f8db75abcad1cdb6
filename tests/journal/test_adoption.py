"""Journals of processes that die while others live, and what their ends leave open."""

from __future__ import annotations

import shutil
import sys
import time

import pytest

from afterquery import NotSettledError, Replicator
from replication.site import Site, edit, look, write
from replication.world import TIMEOUT, fulfilled, of, until

pytestmark = pytest.mark.usefixtures("quick_look")

KILLED = "replicator = connect(durability='process'); write(replicator, 'dead', {k}); die()"


LATE = """
replicator = connect(durability="process")
write(replicator, "late", 7)
say("written")
while not os.path.exists("go"):
    time.sleep(0.01)
replicator.close(0)
"""


def _killed(site: Site, k: int = 0) -> None:
    site.program(KILLED.format(k=k)).end()


def test_a_living_process_delivers_what_a_dead_one_left(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """And goes on with its own writes where it was, in their order."""
    with site.connect(durability="process") as replicator:
        fulfilled(write(replicator, "a", 0))
        site.down()
        _killed(site)
        write(replicator, "a", 1)
        until(lambda: replicator.stats().adopted_journals == 1, "it is found")
        assert replicator.stats().pending >= 2
        write(replicator, "a", 2)
        site.up()
        assert replicator.flush(TIMEOUT)
        until(lambda: replicator.stats().adopted_journals == 0, "it is done with")
        fulfilled(write(replicator, "a", 3))
        assert "are not certain" in caplog.text
        assert "ended without closing it" in str(replicator.stats().not_certain)
    for number in (0, 1):
        assert site.written(number, "a") == [0, 1, 2, 3]
        assert site.written(number, "dead") == [0]
    assert site.files() == []


def test_a_clean_end_leaves_nothing_open(site: Site) -> None:
    site.leave("closed", 3)
    with site.connect() as replicator:
        assert replicator.flush(TIMEOUT)
        assert replicator.stats().not_certain is None
    assert site.written() == [0, 1, 2]


def test_a_synced_replica_is_certain_again(site: Site) -> None:
    _killed(site)
    with site.connect() as replicator:
        assert replicator.stats().not_certain is not None
        assert replicator.flush(TIMEOUT)
        fulfilled(write(replicator, "a", 0))
        for peer in site.peers:
            peer.client().run("UPDATE tmp_afterquery_watermark SET chain = chain + 1")
        write(replicator, "a", 1)
        names = replicator.replicas
        until(lambda: of(replicator, names[0]).state == "diverged", "it is stopped")
        until(lambda: of(replicator, names[1]).state == "diverged", "so is the other")
        replicator.resume(names[0])
        fulfilled_on_first = write(replicator, "b", 0)
        until(lambda: fulfilled_on_first.outcomes, "it goes on")
        assert replicator.stats().not_certain is not None
        replicator.resume(names[1])
        fulfilled(write(replicator, "b", 1))
        assert replicator.stats().not_certain is None


def test_many_dead_journals_take_few_descriptors(site: Site) -> None:
    """They are delivered some at a time; nothing that looks opens them all."""
    first = site.leave("dead", 1)
    for number in range(70):
        # As if each were a process's own: the same file under another name and origin.
        copy = first.with_name(f"{number}.journal")
        shutil.copy(first, copy)
        edit(copy, f"UPDATE origin SET id = '{number}', created = created + {number}")
    site.down()
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        replicator = connect(durability="process")
        count = lambda: len(os.listdir("/proc/self/fd"))
        say("adopted", replicator.stats().adopted_journals)
        say("waiting", replicator.stats().waiting_journals)
        replicator.dead_letters()
        replicator.flush(0)
        say("few", count() < 130)
        sys.stdout.flush()
        while replicator.stats().waiting_journals or replicator.stats().pending:
            time.sleep(0.01)
        say("closed", replicator.close(30))
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("NOT TESTED: it counts descriptors in /proc")
    with site.program(code) as program:
        program.expect("adopted 64")
        program.expect("waiting 7")
        program.expect("few True")
        site.up()
        program.expect("closed True")
    assert site.written(0) == site.written(1) == [0] * 71
    site.gone()


def test_flush_waits_for_those_that_wait(site: Site) -> None:
    first = site.leave("dead", 1)
    for number in range(65):
        copy = first.with_name(f"{number}.journal")
        shutil.copy(first, copy)
        edit(copy, f"UPDATE origin SET id = '{number}'")
    with site.connect() as replicator:
        assert replicator.stats().waiting_journals > 0
        assert replicator.flush(TIMEOUT)
    assert site.written(0) == [0] * 66
    site.gone()


def test_what_cannot_be_delivered_is_told_once_and_counted(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.journal.mkdir()
    (site.journal / "x.journal").write_bytes(b"no database")
    with site.connect() as replicator:
        assert replicator.stats().damaged_journals == 1
        site.down()
        _killed(site)
        until(lambda: replicator.stats().adopted_journals == 1, "it has looked again")
        assert caplog.text.count("is left as it is") == 1
        site.up()
        assert replicator.flush(TIMEOUT)


def test_a_removed_directory_is_made_again(site: Site) -> None:
    """What was accepted survives a kill all the same."""
    site.down()
    code = """
        replicator = connect(durability="process")
        write(replicator, "dead", 0)
        say("made")
        sys.stdin.read()
        deadline = time.time() + 30
        while not os.path.isdir(os.environ["JOURNAL"]) and time.time() < deadline:
            replicator.sync()
        for k in range(1, 50):
            write(replicator, "dead", k)
        assert replicator.sync() and replicator.stats().journal_problem is None
        die()
    """.replace("sys.stdin.read()", "while os.path.isdir(os.environ['JOURNAL']): time.sleep(0.01)")
    with site.program(code) as program:
        program.expect("made")
        shutil.rmtree(site.journal)
        assert program.end() == -9
    site.up()
    site.deliver()
    assert site.written(0) == site.written(1) == list(range(50))


def test_a_directory_that_cannot_be_made_again_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with site.connect(durability="process") as replicator:
        site.down()
        write(replicator, "a", 0)
        shutil.rmtree(site.journal)
        site.journal.write_text("in its place")
        assert not replicator.sync()
        assert "removed while it was in use" in str(replicator.stats().journal_problem)
        site.journal.unlink()
        until(replicator.sync, "it is made again")
        assert replicator.stats().journal_problem is None
        until(lambda: "it was made again" in caplog.text, "it is told")
        site.up()
        assert replicator.flush(TIMEOUT)
    assert site.written(0) == [0]


def test_nobody_takes_the_journal_of_a_process_that_lives(site: Site) -> None:
    """Although its lock file was removed, by a script that tidies up."""
    with site.connect(durability="process") as replicator:
        fulfilled(write(replicator, "a", 0))
        for lock in site.journal.glob("*.lock"):
            lock.unlink()
        code = """
            replicator = connect()
            say("adopted", replicator.stats().adopted_journals)
            replicator.close()
        """
        with site.program(code) as program:
            program.expect("adopted 0")
            program.end()
        fulfilled(write(replicator, "a", 1))
        assert replicator.sync()
        assert len(list(site.journal.glob("*.lock"))) == 1
    assert site.written(0) == site.written(1) == [0, 1]


def test_a_caller_faster_than_the_disk_waits_before_memory_grows(site: Site) -> None:
    site.down()
    with site.connect(max_pending_bytes=10**9, max_pending_writes=10**7) as replicator:
        most = 0
        for k in range(60_000):
            write(replicator, "a", k)
            if k % 500 == 0:
                most = max(most, replicator.stats().unsaved)
        assert most <= 20_001
        begin = time.monotonic()
        assert not replicator.close(0.1)
        assert time.monotonic() - begin < 5


def test_a_write_after_the_end_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    replicator = site.connect(durability="process")
    assert replicator.close(5)
    late = [write(replicator, "a", k) for k in range(3)]
    assert {o.status for handle in late for o in handle.outcomes} == {"rejected"}
    until(lambda: "after close()" in caplog.text, "it is told")
    assert caplog.text.count("after close()") == 1
    assert replicator.stats().refused == 3
    assert not replicator.sync()


def test_a_handle_of_an_adopted_write_is_not_ours(site: Site) -> None:
    """A process that waits for its own write does not wait for those of the dead."""
    with site.connect(durability="process") as replicator:
        site.down()
        handle = write(replicator, "a", 0)
        with pytest.raises(NotSettledError):
            handle.wait(0.05)
        assert isinstance(replicator, Replicator)
        site.up()
        fulfilled(handle)


HELD = """
import sqlite3
tool = sqlite3.connect(sys.argv[1], isolation_level=None)
tool.execute("BEGIN IMMEDIATE")
say("held")
while not os.path.exists("go"):
    time.sleep(0.01)
tool.execute("ROLLBACK")
say("let go")
time.sleep(60)
"""


def test_a_journal_that_another_tool_holds_for_a_while_is_delivered_later(site: Site) -> None:
    """It waits, and is no damaged one: nothing of the file changes when the lock goes."""
    with site.connect(durability="process") as replicator:
        fulfilled(write(replicator, "a", 0))
        own = set(site.files())
        site.down()
        program = site.program(LATE, "late")
        program.expect("written")
        (file,) = set(site.files()) - own
        tool = site.program(HELD.replace("sys.argv[1]", repr(str(file))), "tool")
        tool.expect("held")
        (site.folder / "late" / "go").touch()
        program.end()
        site.up()
        try:
            until(lambda: replicator.stats().waiting_journals == 1, "it waits")
            begun = time.monotonic()
            assert not replicator.flush(0.5)
            assert time.monotonic() - begun < 2.5
            assert replicator.stats().damaged_journals == 0
            (site.folder / "tool" / "go").touch()
            tool.expect("let go")
            assert replicator.flush(TIMEOUT)
            assert site.written(0, "late") == site.written(1, "late") == [7]
        finally:
            tool.kill()


def test_what_a_resync_gives_up_is_no_unclean_end(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that ended well, and was opened only to give up what it held for one replica."""
    monkeypatch.setenv("AFTERQUERY_TEST_LOOK", "3600")
    with site.connect(durability="process") as replicator:
        fulfilled(write(replicator, "a", 0))
        own = site.journal / f"{replicator.origin}.journal"
        name = replicator.replicas[0]
        site.peers[0].client().run("UPDATE tmp_afterquery_watermark SET chain = chain + 1")
        write(replicator, "a", 1)
        until(lambda: of(replicator, name).state == "diverged", "it is stopped")
        site.down()
        program = site.program(LATE, "late")
        program.expect("written")
        (site.folder / "late" / "go").touch()
        program.end()
        replicator.resume(name)
        (file,) = set(site.files()) - {own}
        assert look(file, "SELECT in_use FROM origin") == [(0,)]
        site.up()
    site.deliver()
    assert site.written(0, "late") == []
    assert site.written(1, "late") == [7]


YOUNGER = """
replicator = connect(durability="process", max_pending_writes=10)
for k in range(50):
    write(replicator, "younger", k)
while {s.state for s in replicator.stats().replicas} != {"detached"}:
    time.sleep(0.01)
replicator.close(0)
"""


def test_a_stop_concerns_what_an_older_process_left_too(site: Site) -> None:
    """The replicas are synced from a copy that holds it; then the application is started again."""
    site.down()
    older = site.program(LATE, "late")
    older.expect("written")
    site.program(YOUNGER, "younger").end()
    (site.folder / "late" / "go").touch()
    older.end()
    for peer in site.peers:
        peer.client().run("INSERT INTO log (who, k) VALUES ('late', 7)")
    site.up()
    with site.connect(durability="process") as replicator:
        until(
            lambda: {replica.state for replica in replicator.stats().replicas} == {"detached"},
            "they are stopped",
        )
        for name in replicator.replicas:
            replicator.resume(name)
        fulfilled(write(replicator, "a", 0))
    assert site.written(0) == site.written(1) == [7, 0]
    assert site.files() == []
