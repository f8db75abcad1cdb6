"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peer import PeerProcess


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[PeerProcess]:
    """A running replica with an empty database."""
    with PeerProcess(tmp_path / "peer") as process:
        yield process
