"""Replicates what SQLAlchemy commits: Core and ORM, sync and async engines on SQLite."""

from afterquery.sqlalchemy._attach import Attached, attach

__all__ = ["Attached", "attach"]
