"""Replicas to write to: sinks that cost nothing, our peers, and the real storage engine."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from afterquery import Replicator
from bench.tools import tool
from bench.workload import SCHEMA, TOKEN, WRITE, row
from support import workerd
from support.peer import PeerProcess
from support.process import ReplicaProcess


@dataclass(frozen=True)
class Sinks:
    """Replicas that answer at once and keep nothing but their watermark and a count."""

    urls: list[str]

    def _get(self, path: str) -> list[dict[str, int]]:
        answers = []
        for url in self.urls:
            with urlopen(f"{url}/{path}", timeout=60) as answer:
                answers.append(json.load(answer))
        return answers

    def hold(self) -> None:
        """Keep all answers back from now on."""
        self._get("hold")

    def release(self) -> None:
        self._get("release")

    def writes(self) -> int:
        """Writes received so far, by all of them together."""
        return sum(counts["writes"] for counts in self._get("count"))

    def requests(self) -> int:
        return sum(counts["requests"] for counts in self._get("count"))


@contextmanager
def sinks(count: int = 3, record: Path | None = None) -> Iterator[Sinks]:
    """Started for as long as the block lasts; `record` gets the bodies that come to the first."""
    options = ["--record", str(record)] if record else []
    command = [str(tool("sink")), str(count), *options]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()[1:]
        # Leaving closes its input, and it ends.
        yield Sinks([f"http://127.0.0.1:{port}" for port in ports])


@contextmanager
def replicator(urls: Sequence[str], **settings: object) -> Iterator[Replicator]:
    """A replicator whose replicas have answered: connecting is not what is measured."""
    with Replicator(list(urls), auth_token=TOKEN, **settings) as made:  # type: ignore[arg-type]
        first = made.after_query(WRITE, row(-1), 1)
        assert first is not None
        wrong = [outcome for outcome in first.wait(30) if outcome.status != "fulfilled"]
        if wrong:
            sys.exit(f"the replicas do not take what this version sends: {wrong}")
        yield made


def all_fulfilled(replicator: Replicator) -> None:
    """What was measured must have worked."""
    stats = replicator.stats()
    for replica in stats.replicas:
        assert replica.fulfilled == stats.writes, f"{replica.fulfilled} of {stats.writes} arrived"


def has_workerd() -> bool:
    """Whether the real storage engine can be had; says so aloud if not."""
    try:
        workerd.binary()
    except workerd.UnavailableError as error:
        print(f"SKIPPED: no workerd: {error}", flush=True)
        return False
    return True


Made = Callable[[Path], ReplicaProcess]
"""Makes a replica with its data in a folder."""

KINDS: dict[str, Made] = {"peer": PeerProcess, "workerd": workerd.WorkerdProcess}


@contextmanager
def real(made: Made, count: int) -> Iterator[list[ReplicaProcess]]:
    """Real replicas with the table in place."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        processes: list[ReplicaProcess] = []
        for number in range(count):
            processes.append(stack.enter_context(made(Path(folder, str(number)))))
            processes[-1].client().run(SCHEMA)
        yield processes


def empty(processes: Sequence[ReplicaProcess]) -> None:
    """As new: what was recorded once can be sent again."""
    for process in processes:
        client = process.client()
        client.run("DELETE FROM users")
        if client.value("SELECT count(*) FROM sqlite_schema WHERE name='tmp_afterquery_watermark'"):
            client.run("DELETE FROM tmp_afterquery_watermark")
