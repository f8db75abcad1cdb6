"""One peer dies under traffic, stays dead for a while, and comes back as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from afterquery.demo.peers import Peer

KILL_AT, RESTART_AT = 0.35, 0.65
DEAD_FOR = 1.0


async def accident(victim: Peer, part: Callable[[], float], say: Callable[[str], None]) -> None:
    """`part` is how much of the traffic is over, from 0 to 1."""
    await until(lambda: part() >= KILL_AT)
    victim.kill()
    killed = monotonic()
    say(f"{victim.name} killed (SIGKILL) at {part():.0%} of the traffic")
    await until(lambda: part() >= RESTART_AT and monotonic() > killed + DEAD_FOR)
    dead = monotonic() - killed
    await victim.start()
    say(f"{victim.name} restarted after {dead:.1f} s on the same file and port, at {part():.0%}")


async def until(reached: Callable[[], bool]) -> None:
    while not reached():
        await asyncio.sleep(0.02)
