"""Children of the application that write, and end without `atexit`.

What docs/reliability.md promises: those of `multiprocessing` and of executors lose nothing, and
what ends without a word loses at most what `durability` says: others deliver what its journal has.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from afterquery import Replicator
from chaos.app import App, Settings, Writer
from chaos.work import LANES

KINDS = ("fork", "forkserver", "executor", "exit", "pool")
"""The last two end without a word."""

inherited: Replicator | None = None
"""The parent's, in a child that was forked."""


def start(
    kind: str, number: int, settings: Settings, replicator: Replicator
) -> Callable[[], int | None]:
    """Start a child; what comes back waits for its end and gives its exit status."""
    global inherited
    inherited = replicator
    context = multiprocessing.get_context("fork")
    arguments = (settings.encode(), number, kind)
    if kind == "executor":
        executor = ProcessPoolExecutor(1, mp_context=context)
        future = executor.submit(work, *arguments)

        def ended() -> int | None:
            future.result()
            executor.shutdown()
            return 0

        return ended
    if kind == "pool":
        pool = context.Pool(1)
        result = pool.apply_async(work, arguments)

        def terminated() -> int | None:
            with pool:
                result.get()
            pool.join()
            return 0

        return terminated
    if kind == "forkserver":
        process = multiprocessing.get_context("forkserver").Process(target=work, args=arguments)
    else:
        process = context.Process(target=work, args=arguments)  # type: ignore[assignment]
    process.start()

    def joined() -> int | None:
        process.join()
        return process.exitcode

    return joined


def work(encoded: str, number: int, kind: str) -> None:
    """Write, in a lane of its own: between processes there is no order."""
    settings = replace(Settings(**json.loads(encoded)), threads=1, ordered=False)
    app = App(settings, inherited)
    lane = LANES + number
    writer = Writer(app, lane)
    last = [writer.commit("count", 0, lane) for _ in range(chosen(settings, number))][-1]
    if kind == "exit":
        os._exit(0)
    if kind != "pool":
        app.teller.ends(last)


def chosen(settings: Settings, number: int) -> int:
    """How many writes."""
    return random.Random(f"{settings.seed} {number}").randint(1, 80)
