"""What is wrong has a name where the user looks, and disturbs nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from afterquery import ConfigurationError, NotSettledError, Replica, Replicator
from replication.world import (
    Primary,
    both_engines,
    connect,
    counted,
    fulfilled,
    of,
    peers,
    prepare,
    rejected,
    replica,
    settled,
    until,
)
from support import faults, workerd
from support.peer import PeerProcess
from support.process import ReplicaProcess
from support.proxy import Proxy

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE, age INT CHECK (age >= 0));
CREATE TABLE child (id INTEGER PRIMARY KEY, user INT REFERENCES users (id));
CREATE TABLE strict_t (n INT) STRICT;
"""
CLEAN = "DELETE FROM child; DELETE FROM users; DELETE FROM strict_t"
INSERT = "INSERT INTO users (name) VALUES (?)"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    """A replica that is well, next to one that is not."""
    with peers(tmp_path_factory.mktemp("bad"), 1) as (process,):
        prepare(SCHEMA, process)
        yield process


@pytest.fixture
def well(running: PeerProcess) -> PeerProcess:
    prepare(CLEAN, running)
    return running


@pytest.fixture(
    params=[pytest.param("peer"), pytest.param("workerd", marks=pytest.mark.workerd)],
    scope="module",
)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReplicaProcess]:
    folder = tmp_path_factory.mktemp(request.param)
    process: ReplicaProcess = PeerProcess(folder)
    if request.param == "workerd":
        workerd.require()
        process = workerd.WorkerdProcess(folder)
    with process:
        prepare(SCHEMA, process)
        yield process


@pytest.mark.parametrize(
    "url",
    [
        "",
        "eu.example.com",
        "eu.example.com:9001",
        "localhost:9001",
        "//eu.example.com",
        "/query",
        "ftp://eu.example.com",
        "file:///tmp/copy.db",
        "http://",
        "http://[::1",
        "http://host:port",
        "http://host:99999",
        "http://a b",
        "https://eu.example.com/?x=1",
        "https://eu.example.com/#x",
    ],
)
def test_a_wrong_url_is_a_value_error_that_names_it(url: str) -> None:
    for make in (
        lambda: Replica(url),
        lambda: Replicator([url]),
        lambda: Replicator(["http://h", url]),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert isinstance(caught.value, ValueError)
        # What follows is where tokens are put.
        shown = re.split("[?#]", url)[0]
        assert shown in str(caught.value)
        assert len(str(caught.value)) > len(url) + 10


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="auth_token") as caught:
        Replica("https://me:s3cret@eu.example.com")
    assert "s3cret" not in str(caught.value)
    assert "eu.example.com" in str(caught.value)


def _stuck(
    bad: Replica | str,
    well: PeerProcess,
    code: str,
    caplog: pytest.LogCaptureFixture,
    *,
    level: int = logging.ERROR,
) -> str:
    """What is wrong is named in stats, in the log and by a wait; the other replica goes on."""
    caplog.set_level(logging.INFO, "afterquery")
    with connect(bad, well, request_timeout=0.5) as replicator:
        name = replicator.replicas[0]
        replications = [replicator.after_query(INSERT, (f"n{n}",)) for n in range(20)]
        last = replications[-1]
        assert last is not None
        until(lambda: of(replicator, name).reason, "it is known what is wrong")
        until(lambda: len(last.outcomes) == 1, "the other replica goes on")
        stats = of(replicator, name)
        assert stats.state == "retrying"
        assert stats.pending == 20
        assert stats.rejected == 0
        assert (stats.reason or "").startswith(f"{code}: "), stats.reason
        with pytest.raises(NotSettledError, match=code) as caught:
            last.wait(0)
        assert [outcome.replica for outcome in caught.value.outcomes] == [well.name]
        ((unsettled, why),) = caught.value.unsettled
        assert unsettled == name
        assert why.startswith(f"{code}: ")
        until(lambda: _logged(caplog, level, name, code), "the log names it")
        other = of(replicator, well.name)
        assert (other.state, other.reason, other.retries) == ("live", None, 0)
        fulfilled_there = [o.status for r in replications if r for o in r.outcomes]
        assert fulfilled_there == ["fulfilled"] * 20
        replicator.close(timeout=0)
        for replication in replications:
            outcome = settled(replication)[name]
            assert (outcome.reason or "").startswith("closed: ")
    assert well.client().value("SELECT count(*) FROM users") == 20
    return why


