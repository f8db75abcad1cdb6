"""Tables, in what verdicts and captures need to know of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from afterquery._mixed._pure import volatile_defaults
from afterquery._mixed._shadow import Shadow
from afterquery._mixed._signature import Object
from afterquery._mixed._words import quoted, split, tokens, unquote, words
from afterquery._sql import fold

_ROWIDS = ("rowid", "_rowid_", "oid")


class Column(NamedTuple):
    """A column."""

    name: str
    not_null: bool
    default: str | None
    stored: bool
    """It is written, and not generated."""


@dataclass(frozen=True)
class Key:
    """What names a row, here and on a replica."""

    columns: tuple[str, ...]
    """In quotes."""
    collations: tuple[str, ...]
    """` COLLATE x` for each, or nothing."""
    rowid: bool
    """It is the rowid, under whatever name: an integer, and never NULL."""
    hidden: bool = False
    """The rowid, which no column is an alias of."""


@dataclass(frozen=True)
class Unique:
    """A unique index beside the key."""

    old: tuple[str, ...]
    """The expressions of a row that is there..."""
    new: tuple[str, ...]
    """...and of the row that a trigger sees as NEW, with their collations."""
    where: str
    """Of a partial index."""


@dataclass(frozen=True)
class Table:
    """A table of the main database."""

    name: str
    sql: str
    columns: tuple[Column, ...]
    key: Key | None
    """None where nothing can name its rows."""
    alias: str | None
    """The column that is the rowid, as it is written."""
    autoincrement: bool
    uniques: tuple[Unique, ...]
    unique_columns: frozenset[str]
    """Folded: those of any unique index, also of the key."""
    strict: bool = False
    whole: bool = False
    """What triggers see of its key may not be what is stored: it travels whole."""
    indexed: bool = False
    """It has an index of any kind."""
    virtual: bool = False
    fed: bool = False
    """Triggers of it keep virtual tables, on a replica too."""
    volatile: dict[str, str] = field(default_factory=dict, hash=False)
    """Columns, folded, whose DEFAULT may differ, and why."""

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def words(self) -> frozenset[str]:
        """The words of its CREATE statement."""
        return words(self.sql)

    @property
    def target(self) -> str:
        """Its name in our statements on the connection."""
        return f"main.{quoted(self.name)}"

    @property
    def written(self) -> tuple[str, ...]:
        """The columns of a row image, in quotes."""
        stored = tuple(quoted(column.name) for column in self.columns if column.stored)
        return (*stored, self.key.columns[0]) if self.key and self.key.hidden else stored


def affinity(declared: str) -> str:
    """That of a column with this type: https://sqlite.org/datatype3.html#determination_of_column_affinity"""
    name = fold(declared)
    for words_of, kind in _AFFINITIES:
        if any(word in name for word in words_of):
            return kind
    return "NUMERIC" if name else "BLOB"


_AFFINITIES = (
    (("int",), "INTEGER"),
    (("char", "clob", "text"), "TEXT"),
    (("blob",), "BLOB"),
    (("any",), "ANY"),
    (("real", "floa", "doub"), "REAL"),
)


def read_table(
    shadow: Shadow,
    item: Object,
    indexes: Sequence[Object],
    applications: frozenset[str],
    compared: frozenset[str],
) -> Table:
    """A table of the main database; `compared` are its columns, folded, that foreign keys compare
    as numbers and that are none: its triggers then see them as they were compared.
    """
    virtual = item.virtual
    info = shadow.rows("SELECT * FROM pragma_table_xinfo(?, 'main')", (item.name,))
    columns = tuple(
        Column(name, bool(not_null), default, hidden == 0)
        for _, name, _, not_null, default, _, hidden in info
    )
    if virtual:
        return Table(item.name, item.sql, columns, None, None, False, (), frozenset(), virtual=True)
    found = [_Index(shadow, row, indexes) for row in _index_list(shadow, item.name)]
    unique = [index for index in found if index.unique]
    without_rowid = "WITHOUT" in _options(item.sql)
    rowid = None if without_rowid else _rowid_name(columns)
    alias = None if without_rowid else _alias(info, found)
    key, at = _key(unique, rowid, alias, without_rowid=without_rowid)
    others = tuple(index.beside(columns, rowid) for index in unique if index is not at)
    names = {fold(name) for index in unique for name in index.names}
    return Table(
        item.name,
        item.sql,
        columns,
        key,
        alias,
        "AUTOINCREMENT" in words(item.sql),
        others,
        frozenset(names | ({fold(alias)} if alias else set())),
        whole=key is not None and bool(compared & {fold(unquote(one)) for one in key.columns}),
        indexed=bool(found),
        strict="STRICT" in _options(item.sql),
        volatile=volatile_defaults(item.sql, applications),
    )


def _index_list(shadow: Shadow, table: str) -> list[tuple[str, int, str, int]]:
    return shadow.rows(
        'SELECT name, "unique", origin, partial FROM pragma_index_list(?, ?)', (table, "main")
    )


