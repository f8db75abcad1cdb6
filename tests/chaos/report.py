"""The table of what was done and what was found, and its place in the documentation."""

from __future__ import annotations

from pathlib import Path

from chaos.findings import Wrong
from chaos.scenarios import AnyScenario, Result

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- chaos:begin -->\n", "<!-- chaos:end -->\n"

DONE = (
    *("kills", "stops", "signals", "children", "cuts", "away", "synced"),
    *("full", "moved", "damaged"),
)
WRONG: tuple[Wrong, ...] = ("lost", "doubled", "misplaced")
HEAD = (
    *("scenario", "durability", "replicas", "kills", "stops", "signals", "children"),
    *("cuts or lies", "out and back", "synced anew", "disk full", "clock moved"),
    *("files damaged", "writes", "at risk", "told", "lost", "doubled", "out of order", "wrong"),
)


def row(scenario: AnyScenario, result: Result) -> list[str]:
    """One scenario's line; what did not occur is left out where it was not meant to."""
    findings = result.findings
    others = sum(n for kind, n in findings.wrong.items() if kind not in WRONG)
    numbers = [findings.committed, findings.unsaved, findings.told]
    numbers += [*(findings.wrong[kind] for kind in WRONG), others]
    done = [f"{result.done[what]:,}" if result.done[what] else "" for what in DONE]
    names = [scenario.name, scenario.durability, ", ".join(scenario.replicas)]
    return [*names, *done, *(f"{number:,}" for number in numbers)]


def table(results: list[tuple[AnyScenario, Result]]) -> str:
    """All lines, with their sum."""
    total = Result()
    for _, result in results:
        total.add(result)
    rows = [row(scenario, result) for scenario, result in results]
    scenario, _ = results[0]
    rows.append(["**all**", "", "", *row(scenario, total)[3:]])
    rule = ["---"] * 3 + ["--:"] * (len(HEAD) - 3)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [HEAD, rule, *rows])


def write(results: list[tuple[AnyScenario, Result]], command: str, when: str) -> None:
    """Put the table into the documentation, with the command that makes it."""
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    made = f"`{command}`, {when}:\n\n{table(results)}"
    DOCUMENT.write_text(f"{before}{BEGIN}{made}{END}{after}")
