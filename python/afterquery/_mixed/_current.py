"""What a connection's statements mean now: kept up to date, and asked seldom."""

from __future__ import annotations

import sqlite3
from typing import cast

from afterquery import classify
from afterquery._mixed._judge import judge_rows
from afterquery._mixed._model import Model, models
from afterquery._mixed._own import Own
from afterquery._mixed._schema import judge_schema
from afterquery._mixed._signature import Settings, read_settings, read_signature
from afterquery._mixed._verdict import Verdict

_VERDICTS = 2_048
_VERSION = "PRAGMA main.schema_version"


class Current:
    """The model and the settings of one connection, and the verdicts under them."""

    def __init__(self, own: Own, connection: sqlite3.Connection) -> None:
        self._own = own
        self._connection = connection
        self._model: Model | None = None
        self._settings: Settings | None = None
        self._verdicts: dict[str, Verdict] = {}
        """Those of the model with these settings."""
        self._version = -1
        self.changed = False
        """Whether the open transaction changed the schema."""
        self._checked = False
        """Whether the schema is known to be the one that the open transaction sees."""
        self.renewed = False
        """Whether tables may be others than when this was last taken back."""

    def verdict(self, sql: str) -> Verdict:
        """How a statement travels."""
        self.refresh()
        if self._model is None or self._settings is None:
            self.model()
        found = self._verdicts.get(sql)
        if found is None:
            found = _judged(self.model(), cast("Settings", self._settings), sql)
            if len(self._verdicts) >= _VERDICTS:
                self._verdicts.clear()
            self._verdicts[sql] = found
        return found

    def model(self) -> Model:
        """That of now."""
        if self._model is not None and self._settings is not None:
            return self._model
        if self._settings is None:
            self._settings = read_settings(self._own)
        if self._model is None:
            self._version = self._own.number(_VERSION)
            self._model = models.of(read_signature(self._own))
            self.renewed = True
        by_settings = cast("dict[Settings, dict[str, Verdict]]", self._model.verdicts)
        self._verdicts = by_settings.setdefault(self._settings, {})
        return self._model

    def refresh(self) -> None:
        """Look whether the schema changed, outside of a transaction: a question inside would be the
        begin of a snapshot, from which SQLite may refuse to write."""
        if self._model is not None and not self._connection.in_transaction:
            if self._own.number(_VERSION) != self._version:
                self._model = None
            self._checked = False

    def begins(self) -> None:
        """A transaction is about to begin: the last time to ask without taking part in it."""
        if not self._connection.in_transaction:
            self.refresh()
            self.model()

    def unexpected(self) -> bool:
        """After the first write of a transaction nobody else can change the schema: look once.
        Whether somebody did, after it was looked at before."""
        if self._checked:
            return False
        self._checked = True
        return self.outdated()

    def outdated(self) -> bool:
        """Whether another connection changed the schema; it is read anew then."""
        if self.changed or self._model is None or self._own.number(_VERSION) == self._version:
            return False
        self._model = None
        return True

    def set(self) -> None:
        """A setting may have changed."""
        self._settings = None

    def forget(self) -> None:
        """What names mean may have changed."""
        self._model = None

    def change(self) -> None:
        """The open transaction changed the schema."""
        self.changed = True
        self._model = None

    def rolled_back(self, *, to: bool) -> None:
        """The open transaction came to nothing, or with `to` a part of it."""
        if self.changed:
            self._model = None
            self.changed = to
        if not to:
            self._checked = False

    def committed(self) -> None:
        """The open transaction was committed."""
        self.changed = self._checked = False


def _judged(model: Model, settings: Settings, sql: str) -> Verdict:
    found = classify(sql).statements
    text = found[0].sql if found else sql
    if found and found[0].kind == "ddl":
        return judge_schema(model, settings, text, found[0])
    return judge_rows(model, settings, text)
