"""What a user should not expect, with the numbers that say so."""

from __future__ import annotations

from bench.measure import Numbers

POINTS = """- {idle}
- {replica}
- {watermark}
- {processor}
- A few writes a second: any way will do. What is left then is order, exactly-once and outcomes.
- The replica must have the write before the request is answered: then every way waits for it."""


def no_gain(results: dict[str, Numbers]) -> str:
    """The points, where their scenarios have run."""
    if not {"latency", "replica_throughput", "endpoint"} <= results.keys():
        return "Not all of it was measured."
    peers = results["replica_throughput"]["peer_3"]
    mixed = results["replica_throughput"]["peer_1_mixed"]
    ratio = results["latency"]["peer_1"]["ratio"]["p50"]
    low = results["endpoint"]["ratios"]["100_per_second"]["cpu_us_per_request"]
    taken = peers["writes_per_second"]["ours"]
    return POINTS.format(
        idle=f"One write in an idle system takes {ratio:.2f} × the time of a bare POST.",
        replica=f"Replicas are the limit: three peers here take {taken:,.0f} writes/s.",
        watermark=(
            "Exactly-once has its price: without the watermark a peer takes "
            f"{peers['watermark_cost']:.1f} × as many INSERTs of one kind and "
            f"{mixed['watermark_cost']:.1f} × as many of what cannot be joined, and nobody knows "
            "which texts ran."
        ),
        processor=(
            "A write that comes alone is sent alone, with a request to each replica: at 100/s the "
            f"endpoint's process takes {low:.2f} × the processor time."
        ),
    )
