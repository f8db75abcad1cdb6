"""Replicate a Python backend's SQL writes to peer databases.

Call `Replicator.after_query` after each SQL statement the application ran on its own database;
the writes among them reach every replica in order, exactly once in effect.
"""

from afterquery import _log  # noqa: F401 - the logger stays on
from afterquery._core import (
    Classification,
    DeadLetter,
    Explanation,
    IntegrationStats,
    Outcome,
    Replica,
    ReplicaStats,
    Replication,
    Replicator,
    Statement,
    StatementExplanation,
    Stats,
    Transaction,
    __version__,
    classify,
    explain,
)
from afterquery._errors import (
    AfterqueryError,
    ConfigurationError,
    JournalError,
    NotSettledError,
    UnknownReplicaError,
)
from afterquery._health import confirm_equal

__all__ = [
    "AfterqueryError",
    "Classification",
    "ConfigurationError",
    "DeadLetter",
    "Explanation",
    "IntegrationStats",
    "JournalError",
    "NotSettledError",
    "Outcome",
    "Replica",
    "ReplicaStats",
    "Replication",
    "Replicator",
    "Statement",
    "StatementExplanation",
    "Stats",
    "Transaction",
    "UnknownReplicaError",
    "__version__",
    "classify",
    "confirm_equal",
    "explain",
]
