"""Waiting until the replicas have a write, in the process that made it."""

from __future__ import annotations

import time
from asyncio import sleep
from collections.abc import Iterable

from afterquery._core import Replicator
from afterquery._errors import UnknownReplicaError
from afterquery.fastapi import asgi
from afterquery.fastapi.current import request_scope
from afterquery.position import Position

POSITION_HEADER = "afterquery-position"
_PAUSE, _LONGEST_PAUSE = 0.001, 0.025
_WITHOUT = frozenset({"detached", "diverged"})


async def wait_for_replicas(
    position: str | Position,
    *,
    replicator: Replicator | None = None,
    replicas: Iterable[str] | None = None,
    timeout: float = 5.0,
) -> bool:
    """Wait at most `timeout` seconds until a write of this process is settled on replicas.

    - `position`: the write, or several as the header lists them.
    - `replicator`: by default that of the current request.
    - `replicas`: names; by default all.

    Returns whether they have all settled it: a replica that rejected the write counts, it will not
    come there. One that is detached or has diverged has not settled it, and a halted one only what
    came before. False at once for a position that this process did not give out: another worker's,
    or not a position at all. Raises `UnknownReplicaError` for a name that no replica has.
    """
    replicator = replicator or request_scope().replicator
    names = _known(replicator, replicas)
    last = _last(replicator, str(position))
    if last is None:
        return False
    deadline = time.monotonic() + timeout
    pause = _PAUSE
    while not _settled(replicator, names, last):
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        await sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True


class WaitForReplicas:
    """The same as a dependency: waits for the position in a header of the request.

        settled: Annotated[bool, Depends(WaitForReplicas(timeout=2))]

    A request without the header has nothing to wait for, and gets True.
    """

    def __init__(
        self,
        *,
        timeout: float = 5.0,
        replicas: Iterable[str] | None = None,
        header: str = POSITION_HEADER,
    ) -> None:
        self._timeout = timeout
        self._replicas = None if replicas is None else tuple(replicas)
        self._header = header

    async def __call__(self) -> bool:
        position = asgi.header(request_scope().request, self._header)
        if position is None:
            return True
        return await wait_for_replicas(position, replicas=self._replicas, timeout=self._timeout)


def _known(replicator: Replicator, names: Iterable[str] | None) -> frozenset[str]:
    known = frozenset(replicator.replicas)
    wanted = known if names is None else frozenset(names)
    if unknown := wanted - known:
        raise UnknownReplicaError(f"no replica is named {min(unknown)!r}")
    return wanted


def _last(replicator: Replicator, text: str) -> int | None:
    """The number of the last of the writes; None where one is not of this process."""
    try:
        positions = Position.parse_all(text)
    except ValueError:
        return None
    last = max(position.seq for position in positions)
    foreign = any(position.origin != replicator.origin for position in positions)
    return None if foreign or last > replicator.stats().writes else last


def _settled(replicator: Replicator, names: frozenset[str], seq: int) -> bool:
    # `acknowledged` stays behind where the last writes are not for this replica. What is pending
    # for one that is detached was given up, and nobody knows what one holds that has diverged.
    return all(
        replica.state not in _WITHOUT and (replica.acknowledged >= seq or not replica.pending)
        for replica in replicator.stats().replicas
        if replica.name in names
    )
