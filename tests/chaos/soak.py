"""`python -m chaos.soak`: a million writes through three replicas, of which one flaps.

A day of trouble in minutes: pauses between tries are a fiftieth of the usual ones. The memory must
stay flat, every replica must have every row once and in order, and the journal must be empty at
the end.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from chaos.process import python_environment
from chaos.soak_app import COUNT_EVERY, Sample, SoakSettings
from support.peer import PeerProcess

SCHEMA = """
CREATE TABLE log (n INTEGER PRIMARY KEY, k INT, v TEXT);
CREATE TABLE counter (n INT);
INSERT INTO counter VALUES (0);
"""
UP_SECONDS = (0.5, 4.0)
DOWN_SECONDS = (0.2, 4.0)

GROWTH = 1.1
"""How much larger the memory may be in the last quarter than in the second, at rest."""
RESTED_WRITES = 1_000
WINDOW_BYTES = 32 << 20
"""What of the pending writes is kept in memory at most, beside the file (docs/design.md)."""


@dataclass
class Story:
    """What happened."""

    samples: list[Sample] = field(default_factory=list)
    down: list[tuple[float, float]] = field(default_factory=list)
    """When the flapping replica was down, in seconds from the start."""
    wrong: list[str] = field(default_factory=list)


class Flapper(threading.Thread):
    """Kills a replica with SIGKILL and starts it again until told to end."""

    def __init__(self, replica: PeerProcess, seed: int) -> None:
        super().__init__()
        self.replica = replica
        self.chance = random.Random(seed)
        self.ended = threading.Event()
        self.started = time.monotonic()
        self.down: list[tuple[float, float]] = []

    def run(self) -> None:
        while not self.ended.wait(self.chance.uniform(*UP_SECONDS)):
            begin = time.monotonic() - self.started
            self.replica.kill()
            self.ended.wait(self.chance.uniform(*DOWN_SECONDS))
            self.replica.start()
            self.down.append((begin, time.monotonic() - self.started))

    def end(self) -> None:
        self.ended.set()
        self.join()


def soak(folder: Path, writes: int, rate: int, seed: int) -> Story:
    """Run it, and look at everything afterwards."""
    story = Story()
    replicas = [PeerProcess(folder / f"peer-{number}") for number in range(3)]
    with ExitStack() as stack:
        for replica in replicas:
            stack.enter_context(replica)
            replica.client().run(SCHEMA)
        urls = {replica.folder.name: replica.url for replica in replicas}
        flapper = Flapper(replicas[-1], seed)
        _run(SoakSettings(str(folder / "journal"), urls, writes, rate), story, flapper)
        story.down = flapper.down
        for replica in replicas:
            _check(replica, writes, story)
    left = [path.name for path in (folder / "journal").iterdir()]
    if left:
        story.wrong.append(f"the journal is not empty: {left}")
    _check_memory(story)
    return story


def _run(settings: SoakSettings, story: Story, flapper: Flapper) -> None:
    command = [sys.executable, "-m", "chaos.soak_app", json.dumps(asdict(settings))]
    with subprocess.Popen(
        command, env=python_environment({}), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        flapper.start()
        for line in process.stdout:
            story.samples.append(Sample(**json.loads(line)))
            if story.samples[-1].written == settings.writes:
                # Time to catch up for good.
                flapper.ended.set()
        flapper.end()
    if process.returncode != 0:
        story.wrong.append(f"the application ended with {process.returncode}")


def _check(replica: PeerProcess, writes: int, story: Story) -> None:
    """Rows are numbered as they are inserted: each must have got the number it was sent with."""
    counted = writes // COUNT_EVERY
    client = replica.client()
    ((rows, misplaced),) = client.rows(
        "SELECT count(*) AS c, coalesce(sum(n <> k), 0) AS m FROM log"
    )
    found = (rows, misplaced, client.value("SELECT n FROM counter"))
    if found != (writes - counted, 0, counted):
        story.wrong.append(f"{replica.folder.name}: rows, misplaced, counter: {found}")


def _check_memory(story: Story) -> None:
    quarter = len(story.samples) // 4
    second = _at_rest(story.samples[quarter : 2 * quarter])
    last = _at_rest(story.samples[-quarter:])
    most = max(sample.memory for sample in story.samples)
    print(
        f"memory: {second / 2**20:.1f} MiB at rest in the second quarter, "
        f"{last / 2**20:.1f} in the last, {most / 2**20:.1f} at most"
    )
    if not 0 < last <= GROWTH * second:
        story.wrong.append("the memory grows")
    if most > last + WINDOW_BYTES:
        story.wrong.append("the memory grows with what is pending")


def _at_rest(samples: list[Sample]) -> float:
    """The memory while every replica kept up; 0 when there was no such moment."""
    rested = [sample.memory for sample in samples if max(sample.behind.values()) < RESTED_WRITES]
    return statistics.median(rested) if rested else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description=__doc__)
    parser.add_argument("--writes", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=10_000, help="writes a second")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a PNG; needs matplotlib")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        story = soak(Path(folder), options.writes, options.rate, options.seed)
    last = story.samples[-1]
    print(f"{last.written:,} writes, all settled in {last.seconds:.0f} s, {len(story.down)} kills")
    if options.picture is not None:
        from chaos.picture import draw

        draw(story, options.picture)
    print(*story.wrong, sep="\n")
    return 1 if story.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
