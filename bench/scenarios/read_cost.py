"""`after_query` on a read of a known text, beside a call into Rust that does nothing."""

from __future__ import annotations

from bench.measure import Numbers, interleaved, medians, tight
from bench.replicas import replicator, sinks
from bench.workload import READ


class Empty:
    """The same in Python."""

    def method(self) -> None: ...


def run(quick: bool) -> Numbers:
    """Nanoseconds a call, in a loop whose own time is taken off."""
    with sinks(1) as sink, replicator(sink.urls) as ours:
        names = {
            "read": ours.after_query,
            # Returns its object and does nothing else.
            "empty": ours.__enter__,
            "python": Empty().method,
            "sql": READ,
            "params": (1,),
        }
        statements = {
            "empty_rust_call": "empty()",
            "empty_python_call": "python()",
            "read": "read(sql, params)",
            "read_with_result": "read(sql, params, None)",
        }
        count = 50_000 if quick else 500_000
        cases = {
            name: lambda code=code: tight(code, names, count) for name, code in statements.items()
        }
        found = medians(interleaved(cases, 5 if quick else 11))
    return {"ns": found, "ratio": round(found["read"] / found["empty_rust_call"], 2)}
