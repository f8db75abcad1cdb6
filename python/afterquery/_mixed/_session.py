"""Mixed replication of one connection: what its statements become for the replicas."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

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
    ) -> None:
        self._own = Own(connection, quiet)
        self._connection = connection
        self._add = add
        self._uncertain = uncertain
        self._capture = Capture(self._own)
        self._whole: dict[Table, None] = {}
        """Tables that travel whole with the next `flush`."""
        self._model: Model | None = None
        self._settings: Settings | None = None
        self._version = -1
        self._changed = False
        """Whether the open transaction changed the schema."""
        self._checked = False
        """Whether the schema is known to be the one that the open transaction sees."""

    # What the adapter asks.

    def judge(self, sql: str, parameters: Any = ()) -> Verdict:
        """How a statement travels, before it runs."""
        self._refresh()
        model, settings = self._known()
        verdict = cast("Verdict | None", model.verdicts.get((settings, sql)))
        if verdict is None:
            verdict = _judged(model, settings, sql)
            if len(model.verdicts) >= _VERDICTS:
                model.verdicts.clear()
            model.verdicts[settings, sql] = verdict
        if verdict.ids and verdict.otherwise and _draws(verdict.ids, parameters):
            return verdict.otherwise
        return verdict

    def before(self, verdict: Verdict) -> None:
        """The statement is about to run."""
        try:
            if verdict.kind is Kind.SCHEMA:
                self.flush()
                if verdict.tables:
                    self._ensure(verdict)
                else:
                    self._capture.remove()
            elif verdict.kind is Kind.ROWS:
                self._ensure(verdict)
            elif verdict.kind in {Kind.STATEMENT, Kind.NUMBERED}:
                self.flush()
        except sqlite3.Error as error:
            self._uncertain(cannot(error))

    def ran(self, verdict: Verdict, sql: str, parameters: Any, cursor: Any) -> None:
        """It ran. Harmless when repeated, but for a statement that is added."""
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
        if not self._checked:
            self._check()
        if sum(map(len, self._capture.noted())) > _MANY:
            self.flush()

    def failed(self, verdict: Verdict, parameters: Any = ()) -> None:
        """It failed: whatever was noted is looked up."""
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

    def other(self, verb: str) -> None:
        """A PRAGMA, ATTACH or DETACH ran; or functions, collations or settings changed."""
        if verb == "PRAGMA":
            self._settings = None
        else:
            self._model = None

    # What it takes.

    def _refresh(self) -> None:
        """Look whether the schema changed, outside of a transaction: a question inside would be the
        begin of a snapshot, from which SQLite may refuse to write."""
        if self._model is not None and not self._connection.in_transaction:
            if self._own.number("PRAGMA main.schema_version") != self._version:
                self._model = None
            self._checked = False

    def _check(self) -> None:
        """After the first write of a transaction nobody else can change the schema."""
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
            self._capture.forget()
        return self._model, self._settings

    def _ensure(self, verdict: Verdict) -> None:
        model, _ = self._known()
        self._capture.ensure(verdict, model.signature.encoding)
        self._send_whole(verdict, failed=False)

    def _send_whole(self, verdict: Verdict, *, failed: bool) -> None:
        """Temporary triggers of the user's may fire before ours, and skip them: where they say
        IGNORE, or where a statement fails that keeps what it did before. So their tables travel
        whole."""
        triggers = self._known()[0].temporary_triggers
        for table in verdict.tables:
            if triggers.get(fold(table.name), False) or (failed and fold(table.name) in triggers):
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
