"""Runs CPython's tests of `sqlite3` with `afterquery.sqlite3.connect` in place of its `connect`.

Prints JSON: how many tests ran, and the last line of each failure by the test's name.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import pkgutil
import sqlite3
import sys
import tempfile
import types
import unittest
from functools import partial
from pathlib import Path

import afterquery.sqlite3
from afterquery import Replicator


def package() -> str | None:
    """Where this Python has the tests; None where it was installed without them."""
    for name in ("test.test_sqlite3", "sqlite3.test"):
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            continue
        if found is not None:
            return name
    return None


def followed(replicator: Replicator) -> types.ModuleType:
    """`sqlite3`, with connections that are followed."""
    module = types.ModuleType("sqlite3")
    vars(module).update(vars(sqlite3))

    # A partial has no frame of its own, which a warning would name.
    vars(module)["connect"] = partial(afterquery.sqlite3.connect, replicator=replicator)
    return module


def suite(name: str, module: types.ModuleType) -> unittest.TestSuite:
    tests = unittest.TestSuite()
    parent = importlib.import_module(name)
    loader = unittest.TestLoader()
    for found in pkgutil.iter_modules(parent.__path__):
        if found.name == "__main__":
            continue
        one = importlib.import_module(f"{name}.{found.name}")
        for own, value in list(vars(one).items()):
            if value is sqlite3:
                setattr(one, own, module)
        tests.addTests(loader.loadTestsFromModule(one))
    return tests


def main() -> None:
    name = package()
    if name is None:
        print(json.dumps(None))
        return
    # A thread of its own writes the log; some of the tests look at what is on stderr.
    logging.getLogger("afterquery").addHandler(logging.NullHandler())
    replicator = Replicator(["http://127.0.0.1:9"], auth_token="-", ddl=True)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        runner = unittest.TextTestRunner(stream=log)
        result = runner.run(suite(name, followed(replicator)))
    replicator.close(0)
    failed = {
        test.id(): text.strip().splitlines()[-1] for test, text in result.errors + result.failures
    }
    print(json.dumps({"ran": result.testsRun, "failed": failed}), file=sys.stdout)


if __name__ == "__main__":
    main()
