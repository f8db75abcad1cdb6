"""Settings of a connection that are no SQL and change what a statement does."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afterquery.sqlite3._follower import Follower

_CONFIGURED = {
    "SQLITE_DBCONFIG_ENABLE_TRIGGER": False,
    "SQLITE_DBCONFIG_ENABLE_VIEW": False,
    "SQLITE_DBCONFIG_LEGACY_ALTER_TABLE": True,
    "SQLITE_DBCONFIG_WRITABLE_SCHEMA": True,
}
MEANINGS = {getattr(sqlite3, name, None): value for name, value in _CONFIGURED.items()}
"""What `setconfig` may set, and which value gives writes another meaning than on a replica."""


def watched(authorizer: Callable[..., Any], follower: Follower) -> Callable[..., Any]:
    """The authorizer; tells when it has SQLite leave out a part of a write."""

    @wraps(authorizer)
    def watching(*arguments: Any) -> Any:
        mixed = follower.mixed
        if mixed is not None and not mixed.hears(arguments[-1]):
            return sqlite3.SQLITE_OK
        answer = authorizer(*arguments)
        if answer == sqlite3.SQLITE_IGNORE and follower.writing:
            follower.gathering.unseen(
                "an authorizer had SQLite ignore a part of a write, which the replicas do not"
            )
        return answer

    return watching
