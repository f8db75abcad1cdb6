"""Processes that fork: each has its own origin, and the parent's work stays the parent's."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from replication.world import TIMEOUT, peers, prepare, until
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SCHEMA = "CREATE TABLE log (n INTEGER PRIMARY KEY, who TEXT, k INT)"

START = """
import os, sys
from afterquery import NotSettledError, Replicator
replicator = Replicator(sys.argv[1:], auth_token=os.environ["TOKEN"], retry_base=0.01)

def write(who, k):
    return replicator.after_query("INSERT INTO log (who, k) VALUES (?, ?)", (who, k), 1)

def fulfilled(replication):
    assert {o.status for o in replication.wait(30)} == {"fulfilled"}, replication.outcomes
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PeerProcess]]:
    with peers(tmp_path_factory.mktemp("processes"), 2) as processes:
        prepare(SCHEMA, *processes)
        yield processes


@pytest.fixture
def processes(running: list[PeerProcess]) -> list[PeerProcess]:
    prepare("DELETE FROM log", *running)
    return running


def _run(code: str, *urls: str, status: int = 0) -> str:
    """Run a user's program to its end, in a process of its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore::DeprecationWarning",
            "-c",
            START + textwrap.dedent(code),
            *urls,
        ],
        capture_output=True,
        env={**os.environ, "TOKEN": ADMIN_TOKEN},
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, ""), done.stderr
    return done.stdout


def _urls(processes: list[PeerProcess]) -> list[str]:
    return [process.url for process in processes]


def _written(process: PeerProcess, who: str) -> list[int]:
    rows = process.client().rows(f"SELECT k FROM log WHERE who = '{who}' ORDER BY n")
    return [k for (k,) in rows]


def test_a_forked_child_writes_as_an_origin_of_its_own(processes: list[PeerProcess]) -> None:
    out = _run(
        """
        fulfilled(write("parent", 0))
        origin = replicator.origin
        child = os.fork()
        if child == 0:
            assert replicator.origin != origin
            assert replicator.stats().writes == 0
            for k in range(50):
                replication = write("child", k)
            assert replication.seq == 50
            fulfilled(replication)
            assert replicator.flush(30)
            print("child", replicator.origin, flush=True)
            sys.exit(0)
        for k in range(1, 50):
            replication = write("parent", k)
        assert replication.seq == 50
        fulfilled(replication)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert replicator.origin == origin
        fulfilled(write("parent", 50))
        print("parent", origin, flush=True)
        """,
        *_urls(processes),
    )
    origins = dict(line.split() for line in out.splitlines())
    assert set(origins) == {"child", "parent"}
    assert origins["child"] != origins["parent"]
    for process in processes:
        assert _written(process, "child") == list(range(50))
        assert _written(process, "parent") == list(range(51))


def test_what_was_pending_at_the_fork_stays_with_the_parent(processes: list[PeerProcess]) -> None:
    """Once, and from the parent: the child neither sends it nor waits for it."""
    _run(
        """
        replications = [write("parent", k) for k in range(500)]
        child = os.fork()
        if child == 0:
            last = replications[-1]
            if not last.settled:
                try:
                    last.wait(30)
                except NotSettledError as error:
                    assert "forked" in str(error), error
                else:
                    raise AssertionError("the child cannot know")
            assert replicator.stats().pending == 0
            fulfilled(write("child", 1))
            os._exit(0 if replicator.close(30) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fulfilled(replications[-1])
        """,
        *_urls(processes),
    )
    for process in processes:
        assert _written(process, "parent") == list(range(500))
        assert _written(process, "child") == [1]


@pytest.mark.parametrize("end", ["sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_child_that_never_uses_it_ends_as_it_likes(
    processes: list[PeerProcess], end: str
) -> None:
    _run(
        f"""
        fulfilled(write("parent", 0))
        pending = [write("parent", k) for k in range(1, 100)]
        child = os.fork()
        if child == 0:
            {end}
        os.waitpid(child, 0)
        fulfilled(pending[-1])
        """,
        *_urls(processes),
    )
    for process in processes:
        assert _written(process, "parent") == list(range(100))


def test_a_child_that_drops_or_closes_it_does_not_close_the_parents(
    processes: list[PeerProcess],
) -> None:
    _run(
        """
        fulfilled(write("parent", 0))
        child = os.fork()
        if child == 0:
            replicator.close()
            del replicator
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fulfilled(write("parent", 1))
        """,
        *_urls(processes),
    )
    assert _written(processes[0], "parent") == [0, 1]


def test_children_of_children_and_many_at_once(processes: list[PeerProcess]) -> None:
    _run(
        """
        fulfilled(write("parent", 0))
        children = []
        for number in range(5):
            child = os.fork()
            if child == 0:
                grandchild = os.fork() if number == 0 else None
                who = f"child {number}" if grandchild != 0 else "grandchild"
                for k in range(40):
                    write(who, k)
                if grandchild:
                    assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == 0
                # The end of the interpreter delivers it.
                sys.exit(0)
            children.append(child)
        for child in children:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fulfilled(write("parent", 1))
        """,
        *_urls(processes),
    )
    for process in processes:
        for who in [*(f"child {n}" for n in range(5)), "grandchild"]:
            assert _written(process, who) == list(range(40)), who
        assert _written(process, "parent") == [0, 1]


def test_nothing_is_left_to_import_when_the_first_write_comes() -> None:
    """A child that is forked while a thread imports waits for that import for ever."""
    code = "import sys, afterquery; sys.exit('sqlite3' not in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_fork_while_other_threads_write(processes: list[PeerProcess]) -> None:
    """Whatever lock another thread held at that moment, the child must not wait for it."""
    _run(
        """
        import threading
        stop = threading.Event()

        def work():
            k = 0
            while not stop.is_set() and k < 20_000:
                write("thread", k)
                k += 1

        thread = threading.Thread(target=work)
        thread.start()
        for number in range(8):
            child = os.fork()
            if child == 0:
                fulfilled(write(f"child {number}", number))
                os._exit(0 if replicator.close(30) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        thread.join()
        assert replicator.flush(60)
        """,
        *_urls(processes),
    )
    for process in processes:
        written = _written(process, "thread")
        assert written == list(range(len(written)))
        assert [_written(process, f"child {n}") for n in range(8)] == [[n] for n in range(8)]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(processes: list[PeerProcess], tmp_path: Path, method: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        START
        + textwrap.dedent(
            f"""
            import multiprocessing

            def work(number):
                fulfilled(write(f"worker {{number}}", number))
                return replicator.origin

            if __name__ == "__main__":
                fulfilled(write("parent", 0))
                context = multiprocessing.get_context("{method}")
                with context.Pool(3) as pool:
                    origins = pool.map(work, range(9), chunksize=1)
                    pool.close()
                    pool.join()
                assert replicator.origin not in origins
                assert 1 <= len(set(origins)) <= 3
                fulfilled(write("parent", 1))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(program), *_urls(processes)],
        capture_output=True,
        env={**os.environ, "TOKEN": ADMIN_TOKEN},
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for process in processes:
        assert [_written(process, f"worker {n}") for n in range(9)] == [[n] for n in range(9)]
        assert _written(process, "parent") == [0, 1]


WSGI = """
import os
from afterquery import Replicator

replicator = Replicator(os.environ["REPLICAS"].split(), auth_token=os.environ["TOKEN"])
# Used before the workers are forked, as a cache that is warmed would.
replicator.after_query("INSERT INTO log (who, k) VALUES ('master', 0)").wait(30)

def app(environ, start_response):
    k = int(environ["PATH_INFO"][1:])
    replication = replicator.after_query("INSERT INTO log (who, k) VALUES ('worker', ?)", (k,), 1)
    statuses = {outcome.status for outcome in replication.wait(30)}
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{' '.join(statuses)} {replicator.origin}".encode()]
"""


def test_gunicorn_with_preload(processes: list[PeerProcess], tmp_path: Path) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    (tmp_path / "wsgi_app.py").write_text(WSGI)
    log = tmp_path / "log.txt"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                *[sys.executable, "-m", "gunicorn", "--preload", "--workers", "3"],
                *["--bind", "127.0.0.1:0", "--chdir", str(tmp_path), "wsgi_app:app"],
            ],
            env={**os.environ, "REPLICAS": " ".join(_urls(processes)), "TOKEN": ADMIN_TOKEN},
            stderr=output,
        )
        try:
            until(lambda: log.read_text().count("Booting worker") == 3, "the workers run")
            url = log.read_text().split("Listening at: ")[1].split()[0]
            answers = {httpx.get(f"{url}/{k}", timeout=TIMEOUT).text for k in range(60)}
        finally:
            server.terminate()
            assert server.wait(TIMEOUT) == 0, log.read_text()
    assert {answer.split()[0] for answer in answers} == {"fulfilled"}
    assert 1 <= len(answers) <= 3
    for process in processes:
        assert sorted(_written(process, "worker")) == list(range(60))
        assert _written(process, "master") == [0]
