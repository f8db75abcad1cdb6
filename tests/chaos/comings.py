"""Actions after which a replica lacks something for a reason: it left, went back, or lied.

What comes of it is that it goes on where it was, or that it is said to be diverged; then it is
synced anew as the documentation says.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

from chaos import children, page
from chaos.world import World
from replication.world import until
from support import faults
from support.peer import PeerProcess
from support.process import ReplicaProcess

BEHIND = 10
"""What is pending for a replica before it leaves."""

BEYOND = (
    faults.Beyond(seq=1),
    faults.Beyond(seq=1_000),
    faults.Beyond(seq=1 << 40),
    faults.Beyond(step=1),
    faults.Beyond(step=1 << 26),
    faults.Beyond(seq=1, step=1),
)
"""A replica that says it has more than it was sent."""


def leave_behind(world: World) -> None:
    """A replica that lacks something is put at another place, or taken out for a while."""
    replica = world.chance.choice(world.replicas)
    world.kill_replica(replica)
    until(lambda: world.state(replica)["pending"] >= BEHIND, "something is pending")
    if world.chance.random() < 0.5:
        _be_away(world, replica)
    else:
        world.kill_app()
        world.done["away"] += 1
    replica.port = 0
    replica.start()
    world.start_app()
    _mend(world, replica)


def leave_whole(world: World) -> None:
    """One that has everything misses what comes while it is away: that is told, and mended. Where
    the journal does not know that it had everything, it goes on."""
    replica = world.chance.choice(world.replicas)
    _settle(world)
    if world.chance.random() < 0.7:
        assert world.ask("close"), "it could not be closed"
    _be_away(world, replica)
    world.start_app()
    _mend(world, replica)


def leave_and_be_copied(world: World) -> None:
    """One that had everything, and comes back as a copy of the primary, goes on from there. One
    that never had anything would have to be resumed: nothing on it says that it is a copy."""
    replica = world.chance.choice(world.replicas)
    _write(world)
    _settle(world)
    assert world.ask("close"), "it could not be closed"
    _be_away(world, replica)
    page.copy_alone(world, replica)
    world.start_app()
    until(lambda: world.state(replica)["state"] == "live", "it is live again")


def _settle(world: World) -> None:
    """Every replica has everything, and nobody writes."""
    world.ask("pause")
    assert world.ask("flush"), "not everything could be delivered"


def _be_away(world: World, replica: ReplicaProcess) -> None:
    """For one or several runs of the application, which writes meanwhile."""
    world.kill_app()
    world.away.add(replica.name)
    for _ in range(world.chance.randint(1, 3)):
        world.start_app()
        _write(world)
        world.kill_app()
    world.away.remove(replica.name)
    world.done["away"] += 1


def _write(world: World) -> None:
    """Something is handed over by this run."""
    before = world.commits()
    until(lambda: world.commits() > before + BEHIND, "it writes")
    world.let_run(0.0, 0.5)


def _diverges(world: World, replica: ReplicaProcess) -> None:
    until(lambda: world.state(replica)["state"] == "diverged", "it is diverged")
    assert world.state(replica)["reason"], "no reason is told"


def _mend(world: World, replica: ReplicaProcess) -> None:
    """Sync it anew if it counts as diverged."""
    clear = {"live", "diverged"}
    until(lambda: world.state(replica)["state"] in clear, "it is live or diverged")
    if world.state(replica)["state"] == "diverged":
        _diverges(world, replica)
        page.Operator(world, replica).follow()


def _confirm(world: World, replica: ReplicaProcess) -> None:
    """Until it has confirmed a text that was sent from now on. What it did not confirm, it may
    lose: it would be sent again."""
    last = world.state(replica)["requests"]
    # The one that is under way is over, then.
    until(lambda: world.state(replica)["requests"] > last + 1, "it gets more")
    before = world.state(replica)["fulfilled"]
    until(lambda: world.state(replica)["fulfilled"] > before, "it confirms")


def go_back(world: World) -> None:
    """A replica's file is replaced by an older one, as from a backup; then it is synced anew."""
    replica = world.chance.choice(world.replicas)
    assert isinstance(replica, PeerProcess)
    until(lambda: world.state(replica)["state"] == "live", "it is live")
    old = replica.folder / "old.db"
    with closing(sqlite3.connect(replica.db)) as live, closing(sqlite3.connect(old)) as backup:
        live.backup(backup)
    _confirm(world, replica)
    world.kill_replica(replica)
    for end in ("-wal", "-shm"):
        replica.db.with_name(replica.db.name + end).unlink(missing_ok=True)
    shutil.move(old, replica.db)
    replica.start()
    _diverges(world, replica)
    if world.chance.random() < 0.4:
        # It is so for the next process, too.
        world.kill_app()
        world.start_app()
        _diverges(world, replica)
    page.Operator(world, replica).follow()
    if world.chance.random() < 0.4:
        world.kill_app()
        world.start_app()


def lie_beyond(world: World) -> None:
    """Replicas claim what they were not sent. It is seen through, or they count as diverged."""
    world.meet(BEYOND, shares=(0.1, 0.5, 1.0), longest=1.0)
    for replica in world.replicas:
        _mend(world, replica)


def have_child(world: World) -> None:
    """A child writes and ends without atexit, now and then while a replica is down."""
    world.let_run(0.0, 0.3)
    kind = world.chance.choice(children.KINDS)
    down = world.chance.choice(world.replicas) if world.chance.random() < 0.25 else None
    if down is not None:
        world.kill_replica(down)
    status = world.ask("child", kind, world.children)
    assert status == 0, f"a child ({kind}) ended with {status}"
    world.children += 1
    world.done["children"] += 1
    if down is not None:
        down.start()
