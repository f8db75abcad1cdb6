"""Two processes that write to one database without an outbox: their orders are not merged, and that
is told to both."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from afterquery import _sharing
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.program import Program

WRITER = """
import sys
import time
from pathlib import Path

from afterquery import Replicator, confirm_equal

how, name, url, token = sys.argv[1:]
replicator = Replicator([url], auth_token=token)
if how == "sqlalchemy":
    from sqlalchemy import create_engine, text

    from afterquery.sqlalchemy import attach

    engine = create_engine("sqlite:///../app.db")
    attach(engine, replicator)

    def write():
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t (who) VALUES (:who)"), {"who": name})

elif how == "aiosqlite":
    import asyncio

    import afterquery.aiosqlite

    async def one():
        async with afterquery.aiosqlite.connect("../app.db", replicator=replicator) as db:
            await db.execute("INSERT INTO t (who) VALUES (?)", (name,))
            await db.commit()

    def write():
        asyncio.run(one())

elif how == "django":
    import django
    from django.conf import settings

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "../app.db"}},
        INSTALLED_APPS=["afterquery.django"],
        AFTERQUERY={"REPLICAS": [url], "AUTH_TOKEN": token},
    )
    django.setup()
    from django.db import connection

    from afterquery.django import replicator as of_django

    replicator = of_django()

    def write():
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO t (who) VALUES (%s)", [name])

else:
    import afterquery.sqlite3

    db = afterquery.sqlite3.connect("../app.db", replicator=replicator)

    def write():
        with db:
            db.execute("INSERT INTO t (who) VALUES (?)", (name,))


def wait(step):
    print(step, flush=True)
    while not Path(step).exists():
        time.sleep(0.005)


def tell(what):
    print(what, "flush" if replicator.flush(20) else "no flush",
          replicator.stats().integrations.unordered, flush=True)
"""
FIRST = WRITER + "write()\ntell('alone')\nwait('later')\ntell('later')\n"
SECOND = WRITER + "write()\ntell('second')\n"
HOWS = ["sqlite3", "sqlalchemy", "aiosqlite", "django"]


class Site:
    """A database, and where its processes look for each other."""

    def __init__(self, folder: Path, peer: PeerProcess) -> None:
        self.folder = folder
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self._peer = peer
        with closing(sqlite3.connect(folder / "app.db")) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, who)")
        peer.client().run("CREATE TABLE t (id INTEGER PRIMARY KEY, who)")

    def program(self, name: str, code: str, how: str = "sqlite3") -> Program:
        env = {"TMPDIR": str(self.temporary)}
        arguments = (how, name, self._peer.url, ADMIN_TOKEN)
        return Program(self.folder / name, code, *arguments, env=env)

    def go(self, name: str, step: str) -> None:
        (self.folder / name / step).touch()

    def marks(self) -> list[Path]:
        return list(self.temporary.glob("afterquery-*/*"))


@pytest.fixture
def site(tmp_path: Path, peer: PeerProcess) -> Site:
    return Site(tmp_path, peer)


@pytest.mark.parametrize("how", ["sqlite3", "sqlalchemy", "aiosqlite", "django"])
def test_both_are_told(site: Site, how: str) -> None:
    with site.program("first", FIRST, how) as first:
        first.expect("later")
        assert "alone flush None" in first.lines
        second = site.program("second", SECOND).succeed()
        assert second.lines[0].startswith("second no flush another process writes to ")
        assert "Use an outbox" in second.errors
        site.go("first", "later")
        first.succeed()
        assert first.lines[-1].startswith("later no flush another process writes to ")
        assert "app.db" in first.lines[-1]
        assert first.errors.count("another process writes to ") == 1


def test_one_after_the_other_is_fine(site: Site) -> None:
    for name in ("first", "second"):
        assert site.program(name, SECOND).succeed().lines == ["second flush None"]


def test_a_killed_process_is_gone(site: Site) -> None:
    with site.program("first", FIRST) as first:
        first.expect("later")
        first.kill()
    assert site.program("second", SECOND).succeed().lines == ["second flush None"]


def test_who_only_reads_is_no_second_one(site: Site) -> None:
    reads = WRITER + "db.execute('SELECT * FROM t').fetchall()\ntell('read')\n"
    with site.program("first", FIRST) as first:
        first.expect("later")
        assert site.program("reader", reads).succeed().lines == ["read flush None"]
        site.go("first", "later")
        assert first.succeed().lines[-1] == "later flush None"


def test_the_child_of_a_fork_is_a_second_process(site: Site) -> None:
    code = (
        WRITER
        + """
import os

write()
tell("before")
child = os.fork()
if child == 0:
    db = afterquery.sqlite3.connect("../app.db", replicator=replicator)
    write()
    tell("child")
    os._exit(0)
