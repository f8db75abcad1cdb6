"""Changes of the schema, made fit for a read copy.

Triggers and foreign keys would do on a copy what its rows tell already, and a CHECK could only
refuse what the primary took: the copy has none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from afterquery._mixed._words import Token, split, tokens

_CONSTRAINTS = frozenset(
    {"CONSTRAINT", "PRIMARY", "NOT", "NULL", "UNIQUE", "CHECK", "DEFAULT", "COLLATE", "REFERENCES",
     "GENERATED", "AS"}
)  # fmt: skip
_TABLE = frozenset({"CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"})


def fit_for_copy(sql: str) -> str | None:
    """The DDL for a copy; None where a copy has no such thing.

    CREATE TABLE and ALTER TABLE … ADD lose foreign keys and CHECKs, CREATE TRIGGER is left out.
    """
    found = tokens(sql)
    verb = [token.word for token in found[:4]]
    if verb[:1] == ["CREATE"] and "TRIGGER" in verb[:3]:
        return None
    if verb[:2] == ["DROP", "TRIGGER"]:
        return None
    if verb[:1] == ["CREATE"] and "TABLE" in verb[:3] and "VIRTUAL" not in verb:
        return _table(sql, found)
    if verb[:2] == ["ALTER", "TABLE"]:
        return _added(sql, found)
    return sql


def _table(sql: str, found: Sequence[Token]) -> str:
    begin = next((n for n, token in enumerate(found) if token.text == "("), None)
    before = found if begin is None else found[:begin]
    if begin is None or any(token.word == "AS" for token in before):
        return sql  # AS SELECT
    end = next(n for n in range(begin, len(found)) if found[n].text == ")" and found[n].depth == 0)
    kept = []
    for part in split(found[begin + 1 : end]):
        text = _of_constraint(sql, part) if _is_constraint(part) else _of_column(sql, part)
        if text:
            kept.append(text)
    return f"{sql[: found[begin].end]}{', '.join(kept)}{sql[found[end].start :]}"


def _is_constraint(part: Sequence[Token]) -> bool:
    """Whether it is one of the table's; a column may be called KEY, not CHECK."""
    return bool(part) and part[0].word in _TABLE


def _of_constraint(sql: str, part: Sequence[Token]) -> str:
    """What is left of constraints of the table: commas between them may be missing."""
    pieces = list(_constraints(part))
    return " ".join(sql[one[0].start : one[-1].end] for one in pieces if _stays(one))


def _of_column(sql: str, part: Sequence[Token]) -> str:
    pieces = list(_constraints(part))
    return " ".join(sql[one[0].start : one[-1].end] for one in pieces if _stays(one))


def _constraints(part: Sequence[Token]) -> Iterator[list[Token]]:
    """The name and type of a column, then each of its constraints; of a table, these alone.

    CONSTRAINT and a name belong to what follows, DEFERRABLE and ON to what comes before.
    """
    if not part:
        return
    depth = part[0].depth
    one: list[Token] = []
    named = False
    for number, token in enumerate(part):
        starts = token.depth == depth and token.word in (_CONSTRAINTS | {"FOREIGN"}) and number > 0
        before = part[number - 1].word if number else ""
        inside = (
            named
            or (token.word == "NULL" and before in {"NOT", "SET", "DEFAULT"})
            or (token.word == "DEFAULT" and before == "SET")
            or (token.word == "NOT" and _word(part, number + 1) == "DEFERRABLE")
            or (token.word == "REFERENCES" and bool(one) and _is_foreign(one))
            or (token.word == "AS" and before == "ALWAYS")
            or before == "CONSTRAINT"
            or before == "DEFAULT"
            or before == "COLLATE"
        )
        if starts and not inside:
            yield one
            one = []
        one.append(token)
        # What stands behind CONSTRAINT and its name begins nothing new.
        named = before == "CONSTRAINT" and token.depth == depth
    yield one


def _word(part: Sequence[Token], at: int) -> str:
    return part[at].word if at < len(part) else ""


def _is_foreign(one: Sequence[Token]) -> bool:
    return _first(one) == "FOREIGN"


def _first(one: Sequence[Token]) -> str:
    at = 2 if one[0].word == "CONSTRAINT" else 0
    return one[at].word if at < len(one) else ""


def _stays(one: Sequence[Token]) -> bool:
    return bool(one) and _first(one) not in {"REFERENCES", "FOREIGN", "CHECK"}


def _added(sql: str, found: Sequence[Token]) -> str:
    at = next((n for n, t in enumerate(found) if t.word == "ADD" and t.depth == 0 and n > 2), None)
    if at is None:
        return sql
    start = at + 2 if _word(found, at + 1) == "COLUMN" else at + 1
    if start >= len(found):
        return sql
    return f"{sql[: found[start].start]}{_of_column(sql, found[start:])}"
