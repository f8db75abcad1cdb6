"""Threads that work one queue each: who waits in one never waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar


class Runner(Protocol):
    """What does the work of one thread."""

    def cut(self) -> None:
        """End what is running if nobody needs it without its sender; from any thread."""

    def stop(self) -> None:
        """End what is running; from any thread."""

    def close(self) -> None:
        """Let go of what it holds; from its own thread."""


R = TypeVar("R", bound=Runner)


class Job(Generic[R]):
    """Work that waits for its turn; `future` has what comes of it."""

    def __init__(self, work: Callable[[R], bytes]) -> None:
        self.future: Future[bytes] = Future()
        self._work = work
        self._lock = threading.Lock()
        self._runner: R | None = None

    def abandon(self) -> None:
        """Nobody waits for it any more: it never starts, or is cut off where that may be."""
        if self.future.cancel():
            return
        with self._lock:
            if self._runner is not None:
                self._runner.cut()

    def run(self, runner: R) -> None:
        """Do it, on the thread of the runner."""
        if not self.future.set_running_or_notify_cancel():
            return
        with self._lock:
            self._runner = runner
        try:
            result = self._work(runner)
        except BaseException as error:
            self._end()
            self.future.set_exception(error)
        else:
            self._end()
            self.future.set_result(result)

    def _end(self) -> None:
        with self._lock:
            self._runner = None


class Lane(Generic[R]):
    """Threads with a runner each; they start when there is work for them."""

    def __init__(self, name: str, threads: int, runner: Callable[[], R]) -> None:
        self._name = name
        self._most = threads
        self._make = runner
        self._lock = threading.Lock()
        self._queue: SimpleQueue[Job[R] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._runners: list[R] = []
        self._under_way = 0

    def submit(self, work: Callable[[R], bytes]) -> Job[R]:
        """Have it done; first come, first served."""
        job: Job[R] = Job(work)
        with self._lock:
            self._under_way += 1
            job.future.add_done_callback(self._done)
            self._queue.put(job)
            if len(self._threads) < min(self._under_way, self._most):
                self._start()
        return job

    def runners(self) -> list[R]:
        """Those of the threads that run."""
        with self._lock:
            return list(self._runners)

    def close(self, deadline: float) -> bool:
        """Finish what was submitted, until `deadline` on the monotonic clock; then cut it off.

        Whether all has ended: what hangs in one call that nothing can end goes on until the process
        ends. Submitting again starts anew.
        """
        with self._lock:
            threads, self._threads = self._threads, []
            runners, self._runners = self._runners, []
            queue, self._queue = self._queue, SimpleQueue()
            for _ in threads:
                queue.put(None)
        if _join(threads, deadline):
            return True
        while not queue.empty():
            if (job := queue.get()) is not None:
                job.abandon()
        for _ in threads:
            queue.put(None)
        for runner in runners:
            runner.stop()
        return _join(threads, time.monotonic() + CUT_SECONDS)

    def _start(self) -> None:
        runner = self._make()
        thread = threading.Thread(
            target=_work,
            args=(self._queue, runner),
            name=f"{self._name}-{len(self._threads)}",
            # A hanging one must not keep the process from ending.
            daemon=True,
        )
        self._runners.append(runner)
        self._threads.append(thread)
        thread.start()

    def _done(self, _: Future[bytes]) -> None:
        with self._lock:
            self._under_way -= 1


CUT_SECONDS = 1.0
"""How long a runner may take to end after it was cut off, in seconds."""


def _work(queue: SimpleQueue[Job[R] | None], runner: R) -> None:
    try:
        while (job := queue.get()) is not None:
            job.run(runner)
            # It holds a request and its answer, and the next one may be long in coming.
            del job
    finally:
        runner.close()


def _join(threads: list[threading.Thread], deadline: float) -> bool:
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)
