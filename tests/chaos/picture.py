"""The soak as a picture: the memory of the application, and what one replica lacks meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from bench.charts import OTHERS, OURS, RATE, STYLE, save
from chaos.soak import Story
from chaos.soak_app import Sample

DOWN = "#f3d9d5"
MIB = 2**20


def draw(story: Story, path: Path) -> None:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flapping = list(story.samples[0].behind)[-1]
    with mpl.rc_context(STYLE):
        figure, (above, middle, below) = plt.subplots(
            3, 1, sharex=True, figsize=(8, 6.4), layout="constrained"
        )
        _plot(above, story, lambda sample: sample.memory / MIB, OURS)
        above.set_title("memory of the application, MiB", loc="left")
        _plot(middle, story, lambda sample: sample.behind[flapping] / 1_000, RATE)
        middle.set_title("writes the flapping replica lacks, thousands", loc="left")
        _plot(below, story, lambda sample: sample.journal / MIB, OTHERS)
        below.set_title("the journal's files, MiB", loc="left")
        below.set_xlabel("seconds (red: that replica is dead)")
        figure.suptitle(_title(story), fontweight="bold")
        save(figure, path)


def _title(story: Story) -> str:
    last = story.samples[-1]
    return (
        f"{last.written:,} writes to {len(last.behind)} replicas in {last.seconds:.0f} s,"
        f" one of them killed {len(story.down)} times"
    )


def _plot(axes: Any, story: Story, value: Callable[[Sample], float], color: str) -> None:
    x = [sample.seconds for sample in story.samples]
    axes.plot(x, [value(sample) for sample in story.samples], color=color, linewidth=1.4)
    for begin, end in story.down:
        axes.axvspan(begin, end, color=DOWN, linewidth=0)
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.grid(axis="y")
