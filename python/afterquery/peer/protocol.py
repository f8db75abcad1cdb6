"""Request bodies in, answer bodies out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from afterquery.peer.errors import RequestError
from afterquery.peer.values import Bound, bind, to_json

_JS_SPACE = (
    "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What `trim()` takes off in JavaScript, with which StarbaseDB looks whether a text is empty."""
_EMPTY_SQL = 'Invalid or empty "sql" field'
_BAD_PARAMS = 'Invalid "params" field'
_SHAPE = "Must be an array or object."

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class Query:
    """One text, and the parameters of its last statement."""

    sql: str
    params: list[Bound]


@dataclass(frozen=True)
class Request:
    """What a body asks for. A transaction is a loop of queries: what ran stays when one fails."""

    queries: list[Query]
    is_transaction: bool


Form = Callable[[list[str], Iterable[tuple[object, ...]]], Iterator[str]]
"""Columns and rows as JSON, piece by piece: a row is read only when those before it are written."""


def parse(body: bytes) -> Request:
    """Read a body, or raise the `RequestError` that StarbaseDB would answer."""
    content = _json(body)
    if content is None:
        raise RequestError(500, "The JSON body is null.")
    fields: dict[str, Any] = content if isinstance(content, dict) else {}
    transaction = fields.get("transaction")
    if isinstance(transaction, list) and transaction:
        suffix = " in transaction."
        return Request([_query(entry, 500, suffix) for entry in transaction], True)
    return Request([_query(fields, 400, ".")], False)


def _query(entry: object, status: int, suffix: str) -> Query:
    fields = entry if isinstance(entry, dict) else {}
    sql = fields.get("sql")
    if not isinstance(sql, str) or not sql.strip(_JS_SPACE):
        raise RequestError(status, _EMPTY_SQL + suffix)
    params = fields.get("params", [])
    if params is None:
        raise RequestError(500, "Cannot read properties of null (reading 'length')")
    if not isinstance(params, (list, dict)):
        raise RequestError(status, f"{_BAD_PARAMS}{suffix} {_SHAPE}")
    # An object has no length there, so nothing of it is bound.
    return Query(sql, bind(params) if isinstance(params, list) else [])


def _json(body: bytes) -> object:
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        message = f"{error.msg} in JSON at position {error.pos}"
    except UnicodeDecodeError as error:
        message = f"No UTF-8 in JSON at position {error.start}"
    except (ValueError, RecursionError) as error:
        message = f"{error} in JSON"
    raise RequestError(500, message)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"Unexpected {name}")


def as_objects(columns: list[str], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    """The form of `/query`: one object a row; of columns with one name the last one counts."""
    comma = "["
    for row in rows:
        yield comma + _encode(dict(zip(columns, map(to_json, row), strict=True)))
        comma = ","
    yield "[]" if comma == "[" else "]"


def as_raw(columns: list[str], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    """The form of `/query/raw`, which is made from the objects: no row, no column names."""
    position = {name: at for at, name in enumerate(columns)}
    count = 0
    for row in rows:
        yield "," if count else f'{{"columns":{_encode(list(position))},"rows":['
        yield _encode([to_json(row[at]) for at in position.values()])
        count += 1
    if not count:
        yield '{"columns":[],"rows":['
    yield f'],"meta":{{"rows_read":{count},"rows_written":0}}}}'


FORMS: dict[str, Form] = {"/query": as_objects, "/query/raw": as_raw}
"""The form of the answers of each path."""


def failure(message: str) -> bytes:
    """The body of an answer that is no result."""
    return _encode({"error": message}).encode("utf-8", "replace")


def answer(results: list[bytes], *, is_transaction: bool) -> bytes:
    """The body of an answer: its one result, or those of a transaction."""
    result = b"[" + b",".join(results) + b"]" if is_transaction else results[0]
    return b'{"result":' + result + b"}"
