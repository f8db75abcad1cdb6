"""The expressions and statements inside an object's SQL, and what in them would differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from afterquery import classify
from afterquery._sql import fold
from afterquery.lint.tokens import Token, after, group, tokens, unquote

_FRAME = "UPDATE x SET x = (", ")"
"""What makes an expression a statement that can be classified."""


@dataclass(frozen=True)
class Part:
    """A piece of an object's SQL that computes something."""

    place: str
    """`DEFAULT`, `CHECK`, `generated`, `index`, `view`, `WHEN` or `trigger`."""
    text: str
    line: int
    """Where it begins, from 0."""
    column: str = ""

    def reasons(self) -> Iterator[tuple[int, str]]:
        """Why it may differ, each with its line."""
        found = tokens(self.text)
        for reason in self._classified(self.text):
            yield self.line + self._line_of(reason, found), reason

    def calls(self) -> Iterator[tuple[int, str]]:
        """The functions it calls, in lower case, each with its line."""
        found = tokens(self.text)
        for token, following in pairwise(found):
            if following.text == "(":
                yield self.line + token.line, fold(unquote(token.text))

    def _line_of(self, reason: str, found: list[Token]) -> int:
        """The first line after which the reason is there: the text before it does not have it."""
        for token, following in pairwise(found):
            if following.line == token.line:
                continue
            open_groups = following.depth + (following.text == ")")
            if reason in self._classified(self.text[: token.end] + ")" * open_groups):
                return token.line
        return found[-1].line

    def _classified(self, text: str) -> list[str]:
        before, behind = ("", "") if self.place == "trigger" else _FRAME
        statements = classify(f"{before}{text}\n{behind}").statements
        return [reason for statement in statements for reason in statement.reasons]


def parts(kind: str, sql: str) -> list[Part]:
    """All that computes something in the SQL of an object of this kind."""
    found = tokens(sql)
    if kind == "table":
        return [part for column in _columns(found) for part in _of_column(sql, column)]
    if kind == "index":
        return _of_index(sql, found[_first(found, "ON") + 1 :])
    if kind == "view":
        return [_between("view", sql, found[_first(found, "AS") + 1 :])]
    return _of_trigger(sql, found)


def _first(found: list[Token], word: str) -> int:
    return next((i for i, token in enumerate(found) if token.word == word), len(found))


def _between(place: str, sql: str, found: list[Token], column: str = "") -> Part:
    if not found:
        return Part(place, "", 0, column)
    return Part(place, sql[found[0].start : found[-1].end], found[0].line, column)


def _columns(found: list[Token]) -> Iterator[list[Token]]:
    """The definitions in a table's parentheses, those of constraints too."""
    inside: list[Token] = []
    for token in found:
        if token.depth == 1 and token.text == ",":
            yield inside
            inside = []
        elif token.depth > 0:
            inside.append(token)
        elif token.text == ")":
            yield inside
            return


def _of_column(sql: str, column: list[Token]) -> Iterator[Part]:
    name = unquote(column[0].text) if column else ""
    places = {"DEFAULT": "DEFAULT", "CHECK": "CHECK", "AS": "generated"}
    for keyword, following in after(column, *places):
        if keyword.depth != 1:
            continue
        at = column.index(following)
        ends = group(column, at)
        if ends is not None:
            inside = column[at : column.index(ends[1]) + 1]
            yield _between(places[keyword.word], sql, inside, name)
        elif keyword.word == "DEFAULT":
            yield _between("DEFAULT", sql, [following], name)


def _of_index(sql: str, found: list[Token]) -> list[Part]:
    """Without the table's name, which looks like a call."""
    where = _first(found, "WHERE")
    listed = found[_first(found, "(") : where]
    return [_between("index", sql, listed), _between("index", sql, found[where + 1 :])]


def _of_trigger(sql: str, found: list[Token]) -> list[Part]:
    begin = _first(found, "ON") + 1
    begin += _first(found[begin:], "BEGIN")
    header = found[:begin]
    result = []
    when = header[_first(header, "WHEN") + 1 :]
    if when:
        result.append(_between("WHEN", sql, when))
    statement: list[Token] = []
    for token in found[begin + 1 :]:
        if token.text != ";":
            statement.append(token)
            continue
        result.append(_between("trigger", sql, statement))
        statement = []
    return [part for part in result if part.text]
