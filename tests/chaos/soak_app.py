"""The application of the soak: one thread that hands over writes at a steady rate.

`python -m chaos.soak_app SETTINGS`, as JSON. Prints a `Sample` a line, as JSON.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from afterquery import Replica, Replicator
from support.process import ADMIN_TOKEN

LOG = "INSERT INTO log (k, v) VALUES (?, ?)"
COUNT = "UPDATE counter SET n = n + 1"
COUNT_EVERY = 10
SLICE_SECONDS = 0.01
SAMPLE_SECONDS = 0.25
DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class SoakSettings:
    """What the controller tells the application."""

    journal: str
    urls: dict[str, str]
    writes: int
    rate: int
    """Writes a second."""


@dataclass(frozen=True)
class Sample:
    """One look at the process."""

    seconds: float
    written: int
    memory: int
    """What of it is in memory, in bytes (VmRSS)."""
    journal: int
    """The size of the journal's files in bytes."""
    behind: dict[str, int]
    """The writes that each replica has still to get."""


def memory() -> int:
    """VmRSS: <https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


class Soak:
    """The run."""

    def __init__(self, settings: SoakSettings) -> None:
        self.settings = settings
        self.started = time.monotonic()
        self.written = 0
        self.sampled = 0.0
        self.replicator = Replicator(
            [Replica(url, name=name) for name, url in settings.urls.items()],
            auth_token=ADMIN_TOKEN,
            journal=settings.journal,
            connect_timeout=1.0,
            request_timeout=2.0,
            retry_base=0.005,
            retry_max=0.1,
        )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def run(self) -> None:
        for count in self.slices():
            for _ in range(count):
                self.write()
            self.sample()
        while self.replicator.stats().pending and self.seconds < DRAIN_SECONDS:
            time.sleep(SLICE_SECONDS)
            self.sample()
        if not self.replicator.flush(DRAIN_SECONDS):
            raise SystemExit("not everything could be delivered")
        self.sample(last=True)
        if not self.replicator.close(10):
            raise SystemExit("the replicator could not be closed")

    def slices(self) -> Iterator[int]:
        """How many writes are due, every `SLICE_SECONDS`."""
        while self.written < self.settings.writes:
            due = min(int(self.seconds * self.settings.rate), self.settings.writes)
            yield due - self.written
            time.sleep(SLICE_SECONDS)

    def write(self) -> None:
        self.written += 1
        if self.written % COUNT_EVERY == 0:
            self.replicator.after_query(COUNT, (), 1)
        else:
            number = self.written - self.written // COUNT_EVERY
            self.replicator.after_query(LOG, (number, f"the text of row {number}"), 1)

    def sample(self, *, last: bool = False) -> None:
        if self.seconds - self.sampled < SAMPLE_SECONDS and not last:
            return
        self.sampled = self.seconds
        behind = {replica.name: replica.pending for replica in self.replicator.stats().replicas}
        files = Path(self.settings.journal).iterdir()
        size = sum(file.stat().st_size for file in files)
        sample = Sample(self.seconds, self.written, memory(), size, behind)
        print(json.dumps(asdict(sample)), flush=True)


if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.ERROR)
    Soak(SoakSettings(**json.loads(sys.argv[1]))).run()
