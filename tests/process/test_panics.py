"""A panic of ours is a bug; it never reaches the user's statement, nor ends what delivers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.program import Program

BINDING = ROOT / "src" / "python"
PLAIN = re.compile(
    r"&?self(\.\w+(\(\))?)*|slf|true|!self\.\w+(\.\w+)*\.is_empty\(\)|self\.\w+(\.\w+)*\.as_deref\(\)"
)
"""Bodies that only give a field: nothing in them can fail."""

SCHEMA = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"
HEAD = """
import json, logging, os, sqlite3, sys
import afterquery, afterquery.sqlite3
from afterquery import AfterqueryError, Replicator
logging.basicConfig(format="%(levelname)s %(message)s")
url, token, folder = sys.argv[1:]
INSERT = "INSERT INTO users (name) VALUES (?)"

def told(**what):
    print(json.dumps(what), flush=True)

def reasons(handle):
    return [outcome.reason for outcome in handle.wait(20)]
"""


def run(folder: Path, peer: PeerProcess, code: str, places: str) -> tuple[list[Any], str]:
    """What a program told, and what it logged, while these places panic."""
    env = {"AFTERQUERY_TEST_PANIC": places}
    with Program(folder, HEAD + code, peer.url, ADMIN_TOKEN, str(folder), env=env) as program:
        program.succeed()
        return [json.loads(line) for line in program.lines], program.errors


@pytest.fixture
def ready(peer: PeerProcess) -> PeerProcess:
    peer.client().run(SCHEMA)
    return peer


def names(peer: PeerProcess) -> list[str]:
    return [row[0] for row in peer.client().rows("SELECT name FROM users ORDER BY id")]


def functions(source: str) -> list[tuple[str, str]]:
    """The functions that Python calls in a file of the binding, with their bodies."""
    found = []
    blocks = re.finditer(
        r"#\[(?:pymethods|pyfunction)\]\n(?:#\[.*\]\n)*(.*\n)((?:.+\n|\n)*?)\}\n", source
    )
    for block in blocks:
        inner = block[0]
        indent = "    " if "[pymethods]" in inner.split("\n")[0] else ""
        form = rf"^{indent}(?:pub )?fn (\w+)(?:.|\n)*?\{{\n((?:.|\n)*?)^{indent}\}}\n"
        found += re.findall(form, inner, re.MULTILINE)
    return found


def test_every_entry_goes_through_the_border() -> None:
    checked = 0
    for path in BINDING.rglob("*.rs"):
        source = path.read_text(encoding="utf-8")
        entries = functions(source)
        marks = source.count("#[pymethods]") + source.count("#[pyfunction]")
        assert len(entries) >= marks, path
        for name, body in entries:
            checked += 1
            plain = PLAIN.fullmatch(body.strip()) is not None
            guarded = body.strip().startswith(("entry(", "beside("))
            assert plain or guarded, f"{path.name}: {name} must go through border::entry"
    assert checked > 60


def test_the_search_finds_an_entry_that_does_not() -> None:
    source = "#[pymethods]\nimpl A {\n    fn b(&self) -> u8 {\n        c[0]\n    }\n}\n"
    assert functions(source) == [("b", "        c[0]\n")]


def test_a_statement_is_not_disturbed(ready: PeerProcess, tmp_path: Path) -> None:
    code = """
with Replicator([url], auth_token=token) as r:
    told(submit=r.after_query(INSERT, ("submit",)) is None, skipped=r.stats().skipped["internal"])
    told(plan=r.after_query(INSERT, ("plan",)) is None, skipped=r.stats().skipped["internal"])
    sql = "INSERT INTO users(name) VALUES (?)"
    told(render=reasons(r.after_query(sql, ("render",))))
    frozen = r.before_query("INSERT INTO users (name) VALUES (hex(random()))")
    told(freeze=frozen[0] == "INSERT INTO users (name) VALUES (hex(random()))")
    with r.transaction() as tx:
        tx.after_query(sql, ("gather",))
        tx.after_query(sql, ("kept",))
    told(gathered=reasons(tx.replication))
    told(last=reasons(r.after_query(sql, ("last",))), panics=r.stats().panics)
"""
    places = "plan=1,render=1,submit=1,freeze=1,gather=1"
    (submit, plan, render, freeze, gathered, last), log = run(tmp_path, ready, code, places)
    assert submit == {"submit": True, "skipped": 1}
    assert plan == {"plan": True, "skipped": 2}
    (why,) = render["render"]
    assert why.startswith("panic: afterquery ")
    assert "failed in render at src" in why
    assert freeze == {"freeze": True}
    (why,) = gathered["gathered"]
    assert why.startswith("panic: afterquery failed at a statement of the transaction")
    assert last == {"last": [None], "panics": 5}
    assert names(ready) == ["last"]
    assert log.count("a statement is not replicated: afterquery") == 3  # submit, freeze, gather
    assert "WARNING not replicated: reading it failed inside afterquery" in log
    assert "ERROR a write is rejected: afterquery" in log
    assert "panicked at" not in log


def test_a_statement_of_a_followed_connection_is_not_disturbed(
    ready: PeerProcess, tmp_path: Path
) -> None:
    code = """
