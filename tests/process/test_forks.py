"""Processes that fork with a journal: the child has its own, and never touches its parent's."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from replication.site import Site, clean, look, proxied_peers
from replication.world import until
from support import faults
from support.program import Program

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

ALL = ["async", "process", "disk"]

LIBC = """
import ctypes
libc = ctypes.PyDLL(None, use_errno=True)
def raw_clone():
    # No hook runs: clone with SIGCHLD is what fork does (man 2 clone), past the C library.
    numbers = {"x86_64": 56, "aarch64": 220}
    return libc.syscall(numbers[os.uname().machine], signal.SIGCHLD, 0, 0, 0, 0)
"""

FORKS = {
    "os.fork": "os.fork()",
    "the C library's fork": "libc.fork()",
    "a bare system call": "raw_clone()",
}


def _run(site: Site, code: str, seconds: float = 60.0) -> Program:
    return site.program(LIBC + textwrap.dedent(code)).succeed(seconds)


@pytest.mark.parametrize("durability", ALL)
@pytest.mark.parametrize("fork", FORKS)
def test_the_child_has_an_origin_of_its_own(site: Site, fork: str, durability: str) -> None:
    if fork == "a bare system call" and os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("NOT TESTED: the number of clone is not known here")
    program = _run(
        site,
        f"""
        replicator = connect(durability="{durability}")
        origin = replicator.origin
        fulfilled(write(replicator, "parent", 0))
        child = {FORKS[fork]}
        if child == 0:
            for k in range(50):
                handle = write(replicator, "child", k)
            assert handle.origin == replicator.origin != origin
            assert handle.seq == 50
            fulfilled(handle)
            os._exit(0 if replicator.close(30) else 1)
        for k in range(1, 50):
            write(replicator, "parent", k)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert replicator.origin == origin
        fulfilled(write(replicator, "parent", 50))
        assert replicator.close(30)
        """,
    )
    assert program.errors == ""
    for number in range(2):
        assert site.written(number, "parent") == list(range(51))
        assert site.written(number, "child") == list(range(50))
    site.gone()


def test_threads_of_a_child_that_begin_at_once_share_one_origin(site: Site) -> None:
    """As those of a gthread worker at its first requests; their order would be lost else."""
    _run(
        site,
        """
        replicator = connect(durability="process")
        child = os.fork()
        if child == 0:
            barrier, origins = threading.Barrier(8), []

            def work():
                barrier.wait()
                origins.append(write(replicator, "child", 0).origin)

            threads = [threading.Thread(target=work) for _ in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            os._exit(0 if len(set(origins)) == 1 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """,
    )


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "die()"])
def test_what_a_child_leaves_is_delivered(site: Site, end: str) -> None:
    """Also where its end runs nothing of ours; and what is the parent's stays with the parent."""
    site.down()
    _run(
        site,
        f"""
        replicator = connect(durability="process")
        for k in range(20):
            write(replicator, "parent", k)
        child = os.fork()
        if child == 0:
            for k in range(20):
                write(replicator, "child", k)
            {end}
        os.waitpid(child, 0)
        assert replicator.stats().replicas[0].pending == 20
        replicator.close(0.1)
        """,
    )
    assert len(site.files()) == 2
    site.up()
    site.deliver()
    for number in range(2):
        assert site.written(number, "parent") == site.written(number, "child") == list(range(20))


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "die()"])
def test_a_child_that_never_uses_it_touches_nothing(site: Site, end: str) -> None:
    _run(
        site,
        f"""
        replicator = connect(durability="process")
        fulfilled(write(replicator, "parent", 0))
        before = sorted(os.listdir(os.environ["JOURNAL"]))
        child = os.fork()
        if child == 0:
            {end}
        os.waitpid(child, 0)
        assert sorted(os.listdir(os.environ["JOURNAL"])) == before
        fulfilled(write(replicator, "parent", 1))
        """,
    )
    assert site.written() == [0, 1]
    site.gone()


@pytest.mark.parametrize("who", ["a new process", "the child itself"])
def test_a_parent_that_dies_first_is_adopted(site: Site, who: str) -> None:
    """A child does not keep the lock of its parent's journal."""
    site.down()
    code = f"""
        replicator = connect(durability="process")
        for k in range(30):
            write(replicator, "parent", k)
        if os.fork() == 0:
            while os.getppid() != 1 and not os.path.exists("orphan"):
                time.sleep(0.01)
            if {who == "the child itself"}:
                replicator.stats()
            say("alone")
            while not os.path.exists("go"):
                time.sleep(0.01)
            write(replicator, "child", 0)
            assert replicator.flush(30)
            os._exit(0 if replicator.close(30) else 1)
        say("forked")
        die()
    """
    program = site.program(code)
    assert program.end() == -9
    (site.folder / "program" / "orphan").touch()
    until(lambda: "alone" in program.lines, "the child is alone")
    site.up()
    if who == "a new process":
        with site.connect() as replicator:
            assert replicator.flush(30)
        assert site.order() == ["parent"] * 30
    (site.folder / "program" / "go").touch()
    until(lambda: len(site.written(1)) == 31, "the child has delivered")
    until(lambda: len(site.written(0)) == 31, "the child has delivered")
    assert site.order(0) == site.order(1) == ["parent"] * 30 + ["child"]
    until(lambda: site.files() == [], "nothing is left")


