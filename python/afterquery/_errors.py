"""The exceptions. Everything this package raises on its own account is an `AfterqueryError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from afterquery._core import Outcome


class AfterqueryError(Exception):
    """What every exception of this package derives from."""


class ConfigurationError(AfterqueryError, ValueError):
    """A setting that cannot work: a replica's URL, a limit, a duplicate name."""


class JournalError(AfterqueryError, OSError):
    """The journal's directory, or a file in it, cannot be used."""


class UnknownReplicaError(AfterqueryError, LookupError):
    """No replica has this name."""


class NotSettledError(AfterqueryError, TimeoutError):
    """The time given to `Replication.wait` was over before every replica had an outcome.

    The write is not lost: it stays in the journal and is delivered when the replica answers.
    """

    outcomes: tuple[Outcome, ...]
    """The outcomes known so far."""

    unsettled: tuple[tuple[str, str], ...]
    """The replicas that have none yet, each with the reason."""

    def __init__(
        self,
        message: str,
        outcomes: Iterable[Outcome] = (),
        unsettled: Iterable[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)
        self.unsettled = tuple(unsettled)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (str(self), self.outcomes, self.unsettled))
