"""Triggers of ours on the user's connection, which note the key of each row that changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from afterquery._mixed._notes import Notes
from afterquery._mixed._own import Own
from afterquery._mixed._table import Table
from afterquery._mixed._verdict import Verdict
from afterquery._sql import fold

PREFIX = "afterquery_note_"
"""What the names of the triggers begin with."""

_ROW = "afterquery_row"
_READY = 1_024


class Capture:
    """The triggers and notes of one connection."""

    def __init__(self, own: Own) -> None:
        self._own = own
        self._notes: dict[Table, Notes] = {}
        self._numbers = 0
        self._traced = False
        self._made: set[str] | None = set()
        """The names of the triggers that are there; None where a rollback may have removed some."""
        self._ready: dict[int, Verdict] = {}
        """Verdicts, by their identity, whose triggers are all there."""

    def notes(self, table: Table, encoding: str) -> Notes:
        """Those of a table."""
        found = self._notes.get(table)
        if found is None:
            found = Notes(table, self._numbers, encoding)
            found.register(self._own)
            self._notes[table] = found
            self._numbers += 1
        return found

    @property
    def pending(self) -> bool:
        """Whether anything is noted."""
        for notes in self._notes.values():  # noqa: SIM110 - a third of the time of any()
            if notes.there.one or notes.gone.one:
                return True
        return False

    def noted(self) -> list[Notes]:
        """Those that are not empty."""
        return [notes for notes in self._notes.values() if notes]

    def ensure(self, verdict: Verdict, encoding: str) -> None:
        """Make the triggers that a statement needs, and no others: they cost, and may change what
        SQLite checks first. Raises `sqlite3.Error` where one cannot be made."""
        if id(verdict) in self._ready:
            return
        for table in verdict.tables:
            notes = self.notes(table, encoding)
            for name, moment, body in _triggers(table, notes, replaces=verdict.replaces):
                needed = (table.name, moment.split(" ")[1]) in verdict.events
                if needed and name not in self._there():
                    body += self._untraced(body)
                    text = f"{moment} ON {table.target} BEGIN {body} END"
                    self._own.run(f"CREATE TEMP TRIGGER {name} {text}")
                    self._there().add(name)
        if len(self._ready) >= _READY:
            self._ready = {}
        self._ready[id(verdict)] = verdict

    def trace(self, lines: list[str]) -> None:
        """A trace callback is there now: what our triggers add to these lines, they take away.
        Raises `sqlite3.Error`."""
        if not self._traced:
            self._own.function("afterquery_traced", 0, lines.pop)
            self._traced = True
            self.remove()

    def _untraced(self, body: str) -> str:
        """What takes away a line for the trigger itself, one for each of its statements, and its
        own."""
        count = body.count(";") + 2
        return f" SELECT {', '.join(['afterquery_traced()'] * count)};" if self._traced else ""

    def remove(self) -> None:
        """Remove all triggers, before the schema changes. Raises `sqlite3.Error`."""
        self._ready = {}
        for name in sorted(self._there()):
            self._own.run(f"DROP TRIGGER IF EXISTS temp.{name}")
            self._there().discard(name)

    def rolled_back(self) -> None:
        """Triggers that were made or removed since may be as they were."""
        self._made = None
        self._ready = {}

    def renew(self) -> None:
        """The tables may be others now. Raises `sqlite3.Error`."""
        if self._made is None or self._made:
            self.remove()
        self._notes = {table: notes for table, notes in self._notes.items() if notes}

    def _there(self) -> set[str]:
        if self._made is None:
            rows = self._own.rows(
                "SELECT name AS a FROM temp.sqlite_master WHERE type = 'trigger'"
                f" AND substr(name, 1, {len(PREFIX)}) = '{PREFIX}'"
            )
            self._made = {name for (name,) in rows}
        return self._made


def _triggers(table: Table, notes: Notes, *, replaces: bool) -> Iterator[tuple[str, str, str]]:
    """The names of the triggers, when they fire, and what they do."""
    assert table.key is not None
    changed = " OR ".join(
        f"OLD.{column} IS NOT NEW.{column}{collation}"
        for column, collation in zip(table.key.columns, table.key.collations, strict=True)
    )
    there, gone = notes.call(notes.there, "NEW"), notes.call(notes.gone, "OLD")
    bodies = {
        "AFTER INSERT": f"SELECT {there};",
        "AFTER UPDATE": f"SELECT {there}; SELECT {gone} WHERE {changed};",
        "AFTER DELETE": f"SELECT {gone};",
    }
    if replaces and table.uniques:
        conflicts = "".join(_conflicts(table, notes))
        bodies |= {"BEFORE INSERT": conflicts, "BEFORE UPDATE": conflicts}
    for event, body in bodies.items():
        name = f"{PREFIX}{notes.number}_{fold(event.replace(' ', '_'))}"
        yield name, event, body


def _conflicts(table: Table, notes: Notes) -> Iterator[str]:
    """Statements that note the rows which have to go if NEW takes their place."""
    for unique in table.uniques:
        equal = [f"{old} = {new}" for old, new in zip(unique.old, unique.new, strict=True)]
        where = " AND ".join([*equal, *([f"({unique.where})"] if unique.where else [])])
        yield f"SELECT {notes.call(notes.there, _ROW)} FROM {table.target} AS {_ROW} WHERE {where};"


def cannot(error: sqlite3.Error) -> str:
    """Why rows could not be captured, and what to do."""
    return (
        f"rows that a statement changes could not be captured ({error}): compare the replicas, "
        "and allow temporary triggers on the connection"
    )
