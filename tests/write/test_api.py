"""The Python face: what each call promises to the one who writes it."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import afterquery
from afterquery import (
    AfterqueryError,
    NotSettledError,
    Outcome,
    Replica,
    Replicator,
    UnknownReplicaError,
)
from replication.world import (
    TIMEOUT,
    Primary,
    assert_same,
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
from support import faults
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.proxy import Proxy

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE orders (id INTEGER PRIMARY KEY, what TEXT);
"""
CLEAN = "DELETE FROM users; DELETE FROM orders"
INSERT = "INSERT INTO users (name) VALUES (?)"
NOBODY = "http://127.0.0.1:9"
"""The port that discards: nothing listens there."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("api"), 2) as processes:
        prepare(SCHEMA, *processes)
        yield processes


@pytest.fixture
def processes(running: list[PeerProcess]) -> list[PeerProcess]:
    prepare(CLEAN, *running)
    return running


@pytest.fixture
def replicator(processes: list[PeerProcess]) -> Iterator[Replicator]:
    with connect(*processes) as replicator:
        yield replicator


def _names(process: PeerProcess) -> list[str]:
    return [name for (name,) in process.client().rows("SELECT name FROM users ORDER BY id")]


def test_a_write_is_settled_on_every_replica(
    replicator: Replicator, processes: list[PeerProcess]
) -> None:
    replication = replicator.after_query(INSERT, ("Ada",), 1)
    assert replication is not None
    outcomes = replication.wait(timeout=TIMEOUT)
    assert replication.settled
    assert replication.outcomes == outcomes
    assert replication.seq == 1
    assert [outcome.replica for outcome in outcomes] == ["peer-0", "peer-1"]
    for outcome in outcomes:
        assert outcome.status == "fulfilled"
        assert outcome.attempts == 1
        assert outcome.latency > 0
        assert outcome.changes == 1
        assert outcome.reason is None
    assert [_names(process) for process in processes] == [["Ada"], ["Ada"]]
    assert replication.wait(0) == outcomes
    assert repr(replication) == "Replication(seq=1, settled=True)"
    assert "peer-0" in repr(outcomes[0])


def test_writes_are_numbered_and_reads_are_not(replicator: Replicator) -> None:
    first = replicator.after_query(INSERT, ("a",))
    assert replicator.after_query("SELECT * FROM users") is None
    second = replicator.after_query(INSERT, ("b",))
    assert first is not None
    assert second is not None
    assert (first.seq, second.seq) == (1, 2)
    assert counted(replicator.stats().skipped) == {"read": 1}
    assert replicator.stats().writes == 2


def test_names_and_origin(processes: list[PeerProcess]) -> None:
    with connect(processes[0], Replica(processes[1].url + "/")) as replicator:
        assert replicator.replicas == ("peer-0", processes[1].url)
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", replicator.origin)
        assert [stats.url for stats in replicator.stats().replicas] == [p.url for p in processes]
        with connect(processes[0]) as another:
            assert another.origin != replicator.origin


def test_a_replica_shows_what_it_was_given() -> None:
    replica = Replica("http://h:1/base", name="eu", auth_token="s3cret", tables=["a", "B"])
    assert (replica.url, replica.name, replica.tables) == ("http://h:1/base", "eu", ("a", "B"))
    assert Replica("http://h:1").tables is None
    assert Replica("http://h:1/").name == "http://h:1"


def test_no_token_is_shown_anywhere(
    processes: list[PeerProcess], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "afterquery")
    secret = "s3cret-of-the-test"
    config = Replica(processes[0].url, name="r", auth_token=secret)
    with Replicator([config, NOBODY], auth_token=secret) as replicator:
        replication = replicator.after_query(INSERT, (1,))
        assert replication is not None
        until(lambda: of(replicator, "r").reason, "the token is refused")
        with pytest.raises(NotSettledError) as caught:
            replication.wait(0)
        shown = [config, replicator, replication, caught.value, *caught.value.unsettled]
        stats = replicator.stats()
        shown += [stats, *stats.replicas, *(s.reason for s in stats.replicas)]
        replicator.close(timeout=0)
        shown += [
            *replication.wait(TIMEOUT),
            *replicator.dead_letters(),
            replicator.explain(INSERT),
        ]
    assert secret not in "\n".join(map(repr, shown)) + caplog.text


def test_with_closes_and_a_later_write_says_so(processes: list[PeerProcess]) -> None:
    with connect(*processes) as replicator:
        assert isinstance(replicator, Replicator)
        for number in range(200):
            replicator.after_query(INSERT, (f"n{number}",))
    assert [len(_names(process)) for process in processes] == [200, 200]
    assert [stats.state for stats in replicator.stats().replicas] == ["closed", "closed"]
    for reason in rejected(replicator.after_query(INSERT, ("late",))).values():
        assert reason.startswith("closed: ")
    assert replicator.after_query("SELECT 1") is None
    assert replicator.close() is True
    assert replicator.close(timeout=0) is True
    assert replicator.flush(0) is True
    assert [len(_names(process)) for process in processes] == [200, 200]


def test_with_lets_the_blocks_exception_pass(processes: list[PeerProcess]) -> None:
    def fail() -> None:
        with connect(*processes) as replicator:
            replicator.after_query(INSERT, ("kept",))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert _names(processes[0]) == ["kept"]


def test_closing_leaves_nothing_of_ours_on_a_replica(processes: list[PeerProcess]) -> None:
    with connect(*processes) as replicator:
        fulfilled(replicator.after_query(INSERT, ("x" * 200_000,)))
        origin = replicator.origin
        count = f"SELECT count(*) AS n FROM tmp_afterquery_watermark WHERE origin = '{origin}'"
        assert [process.client().value(count) for process in processes] == [1, 1]
    assert [process.client().value(count) for process in processes] == [0, 0]
    left = "SELECT count(*) AS n FROM tmp_afterquery_value"
    assert [process.client().value(left) for process in processes] == [0, 0]


def test_close_with_a_dead_replica_says_what_is_unsettled(
    processes: list[PeerProcess], caplog: pytest.LogCaptureFixture
) -> None:
    replicator = connect(processes[0], Replica(NOBODY, name="dead"))
    replication = replicator.after_query(INSERT, ("a",))
    assert replicator.close(timeout=0.2) is False
    outcomes = settled(replication)
    assert outcomes["peer-0"].status == "fulfilled"
    assert outcomes["dead"].status == "rejected"
    assert (outcomes["dead"].reason or "").startswith("closed: ")
    until(lambda: "dead did not confirm" in caplog.text, "the log says it")


def test_wait_tells_who_is_missing_and_why(processes: list[PeerProcess]) -> None:
    with connect(processes[0], Replica(NOBODY, name="dead")) as replicator:
        replication = replicator.after_query(INSERT, ("a",))
        assert replication is not None
        until(lambda: of(replicator, "dead").reason, "the replica was tried")
        until(lambda: replication.outcomes, "the other one has it")
        with pytest.raises(NotSettledError) as caught:
            replication.wait(timeout=0.05)
        error = caught.value
        assert isinstance(error, (AfterqueryError, TimeoutError))
        assert [outcome.replica for outcome in error.outcomes] == ["peer-0"]
        ((name, why),) = error.unsettled
        assert name == "dead"
        assert why.startswith("connection: ")
        assert "dead" in str(error)
        assert why in str(error)
        assert not replication.settled
        assert "dead" in repr(replication)
        assert replicator.flush(timeout=0.05) is False
        for timeout in (0, -1, -0.5):
            with pytest.raises(NotSettledError):
                replication.wait(timeout)
        for timeout in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match="timeout"):
                replication.wait(timeout)
        replicator.close(timeout=0)


def test_flush_waits_for_what_was_written_before_it(
    replicator: Replicator, processes: list[PeerProcess]
) -> None:
    assert replicator.flush() is True
    for number in range(500):
        replicator.after_query(INSERT, (f"n{number}",))
    assert replicator.flush(timeout=TIMEOUT) is True
    assert [len(_names(process)) for process in processes] == [500, 500]
    assert replicator.stats().pending == 0
    assert replicator.stats().pending_bytes == 0


def test_handles_may_be_dropped_at_once(
    replicator: Replicator, processes: list[PeerProcess]
) -> None:
    for number in range(300):
        replicator.after_query(INSERT, (f"n{number}",))
    gc.collect()
    assert replicator.flush(TIMEOUT)
    assert _names(processes[0]) == [f"n{number}" for number in range(300)]


def test_a_handle_outlives_its_replicator(processes: list[PeerProcess]) -> None:
    replicator = connect(*processes)
    replication = replicator.after_query(INSERT, ("a",))
    replicator.close()
    gone = weakref.ref(replicator)
    del replicator
    gc.collect()
    assert gone() is None
    fulfilled(replication)


def test_a_replicator_that_is_dropped_settles_its_writes() -> None:
    replicator = connect(NOBODY)
    replication = replicator.after_query(INSERT, ("a",))
    del replicator
    gc.collect()
    for reason in rejected(replication).values():
        assert reason.startswith("closed: ")


def test_wrong_use_is_a_type_error(replicator: Replicator) -> None:
    wrong: list[Any] = [None, b"INSERT INTO users VALUES (1)", 5, ["x"]]
    for sql in wrong:
        with pytest.raises(TypeError, match="sql must be a str"):
            replicator.after_query(sql)
    for replicas in ("http://h:1", [5], None):
        with pytest.raises(TypeError):
            Replicator(replicas)  # type: ignore[arg-type]
    for tables in ("users", [5], 5):
        with pytest.raises(TypeError):
            Replicator([NOBODY], tables=tables)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        replicator.after_query(INSERT, ("a",), None, True)  # type: ignore[call-arg]
    assert replicator.stats().writes == 0


def test_a_text_that_no_sqlite_can_have_run_is_counted(replicator: Replicator) -> None:
    assert replicator.after_query("INSERT INTO users (name) VALUES ('\ud800')") is None
    assert counted(replicator.stats().skipped) == {"unparsed": 1}


class _Result:
    def __init__(self, rowcount: object) -> None:
        self.rowcount = rowcount


class _Trouble:
    @property
    def rowcount(self) -> int:
        raise RuntimeError("no count")


@pytest.mark.parametrize("result", [5, _Result(5)])
def test_another_count_of_rows_is_reported(
    replicator: Replicator, caplog: pytest.LogCaptureFixture, result: object
) -> None:
    replication = replicator.after_query("UPDATE users SET name = 'x' WHERE id = 77", None, result)
    for outcome in settled(replication).values():
        assert outcome.status == "fulfilled"
        assert outcome.changes == 0
        assert outcome.reason is not None
        assert outcome.reason.startswith("diverged: ")
        assert "0 rows" in outcome.reason
        assert "5" in outcome.reason
    for stats in replicator.stats().replicas:
        assert (stats.diverged, stats.changes_differ, stats.rejected) == (True, 1, 0)
    until(lambda: caplog.text.count("has diverged") == 2, "the log says it once a replica")


@pytest.mark.parametrize(
    "result",
    [None, -1, _Result(-1), _Result(None), _Result("5"), _Trouble(), [], (), "x", 1.5, True],
)
def test_a_result_without_a_count_is_not_compared(replicator: Replicator, result: object) -> None:
    fulfilled(replicator.after_query("UPDATE users SET name = 'x' WHERE id = 77", None, result))


def test_the_replicators_tables_are_an_allow_list(processes: list[PeerProcess]) -> None:
    with connect(*processes, tables=["Users"]) as replicator:
        assert replicator.after_query("INSERT INTO orders (what) VALUES (1)") is None
        fulfilled(replicator.after_query("INSERT INTO uSERS (name) VALUES ('Ada')"))
        fulfilled(replicator.after_query("UPDATE main.\"USERS\" SET name = 'Eve'"))
        assert counted(replicator.stats().skipped) == {"filtered": 1}
    for process in processes:
        assert _names(process) == ["Eve"]
        assert process.client().value("SELECT count(*) FROM orders") == 0


def test_a_replicas_tables_narrow_what_it_gets(processes: list[PeerProcess]) -> None:
    first, second = processes
    with connect(first, replica(second, tables=["ORDERS", "others"])) as replicator:
        assert set(settled(replicator.after_query(INSERT, ("Ada",)))) == {"peer-0"}
        both = replicator.after_query("INSERT INTO orders (what) VALUES ('it')")
        assert set(settled(both)) == {"peer-0", "peer-1"}
        fulfilled(both)
        assert counted(replicator.stats().skipped) == {}
        # Each count is of its own writes; the numbers of the others are no gap.
        assert [stats.fulfilled for stats in replicator.stats().replicas] == [2, 1]
        text = "INSERT INTO users (name) VALUES ('Eve'); INSERT INTO orders (what) VALUES ('that')"
        fulfilled(replicator.after_query(text))
        assert [s.replicas for s in replicator.explain(text).statements] == [
            ("peer-0",),
            ("peer-0", "peer-1"),
        ]
    assert (_names(first), _names(second)) == (["Ada", "Eve"], [])
    for process in processes:
        assert process.client().rows("SELECT what FROM orders") == [("it",), ("that",)]
    with connect(replica(second, tables=["users", "orders"]), tables=["users"]) as replicator:
        assert replicator.after_query("INSERT INTO orders (what) VALUES (1)") is None


def test_an_empty_list_allows_no_table(processes: list[PeerProcess]) -> None:
    with connect(*processes, tables=[]) as replicator:
        assert replicator.after_query(INSERT, ("Ada",)) is None
        assert counted(replicator.stats().skipped) == {"filtered": 1}


def test_several_threads_keep_their_order(processes: list[PeerProcess]) -> None:
    threads, writes = 6, 400
    with connect(*processes) as replicator:

        def work(thread: int) -> None:
            for number in range(writes):
                replicator.after_query(
                    "INSERT INTO orders (what) VALUES (?)", (f"{thread}:{number}",)
                )

        workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(TIMEOUT)
        assert replicator.flush(TIMEOUT)
        assert replicator.stats().writes == threads * writes
    seen = []
    for process in processes:
        rows = process.client().rows("SELECT what FROM orders ORDER BY id")
        pairs = [tuple(map(int, what.split(":"))) for (what,) in rows]
        for thread in range(threads):
            assert [number for by, number in pairs if by == thread] == list(range(writes))
        seen.append(pairs)
    assert len(seen[0]) == threads * writes
    assert seen[0] == seen[1]


def test_waiting_lets_other_threads_run() -> None:
    with connect(Replica(NOBODY, name="dead")) as replicator:
        replication = replicator.after_query(INSERT, ("a",))
        assert replication is not None
        ended: list[type[BaseException] | Outcome] = []

        def wait() -> None:
            try:
                replication.wait(TIMEOUT)
            finally:
                ended.append(NotSettledError)

        waiter = threading.Thread(target=wait)
        waiter.start()
        # Were the interpreter held, this thread could not close it, nor the other one end.
        replicator.close(timeout=0)
        waiter.join(TIMEOUT)
        assert ended


def test_a_rejected_write_is_a_dead_letter_and_the_replica_goes_on(
    replicator: Replicator, processes: list[PeerProcess]
) -> None:
    processes[1].client().run("INSERT INTO users (id, name) VALUES (50, 'taken')")
    refused = replicator.after_query(INSERT, ("taken",), 1)
    later = replicator.after_query(INSERT, ("later",), 1)
    outcomes = settled(refused)
    assert outcomes["peer-0"].status == "fulfilled"
    assert outcomes["peer-1"].status == "rejected"
    assert (outcomes["peer-1"].reason or "").startswith("constraint: UNIQUE")
    assert outcomes["peer-1"].changes is None
    fulfilled(later)
    (letter,) = replicator.dead_letters()
    assert (letter.replica, letter.seq) == ("peer-1", 1)
    assert letter.statements == ("INSERT INTO users (name) VALUES ('taken')",)
    assert letter.reason == outcomes["peer-1"].reason
    assert letter.attempts >= 1
    assert abs(letter.time - time.time()) < 600
    assert "peer-1" in repr(letter)
    stats = of(replicator, "peer-1")
    assert (stats.rejected, stats.diverged, stats.state) == (1, True, "live")
    assert of(replicator, "peer-0").diverged is False


def test_halt_stops_one_replica_until_it_is_resumed(processes: list[PeerProcess]) -> None:
    processes[1].client().run("INSERT INTO users (id, name) VALUES (50, 'taken')")
    with connect(*processes, on_reject="halt") as replicator:
        before = replicator.after_query(INSERT, ("before",))
        refused = replicator.after_query(INSERT, ("taken",))
        later = replicator.after_query(INSERT, ("later",))
        fulfilled(before)
        assert refused is not None
        assert later is not None
        until(lambda: of(replicator, "peer-1").state == "halted", "it halts")
        reason = of(replicator, "peer-1").reason or ""
        assert reason.startswith("halted: ")
        assert "UNIQUE" in reason
        until(lambda: len(later.outcomes) == 1, "the other one goes on")
        with pytest.raises(NotSettledError) as caught:
            refused.wait(0)
        assert caught.value.unsettled == (("peer-1", reason),)
        assert replicator.dead_letters() == []
        # Set right there, it is tried again.
        processes[1].client().run("DELETE FROM users WHERE name = 'taken'")
        replicator.resume("peer-1")
        fulfilled(refused)
        fulfilled(later)
    assert _names(processes[1]) == _names(processes[0]) == ["before", "taken", "later"]


def test_a_halted_replica_can_skip_its_write(processes: list[PeerProcess]) -> None:
    processes[0].client().run("INSERT INTO users (id, name) VALUES (50, 'taken')")
    with connect(*processes, on_reject="halt") as replicator:
        refused = replicator.after_query(INSERT, ("taken",))
        later = replicator.after_query(INSERT, ("later",))
        until(lambda: of(replicator, "peer-0").state == "halted", "it halts")
        replicator.resume("peer-0", skip=True)
        outcomes = settled(refused)
        assert (outcomes["peer-0"].status, outcomes["peer-1"].status) == ("rejected", "fulfilled")
        fulfilled(later)
        assert [letter.replica for letter in replicator.dead_letters()] == ["peer-0"]
        assert of(replicator, "peer-0").state == "live"


def test_resume_of_an_unknown_replica_names_those_there_are(replicator: Replicator) -> None:
    with pytest.raises(UnknownReplicaError, match=r"nobody.*peer-0, peer-1"):
        replicator.resume("nobody")
    assert issubclass(UnknownReplicaError, LookupError)
    # One that is well is not disturbed.
    replicator.resume("peer-0")
    replicator.resume("peer-0", skip=True)
    fulfilled(replicator.after_query(INSERT, ("a",)))


def test_explain_says_what_would_happen(processes: list[PeerProcess]) -> None:
    with connect(processes[0], replica(processes[1], tables=["orders"])) as replicator:
        explanation = replicator.explain(
            "SELECT 1; INSERT INTO main.users VALUES (1, 'a'); DROP TABLE x; COMMIT; PRAGMA x; HELP"
        )
        assert explanation.replicated
        told = [(s.kind, s.verb, s.schema, s.table, s.replicas) for s in explanation.statements]
        assert told == [
            ("read", "SELECT", None, None, ()),
            ("write", "INSERT", "main", "users", ("peer-0",)),
            ("ddl", "DROP", None, "x", ()),
            ("txn", "COMMIT", None, None, ()),
            ("other", "PRAGMA", None, None, ()),
            ("unknown", "", None, None, ()),
        ]
        reasons = [s.reason.split(":")[0] for s in explanation.statements]
        assert reasons == ["read", "it is replicated", "ddl", "txn", "other", "unparsed"]
        assert explanation.statements[1].sql == "INSERT INTO main.users VALUES (1, 'a')"
        assert not replicator.explain("SELECT 1").replicated
        assert not replicator.explain("").replicated
        # Nothing of it was counted.
        assert counted(replicator.stats().skipped) == {}


def test_stats_are_of_one_moment(replicator: Replicator) -> None:
    before = replicator.stats()
    fulfilled(replicator.after_query(INSERT, ("a",)))
    after = replicator.stats()
    assert (before.writes, after.writes) == (0, 1)
    for stats in after.replicas:
        assert (stats.state, stats.breaker, stats.reason) == ("live", "closed", None)
        assert (stats.pending, stats.pending_bytes) == (0, 0)
        assert (stats.acknowledged, stats.fulfilled, stats.retries) == (1, 1, 0)
        assert stats.requests >= 2
    with pytest.raises(AttributeError):
        after.writes = 5  # type: ignore[misc]
    assert "writes=1" in repr(after)


def test_what_is_logged_is_logged_under_the_packages_name(
    processes: list[PeerProcess], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        Proxy(processes[0].url, faults.always(faults.CutBeforeRequest())) as proxy,
        connect(replica(processes[0], url=proxy.url)) as replicator,
    ):
        replication = replicator.after_query(INSERT, ("a",))
        replicator.after_query("NONSENSE; " * 3)
        until(lambda: of(replicator, "peer-0").breaker != "closed", "it counts as down")
        proxy.set(faults.Pass())
        fulfilled(replication)
        wanted = ["trying again", "is down", "is back", "not replicated"]
        until(lambda: all(w in caplog.text for w in wanted), "everything is logged")
    assert {record.name for record in caplog.records if record.name != "asyncio"} == {"afterquery"}
    levels = {record.getMessage().split(":")[0]: record.levelname for record in caplog.records}
    assert levels["replica peer-0 is down"] == "WARNING"
    assert replicator.stats().logs_dropped == 0


def test_a_handler_that_logs_slowly_or_fails_holds_up_nothing(
    processes: list[PeerProcess],
) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Stuck(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            entered.set()
            leave.wait(TIMEOUT)

    handler = Stuck()
    logger = logging.getLogger("afterquery")
    logger.addHandler(handler)
    try:
        with connect(*processes) as replicator:
            replicator.after_query("NONSENSE")
            assert entered.wait(TIMEOUT)
            fulfilled(replicator.after_query(INSERT, ("a",)))
            leave.set()
    finally:
        leave.set()
        logger.removeHandler(handler)


def test_the_settings_are_checked() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"request_timeout": -1}, "request_timeout"),
        ({"retry_base": float("nan")}, "retry_base"),
        ({"retry_max": float("inf")}, "retry_max"),
        ({"on_reject": "explode"}, "on_reject.*explode.*halt"),
        ({"max_pending_writes": 0}, "max_pending_writes"),
        ({"max_pending_bytes": 0}, "max_pending_bytes"),
        ({"auth_token": "s3cret\n"}, "auth_token"),
    ]
    for options, words in wrong:
        with pytest.raises(ValueError, match=words) as caught:
            Replicator([NOBODY], **options)
        assert "s3cret" not in str(caught.value)
    unusable: list[list[str | Replica]] = [
        [],
        [NOBODY, NOBODY],
        [NOBODY, Replica("http://h:1", name=NOBODY)],
        [NOBODY, Replica(f"{NOBODY}/", name="the same")],
    ]
    for replicas in unusable:
        with pytest.raises(ValueError, match="replica"):
            Replicator(replicas)
    with pytest.raises((ValueError, OverflowError)):
        Replicator([NOBODY], max_dead_letters=-1)


def test_the_package_says_its_version_and_exports_what_it_names() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", afterquery.__version__)
    for name in afterquery.__all__:
        assert hasattr(afterquery, name), name


def _child(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A program of a user's, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TOKEN": ADMIN_TOKEN},
        text=True,
    )


START = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
from afterquery import Replicator, Replica
replicator = Replicator(sys.argv[1:], auth_token=os.environ["TOKEN"], retry_base=0.01)
"""


