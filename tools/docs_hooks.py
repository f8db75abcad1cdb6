"""What `make docs` does beyond MkDocs: pages made from the README, the stubs and the command line.

Links that lead out of `docs/` (to the source, an example) work in a checkout; on the site they
become the path's name, because the site has no source tree beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")

MODULES = (
    "sqlite3",
    "aiosqlite",
    "sqlalchemy",
    "django",
    "fastapi",
    "outbox",
    "peer",
    "position",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Each decision has its place in the navigation without being named twice."""
    pages = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    assert config.nav is not None
    internals = next(section["Internals"] for section in config.nav if "Internals" in section)
    internals.append({"The decisions": [f"decisions/{page}" for page in pages]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, not written."""
    made = {
        "index.md": (ROOT / "README.md").read_text(),
        "reference/python.md": _python(),
        "reference/commands.md": _commands(),
    }
    for path, text in made.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Links as they stand in the repository, as the site needs them."""
    source = page.file.src_uri
    folder = ROOT if source == "index.md" else (ROOT / "docs" / source).parent

    def moved(link: re.Match[str]) -> str:
        target, anchor = link["target"], link["anchor"] or ""
        if "://" in target or not target:
            return link[0]
        path = Path(os.path.normpath(folder / target))
        if not path.exists():
            return link[0]  # MkDocs says that it leads nowhere
        if path == ROOT / "README.md":
            path = ROOT / "docs" / "index.md"
        if path.is_dir() and (path / "README.md").is_file():
            path /= "README.md"
        if not path.is_relative_to(ROOT / "docs"):
            return (
                f"{link['text']} (`{path.relative_to(ROOT)}`)"
                if "`" not in link["text"]
                else link["text"]
            )
        here = (ROOT / "docs" / source).parent
        return f"[{link['text']}]({os.path.relpath(path, here)}{anchor})"

    return LINK.sub(moved, markdown)


def _python() -> str:
    """Every public name, from the docstrings."""
    sys.path.insert(0, str(ROOT / "python"))
    import afterquery

    names = "".join(f"\n::: afterquery.{name}\n" for name in afterquery.__all__)
    modules = "".join(
        f"\n## afterquery.{name}\n\n::: afterquery.{name}\n    options:\n"
        "      show_root_heading: false\n      show_root_toc_entry: false\n"
        for name in MODULES
    )
    return f"# Python\n\n## afterquery\n{names}{modules}"


def _commands() -> str:
    """What each command says with --help."""
    from afterquery import cli

    os.environ["COLUMNS"] = "90"
    top = cli.parser()
    parsers = {top.prog: top}
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            parsers |= {command.prog: command for command in action.choices.values()}
    return "# Command line\n" + "".join(
        f"\n## {name}\n\n```text\n{command.format_help()}```\n" for name, command in parsers.items()
    )
