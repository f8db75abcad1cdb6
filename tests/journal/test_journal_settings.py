"""A journal and the settings: what cannot work is said at once, and replicas may come and go."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from afterquery import AfterqueryError, ConfigurationError, JournalError
from replication.site import INSERT, Site, edit, look, write
from replication.world import TIMEOUT, connect, fulfilled, of, until


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"durability": "process"}, "durability=process cannot be used: it needs journal="),
        ({"durability": "disk"}, "durability=disk cannot be used: it needs journal="),
        ({"origin": "mine"}, 'origin="mine" cannot be used: it needs journal='),
        (
            {"journal": ".", "durability": "fsync"},
            'durability="fsync" cannot be used: it is "async"',
        ),
        ({"journal": ".", "max_journal_bytes": 0}, "max_journal_bytes=0 cannot be used"),
        ({"journal": ".", "origin": ""}, "origin="),
        ({"journal": ".", "origin": "a/b"}, "it may hold letters, digits and '-'"),
        ({"journal": ".", "origin": "../x"}, "it may hold letters, digits and '-'"),
        ({"journal": ".", "origin": "naïve"}, "it may hold letters, digits and '-'"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        connect("http://127.0.0.1:1", **settings)
    assert said in str(raised.value)


@pytest.mark.parametrize("journal", [3, b"bytes", ["a"]])
def test_a_journal_that_is_no_path(journal: object) -> None:
    with pytest.raises(TypeError):
        connect("http://127.0.0.1:1", journal=journal)


def test_the_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    connect("http://127.0.0.1:1", journal=tmp_path / "a" / "b").close(0)
    assert (tmp_path / "a" / "b").is_dir()


def test_a_replica_that_is_removed_leaves_its_writes_in_the_file(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """They are told of, and delivered when it is back."""
    site.leave("dead", 3)
    first, second = site.replicas
    caplog.set_level(logging.WARNING, "afterquery")
    with connect(first, journal=site.journal) as replicator:
        fulfilled(write(replicator, "one", 0))
    assert 'holds 3 writes for "peer-1", which is not among the replicas' in caplog.text
    assert site.order(0) == ["dead"] * 3 + ["one"]
    assert len(site.files()) == 1
    with connect(second, first, journal=site.journal) as replicator:
        assert replicator.flush(TIMEOUT)
    assert (site.order(1), len(site.order(0))) == (["dead"] * 3, 4)
    assert site.files() == []


def test_a_replica_that_is_added_gets_what_comes_after(site: Site) -> None:
    first, second = site.replicas
    site.down()
    replicator = connect(first, journal=site.journal)
    write(replicator, "dead", 0)
    replicator.close(0)
    site.up()
    with connect(second, first, journal=site.journal) as replicator:
        fulfilled(write(replicator, "new", 0))
    assert (site.order(0), site.order(1)) == (["dead", "new"], ["new"])
    assert site.files() == []


def test_replicas_in_another_order_get_their_own_writes(site: Site) -> None:
    """Also where each gets something else."""
    first, second = site.replicas
    site.down(1)
    replicator = site.connect()
    for k in range(3):
        write(replicator, "dead", k)
    until(lambda: of(replicator, "peer-0").pending == 0, "the first has everything")
    replicator.close(0)
    site.up()
    with connect(second, first, journal=site.journal) as replicator:
        fulfilled(write(replicator, "new", 0))
    assert site.order(0) == site.order(1) == ["dead"] * 3 + ["new"]
    assert site.files() == []


def test_a_file_of_a_newer_version_is_refused_and_left_alone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    file = site.leave("dead", 3)
    edit(file, "PRAGMA user_version = 3; PRAGMA wal_checkpoint(TRUNCATE)")
    before = file.read_bytes()
    with site.connect() as replicator:
        fulfilled(write(replicator, "new", 0))
        until(lambda: "has format 3" in caplog.text, "it is told")
    assert f"{file} is left as it is, and nothing in it is delivered" in caplog.text
    assert "reads formats up to 2; deliver it with the version that wrote it" in caplog.text
    assert file.read_bytes() == before
    assert site.order() == ["new"]
    with pytest.raises(JournalError, match="has format 3"):
        site.connect(origin=file.stem)
    assert file.read_bytes() == before


def test_two_replicators_of_one_process_share_a_directory(site: Site) -> None:
    site.down()
    one, two = site.connect(), site.connect()
    assert one.origin != two.origin
    for k in range(20):
        write(one, "one", k)
        write(two, "two", k)
    assert one.stats().replicas[0].pending == two.stats().replicas[0].pending == 20
    site.up()
    assert one.flush(TIMEOUT)
    assert two.flush(TIMEOUT)
    assert site.written(0, "one") == site.written(1, "two") == list(range(20))
    one.close(5)
    fulfilled(write(two, "two", 20))
    two.close(5)
    assert site.files() == []


def test_two_processes_share_a_directory_and_leave_each_other_alone(site: Site) -> None:
    code = """
        replicator = connect(durability="process")
        for k in range(200):
            write(replicator, sys.argv[0][-12:-11] + os.environ["WHO"], k)
        say("written")
        assert replicator.flush(30)
        assert replicator.close(5)
    """
    with site.program(code, "a", WHO="a") as a, site.program(code, "b", WHO="b") as b:
        a.succeed()
        b.succeed()
    assert site.written(0, "%a") == site.written(1, "%b") == list(range(200))
    assert site.files() == []


def test_looking_into_a_file_in_use_takes_nothing_from_it(site: Site) -> None:
    """Another program that opens it must not be taken for the last one to close it."""
    site.down()
    code = """
        import subprocess
        one = connect(durability="process")
        two = connect(durability="process")
        write(one, "one", 0)
        look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM writes')"
        file = f"{os.environ['JOURNAL']}/{one.origin}.journal"
        subprocess.run([sys.executable, "-c", look, file], check=True)
        write(one, "one", 1)
        assert (one.stats().unsaved, one.stats().journal_problem) == (0, None)
        die()
    """
    assert site.program(code).end() == -9
    site.up()
    with site.connect() as replicator:
        replicator.flush(2)
        replicator.close(0)
    assert site.written() == [0, 1]


def test_a_named_origin_goes_on_with_its_numbers(site: Site) -> None:
    with site.connect(origin="worker-1") as replicator:
        assert replicator.origin == "worker-1"
        assert [write(replicator, "one", k).seq for k in range(3)] == [1, 2, 3]
        replicator.flush(TIMEOUT)
    site.down()
    replicator = site.connect(origin="worker-1")
    fourth = write(replicator, "one", 3)
    replicator.close(0)
    site.up()
    with site.connect(origin="worker-1") as replicator:
        fifth = write(replicator, "one", 4)
        fulfilled(fifth)
    assert fifth.seq == fourth.seq + 1
    assert site.written() == list(range(5))


@pytest.mark.parametrize("between", ["nobody", "another process"])
def test_a_named_origin_never_gives_a_number_twice(site: Site, between: str) -> None:
    # On replicas that another test used.
    origin = f"outbox-{between.replace(' ', '-')}"
    with site.connect(origin=origin) as replicator:
        for seq in range(1, 4):
            with replicator.transaction() as transaction:
                transaction.after_query(INSERT, ("outbox", seq), 1)
                transaction.commit(seq=seq)
        assert replicator.flush(TIMEOUT)
    if between == "another process":
        site.connect().close(5)
    with site.connect(origin=origin) as replicator:
        transaction = replicator.transaction()
        transaction.after_query(INSERT, ("outbox", 3), 1)
        assert transaction.commit(seq=3) is None, "it was handed over before"
        assert write(replicator, "new", 0).seq == 4
        replicator.flush(TIMEOUT)
    assert site.written(0, "outbox") == [1, 2, 3]


def test_a_named_origin_is_used_by_one_process_at_a_time(site: Site) -> None:
    with (
        site.program("r = connect(origin='mine'); say('up'); time.sleep(60)") as program,
    ):
        program.expect("up")
        with pytest.raises(JournalError, match=r"mine\.journal cannot be used: another process"):
            site.connect(origin="mine")
        with site.connect() as replicator:
            fulfilled(write(replicator, "other", 0))
            assert replicator.origin != "mine"
    with site.connect(origin="mine") as replicator:
        # The lock ended with the process.
        with pytest.raises(JournalError, match="another process is using it"):
            site.connect(origin="mine")
        fulfilled(write(replicator, "mine", 0))
    assert issubclass(JournalError, AfterqueryError)
    assert issubclass(JournalError, OSError)


def test_a_named_origin_is_adopted_and_keeps_its_numbers(site: Site) -> None:
    file = site.leave("dead", 3, origin="adopted")
    assert file.name == "adopted.journal"
    assert look(file, "SELECT count(*) FROM writes") == [(3,)]
    with site.connect() as replicator:
        assert replicator.flush(TIMEOUT)
    assert site.written() == [0, 1, 2]
    assert site.files() == [file]
    with site.connect(origin="adopted") as replicator:
        assert write(replicator, "new", 3).seq == 4


def test_a_named_origin_does_not_take_another_ones_file(site: Site) -> None:
    file = site.leave("dead", 3)
    file.with_name("another.journal").write_bytes(file.read_bytes())
    with pytest.raises(JournalError, match="copied or renamed"):
        site.connect(origin="another").close(5)
