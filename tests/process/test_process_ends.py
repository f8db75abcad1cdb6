"""Processes that end without `atexit`, change their directory, or have nothing to start with."""

from __future__ import annotations

import sys

import pytest

from afterquery import Replicator
from replication.site import Site

WORK = """
def work(who):
    global replicator
    replicator = connect(journal=None)
    for k in range(50):
        write(replicator, who, k)

"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_child_of_multiprocessing_delivers_at_its_end(site: Site, method: str) -> None:
    code = f"""
        import multiprocessing
        {WORK.replace(chr(10), chr(10) + " " * 8)}
        if __name__ == "__main__":
            child = multiprocessing.get_context("{method}").Process(target=work, args=("child",))
            child.start()
            child.join()
            assert child.exitcode == 0
    """
    assert site.program(code).end() == 0
    assert site.written(0) == site.written(1) == list(range(50))


def test_a_child_of_an_executor_delivers_what_a_replicator_of_its_parent_took(site: Site) -> None:
    code = """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        replicator = connect(journal=None)

        def work(k):
            write(replicator, "child", k)

        if __name__ == "__main__":
            write(replicator, "parent", 0)
            context = multiprocessing.get_context("fork")
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                list(pool.map(work, range(50)))
    """
    assert site.program(code).end() == 0
    assert site.written(0, "child") == list(range(50))
    assert site.written(0, "parent") == [0]


def test_a_relative_journal_stays_where_it_was(site: Site) -> None:
    """For a child, too, that has changed its directory."""
    site.down()
    code = """
        os.mkdir("other")
        replicator = connect(journal="var/journal", durability="process")
        child = os.fork()
        if child == 0:
            os.chdir("other")
            write(replicator, "child", 0)
            os._exit(0)
        os.waitpid(child, 0)
        write(replicator, "parent", 0)
        replicator.close(0)
    """
    program = site.program(code)
    assert program.end() == 0, program.errors
    folder = site.folder / "program"
    assert not (folder / "other" / "var").exists()
    site.up()
    with site.connect(journal=folder / "var" / "journal") as replicator:
        assert replicator.flush(30)
    assert sorted(site.order(0)) == ["child", "parent"]


@pytest.mark.parametrize("what", ["descriptors", "threads"])
def test_a_statement_does_not_fail_where_nothing_can_be_started(site: Site, what: str) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("NOT TESTED: it counts descriptors in /proc")
    code = f"""
        import resource
        replicator = connect(journal=None)
        child = os.fork()
        if child == 0:
            if "{what}" == "descriptors":
                _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
                count = len(os.listdir("/proc/self/fd"))
                resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))
            else:
                if os.geteuid() == 0:
                    # Of processes only others than root have a limit.
                    os.setgid(65534)
                    os.setuid(65534)
                _, most = resource.getrlimit(resource.RLIMIT_NPROC)
                resource.setrlimit(resource.RLIMIT_NPROC, (1, most))
            sql, parameters = replicator.before_query("INSERT INTO log (who) VALUES ('a')")
            assert replicator.after_query(sql, parameters) is None
            with replicator.transaction() as transaction:
                transaction.after_query(sql)
            if "{what}" == "descriptors":
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
                time.sleep(1.1)
                write(replicator, "later", 0)
                say("lost", replicator.stats().lost)
                replicator.close(5)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
    """
    program = site.program(code)
    assert program.end() == 0, program.errors
    assert "could not be started" in program.errors
    if what == "descriptors":
        assert "lost 2" in program.lines
        assert site.written(0) == [0]


def test_plain_http_needs_no_certificates(site: Site) -> None:
    code = """
        replicator = connect(journal=None)
        fulfilled(write(replicator, "a", 0))
        try:
            Replicator(["https://127.0.0.1:1"])
        except Exception as error:
            say(error)
        replicator.close()
    """
    nowhere = {"SSL_CERT_FILE": "/nonexistent", "SSL_CERT_DIR": "/nonexistent"}
    program = site.program(code, **nowhere)
    assert program.end() == 0, program.errors
    assert "install ca-certificates" in program.output


def test_closing_all_is_harmless_when_repeated(site: Site) -> None:
    from afterquery._core import close_all
    from afterquery._ending import watch

    with site.connect() as replicator:
        assert isinstance(replicator, Replicator)
    watch()
    watch()
    close_all()
    close_all()
