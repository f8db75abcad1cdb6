"""Triggers that keep a virtual table, such as a full-text index: a copy has them too.

A virtual table takes no trigger of ours, so what is in it cannot travel as rows. Where all that a
trigger does is to write to virtual tables, from nothing but the row in question, it does the same
on a copy; each effect then happens once.
"""

from __future__ import annotations

from collections.abc import Collection

from afterquery import classify
from afterquery._mixed._pure import impurity
from afterquery._mixed._words import words
from afterquery._sql import fold
from afterquery.lint.expressions import parts


def feeds(sql: str, virtual: Collection[str], applications: frozenset[str]) -> bool:
    """Whether this CREATE TRIGGER is one; `virtual` are the virtual tables, folded."""
    found = parts("trigger", sql)
    if {"TEMP", "TEMPORARY", "INSTEAD"} & words(sql) or {"SELECT", "WITH"} & words(sql):
        return False
    targets = [
        statement.table
        for part in found
        if part.place == "trigger"
        for statement in classify(part.text).statements
    ]
    return (
        bool(targets)
        and all(target is not None and fold(target) in virtual for target in targets)
        and not any(impurity(part.text, applications) for part in found)
    )
