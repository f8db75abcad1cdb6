"""Conducts the demo, from the first process to the verdict."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from afterquery.demo import compare, traffic
from afterquery.demo.accident import accident
from afterquery.demo.peers import App, DemoError, Peer
from afterquery.demo.report import Result, tell
from afterquery.demo.screen import Screen
from afterquery.demo.watch import Watch

FLUSH_WITHIN = 60.0
LOOK_EVERY = 0.15


@dataclass(frozen=True, slots=True)
class Options:
    """The command line of `afterquery demo`."""

    requests: int = 2000
    seconds: float = 0
    replicas: int = 3
    urls: tuple[str, ...] = ()
    token: str = ""
    port: int = 0
    seed: int = 1


def run(options: Options) -> int:
    """0: all replicas equal the primary. 1: they do not. 2: it could not run. 130: interrupted."""
    console = Console()
    try:
        with TemporaryDirectory(prefix="afterquery-demo-") as folder:
            result = asyncio.run(Demo(options, console, Path(folder)).play())
    except DemoError as error:
        console.print("[red]the demo cannot run:[/]", escape(str(error)), highlight=False)
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("interrupted; every process is ended")
        return 130
    tell(console, result)
    return 0 if result.good else 1


class Demo:
    """One run: its processes, its traffic, its screen."""

    def __init__(self, options: Options, console: Console, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.peers = [
            Peer(f"peer{number}", folder, self.token) for number in range(1, options.replicas + 1)
        ]
        self.app = App(options.port, folder, self.replicas())
        self.screen = Screen(console, options.requests)
        self.progress = traffic.Progress()
        self.doing = "starting"
        self.began = 0.0

    def replicas(self) -> tuple[tuple[str, str | None, str], ...]:
        return (
            *((peer.url, peer.name, self.token) for peer in self.peers),
            *((url, None, self.options.token) for url in self.options.urls),
        )

    async def play(self) -> Result:
        task = asyncio.current_task()
        assert task
        for ending in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: no process stays behind
            asyncio.get_running_loop().add_signal_handler(ending, task.cancel)
        with ExitStack() as processes:
            for process in (*self.peers, self.app):
                processes.callback(process.end)
            await together(peer.start() for peer in self.peers)
            await self.app.start()
            try:
                with self.screen:
                    async with httpx.AsyncClient(base_url=self.app.url, timeout=None) as client:
                        return await self.conduct(client)
            except httpx.HTTPError as error:
                raise DemoError(f"{error!r}; the log ends:\n{self.app.last_words()}") from error

    async def conduct(self, client: httpx.AsyncClient) -> Result:
        watching = asyncio.create_task(self.watch(Watch(client)))
        try:
            await self.send()
            self.doing = "waiting for the replicas"
            settled = (await client.post("/_demo/flush", params={"timeout": FLUSH_WITHIN})).json()
            await asyncio.sleep(2 * LOOK_EVERY)  # the last look shows the end
        finally:
            watching.cancel()
        numbers = (await client.get("/_demo/numbers", params={"took": True})).json()
        differences = await asyncio.to_thread(self.compare, numbers)
        return Result(
            self.progress, numbers, settled, compare.counts(self.app.db), tuple(differences)
        )

    async def send(self) -> None:
        self.doing = "sending requests"
        self.began = monotonic()
        ends = self.began + self.options.seconds
        sending = traffic.send(
            traffic.calls(self.options.seed),
            self.app.url,
            self.progress,
            lambda: self.progress.sent < self.options.requests or monotonic() < ends,
        )
        jobs = [sending]
        if self.peers:
            victim = self.peers[self.options.seed % len(self.peers)]
            jobs.append(accident(victim, self.part, self.screen.say))
        await together(jobs)

    def part(self) -> float:
        """How much of the traffic is over, from 0 to 1."""
        by_number = self.progress.sent / max(1, self.options.requests)
        if not self.options.seconds:
            return by_number
        return min(by_number, (monotonic() - self.began) / self.options.seconds)

    async def watch(self, watch: Watch) -> None:
        while True:
            self.screen.show(self.doing, self.progress.sent, await watch.look())
            await asyncio.sleep(LOOK_EVERY)

    def compare(self, numbers: Mapping[str, Any]) -> list[compare.Difference]:
        names = [replica["name"] for replica in numbers["replicas"]][len(self.peers) :]
        return [
            *compare.with_files(self.app.db, {peer.name: peer.db for peer in self.peers}),
            *compare.with_urls(
                self.app.db, dict(zip(names, self.options.urls, strict=True)), self.options.token
            ),
        ]


async def together(tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All of them; when one fails, the others are cancelled."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
