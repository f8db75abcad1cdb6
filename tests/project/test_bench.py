"""The benchmarks measure what they say: the sink is a replica, recordings are what is sent."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import recording, replicas
from bench.goals import GOALS, judged
from bench.guard import compare
from bench.tools import run_tool
from bench.workload import INSERTS, MIXED, SCHEMA, TOKEN, WRITE, Workload, row
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

needs_cargo = pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not on the PATH")

WRITES = 2_500
"""More than one text holds."""


@needs_cargo
def test_a_sink_takes_what_is_sent_and_counts_it() -> None:
    with replicas.sinks(2) as sink, replicas.replicator(sink.urls) as ours:
        sink.hold()
        for n in range(WRITES):
            ours.after_query(WRITE, row(n), 1)
        assert sink.writes() == 2
        sink.release()
        assert ours.flush(30)
        replicas.all_fulfilled(ours)
        assert sink.writes() == 2 * (WRITES + 1)


@needs_cargo
def test_a_sink_takes_values_that_are_sent_ahead() -> None:
    with replicas.sinks(1) as sink, replicas.replicator(sink.urls) as ours:
        for _ in range(50):
            ours.after_query("INSERT INTO users VALUES (?)", ("x" * 100_000,), 1)
        assert ours.flush(30)
        replicas.all_fulfilled(ours)


@needs_cargo
def test_a_recording_runs_once_on_a_real_peer(peer: PeerProcess, tmp_path: Path) -> None:
    assert TOKEN == ADMIN_TOKEN
    peer.client().run(SCHEMA)
    recorded = recording.record(tmp_path / "ours", WRITES)
    run_tool("post", recorded.path, TOKEN, peer.url)
    assert peer.client().rows("SELECT count(*), max(id) FROM users") == [(WRITES, WRITES - 1)]
    with pytest.raises(subprocess.CalledProcessError):
        run_tool("post", recorded.path, TOKEN, peer.url)
    replicas.empty([peer])
    run_tool("post", recorded.path, TOKEN, peer.url)


@needs_cargo
@pytest.mark.parametrize("workload", [INSERTS, MIXED], ids=lambda workload: str(workload.name))
def test_texts_without_the_watermark_hold_the_same_writes(
    peer: PeerProcess, tmp_path: Path, workload: Workload
) -> None:
    peer.client().run(SCHEMA)
    recorded = recording.record(tmp_path / "ours", WRITES, workload)
    bare = recording.without_watermark(tmp_path / "bare", recorded)
    assert bare.requests == recorded.requests
    plain = recording.plain(tmp_path / "plain", WRITES, workload)
    for which in (bare, plain):
        run_tool("post", which.path, TOKEN, peer.url)
        assert "watermark" not in "".join(recording.texts(which))
        assert peer.client().value("SELECT count(*) FROM users") == workload.rows(WRITES)
        peer.client().run("DELETE FROM users")


def test_what_was_not_run_is_neither_met_nor_missed() -> None:
    verdicts = [verdict for _, _, verdict in judged({})]
    assert verdicts == ["not measured"] * len(GOALS)


@pytest.mark.parametrize(("ratio", "verdict"), [(2.9, "met"), (3.1, "missed")])
def test_a_goal_is_judged_by_its_number(ratio: float, verdict: str) -> None:
    found = {goal.what: got for goal, _, got in judged({"read_cost": {"ratio": ratio}})}
    assert found["`after_query` on a read"] == verdict


def test_the_guard_minds_what_became_worse() -> None:
    before = {"read": 100.0, "write": 1000.0}
    assert compare({"read": 104.0, "write": 1100.0}, before) == ["write"]
    assert compare({"read": 50.0, "write": 1000.0}, before) == []
