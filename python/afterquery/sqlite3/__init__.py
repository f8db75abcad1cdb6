"""The standard library's `sqlite3`, followed: what commits reaches the replicas.

```python
db = afterquery.sqlite3.connect("app.db", replicator=replicator)
with db:
    db.execute("INSERT INTO users (name) VALUES (?)", ("Ada",))
db.replication.wait()
```
"""

from collections.abc import Mapping

from afterquery._failures import failures
from afterquery.sqlite3._connection import Connection, connect
from afterquery.sqlite3._cursor import Cursor

__all__ = ["Connection", "Cursor", "connect", "errors"]


def errors() -> Mapping[str, int]:
    """How often what went wrong in an integration of ours, in this process.

    Each is logged the first time, by the logger `afterquery`; none reaches a query.
    """
    return failures.counts()
