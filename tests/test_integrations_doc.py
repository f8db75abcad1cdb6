"""The code of docs/integrations.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.docs import ROOT, blocks
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN

DOCUMENT = "docs/integrations.md"


def section(name: str, language: str) -> list[str]:
    """The blocks of one language below one heading."""
    text = (ROOT / DOCUMENT).read_text()
    part = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
    return [block for block in blocks(DOCUMENT, language) if block in part]


def test_sqlite3(
    peer: PeerProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    programs = section("sqlite3", "python")
    shown = section("sqlite3", "text")
    assert len(programs) == len(shown) == 2
    for program, output in zip(programs, shown, strict=True):
        here = program.replace("http://127.0.0.1:9001", peer.url)
        exec(here.replace('"secret"', repr(ADMIN_TOKEN)), scope)
        assert capsys.readouterr().out == output.replace("http://127.0.0.1:9001", peer.url)
    names = ["Ada", "Grace", "Edsger", "Barbara"]
    assert peer.client().rows("SELECT name FROM users ORDER BY id") == [(name,) for name in names]


def test_links_lead_somewhere() -> None:
    text = (ROOT / DOCUMENT).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / "docs" / link).exists(), link