class _Index:
    """An index, as it is declared."""

    def __init__(
        self, shadow: Shadow, row: tuple[str, int, str, int], indexes: Sequence[Object]
    ) -> None:
        self.name, unique, self.origin, partial = row
        self.unique, self.partial = bool(unique), bool(partial)
        terms = shadow.rows(
            "SELECT cid, name, coll FROM pragma_index_xinfo(?, 'main') WHERE key ORDER BY seqno",
            (self.name,),
        )
        self.cids = [cid for cid, _, _ in terms]
        self.names = [name for _, name, _ in terms if name is not None]
        self.collations = [collation for _, _, collation in terms]
        self._terms = terms
        self._sql = next((one.sql for one in indexes if fold(one.name) == fold(self.name)), "")

    def beside(self, columns: Sequence[Column], rowid: str | None) -> Unique:
        """What a row in conflict by it has in common with the new one."""
        old, new = [], []
        listed, where = _listed(self._sql)
        for at, (cid, name, collation) in enumerate(self._terms):
            if cid == _EXPRESSION:
                text = listed[at]
                old.append(f"({text})")
                new.append(f"({_of_new(text, columns)}) COLLATE {quoted(collation)}")
            elif cid == _ROWID and rowid is not None:
                old.append(rowid)
                new.append(f"NEW.{rowid}")
            else:
                old.append(quoted(name))
                value = _given(next(one for one in columns if fold(one.name) == fold(name)))
                new.append(f"{value} COLLATE {quoted(collation)}")
        return Unique(tuple(old), tuple(new), where)


_ROWID, _EXPRESSION = -1, -2


def _given(column: Column) -> str:
    """What is stored for it: REPLACE has NULL replaced by the default where it may not be."""
    value = f"NEW.{quoted(column.name)}"
    if column.not_null and column.default is not None:
        return f"coalesce({value}, ({column.default}))"
    return value


def _listed(sql: str) -> tuple[list[str], str]:
    """Of a CREATE INDEX, the terms without collation and direction, and the text behind WHERE."""
    found = tokens(sql)
    inside = [token for token in found if token.depth > 0]
    end = next((token for token in found if token.text == ")" and token.depth == 0), None)
    if end is None:
        return [], ""
    inside = [token for token in inside if token.start < end.start]
    terms = []
    for part in split(inside):
        if part and part[-1].word in {"ASC", "DESC"}:
            part.pop()
        if len(part) > 2 and part[-2].word == "COLLATE":
            del part[-2:]
        terms.append(sql[part[0].start : part[-1].end] if part else "")
    where = next((t for t in found if t.word == "WHERE" and t.start > end.start), None)
    return terms, "" if where is None else sql[where.end :]


def _of_new(text: str, columns: Sequence[Column]) -> str:
    """An expression of a table's columns, as one of the row that a trigger sees as NEW."""
    by_name = {fold(column.name): column for column in columns}
    found = tokens(text)
    pieces, at = [], 0
    for number, token in enumerate(found):
        column = by_name.get(fold(unquote(token.text)))
        before = found[number - 1].word if number else ""
        behind = found[number + 1].text if number + 1 < len(found) else ""
        if column is None or token.text[:1] == "'" or behind == "(" or before in {"COLLATE", "AS"}:
            continue
        pieces += [text[at : token.start], _given(column)]
        at = token.end
    return "".join([*pieces, text[at:]])


def _options(sql: str) -> frozenset[str]:
    """The words behind the parentheses of a CREATE TABLE."""
    found = tokens(sql)
    end = max((n for n, t in enumerate(found) if t.text == ")" and t.depth == 0), default=0)
    return frozenset(token.word for token in found[end:])


def _rowid_name(columns: Sequence[Column]) -> str | None:
    taken = {fold(column.name) for column in columns}
    return next((name for name in _ROWIDS if name not in taken), None)


def _alias(info: Sequence[tuple[object, ...]], indexes: Sequence[_Index]) -> str | None:
    """The INTEGER PRIMARY KEY; declared with DESC it has an index of its own, and is none."""
    keys = [(str(name), fold(str(kind))) for _, name, kind, _, _, pk, _ in info if pk]
    if len(keys) == 1 and keys[0][1] == "integer" and all(i.origin != "pk" for i in indexes):
        return keys[0][0]
    return None


def _key(
    unique: Sequence[_Index], rowid: str | None, alias: str | None, *, without_rowid: bool
) -> tuple[Key | None, _Index | None]:
    if alias is not None:
        return Key((quoted(alias),), ("",), rowid=True), None
    if without_rowid:
        for index in unique:
            if index.origin == "pk":
                collations = tuple(f" COLLATE {quoted(one)}" for one in index.collations)
                return Key(tuple(map(quoted, index.names)), collations, rowid=False), index
    if rowid is None:
        return None, None
    return Key((rowid,), ("",), rowid=True, hidden=True), None
