"""A disk that cannot be written: an error at the start; later a warning, and no write waits."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

from afterquery import JournalError, Replication, Replicator
from replication.site import Site, look, write
from replication.world import fulfilled, of, until
from support.mounts import read_only, small_disk


def test_the_path_is_a_file(site: Site) -> None:
    site.journal.write_text("mine")
    with pytest.raises(JournalError, match="it is a file; give the path of a directory"):
        site.connect()
    assert site.journal.read_text() == "mine"


@pytest.mark.parametrize("kind", ["a parent is a file", "a link that goes round"])
def test_the_path_cannot_be_made(site: Site, kind: str) -> None:
    if kind == "a parent is a file":
        (site.folder / "file").touch()
        path = site.folder / "file" / "journal"
    else:
        path = site.folder / "loop"
        path.symlink_to(path)
    with pytest.raises(JournalError, match=str(path)):
        site.connect(journal=path)


def test_a_directory_that_may_not_be_written(site: Site) -> None:
    file = site.leave("dead", 3)
    with read_only(site.journal):
        with pytest.raises(JournalError, match="ead-only file system"):
            site.connect()
        assert site.files() == [file]
    site.deliver()
    assert site.written() == [0, 1, 2]


def test_a_directory_that_is_not_ours(site: Site) -> None:
    if os.geteuid() == 0:
        pytest.skip("NOT TESTED: permissions mean nothing to root")
    site.journal.mkdir(mode=0o500)
    with pytest.raises(JournalError, match="ermission denied"):
        site.connect()


def test_no_space_at_the_start(site: Site) -> None:
    full = r"full|No space|I/O error"
    with small_disk(site.journal, 8), pytest.raises(JournalError, match=full):
        site.connect()


def _fill(folder: Path) -> Path:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4_096)
        except OSError:
            return filler


def test_no_space_later(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Everything is delivered all the same, told once, and saved when there is room again."""
    with small_disk(site.journal, 2_048):
        replicator = site.connect(durability="process")
        fulfilled(write(replicator, "one", 0))
        filler = _fill(site.journal)
        handles = [write(replicator, "one" * 3_000, k) for k in range(1, 50)]
        until(lambda: replicator.stats().unsaved > 0, "the disk is full")
        assert "could not be written" in (replicator.stats().journal_problem or "")
        for handle in handles:
            fulfilled(handle)
        filler.unlink()
        until(lambda: replicator.stats().unsaved == 0, "it is saved")
        assert replicator.stats().journal_problem is None
        fulfilled(write(replicator, "one", 50))
        assert replicator.close(5)
        until(lambda: "can be written again" in caplog.text, "it is told")
        assert caplog.text.count("could not be written") == 1
        site.gone()
    assert site.written(0) == site.written(1) == list(range(51))


def test_a_disk_that_was_full_for_a_moment_leaves_no_trace(site: Site) -> None:
    with small_disk(site.journal, 2_048):
        replicator = site.connect(durability="process")
        fulfilled(write(replicator, "one", 0))
        filler = _fill(site.journal)
        handles = [write(replicator, "one" * 3_000, k) for k in range(1, 50)]
        until(lambda: replicator.stats().unsaved > 0, "the disk is full")
        for handle in handles:
            fulfilled(handle)
        filler.unlink()
        until(lambda: replicator.stats().unsaved == 0, "it is saved")
        assert replicator.close(5)
        with site.connect() as replicator:
            write(replicator, "new", 0).wait(2)


def test_a_full_disk_detaches_nobody_who_keeps_up(site: Site) -> None:
    with small_disk(site.journal, 2_048):
        replicator = site.connect(max_pending_writes=500)
        fulfilled(write(replicator, "one", 0))
        filler = _fill(site.journal)
        for k in range(1, 50):
            write(replicator, "one" * 3_000, k)
        until(lambda: replicator.stats().journal_problem is not None, "the disk is full")
        for k in range(50, 1_500):
            write(replicator, "one", k)
            if k % 100 == 0:
                until(lambda: of(replicator, "peer-0").pending == 0, "the replica keeps up")
        state = of(replicator, "peer-0").state
        filler.unlink()
        replicator.close(2)
        assert state == "live"


LIMIT = """
    import resource
    replicator = connect(durability="process")
    fulfilled(write(replicator, "one", 0))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    handles = []
    while replicator.stats().unsaved == 0:
        handles.append(write(replicator, "one" * 3_000, len(handles) + 1))
"""


def test_a_limit_on_the_size_of_files(site: Site) -> None:
    code = (
        LIMIT
        + """
    for handle in handles:
        fulfilled(handle)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while replicator.stats().unsaved:
        time.sleep(0.01)
    fulfilled(write(replicator, "one", len(handles) + 1))
    assert replicator.close(5)
    say(len(handles))
    """
    )
    (count,) = site.program(code).succeed().lines
    assert site.written(0) == site.written(1) == list(range(int(count) + 2))


