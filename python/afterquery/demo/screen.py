"""What a person watches: a live table on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from afterquery.demo.watch import Line

COLOURS = {
    "connecting": "yellow", "live": "green", "retrying": "yellow", "halted": "red",
    "detached": "red", "diverged": "red", "closed": "dim",
}  # fmt: skip


class Screen:
    """Draws on a terminal; where there is none, prints a line for every tenth of the way."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self._total = total
        self._printed = -1
        self._bar = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("starting", total=total)
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        """An event that stays on the screen."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def show(self, doing: str, sent: int, lines: Sequence[Line]) -> None:
        # With --seconds the requests go on after the planned number.
        self._bar.update(
            self._task, description=doing, completed=sent, total=max(sent, self._total)
        )
        if self._live:
            self._live.update(Group(self._bar, table(lines)))
            return
        tenth = sent * 10 // max(1, self._total)
        if tenth > self._printed:
            self._printed = tenth
            states = "".join(f"; {each.name} {each.state}, {each.pending} behind" for each in lines)
            self.say(f"{sent} requests{states}")


def table(lines: Sequence[Line]) -> RenderableType:
    """Of a width that does not jump while the numbers change."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    shown.add_column("replica", overflow="ellipsis", no_wrap=True, max_width=40)
    shown.add_column("state", min_width=10)
    shown.add_column("breaker", min_width=9)
    for heading, width in (("pending", 7), ("lag", 6)):
        shown.add_column(heading, justify="right", min_width=width)
    for heading in ("delivered", "rejected", "retries"):
        shown.add_column(heading, justify="right")
    for line in lines:
        shown.add_row(
            line.name,
            Text(line.state, COLOURS.get(line.state, "")),
            line.breaker,
            f"{line.pending:,}",
            f"{line.lag:.1f} s" if line.lag >= 0.05 else "-",
            f"{line.delivered:,}",
            f"{line.rejected:,}",
            f"{line.retries:,}",
        )
    reasons = [f"{line.name}: {line.reason}" for line in lines if line.reason]
    reason = Text((reasons or [""])[0], "dim", overflow="ellipsis", no_wrap=True)
    return Group(shown, reason)