def _logged(caplog: pytest.LogCaptureFixture, level: int, *words: str) -> bool:
    messages = [record.getMessage() for record in caplog.records if record.levelno >= level]
    return any(all(word in message for word in words) for message in messages)


@pytest.mark.parametrize("token", ["wrong", ""])
def test_a_token_that_is_refused(
    engine: ReplicaProcess, well: PeerProcess, caplog: pytest.LogCaptureFixture, token: str
) -> None:
    _stuck(replica(engine, name="bad", auth_token=token), well, "unauthorized", caplog)


def test_no_token_where_one_is_needed(engine: ReplicaProcess) -> None:
    with connect(engine, auth_token=None) as replicator:
        replicator.after_query(INSERT, (1,))
        until(lambda: of(replicator, engine.name).reason, "it is known what is wrong")
        assert (of(replicator, engine.name).reason or "").startswith("unauthorized: ")
        replicator.close(timeout=0)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (faults.HTML, "not_a_replica", ["HTTP 200", "<title>Welcome"]),
        (faults.Answer(404, "<h1>Not Found</h1>"), "not_a_replica", ["404", "check the URL"]),
        (faults.Answer(405, ""), "not_a_replica", ["405", "check the URL"]),
        (faults.Answer(302, ""), "not_a_replica", ["redirect", "final URL"]),
        (faults.Answer(200, "{}"), "not_a_replica", ["HTTP 200"]),
        (faults.Answer(200, "[]"), "not_a_replica", ["HTTP 200"]),
        (faults.Answer(200, ""), "not_a_replica", ["empty body"]),
        (faults.Answer(200, "\x00\xff" * 500), "not_a_replica", []),
        (faults.result([]), "not_a_replica", ["watermark"]),
        (faults.result([{"a": 1}]), "not_a_replica", []),
        (faults.result(["text"]), "not_a_replica", []),
        (faults.Answer(401, ""), "unauthorized", ["401"]),
        (faults.Answer(403, "Forbidden"), "unauthorized", ["Forbidden"]),
        (faults.Answer(200, '{"result": "' + "x" * 2_000_000), "connection", ["longer than"]),
    ],
    ids=lambda value: value.body[:20] if isinstance(value, faults.Answer) else None,
)
def test_an_address_where_no_replica_answers(
    well: PeerProcess,
    caplog: pytest.LogCaptureFixture,
    answer: faults.Answer,
    code: str,
    words: list[str],
) -> None:
    with Proxy(plan=faults.always(answer)) as server:
        level = logging.INFO if code == "connection" else logging.ERROR
        bad = Replica(server.url, name="bad")
        why = _stuck(bad, well, code, caplog, level=level)
    assert all(word in why for word in words), why


def test_a_closed_port(well: PeerProcess, caplog: pytest.LogCaptureFixture) -> None:
    why = _stuck("http://127.0.0.1:9", well, "connection", caplog, level=logging.INFO)
    assert "refused" in why


def test_a_host_that_does_not_exist(well: PeerProcess, caplog: pytest.LogCaptureFixture) -> None:
    url = "http://nowhere.invalid:80"
    _stuck(url, well, "connection", caplog, level=logging.INFO)


def test_a_server_that_never_answers(well: PeerProcess, caplog: pytest.LogCaptureFixture) -> None:
    with Proxy(plan=faults.always(faults.Hang())) as server:
        _stuck(Replica(server.url, name="bad"), well, "timeout", caplog, level=logging.INFO)


def test_a_replica_with_a_wrong_path(well: PeerProcess, caplog: pytest.LogCaptureFixture) -> None:
    _stuck(replica(well, name="bad", url=well.url + "/db"), well, "not_a_replica", caplog)


