"""Replicas that can be cut off, a journal's directory, and processes that write and die."""

from __future__ import annotations

import sqlite3
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afterquery import Replica, Replication, Replicator
from replication.world import connect, peers, prepare, until
from support import faults
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.program import Program
from support.proxy import Proxy

SCHEMA = "CREATE TABLE log (n INTEGER PRIMARY KEY, who TEXT, k INT)"
INSERT = "INSERT INTO log (who, k) VALUES (?, ?)"

START = """
import logging, os, signal, sys, threading, time
from afterquery import JournalError, NotSettledError, Replica, Replicator

logging.basicConfig(format="%(levelname)s %(message)s")

def connect(**settings):
    urls = enumerate(os.environ["REPLICAS"].split())
    replicas = [Replica(url, name=f"peer-{number}") for number, url in urls]
    quick = {"auth_token": os.environ["TOKEN"], "retry_base": 0.01, "retry_max": 0.2}
    journal = os.environ.get("JOURNAL")
    return Replicator(replicas, **(quick | {"journal": journal} | settings))

def write(replicator, who, k):
    return replicator.after_query("INSERT INTO log (who, k) VALUES (?, ?)", (who, k), 1)

def fulfilled(replication):
    assert {o.status for o in replication.wait(30)} == {"fulfilled"}, replication.outcomes

def say(*words):
    # In one step, whatever other threads say.
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""What every program here starts with."""


def write(replicator: Replicator, who: str, k: int) -> Replication:
    """One row of the table `log`."""
    replication = replicator.after_query(INSERT, (who, k), 1)
    assert replication is not None
    return replication


@dataclass
class Site:
    """Replicas named `peer-0`, …, each behind a proxy that can cut it off."""

    folder: Path
    peers: list[PeerProcess]
    proxies: list[Proxy]

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def replicas(self) -> list[Replica]:
        pairs = zip(self.peers, self.proxies, strict=True)
        return [Replica(proxy.url, name=peer.name) for peer, proxy in pairs]

    def down(self, *numbers: int) -> None:
        """Cut these replicas off; all, if none is named."""
        for number in numbers or range(len(self.proxies)):
            self.proxies[number].set(faults.CutBeforeRequest())

    def up(self, *numbers: int) -> None:
        for number in numbers or range(len(self.proxies)):
            # Else a request that was sent while it was down would pass.
            self.proxies[number].cut()
            self.proxies[number].set(faults.Pass())

    def connect(self, **settings: Any) -> Replicator:
        return connect(*self.replicas, **({"journal": self.journal} | settings))

    def program(self, code: str, name: str = "program", **env: str) -> Program:
        """A program of a user's, which has the names of `START`."""
        given = {
            "REPLICAS": " ".join(proxy.url for proxy in self.proxies),
            "TOKEN": ADMIN_TOKEN,
            "JOURNAL": str(self.journal),
        }
        return Program(self.folder / name, START + textwrap.dedent(code), env=given | env)

    def leave(self, who: str, count: int, **settings: Any) -> Path:
        """The journal of a process that ended while no replica answered."""
        self.down()
        before = set(self.files())
        replicator = self.connect(**settings)
        for k in range(count):
            write(replicator, who, k)
        replicator.close(0)
        self.up()
        (file,) = set(self.files()) - before
        return file

    def files(self) -> list[Path]:
        return sorted(self.journal.glob("*.journal"))

    def written(self, number: int = 0, who: str = "%") -> list[int]:
        """What arrived there, in its order."""
        sql = f"SELECT k FROM log WHERE who LIKE '{who}' ORDER BY n"
        return [k for (k,) in self.peers[number].client().rows(sql)]

    def order(self, number: int = 0) -> list[str]:
        """Who wrote what arrived there, in its order."""
        return [
            who for (who,) in self.peers[number].client().rows("SELECT who FROM log ORDER BY n")
        ]

    def deliver(self, seconds: float = 30.0, **settings: Any) -> None:
        """What a next process does: it must find everything, and leave nothing behind."""
        with self.connect(**settings) as replicator:
            assert replicator.flush(seconds), replicator.stats().replicas
        self.gone()

    def gone(self) -> None:
        """No journal is left, at the latest when a next process has taken them over."""
        with self.connect() as replicator:
            own = self.journal / f"{replicator.origin}.journal"
            until(lambda: set(self.files()) <= {own}, "the journals are removed")
        assert self.files() == []


def edit(file: Path, sql: str) -> None:
    """Change a journal that nobody uses."""
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(sql)


def look(file: Path, sql: str) -> list[tuple[Any, ...]]:
    """Read a journal, also one in use; from a process that does not use it."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


@contextmanager
def proxied_peers(
    folder: Path, count: int, *, like_starbasedb: bool = False
) -> Iterator[tuple[list[PeerProcess], list[Proxy]]]:
    """Peers with the table `log`, each behind a proxy."""
    with peers(folder, count, like_starbasedb=like_starbasedb) as processes, ExitStack() as stack:
        prepare(SCHEMA, *processes)
        yield processes, [stack.enter_context(Proxy(process.url)) for process in processes]


def clean(folder: Path, running: tuple[list[PeerProcess], list[Proxy]]) -> Site:
    """A site on running replicas, as if they were new."""
    site = Site(folder, *running)
    site.up()
    prepare("DELETE FROM log", *site.peers)
    for peer in site.peers:
        # Tests name their origins alike. On a new replica the table is not there yet.
        peer.client().query("DELETE FROM tmp_afterquery_watermark")
    return site
