"""An error of ours must never become one of the application."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import TYPE_CHECKING

from afterquery._failures import failures, interrupted

if TYPE_CHECKING:
    from afterquery._failures import Losing

logger = logging.getLogger("afterquery")


class Guard:
    """Logs and counts what goes wrong inside `with guard:`, and goes on after it."""

    def __init__(self, losing: Losing, outer: Guard | None = None) -> None:
        self.errors = 0
        self._losing = losing
        self._outer = outer

    def of(self, losing: Losing) -> Guard:
        """One that counts for this one, too, and tells whose replicas may lack something."""
        return Guard(losing, self)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception) or interrupted(error):
            return False  # the user's
        self._count("SQLAlchemy: a statement may not be replicated")
        logger.error("SQLAlchemy: a statement may not be replicated", exc_info=error)
        return True

    def missed(self, message: str, *args: object) -> None:
        """Tell of something that reached the database and cannot reach the replicas."""
        self._count("SQLAlchemy: " + message.partition(":")[0])
        logger.error("SQLAlchemy: %s", message % args)

    def told(self, what: str) -> None:
        """Tell of something that was set right, though replicas may lack what was lost before."""
        failures.count(what, self._losing)
        logger.error("SQLAlchemy: %s", what)

    def _count(self, what: str) -> None:
        self.errors += 1
        if self._outer is not None:
            self._outer.errors += 1
        failures.count(what, self._losing)
