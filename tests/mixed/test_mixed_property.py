"""Random schemas, statements, transactions, savepoints and settings: the replica is equal.

`AFTERQUERY_TEST_MIXED="100000 2500"` runs the long form: 2,500 seeds from 100,000 on, of 60
statements each; so does `python -m mixed.run 100000 2500` in `tests`.
"""

from __future__ import annotations

import os

import pytest

from mixed.followed import BareLike, Followed
from mixed.run import Run, run

FIRST, COUNT = map(int, os.environ.get("AFTERQUERY_TEST_MIXED", "0 80").split())


@pytest.mark.timeout(0 if COUNT > 80 else 120)
@pytest.mark.parametrize("part", range(4))
def test_the_replica_is_equal(part: int) -> None:
    kinds: dict[str, int] = {}
    for seed in range(FIRST + part, FIRST + COUNT, 4):
        for kind, count in run(seed).items():
            kinds[kind] = kinds.get(kind, 0) + count
    print(kinds)
    for kind in ("STATEMENT", "NUMBERED", "ROW", "ROWS", "OTHERS", "SCHEMA"):
        assert kinds[kind] > 0, f"nothing travelled so: {kind}"


LEVELS = [None, "", "IMMEDIATE"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_connection_that_is_followed(level: str | None) -> None:
    """The same through `afterquery.sqlite3`, in each mode of transactions."""
    for seed in range(FIRST + LEVELS.index(level), FIRST + COUNT // 2, len(LEVELS)):
        one = Run(seed, Followed(level), BareLike(level))
        try:
            assert one.go(60)["statements"] > 0
        finally:
            one.close()