@pytest.mark.parametrize(
    "call", ["replication.wait()", "replicator.flush()", "replicator.close(None)"]
)
def test_ctrl_c_interrupts_a_wait(call: str) -> None:
    child = _child(
        f"""
        {START.replace(chr(10), chr(10) + " " * 8)}
        replication = replicator.after_query("INSERT INTO users (name) VALUES (1)")
        try:
            print("waiting", flush=True)
            {call}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)
        """,
        NOBODY,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        # Sent again until it is in the call: the line comes a little before it.
        until(lambda: _interrupted(child), "it ends")
        assert child.stdout.read() == "interrupted\n"
        assert child.wait(TIMEOUT) == 0


def _interrupted(child: subprocess.Popen[str]) -> bool:
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        child.send_signal(signal.SIGINT)
        child.wait(1)
    return child.poll() is not None


def test_the_end_of_the_interpreter_delivers_what_is_pending(
    processes: list[PeerProcess],
) -> None:
    child = _child(
        START + "for n in range(1500):\n"
        "    replicator.after_query('INSERT INTO orders (what) VALUES (?)', (n,))\n"
        "print(replicator.stats().pending)",
        *[process.url for process in processes],
    )
    out, err = child.communicate(timeout=TIMEOUT)
    assert (child.returncode, err) == (0, "")
    assert int(out) > 0, "everything had arrived before the end, so this shows nothing"
    for process in processes:
        rows = process.client().rows("SELECT what FROM orders ORDER BY id")
        assert [int(what) for (what,) in rows] == list(range(1500))


def test_the_end_of_the_interpreter_does_not_wait_for_the_dead(
    processes: list[PeerProcess],
) -> None:
    child = _child(
        START + "for n in range(10):\n"
        "    replicator.after_query('INSERT INTO orders (what) VALUES (?)', (n,))\n",
        processes[0].url,
        NOBODY,
    )
    # It gives up by itself; how soon is not the point, that it does is.
    _, err = child.communicate(timeout=30)
    assert child.returncode == 0
    assert f"closed with 10 writes that replica {NOBODY} did not confirm" in err
    assert "connection: " in err
    assert len(processes[0].client().rows("SELECT * FROM orders")) == 10


def test_everything_together_is_as_on_the_primary(
    tmp_path: Path, processes: list[PeerProcess]
) -> None:
    with Primary(tmp_path / "p.db", SCHEMA) as primary, connect(*processes) as replicator:
        for number in range(50):
            sql, params = INSERT, (f"n{number}",)
            replicator.after_query(sql, params, primary.run(sql, params))
        assert replicator.flush(TIMEOUT)
        assert_same(primary, *processes)
