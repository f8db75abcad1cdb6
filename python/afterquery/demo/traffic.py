"""The requests: a seeded mix, sent by several clients at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from afterquery.demo.values import SAMPLES

CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, and the answers besides a 2xx that are part of the plan."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    planned: tuple[int, ...] = ()


@dataclass(slots=True)
class Progress:
    """How far the traffic is."""

    sent: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    unplanned: list[str] = field(default_factory=list)


def calls(seed: int) -> Iterator[Call]:
    """An endless mix; the same for the same seed."""
    random = Random(seed)
    kinds = list(MIX)
    while True:
        yield random.choices(kinds, list(MIX.values()))[0](random)


async def send(
    calls: Iterator[Call], base: str, progress: Progress, go_on: Callable[[], bool]
) -> None:
    """Every client takes the next call when its last one is answered."""
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=base, limits=limits, timeout=30) as client:

        async def one_client() -> None:
            while go_on():
                progress.sent += 1
                await ask(client, next(calls), progress)

        await asyncio.gather(*(one_client() for _ in range(CLIENTS)))


async def ask(client: httpx.AsyncClient, call: Call, progress: Progress) -> None:
    answer = await client.request(call.method, call.path, json=call.body)
    progress.answers[answer.status_code] += 1
    if not answer.is_success and answer.status_code not in call.planned:
        progress.unplanned.append(
            f"{call.method} {call.path}: {answer.status_code} {answer.text[:200]}"
        )


def person(random: Random) -> dict[str, str]:
    number = random.randrange(1500)
    return {"email": f"user{number}@example.com", "name": f"O'Brien {number} ☃"}


def add_user(random: Random) -> Call:
    return Call("POST", "/users", person(random), planned=(409,))


def add_or_rename_user(random: Random) -> Call:
    return Call("PUT", "/users", person(random))


def visit(random: Random) -> Call:
    seen = f"2026-01-{random.randint(1, 31):02}T12:00:00Z"
    return Call("POST", f"/users/{some_user(random)}/visits", {"seen": seen}, planned=(404,))


def show_user(random: Random) -> Call:
    return Call("GET", f"/users/{some_user(random)}", planned=(404,))


def delete_user(random: Random) -> Call:
    return Call("DELETE", f"/users/{some_user(random)}")


def order(random: Random) -> Call:
    quantities = [random.randrange(8) for _ in range(random.randint(1, 5))]  # a 0 fails
    return Call("POST", "/orders", {"user": some_user(random), "quantities": quantities}, (409,))


def transfer(random: Random) -> Call:
    source, target = random.sample(range(1, 11), 2)
    body = {"source": source, "target": target, "amount": random.randint(1, 600)}
    return Call("POST", "/transfers", body, planned=(409,))


def sample(random: Random) -> Call:
    return Call("POST", f"/samples/{random.choice(list(SAMPLES))}")


def set_setting(random: Random) -> Call:
    value = random.choice([None, True, 3, 2.5, "on", "ünïcode"])
    return Call("PUT", f"/settings/key{random.randrange(50)}", {"value": value})


def add_events(random: Random) -> Call:
    return Call("POST", "/events", {"day": "2026-02-28", "count": random.randint(1, 8)})


def forget_events(_: Random) -> Call:
    return Call("DELETE", "/events")


def report(_: Random) -> Call:
    return Call("GET", "/report")


def broken(_: Random) -> Call:
    return Call("GET", "/broken", planned=(400,))


def some_user(random: Random) -> int:
    return random.randint(1, 250)


MIX: dict[Callable[[Random], Call], int] = {
    add_user: 14,
    add_or_rename_user: 12,
    visit: 20,
    show_user: 12,
    delete_user: 3,
    order: 10,
    transfer: 12,
    sample: 6,
    set_setting: 5,
    add_events: 4,
    forget_events: 1,
    report: 3,
    broken: 1,
}
