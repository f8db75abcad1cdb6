"""The outbox in the application's own database: no committed write is ever without its row.

`afterquery.sqlite3.connect(..., outbox=True)` writes the rows. Open the file with the `sqlite3` of
this process only: a second SQLite library in it would undo the first one's locks
(https://sqlite.org/howtocorrupt.html#_multiple_copies_of_sqlite_linked_into_the_same_application).
"""

from afterquery.outbox._lease import acquire, release, renew
from afterquery.outbox._table import Entry, delete_through, install, origin, pending
from afterquery.outbox._values import Statement

__all__ = [
    "Entry",
    "Statement",
    "acquire",
    "delete_through",
    "install",
    "origin",
    "pending",
    "release",
    "renew",
]
