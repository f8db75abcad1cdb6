"""What an object computes: DEFAULTs, CHECKs, generated columns, indexes, views and triggers."""

from __future__ import annotations

from collections.abc import Iterator

from afterquery._sql import fold
from afterquery.lint.expressions import Part, parts
from afterquery.lint.finding import Finding
from afterquery.lint.schema import Object
from afterquery.lint.tokens import after, tokens, unquote
from afterquery.peer.allowed import NO_FUNCTIONS

_COLLATIONS = frozenset({"binary", "nocase", "rtrim"})

_PLACES = {
    "DEFAULT": (
        "the DEFAULT of {column}",
        "name the column in every INSERT: before_query freezes what stands in the statement",
    ),
    "CHECK": (
        "a CHECK",
        "check it in the application: what passed on the primary may be rejected on a replica",
    ),
    "generated": (
        "the generated column {column}",
        "make it an ordinary column, and write its value in every INSERT and UPDATE",
    ),
    "index": (
        "the index",
        "index a column that holds the value: a replica may refuse or order it differently",
    ),
    "view": (
        "the view",
        "pass such values as parameters of the queries; write nothing that reads from the view",
    ),
    "WHEN": (
        "the trigger's WHEN",
        "decide in the application, and run the trigger's statements from there",
    ),
    "trigger": (
        "the trigger's statement",
        "run it from the application, where before_query can freeze it",
    ),
}


def object_findings(item: Object) -> Iterator[Finding]:
    """What differs in what it computes."""
    if not item.virtual:
        for part in parts(item.kind, item.sql):
            yield from _of_part(item, part)
    yield from _rollbacks(item)
    yield from _collations(item)


def _of_part(item: Object, part: Part) -> Iterator[Finding]:
    subject, remedy = _PLACES[part.place]
    subject = subject.format(column=part.column)
    for line, reason in part.reasons():
        yield Finding(item.title, item.line + line, f"{subject} {reason}", remedy)
    for line, name in part.calls():
        if name in NO_FUNCTIONS:
            what = f"{subject} calls {name}(), which a replica refuses"
            yield Finding(item.title, item.line + line, what, "compute it in the application")


def _rollbacks(item: Object) -> Iterator[Finding]:
    for token, following in after(tokens(item.sql), "OR", "(", "CONFLICT"):
        if following.word == "ROLLBACK":
            yield Finding(
                item.title,
                item.line + token.line,
                "it rolls back, which on a replica concerns the writes sent along with it too",
                "use ABORT",
            )


def _collations(item: Object) -> Iterator[Finding]:
    for token, following in after(tokens(item.sql), "COLLATE"):
        name = unquote(following.text)
        if fold(name) not in _COLLATIONS:
            yield Finding(
                item.title,
                item.line + token.line,
                f"the collation {name} is the application's own: a replica does not have it",
                "use BINARY, NOCASE or RTRIM, or store a column to sort by",
            )
