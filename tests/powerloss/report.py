"""The table, and its place in the documentation."""

from __future__ import annotations

from pathlib import Path

from powerloss.scenarios import Result, Scenario

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- powerloss:begin -->\n", "<!-- powerloss:end -->\n"
HEAD = (
    *("what promises", "calls recorded", "points", "states"),
    *("power lost by the application", "the replica", "both"),
    *("recovered", "lost", "doubled", "wrong otherwise"),
)


def row(label: str, result: Result) -> list[str]:
    lost, doubled = result.wrong["lost"], result.wrong["doubled"]
    others = sum(result.wrong.values()) - lost - doubled - result.wrong["states"]
    where = [result.lost[one] for one in ("app", "replica", "both")]
    numbers = [result.calls, result.points, result.states, *where, result.recovered]
    return [label, *(f"{number:,}" for number in [*numbers, lost, doubled, others])]


def table(results: list[tuple[Scenario, Result]]) -> str:
    """A line for each scenario, and their sum."""
    total = Result()
    for _, result in results:
        total.calls += result.calls
        total.points += result.points
        total.states += result.states
        total.lost += result.lost
        total.wrong += result.wrong
    rows = [row(scenario.label, result) for scenario, result in results]
    rule = ["---"] + ["--:"] * (len(HEAD) - 1)
    lines = [list(HEAD), rule, *rows, row("**all**", total)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def write(results: list[tuple[Scenario, Result]], command: str, when: str) -> None:
    """Put the table into the documentation, with the command that makes it."""
    before, rest = DOCUMENT.read_text().split(BEGIN)
    _, after = rest.split(END)
    made = f"`{command}`, {when}:\n\n{table(results)}"
    DOCUMENT.write_text(f"{before}{BEGIN}{made}{END}{after}")
