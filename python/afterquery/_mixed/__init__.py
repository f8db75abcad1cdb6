"""Mixed replication: a statement travels as it is where it means the same on a replica, and as the
rows that it changed where it does not."""

from afterquery._mixed._session import Mixed
from afterquery._mixed._verdict import Kind, Verdict

__all__ = ["Kind", "Mixed", "Verdict"]
