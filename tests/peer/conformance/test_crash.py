"""SIGKILL under load: of every text all is there or nothing, and what was answered is there."""

from __future__ import annotations

import random
import threading
from concurrent.futures import Future, ThreadPoolExecutor

from support.client import Client, UnansweredError
from support.process import ReplicaProcess

KILLS = 5
WRITERS = 4
PER_TEXT = 25

SETUP = (
    "CREATE TABLE effect (n INTEGER NOT NULL); INSERT INTO effect VALUES (0);"
    "CREATE TABLE marker (text INTEGER PRIMARY KEY)"
)


def text(number: int) -> str:
    """Its marker first, its effects after it: a torn text would show."""
    return ";".join(
        [f"INSERT INTO marker VALUES ({number})", *["UPDATE effect SET n = n + 1"] * PER_TEXT]
    )


class Load:
    """Writers that go on until they are stopped or the replica is gone."""

    def __init__(self, client: Client, first: int) -> None:
        self._client = client
        self._next = first
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._goal = 0
        self._stopped = threading.Event()
        self.answered: set[int] = set()

    def run(self, pool: ThreadPoolExecutor) -> list[Future[None]]:
        return [pool.submit(self._write) for _ in range(WRITERS)]

    def wait_for(self, answers: int) -> None:
        self._goal = answers
        assert self._enough.wait(30), "no load"

    def stop(self) -> None:
        self._stopped.set()

    @property
    def sent(self) -> int:
        return self._next

    def _write(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                number = self._next
                self._next += 1
            try:
                answer = self._client.query(text(number))
            except UnansweredError:
                return
            assert answer.result == []
            with self._lock:
                self.answered.add(number)
                if len(self.answered) >= self._goal > 0:
                    self._enough.set()


def test_kill_in_the_middle_of_load(own: ReplicaProcess) -> None:
    own.client().run(SETUP)
    chance = random.Random(20250321)
    answered: set[int] = set()
    sent = 0
    for _ in range(KILLS):
        load = Load(own.client(), sent)
        with ThreadPoolExecutor(WRITERS) as pool:
            writers = load.run(pool)
            load.wait_for(chance.randrange(5, 40))
            own.kill()
            load.stop()
            for writer in writers:
                writer.result()
        answered |= load.answered
        sent = load.sent
        own.start()
        check(own.client(), answered)


def check(client: Client, answered: set[int]) -> None:
    markers = {row[0] for row in client.rows("SELECT text FROM marker")}
    assert client.value("SELECT n FROM effect") == len(markers) * PER_TEXT
    assert answered <= markers
    assert client.value("PRAGMA quick_check") == "ok"


def test_a_stop_keeps_everything(own: ReplicaProcess) -> None:
    own.client().run(SETUP)
    own.client().run(text(1))
    own.stop()
    own.start()
    check(own.client(), {1})


def test_the_port_stays(own: ReplicaProcess) -> None:
    port = own.port
    own.kill()
    own.start()
    assert own.port == port
    assert own.client().value("SELECT 1") == 1
