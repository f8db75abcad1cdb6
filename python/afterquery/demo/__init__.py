"""`afterquery demo`: real traffic, three replicas, one of them killed on the way.

- `run` conducts: start everything, send, kill, restart, flush, compare, tell.
- `app`, `database` and `values` are the application that is replicated; it runs in its own process.
- `peers` are the processes, `traffic` the requests, `watch` the numbers while it runs.
- `compare` reads every row of every replica; `screen` and `report` are what a person sees.
"""
