"""What is left of a machine's files after a power failure, and whether what was promised survives.

A run is recorded with `strace`: every write, truncation, fsync, rename, unlink and creation of an
application with a journal or an outbox, and of the peer it writes to. From the record the states
are built that the disk of either machine could have after each of those calls, and the real
recovery works on them: a new process's `Replicator` or `Relay`, and a new peer.

What is assumed of the disk:

- What a file held when an fsync of it began is there once that fsync has returned. The same for the
  names in a directory, and an fsync of a file says nothing of its name.
- Of everything later each sector (512 or 4,096 bytes) may be there or not, by itself: it holds what
  it held at some moment since. The length of a file likewise; what was never written is zeros.
- Each creation, rename and removal that was not synced may have happened or not, by itself. A
  rename happens whole or not at all.
- What `-shm` files hold is anything: SQLite makes them anew.

| file | what it does |
|---|---|
| `workload.py` | what is recorded; notes in a file what it was told |
| `trace.py` | strace, and from its output to events |
| `disk.py` | from events to the states of a disk |
| `states.py` | chooses states by a seed, and writes them to folders |
| `judge.py` | recovers from a state, and says what is wrong |
| `__main__.py` | `make powerloss`: all scenarios, and the table in docs/reliability.md |
"""
