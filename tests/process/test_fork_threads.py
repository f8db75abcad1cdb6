"""A forked child does not even let go of its parent's threads, whose memory is no longer theirs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# A thread that has ended, and whose handle waits to be let go of, in a process with many others.
CODE = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from afterquery import Replicator
from afterquery._core import close_all

def work():
    replicator = Replicator(["http://127.0.0.1:9"])
    replicator.after_query("INSERT INTO t VALUES (1)")
    return replicator

for _ in range(3):
    work().close(0)
stop = threading.Event()
for _ in range(20):
    threading.Thread(target=stop.wait, daemon=True).start()
for _ in range(2):
    child = os.fork()
    if child == 0:
        kept = [work() for _ in range(3)]
        for thread in [threading.Thread(target=int) for _ in range(20)]:
            thread.start()
            thread.join()
        for each in kept:
            each.close(0)
        close_all()
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
os._exit(0)
"""


def test_a_child_ends_as_it_should() -> None:
    # The GNU C library gives the memory of dead threads back at once, not only when it is much:
    # https://www.gnu.org/software/libc/manual/html_node/POSIX-Thread-Tunables.html
    environment = {**os.environ, "GLIBC_TUNABLES": "glibc.pthread.stack_cache_size=1"}
    run = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment, capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert run.stdout.split() == ["0"] * 2, run.stderr
