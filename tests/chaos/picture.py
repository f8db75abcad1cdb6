"""The soak as a picture: the memory of the application, and what one replica lacks meanwhile."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from chaos.soak import Story

PAPER, INK, GRID, DOWN = "#ffffff", "#24292f", "#d0d7de", "#f3d9d5"
"""Its own paper, so that it reads the same on a dark page."""
MEMORY, BEHIND, FILE = "#0550ae", "#bc4c00", "#57606a"
MIB = 2**20


def draw(story: Story, path: Path) -> None:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    with pyplot.rc_context({**settings, "font.size": 10}):
        figure, (above, middle, below) = pyplot.subplots(
            3, 1, sharex=True, figsize=(8, 6.2), facecolor=PAPER, layout="constrained"
        )
        seconds = [sample.seconds for sample in story.samples]
        flapping = list(story.samples[0].behind)[-1]
        behind = [sample.behind[flapping] / 1_000 for sample in story.samples]
        _plot(above, seconds, [s.memory / MIB for s in story.samples], MEMORY)
        above.set_title("memory of the application (MiB)", loc="left", fontsize=10)
        _plot(middle, seconds, behind, BEHIND)
        middle.set_title("writes the flapping replica lacks (thousands)", loc="left", fontsize=10)
        _plot(below, seconds, [s.journal / MIB for s in story.samples], FILE)
        below.set_title("the journal's files (MiB)", loc="left", fontsize=10)
        below.set_xlabel("seconds; red: that replica is killed and down")
        for axes in (above, middle, below):
            for begin, end in story.down:
                axes.axvspan(begin, end, color=DOWN, linewidth=0)
        figure.suptitle(_title(story), fontsize=11)
        figure.savefig(path, dpi=120)
        pyplot.close(figure)


def _title(story: Story) -> str:
    last = story.samples[-1]
    return (
        f"{last.written:,} writes to {len(last.behind)} replicas in {last.seconds:.0f} s,"
        f" one of them killed {len(story.down)} times"
    )


def _plot(axes: Axes, x: list[float], y: list[float], color: str) -> None:
    axes.set_facecolor(PAPER)
    axes.plot(x, y, color=color, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
