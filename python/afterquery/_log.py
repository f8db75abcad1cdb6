"""The loggers `afterquery` and `afterquery.peer`, which stay on."""

from __future__ import annotations

import logging
import sys


class _Logger(logging.Logger):
    """A logger that `logging.config` does not mute with all that it does not name.

    `fileConfig`, which Alembic's stock `env.py` calls, and `dictConfig` disable the loggers that
    exist and are not in their configuration. Nobody means that for a rejected write. What somebody
    says of this logger itself holds: its level, its handlers, its `disabled`.
    """

    @property
    def disabled(self) -> bool:
        return vars(self).get("disabled", False) is True

    @disabled.setter
    def disabled(self, value: bool) -> None:
        caller = sys._getframe(1).f_globals.get("__name__")
        vars(self)["disabled"] = bool(value) and caller != "logging.config"


def logger(name: str = "afterquery") -> logging.Logger:
    """The logger of this name, one of `_Logger`'s; a class of somebody's own is theirs."""
    found = logging.getLogger(name)
    if type(found) is logging.Logger:
        found.__class__ = _Logger
    return found


logger()  # the core logs to it, too
