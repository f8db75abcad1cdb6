"""Has a replica synced anew by the documentation: its steps, in its order, with its code.

The steps are read from the page each time. A step that nobody here knows, or one that undoes
another, fails.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from chaos.evidence import Copy
from chaos.work import COPIED
from chaos.world import World
from replication.world import until
from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ReplicaProcess

PAGE = "reliability.md"
TITLE = 'When a replica is "diverged"'

_ITEM = re.compile(r"^\d+\. (.*?)(?=^\d+\. |^$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([\w.]+)#([\w-]+)\)")


def section(document: str, title: str) -> str:
    """What is below a heading, up to the next one."""
    text = (ROOT / "docs" / document).read_text()
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{document} has no section {title}"
    return found[1]


def steps() -> list[str]:
    """The numbered steps, in order."""
    found = [" ".join(item.split()) for item in _ITEM.findall(section(PAGE, TITLE))]
    assert found, f"{PAGE} has no steps"
    return found


def code(step: str) -> str:
    """The code that a step leads to."""
    link = _LINK.search(step)
    assert link, f"no link: {step}"
    document, anchor = link.groups()
    text = (ROOT / "docs" / document).read_text()
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    (title,) = [title for title in titles if _anchor(title) == anchor]
    found = re.search(r"^```python\n(.*?)^```$", section(document, title), re.MULTILINE | re.DOTALL)
    assert found, f"no code: {title}"
    return found[1]


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


class Operator:
    """Somebody who reads the page, beside an application that runs."""

    def __init__(self, world: World, replica: ReplicaProcess) -> None:
        assert isinstance(replica, PeerProcess)
        self.world = world
        self.replica = replica
        self.primary = world.folder / "primary.db"
        self.known: dict[str, Callable[[str], None]] = {
            "Stop the application's writes": self.stop,
            "take a snapshot of the primary": self.snapshot,
            "Copy the primary's tables to the replica": self.copy,
            "`replicator.resume(": self.resume,
        }

    def follow(self) -> None:
        """All steps; then the application goes on, and the replica gets what it writes."""
        self.stopped = False
        for step in steps():
            self.perform(step)
        if self.stopped:
            self.world.ask("go")
        self.live()
        self.world.done["synced"] += 1

    def live(self) -> None:
        until(lambda: self.world.state(self.replica)["state"] == "live", "the replica is live")

    def perform(self, step: str) -> None:
        """Of several ways the page gives, the seed chooses one."""
        first = step.split(". ")[0]
        found = [perform for words, perform in self.known.items() if words in first]
        assert found, f"nobody here knows how to do this: {step}"
        self.world.chance.choice(found)(step)

    def stop(self, _: str) -> None:
        self.world.ask("pause")
        self.stopped = True

    def snapshot(self, _: str) -> None:
        self.primary = self._picture("snapshot")

    def copy(self, step: str) -> None:
        """With the peer running or stopped."""
        image = self._picture("copy")
        stopped = self.world.chance.random() < 0.5
        if stopped:
            self.replica.kill()
        text = code(step).replace('"app.db"', repr(str(self.primary)))
        for name in ("copy.new", "copy.db"):
            text = text.replace(name, str(self.replica.db.with_name(name)))
        subprocess.run([sys.executable, "-c", text], check=True)
        if stopped:
            self.replica.start()
        self.replica.client().run(COPIED)
        with closing(sqlite3.connect(image)) as copied:
            (k,) = copied.execute("SELECT coalesce(max(k), 0) FROM commits").fetchone()
        self.world.copies[self.replica.name] = Copy(k, image)

    def resume(self, step: str) -> None:
        found = re.search(r"`(replicator\.resume\(.*?\))`", step)
        assert found, step
        text = found[1].replace('"name"', repr(self.replica.name))
        assert text != found[1], step
        self.world.ask("code", text)

    def _picture(self, name: str) -> Path:
        """The primary as it is now."""
        path = self.world.folder / f"{name}-{self.world.done['synced']}-{self.replica.name}.db"
        path.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(self.primary)) as primary,
            closing(sqlite3.connect(path)) as to,
        ):
            primary.backup(to)
        return path


def copy_alone(world: World, replica: ReplicaProcess) -> None:
    """What the page says of a replica that is set up anew from a copy, while nobody writes."""
    operator = Operator(world, replica)
    (step,) = [step for step in steps() if "Copy the primary's tables" in step]
    operator.copy(step)
    world.done["synced"] += 1
