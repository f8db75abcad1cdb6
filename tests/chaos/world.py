"""One scenario's world: a primary, an application, its journal and its replicas."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal

from chaos import clock, disk, told
from chaos.app import Settings
from chaos.check import Read
from chaos.drain import Drained
from chaos.evidence import Copy
from chaos.process import AppProcess, drain
from chaos.work import PRIMARY, REPLICA
from support import faults
from support.peer import PeerProcess
from support.process import ReplicaProcess
from support.proxy import Proxy
from support.workerd import WorkerdProcess

CLOCK = "clock"
TOLD = "told.jsonl"

ENGINES: Mapping[str, type[ReplicaProcess]] = {"peer": PeerProcess, "workerd": WorkerdProcess}


class World:
    """What the actions act on. `done` counts what was done."""

    def __init__(
        self, folder: Path, replicas: list[ReplicaProcess], durability: str, seed: int
    ) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.replicas = replicas
        self.durability = durability
        self.chance = random.Random(seed)
        self.seed = seed
        self.done: Counter[str] = Counter()
        self.proxies: list[Proxy] = []
        self.environment: dict[str, str] = {}
        self.runs = 0
        self.app: AppProcess | None = None
        self.origin: str | None = None
        self.away: set[str] = set()
        """The replicas that are not among the settings."""
        self.copies: dict[str, Copy] = {}
        self.children = 0

    @property
    def log(self) -> Path:
        return self.folder / "app.log"

    def settings(self, *, paused: bool = False) -> Settings:
        ends: Sequence[Proxy | ReplicaProcess] = self.proxies or self.replicas
        places = zip(self.replicas, ends, strict=True)
        return Settings(
            folder=str(self.folder),
            journal=str(self.journal),
            urls={one.name: end.url for one, end in places if one.name not in self.away},
            durability=self.durability,
            seed=self.seed,
            run=self.runs,
            threads=self.chance.choice([1, 3, 4]),
            ordered=self.chance.random() < 0.5,
            origin=self.origin,
            paused=paused,
        )

    def start_app(self, *, wait: bool = True, paused: bool = False) -> None:
        """Start the next run; without `wait` it may be killed before it has started."""
        assert self.app is None
        self.runs += 1
        self.app = AppProcess(self.settings(paused=paused), self.log, self.environment)
        if wait:
            self.app.wait_ready()

    def kill_app(self) -> None:
        assert self.app is not None
        self.app.kill()
        self.app = None
        self.done["kills"] += 1

    def kill_replica(self, replica: ReplicaProcess) -> None:
        replica.kill()
        self.done["kills"] += 1

    def ask(self, name: str, *arguments: object) -> Any:
        """A command of the application."""
        assert self.app is not None
        return self.app.ask(name, *arguments)

    def state(self, replica: ReplicaProcess) -> dict[str, Any]:
        """How a replica is, as the application says."""
        found: dict[str, Any] = self.ask("state", replica.name)
        return found

    def commits(self) -> int:
        """How many writes the primary has."""
        with closing(sqlite3.connect(self.folder / "primary.db")) as primary:
            (count,) = primary.execute("SELECT count(*) FROM commits").fetchone()
        return int(count)

    def let_run(self, low: float, high: float) -> None:
        """Let everything go on for a time between these, in seconds."""
        time.sleep(self.chance.uniform(low, high))

    def meet(
        self,
        chosen: Sequence[faults.Fault],
        shares: Sequence[float] = (0.1, 0.5, 0.9),
        longest: float = 1.2,
    ) -> None:
        """Let so large a share of the requests meet one of these faults, for at most so many
        seconds, and now and then another process of the application."""
        for proxy in self.proxies:
            seed, share = self.chance.randrange(1 << 30), self.chance.choice(shares)
            proxy.plan = faults.mixture(seed, chosen, share)
        self.let_run(0.2, longest)
        if self.chance.random() < 0.4:
            self.kill_app()
            self.start_app()
            self.let_run(0.1, 0.5)
        for proxy in self.proxies:
            proxy.plan = faults.always(faults.Pass())

    def fill_disk(self) -> None:
        disk.fill(self.journal)
        self.done["full"] += 1

    def empty_disk(self) -> None:
        disk.empty(self.journal)

    def is_saved(self) -> bool:
        """Whether the application was told last that all it handed over is in the journal."""
        return told.is_saved(self.folder / TOLD)

    def move_clock(self, seconds: float) -> None:
        clock.move(self.folder / CLOCK, seconds)
        self.done["moved"] += 1

    def readers(self) -> dict[str, Read]:
        """What the checker reads."""
        return {replica.name: replica.client().rows for replica in self.replicas}

    def end(self) -> None:
        """Whatever happened, nothing of it runs on."""
        if self.app is not None:
            self.app.end()

    def drain(self) -> Drained:
        self.runs += 1
        return drain(self.settings(), self.log, self.environment)

    def count_cuts(self) -> None:
        """The requests that met a fault."""
        for proxy in self.proxies:
            self.done["cuts"] += proxy.seen.total() - proxy.seen[faults.Pass]


Need = Literal["proxies", "disk", "clock"]


@contextmanager
def world(
    folder: Path,
    engines: Sequence[str],
    durability: str,
    seed: int,
    needs: Collection[Need] = (),
    origin: str | None = None,
) -> Iterator[World]:
    """Replicas that run, a primary, and no application yet."""
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / "primary.db")) as primary:
        primary.executescript(f"PRAGMA journal_mode = WAL; {PRIMARY}")
    replicas = [_replica(folder, engine, number) for number, engine in enumerate(engines)]
    built = World(folder, replicas, durability, seed)
    built.origin = origin
    with ExitStack() as stack:
        if "disk" in needs:
            stack.enter_context(disk.small_disk(built.journal))
        if "clock" in needs:
            built.environment = clock.environment(folder / CLOCK)
        for replica in replicas:
            stack.enter_context(replica)
            replica.client().run(REPLICA)
            if "proxies" in needs:
                built.proxies.append(stack.enter_context(Proxy(replica.url)))
        stack.callback(built.end)
        yield built


def _replica(folder: Path, engine: str, number: int) -> ReplicaProcess:
    replica = ENGINES[engine](folder / f"{engine}-{number}")
    replica.name = f"{engine}-{number}"
    return replica
