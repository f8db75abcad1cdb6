"""The ids that SQLite drew for rows: told by the last one, as long as each is one above the
largest. Only above the largest of all, 2^63 - 1, it draws at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from afterquery._mixed._own import Own
from afterquery._mixed._verdict import Verdict

_LAST = 2**63 - 1


def draws(ids: Sequence[str | int], parameters: Any) -> bool:
    """Whether an id among the parameters is None. What cannot be looked up counts as one."""
    try:
        return any(parameters[one] is None for one in ids)
    except (LookupError, TypeError):
        return True


def as_id(value: Any) -> int | None:
    """The id that SQLite makes of a value, None where it refuses it, or for what is no id."""
    try:
        number = value if isinstance(value, int) else float(value)
        found = int(number)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found == number and -_LAST <= found + 1 <= _LAST + 1 else None


def named(own: Own, verdict: Verdict, parameters: Any, last: int) -> tuple[Any, ...] | None:
    """The parameters that name the ids of one execution; None where they are not known."""
    assert verdict.numbered is not None
    if verdict.numbered.rows > 1 and last != _largest(own, verdict):
        return None
    return verdict.numbered.parameters(tuple(parameters), last)


def named_many(own: Own, verdict: Verdict, rows: Sequence[Any]) -> list[tuple[Any, ...]] | None:
    """Those of executions that followed each other, with nothing in between."""
    assert verdict.numbered is not None
    last = own.number("SELECT last_insert_rowid()")
    if last != _largest(own, verdict):
        return None
    count, parameters = verdict.numbered.rows, verdict.numbered.parameters
    first = last - count * (len(rows) - 1)
    return [parameters(tuple(row), first + count * at) for at, row in enumerate(rows)]


def among(own: Own, verdict: Verdict, rows: Sequence[Any]) -> list[int] | None:
    """Ids among which are those of rows with an id, and of others for which SQLite drew one: that
    is among as many of the largest as there were rows. None where they are not known."""
    table = verdict.tables[0]
    assert table.key is not None
    column = table.key.columns[0]
    largest = own.rows(
        f"SELECT +{column} AS a FROM {table.target} ORDER BY {column} DESC LIMIT ?",
        (len(rows) * len(verdict.ids),),
    )
    if largest and largest[0][0] == _LAST:
        return None
    given = [as_id(row[one]) for row in rows for one in verdict.ids]
    return [*(one for one in given if one is not None), *(one for (one,) in largest)]


def _largest(own: Own, verdict: Verdict) -> int | None:
    table = verdict.tables[0]
    assert table.key is not None
    return own.number(f"SELECT max({table.key.columns[0]}) FROM {table.target}")
