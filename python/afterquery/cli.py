"""The `afterquery` command: a peer, the demo, what would happen to a statement or with a schema."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import afterquery
from afterquery import (
    ConfigurationError,
    Explanation,
    StatementExplanation,
    __version__,
)
from afterquery._core import escaped

TOKEN = "AFTERQUERY_TOKEN"
READ_TOKEN = "AFTERQUERY_READ_TOKEN"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit status."""
    arguments = parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except ConfigurationError as error:
        return refuse(str(error))


def refuse(message: str) -> int:
    print(f"afterquery: {message}", file=sys.stderr)
    return 2


def missing(extra: str, *modules: str) -> str | None:
    """What to tell a user who lacks the packages of an extra."""
    absent = [module for module in modules if find_spec(module) is None]
    if not absent:
        return None
    return f"this needs {', '.join(absent)}: pip install 'afterquery[{extra}]'"


def peer(arguments: argparse.Namespace) -> int:
    from afterquery.peer.auth import Tokens
    from afterquery.peer.limits import Limits

    tokens = Tokens.from_environment(os.environ, TOKEN, READ_TOKEN)
    limits = Limits.of(arguments.limit)
    if lack := missing("peer", "uvicorn"):
        return refuse(lack)
    from afterquery.peer.serve import serve

    serve(arguments.db, arguments.host, arguments.port, tokens, limits=limits)
    return 0


def relay(arguments: argparse.Namespace) -> int:
    if not arguments.db.exists():
        return refuse(f"{arguments.db} does not exist; give the application's database")
    if not arguments.reset:
        if not arguments.replica:
            return refuse("a relay needs a replica: --replica URL")
        if not os.environ.get(TOKEN):
            return refuse(f"set {TOKEN} to the token of the replicas")
    from afterquery.outbox._command import run

    return run(arguments, os.environ.get(TOKEN, ""))


def demo(arguments: argparse.Namespace) -> int:
    if arguments.replicas + len(arguments.replica_url) == 0:
        return refuse("the demo needs a replica: --replicas 1 or more, or --replica-url")
    if arguments.replica_url and not os.environ.get(TOKEN):
        return refuse(f"set {TOKEN} to the token of {arguments.replica_url[0]}")
    if lack := missing("demo", "fastapi", "httpx", "rich", "uvicorn"):
        return refuse(lack)
    from afterquery.demo.run import Options, run

    return run(
        Options(
            requests=arguments.requests,
            seconds=arguments.seconds,
            replicas=arguments.replicas,
            urls=tuple(arguments.replica_url),
            token=os.environ.get(TOKEN, ""),
            port=arguments.port,
            seed=arguments.seed,
        )
    )


def explain(arguments: argparse.Namespace) -> int:
    found = afterquery.explain(arguments.sql, tables=arguments.table, ddl=arguments.ddl)
    print(escaped("\n".join(explanation_lines(found))))
    return 0


def explanation_lines(explanation: Explanation) -> list[str]:
    lines = [f"replicated: {'yes' if explanation.replicated else 'no'}"]
    for statement in explanation.statements:
        lines += ["", statement.sql, *map("  {}".format, statement_lines(statement))]
    return lines


def statement_lines(statement: StatementExplanation) -> list[str]:
    table = ".".join(filter(None, (statement.schema, statement.table))) or "-"
    return [
        f"kind:   {statement.kind}",
        f"verb:   {statement.verb or '-'}",
        f"table:  {table}",
        f"reason: {statement.reason}",
        *(f"differs: it {reason}" for reason in statement.reasons),
    ]


