"""The setting `AFTERQUERY`, checked when Django starts.

Keys are those of `Replicator(...)` in capitals, and some of our own. A replica is a URL, a
`Replica`, or a dict whose keys are those of `Replica(...)` in capitals.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from afterquery._core import Replica, Replicator

_OWN = frozenset({"REPLICAS", "DATABASES", "TEST_DATABASES", "CLOSE_TIMEOUT"})
_CHOICES = {
    "ON_REJECT": ("dead_letter", "halt"),
    "NONDETERMINISTIC": ("warn", "reject", "rows"),
}


@dataclass(frozen=True)
class Configuration:
    """What `AFTERQUERY` says."""

    replicas: tuple[Replica, ...]
    settings: Mapping[str, Any]
    """For `Replicator`."""
    databases: tuple[str, ...]
    """Aliases of the databases that are replicated."""
    test_databases: bool
    """Whether a test run's databases are replicated too."""
    close_timeout: float
    """Seconds."""

    def make(self) -> Replicator:
        """A replicator, started."""
        return Replicator(self.replicas, **self.settings)


def configuration(given: Any) -> Configuration:
    """Read the setting. Raises `ImproperlyConfigured` where it cannot work."""
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured("AFTERQUERY must be a dict with at least REPLICAS")
    defaults = _parameters(Replicator)
    if unknown := set(given) - _OWN - set(defaults):
        known = ", ".join(sorted(_OWN | set(defaults)))
        raise _wrong(min(map(str, unknown)), f"is not known. There are {known}")
    settings = {key: value for key, value in given.items() if key not in _OWN}
    for key, value in settings.items():
        _check(key, value, defaults[key])
    timeout = given.get("CLOSE_TIMEOUT", 10.0)
    _check("CLOSE_TIMEOUT", timeout, 10.0)
    return Configuration(
        replicas=_replicas(given.get("REPLICAS")),
        settings={key.lower(): value for key, value in settings.items()},
        databases=_names("DATABASES", given.get("DATABASES", ["default"])),
        test_databases=given.get("TEST_DATABASES", False) is True,
        close_timeout=timeout,
    )


def _parameters(kind: type) -> dict[str, Any]:
    """The keyword parameters with their defaults, named as in the settings."""
    parameters = inspect.signature(kind).parameters.values()
    return {p.name.upper(): p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _check(key: str, value: Any, default: Any) -> None:
    """Hold a value against the kind of its default."""
    if key in ("AUTH_TOKEN", "PROXY"):
        # Never shown.
        if not (value is None or isinstance(value, str)):
            raise _wrong(key, "must be a string")
    elif key == "TABLES":
        if value is not None:
            _names(key, value)
    elif key in _CHOICES:
        if value not in _CHOICES[key]:
            raise _wrong(key, f"is one of {', '.join(_CHOICES[key])}, not {value!r}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise _wrong(key, f"is True or False, not {value!r}")
    elif isinstance(value, bool) or not isinstance(value, (int, type(default))) or value <= 0:
        raise _wrong(key, f"must be a number above 0, not {value!r}")


def _names(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _wrong(key, f"must be a list of names, not {value!r}")
    names = tuple(value)
    if not names or not all(isinstance(name, str) for name in names):
        raise _wrong(key, f"must be a list of names, not {value!r}")
    return names


def _replicas(value: Any) -> tuple[Replica, ...]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        raise _wrong("REPLICAS", "must be a list of URLs")
    replicas = tuple(_replica(one) for one in value)
    if not 1 <= len(replicas) <= 64:
        raise _wrong("REPLICAS", "must be a list of 1 to 64 URLs")
    names = [replica.name for replica in replicas]
    for name in names:
        if names.count(name) > 1:
            raise _wrong("REPLICAS", f"names {name} twice")
    return replicas


def _replica(value: Any) -> Replica:
    if isinstance(value, Replica):
        return value
    given = {"URL": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or "URL" not in given:
        raise _wrong("REPLICAS", "has something that is neither a URL nor a dict with URL")
    known = {"URL", *_parameters(Replica)}
    if unknown := set(given) - known:
        raise _wrong("REPLICAS", f"has {min(map(str, unknown))}. There are {sorted(known)}")
    try:
        settings: dict[str, Any] = {key.lower(): value for key, value in given.items()}
        return Replica(**settings)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong("REPLICAS", f"cannot be used: {error}") from error


def _wrong(key: str, problem: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f'AFTERQUERY["{key}"] {problem}')
