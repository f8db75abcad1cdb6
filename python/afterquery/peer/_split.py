"""The splitter until the core brings its own."""

from __future__ import annotations

import sqlite3


def split_statements(sql: str) -> list[str]:
    """The statements of a text, each with its semicolon; they concatenate back to the text."""
    pieces: list[str] = []
    start = end = 0
    while (end := sql.find(";", end) + 1) > 0:
        if sqlite3.complete_statement(sql[start:end]):
            pieces.append(sql[start:end])
            start = end
    if start < len(sql):
        pieces.append(sql[start:])
    return pieces
