"""The standard library's `sqlite3`, followed: what commits reaches the replicas.

```python
db = afterquery.sqlite3.connect("app.db", replicator=replicator)
with db:
    db.execute("INSERT INTO users (name) VALUES (?)", ("Ada",))
db.replication.wait()
```
"""

from afterquery.sqlite3._connection import Connection, connect
from afterquery.sqlite3._cursor import Cursor

__all__ = ["Connection", "Cursor", "connect"]
