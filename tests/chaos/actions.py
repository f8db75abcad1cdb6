"""What is done to a world while its application writes, each at a moment that the seed chooses."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

from chaos import comings
from chaos.world import Need, World
from replication.world import until
from support import faults

Action = Callable[[World], None]

RECOVERY_SECONDS = 10.0
"""A disk that failed is tried again each second."""

CUTS = (
    faults.CutBeforeRequest(),
    faults.CutAfterRequest(),
    faults.CutInAnswer(),
    faults.Hang(),
    faults.Hang(forward=True),
    faults.error("overloaded", 503),
    faults.error("internal", 500),
    faults.HTML,
)

MANY = 200_000
"""Characters of an error that is too long to be kept."""


def _hostile(forward: bool) -> list[faults.Fault]:
    return [
        faults.Answer(500, '{"error":"' + "x\\n" * MANY + '"}', forward=forward),
        faults.Answer(302, "", location="http://127.0.0.1:9/", forward=forward),
        faults.Answer(307, "", location="/query", forward=forward),
        faults.Answer(200, '{"result":[{"seq":"much","step":-1,"chain":null}]}', forward=forward),
        faults.Answer(200, '{"result":' + "[" * MANY, forward=forward),
        faults.Answer(200, "", retry_after="-1", forward=forward),
        faults.Answer(429, '{"error":"later"}', retry_after="0.01", forward=forward),
    ]


HOSTILE = (*_hostile(False), *_hostile(True), faults.Drip(), faults.CutInAnswer())
"""What somebody between the application and a replica may say in its place, with it or without."""


def kill_app(world: World) -> None:
    """SIGKILL; now and then before it has started."""
    world.let_run(0.05, 0.9)
    world.kill_app()
    if world.chance.random() < 0.2:
        world.start_app(wait=False)
        world.let_run(0.0, 0.5)
        world.kill_app()
    world.start_app()


def kill_replica(world: World) -> None:
    world.let_run(0.05, 0.6)
    replica = world.chance.choice(world.replicas)
    world.kill_replica(replica)
    world.let_run(0.0, 0.6)
    replica.start()


def kill_both(world: World) -> None:
    """The application and a replica, or all, in the same instant."""
    world.let_run(0.05, 0.8)
    hit = world.chance.choice([[world.chance.choice(world.replicas)], world.replicas])
    assert world.app is not None
    world.app.send(signal.SIGKILL)
    for replica in hit:
        replica.send(signal.SIGKILL)
    world.kill_app()
    for replica in hit:
        world.kill_replica(replica)
    if world.chance.random() < 0.5:
        world.start_app()
        world.let_run(0.0, 0.5)
    for replica in hit:
        replica.start()
    if world.app is None:
        world.start_app()


def kill_app_while_a_replica_is_down(world: World) -> None:
    """Several origins gather in the journal before the replica comes back."""
    replica = world.chance.choice(world.replicas)
    world.kill_replica(replica)
    for _ in range(world.chance.randint(1, 3)):
        world.let_run(0.05, 0.4)
        world.kill_app()
        if world.environment:
            move_clock(world)
        world.start_app()
    replica.start()


def stop_app(world: World) -> None:
    world.let_run(0.05, 0.4)
    assert world.app is not None
    world.app.send(signal.SIGSTOP)
    world.done["stops"] += 1
    world.let_run(0.1, 1.5)
    world.app.send(signal.SIGCONT)


def stop_replica(world: World) -> None:
    """Often for longer than a request may take: what it had got runs late."""
    world.let_run(0.05, 0.4)
    replica = world.chance.choice(world.replicas)
    replica.send(signal.SIGSTOP)
    world.done["stops"] += 1
    world.let_run(0.2, 1.8)
    replica.send(signal.SIGCONT)


def kill_app_while_a_replica_is_stopped(world: World) -> None:
    """What the dead process sent runs after the next one has taken over its journal."""
    world.let_run(0.05, 0.4)
    replica = world.chance.choice(world.replicas)
    replica.send(signal.SIGSTOP)
    world.done["stops"] += 1
    world.let_run(0.05, 0.3)
    world.kill_app()
    world.start_app()
    world.let_run(0.0, 1.2)
    replica.send(signal.SIGCONT)


def cut(world: World) -> None:
    """Requests fail at each of their stages for a while."""
    world.meet(CUTS)


def lie(world: World) -> None:
    """Somebody answers in the replicas' place for a while."""
    world.meet(HOSTILE)


def interrupt_app(world: World) -> None:
    """A signal's handler raises, wherever the application is, and the application goes on."""
    assert world.app is not None
    for _ in range(world.chance.randint(5, 40)):
        world.let_run(0.0, 0.05)
        world.app.send(signal.SIGUSR1)
        world.done["signals"] += 1


def fill(world: World) -> None:
    """The journal's disk is full for a while."""
    world.let_run(0.1, 0.4)
    world.fill_disk()
    world.let_run(0.2, 1.0)
    world.empty_disk()
    # A kill before that loses what stats().unsaved tells.
    until(world.is_saved, "the journal is written again", RECOVERY_SECONDS)


def move_clock(world: World) -> None:
    """By up to a year, either way, while everything runs."""
    world.let_run(0.05, 0.3)
    days = world.chance.choice([-365, -30, -1, 0, 1, 30, 365]) + world.chance.uniform(-1, 1)
    world.move_clock(days * 86_400)


NEEDS: Mapping[Action, Need] = {
    cut: "proxies",
    lie: "proxies",
    comings.lie_beyond: "proxies",
    fill: "disk",
    move_clock: "clock",
}
"""What a world must have for an action."""
