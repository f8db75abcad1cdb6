"""No token, no value of the user's and no control character is shown, whatever goes wrong."""

from __future__ import annotations

import copy
import logging
import os
import pickle
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from afterquery import Replica, Replicator, cli
from afterquery._core import escaped, quoted, without_values
from replication.world import connect, of, until
from support.hostile import NEW, Hostile, Reply, Request, Script, http
from support.peer import PeerProcess

TOKEN = "s3cret-t0ken"
VALUE = "hunter2-value"
BAD = "\x1b[31m\x07\u202e\u2028\r\nCRITICAL forged"

WRITES: list[tuple[str, Any]] = [
    ("INSERT INTO t VALUES (?)", (VALUE,)),
    (f"INSERT INTO t VALUES ('{VALUE}')", None),
    (f"UPDATE t SET a = '{VALUE}', b = datetime('now') WHERE c = x'{VALUE.encode().hex()}'", None),
    (f'UPDATE t SET a = "{VALUE}", b = random()', None),
    (f"INSERT INTO temp.t VALUES ('{VALUE}')", None),
    (f"INSERT INTO aux.t VALUES ('{VALUE}') -- {VALUE}", None),
    (f"INSERT OVER t VALUES ('{VALUE}{BAD}')", None),
    (f"NONSENSE '{VALUE}{BAD}' /* {VALUE} */", None),
    (f"UPDATE t SET a = '{VALUE}", None),
    (f"UPDATE t SET a = random() '{VALUE}' '{VALUE}{BAD}'", None),
    ("UPDATE t SET a = ?, b = ?", (VALUE,)),
    ("UPDATE t SET a = :a", {"b": VALUE}),
    ("UPDATE t SET a = ?", (object(),)),
    ("INSERT INTO missing VALUES (?)", (VALUE * 3_000,)),
]


def echo(status: int, end: str) -> Script:
    """Repeats what it was sent, and the token, in what it says."""

    def script(request: Request) -> Reply:
        if request.kind == "greeting":
            return (200, {"result": [NEW]})
        if request.kind == "question":
            return (200, {"result": [NEW]})
        start = max(0, request.sql.find(VALUE) - 20)
        said = f"near {BAD} {request.sql[start : start + 250]} {request.sql[-150:]}{end}"
        return (status, {"error": said})

    return script


def broken(request: Request) -> Reply:
    return http(200, request.sql.encode()[::-1] + BAD.encode() + b"\xff\xfe" * 500)


FAILURES: dict[str, Script | str] = {
    "no such host": "http://nowhere.invalid",
    "nobody": "http://127.0.0.1:9",
    "rejects": echo(500, ": SQLITE_ERROR"),
    "refuses": echo(500, ": SQLITE_CONSTRAINT"),
    "fails": echo(500, ""),
    "no entry": echo(401, ""),
    "bad request": echo(400, ""),
    "too large": echo(413, ""),
    "down": echo(503, ""),
    "not a replica": echo(200, ""),
    "broken": broken,
    "hangs up": lambda _: None,
}


def shown(replicator: Replicator, writes: list[Any]) -> Iterator[str]:
    """Everything of it that may end in a log or on a screen."""
    stats = replicator.stats()
    things: list[object] = [replicator, stats, stats.skipped, stats.replicas, stats.journal_problem]
    things += [replica.reason for replica in stats.replicas]
    things += [replica.url for replica in stats.replicas]
    letters = replicator.dead_letters()
    things += [letters, [letter.reason for letter in letters]]
    for write in filter(None, writes):
        things += [write, write.outcomes, [outcome.reason for outcome in write.outcomes]]
        try:
            write.wait(0)
        except TimeoutError as error:
            things += [error, *traceback.format_exception(error, limit=0)]
    for thing in things:
        yield repr(thing)
        yield str(thing)


def assert_clean(text: str, *, lines: bool = False) -> None:
    assert TOKEN not in text, text
    assert VALUE not in text, text
    assert VALUE[:9] not in text, text
    assert VALUE.encode().hex() not in text, text
    assert lines or text.replace("\n", "").isprintable(), text
    assert all(c.isprintable() or c == "\n" for c in text), text


