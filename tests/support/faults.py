"""What can go wrong between a sender and a replica, as values that a test chooses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from support.wire import Message


@dataclass(frozen=True)
class Pass:
    """Nothing goes wrong; each way takes `delay` seconds."""

    delay: float = 0.0


@dataclass(frozen=True)
class CutBeforeRequest:
    """The connection ends when the request is read; the replica never hears of it."""


@dataclass(frozen=True)
class CutAfterRequest:
    """The replica gets the request and answers; the sender's connection ends without an answer."""


@dataclass(frozen=True)
class CutInAnswer:
    """The sender's connection ends in the middle of the answer's body."""


@dataclass(frozen=True)
class Answer:
    """The request is answered in the replica's place, and never reaches it."""

    status: int = 200
    body: str = '{"error":"from the proxy"}'
    retry_after: str | None = None
    content_type: str = "application/json"
    location: str | None = None
    """Where a redirection leads."""
    forward: bool = False
    """Whether the replica gets the request all the same, and its own answer is kept back."""


@dataclass(frozen=True)
class Drip:
    """The replica's answer, so many bytes at a time, with so many seconds between."""

    count: int = 7
    pause: float = 0.02


@dataclass(frozen=True)
class Hang:
    """No answer ever comes. With `forward` the replica gets the request all the same."""

    forward: bool = False


@dataclass(frozen=True)
class Beyond:
    """The replica's answer, but it says that it is so much further than it is."""

    seq: int = 0
    step: int = 0


Fault = Pass | CutBeforeRequest | CutAfterRequest | CutInAnswer | Answer | Beyond | Drip | Hang

Plan = Callable[[Message], Fault]
"""Chooses what happens to a request. Called in the proxy's thread, for one request at a time."""

HTML = Answer(200, "<!doctype html><title>Welcome</title>", content_type="text/html")


def result(rows: Sequence[object], status: int = 200) -> Answer:
    """An answer as a replica gives it."""
    return Answer(status, json.dumps({"result": rows}))


def error(message: str, status: int = 500, retry_after: str | None = None) -> Answer:
    """A failure as a replica reports it."""
    return Answer(status, json.dumps({"error": message}), retry_after)


def always(fault: Fault) -> Plan:
    """The same for every request."""
    return lambda _: fault


def jitter(seed: int, low: float = 0.005, high: float = 0.05) -> Plan:
    """Every request is delayed, by `low` to `high` seconds each way."""
    chance = random.Random(seed)
    return lambda _: Pass(chance.uniform(low, high))


def in_turn(*faults: Fault) -> Plan:
    """One after the other, then everything passes."""
    rest = list(faults)
    return lambda _: rest.pop(0) if rest else Pass()


def mixture(seed: int, faults: Sequence[Fault], share: float, then: Plan | None = None) -> Plan:
    """A `share` of the requests meets one of the `faults`; the others go as `then` says."""
    chance = random.Random(seed)
    otherwise = always(Pass()) if then is None else then
    return lambda request: chance.choice(faults) if chance.random() < share else otherwise(request)