os.waitpid(child, 0)
tell("parent")
"""
    )
    lines = site.program("forks", code).succeed().lines
    assert lines[0] == "before flush None"
    assert [line.split(" another")[0] for line in lines[1:]] == [
        "child no flush",
        "parent no flush",
    ]


def test_the_replicas_can_be_said_to_be_equal_again(site: Site) -> None:
    ends = "wait('later')\nconfirm_equal(replicator)\ntell('still')\n"
    ends += "wait('over')\nconfirm_equal(replicator)\ntell('over')\n"
    with site.program("first", WRITER + "write()\n" + ends) as first:
        first.expect("later")
        with site.program("second", FIRST) as second:
            second.expect("later")
            site.go("first", "later")
            first.expect("over")
            # The other one lives: to say so does not make it so.
            assert first.lines[1].startswith("still no flush another process writes to ")
            second.kill()
        site.go("first", "over")
        assert first.succeed().lines[-1] == "over flush None"


def test_a_mark_that_was_tidied_up_is_set_again(site: Site) -> None:
    looks = "wait('tidied')\ntell('looked')\n"
    with site.program("first", WRITER + "write()\n" + looks + FIRST[len(WRITER) :]) as first:
        first.expect("tidied")
        (mark,) = site.marks()
        mark.unlink()
        site.go("first", "tidied")
        first.expect("later")
        assert "looked flush None" in first.lines
        second = site.program("second", SECOND).succeed()
        assert second.lines[0].startswith("second no flush")


def test_nothing_is_locked_beside_the_database(site: Site) -> None:
    """And what stands for it is its user's alone."""
    with site.program("first", FIRST) as first:
        first.expect("later")
        (mark,) = site.marks()
        assert stat.S_IMODE(mark.stat().st_mode) == 0o600
        assert stat.S_IMODE(mark.parent.stat().st_mode) == 0o700
    beside = {path.name for path in site.folder.glob("app.db*")}
    assert beside <= {"app.db", "app.db-wal", "app.db-shm"}


@pytest.mark.parametrize("how", ["sqlite3", "sqlalchemy"])
def test_where_it_cannot_be_looked_for_statements_go_on(site: Site, how: str) -> None:
    (site.temporary / f"afterquery-{os.getuid()}").write_text("somebody else's")
    code = WRITER + "write()\ntell('wrote')\nprint(replicator.stats().integrations.errors)\n"
    program = site.program("first", code, how).succeed()
    assert program.lines[0] == "wrote flush None"
    told = "whether other processes write to the same database could not be looked for"
    assert told in program.lines[1]
    assert told in program.errors


def test_only_so_many_databases_are_looked_after(site: Site) -> None:
    code = (
        WRITER
        + """
from afterquery import _sharing

_sharing.MOST = 2
for number in range(4):
    with afterquery.sqlite3.connect(f"{number}.db", replicator=replicator) as db:
        db.execute("CREATE TABLE t (who)")
        db.execute("INSERT INTO t VALUES (1)")
    db.close()
print(sum(replicator.stats().integrations.errors.values()))
"""
    )
    assert site.program("first", code).succeed().lines == ["2"]
    assert len(site.marks()) == 2


def test_a_deleted_database_is_none_of_the_one_that_has_its_number(site: Site) -> None:
    """File systems give the numbers of deleted files again: to another test worker, say."""
    gone = "import os\nos.rename('../app.db', '../other.db')\n"
    renamed = WRITER.replace("../app.db", "../other.db")
    with site.program(
        "first", WRITER + "write()\ndb.close()\nwait('gone')\ntell('later')\n"
    ) as first:
        first.expect("gone")
        # The same number, and no way for the first one's path to it.
        second = site.program("second", gone + renamed + "write()\ntell('second')\n").succeed()
        assert second.lines == ["second flush None"]
        site.go("first", "gone")
        assert first.succeed().lines[-1] == "later flush None"


def test_two_names_of_a_database_in_one_process_are_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path, link = tmp_path / "app.db", tmp_path / "link.db"
    path.touch()
    link.hardlink_to(path)
    found = path.stat()
    mark = _sharing._Mark((found.st_dev, found.st_ino), str(path))
    for name in (link, path, link):
        mark.known_by(str(name))
        assert not mark.is_shared
    path.unlink()
    mark.known_by(str(link))
    assert not mark.is_shared


def test_a_mark_that_is_tidied_up_often_leaves_no_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mark = _sharing._Mark((1, 2), "app.db")
    before = len([*Path("/dev/fd").iterdir()])
    for _ in range(20):
        for path in tmp_path.glob("afterquery-*/*"):
            path.unlink()
        assert not mark.is_shared
    assert len([*Path("/dev/fd").iterdir()]) == before


def test_the_application_keeps_its_descriptors(site: Site) -> None:
    """As where 256 are allowed, the default of macOS."""
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))\n"
        + WRITER
        + """
for number in range(200):
    with afterquery.sqlite3.connect(f"{number}.db", replicator=replicator) as db:
        db.execute("CREATE TABLE t (who)")
        db.execute("INSERT INTO t VALUES (1)")
    db.close()
print("all")
"""
    )
    assert site.program("first", code).succeed().lines == ["all"]
    assert len(site.marks()) == 16


def test_a_descriptor_that_became_another_files_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a program has closed all that it does not know."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mark = _sharing._Mark((1, 2), "app.db")
    assert not mark.is_shared
    victim = tmp_path / "victim"
    victim.write_text("the application's")
    for look in (mark.look_again, lambda: mark.is_shared):
        with victim.open("r+") as file:
            os.dup2(file.fileno(), mark._file)
        before, taken = victim.stat(), mark._file
        look()
        assert victim.read_text() == "the application's"
        assert victim.stat().st_mtime_ns == before.st_mtime_ns
        assert mark._file != taken
        assert not mark.is_shared
        os.close(taken)