with Replicator([url], auth_token=token) as r:
    db = afterquery.sqlite3.connect(folder + "/primary.db", replicator=r, isolation_level=None)
    db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    for at in range(12):
        db.execute(f"INSERT INTO users (name) VALUES ('{at}')")
    told(rows=db.execute("SELECT count(*) FROM users").fetchone()[0], flushed=r.flush(20),
         panics=r.stats().panics)
"""
    places = "classify=2,plan=2,gather=1,submit=1,commit=1"
    (told,), log = run(tmp_path, ready, code, places)
    assert told["rows"] == 12
    # What could not be read is on the primary, and the replica will never have it.
    assert told["flushed"] is False
    assert told["panics"] == 7
    assert names(ready) == [str(at) for at in range(5, 12)]
    assert "a statement could not be read, and is not replicated" in log


@pytest.mark.parametrize("journal", [False, True])
def test_a_delivery_that_panics_goes_on_and_applies_nothing_twice(
    ready: PeerProcess, tmp_path: Path, journal: bool
) -> None:
    code = """
settings = {"journal": folder + "/journal"} if JOURNAL else {}
with Replicator([url], auth_token=token, retry_base=0.01, **settings) as r:
    for at in range(20):
        r.after_query(INSERT, (str(at),))
        assert r.flush(20)
    told(panics=r.stats().panics, state=r.stats().replicas[0].state)
"""
    code = code.replace("JOURNAL", str(journal))
    (told,), log = run(tmp_path, ready, code, "delivery=4,journal=1,confirm=3")
    assert told["panics"] == (8 if journal else 7)
    assert told["state"] == "live"
    assert names(ready) == [str(at) for at in range(20)]
    assert log.count("trying again") >= 4


def test_a_delivery_that_always_panics_is_told(ready: PeerProcess, tmp_path: Path) -> None:
    code = """
with Replicator([url], auth_token=token, retry_base=0.01) as r:
    handle = r.after_query(INSERT, ("never",))
    flushed = r.flush(0.3)
    (replica,) = r.stats().replicas
    told(flushed=flushed, settled=handle.settled, state=replica.state, reason=replica.reason)
    told(closed=r.close(0.1), outcome=reasons(handle))
"""
    (told, closed), log = run(tmp_path, ready, code, "delivery")
    assert (told["flushed"], told["settled"], told["state"]) == (False, False, "retrying")
    assert told["reason"].startswith("panic: afterquery ")
    assert closed["closed"] is False
    assert closed["outcome"][0].startswith("closed:")
    assert "ERROR" in log
    assert names(ready) == []


def test_other_calls_raise_an_error_of_ours(ready: PeerProcess, tmp_path: Path) -> None:
    calls = {
        "classify": "afterquery.classify('')",
        "split_statements": "afterquery._core.split_statements('')",
        "explain": "r.explain('')",
        "stats": "r.stats()",
        "dead_letters": "r.dead_letters()",
        "replay": "r.replay()",
        "discard": "r.discard()",
        "resume": "r.resume(url)",
        "sync": "r.sync()",
        "flush": "r.flush(1)",
        "origin": "r.origin",
        "replicas": "r.replicas",
        "transaction": "r.transaction()",
        "__repr__": "repr(r)",
        "close": "r.close(1)",
    }
    code = f"""
calls = {calls!r}
try:
    Replicator([url], auth_token=token)
except AfterqueryError:
    r = Replicator([url], auth_token=token)
for place, call in calls.items():
    try:
        eval(call)
    except BaseException as error:
        told(place=place, error=type(error).__name__, text=str(error))
    else:
        told(place=place, error=None)
"""
    places = ",".join(f"{place}=1" for place in [*calls, "new"])
    told, log = run(tmp_path, ready, code, places)
    assert [one["place"] for one in told] == list(calls)
    assert {one["error"] for one in told} == {"AfterqueryError"}, told
    assert "panicked at" not in log


def test_a_child_whose_start_panics_tries_again(ready: PeerProcess, tmp_path: Path) -> None:
    """No thread of it waits for the one that failed."""
    code = """
import time
r = Replicator([url], auth_token=token)
child = os.fork()
if child == 0:
    told(first=r.after_query(INSERT, ("lost",)) is None)
    while not r.after_query(INSERT, ("next",)):
        time.sleep(0.05)
    stats = r.stats()
    told(lost=stats.lost >= 1, panics=stats.panics, closed=r.close(20))
    os._exit(0)
os.waitpid(child, 0)
"""
    (first, told), log = run(tmp_path, ready, code, "start=1")
    assert first == {"first": True}
    assert told == {"lost": True, "panics": 1, "closed": True}
    assert "failed in start at src" in log
    assert names(ready) == ["next"]


def test_the_exit_is_not_disturbed(ready: PeerProcess, tmp_path: Path) -> None:
    code = """
r = Replicator([url], auth_token=token)
handle = r.after_query(INSERT, ("first",))
told(done=reasons(handle))
"""
    (told,), log = run(tmp_path, ready, code, "exit=1,finish=1,log=1")
    assert told == {"done": [None]}
    assert "Traceback" not in log
    assert "panicked at" not in log
