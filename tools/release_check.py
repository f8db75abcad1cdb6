"""Hold a tag against the project: `python3 tools/release_check.py v1.2.3`. Needs nothing installed.

Prints what CHANGELOG.md says of that version, for the release's notes. Exits with 1 and the reason
where the tag is not the version in Cargo.toml, or the changelog has nothing for it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version() -> str:
    """The version in Cargo.toml, the only place that has it."""
    found = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    if found is None:
        sys.exit("Cargo.toml has no version")
    return found[1]


def notes(changelog: str, wanted: str) -> str | None:
    """What a changelog in the format of Keep a Changelog says of a version; None if nothing."""
    start = re.search(rf"^## \[{re.escape(wanted)}\].*\n", changelog, re.MULTILINE)
    if start is None:
        return None
    rest = changelog[start.end() :]
    end = re.search(r"^## \[", rest, re.MULTILINE)
    return rest[: end.start() if end else len(rest)].strip() or None


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: release_check.py vX.Y.Z")
    tag, here = sys.argv[1], version()
    if tag != f"v{here}":
        sys.exit(f"the tag is {tag}, Cargo.toml says {here}: change one of them")
    found = notes((ROOT / "CHANGELOG.md").read_text(), here)
    if found is None:
        sys.exit(f"CHANGELOG.md has nothing under [{here}]: rename [Unreleased]")
    print(found)


if __name__ == "__main__":
    main()
