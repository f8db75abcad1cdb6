"""Mixed replication of one connection: what its statements become for the replicas."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

from afterquery import classify
from afterquery._mixed._capture import Capture, cannot
from afterquery._mixed._current import Current
from afterquery._mixed._ddl import fit_for_copy
from afterquery._mixed._drawn import among, as_id, draws, named, named_many
from afterquery._mixed._images import Add, send, send_whole
from afterquery._mixed._own import Own, Quiet
from afterquery._mixed._table import Table
from afterquery._mixed._verdict import Kind, Verdict
from afterquery._mixed._words import quoted
from afterquery._sql import fold

_MANY = 20_000
"""Keys that are kept at most from statement to statement; a single one may note more."""
_CHANGED = "another connection changed the schema while a transaction began: compare the replicas"


class _Ran(NamedTuple):
    """What a script does not tell of a statement."""

    lastrowid: int
    rowcount: int


class Mixed:
    """Follows one connection.

    `add` takes each statement for the replicas, in its order, and `add_many` one for many rows;
    `uncertain` is told what they may lack, and what to do.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        add: Add,
        uncertain: Callable[[str], None],
        quiet: Quiet = nullcontext,
        add_many: Callable[[str, Sequence[Any]], None] | None = None,
    ) -> None:
        self._own = Own(connection, quiet)
        self._add = add
        self._add_many = add_many or self._one_by_one
        self._uncertain = uncertain
        self._current = Current(self._own, connection)
        self._capture = Capture(self._own)
        self._was_pending = False
        """Whether anything was noted before the statement that runs."""
        self._whole: dict[Table, None] = {}
        """Tables that travel whole with the next `flush`."""

    @property
    def pending(self) -> bool:
        """Whether `flush` has anything to add."""
        return bool(self._whole) or self._capture.pending

    def judge(self, sql: str, parameters: Any = ()) -> Verdict:
        """How a statement travels, before it runs."""
        verdict = self._verdict(sql)
        if verdict.ids and verdict.otherwise and draws(verdict.ids, parameters):
            return verdict.otherwise
        return verdict

    def judge_many(self, sql: str) -> Verdict:
        """How a statement travels that runs for many rows, whose ids are not told."""
        verdict = self._verdict(sql)
        while verdict.kind is Kind.ROW or (verdict.kind is Kind.NUMBERED and verdict.may_skip):
            assert verdict.otherwise is not None
            verdict = verdict.otherwise
        return verdict

    def _verdict(self, sql: str) -> Verdict:
        verdict = self._current.verdict(sql)
        if self._current.renewed:
            self._current.renewed = False
            self._capture.renew()
        return verdict

    def before(self, verdict: Verdict) -> None:
        """The statement is about to run."""
        kind = verdict.kind
        self._was_pending = self.pending
        if self._was_pending and (kind is Kind.STATEMENT or kind is Kind.NUMBERED):
            self.flush()
        try:
            if kind is Kind.ROWS:
                self._ensure(verdict)
            elif kind is Kind.SCHEMA:
                self.flush()
                if verdict.tables:
                    self._ensure(verdict)
                else:
                    self._capture.remove()
        except sqlite3.Error as error:
            self._uncertain(cannot(error))

    def ran(self, verdict: Verdict, sql: str, parameters: Any, cursor: Any) -> None:
        """It ran. Harmless when repeated, but for a statement that is added."""
        self.told(verdict)
        if cursor is None:
            cursor = _Ran(*self._own.rows("SELECT last_insert_rowid() AS a, changes() AS b")[0])
        skipped = verdict.may_skip and cursor.rowcount == 0
        if verdict.kind is Kind.STATEMENT:
            self._add(verdict.sql, parameters)
        elif verdict.kind is Kind.NUMBERED and not skipped:
            self._named(verdict, named(self._own, verdict, parameters, cursor.lastrowid))
        elif verdict.kind is Kind.ROW and not skipped:
            self._note(verdict.tables[0], cursor.lastrowid)
        elif verdict.kind is Kind.SCHEMA:
            self._schema(verdict)
        elif verdict.kind is Kind.OTHERS:
            self._others(sql)
        elif verdict.kind is Kind.LOST:
            self._lost(verdict.reason)
        if verdict.lost:
            self._lost(verdict.lost)
        self.check()
        if self._capture.pending and sum(map(len, self._capture.noted())) > _MANY:
            self.flush()

    def told(self, verdict: Verdict) -> None:
        """A statement ran that tells all it did: what triggers noted meanwhile is told twice."""
        kind = verdict.kind
        if self._capture.pending and (kind is Kind.STATEMENT or kind is Kind.NUMBERED):
            for notes in self._capture.noted():
                notes.clear()

    def ran_many(self, verdict: Verdict, rows: Sequence[Any], *, many_sql: str) -> None:
        """It ran for each of these rows, one after another, and nothing else in between."""
        self.told(verdict)
        if verdict.kind is Kind.NUMBERED:
            numbered = named_many(self._own, verdict, rows)
            if numbered is None:
                self._whole[verdict.tables[0]] = None
            else:
                self._add_many(verdict.sql, numbered)
        elif verdict.kind is not Kind.STATEMENT:
            self.ran(verdict, many_sql, (), None)
        elif verdict.ids and any(draws(verdict.ids, row) for row in rows):
            self._drawn(verdict, rows)
        else:
            self._add_many(many_sql, rows)
        self.check()

    def failed(self, verdict: Verdict, parameters: Any = (), *, left: bool = True) -> None:
        """It failed, and may have left changes: whatever was noted is looked up."""
        if not left and not self._was_pending:
            for notes in self._capture.noted():
                notes.clear()
            return
        if verdict.kind is Kind.STATEMENT and verdict.ids and parameters:
            # Where one is no number, SQLite may leave the rows before it.
            for one in verdict.ids:
                rowid = as_id(parameters[one])
                if rowid is not None:
                    self._note(verdict.tables[0], rowid)
        for notes in self._capture.noted():
            notes.uncertain()
        if verdict.kind is Kind.ROWS:
            self._send_whole(verdict, failed=True)

    def flush(self) -> None:
        """Add the rows that are noted: before a statement, a SAVEPOINT or a COMMIT."""
        for notes in self._capture.noted():
            if notes.table not in self._whole:
                self._read(notes.table, partial(send, self._own, notes, self._add))
            notes.clear()
        for table in list(self._whole):
            self._read(table, partial(send_whole, self._own, table, self._add))
            del self._whole[table]

    def _read(self, table: Table, read: Callable[[], None]) -> None:
        try:
            read()
        except sqlite3.Error as error:
            self._uncertain(
                f"changed rows of {table.name} could not be read ({error}): compare the replicas"
            )

    def check(self) -> None:
        """Look once in each transaction whether the schema is the one that was looked at."""
        if self._current.unexpected():
            self._uncertain(_CHANGED)

    def begins(self) -> None:
        """A transaction is about to begin."""
        self._current.begins()

    def rolled_back(self, *, to: bool = False) -> None:
        """A transaction was rolled back, or with `to` a savepoint: what was noted since the last
        `flush` did not happen."""
        for notes in self._capture.noted():
            notes.clear()
        self._whole.clear()
        self._capture.rolled_back()
        self._current.rolled_back(to=to)

    def committed(self) -> None:
        """A transaction was committed."""
        self._current.committed()

    def other(self, sql: str) -> None:
        """A statement ran that is neither a read nor a write."""
        verb = classify(sql).statements[0].verb
        if verb == "PRAGMA":
            self._current.set()
        elif verb in {"ATTACH", "DETACH", "ANALYZE"}:  # the last one makes a table
            self._current.forget()
        elif verb == "VACUUM":
            self._vacuumed()

    def trace(self, lines: list[str]) -> None:
        """Statements are traced now, into these lines: ours are to leave no trace there."""
        try:
            self._capture.trace(lines)
        except sqlite3.Error as error:
            self._uncertain(cannot(error))

    def registered(self) -> None:
        """The application's functions or collations changed."""
        self._current.forget()

    def outdated(self) -> bool:
        """A statement failed: whether a trigger of ours may be why, since another connection
        changed the schema. The triggers are gone then, and the statement can be tried again."""
        try:
            if not self._current.outdated():
                return False
            self._capture.rolled_back()
            self._capture.remove()
        except sqlite3.Error:
            return False
        return True

    def _vacuumed(self) -> None:
        """It numbers the rows of tables anew that have neither an id nor an index."""
        for table in self._current.model().tables():
            moved = table.key is not None and table.key.hidden and not table.indexed
            if moved and self._own.number(f"SELECT EXISTS (SELECT 1 FROM {table.target})"):
                self._read(table, partial(send_whole, self._own, table, self._add))

    def _ensure(self, verdict: Verdict) -> None:
        self._capture.ensure(verdict, self._current.model().signature.encoding)
        self._send_whole(verdict, failed=False)

    def _send_whole(self, verdict: Verdict, *, failed: bool) -> None:
        """Temporary triggers of the user's may fire before ours, and skip them: where they say
        IGNORE, or where a statement fails that keeps what it did before. So their tables travel
        whole, and those whose keys triggers do not see."""
        triggers = self._current.model().temporary_triggers
        for table in verdict.tables:
            name = fold(table.name)
            if table.whole or triggers.get(name, False) or (failed and name in triggers):
                self._whole[table] = None

    def _lost(self, reason: str) -> None:
        self._uncertain(f"a statement {reason}: compare the replicas")

    def _note(self, table: Table, rowid: int) -> None:
        self._capture.notes(table, self._current.model().signature.encoding).inserted(rowid)

    def _named(self, verdict: Verdict, parameters: tuple[Any, ...] | None) -> None:
        if parameters is None:
            self._whole[verdict.tables[0]] = None
        else:
            self._add(verdict.sql, parameters)

    def _drawn(self, verdict: Verdict, rows: Sequence[Any]) -> None:
        table, ids = verdict.tables[0], among(self._own, verdict, rows)
        if ids is None:
            self._whole[table] = None
        for rowid in ids or ():
            self._note(table, rowid)

    def _schema(self, verdict: Verdict) -> None:
        self._current.change()
        self._capture.rolled_back()
        for name in verdict.views:
            self._add(f"DROP VIEW IF EXISTS {quoted(name)}", ())
        if verdict.sql:
            self._add(verdict.sql, ())
        if verdict.views:
            for _, text in self._current.model().views:
                self._add(text, ())
        if verdict.filled:
            self._filled(verdict.filled)

    def _filled(self, name: str) -> None:
        table = self._current.model().table(name)
        if table is None:
            self._uncertain("a table that a statement made and filled could not be read")
            return
        made = fit_for_copy(table.sql) or ""
        self._add(made.replace("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1), ())
        send_whole(self._own, table, self._add)

    def _one_by_one(self, sql: str, rows: Sequence[Any]) -> None:
        for row in rows:
            self._add(sql, row)

    def _others(self, sql: str) -> None:
        found = classify(sql).statements
        if found and found[0].kind == "ddl":
            self._current.change()
