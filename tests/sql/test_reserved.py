"""The names of afterquery's own tables are reserved: no statement that names one is replicated."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import afterquery
import afterquery.sqlite3
from afterquery import Replicator, outbox
from afterquery.outbox import Relay
from replication.world import counted, fulfilled
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.until import until

OURS = [
    "UPDATE tmp_afterquery_watermark SET changes = '9;' || changes",
    "DELETE FROM TMP_AFTERQUERY_WATERMARK",
    "DROP TABLE 'tmp_afterquery_value'",
    "ALTER TABLE tmp_afterquery_watermark RENAME TO x",
    "CREATE TRIGGER w AFTER UPDATE ON [tmp_afterquery_watermark] BEGIN DELETE FROM t; END",
    "CREATE VIEW w AS SELECT * FROM t, tmp_afterquery_value",
    "INSERT INTO t SELECT v FROM tmp_afterquery_value",
    'WITH w AS (SELECT 1) DELETE FROM "afterquery_outbox"',
    "CREATE TABLE afterquery_relay (id)",
    "INSERT OR FAIL INTO main.tmp_afterquery_any VALUES (1) nonsense (",
]
VALUE = "INSERT INTO t VALUES ('tmp_afterquery_watermark')"


@pytest.fixture
def ready(peer: PeerProcess) -> PeerProcess:
    peer.client().run("CREATE TABLE t (a)")
    return peer


def values(peer: PeerProcess) -> list[str]:
    return [row[0] for row in peer.client().rows("SELECT a FROM t")]


def test_by_hand_it_is_counted_and_logged_once(
    ready: PeerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "afterquery")
    with Replicator([ready.url], auth_token=ADMIN_TOKEN, ddl=True) as replicator:
        for sql in OURS:
            assert replicator.after_query(sql) is None
            assert replicator.after_query(sql) is None
        fulfilled(replicator.after_query(VALUE))
        stats = replicator.stats()
        assert counted(stats.skipped) == {"reserved": 2 * len(OURS)}
        assert [replica.state for replica in stats.replicas] == ["live"]
    # A thread of its own writes the log.
    text = "such names are afterquery's own"
    until(lambda: caplog.text.count(text) == len(OURS))
    assert values(ready) == ["tmp_afterquery_watermark"]


def test_it_is_explained() -> None:
    for sql in OURS:
        found = afterquery.explain(sql, ddl=True)
        (statement,) = found.statements
        assert not found.replicated
        assert statement.reason.startswith("reserved: it names something that begins with")
    assert afterquery.explain(VALUE).replicated
    assert afterquery.explain("SELECT * FROM tmp_afterquery_value").statements[0].reason == (
        "read: it reads"
    )


def test_a_followed_connection_keeps_it_to_itself(ready: PeerProcess, tmp_path: Path) -> None:
    with Replicator([ready.url], auth_token=ADMIN_TOKEN, ddl=True) as replicator:
        path = tmp_path / "primary.db"
        with closing(afterquery.sqlite3.connect(path, replicator=replicator)) as db:
            db.executescript("CREATE TABLE IF NOT EXISTS tmp_afterquery_watermark (seq)")
            db.execute("INSERT INTO tmp_afterquery_watermark VALUES (1)")
            db.execute("CREATE TABLE IF NOT EXISTS t (a)")
            db.execute(VALUE)
            db.execute("UPDATE tmp_afterquery_watermark SET seq = 5")
            db.commit()
            assert db.execute("SELECT seq FROM tmp_afterquery_watermark").fetchall() == [(5,)]
        assert replicator.flush(30)
        assert replicator.stats().skipped["reserved"] == 3
        assert replicator.stats().replicas[0].state == "live"
        assert replicator.dead_letters() == []
    assert values(ready) == ["tmp_afterquery_watermark"]


def test_the_outbox_does_not_send_it(ready: PeerProcess, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with ExitStack() as stack:
        settings = {"outbox": True, "isolation_level": None}
        db = stack.enter_context(closing(afterquery.sqlite3.connect(path, **settings)))  # type: ignore[arg-type]
        db.execute("CREATE TABLE t (a)")
        db.execute("BEGIN")
        db.execute("CREATE VIEW w AS SELECT * FROM afterquery_outbox")
        db.execute(VALUE)
        db.execute("COMMIT")
        relay = Relay(path, [ready.url], auth_token=ADMIN_TOKEN, poll=0.02)
        stack.callback(relay.stop, 5)
        relay.start()
        until(lambda: not outbox.pending(db))
    assert values(ready) == ["tmp_afterquery_watermark"]
    listed = ready.client().rows("SELECT name FROM sqlite_schema WHERE name IN ('w', 't')")
    assert listed == [("t",)]
