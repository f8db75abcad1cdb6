"""Findings as text for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from afterquery._core import quoted
from afterquery.lint.finding import Finding


def as_text(path: Path, findings: Sequence[Finding]) -> str:
    """Two lines for each; in a `.sql` file, the first can be clicked in most terminals."""
    if not findings:
        return f"{path}: nothing found that would differ on a replica"
    in_file = path.suffix.lower() == ".sql"
    return "\n".join(
        f"{quoted(_head(path, found, in_file))}\n    {quoted(found.remedy)}" for found in findings
    )


def _head(path: Path, found: Finding, in_file: bool) -> str:
    if in_file:
        return f"{path}:{found.line}: {found.object}: {found.what}"
    return f"{path}: {found.object}, line {found.line}: {found.what}"


def as_json(_: Path, findings: Sequence[Finding]) -> str:
    """A list of objects with the fields of `Finding`."""
    return json.dumps([asdict(found) for found in findings], indent=2, ensure_ascii=False)


FORMATS: dict[str, Callable[[Path, Sequence[Finding]], str]] = {"text": as_text, "json": as_json}
