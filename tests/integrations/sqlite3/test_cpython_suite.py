"""CPython's own tests of `sqlite3`, with connections that are followed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.docs import ROOT

TRACE = "a trace callback shows the BEGIN and the COMMIT around a statement of its own"
KNOWN = {
    "test_trace_callback_content": TRACE,
    "test_trace_expanded_sql": TRACE,
    "test_autocommit_enabled": TRACE,
    "test_isolation_level_none": TRACE,
    "test_database_keyword": "the connection is of a subclass of sqlite3.Connection",
    "test_factory_database_arg": "what a function makes cannot be followed: the factory is refused",
    "test_connection_factory_as_positional_arg": "of two warnings, the second names a line of ours",
}
"""What fails, by the name of the test, and why."""


def test_it_is_sqlite3_as_cpython_tests_it(tmp_path: Path) -> None:
    script = ROOT / "tests" / "support" / "cpython_suite.py"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    if found is None:
        pytest.skip("this Python came without CPython's tests of sqlite3: NOT COMPARED with them")
    assert found["ran"] > 250
    failed = {name.split(" ")[0].rpartition(".")[2]: why for name, why in found["failed"].items()}
    assert {name: why for name, why in failed.items() if name not in KNOWN} == {}
