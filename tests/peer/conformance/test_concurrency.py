"""Requests side by side: none is torn, none is lost, none waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support.client import Client

WRITERS = 6
TEXTS = 40
PER_TEXT = 20


@pytest.fixture
def counters(replica: Client) -> Client:
    replica.run(
        "CREATE TABLE c (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);"
        "INSERT INTO c VALUES (1, 0), (2, 0); CREATE TABLE log (a INTEGER)"
    )
    return replica


def increments() -> str:
    return ";".join(f"UPDATE c SET n = n + 1 WHERE id = {1 + i % 2}" for i in range(PER_TEXT))


def together(count: int, work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(work, number) for number in range(count)]:
            future.result()


def test_texts_of_many_writers_all_count(counters: Client) -> None:
    def write(_: int) -> None:
        for _ in range(TEXTS):
            counters.run(increments())

    together(WRITERS, write)
    assert counters.rows("SELECT n FROM c") == [(WRITERS * TEXTS * PER_TEXT // 2,)] * 2


def test_readers_never_see_a_part_of_a_text(counters: Client) -> None:
    finished = threading.Event()
    seen: list[int] = []

    def write() -> None:
        try:
            for _ in range(TEXTS):
                counters.run(increments())
        finally:
            finished.set()

    def read() -> None:
        while not finished.is_set():
            one, two = (row[0] for row in counters.rows("SELECT n FROM c ORDER BY id"))
            assert one == two
            seen.append(one)

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(write), pool.submit(read), pool.submit(read)]
        for future in futures:
            future.result()
    assert seen == sorted(seen) or len(set(seen)) > 1


def test_texts_do_not_mix(counters: Client) -> None:
    def write(number: int) -> None:
        for _ in range(TEXTS):
            counters.run(";".join([f"INSERT INTO log VALUES ({number})"] * 5))

    together(WRITERS, write)
    writers = [row[0] for row in counters.rows("SELECT a FROM log ORDER BY rowid")]
    assert len(writers) == WRITERS * TEXTS * 5
    for start in range(0, len(writers), 5):
        assert len(set(writers[start : start + 5])) == 1


def test_failing_texts_do_not_disturb_others(counters: Client) -> None:
    def write(number: int) -> None:
        for _ in range(TEXTS):
            if number % 2:
                assert counters.query("INSERT INTO c VALUES (1, 1)").status == 500
            else:
                counters.run(increments())

    together(WRITERS, write)
    assert counters.value("SELECT sum(n) FROM c") == WRITERS // 2 * TEXTS * PER_TEXT


def test_what_was_answered_is_read_at_once(counters: Client) -> None:
    for number in range(100):
        counters.run(f"INSERT INTO log VALUES ({number})")
        assert counters.value("SELECT max(a) FROM log") == number
