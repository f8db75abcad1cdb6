"""What the demo says at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from afterquery._core import __profile__, quoted
from afterquery.demo.compare import Difference
from afterquery.demo.traffic import Progress


@dataclass(frozen=True, slots=True)
class Result:
    """Everything the verdict rests on."""

    progress: Progress
    numbers: Mapping[str, Any]
    settled: bool
    rows: Mapping[str, int]
    differences: Sequence[Difference]

    @property
    def rejected(self) -> int:
        return sum(replica["rejected"] for replica in self.numbers["replicas"])

    @property
    def good(self) -> bool:
        return self.settled and not (self.differences or self.rejected or self.progress.unplanned)


def tell(console: Console, result: Result) -> None:
    answers = ", ".join(f"{n:,} × {code}" for code, n in sorted(result.progress.answers.items()))
    console.print(
        f"\nrequests     {result.progress.sent:,} ({answers})", highlight=False, soft_wrap=True
    )
    for kind, took in result.numbers["took"].items():
        console.print(
            f"after_query  {took['calls']:,} {kind}s: median {took['median']:.1f} µs,"
            f" p99 {took['p99']:.1f} µs",
            highlight=False,
            soft_wrap=True,
        )
    slower = "" if __profile__ == "release" else ", slower than a release build"
    console.print(f"core         profile {__profile__!r}{slower}", highlight=False, soft_wrap=True)
    skipped = ", ".join(f"{n:,} {reason}" for reason, n in result.numbers["skipped"].items() if n)
    console.print(f"skipped      {skipped or 'nothing'}", highlight=False, soft_wrap=True)
    console.print(outcomes(result))
    for line in troubles(result):
        console.print(quoted(line), style="red", highlight=False, soft_wrap=True, markup=False)
    console.print(verdict(result), highlight=False, soft_wrap=True)


def outcomes(result: Result) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"outcomes of {result.numbers['writes']:,} writes",
        title_justify="left",
    )
    table.add_column("replica")
    for heading in ("fulfilled", "rejected", "requests", "retries"):
        table.add_column(heading, justify="right")
    table.add_column("rows")
    for replica in result.numbers["replicas"]:
        different = any(found.replica == replica["name"] for found in result.differences)
        table.add_row(
            replica["name"],
            *(f"{replica[name]:,}" for name in ("fulfilled", "rejected", "requests", "retries")),
            "[red]different" if different else "[green]identical",
        )
    return table


def troubles(result: Result) -> list[str]:
    lines = [f"unplanned answer: {text}" for text in result.progress.unplanned[:5]]
    lines += [
        f"rejected by {letter['replica']}: {letter['reason']}: {letter['statements'][0][:150]}"
        for letter in result.numbers["dead_letters"][:5]
    ]
    for found in result.differences[:10]:
        lines.append(
            f"{found.replica}.{found.table}: {len(found.missing)} rows missing,"
            f" {len(found.extra)} rows too many"
        )
        lines += [f"  missing  {' | '.join(row)[:150]}" for row in found.missing[:3]]
        lines += [f"  too many {' | '.join(row)[:150]}" for row in found.extra[:3]]
    if not result.settled:
        lines.append("not every write was settled in the time given")
    return lines


def verdict(result: Result) -> str:
    compared = f"{sum(result.rows.values()):,} rows in {len(result.rows)} tables"
    count = len(result.numbers["replicas"])
    if result.good:
        return f"[bold green]IDENTICAL[/]: {compared}, the same on the primary and {count} replicas"
    if result.differences:
        return f"[bold red]DIFFERENT[/]: compared {compared} with {count} replicas"
    return f"[bold red]FAILED[/]: the rows are identical, but see above ({compared})"
