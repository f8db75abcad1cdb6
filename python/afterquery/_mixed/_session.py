"""Mixed replication of one connection: what its statements become for the replicas."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, cast

from afterquery import classify
from afterquery._mixed._capture import Capture, cannot
from afterquery._mixed._ddl import fit_for_copy
from afterquery._mixed._images import Add, send, send_whole
from afterquery._mixed._judge import judge_rows
from afterquery._mixed._model import Model, models
from afterquery._mixed._own import Own, Quiet
from afterquery._mixed._schema import judge_schema
from afterquery._mixed._signature import Settings, read_settings, read_signature
from afterquery._mixed._table import Table
from afterquery._mixed._verdict import Kind, Verdict
from afterquery._sql import fold

_MANY = 20_000
"""Keys that are kept at most from statement to statement; a single one may note more."""
_VERDICTS = 2_048
_UNASKED = object()
_LAST = 2**63 - 1
"""The largest id; after it they are drawn at random."""


class _Ran(NamedTuple):
    """What a script does not tell of a statement."""

    lastrowid: int
    rowcount: int


class Mixed:
    """Follows one connection. Its methods raise nothing of ours.

    `add` takes each statement for the replicas, in its order; `uncertain` is told what they may
    lack, and what to do.
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
        self._connection = connection
        self._add = add
        self._add_many = add_many or self._one_by_one
        self._uncertain = uncertain
        self._capture = Capture(self._own)
        self._was_pending = False
        """Whether anything was noted before the statement that runs."""
        self._whole: dict[Table, None] = {}
        """Tables that travel whole with the next `flush`."""
        self._model: Model | None = None
        self._settings: Settings | None = None
        self._verdicts: dict[str, Verdict] = {}
        """Those of the model with these settings."""
        self._version = -1
        self._changed = False
        """Whether the open transaction changed the schema."""
        self._checked = False
        """Whether the schema is known to be the one that the open transaction sees."""

    # What the adapter asks.

    @property
    def pending(self) -> bool:
        """Whether `flush` has anything to add."""
        return bool(self._whole) or self._capture.pending

    def judge(self, sql: str, parameters: Any = ()) -> Verdict:
        """How a statement travels, before it runs."""
        self._refresh()
        if self._model is None or self._settings is None:
            self._known()
        verdict = self._verdicts.get(sql)
        if verdict is None:
            verdict = _judged(*self._known(), sql)
            if len(self._verdicts) >= _VERDICTS:
                self._verdicts.clear()
            self._verdicts[sql] = verdict
        if parameters is _UNASKED:
            return verdict
        if verdict.ids and verdict.otherwise and _draws(verdict.ids, parameters):
            return verdict.otherwise
        return verdict

    def judge_many(self, sql: str) -> Verdict:
        """How a statement travels that runs for many rows, whose ids are not told."""
        verdict = self.judge(sql, _UNASKED)
        while verdict.kind is Kind.ROW or (verdict.kind is Kind.NUMBERED and verdict.may_skip):
            assert verdict.otherwise is not None
            verdict = verdict.otherwise
        return verdict

    def before(self, verdict: Verdict) -> None:
        """The statement is about to run."""
        kind = verdict.kind
        self._was_pending = self.pending
        if self._was_pending and (kind is Kind.STATEMENT or kind is Kind.NUMBERED):
            self.flush()
        try:
            if verdict.kind is Kind.SCHEMA:
                self.flush()
                if verdict.tables:
                    self._ensure(verdict)
                else:
                    self._capture.remove()
            elif verdict.kind is Kind.ROWS:
                self._ensure(verdict)
        except sqlite3.Error as error:
            self._uncertain(cannot(error))

    def ran(self, verdict: Verdict, sql: str, parameters: Any, cursor: Any) -> None:
        """It ran. Harmless when repeated, but for a statement that is added."""
        self.told(verdict)
        if cursor is None:
            cursor = _Ran(*self._own.rows("SELECT last_insert_rowid() AS a, changes() AS b")[0])
        if verdict.kind is Kind.STATEMENT:
            self._add(verdict.sql, parameters)
        elif verdict.kind is Kind.NUMBERED:
            self._numbered(verdict, parameters, cursor)
        elif verdict.kind is Kind.ROW:
            if not (verdict.may_skip and cursor.rowcount == 0):
                self._note(verdict.tables[0], cursor.lastrowid)
        elif verdict.kind is Kind.SCHEMA:
            self._schema(verdict)
        elif verdict.kind is Kind.OTHERS:
            self._others(sql)
        elif verdict.kind is Kind.LOST:
            self._uncertain(f"a statement {verdict.reason}")
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
            self._numbered_many(verdict, rows)
        elif verdict.kind is Kind.STATEMENT:
            drawn = any(_draws(verdict.ids, row) for row in rows) if verdict.ids else False
            if drawn:
                self._drawn(verdict, rows)
            else:
                self._add_many(many_sql, rows)
        else:
            self.ran(verdict, many_sql, (), None)
            return
        self.check()

    def failed(self, verdict: Verdict, parameters: Any = (), *, left: bool = True) -> None:
        """It failed, and may have left changes: whatever was noted is looked up."""
        if not left and not self._was_pending:
            for notes in self._capture.noted():
                notes.clear()
            return
        if verdict.kind is Kind.STATEMENT and verdict.ids:
            # Where one is no number, SQLite may leave the rows before it.
            for one in verdict.ids:
                if isinstance(parameters[one], int):
                    self._note(verdict.tables[0], parameters[one])
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

    def rolled_back(self, *, to: bool = False) -> None:
        """A transaction was rolled back, or with `to` a savepoint: what was noted since the last
        `flush` did not happen."""
        for notes in self._capture.noted():
            notes.clear()
        self._whole.clear()
        self._capture.rolled_back()
        if self._changed:
            self._model = None
            self._changed = to
        if not to:
            self._checked = False

    def committed(self) -> None:
        """A transaction was committed."""
        self._changed = self._checked = False

    def begins(self) -> None:
        """A transaction is about to begin: the last time to look without taking part in it."""
        self._refresh()

    def other(self, sql: str) -> None:
        """A statement ran that is neither a read nor a write."""
        verb = classify(sql).statements[0].verb
        if verb == "PRAGMA":
            self._settings = None
        elif verb in {"ATTACH", "DETACH", "ANALYZE"}:  # the first one makes a table
            self._model = None
        elif verb == "VACUUM":
            self._vacuumed()

    def registered(self) -> None:
        """The application's functions or collations changed."""
        self._model = None

    def outdated(self) -> bool:
        """A statement failed: whether a trigger of ours may be why, since another connection
        changed the schema. The triggers are gone then, and the statement can be tried again."""
        try:
            changed = self._own.number("PRAGMA main.schema_version") != self._version
            if not changed or self._changed or self._model is None:
                return False
            self._capture.rolled_back()
            self._capture.remove()
        except sqlite3.Error:
            return False
        self._model = None
        return True

    # What it takes.

    def _vacuumed(self) -> None:
        """It numbers the rows of tables anew that have neither an id nor an index."""
        model, _ = self._known()
        for table in model.tables():
            moved = table.key is not None and table.key.hidden and not table.indexed
            if moved and self._own.number(f"SELECT EXISTS (SELECT 1 FROM {table.target})"):
                self._read(table, partial(send_whole, self._own, table, self._add))

    def _refresh(self) -> None:
        """Look whether the schema changed, outside of a transaction: a question inside would be the
        begin of a snapshot, from which SQLite may refuse to write."""
        if self._model is not None and not self._connection.in_transaction:
            if self._own.number("PRAGMA main.schema_version") != self._version:
                self._model = None
            self._checked = False

    def check(self) -> None:
        """After the first write of a transaction nobody else can change the schema: look once."""
        if self._checked:
            return
        self._checked = True
        if self._changed or self._model is None:
            return
        if self._own.number("PRAGMA main.schema_version") != self._version:
            self._model = None
            self._uncertain(
                "another connection changed the schema while a transaction began: compare the "
                "replicas"
            )

    def _known(self) -> tuple[Model, Settings]:
        if self._settings is None:
            self._settings = read_settings(self._own)
        if self._model is None:
            self._version = self._own.number("PRAGMA main.schema_version")
            self._model = models.of(read_signature(self._own))
            self._capture.renew()
        settings = cast("dict[Settings, dict[str, Verdict]]", self._model.verdicts)
        self._verdicts = settings.setdefault(self._settings, {})
        return self._model, self._settings

    def _ensure(self, verdict: Verdict) -> None:
        model, _ = self._known()
        self._capture.ensure(verdict, model.signature.encoding)
        self._send_whole(verdict, failed=False)

    def _send_whole(self, verdict: Verdict, *, failed: bool) -> None:
        """Temporary triggers of the user's may fire before ours, and skip them: where they say
        IGNORE, or where a statement fails that keeps what it did before. So their tables travel
        whole, and those whose keys triggers do not see."""
        triggers = self._known()[0].temporary_triggers
        for table in verdict.tables:
            name = fold(table.name)
            if table.whole or triggers.get(name, False) or (failed and name in triggers):
                self._whole[table] = None

    def _note(self, table: Table, rowid: int) -> None:
        model, _ = self._known()
        self._capture.notes(table, model.signature.encoding).inserted(rowid)

    def _numbered(self, verdict: Verdict, parameters: Any, cursor: Any) -> None:
        if verdict.may_skip and cursor.rowcount == 0:
            return
        assert verdict.numbered is not None
        last, table = cursor.lastrowid, verdict.tables[0]
        assert table.key is not None
        alike = verdict.numbered.rows == 1 or last == self._own.number(
            f"SELECT max({table.key.columns[0]}) FROM {table.target}"
        )
        if alike:
            self._add(verdict.sql, verdict.numbered.parameters(tuple(parameters), last))
        else:  # the ids after the largest one are drawn at random
            send_whole(self._own, table, self._add)

    def _drawn(self, verdict: Verdict, rows: Sequence[Any]) -> None:
        """Rows with ids, and others for which SQLite drew one larger than all that were there: it
        is among as many of the largest as there were rows."""
        table = verdict.tables[0]
        assert table.key is not None
        column = table.key.columns[0]
        largest = self._own.rows(
            f"SELECT +{column} AS a FROM {table.target} ORDER BY {column} DESC LIMIT ?",
            (len(rows) * len(verdict.ids),),
        )
        if largest and largest[0][0] == _LAST:
            self._whole[table] = None
            return
        given = [row[one] for row in rows for one in verdict.ids]
        for rowid in [*(int(one) for one in given if one is not None), *(n for (n,) in largest)]:
            self._note(table, rowid)

    def _numbered_many(self, verdict: Verdict, rows: Sequence[Any]) -> None:
        assert verdict.numbered is not None
        last = self._own.number("SELECT last_insert_rowid()")
        table = verdict.tables[0]
        assert table.key is not None
        largest = f"SELECT max({table.key.columns[0]}) FROM {table.target}"
        if last != self._own.number(largest):  # the ids after the largest one are drawn at random
            self._whole[table] = None
            return
        count = verdict.numbered.rows
        first = last - count * (len(rows) - 1)
        numbered = [
            verdict.numbered.parameters(tuple(row), first + count * at)
            for at, row in enumerate(rows)
        ]
        self._add_many(verdict.sql, numbered)

    def _schema(self, verdict: Verdict) -> None:
        self._changed = True
        self._model = None
        self._capture.rolled_back()
        if verdict.sql:
            self._add(verdict.sql, ())
        elif verdict.filled:
            self._filled(verdict.filled)

    def _filled(self, name: str) -> None:
        model, _ = self._known()
        table = model.table(name)
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
            self._changed = True
            self._model = None


def _judged(model: Model, settings: Settings, sql: str) -> Verdict:
    found = classify(sql).statements
    text = found[0].sql if found else sql
    if found and found[0].kind == "ddl":
        return judge_schema(model, settings, text, found[0])
    return judge_rows(model, settings, text)


def _draws(ids: Sequence[str | int], parameters: Any) -> bool:
    """Whether an id among the parameters is None. What cannot be looked up counts as one."""
    try:
        return any(parameters[one] is None for one in ids)
    except (LookupError, TypeError):
        return True