@pytest.mark.parametrize("policy", ["warn", "reject", "rows"])
def test_a_sweep_of_failures_shows_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, policy: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    with ExitStack() as stack:
        replicas = []
        for name, failure in FAILURES.items():
            server = None if isinstance(failure, str) else Hostile(failure)
            url = stack.enter_context(server).url if server else str(failure)
            replicas.append(Replica(url, name=name, auth_token=TOKEN, proxy=None))
        settings = {"journal": tmp_path / "j"} if policy == "warn" else {}
        replicator = connect(
            *replicas, nondeterministic=policy, request_timeout=0.5, retry_base=0.002, **settings
        )
        writes = []
        for _ in range(2):
            for sql, params in WRITES:
                replicator.before_query(sql, params)
                writes.append(replicator.after_query(sql, params))
        writes.append(replicator.after_query(WRITES[0][0], [(VALUE,), (1, 2)], many=True))
        until(lambda: of(replicator, "rejects").rejected > 3, "one rejects")
        until(lambda: of(replicator, "too large").rejected > 3, "another one, too")
        until(lambda: all(r.reason or r.rejected for r in replicator.stats().replicas), "all fail")
        for text in shown(replicator, writes):
            assert_clean(text)
        replicator.close(0)
        for write in filter(None, writes):
            assert_clean(repr(write.outcomes))
    assert any("rejects" in record.getMessage() for record in caplog.records)
    for record in caplog.records:
        assert_clean(record.getMessage())
        assert record.name != "afterquery" or record.getMessage().isprintable()


def test_values_are_shown_where_the_user_wants_to_see_them(
    peer: PeerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(peer, log_values=True) as replicator:
        replicator.after_query(f"INSERT INTO temp.t VALUES ('{VALUE}\x1b')")
        write = replicator.after_query(f"UPDATE missing SET a = 1 '{VALUE}'")
        assert write is not None
        (outcome,) = write.wait(20)
        assert VALUE in (outcome.reason or "")
        until(lambda: "temporary" in caplog.text, "it is logged")
    assert VALUE in caplog.text
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize(
    "setting",
    [
        {"auth_token": f"{TOKEN}\n"},
        {"auth_token": f"{TOKEN}\udc80"},
        {"auth_token": TOKEN.encode()},
        {"auth_token": [TOKEN]},
        {"auth_token": TOKEN, "tables": 5},
        {"auth_token": TOKEN, "proxy": f"socks5://u:{TOKEN}@proxy"},
        {"auth_token": TOKEN, "proxy": f"http://u:{TOKEN}@[::1"},
        {"auth_token": TOKEN, "proxy": f"proxy?{TOKEN}"},
        {"auth_token": TOKEN, "retry_base": -1},
    ],
)
def test_what_is_wrong_is_said_without_the_token(setting: dict[str, Any]) -> None:
    for make in (Replicator, lambda urls, **given: Replica(*urls, **given)):
        with pytest.raises((TypeError, ValueError)) as caught:
            make(["http://127.0.0.1:9"], **setting)
        assert TOKEN not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{TOKEN}@h/",
        f"http://{TOKEN}@h",
        f"http://h/?token={TOKEN}",
        f"http://h/#{TOKEN}",
        f"http://u:{TOKEN}@[::1",
        f"ftp://h/?{TOKEN}",
    ],
)
def test_what_is_secret_in_a_url_is_not_repeated(url: str) -> None:
    for make in (lambda: Replica(url), lambda: Replicator([url])):
        with pytest.raises(ValueError, match="cannot be used") as caught:
            make()
        assert TOKEN not in repr(caught.value)


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "a\u202eb", "n" * 501])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="control characters") as caught:
        Replicator([Replica("http://127.0.0.1:9", name=name)])
    assert str(caught.value).isprintable()


def test_a_url_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="control character") as caught:
        Replica("http://127.0.0.1:9/\n")
    assert str(caught.value).isprintable()


