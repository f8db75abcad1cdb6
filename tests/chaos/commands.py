"""What the controller asks of a running application: a line of JSON each way.

Beside its writers, in a thread that may stop them between two writes, as an operator would.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from afterquery import Replicator

if TYPE_CHECKING:
    from chaos.app import Settings

FLUSH_SECONDS = 60.0


class Commands(threading.Thread):
    """Answers until the controller is gone."""

    def __init__(
        self, settings: Settings, replicator: Replicator, gates: Sequence[threading.Lock]
    ) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self._replicator = replicator
        self._gates = gates

    def run(self) -> None:
        known: dict[str, Callable[..., object]] = {
            "pause": self.pause,
            "go": self.go,
            "flush": self.flush,
            "close": self.close,
            "state": self.state,
            "code": self.code,
            "child": self.child,
        }
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            print(json.dumps(known[name](*arguments)), flush=True)

    def pause(self) -> None:
        """Nobody writes any more when it returns."""
        for gate in self._gates:
            gate.acquire()

    def go(self) -> None:
        for gate in self._gates:
            gate.release()

    def flush(self) -> bool:
        return self._replicator.flush(FLUSH_SECONDS)

    def close(self) -> bool:
        """The last that is asked."""
        return self._replicator.close(FLUSH_SECONDS)

    def state(self, name: str) -> dict[str, Any]:
        """How a replica is."""
        stats = self._replicator.stats()
        (found,) = [replica for replica in stats.replicas if replica.name == name]
        names = ("state", "reason", "pending", "requests", "fulfilled")
        return {name: getattr(found, name) for name in names}

    def code(self, text: str) -> None:
        """What the documentation says that is to be done in every process that writes."""
        exec(text, {"replicator": self._replicator})

    def child(self, kind: str, number: int) -> int | None:
        """Start a child that writes, and wait for its end; gives its exit status."""
        from chaos import children

        # A fork while another thread is inside SQLite would leave SQLite locked in the child.
        self.pause()
        try:
            wait = children.start(kind, number, self._settings, self._replicator)
        finally:
            self.go()
        return wait()
