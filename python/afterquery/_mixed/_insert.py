"""Reading an INSERT of rows, and writing it with the ids that SQLite drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from afterquery._mixed._table import Table
from afterquery._mixed._words import Token, quoted, split, tokens, unquote
from afterquery._sql import fold

_CONFLICTS = frozenset({"ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"})


@dataclass(frozen=True)
class Insert:
    """An INSERT or REPLACE of VALUES."""

    sql: str
    conflict: str
    columns: tuple[str, ...] | None
    """Folded; None where it names none."""
    rows: tuple[tuple[tuple[Token, ...], ...], ...]
    """Each value of each row; no row for DEFAULT VALUES."""
    upsert: bool
    returning: bool
    head: str
    """Up to the list of columns, without it."""
    ends: tuple[int, ...]
    """Where the parenthesis of each row closes."""

    @property
    def one_row(self) -> bool:
        """Whether it inserts no more than one row."""
        return len(self.rows) <= 1

    def value(self, table: Table, row: int, column: str) -> tuple[Token, ...] | None:
        """What a row gives for a column; None where it gives nothing."""
        at = self.place(table, column)
        return None if at is None or row >= len(self.rows) else self.rows[row][at]

    def place(self, table: Table, column: str) -> int | None:
        """Which value of a row is for the column."""
        named = self.columns or tuple(fold(one.name) for one in table.columns if one.stored)
        return named.index(fold(column)) if fold(column) in named and self.rows else None


def read_insert(sql: str) -> Insert | None:
    """The INSERT that a text is, None where it is no INSERT of VALUES."""
    return _Reader(sql).read()


class _Reader:
    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = [*tokens(sql), Token("", len(sql), 0, 0)]
        self._at = 0

    def read(self) -> Insert | None:
        conflict = self._verb()
        if conflict is None:
            return None
        self._name()
        if self._word() == "AS":
            self._at += 1
            self._name()
        head = self._sql[: self._tokens[self._at - 1].end]
        columns = None
        if self._text() == "(":
            columns = tuple(fold(unquote(part[0].text)) for part in split(self._group()))
        rows: list[tuple[tuple[Token, ...], ...]] = []
        ends = []
        if self._word() == "DEFAULT":
            self._at += 2
        elif self._word() == "VALUES":
            for row in self._rows():
                rows.append(tuple(tuple(value) for value in split(row)))
                ends.append(self._tokens[self._at - 1].start)
        else:
            return None
        tail = [token.word for token in self._tokens[self._at : -1] if token.depth == 0]
        if tail and tail[0] not in {"ON", "RETURNING"}:
            return None
        upsert = "CONFLICT" in tail
        returning = "RETURNING" in tail
        return Insert(
            self._sql, conflict, columns, tuple(rows), upsert, returning, head, tuple(ends)
        )

    def _verb(self) -> str | None:
        """Past INTO: what it does about conflicts."""
        verb, self._at, conflict = self._word(), self._at + 1, "ABORT"
        if verb == "REPLACE":
            conflict = "REPLACE"
        elif verb != "INSERT":
            return None
        elif self._word() == "OR":
            conflict = self._tokens[self._at + 1].word
            self._at += 2
        into, self._at = self._word(), self._at + 1
        return conflict if into == "INTO" and conflict in _CONFLICTS else None

    def _name(self) -> None:
        self._at += 1
        if self._text() == ".":
            self._at += 2

    def _rows(self) -> Iterator[list[Token]]:
        self._at += 1
        while self._text() == "(":
            yield self._group()
            if self._text() != ",":
                return
            self._at += 1

    def _group(self) -> list[Token]:
        """What is in the parentheses that open here; past them."""
        depth = self._tokens[self._at].depth
        start = self._at + 1
        while self._at < len(self._tokens) - 1:
            self._at += 1
            token = self._tokens[self._at]
            if token.text == ")" and token.depth == depth:
                break
        inside = self._tokens[start : self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return inside

    def _text(self) -> str:
        return self._tokens[min(self._at, len(self._tokens) - 1)].text

    def _word(self) -> str:
        return self._tokens[min(self._at, len(self._tokens) - 1)].word


def parameter(sql: str, value: Sequence[Token]) -> str | int | None:
    """The name, or the place from 0, of the parameter that a value is; None for anything else.

    A place is known only where no parameter of the text has a number or a name.
    """
    text = sql[value[0].start : value[-1].end]
    if text == "?":
        places = plain_places(sql)
        return None if places is None else places.index(value[0].start)
    if text[:1] in {":", "@", "$"} and len(value) <= 2:
        return text[1:]
    return None


def plain_places(sql: str) -> list[int] | None:
    """Where the parameters stand, if each is a `?` alone."""
    found = [*tokens(sql), Token("", len(sql) + 1, 0, 0)]
    places = []
    for token, following in pairwise(found):
        if token.text == "?":
            if following.start == token.end and following.text[:1] in set("0123456789"):
                return None
            places.append(token.start)
        elif token.text in {":", "@"} or token.text[:1] == "$":
            return None
    return places


class Numbered:
    """The same INSERT, with a column for the id that SQLite drew for each row."""

    def __init__(self, insert: Insert, table: Table, places: Sequence[int], column: str) -> None:
        named = insert.columns or tuple(fold(one.name) for one in table.columns if one.stored)
        keep = [at for at, name in enumerate(named) if name != fold(column)]
        sql, rows = insert.sql, []
        self._given: list[list[int]] = []
        """The parameters of each row, in their order."""
        for row in insert.rows:
            values = [row[at] for at in keep]
            rows.append("(" + ", ".join([*(_text(sql, value) for value in values), "?"]) + ")")
            self._given.append([places.index(t.start) for v in values for t in v if t.text == "?"])
        self._in_order = self._given == [list(range(len(places)))]
        names = [*(quoted(named[at]) for at in keep), column]
        self.sql = f"{insert.head} ({', '.join(names)}) VALUES {', '.join(rows)}"
        self.rows = len(rows)

    def parameters(self, given: Sequence[Any], last: int) -> tuple[Any, ...]:
        """Of one execution, whose last row got this id."""
        if self._in_order:
            return (*given, last)
        first = last - self.rows + 1
        return tuple(
            value
            for number, places in enumerate(self._given)
            for value in (*(given[at] for at in places), first + number)
        )


def _text(sql: str, value: Sequence[Token]) -> str:
    return sql[value[0].start : value[-1].end]
