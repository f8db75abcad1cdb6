"""What everything here writes: one table, one write of five parameters, about 100 bytes."""

from __future__ import annotations

TOKEN = "admin-token-of-the-tests"
"""What `tests/support` starts replicas with; rivals send it too."""

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name, email, score REAL, note)"
READ = "SELECT id, name, email FROM users WHERE id = ?"
WRITE = "INSERT INTO users (id, name, email, score, note) VALUES (?, ?, ?, ?, ?)"

Row = tuple[int, str, str, float, None]


def row(n: int) -> Row:
    return (n, "Ada Lovelace", "ada@example.com", 1.5, None)


def literal(n: int) -> str:
    """The write as a careful person would put it into a text."""
    values = f"{n}, 'Ada Lovelace', 'ada@example.com', 1.5, NULL"
    return WRITE.replace("?, ?, ?, ?, ?", values)
