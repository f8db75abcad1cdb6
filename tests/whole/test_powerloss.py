"""The short form of `make powerloss`, and proof that its judge sees what it is there to see."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from powerloss import trace
from powerloss.disk import Disk, How, Image
from powerloss.scenarios import SHORT, WEAK, Scenario, folder
from powerloss.states import resets
from powerloss.trace import Event

SEED = int(os.environ.get("POWERLOSS_SEED", "1"))


@pytest.fixture
def strace() -> None:
    lacking = trace.why_not()
    if lacking is not None and os.environ.get("CI"):
        pytest.fail(lacking)
    if lacking is not None:
        pytest.skip(f"NOT TESTED: {lacking}")


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("scenario", SHORT, ids=lambda scenario: scenario.label)
def test_what_was_promised_survives_a_power_failure(scenario: Scenario) -> None:
    print(f"POWERLOSS_SEED={SEED}")
    with folder() as base:
        result = scenario.run(base / "0", SEED)
    assert not result.wrong, "\n".join(result.examples)
    # Here and there all that could be at a point was there before.
    assert result.states >= scenario.states - 3


@pytest.mark.slow
@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("scenario", WEAK, ids=lambda scenario: scenario.label)
def test_what_promises_less_is_found_losing(scenario: Scenario, tmp_path: Path) -> None:
    result = scenario.run(tmp_path, SEED)
    assert result.wrong["lost"] > 0


def whole(disk: Disk) -> Image:
    return disk.image(How(random.Random(0), 4096, 1.0, 1.0, 1.0))


def certain(disk: Disk) -> Image:
    return disk.image(How(random.Random(0), 4096, 0.0, 0.0, 0.0, until=0))


def happen(*events: Event) -> Disk:
    disk = Disk("/m/a")
    for event in events:
        disk.happens(event)
    return disk


def sync(path: str) -> list[Event]:
    return [Event("begin", path), Event("end", path)]


CREATE = Event("create", "/m/a/f")
WRITE = Event("write", "/m/a/f", at=0, data=b"one")
NAME = sync("/m/a")


def test_a_synced_file_without_its_name_is_lost() -> None:
    disk = happen(CREATE, WRITE, *sync("/m/a/f"))
    assert whole(disk) == {"f": b"one"}
    assert certain(disk) == {}
    assert certain(happen(CREATE, WRITE, *sync("/m/a/f"), *NAME)) == {"f": b"one"}


def test_a_sync_covers_what_came_before_it_began() -> None:
    begin, end = sync("/m/a/f")
    more = Event("write", "/m/a/f", at=3, data=b"two")
    disk = happen(CREATE, *NAME, WRITE, begin, more, end)
    assert certain(disk) == {"f": b"one"}
    assert whole(disk) == {"f": b"onetwo"}


def test_a_file_that_is_renamed_or_removed_may_come_back() -> None:
    start = (CREATE, WRITE, *sync("/m/a/f"), *NAME)
    renamed = happen(*start, Event("rename", "/m/a/f", to="/m/a/g"))
    assert (certain(renamed), whole(renamed)) == ({"f": b"one"}, {"g": b"one"})
    removed = happen(*start, Event("unlink", "/m/a/f"))
    assert (certain(removed), whole(removed)) == ({"f": b"one"}, {})


def test_each_sector_may_be_there_or_not_and_the_length_too() -> None:
    old, new = b"o" * 1024, b"n" * 2048
    start = (CREATE, Event("write", "/m/a/f", at=0, data=old), *sync("/m/a/f"), *NAME)
    disk = happen(*start, Event("write", "/m/a/f", at=0, data=new))
    found = {disk.image(How(random.Random(seed), 512, 0.5, 0.5, 1.0))["f"] for seed in range(1_000)}
    sectors = [data[at : at + 512] for data in found if data for at in range(0, len(data), 512)]
    assert set(sectors) == {b"o" * 512, b"n" * 512, b"\0" * 512}
    # Two sectors that were there and may be new, and two more or none; the new may be zeros.
    assert len(found) == 4 + 4 * 4


def test_of_a_log_that_is_cut_and_written_anew_nothing_is_made_up() -> None:
    start = (CREATE, WRITE, *sync("/m/a/f"), *NAME, Event("length", "/m/a/f", at=0))
    disk = happen(*start, Event("write", "/m/a/f", at=0, data=b"t"))
    found = {disk.image(How(random.Random(s), 512, 0.5, 0.5, 1.0))["f"] for s in range(300)}
    assert found == {b"one", b"t", b"", b"o", b"\0", b"\0\0\0", b"t\0\0"}


def test_a_log_that_is_begun_anew_is_told_from_one_that_was_emptied() -> None:
    log = "/m/a/f-wal"
    page = b"p" * 100
    first = (Event("create", log), Event("write", log, at=0, data=page))
    assert resets([*first, Event("write", log, at=100, data=page)]) == []
    assert resets([*first, Event("length", log, at=0), Event("write", log, at=0, data=page)]) == []
    assert resets([*first, Event("unlink", log), *first]) == []
    assert resets([*first, Event("write", log, at=0, data=page)]) == [2]
