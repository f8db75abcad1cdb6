"""Replicas that leave the settings and come back, and files of an older version."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from afterquery import Replica, Replicator
from replication.site import Site, look, write
from replication.world import TIMEOUT, connect, fulfilled, of, until


def _open(site: Site, *replicas: Replica, **settings: Any) -> Replicator:
    settings = {"journal": site.journal, "origin": "shop", "durability": "process"} | settings
    return connect(*replicas, **settings)


def _rebuild(site: Site, number: int, rows: list[int]) -> None:
    """A copy of the primary in a replica's place: without our tables, as documented."""
    client = site.peers[number].client()
    client.run("DELETE FROM log; DROP TABLE IF EXISTS tmp_afterquery_watermark")
    for k in rows:
        client.run(f"INSERT INTO log (who, k) VALUES ('copy', {k})")


def _write(site: Site, *replicas: Replica, rows: range) -> None:
    with _open(site, *replicas) as replicator:
        for k in rows:
            write(replicator, "a", k)
        assert replicator.flush(TIMEOUT)


def test_one_that_was_rebuilt_gets_what_comes_from_then_on(site: Site) -> None:
    one, two = site.replicas
    _write(site, one, two, rows=range(2))
    _write(site, one, rows=range(2, 4))
    _rebuild(site, 1, [0, 1, 2, 3])
    _write(site, one, two, rows=range(4, 6))
    assert site.written(0) == site.written(1) == list(range(6))


def test_one_that_lacks_what_came_meanwhile_says_so_and_gets_nothing(site: Site) -> None:
    one, two = site.replicas
    _write(site, one, two, rows=range(2))
    _write(site, one, rows=range(2, 4))
    with _open(site, one, two) as replicator:
        write(replicator, "a", 4)
        until(lambda: of(replicator, two.name).state == "diverged", "it is reported")
        _rebuild(site, 1, [0, 1, 2, 3, 4])
        replicator.resume(two.name)
        fulfilled(write(replicator, "a", 5))
    assert site.written(0) == site.written(1) == list(range(6))


def test_one_that_missed_nothing_goes_on(site: Site) -> None:
    one, two = site.replicas
    _write(site, one, two, rows=range(2))
    _write(site, one, rows=range(0))
    _write(site, one, two, rows=range(2, 4))
    assert site.written(0) == site.written(1) == [0, 1, 2, 3]


