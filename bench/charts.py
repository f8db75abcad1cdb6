"""The pictures: on a light card of their own, so that they read the same on any page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from bench.measure import Numbers

mpl.use("Agg")
CARD, INK, OURS, OTHERS, FAINT = "#f6f8fa", "#24292f", "#1f6feb", "#8c959f", "#d0d7de"
LABELS = {
    "ours": "afterquery",
    "ours_drained": "afterquery, delivery alone",
    "batcher": "batcher by hand, aiohttp",
    "aiohttp_tasks": "tasks, aiohttp on uvloop",
    "httpx_tasks": "tasks, httpx",
    "httpx_thread": "thread with queue, httpx",
    "requests_thread": "thread with queue, requests",
    "node_plugin": "fetch under allSettled, Node",
    "bare_loop": "bare Rust loop, same bytes",
    "none": "no replication",
    "background_httpx": "BackgroundTasks, httpx",
    "loop_same_bytes": "bare Rust loop, same bytes",
    "loop_without_watermark": "bare Rust loop, no watermark",
    "loop_plain": "bare Rust loop, plain statements",
}
STYLE = {
    "figure.facecolor": CARD,
    "axes.facecolor": CARD,
    "savefig.facecolor": CARD,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": OTHERS,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
COLORS = {
    "none": OTHERS,
    "ours": OURS,
    "loop_same_bytes": OTHERS,
    "loop_without_watermark": "#bf8700",
    "loop_plain": "#cf222e",
    "aiohttp_tasks": "#bf8700",
    "background_httpx": "#cf222e",
}
RATE = "#bf8700"


def label(name: str) -> str:
    return LABELS.get(name, name)


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130, bbox_inches="tight", pad_inches=0.25)
    plt.close(figure)


def bars(path: Path, values: dict[str, float], title: str, unit: str) -> None:
    """Horizontal bars on a logarithmic scale, longest first, ours in colour."""
    names = sorted(values, key=lambda name: values[name])
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(names) + 1.1))
        colors = [OURS if name.startswith("ours") else OTHERS for name in names]
        drawn = axes.barh([label(name) for name in names], [values[n] for n in names], color=colors)
        axes.bar_label(drawn, [_short(values[name]) for name in names], padding=4, color=INK)
        axes.set_xscale("log")
        axes.margins(x=0.15)
        axes.set_xlabel(unit)
        axes.set_title(title, loc="left", fontweight="bold")
        save(figure, path)


def groups(
    path: Path, values: dict[str, dict[str, float]], title: str, unit: str, *, log: bool
) -> None:
    """Bars side by side: one group for each key, one colour for each name in it."""
    names = list(next(iter(values.values())))
    width = 0.8 / len(names)
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(max(9, 2 * len(values)), 3.8))
        for number, name in enumerate(names):
            places = [at + (number - (len(names) - 1) / 2) * width for at in range(len(values))]
            heights = [group.get(name, 0) for group in values.values()]
            drawn = axes.bar(places, heights, width, label=label(name), color=COLORS[name])
            axes.bar_label(drawn, [_short(height) for height in heights], fontsize=7, padding=2)
        axes.set_xticks(range(len(values)), list(values))
        if log:
            axes.set_yscale("log")
        axes.margins(y=0.15)
        axes.set_ylabel(unit)
        axes.set_title(title, loc="left", fontweight="bold", pad=30)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, fontsize=8, frameon=False)
        save(figure, path)


def curves(path: Path, found: Numbers) -> None:
    """How costs grow: the call on the left scale, settled writes on the right one."""
    shown = {
        "replicas": "replicas",
        "threads": "threads",
        "bytes": "bytes of a statement",
        "texts": "distinct texts",
    }
    with mpl.rc_context(STYLE):
        figure, grid = plt.subplots(2, 2, figsize=(9.5, 6.6), layout="constrained")
        for axes, (name, title) in zip(grid.flat, shown.items(), strict=True):
            points = {int(x): numbers for x, numbers in found[name].items()}
            _calls(axes, points, title)
            if all("settled_per_second" in numbers for numbers in points.values()):
                right = axes.twinx()
                _rates(right, points)
        lines = grid[0, 0].get_lines() + right.get_lines()
        figure.legend(handles=lines, loc="outside upper left", ncols=3, frameon=False)
        save(figure, path)


def _calls(axes: Any, points: dict[int, Numbers], title: str) -> None:
    medians, worst = ([n[part] for n in points.values()] for part in ("p50", "p99"))
    axes.plot(list(points), medians, "o-", color=OURS, label="a call, median")
    axes.plot(list(points), worst, "o:", color=OURS, label="a call, p99")
    axes.set(xscale="log", yscale="log", xlabel=title, ylabel="µs")
    axes.grid(visible=True, linewidth=0.6)
    _plain(axes)


def _rates(axes: Any, points: dict[int, Numbers]) -> None:
    rates = [numbers["settled_per_second"] for numbers in points.values()]
    axes.plot(list(points), rates, "s--", color=RATE, label="settled writes/s, right scale")
    axes.set(yscale="log")
    axes.tick_params(axis="y", colors=RATE, which="both")
    axes.spines["right"].set(visible=True, color=RATE)
    _plain(axes)


def _plain(axes: Any) -> None:
    """Numbers as people write them."""
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.yaxis.set_minor_formatter(lambda value, _: _short(value) if str(value)[0] in "25" else "")
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    for size, suffix in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