def test_a_token_that_is_set_right_later_delivers_everything(well: PeerProcess) -> None:
    with (
        Proxy(well.url, faults.always(faults.error("Unauthorized request", 400))) as proxy,
        connect(Replica(proxy.url, name="bad")) as replicator,
    ):
        replications = [replicator.after_query(INSERT, (n,)) for n in range(10)]
        until(lambda: of(replicator, "bad").reason, "it is refused")
        proxy.set(faults.Pass())
        for replication in replications:
            fulfilled(replication)
        until(lambda: of(replicator, "bad").reason is None, "nothing is wrong any more")


REFUSED = [
    ("INSERT INTO missing VALUES (1)", "no_such_table: ", "missing"),
    ("DELETE FROM main.missing", "no_such_table: ", "missing"),
    ("INSERT INTO users (name) VALUES ('taken')", "constraint: ", "UNIQUE"),
    ("INSERT INTO users (age) VALUES (-1)", "constraint: ", "CHECK"),
    ("INSERT INTO child (user) VALUES (4711)", "constraint: ", "FOREIGN KEY"),
    ("INSERT INTO strict_t VALUES ('text')", "constraint: ", "INT"),
    ("INSERT INTO users (nothing) VALUES (1)", "sql: ", "nothing"),
    ("UPDATE users SET name = nothing(1)", "sql: ", "nothing"),
    ("INSERT INTO users VALUES (1, 2)", "sql: ", "values"),
    ("UPDATE users SET SET name = 1", "sql: ", "syntax"),
    ("DELETE FROM users WHERE (1", "sql: ", ""),
    ("INSERT INTO users (name) VALUES ('open", "sql: ", ""),
    ("UPDATE users SET name = 'a' WHERE id = 1 AND", "sql: ", ""),
]


@pytest.mark.parametrize(("sql", "code", "word"), REFUSED)
def test_a_write_that_the_replica_refuses(
    engine: ReplicaProcess,
    caplog: pytest.LogCaptureFixture,
    sql: str,
    code: str,
    word: str,
) -> None:
    """The writes before and after it, in the same batch, arrive."""
    prepare(CLEAN, engine)
    prepare("INSERT INTO users (id, name) VALUES (100, 'taken')", engine)
    with connect(engine) as replicator:
        before = [replicator.after_query(INSERT, (f"before {n}",), 1) for n in range(5)]
        refused = replicator.after_query(sql)
        after = [replicator.after_query(INSERT, (f"after {n}",), 1) for n in range(5)]
        (reason,) = rejected(refused).values()
        assert reason.startswith(code), reason
        assert word in reason
        for replication in [*before, *after]:
            fulfilled(replication)
        assert [letter.reason for letter in replicator.dead_letters()] == [reason]
        stats = of(replicator, engine.name)
        assert (stats.rejected, stats.fulfilled, stats.diverged) == (1, 10, True)
        until(lambda: _logged(caplog, logging.WARNING, engine.name, reason), "the log names it")
    names = [f"before {n}" for n in range(5)] + [f"after {n}" for n in range(5)]
    rows = engine.client().rows("SELECT name FROM users WHERE name <> 'taken' ORDER BY id")
    assert [name for (name,) in rows] == names


def test_many_refused_writes_among_others(engine: ReplicaProcess) -> None:
    prepare(CLEAN, engine)
    with connect(engine) as replicator:
        handed = []
        for number in range(200):
            name = "same" if number % 7 == 0 else f"n{number}"
            handed.append((number, replicator.after_query(INSERT, (name,), 1)))
        for number, replication in handed:
            (outcome,) = settled(replication).values()
            wanted = "rejected" if number % 7 == 0 and number > 0 else "fulfilled"
            assert outcome.status == wanted, (number, outcome)
        assert len(replicator.dead_letters()) == 28
    assert engine.client().value("SELECT count(*) FROM users") == 172


