"""Each way a journal's files can be damaged: an error that says so or a recovery, never silence.

What is expected of each stands in docs/reliability.md, "When a file is damaged".
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replication.site import Site, edit, look, write
from replication.world import TIMEOUT, fulfilled, of, until

COUNT = 20


def _killed(site: Site, count: int = COUNT) -> Path:
    """The journal of a process that was killed: its writes are in the -wal file."""
    site.down()
    code = f"""
        replicator = connect(durability="process")
        for k in range({count}):
            write(replicator, "dead", k)
        die()
    """
    assert site.program(code).end() == -9
    site.up()
    (file,) = site.files()
    assert _beside(file, "-wal").stat().st_size > 0
    return file


def _beside(file: Path, end: str) -> Path:
    return file.with_name(file.name + end)


def _left_alone(site: Site, file: Path, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """The file stays as it is, byte for byte; the log says so; and new writes go on."""
    before = file.read_bytes()
    _told(site, file, caplog, why)
    assert file.read_bytes() == before


def _told(site: Site, file: Path, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """The log says that the file is not delivered; and new writes go on."""
    caplog.clear()
    with site.connect() as replicator:
        fulfilled(write(replicator, "new", 0))
        until(lambda: "is left as it is" in caplog.text, "it is told")
    assert f"{file} is left as it is, and nothing in it is delivered" in caplog.text
    assert why in caplog.text
    assert site.order(0) == site.order(1) == ["new"]


def _diverged(site: Site, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """Both replicas get nothing more, for this reason, until they are resumed."""
    replicator = site.connect()
    for name in ("peer-0", "peer-1"):
        until(lambda: of(replicator, name).state == "diverged", f"{name} stops")  # noqa: B023
        assert why in (of(replicator, name).reason or "")
    replicator.close(0)
    until(lambda: caplog.text.count("gets nothing more") >= 2, "it is told")

    replicator = site.connect()
    for name in ("peer-0", "peer-1"):
        until(lambda: of(replicator, name).state == "diverged", "it still does")  # noqa: B023
        replicator.resume(name)
    fulfilled(write(replicator, "resumed", 0))
    replicator.close(5)
    site.gone()


@pytest.mark.parametrize("length", [1, 16, 99, 100, 1_000, 4_096, 8_000, "half", "all but one"])
def test_the_main_file_is_cut(
    site: Site, caplog: pytest.LogCaptureFixture, length: int | str
) -> None:
    file = site.leave("dead", 200)
    content = file.read_bytes()
    size = {"half": len(content) // 2, "all but one": len(content) - 1}.get(str(length), length)
    assert isinstance(size, int)
    file.write_bytes(content[:size])
    caplog.clear()
    replicator = site.connect()
    new = write(replicator, "new", 0)
    replicator.flush(0.5)
    told = caplog.text
    replicator.close(0)
    delivered = site.written(0, "dead")
    if new.settled:
        assert "is left as it is" in told
        assert delivered == []
        assert file.stat().st_size == size
    else:
        assert of(replicator, "peer-0").state in ("diverged", "closed")
        assert "is damaged" in told
    assert delivered == list(range(len(delivered)))


@pytest.mark.parametrize("content", [b"", bytes(4_096)])
def test_the_main_file_is_empty(
    site: Site, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    file = site.leave("dead", 3)
    file.write_bytes(content)
    _left_alone(site, file, caplog, "it is empty, but held writes up to number 3")


def test_the_main_file_is_empty_and_nothing_was_ever_in_it(site: Site) -> None:
    """Its process ended while it made it."""
    site.journal.mkdir()
    for name in ("one.journal", "one.lock", "two.journal"):
        (site.journal / name).touch()
    site.deliver()
    assert list(site.journal.iterdir()) == []


@pytest.mark.parametrize("end", ["", "-journal", "-wal"])
def test_what_the_power_left_of_a_journal_that_was_being_made_is_removed(
    site: Site, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.journal.mkdir(exist_ok=True)
    file = site.journal / "0b0f8b2e-7d2c-4a52-9d0a-3f5b6b8b8f10.journal"
    _beside(file, end).write_bytes(bytes(4096))
    with site.connect() as replicator:
        fulfilled(write(replicator, "new", 0))
    assert list(site.journal.iterdir()) == []
    assert "is left as it is" not in caplog.text


def test_the_power_fails_while_the_log_is_copied_into_a_new_journal(site: Site) -> None:
    file = _killed(site)
    with closing(sqlite3.connect(file)) as connection:
        # The first kill has all in the log but what was there when it was made: have it there too.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("UPDATE origin SET created = created + 1")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'origin'"
        ).fetchone()
        connection.commit()
        copies = {end: _beside(file, end).read_bytes() for end in ("", "-wal")}
    start = (page - 1) * 4096
    main = copies[""]
    file.write_bytes(main[:start] + bytes(4096) + main[start + 4096 :])
    _beside(file, "-wal").write_bytes(copies["-wal"])
    with site.connect() as replicator:
        assert replicator.flush(TIMEOUT)
    assert len(site.order(0)) == COUNT
    assert site.files() == []


@pytest.mark.parametrize("garbage", [b"hello", b"SQLite format 3\0" + b"\xff" * 200])
def test_the_header_is_garbage(
    site: Site, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    file = site.leave("dead", 3)
    file.write_bytes(garbage + file.read_bytes()[len(garbage) :])
    _left_alone(site, file, caplog, "it is ")


def test_a_database_of_somebody_else_is_called_journal(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.journal.mkdir()
    file = site.journal / "x.journal"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE mine (a); ")
    _left_alone(site, file, caplog, "it is a SQLite database, but not a journal of afterquery")
    assert [path.name for path in site.journal.iterdir()] == ["x.journal"]


def test_it_was_renamed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    file = site.leave("dead", 3)
    renamed = file.rename(file.with_name("renamed.journal"))
    _left_alone(site, renamed, caplog, f"it holds the writes of {file.stem}: it was copied")


def test_it_was_copied_under_another_name(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The original is delivered, once."""
    file = site.leave("dead", 3)
    copy = file.with_name("copy.journal")
    copy.write_bytes(file.read_bytes())
    with site.connect() as replicator:
        assert replicator.flush(TIMEOUT)
    assert "it was copied or renamed" in caplog.text
    assert site.written(0) == site.written(1) == [0, 1, 2]
    assert site.files() == [copy]


