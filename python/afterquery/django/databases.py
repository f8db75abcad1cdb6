"""Connections of Django's that are followed.

Django's SQLite backend hands `OPTIONS["factory"]` to `sqlite3.connect` as it is. So replication
starts below all of Django: with the text and the parameters that the driver gets, and with every
COMMIT, whoever asks for it.
"""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.connection import ConnectionDoesNotExist

from afterquery import sqlite3 as followed
from afterquery._failures import failures
from afterquery.django.configuration import Configuration
from afterquery.django.process import replicator

_files: set[str] = set()
"""The databases that the settings name."""
_all = False


def follow(configuration: Configuration) -> None:
    """Have the databases of the configuration followed, from their next connection on.

    Raises `ImproperlyConfigured` where one does not exist or is not SQLite's.
    """
    global _all
    _all = configuration.test_databases
    for alias in configuration.databases:
        wrapper = _wrapper(alias)
        options: dict[str, Any] = wrapper.settings_dict["OPTIONS"]
        base = options.get("factory", sqlite3.Connection)
        if not (isinstance(base, type) and issubclass(base, sqlite3.Connection)):
            if _ours(base):
                continue
            raise ImproperlyConfigured(
                f'DATABASES["{alias}"]["OPTIONS"]["factory"] must be a class of connections'
            )
        _files.add(os.fspath(wrapper.settings_dict["NAME"]))
        options["factory"] = partial(open_connection, base=base)
        if wrapper.connection is not None:
            wrapper.close()  # the next one is followed


def follows_all() -> bool:
    """Whether a test run's databases are followed, too."""
    return _all


def open_connection(
    database: Any, *args: Any, base: type[sqlite3.Connection], **settings: Any
) -> sqlite3.Connection:
    """What `sqlite3.connect` calls as its factory; `base` is the class to follow."""
    settings["factory"] = base
    if not (follows_all() or os.fspath(database) in _files):
        # A test run's own database: its writes must not reach the real replicas.
        return sqlite3.connect(database, *args, **settings)  # type: ignore[no-any-return]
    try:
        current = replicator()
    except Exception:
        failures.caught("there is no replicator, and nothing is replicated")
        return sqlite3.connect(database, *args, **settings)  # type: ignore[no-any-return]
    return followed.connect(database, *args, replicator=current, **settings)


def _ours(factory: Any) -> bool:
    return isinstance(factory, partial) and factory.func is open_connection


def _wrapper(alias: str) -> Any:
    try:
        wrapper = connections[alias]
    except ConnectionDoesNotExist:
        raise ImproperlyConfigured(
            f'AFTERQUERY["DATABASES"] names {alias!r}, which DATABASES does not have'
        ) from None
    if wrapper.vendor != "sqlite":
        raise ImproperlyConfigured(
            f'AFTERQUERY["DATABASES"] names {alias!r}: only SQLite can be replicated, '
            f"not {wrapper.vendor}"
        )
    return wrapper
