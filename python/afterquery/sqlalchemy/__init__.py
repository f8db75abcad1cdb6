"""Replicates what SQLAlchemy commits: Core and ORM, sync and async engines on SQLite."""

from afterquery.sqlalchemy._attach import Attached, attach, include_name

__all__ = ["Attached", "attach", "include_name"]
