"""The tools of a release: what they refuse, and what they print."""

from __future__ import annotations

import subprocess
import sys

import pytest

from release_check import notes, version
from support.docs import ROOT

CHANGELOG = """# Changelog

## [Unreleased]

- not yet

## [0.2.0] - 2027-01-01

### Added

- this

## [0.1.0] - 2026-12-01

- that
"""


@pytest.mark.parametrize(
    ("wanted", "found"), [("0.2.0", "### Added\n\n- this"), ("0.1.0", "- that"), ("0.2", None)]
)
def test_the_notes_of_a_release_are_its_part_of_the_changelog(
    wanted: str, found: str | None
) -> None:
    assert notes(CHANGELOG, wanted) == found


def test_a_tag_that_is_not_the_version_is_no_release() -> None:
    command = [sys.executable, str(ROOT / "tools/release_check.py"), "v99.0.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"the tag is v99.0.0, Cargo.toml says {version()}: change one of them\n"
