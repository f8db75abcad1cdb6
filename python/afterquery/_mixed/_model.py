"""The schema of a connection as verdicts need it, shared by all connections that have the same."""

from __future__ import annotations

import sqlite3
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from afterquery._mixed._feeding import feeds
from afterquery._mixed._shadow import Shadow
from afterquery._mixed._signature import Object, Signature
from afterquery._mixed._table import Table, affinity, read_table
from afterquery._mixed._words import words
from afterquery._sql import fold

_ACTIONS = ("CASCADE", "SET NULL", "SET DEFAULT")
_KEPT = 64
"""Models of a process; of databases that are made and thrown away, the oldest are forgotten."""


class Model:
    """What the names of a connection stand for."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self.shadow = Shadow(signature)
        self.applications = frozenset(function.name for function in signature.functions)
        """The names of functions that the application registered."""
        self._objects = {one.name: one.objects for one in signature.databases}
        main = self._objects["main"]
        self._kinds = {fold(item.name): item for item in main if item.kind in ("table", "view")}
        self._triggers = {
            fold(item.name): item
            for database in signature.databases
            for item in database.objects
            if item.kind == "trigger"
        }
        self._tables: dict[str, Table] = {}
        self._lock = threading.Lock()
        self.verdicts: dict[object, object] = {}
        """Those that were given, by settings; then by text."""

    def table(self, name: str) -> Table | None:
        """A table of the main database; None where it is a view, or not there."""
        with self._lock:
            found = self._tables.get(fold(name))
            if found is None:
                item = self._kinds.get(fold(name))
                if (
                    item is None
                    or item.kind != "table"
                    or ("main", item.name) in self.shadow.missing
                ):
                    return None
                indexes = [one for one in self._objects["main"] if one.kind == "index"]
                found = read_table(
                    self.shadow,
                    item,
                    indexes,
                    self.applications,
                    self._compared.get(fold(item.name), frozenset()),
                )
                found = replace(found, fed=fold(item.name) in self._fed)
                self._tables[fold(name)] = found
            return found

    @cached_property
    def virtual(self) -> frozenset[str]:
        """Folded: the virtual tables of the main database."""
        return frozenset(name for name, item in self._kinds.items() if _is_virtual(item))

    @cached_property
    def feeding(self) -> frozenset[str]:
        """Folded: the triggers of the main database that keep virtual tables, on a copy too."""
        return frozenset(
            fold(item.name)
            for item in self._objects["main"]
            if item.kind == "trigger" and feeds(item.sql, self.virtual, self.applications)
        )

    @cached_property
    def _fed(self) -> frozenset[str]:
        """Folded: the tables that have such triggers."""
        return frozenset(
            fold(item.table)
            for item in self._objects["main"]
            if item.kind == "trigger" and fold(item.name) in self.feeding
        )

    def tables(self) -> list[Table]:
        """The ordinary tables of the main database."""
        found = [self.table(name) for name, item in self._kinds.items() if item.kind == "table"]
        return [
            one
            for one in found
            if one is not None
            and not one.virtual
            and one.name not in self._behind
            and not fold(one.name).startswith(("sqlite_", "afterquery_"))
        ]

    @cached_property
    def views(self) -> tuple[tuple[str, str], ...]:
        """The views of the main database with their texts, in the order of their making."""
        found = self._objects["main"]
        return tuple((item.name, item.sql) for item in found if item.kind == "view")

    def is_view(self, name: str) -> bool:
        """Whether it is a view of the main database."""
        item = self._kinds.get(fold(name))
        return item is not None and item.kind == "view"

    def is_table(self, name: str) -> bool:
        """Whether the main database has such a table, though nothing may be known of it."""
        item = self._kinds.get(fold(name))
        return item is not None and item.kind == "table"

    def trigger(self, name: str) -> Object | None:
        """A trigger of any database."""
        return self._triggers.get(fold(name))

    @cached_property
    def names(self) -> frozenset[str]:
        """Folded: all names of tables, views and columns, in all databases."""
        found = set()
        for database, objects in self._objects.items():
            for item in objects:
                if item.kind in ("table", "view"):
                    found.add(fold(item.name))
                    try:
                        rows = self.shadow.rows(
                            "SELECT name FROM pragma_table_xinfo(?, ?)", (item.name, database)
                        )
                    except sqlite3.Error:
                        continue  # a view of what is not there
                    found.update(fold(name) for (name,) in rows)
        return frozenset(found | {"rowid", "oid", "_rowid_", "main", "temp", "excluded"})

    @cached_property
    def _behind(self) -> frozenset[str]:
        """The tables behind virtual ones."""
        virtual = [item.name for item in self._kinds.values() if _is_virtual(item)]
        return frozenset(
            item.name
            for item in self._kinds.values()
            if any(item.name.startswith(f"{name}_") for name in virtual) and not _is_virtual(item)
        )

    @cached_property
    def _references(self) -> dict[str, set[str]]:
        """Of each table, folded: those whose rows its changes change, by an action."""
        found: dict[str, set[str]] = {}
        for item in self._kinds.values():
            if item.kind == "table":
                rows = self.shadow.rows(
                    'SELECT "table", on_update, on_delete FROM pragma_foreign_key_list(?, ?)',
                    (item.name, "main"),
                )
                for parent, on_update, on_delete in rows:
                    if on_update in _ACTIONS or on_delete in _ACTIONS:
                        found.setdefault(fold(parent), set()).add(item.name)
        return found

    def changed_with(self, names: Iterable[str]) -> set[str]:
        """Folded: the tables whose rows actions of foreign keys change, and theirs."""
        found: set[str] = set()
        coming = deque(fold(name) for name in names)
        while coming:
            for child in self._references.get(coming.popleft(), ()):
                if fold(child) not in found:
                    found.add(fold(child))
                    coming.append(fold(child))
        return found

    @cached_property
    def _compared(self) -> dict[str, frozenset[str]]:
        """Of each table, folded: the columns that are no numbers, and that foreign keys compare
        with numbers."""
        found: dict[str, set[str]] = {}
        for item in self._kinds.values():
            if item.kind == "table":
                rows = self.shadow.rows(
                    'SELECT "table", "from", "to", seq FROM pragma_foreign_key_list(?, ?)',
                    (item.name, "main"),
                )
                for parent, column, parent_column, seq in rows:
                    here = (item.name, column)
                    there = (parent, parent_column or self._key_column(parent, seq))
                    if self._is_number(*here) != self._is_number(*there):
                        table, name = there if self._is_number(*here) else here
                        found.setdefault(fold(table), set()).add(fold(name))
        return {name: frozenset(columns) for name, columns in found.items()}

    def _is_number(self, table: str, column: str) -> bool:
        types = self.shadow.rows(
            "SELECT type FROM pragma_table_xinfo(?, 'main') WHERE name = ? COLLATE NOCASE",
            (table, column),
        )
        return bool(types) and affinity(types[0][0]) in {"INTEGER", "REAL", "NUMERIC", "ANY"}

    def _key_column(self, table: str, seq: int) -> str:
        rows = self.shadow.rows(
            "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE pk = ?", (table, seq + 1)
        )
        return str(rows[0][0]) if rows else ""

    def related(self, name: str) -> set[str]:
        """Folded: the tables that its foreign keys look into, and those that look into it."""
        rows = self.shadow.rows('SELECT "table" FROM pragma_foreign_key_list(?, ?)', (name, "main"))
        parents = {fold(parent) for (parent,) in rows}
        return parents | self._children.get(fold(name), set())

    @cached_property
    def _children(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for item in self._kinds.values():
            if item.kind == "table":
                for (parent,) in self.shadow.rows(
                    'SELECT "table" FROM pragma_foreign_key_list(?, ?)', (item.name, "main")
                ):
                    found.setdefault(fold(parent), set()).add(fold(item.name))
        return found

    @cached_property
    def temporary_triggers(self) -> dict[str, bool]:
        """Folded: the tables that have temporary triggers, which may fire before ours; and whether
        one of these may skip ours and succeed."""
        found: dict[str, bool] = {}
        for item in self._objects.get("temp", ()):
            if item.kind == "trigger":
                skips = {"RAISE", "IGNORE"} <= words(item.sql)
                found[fold(item.table)] = found.get(fold(item.table), False) or skips
        return found


def _is_virtual(item: Object) -> bool:
    return item.kind == "table" and item.virtual


class Models:
    """Those of a process, by their signature."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Signature, Model] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, signature: Signature) -> Model:
        """The model of all connections with this signature."""
        with self._lock:
            model = self._kept.get(signature)
            if model is None:
                model = self._kept[signature] = Model(signature)
            self._kept.move_to_end(signature)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return model


models = Models()
