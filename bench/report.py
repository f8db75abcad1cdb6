"""From the results to `docs/benchmarks.md` with its pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from bench import ROOT
from bench.goals import judged
from bench.measure import Numbers
from bench.no_gain import no_gain
from bench.sections import SECTIONS, table

METHOD = """Look at the ratios: what is compared ran in the same run, in turns, in several rounds;
a figure is the median of its rounds. Times are of the monotonic clock; what a loop and reading the
clock take is taken off a call's time. A debug build is refused. Load, application, senders and
replicas share the cores of one machine, so nothing here is what a fleet would reach. A *sink* is a
server in Rust that answers as a replica does, keeps its watermark, and does nothing else; every
write that arrives there is counted, and a run that loses one is void. Each rival is in
[`bench/rivals`](../bench/rivals), as its own users write it, with six writes under way where each
is a task: there they are fastest."""


def read(place: Path) -> dict[str, Numbers]:
    """What the scenarios found, by their names."""
    return {path.stem: json.loads(path.read_text()) for path in place.glob("*.json")}


def render(place: Path, *, quick: bool) -> Path:
    """Writes the page and its pictures; for a quick round beside the results and not in `docs`."""
    results = read(place)
    page = place / "benchmarks.md" if quick else ROOT / "docs" / "benchmarks.md"
    images = page.parent / "images"
    images.mkdir(exist_ok=True)
    parts = ["# Benchmarks", _about(results["environment"]), METHOD, "## Goals", _goals(results)]
    for section in SECTIONS:
        found = results.get(section.scenario)
        if found is None:
            continue
        parts += [f"## {section.title}", *_body(section.render, found, images)]
    parts += ["## Where there is no gain", no_gain(results)]
    page.write_text("\n\n".join(parts) + "\n")
    return page


def _body(render: object, found: Numbers, images: Path) -> Iterable[str]:
    if "skipped" in found:
        return [f"Not measured: {found['skipped']}."]
    assert callable(render)
    lines: list[str] = render(found, images)
    return lines


def _about(environment: Numbers) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    machine = ", ".join(str(environment[name]) for name in ("date", "cpu", "system"))
    versions = ", ".join(
        f"{shown} {environment[name]}"
        for name, shown in (
            ("afterquery", "afterquery"),
            ("commit", "commit"),
            ("python", "Python"),
            ("sqlite", "SQLite"),
            ("rust", "Rust"),
            ("node", "Node"),
        )
    )
    load = environment["load_before"]
    lines = [
        f"{machine}, {environment['cores']} cores; load before the start {load}.",
        f"{versions}, {packages}.",
    ]
    if environment["quick"]:
        lines.insert(0, "**A quick round: to see that everything works, not to be quoted.**")
    return "\n".join([*lines, "`make bench` makes this page."])


def _goals(results: dict[str, Numbers]) -> str:
    rows = [
        (goal.what, goal.goal, said, f"**{verdict}**", goal.missed if verdict == "missed" else "")
        for goal, said, verdict in judged(results)
    ]
    return table(("what", "goal", "measured", "", "why"), rows)