def test_the_wal_is_missing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    file = _killed(site)
    _beside(file, "-wal").unlink()
    _diverged(site, caplog, f"writes 1 to {COUNT} are missing from it")
    assert f"has lost its end: writes 1 to {COUNT} were in it" in caplog.text


def test_the_wal_is_cut_at_its_tail(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    file = _killed(site)
    wal = _beside(file, "-wal")
    wal.write_bytes(wal.read_bytes()[:-5_000])
    caplog.clear()
    replicator = site.connect()
    until(lambda: of(replicator, "peer-0").state == "diverged", "it stops")
    replicator.close(0)
    assert "has lost its end" in caplog.text
    delivered = site.written()
    assert delivered == list(range(len(delivered)))
    assert 0 < len(delivered) < COUNT


def test_the_wal_is_cut_at_its_tail_and_the_replicas_are_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    file = _killed(site)
    wal = _beside(file, "-wal")
    wal.write_bytes(wal.read_bytes()[:-5_000])
    _diverged(site, caplog, "are missing from it")
    assert "has lost its end" in caplog.text


def test_the_wal_has_garbage_at_its_tail(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """SQLite takes a frame with a wrong check sum for the end."""
    file = _killed(site)
    wal = _beside(file, "-wal")
    content = wal.read_bytes()
    wal.write_bytes(content[:-5_000] + b"\xa5" * 5_000)
    caplog.clear()
    replicator = site.connect()
    until(lambda: of(replicator, "peer-0").state == "diverged", "it stops")
    replicator.close(0)
    assert "has lost its end" in caplog.text
    assert 0 < len(site.written()) < COUNT


def test_garbage_after_the_end_of_the_wal_harms_nothing(site: Site) -> None:
    file = _killed(site)
    with _beside(file, "-wal").open("ab") as wal:
        wal.write(b"\xa5" * 9_999)
    site.deliver()
    assert site.written(0) == site.written(1) == list(range(COUNT))


def test_the_shm_is_garbage(site: Site) -> None:
    """It is an index that SQLite makes anew."""
    file = _killed(site)
    _beside(file, "-shm").write_bytes(b"\xa5" * 32_768)
    site.deliver()
    assert site.written(0) == site.written(1) == list(range(COUNT))


def test_the_shm_is_missing(site: Site) -> None:
    file = _killed(site)
    _beside(file, "-shm").unlink()
    site.deliver()
    assert site.written(0) == site.written(1) == list(range(COUNT))


@pytest.mark.parametrize(
    "content", [None, b"", b"garbage", b"\xff" * 100, b"99999999999999999999999"]
)
def test_the_lock_file_is_damaged(site: Site, content: bytes | None) -> None:
    """Without its note a missing end is not noticed; what is there is delivered."""
    file = _killed(site)
    lock = file.with_suffix(".lock")
    lock.unlink() if content is None else lock.write_bytes(content)
    with site.connect() as replicator:
        assert replicator.flush(TIMEOUT)
    site.gone()
    assert site.written(0) == site.written(1) == list(range(COUNT))


def test_a_byte_of_a_text_is_flipped(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """It must not reach a replica as SQL."""
    file = site.leave("dead", 5)
    content = file.read_bytes()
    assert content.count(b"VALUES ('dead', 3)") == 1
    file.write_bytes(content.replace(b"VALUES ('dead', 3)", b"VALUES ('dead', 7)"))
    _diverged(site, caplog, "what it holds of write 4 is not what was put in")
    assert 7 not in site.written()


def test_what_comes_before_a_flipped_byte_is_delivered(site: Site) -> None:
    file = site.leave("dead", 5)
    edit(file, "UPDATE writes SET body = body || ' ' WHERE seq = 4")
    replicator = site.connect()
    until(lambda: of(replicator, "peer-0").state == "diverged", "it stops")
    replicator.close(0)
    assert site.written() == [0, 1, 2]


CHECKED = {
    "the replicas it is for": "UPDATE writes SET targets = 0 WHERE seq = 3",
    "its row count": "UPDATE writes SET expected = 65 WHERE seq = 3",
    "its kind": "UPDATE writes SET many = 1 WHERE seq = 3",
    "a position": "UPDATE replicas SET position = 3",
}


@pytest.mark.parametrize("field", CHECKED)
def test_another_field_is_flipped(site: Site, caplog: pytest.LogCaptureFixture, field: str) -> None:
    file = site.leave("dead", 5)
    edit(file, CHECKED[field])
    caplog.clear()
    replicator = site.connect()
    replicator.flush(1)
    replicator.close(0)
    assert "is damaged" in caplog.text or "is left as it is" in caplog.text


def test_flush_is_not_true_when_the_last_write_cannot_be_read(site: Site) -> None:
    file = site.leave("dead", 5)
    edit(file, "UPDATE writes SET body = body || ' ' WHERE seq = 5")
    replicator = site.connect()
    flushed = replicator.flush(1)
    replicator.close(0)
    assert not flushed


@pytest.mark.parametrize("seq", [1, 3])
def test_a_row_is_missing(site: Site, caplog: pytest.LogCaptureFixture, seq: int) -> None:
    file = site.leave("dead", 5)
    edit(file, f"DELETE FROM writes WHERE seq = {seq}")
    _diverged(site, caplog, f"writes {seq} to {seq} are missing from it")


def test_the_last_row_is_missing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    file = site.leave("dead", 5)
    edit(file, "DELETE FROM writes WHERE seq = 5")
    _diverged(site, caplog, "writes 5 to 5 are missing from it")


def test_what_is_known_of_a_replica_is_garbage(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    file = site.leave("dead", 5)
    edit(file, "UPDATE replicas SET state = '{'")
    held = look(file, "SELECT * FROM writes")
    # Only SQLite can tell, and that it was opened shows in the header.
    _told(site, file, caplog, "how far a replica is")
    assert look(file, "SELECT * FROM writes") == held


@pytest.mark.parametrize("table", ["origin", "replicas", "writes"])
def test_a_table_is_missing(site: Site, caplog: pytest.LogCaptureFixture, table: str) -> None:
    file = site.leave("dead", 5)
    edit(file, f"DROP TABLE {table}")
    caplog.clear()
    replicator = site.connect()
    replicator.flush(0.5)
    replicator.close(0)
    assert "is left as it is" in caplog.text or "is damaged" in caplog.text, caplog.text
    assert file.exists()


LETTER = """
INSERT INTO dead_letters
VALUES (1, 'peer-0', 'o', 1, 'sql', 'm', 1, 0.0, NULL, '{"statements":[]}');
"""
LETTERS = {
    "the table is missing": "DROP TABLE dead_letters",
    "a body is garbage": f"{LETTER} UPDATE dead_letters SET body = '{{'",
    "a reason is unknown": f"{LETTER} UPDATE dead_letters SET code = 'sqk'",
}


@pytest.mark.parametrize("damage", LETTERS)
def test_dead_letters_are_damaged(site: Site, damage: str) -> None:
    """That is no reason for an application not to start."""
    file = site.leave("dead", 5)
    edit(file, LETTERS[damage])
    site.connect().close(0)
