"""What in a database's schema would make a replica differ, and what to do about it.

Statements are judged one by one as they are replicated; a schema acts on every one of them unseen:
its DEFAULTs, triggers and foreign keys. `check` reads it once.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from afterquery.lint import code, tables
from afterquery.lint.finding import Finding, UnusableError
from afterquery.lint.schema import open_schema

__all__ = ["Finding", "UnusableError", "check"]


def check(path: Path) -> list[Finding]:
    """The findings in a database, or in a `.sql` file, in the order of its objects.

    A database is opened read-only; a `.sql` file is run in memory.
    """
    schema = open_schema(path)
    with closing(schema.connection):
        found = list(tables.whole(schema))
        for item in schema.objects:
            of_one = [*tables.object_findings(schema, item), *code.object_findings(item)]
            found += sorted(of_one, key=lambda finding: finding.line)
    return list(dict.fromkeys(found))