def test_what_is_pending_waits_for_one_that_comes_back_and_is_known_by_its_name(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Its URL is only where it is now."""
    one, two = site.replicas
    with _open(site, one, two) as replicator:
        fulfilled(write(replicator, "a", 0))
        site.down(1)
        handle = write(replicator, "a", 1)
        until(lambda: any(o.replica == one.name for o in handle.outcomes), "one has it")
        replicator.close(0.1)
    site.up(1)
    with _open(site, one):
        until(lambda: "Replica(url, name=" in caplog.text, "it is told what to do")
    moved = Replica(site.peers[1].url, name=two.name)
    _write(site, one, moved, rows=range(2, 3))
    assert site.written(0) == site.written(1) == [0, 1, 2]


def test_one_that_left_with_something_pending_does_not_lack_the_rest_without_a_word(
    site: Site,
) -> None:
    """What came while it was away is not for it: it says so, once and after a restart."""
    one, two = site.replicas
    with _open(site, one, two) as replicator:
        fulfilled(write(replicator, "a", 0))
        site.down(1)
        handle = write(replicator, "a", 1)
        until(lambda: any(o.replica == one.name for o in handle.outcomes), "one has it")
        replicator.close(0.1)
    site.up(1)
    _write(site, one, rows=range(2, 4))
    _write(site, one, rows=range(4, 5))
    with _open(site, one, two) as replicator:
        until(lambda: of(replicator, two.name).state == "diverged", "it is reported")
        assert "writes 3 to 5" in str(of(replicator, two.name).reason)
        replicator.close(0.1)
    with _open(site, one, two) as replicator:
        until(lambda: of(replicator, two.name).state == "diverged", "it is reported again")
        _rebuild(site, 1, [0, 1, 2, 3, 4])
        replicator.resume(two.name)
        fulfilled(write(replicator, "a", 5))
    assert site.written(0) == site.written(1) == list(range(6))


def test_one_that_never_got_anything_does_not_lack_the_rest_without_a_word(site: Site) -> None:
    """No watermark could tell it."""
    one, two = site.replicas
    _write(site, one, two, rows=range(0))
    _write(site, one, rows=range(2))
    with _open(site, one, two) as replicator:
        until(lambda: of(replicator, two.name).state == "diverged", "it is reported")
        replicator.close(0.1)


def test_what_was_rejected_before_a_copy_is_no_letter_of_the_one_that_comes_back(
    site: Site,
) -> None:
    """Replayed, it would be there twice."""
    one, two = site.replicas
    site.peers[1].client().run("ALTER TABLE log RENAME TO away")
    _write(site, one, two, rows=range(1))
    site.peers[1].client().run("ALTER TABLE away RENAME TO log")
    _write(site, one, rows=range(1, 2))
    _rebuild(site, 1, [0, 1])
    with _open(site, one, two) as replicator:
        fulfilled(write(replicator, "a", 2))
        assert replicator.dead_letters() == []
    assert site.written(1) == [0, 1, 2]


def test_what_is_pending_for_one_that_is_gone_is_bounded(site: Site) -> None:
    one, two = site.replicas
    site.down(1)
    with _open(site, one, two) as replicator:
        for k in range(50):
            write(replicator, "a", k)
        until(lambda: of(replicator, one.name).pending == 0, "one has it")
        replicator.close(0.1)
    site.up(1)
    with _open(site, one, max_journal_bytes=1_000):
        pass
    (file,) = site.files()
    assert look(file, "SELECT name FROM replicas") == [(one.name,)]
    with _open(site, one, two) as replicator:
        # It never had anything of this origin, so that no watermark tells what it lacks.
        until(lambda: of(replicator, two.name).state == "diverged", "it is reported")
        assert "writes 1 to 50" in str(of(replicator, two.name).reason)
        _rebuild(site, 1, list(range(50)))
        replicator.resume(two.name)
        fulfilled(write(replicator, "a", 50))
    assert site.written(0) == site.written(1) == list(range(51))


def test_an_origin_may_see_any_number_of_names(site: Site) -> None:
    (url, _) = (proxy.url for proxy in site.proxies)
    for first in range(0, 200, 50):
        names = [Replica(f"{url}/{n}", name=f"pod-{n}") for n in range(first, first + 50)]
        _open(site, *names).close(0)
    with _open(site, Replica(url, name="pod-0")) as replicator:
        fulfilled(write(replicator, "a", 0))


def test_others_journals_of_many_names_are_no_burden(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.down()
    url = site.proxies[0].url
    for first in (0, 40):
        names = [Replica(f"{url}/{n}", name=f"pod-{n}") for n in range(first, first + 40)]
        replicator = connect(*names, journal=site.journal, durability="process")
        write(replicator, "a", first)
        replicator.close(0)
    assert "more than 64" not in caplog.text
    assert len(site.files()) == 2
    site.up()


V1 = """
CREATE TABLE origin (id TEXT NOT NULL, named INTEGER NOT NULL, created REAL NOT NULL, last INTEGER NOT NULL);
CREATE TABLE replicas (bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, position INTEGER NOT NULL, state TEXT NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE writes (seq INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, targets INTEGER NOT NULL, expected INTEGER,
    submitted REAL NOT NULL, many INTEGER NOT NULL, sum INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY, replica TEXT NOT NULL, origin TEXT NOT NULL, seq INTEGER NOT NULL,
    code TEXT NOT NULL, message TEXT NOT NULL, attempts INTEGER NOT NULL, time REAL NOT NULL, expected INTEGER,
    body TEXT NOT NULL, UNIQUE (replica, origin, seq));
PRAGMA application_id = 1634104433;
PRAGMA user_version = 1;
"""  # noqa: E501


def _sum(*numbers: int, text: str) -> int:
    return zlib.crc32(
        b"".join(n.to_bytes(8, "little", signed=True) for n in numbers) + text.encode()
    )


def _version_1(folder: Path, origin: str, cursors: dict[str, int], *, named: bool) -> None:
    """A journal as version 1 left it, with three writes for each replica."""
    folder.mkdir()
    state = json.dumps({"step": 0, "issued": [], "finished": False, "synced": False})
    with closing(sqlite3.connect(folder / f"{origin}.journal")) as connection:
        connection.executescript(f"PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; {V1}")
        with connection:
            connection.execute("INSERT INTO origin VALUES (?, ?, 1.0, 3)", (origin, named))
            for bit, (name, position) in enumerate(cursors.items()):
                row = (bit, name, position, state, _sum(position, text=state))
                connection.execute("INSERT INTO replicas VALUES (?, ?, ?, ?, ?)", row)
            for seq in (1, 2, 3):
                sql = f"INSERT INTO log (who, k) VALUES ('old', {seq})"
                targets = (1 << len(cursors)) - 1
                total = _sum(seq, targets, 1, 0, text=sql)
                write_row = (seq, 100, targets, 1, 1.0, 0, total, sql)
                connection.execute("INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", write_row)


def test_a_file_of_version_1_is_delivered(site: Site) -> None:
    names = [replica.name for replica in site.replicas]
    _version_1(site.journal, "old", dict.fromkeys(names, 0), named=False)
    with site.connect() as replicator:
        assert replicator.flush(TIMEOUT)
        # It did not note how its process ended.
        assert replicator.stats().not_certain is None
    assert site.written(0) == site.written(1) == [1, 2, 3]
    assert site.files() == []


def test_a_replica_that_version_1_had_put_past_everything_lacks_something(
    site: Site,
) -> None:
    one, two = site.replicas
    cursors = {one.name: 0, two.name: 2**63 - 1}
    _version_1(site.journal, "shop", cursors, named=True)
    with _open(site, one, two) as replicator:
        until(lambda: of(replicator, two.name).state == "diverged", "it is reported")
        _rebuild(site, 1, [1, 2, 3])
        replicator.resume(two.name)
        for k in (4, 5):
            fulfilled(write(replicator, "a", k))
    assert site.written(0) == site.written(1) == [1, 2, 3, 4, 5]
    assert look(site.files()[0], "PRAGMA user_version") == [(2,)]
