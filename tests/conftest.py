"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from replication.site import Site, clean, proxied_peers
from support.peer import PeerProcess
from support.proxy import Proxy

Running = tuple[list[PeerProcess], list[Proxy]]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[PeerProcess]:
    """A running replica with an empty database."""
    with PeerProcess(tmp_path / "peer") as process:
        yield process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two replicas behind proxies, for all tests of a module."""
    with proxied_peers(tmp_path_factory.mktemp("site"), 2) as running:
        yield running


@pytest.fixture
def quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes look for journals of dead ones every 0.2 s."""
    monkeypatch.setenv("AFTERQUERY_TEST_LOOK", "0.2")


@pytest.fixture
def site(running: Running, tmp_path: Path) -> Site:
    """The same with nothing in them, and a folder for journals."""
    return clean(tmp_path, running)