def test_a_replica_whose_watermark_is_gone_gets_nothing_more(
    well: PeerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    """As when it was reset, or another database answers under its address."""
    with connect(well) as replicator:
        fulfilled(replicator.after_query(INSERT, ("before",)))
        well.client().run("DELETE FROM tmp_afterquery_watermark")
        lost = replicator.after_query(INSERT, ("lost",))
        until(lambda: of(replicator, well.name).state == "diverged", "it stops")
        assert (of(replicator, well.name).reason or "").startswith("diverged: ")
        assert "watermark is gone" in (of(replicator, well.name).reason or "")
        until(lambda: _logged(caplog, logging.ERROR, well.name, "gets nothing more"), "it is told")
        replicator.resume(well.name)
        assert all("diverged" in reason for reason in rejected(lost).values())
        fulfilled(replicator.after_query(INSERT, ("after",)))
    rows = well.client().rows("SELECT name FROM users ORDER BY id")
    assert rows == [("before",), ("after",)]


def test_a_watermark_that_someone_else_moved_stops_the_replica(well: PeerProcess) -> None:
    with connect(well) as replicator:
        fulfilled(replicator.after_query(INSERT, ("before",)))
        well.client().run("UPDATE tmp_afterquery_watermark SET seq = seq + 1, chain = 5")
        replicator.after_query(INSERT, ("lost",))
        until(lambda: of(replicator, well.name).state == "diverged", "it stops")
        assert "moved by someone else" in (of(replicator, well.name).reason or "")
        replicator.close(timeout=0)
    assert well.client().rows("SELECT name FROM users") == [("before",)]


@pytest.mark.parametrize("sql", ["NONSENSE", "MERGE INTO users", ")", "'", "\x01", "UPSERT", "🙂"])
def test_a_text_that_is_not_sql_is_counted_and_logged_once(
    well: PeerProcess, caplog: pytest.LogCaptureFixture, sql: str
) -> None:
    with connect(well) as replicator:
        for _ in range(3):
            assert replicator.after_query(sql) is None
        fulfilled(replicator.after_query(INSERT, ("next",)))
        assert counted(replicator.stats().skipped) == {"unparsed": 3}
        until(lambda: "not replicated" in caplog.text, "it is logged")
    assert caplog.text.count("not replicated") == 1


def test_what_starts_as_a_write_is_never_taken_for_a_read(well: PeerProcess) -> None:
    """Without a filter the replica judges it; with one it is left out, counted."""
    sql = "INSERT OVER users VALUES (1)"
    with connect(well) as replicator:
        assert all(
            reason.startswith("sql: ") for reason in rejected(replicator.after_query(sql)).values()
        )
    with connect(well, tables=["users"]) as replicator:
        assert replicator.after_query(sql) is None
        assert counted(replicator.stats().skipped) == {"unparsed": 1}


@pytest.mark.workerd
def test_the_others_do_not_notice(tmp_path: Path, well: PeerProcess) -> None:
    """Every kind of bad replica at once, with two good ones of both engines."""
    with (
        Primary(tmp_path / "p.db", SCHEMA),
        both_engines(tmp_path) as good,
        ExitStack() as stack,
    ):
        prepare(SCHEMA, *good)
        kinds: list[faults.Fault] = [
            faults.HTML,
            faults.Hang(),
            faults.Answer(503, ""),
            faults.CutInAnswer(),
        ]
        servers = [stack.enter_context(Proxy(well.url, faults.always(kind))) for kind in kinds]
        bad = [Replica(server.url, name=f"bad-{n}") for n, server in enumerate(servers)]
        bad += [
            replica(well, name="token", auth_token="wrong"),
            Replica("http://127.0.0.1:9", name="no"),
        ]
        with connect(*bad, *good, request_timeout=1) as replicator:
            writes = [replicator.after_query(INSERT, (n,), 1) for n in range(300)]
            for process in good:
                until(lambda p=process: of(replicator, p.name).pending == 0, "it is served")  # type: ignore[misc]
                assert of(replicator, process.name).retries == 0
            assert all(w is not None and len(w.outcomes) == 2 for w in writes)
            replicator.close(timeout=0)
        for process in good:
            assert process.client().value("SELECT count(*) FROM users") == 300