def test_a_kill_while_the_disk_is_full_is_not_hidden(site: Site) -> None:
    """What was only in memory is lost, as was told; that replicas had it is noticed."""
    code = (
        LIMIT
        + """
    for handle in handles:
        fulfilled(handle)
    say(len(handles))
    die()
    """
    )
    program = site.program(code)
    assert program.end() == -9
    assert "are lost if this process ends before" in program.errors
    written = site.written()
    assert written == list(range(int(program.lines[0]) + 1))
    replicator = site.connect()
    until(lambda: of(replicator, "peer-0").state == "diverged", "it is noticed")
    replicator.close(0)
    assert site.written() == written, "nothing twice"


def test_a_backlog_that_fills_the_disk(site: Site) -> None:
    """One replica is down, and the disk fills up with what it has to get."""
    site.down(1)
    with small_disk(site.journal, 1_024):
        replicator = site.connect(durability="process")
        handles = [write(replicator, "one" * 300, k) for k in range(1_500)]
        assert replicator.stats().unsaved > 0
        until(lambda: of(replicator, "peer-0").pending == 0, "the other has everything")
        site.up()
        for handle in handles:
            fulfilled(handle)
        until(lambda: replicator.stats().unsaved == 0, "there is room again")
        replicator.close(5)
    assert site.written(0) == site.written(1) == list(range(1_500))


def test_dead_letters_outlive_a_full_disk(site: Site) -> None:
    """What the file holds stays when the log begins anew, and so does what it has no room for."""
    with small_disk(site.journal, 1_536) as folder:
        filler = folder / "filler"
        filler.write_bytes(b"x" * 500_000)
        replicator = site.connect(durability="process")
        for k in range(5):
            _reject(replicator, k)
        site.down(1)
        handles = [write(replicator, "one" * 300, k) for k in range(1_500)]
        handles += [_reject(replicator, k) for k in range(5, 10)]
        assert replicator.stats().unsaved > 0
        site.up()
        for handle in handles:
            handle.wait(30)
        until(lambda: replicator.stats().unsaved == 0, "there is room again")
        assert replicator.stats().journal_problem is None
        replicator.close(5)
        filler.unlink()
        with site.connect() as replicator:
            kept = sorted((letter.replica, letter.seq) for letter in replicator.dead_letters())
    seqs = [*range(1, 6), *range(1_506, 1_511)]
    assert kept == [(name, seq) for name in ("peer-0", "peer-1") for seq in seqs]
    assert site.written(0) == site.written(1) == list(range(1_500))


def _reject(replicator: Replicator, k: int) -> Replication:
    replication = replicator.after_query("INSERT INTO missing VALUES (?)", (k,), 1)
    assert replication is not None
    return replication


@pytest.mark.parametrize("more", [0, 3, 30, 300])
def test_a_kill_on_a_full_disk_loses_nothing_that_was_saved(site: Site, more: int) -> None:
    """However often the log has begun anew by then."""
    code = f"""
    replicator = connect(durability="process")
    k = 0
    while replicator.stats().unsaved == 0:
        write(replicator, "one" * 300, k)
        k += 1
    for extra in range({more}):
        write(replicator, "one", k + extra)
        replicator.stats()
    say(k - 1)
    die()
    """
    site.down()
    with small_disk(site.journal, 1_024) as folder:
        filler = folder / "filler"
        filler.write_bytes(b"x" * 400_000)
        program = site.program(code)
        assert program.end() == -9
        (file,) = site.files()
        assert look(file, "PRAGMA integrity_check") == [("ok",)]
        filler.unlink()
        site.up()
        site.deliver()
    assert len(site.written(0)) >= int(program.lines[0]) > 100
    assert site.written(0) == site.written(1) == list(range(len(site.written(0))))


def test_the_file_of_a_full_disk_is_sound(site: Site) -> None:
    """What got in is there, whole, after a kill."""
    site.down()
    assert site.program(LIMIT.replace("fulfilled", "str") + "\n    die()").end() == -9
    (file,) = site.files()
    assert look(file, "PRAGMA integrity_check") == [("ok",)]
    ((saved,),) = look(file, "SELECT count(*) FROM writes")
    site.up()
    site.deliver()
    assert len(site.written(0)) == len(site.written(1)) == saved > 5


LOCKING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_caller_is_not_held_by_another_tools_lock(site: Site, durability: str) -> None:
    """It is as when the disk fails: told, delivered from memory, and made good afterwards."""
    with site.connect(durability=durability) as replicator:
        fulfilled(write(replicator, "a", 0))
        (file,) = site.files()
        command = [sys.executable, "-c", LOCKING, str(file)]
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as tool:
            assert tool.stdout is not None
            assert tool.stdin is not None
            tool.stdout.readline()
            began, slow = time.monotonic(), 0
            for k in range(1, 50):
                before = time.monotonic()
                fulfilled(write(replicator, "a", k))
                slow += time.monotonic() - before > 0.2
            # Long before another tool's lock is waited for as at the start.
            assert time.monotonic() - began < 4
            assert slow < 10
            assert "locked" in str(replicator.stats().journal_problem)
            assert replicator.stats().unsaved > 0
            tool.stdin.close()
        until(lambda: replicator.stats().journal_problem is None, "it can be written again", 10)
        assert replicator.stats().unsaved == 0
        assert replicator.sync()
    assert site.written() == list(range(50))
