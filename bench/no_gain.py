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
    ratio = results["latency"]["peer_1"]["ratio"]["p50"]
    low = results["endpoint"]["ratios"]["100_per_second"]["cpu_us_per_request"]
    return POINTS.format(
        idle=f"One write in an idle system is there no sooner than by a POST: {ratio:.2f} × its time.",
        replica=(
            "Real replicas are the limit long before the sender is: three peers on this machine take "
            f"{peers['writes_per_second']['ours']:,.0f} writes/s, however fast they are sent."
        ),
        watermark=(
            f"Exactly-once has its price: a peer takes the same statements {peers['watermark_cost']:.1f} × "
            "as fast without the watermark, in batches of which nobody knows whether they ran."
        ),
        processor=(
            "Writes that come alone are sent alone, one request to each replica: at 100 requests/s the "
            f"endpoint's process takes {low:.2f} × the processor time."
        ),
    )
