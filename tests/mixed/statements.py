"""Random statements on a random schema."""

from __future__ import annotations

from random import Random
from typing import Any

from mixed.schemas import CONFLICTS, Made, Schema, quoted, trigger

Statement = tuple[str, tuple[Any, ...]]

VALUES: list[Any] = [
    None, 0, 1, 2, 3, 4, 5, 6, 1, 2, 1.5, 2.0, -1, 2**53 + 1, "a", "A", "b", "B", "é", "", "x\0y",
    "7", b"a", b"\xff\x00", b"",
]  # fmt: skip


class Statements:
    """Draws statements."""

    def __init__(self, rng: Random, schema: Schema, *, wild: bool, ddl: bool = False) -> None:
        self._rng, self._schema, self._wild, self._ddl = rng, schema, wild, ddl
        self._number = 0

    def draw(self) -> Statement:
        rng = self._rng
        table = rng.choice(self._schema.tables)
        if self._ddl and rng.random() < 0.08:
            return self._change(), ()
        if table.view:
            return rng.choice([self._insert, self._insert, self._delete])(table)
        kinds = [self._insert] * 5 + [self._update] * 4 + [self._delete] * 2 + [self._select]
        return rng.choice(kinds)(table)

    def _value(self) -> Any:
        return self._rng.choice(VALUES)

    def _expression(self, table: Made) -> str:
        """A value of a statement; `?` is a parameter."""
        rng = self._rng
        column = rng.choice(table.columns)
        if rng.random() < 0.75:
            return "?"
        pure = ["5", "'a'", "NULL", "1+1", "x'61'", "-3"]
        mixed = [
            "(SELECT max(k) FROM log)",
            "own(2)",
            "upper('x')",
            "typeof(?)",
            f"(SELECT {column} FROM {self._name(table)} LIMIT 1)",
        ]
        if self._wild:
            mixed += ["abs(random() % 1000000000)", "strftime('%f','now')", "abs(random() % 5)"]
        return rng.choice(pure + mixed)

    def _expressions(self, table: Made) -> list[str]:
        return ["?", self._expression(table)]

    def _name(self, table: Made) -> str:
        if table.database != "main":
            return f"{table.database}.{quoted(table.name)}"
        return self._rng.choice([quoted(table.name), f"main.{quoted(table.name)}"])

    def _bound(self, text: str) -> Statement:
        return text, tuple(self._value() for _ in range(text.count("?")))

    def _insert(self, table: Made) -> Statement:
        rng = self._rng
        verb = rng.choice(
            ["INSERT", "INSERT", "INSERT", "REPLACE", f"INSERT OR {rng.choice(CONFLICTS)}"]
        )
        if rng.random() < 0.06 and not table.view:
            return f"{verb} INTO {self._name(table)} DEFAULT VALUES", ()
        every = rng.random() < 0.3
        columns = (
            table.columns
            if every
            else rng.sample(table.columns, rng.randint(1, len(table.columns)))
        )
        listed = "" if every and rng.random() < 0.5 else f" ({', '.join(columns)})"
        if table.rowid and not every and rng.random() < 0.1:
            listed, columns = f" ({', '.join([*columns, 'rowid'])})", [*columns, "rowid"]
        rows = [
            f"({', '.join(self._expression(table) for _ in columns)})"
            for _ in range(rng.choice([1, 1, 1, 2, 3]))
        ]
        text = f"{verb} INTO {self._name(table)}{listed} VALUES {', '.join(rows)}"
        if rng.random() < 0.1:
            other = rng.choice(self._schema.tables)
            some = ", ".join(rng.choice(other.columns) for _ in columns)
            text = f"{verb} INTO {self._name(table)}{listed}"
            text += f" SELECT {some} FROM {self._name(other)} WHERE true LIMIT 20"
        if verb == "INSERT" and table.key and rng.random() < 0.25 and not table.view:
            column = rng.choice(table.columns)
            value = rng.choice([f"excluded.{column}", "5", column, "?"])
            text += f" ON CONFLICT ({', '.join(table.key)}) DO " + rng.choice(
                ["NOTHING", f"UPDATE SET {column} = {value}"]
            )
        return self._bound(self._returning(table, text))

    def _returning(self, table: Made, text: str) -> str:
        if self._rng.random() < 0.15 and not table.view:
            return f"{text} RETURNING {self._rng.choice(table.columns)}"
        return text

    def _where(self, table: Made) -> str:
        rng = self._rng
        column = rng.choice(table.key or table.columns)
        other = rng.choice(table.columns)
        choices = [
            f"{column} = ?",
            f"{column} = ?",
            f"{column} IN (?, ?)",
            f"{other} > ?",
            f"{other} IS NULL",
            "true",
            f"{column} = (SELECT max({column}) FROM {self._name(table)})",
            f"{other} IN (SELECT k FROM log)",
            f"own({other}) IS NOT NULL",
        ]
        if table.rowid:
            choices.append("rowid = ?")
        return rng.choice(choices)

    def _update(self, table: Made) -> Statement:
        rng = self._rng
        verb = rng.choice(["UPDATE", "UPDATE", "UPDATE", f"UPDATE OR {rng.choice(CONFLICTS)}"])
        column = rng.choice(table.columns)
        sets = [
            f"{one} = {rng.choice([*self._expressions(table), f'5 - {one}', f'{one} + 1', column])}"
            for one in rng.sample(table.columns, min(len(table.columns), rng.choice([1, 1, 2])))
        ]
        text = f"{verb} {self._name(table)} SET {', '.join(sets)}"
        if rng.random() < 0.08:
            text += f" FROM (SELECT k AS z FROM log LIMIT 3) WHERE {column} = z"
        elif rng.random() < 0.9:
            text += f" WHERE {self._where(table)}"
        return self._bound(self._returning(table, text))

    def _delete(self, table: Made) -> Statement:
        where = f" WHERE {self._where(table)}" if self._rng.random() < 0.9 else ""
        return self._bound(self._returning(table, f"DELETE FROM {self._name(table)}{where}"))

    def _select(self, table: Made) -> Statement:
        return f"SELECT * FROM {self._name(table)}", ()

    def _dropped(self, table: Made) -> str:
        # Behind a temporary table of that name, SQLite drops a column that an index needs.
        texts = " ".join(self._schema.texts)
        if f"CREATE TEMP TABLE {quoted(table.name)}" in texts:
            return 'ADD COLUMN "y"'
        return f"DROP COLUMN {self._rng.choice(table.columns)}"

    def _change(self) -> str:
        """A change of the schema; what it makes is not used by name."""
        rng = self._rng
        self._number += 1
        number = self._number
        tables = [one for one in self._schema.tables if not one.view and one.database == "main"]
        table = rng.choice(tables)
        name = f"main.{quoted(table.name)}"
        column, at = rng.choice(table.columns), quoted(table.name)
        added = rng.choice(["TEXT", "INTEGER DEFAULT 4", "REFERENCES log"])
        return rng.choice(
            [
                f'ALTER TABLE {name} ADD COLUMN "x{number}" {added}',
                f"CREATE TABLE made{number} AS SELECT * FROM {name}",
                f"DROP TABLE IF EXISTS {name}",
                f"CREATE INDEX i{number} ON {at} ({column})",
                f"CREATE UNIQUE INDEX i{number} ON {at} ({column})",
                trigger(rng, self._schema, f"late{number}", wild=self._wild),
                f"DROP TRIGGER IF EXISTS tr{rng.randrange(3)}",
                f"CREATE TEMP TABLE tmp{number} (a)",
                f"CREATE TABLE o{number} (a PRIMARY KEY, b REFERENCES {at} ON DELETE CASCADE)",
                f"ALTER TABLE {name} {self._dropped(table)}",
                f"CREATE VIEW w{number} AS SELECT 1 AS one",
            ]
        )
