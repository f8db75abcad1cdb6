"""Recovers from a state as the real thing does, and says what is wrong afterwards.

A new peer opens what is left of the replica's file, a new replicator or relay what is left of the
application's. The promises: what was told is there once, whole and in order; what was not told is
there whole and once, or not at all; and the new processes are well and leave nothing behind.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from afterquery import Replica
from afterquery.outbox import Relay
from afterquery.peer import Peer
from chaos.drain import wait
from powerloss.states import State
from powerloss.workload import (
    NAME,
    PATIENT,
    STRIDE,
    Settings,
    is_rejected,
    open_replicator,
    steps,
)
from support.process import ADMIN_TOKEN

SECONDS = 20.0
"""How long a recovery may take; it takes some tenths of a second."""

logging.getLogger("afterquery").addHandler(logging.NullHandler())

ROWS = "SELECT k, step, typeof(v), hex(v) FROM log ORDER BY n"


class Peers:
    """An ASGI application with a peer for each state: one server serves all, one after another."""

    def __init__(self) -> None:
        self._peers: dict[str, Peer] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, name, path = scope["path"].split("/", 2)
        await self._peers[name]({**scope, "path": f"/{path}", "root_path": ""}, receive, send)

    @contextmanager
    def mounted(self, name: str, db: Path) -> Iterator[str]:
        """The peer of one file; gives its path."""
        peer = self._peers[name] = Peer(db, admin_token=ADMIN_TOKEN)
        try:
            yield f"/{name}"
        finally:
            del self._peers[name]
            peer.close()


class Errors(logging.Handler):
    """Collects what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


class Judge:
    """One state's findings."""

    def __init__(self, state: State, workload: str, settings: Settings) -> None:
        self.wrong: Counter[str] = Counter()
        self.examples: list[str] = []
        self.state = state
        self.workload = workload
        self.settings = settings
        told = state.told
        self.told = {k for line in told for k in [line.get("k"), *line.get("ks", [])]} - {None}
        self.on = {line["on"] for line in told if "on" in line}
        self.later = any("later" in line for line in told)

    def add(self, kind: str, what: object) -> None:
        self.wrong[kind] += 1
        self.examples.append(f"{kind}: {what}"[:400])

    def run(self, folder: Path, peers: Peers, base: str) -> None:
        """Recover what is in `folder`; the peers are served below the URL `base`."""
        self.db = folder / "b" / "copy.db"
        self.acknowledged()
        errors = Errors()
        logger = logging.getLogger("afterquery")
        logger.addHandler(errors)
        try:
            with peers.mounted(folder.name, self.db) as path:
                getattr(self, self.workload)(folder / "a", base + path)
        except Exception as error:
            self.add("broken", f"{type(error).__name__}: {error}")
        finally:
            logger.removeHandler(errors)
        for line in errors.found:
            self.add("error", line)

    def acknowledged(self) -> None:
        """What the peer had answered for is there before anybody delivers it again."""
        try:
            found = Counter(k for k, *_ in self.rows())
            for k in self.on:
                if found[k] != steps(k):
                    self.add("lost", f"{k} was acknowledged, and {found[k]} of its rows are there")
        except sqlite3.Error as error:
            self.add("lost", f"what was acknowledged cannot be read: {error}")

    def journal(self, app: Path, url: str) -> None:
        replicator = open_replicator(app, url, self.settings)
        flushed = False
        try:
            flushed = wait(replicator)
            if not flushed:
                self.add("unsettled", "not everything was delivered")
            stats = replicator.stats()
            if stats.replicas[0].state not in {"live", "connecting"}:
                self.add("unsettled", f"{stats.replicas[0].state}: {stats.replicas[0].reason}")
            texts = [letter.statements[0] for letter in replicator.dead_letters()]
            letters = [int(text.rsplit("(", 1)[1].rstrip(")")) for text in texts]
            replicator.discard()
        finally:
            closed = replicator.close(SECONDS if flushed else 0)
        left = sorted(path.name for path in (app / "var" / "journal").iterdir())
        if not closed or left:
            self.add("left", left)
        self.rows_are_right(self.rows())
        self.letters_are_right(letters)

    def rows(self, path: Path | None = None) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path or self.db)) as connection:
            return connection.execute(ROWS).fetchall()

    def rows_are_right(self, rows: list[tuple[Any, ...]]) -> None:
        found: dict[int, list[int]] = defaultdict(list)
        for k, step, *_ in rows:
            found[k].append(step)
        for k, there in found.items():
            if there != list(range(steps(k))):
                self.add("doubled" if len(there) > steps(k) else "torn", f"{k} ran as {there}")
        for k in sorted(self.told - found.keys()):
            if not is_rejected(k):
                self.add("lost", k)
        for thread in {k // STRIDE for k in found}:
            order = [k for k in found if k // STRIDE == thread]
            if order != sorted(order):
                self.add("misplaced", order)

    def letters_are_right(self, letters: list[int]) -> None:
        """A rejected write is a dead letter, or after its replay a row: one of them, and once."""
        with closing(sqlite3.connect(self.db)) as connection:
            has = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'later'").fetchone()
            replayed = connection.execute("SELECT k FROM later").fetchall() if has else []
        if self.later and not has:
            self.add("lost", "the table that the peer had made")
        count = Counter(letters) + Counter(k for (k,) in replayed)
        for k in {k for k in self.told if is_rejected(k)} | count.keys():
            if count[k] != 1 and (count[k] or k in self.told):
                self.add("doubled" if count[k] else "lost", f"dead letter {k}: {count[k]}")

    def outbox(self, app: Path, url: str) -> None:
        path = app / "app.db"
        with closing(sqlite3.connect(path)) as connection:
            (sound,) = connection.execute("PRAGMA integrity_check").fetchone()
        if sound != "ok":
            self.add("broken", sound)
        self.rows_are_right(self.rows(path))
        if self.wrong:
            return
        relay = Relay(path, [Replica(url, name=NAME)], poll=0.01, lease=0.2, **PATIENT)
        if not relay.run(once=SECONDS):
            self.add("unsettled", f"{relay.state}: {relay.problem}")
        if self.rows() != self.rows(path):
            self.add("rows", f"{len(self.rows())} on the replica, {len(self.rows(path))} here")
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("SELECT 1 FROM afterquery_outbox").fetchone():
                self.add("left", "the outbox is not empty")


def judge(
    state: State, workload: str, settings: Settings, folder: Path, peers: Peers, base: str
) -> Judge:
    """Recover in a folder of its own, which is gone afterwards where nothing is wrong."""
    judged = Judge(state, workload, settings)
    judged.run(folder, peers, base)
    if not judged.wrong:
        shutil.rmtree(folder)
    return judged
