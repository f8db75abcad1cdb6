"""Our own peer, served by uvicorn in a process."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from support.process import ADMIN_TOKEN, CLIENT_TOKEN, ReplicaProcess

_READY = "listening on http://127.0.0.1:"


class PeerProcess(ReplicaProcess):
    """A peer on `folder/copy.db`."""

    name = "peer"

    def __init__(
        self,
        folder: Path,
        *,
        rollback_on_error: bool = False,
        like_starbasedb: bool = False,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(folder)
        self._limits = [f"{name}={value}" for name, value in (limits or {}).items()]
        self.db = folder / "copy.db"
        self._options = ["--rollback-on-error"] if rollback_on_error else []
        # A text may be as long as there, and no longer.
        self._options += ["--starbasedb"] if like_starbasedb else []

    def command(self) -> list[str]:
        script = Path(__file__).with_name("run_peer.py")
        options = [*self._options, *self._limits]
        return [sys.executable, str(script), str(self.db), str(self.port), *options]

    def environment(self) -> Mapping[str, str]:
        return {"PEER_ADMIN_TOKEN": ADMIN_TOKEN, "PEER_CLIENT_TOKEN": CLIENT_TOKEN}

    def port_of(self, line: str) -> int | None:
        return int(line[len(_READY) :]) if line.startswith(_READY) else None


def locked(db: Path) -> bool:
    """Whether somebody is writing to the database."""
    with closing(sqlite3.connect(db, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False
