"""The checker: what the primary committed, what the app was told, what every replica has."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import pairwise
from typing import Any

from chaos.evidence import Evidence
from chaos.findings import Findings, Wrong
from chaos.told import Handed
from chaos.work import LANES, model

Row = tuple[Any, ...]
Read = Callable[[str], list[Row]]
PAGE_ROWS = 1_000

LANE = "SELECT id, n, h, k, step FROM lane ORDER BY id"
TRACE = "SELECT n, k, step FROM trace WHERE n > {after} ORDER BY n LIMIT {limit}"
LOG = (
    "SELECT n, k, step, typeof(v) AS t, hex(v) AS v FROM log WHERE n > {after}"
    " ORDER BY n LIMIT {limit}"
)

LATE_SECONDS = 0.5
"""The journal's thread commits within 10 ms; more is the machine's load."""
RAN_SECONDS = 0.2
"""A process that notes nothing for longer was stopped, or had nothing to do."""


def check(evidence: Evidence, replicas: Mapping[str, Read]) -> Findings:
    """Compare everything with everything; each replica is a name and a way to read it."""
    findings = Findings(len(evidence.committed))
    checks = [ReplicaCheck(evidence, name, read, findings) for name, read in replicas.items()]
    for one in checks:
        one.run()
    for line in late(evidence.handed.values()):
        findings.add("late", f"{line} came when nothing had been saved for {LATE_SECONDS} s")
    first = checks[0]
    for other in checks[1:]:
        # A copy of the primary has what a replica would have rejected.
        copied = {first.name, other.name} & evidence.copies.keys()
        if not copied and (other.lane, other.log) != (first.lane, first.log):
            findings.add("copies", f"{first.name} and {other.name} differ")
    return findings


def late(handed: Iterable[Handed]) -> Iterator[Handed]:
    """Where the journal stood still for long though nothing was wrong and the process ran."""
    origin, saved, since, at = "", 0, 0.0, 0.0
    for line in handed:
        moved = line.seq - line.unsaved > saved or line.problem
        if moved or line.origin != origin or line.at - at > RAN_SECONDS:
            since = line.at
        elif line.at - since > LATE_SECONDS:
            yield line
        origin, saved, at = line.origin, line.seq - line.unsaved, line.at


class ReplicaCheck:
    """One replica."""

    def __init__(self, evidence: Evidence, name: str, read: Read, findings: Findings) -> None:
        self.evidence = evidence
        self.findings = findings
        self.name = name
        self.lane, self.log = read(LANE), pages(read, LOG)
        self.trace = [(k, step) for _, k, step in pages(read, TRACE)]
        copy = evidence.copies.get(name)
        self.image = copy.image if copy else None
        self.copied = copy.k if copy else 0
        """The last write that is in the copy it was synced from."""
        self.steps: dict[int, list[int]] = defaultdict(list)
        for k, step in self.trace:
            self.steps[k].append(step)

    def run(self) -> None:
        self.each_write_whole_and_once()
        self.nothing_lost()
        self.in_order()
        self.dead_letters()
        self.outcomes()
        self.tables()
        self.primary()

    def add(self, kind: Wrong, what: object) -> None:
        self.findings.add(kind, f"{self.name}: {what}")

    def has(self, k: int) -> bool:
        """Whether a write was applied as far as it can be, or is kept as rejected."""
        return k <= self.copied or k in self.steps or self.evidence.has_letter(self.name, k)

    def each_write_whole_and_once(self) -> None:
        for k, steps in self.steps.items():
            spec = self.evidence.committed.get(k)
            if spec is None:
                self.add("doubled", f"write {k} was never committed")
            elif k <= self.copied:
                self.add("doubled", f"{spec} is in the copy, and ran as {steps}")
            elif len(set(steps)) < len(steps):
                self.add("doubled", f"{spec} ran as {steps}")
            elif set(steps) != set(range(spec.applied())):
                self.add("lost", f"of {spec} only {steps} ran")
            elif steps != sorted(steps):
                self.add("misplaced", f"{spec} ran as {steps}")

    def nothing_lost(self) -> None:
        """What is missing was not promised, and is the end of its origin."""
        handed = self.evidence.handed.values()
        missing = [line for line in handed if not self.has(line.k)]
        newest: dict[str, int] = defaultdict(int)
        for line in handed:
            if self.has(line.k):
                newest[line.origin] = max(newest[line.origin], line.seq)
        unsaved = [line for line in missing if line.seq > self.evidence.promised[line.origin]]
        for line in missing:
            if line not in unsaved:
                self.add("lost", f"{line} was promised")
            elif line.seq < newest[line.origin]:
                self.add("lost", f"{line}, but write {newest[line.origin]} is there")
        self.findings.unsaved = max(self.findings.unsaved, len(unsaved))

    def in_order(self) -> None:
        """By seq within an origin, the origins of processes that follow each other in turn; within
        a lane as it was committed. Between a child and its parent there is no order."""
        order = [k for k in self.steps if k in self.evidence.committed]
        run = {k: self.evidence.committed[k].run for k in order}
        lane = {k: self.evidence.committed[k].lane for k in order}
        handed = self.evidence.handed
        for child in {max(LANES - 1, lane[k]) for k in order}:
            ours = [k for k in order if max(LANES - 1, lane[k]) == child and k in handed]
            self.ascending("seq", [(run[k], handed[k].seq) for k in ours])
        for number in set(lane.values()):
            ours = [k for k in order if lane[k] == number]
            self.ascending(f"lane {number}", [(run[k], k) for k in ours])

    def ascending(self, what: str, found: list[tuple[int, int]]) -> None:
        for before, after in pairwise(found):
            if before > after:
                self.add("misplaced", f"by {what}, {after} came after {before}")

    def dead_letters(self) -> None:
        """Of each rejected write one, of no other any."""
        for k in self.evidence.handed:
            spec = self.evidence.committed[k]
            has_letter = self.evidence.has_letter(self.name, k)
            if has_letter and not spec.is_rejected:
                self.add("outcome", f"a dead letter of {spec}")
            elif has_letter and k <= self.copied:
                self.add("doubled", f"{spec} is in the copy, and a dead letter of it is left")
            if spec.is_rejected and k in self.steps and not has_letter:
                self.add("lost", f"no dead letter of {spec}")

    def outcomes(self) -> None:
        for known in self.evidence.known:
            if known.replica == self.name and known.k > self.copied:
                spec = self.evidence.committed[known.k]
                if (known.status == "rejected") != spec.is_rejected:
                    self.add("outcome", f"{known} of {spec}")
                elif not self.has(known.k):
                    kind: Wrong = "lost" if spec.is_rejected else "outcome"
                    self.add(kind, f"{known}, but it is not there")

    def tables(self) -> None:
        """Every row is as if what ran had run once, in this order."""
        known = [self.evidence.committed[k] for k in self.steps if k in self.evidence.committed]
        with closing(model(known, self.image)) as database:
            run = reader(database)
            for found, wanted in ((self.lane, run(LANE)), (self.log, pages(run, LOG))):
                if found != wanted:
                    self.add("rows", difference(found, wanted))

    def primary(self) -> None:
        """The rows that arrived are those of the primary."""
        committed = self.evidence.committed
        ran = {k for k in self.steps if k in committed and not committed[k].is_rejected}
        here = ran | {k for k in committed if k <= self.copied}
        with closing(sqlite3.connect(self.evidence.primary)) as connection:
            rows = pages(reader(connection), LOG)
        wanted = sorted(row[1:] for row in rows if row[1] in here)
        found = sorted(row[1:] for row in self.log if row[1] in here)
        if found != wanted:
            self.add("rows", f"from the primary: {difference(found, wanted)}")


def reader(database: sqlite3.Connection) -> Read:
    return lambda sql: database.execute(sql).fetchall()


def pages(run: Read, sql: str) -> list[Row]:
    """All rows of a query that may have too many for one answer; the first column counts them."""
    rows: list[Row] = []
    while page := run(sql.format(after=rows[-1][0] if rows else 0, limit=PAGE_ROWS)):
        rows += page
    return rows


def difference(found: list[Row], wanted: list[Row]) -> str:
    """The first of it."""
    pairs = zip(found, wanted, strict=False)
    first = next((pair for pair in pairs if pair[0] != pair[1]), None)
    return f"{len(found)} rows and {len(wanted)} wanted; {str(first)[:300]}"
