"""Every test here runs on our peer and on the real storage engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import workerd
from support.client import Client
from support.peer import PeerProcess
from support.process import ReplicaProcess

ENGINES = [
    pytest.param("peer"),
    pytest.param("workerd", marks=pytest.mark.workerd),
]

Start = Callable[[], ReplicaProcess]

_CLEAN = (
    "SELECT type, name FROM sqlite_schema"
    " WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'"
    # The tables behind a virtual one go with it.
    " ORDER BY sql NOT LIKE 'CREATE VIRTUAL %'"
)


def _process(engine: str, folder: Path) -> ReplicaProcess:
    if engine == "peer":
        return PeerProcess(folder, like_starbasedb=True)
    workerd.require()
    return workerd.WorkerdProcess(folder)


@pytest.fixture(params=ENGINES, scope="module")
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ReplicaProcess]:
    """A replica that the tests of a module share."""
    with _process(request.param, tmp_path_factory.mktemp(request.param)) as process:
        yield process


@pytest.fixture
def replica(running: ReplicaProcess) -> Client:
    """A client of the shared replica, which has no tables."""
    client = running.client()
    # A table that others refer to goes after them, so it may take a few rounds.
    while found := client.rows(_CLEAN):
        dropped = [client.query(f'DROP {kind} "{name}"').status for kind, name in found]
        assert 200 in dropped, found
    return client


@pytest.fixture
def is_peer(running: ReplicaProcess) -> bool:
    """The shared replica is our own peer: what it does differently on purpose is asserted too."""
    return running.name == "peer"


@pytest.fixture(params=ENGINES)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReplicaProcess]:
    """A replica of the test's own, to be killed."""
    with _process(request.param, tmp_path / "replica") as process:
        yield process


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Half of the suite is missing without the engine, and that must not go unnoticed."""
    skipped = terminalreporter.stats.get("skipped", [])
    if any(workerd.NOT_TESTED in str(report.longrepr) for report in skipped):
        terminalreporter.write_sep("!", workerd.NOT_TESTED, red=True, bold=True)