def test_no_object_gives_the_token_away() -> None:
    replica = Replica("http://127.0.0.1:9", auth_token=TOKEN, proxy=f"http://u:{TOKEN}@h")
    with connect(replica, auth_token=TOKEN) as replicator:
        for thing in (replica, replicator, replicator.stats()):
            texts = [repr(thing), str(thing), repr(dir(thing))]
            texts += [
                repr(getattr(thing, n)) for n in dir(thing) if not callable(getattr(thing, n))
            ]
            for give in (pickle.dumps, copy.copy, copy.deepcopy, vars):
                try:
                    texts.append(repr(give(thing)))
                except TypeError as error:
                    texts.append(repr(error))
            assert not any(TOKEN in text for text in texts)
        replicator.close(0)


PROXIES = ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "https_proxy"]
ASK = """
import os, sys
from afterquery import Replicator, Replica
replica = Replica(os.environ["URL"], proxy=os.environ.get("OWN"))
r = Replicator([replica], auth_token="s3cret-t0ken", proxy=os.environ.get("ALL"))
r.after_query("DELETE FROM t")
r.flush(0.3)
r.close(0)
"""


@pytest.mark.parametrize(
    ("own", "everywhere", "asked"),
    [(None, None, False), (None, "env", True), ("env", None, True), ("{}", "env", True)],
)
def test_a_proxy_sees_the_token_only_where_it_is_asked_for(
    own: str | None, everywhere: str | None, asked: bool
) -> None:
    with Hostile(lambda _: http(503, b"")) as proxy, Hostile(lambda _: http(503, b"")) as server:
        environment = os.environ | dict.fromkeys(PROXIES, proxy.url) | {"URL": server.url}
        environment.pop("REQUEST_METHOD", None)
        if own:
            environment["OWN"] = own.format(proxy.url)
        if everywhere:
            environment["ALL"] = everywhere.format(proxy.url)
        subprocess.run([sys.executable, "-c", ASK], env=environment, check=True, timeout=60)
        seen, direct = (b"".join(s.heads).lower() for s in (proxy, server))
        assert (TOKEN.encode() in seen, bool(proxy.requests)) == (asked, asked)
        assert (TOKEN.encode() in direct) == (not asked)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o277])
def test_journals_are_their_owners_alone(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "a" / "j"
    before = os.umask(umask & 0o077)
    try:
        folder.parent.mkdir()
        os.umask(umask)
        replicator = connect("http://127.0.0.1:9", journal=folder, durability="process")
        replicator.after_query("INSERT INTO t VALUES (?)", (VALUE,))
        assert _modes(folder) == {0o700, 0o600}
        assert {path.suffix for path in folder.iterdir()} >= {".journal", ".journal-wal", ".lock"}
        replicator.close(0)
    finally:
        os.umask(before)
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    again = connect("http://127.0.0.1:9", journal=folder)
    again.after_query("DELETE FROM t")
    assert again.sync()
    assert _modes(folder) == {0o700, 0o600}
    again.close(0)


def _modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}


def test_the_command_line_shows_no_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["explain", f"UPDATE t SET a = random(), b = '{BAD}'"])
    schema = tmp_path / "s.sql"
    schema.write_text('CREATE TABLE "t\x1b[31m" (a DEFAULT (random()));')
    assert cli.main(["lint", "--schema", str(schema)]) == 1
    out = capsys.readouterr().out
    assert "\\u{1b}[31m" in out
    assert all(c.isprintable() or c == "\n" for c in out), out


@pytest.mark.parametrize(
    ("show", "text", "expected"),
    [
        (quoted, "a \n\tb\x00", "a b\\u{0}"),
        (escaped, "a \n\x1bb", "a \n\\u{1b}b"),
        (without_values, "UPDATE t SET a='x', b=1.5 -- c", "UPDATE t SET a=?, b=?"),
    ],
)
def test_what_python_shows_has_the_same_form(
    show: Callable[[str], str], text: str, expected: str
) -> None:
    assert show(text) == expected
