"""An error of ours must never become one of the application."""

from __future__ import annotations

import logging
from types import TracebackType

logger = logging.getLogger("afterquery")


class Guard:
    """Logs and counts what goes wrong inside `with guard:`, and goes on after it."""

    def __init__(self) -> None:
        self.errors = 0

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self.errors += 1
        logger.error("SQLAlchemy: a statement may not be replicated", exc_info=error)
        return True

    def missed(self, message: str, *args: object) -> None:
        """Tell of something that reached the database and cannot reach the replicas."""
        self.errors += 1
        logger.error("SQLAlchemy: %s", message % args)