@pytest.mark.slow
@pytest.mark.parametrize("durability", ALL)
def test_a_storm_of_forks_while_threads_write(site: Site, durability: str) -> None:
    """In the middle of SQLite's commits: no child may inherit a lock that nobody releases."""
    program = _run(
        site,
        f"""
        replicator = connect(durability="{durability}")
        stop = threading.Event()
        counts = [0, 0, 0]

        def work(number):
            while not stop.is_set() and counts[number] < 20_000:
                write(replicator, f"thread-{{number}}", counts[number])
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
        [thread.start() for thread in threads]
        children = []
        for number in range(40):
            child = os.fork()
            if child == 0:
                # What was forgotten of the parent's must not be waited for.
                signal.alarm(30)
                fulfilled(write(replicator, "child", number))
                os._exit(0)
            children.append(child)
            if len(children) == 4:
                for child in children:
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
                children.clear()
        stop.set()
        [thread.join() for thread in threads]
        assert replicator.flush(60)
        assert replicator.close(30)
        say(*counts)
        """,
    )
    counts = [int(count) for count in program.lines[-1].split()]
    for number in range(2):
        assert sorted(site.written(number, "child")) == list(range(40))
        for thread, count in enumerate(counts):
            assert site.written(number, f"thread-{thread}") == list(range(count))
    site.gone()


@pytest.mark.slow
def test_a_storm_of_forks_while_a_replicator_is_made(site: Site) -> None:
    _run(
        site,
        """
        stop = threading.Event()

        def work():
            while not stop.is_set():
                connect(durability="process").close(1)

        thread = threading.Thread(target=work)
        first = connect()
        thread.start()
        for number in range(30):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                fulfilled(write(first, "child", number))
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, number
        stop.set()
        thread.join()
        """,
        90,
    )
    assert sorted(site.written()) == list(range(30))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(site: Site, method: str) -> None:
    """A worker ends without `atexit`; what it had not delivered is in its file."""
    code = f"""
        import multiprocessing
        replicator = connect(durability="process")

        def work(number):
            write(replicator, "worker", number)
            return replicator.origin

        if __name__ == "__main__":
            fulfilled(write(replicator, "parent", 0))
            context = multiprocessing.get_context("{method}")
            with context.Pool(3) as pool:
                origins = pool.map(work, range(30), chunksize=1)
                pool.close()
                pool.join()
            assert replicator.origin not in origins
            fulfilled(write(replicator, "parent", 1))
    """
    site.program(code).succeed()
    site.deliver()
    for number in range(2):
        assert sorted(site.written(number, "worker")) == list(range(30))
        assert site.written(number, "parent") == [0, 1]


def test_large_values_of_two_children_do_not_mix(tmp_path: Path) -> None:
    """The first child's text is held up between its value and its statement."""
    # Our own peer takes a text in which such a value fits.
    with proxied_peers(tmp_path / "starbasedb", 2, like_starbasedb=True) as running:
        _do_not_mix(clean(tmp_path, running))


def _do_not_mix(site: Site) -> None:
    site.peers[0].client().run("CREATE TABLE IF NOT EXISTS big (who TEXT, v TEXT)")
    site.peers[1].client().run("CREATE TABLE IF NOT EXISTS big (who TEXT, v TEXT)")
    for proxy in site.proxies:
        proxy.plan = lambda request: (
            faults.Answer(503, "") if "'child-0'" in request.sql else faults.Pass()
        )
    code = """
        replicator = connect()
        fulfilled(write(replicator, "parent", 0))
        for number in range(2):
            if os.fork() == 0:
                value = "AB"[number] * 40_000
                sql = "INSERT INTO big VALUES (?, ?)"
                handle = replicator.after_query(sql, (f"child-{number}", value), 1)
                if number == 1:
                    fulfilled(handle)
                    os._exit(0)
                replicator.flush(1)
                os._exit(0)
            while number == 0 and replicator.flush(0) and not os.path.exists("go"):
                time.sleep(0.01)
        for _ in range(2):
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    """
    with site.program(code) as program:
        staged = "tmp_afterquery_value (id,origin,parts,v) VALUES"
        until(
            lambda: all(any(staged in r.sql for r in p.requests) for p in site.proxies),
            "the first child has sent its value ahead",
        )
        (site.folder / "program" / "go").touch()
        program.succeed()
    site.up()
    site.deliver()
    for peer in site.peers:
        rows = peer.client().rows("SELECT who, substr(v, 1, 1), length(v) FROM big ORDER BY who")
        assert rows == [("child-0", "A", 40_000), ("child-1", "B", 40_000)]


def test_a_child_cannot_have_its_journal_and_says_so(site: Site) -> None:
    """The application runs already: its writes are kept in memory, and that is told."""
    program = _run(
        site,
        """
        import shutil
        replicator = connect(origin="named")
        fulfilled(write(replicator, "parent", 0))
        child = os.fork()
        if child == 0:
            fulfilled(write(replicator, "child", 0))
            assert replicator.origin != "named"
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        fulfilled(write(replicator, "parent", 1))
        """,
    )
    assert program.errors.count("after this fork writes are kept in memory only") <= 1
    assert site.written(0, "parent") == [0, 1]
    assert site.written(1, "child") == [0]


def test_the_parents_file_is_the_parents(site: Site) -> None:
    """Nothing in it says that a child was there."""
    site.down()
    _run(
        site,
        """
        replicator = connect(durability="process")
        for k in range(5):
            write(replicator, "parent", k)
        for number in range(3):
            child = os.fork()
            if child == 0:
                write(replicator, f"child", number)
                replicator.close(0)
                os._exit(0)
            os.waitpid(child, 0)
            write(replicator, "parent", 5 + number)
        replicator.close(0)
        """,
    )
    held = [tuple(sql for (sql,) in look(f, "SELECT body FROM writes")) for f in site.files()]
    assert sorted(len(texts) for texts in held) == [1, 1, 1, 8]
    assert all(len({"'child'" in text for text in texts}) == 1 for texts in held)
    site.up()
    site.deliver()
