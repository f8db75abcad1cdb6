"""What is found."""

from __future__ import annotations

from dataclasses import dataclass


class UnusableError(Exception):
    """The input cannot be read as a schema."""


@dataclass(frozen=True)
class Finding:
    """One thing that would differ on a replica."""

    object: str
    """What has it: `table users`, or `database`."""
    line: int
    """Where: in the object's SQL text, or in the `.sql` file; from 1."""
    what: str
    remedy: str