def lint(arguments: argparse.Namespace) -> int:
    from afterquery.lint import UnusableError, check
    from afterquery.lint.report import FORMATS

    try:
        findings = check(arguments.schema)
    except UnusableError as error:
        return refuse(str(error))
    print(FORMATS[arguments.format](arguments.schema, findings))
    return 1 if findings else 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="afterquery", description="Replicate an application's SQL writes to peer databases."
    )
    top.add_argument("--version", action="version", version=f"afterquery {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("peer", help="serve a SQLite file as a replica")
    command.description = (
        f"Serve a SQLite file as a replica. Writers must send ${TOKEN}; who sends ${READ_TOKEN},"
        " if it is set, may read."
    )
    add_peer_arguments(command)
    command.set_defaults(run=peer)

    command = commands.add_parser("relay", help="deliver the outbox of a SQLite file")
    command.description = (
        "Deliver what applications write into the outbox of a SQLite file, in the order of their"
        f" commits; the replicas get ${TOKEN}. Ends on SIGTERM, when it has handed over what is"
        " there. Exit status: 0 ended as asked, 1 --once and not all delivered or --reset while a"
        " relay works, 2 it cannot run."
    )
    add_relay_arguments(command)
    command.set_defaults(run=relay)

    command = commands.add_parser("demo", help="a FastAPI app and its replicas, one of them killed")
    command.description = (
        "Run a FastAPI app and its replicas, kill and restart one of them under traffic, and"
        " compare every row. Exit status: 0 all equal, 1 not, 2 the demo could not run."
    )
    add_demo_arguments(command)
    command.set_defaults(run=demo)

    command = commands.add_parser("explain", help="what would happen to a statement, and why")
    command.description = "What would happen to a statement, and why. Sends nothing."
    add_explain_arguments(command)
    command.set_defaults(run=explain)

    command = commands.add_parser("lint", help="what in a schema would differ on replicas")
    command.description = (
        "List what in a schema would make a replica differ, with the remedy. Exit status: 0 nothing"
        " found, 1 something found, 2 the schema cannot be read."
    )
    add_lint_arguments(command)
    command.set_defaults(run=lint)
    return top


def add_peer_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--db", type=Path, required=True, metavar="FILE", help="SQLite file; made if missing")
    add("--host", default="127.0.0.1", help="address (default: %(default)s)")
    add("--port", type=port, default=9001, help="port (default: %(default)s)")
    add(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another limit than the default, as afterquery.peer.Limits has them; repeat it",
    )


def add_relay_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--db", type=Path, required=True, metavar="FILE", help="the application's database")
    add("--replica", action="append", default=[], metavar="URL", help="where to; repeat it")
    add(
        "--journal",
        type=Path,
        metavar="DIR",
        help="for writes on their way (default: FILE-replication)",
    )
    add("--table", action="append", metavar="NAME", help="allow-list, as Replicator(tables=...)")
    add("--ddl", action="store_true", help="as Replicator(ddl=True)")
    add(
        "--on-reject",
        choices=["dead_letter", "halt"],
        default="dead_letter",
        help="what a replica does after a write that it rejects (default: %(default)s)",
    )
    add("--once", action="store_true", help="end when all that is there is delivered")
    add(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="how many seconds --once, or the end, waits for replicas (default: %(default)s)",
    )
    add(
        "--reset",
        action="store_true",
        help="begin anew, after the database was copied to every replica, and end",
    )


def add_demo_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--requests", type=count, default=2000, metavar="N", help="HTTP requests (default: 2000)")
    add("--seconds", type=float, default=0, metavar="N", help="go on for at least this long")
    add("--replicas", type=count, default=3, metavar="N", help="peers to start (default: 3)")
    add(
        "--replica-url",
        action="append",
        default=[],
        metavar="URL",
        help=f"also replicate to this StarbaseDB, with ${TOKEN}; replaces its tables demo_*",
    )
    add("--port", type=port, default=0, help="port of the app (default: any free one)")
    add("--seed", type=int, default=1, metavar="N", help="of the traffic (default: 1)")


def add_explain_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("sql", metavar="SQL")
    add("--table", action="append", metavar="NAME", help="allow-list, as Replicator(tables=...)")
    add("--ddl", action="store_true", help="as Replicator(ddl=True)")


def add_lint_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add(
        "--schema",
        type=Path,
        required=True,
        metavar="FILE",
        help="a SQLite database, opened read-only, or a .sql file",
    )
    add("--format", choices=["text", "json"], default="text", help="default: %(default)s")


def port(text: str) -> int:
    return bounded(text, 0, 65535)


def count(text: str) -> int:
    return bounded(text, 0, 10_000_000)


def bounded(text: str, low: int, high: int) -> int:
    value = int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
    return value
