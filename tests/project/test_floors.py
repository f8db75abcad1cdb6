"""`src` keeps to its plan: no import points up, and no files import each other in a circle.

The plan stands in the first lines of `src/lib.rs`: the top floor first, behind a floor its rooms
from the bottom up. What lies in a floor beside its rooms stands on them. Floors in one line know
nothing of each other. A `mod.rs` is a signpost: it says what is where, and holds nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from support.docs import ROOT

SRC = ROOT / "src"
PLAN = re.compile(r"^//! ```text\n((?://! .*\n)+?)//! ```\n", re.MULTILINE)
FLOOR = re.compile(r"(\w+)(?: \(([\w, ]+)\))?")
TESTS = re.compile(r"^( *)#\[cfg\(test\)\]\n\1mod \w+ \{\n(?:.*\n)*?\1\}\n", re.MULTILINE)
LITERAL = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"', re.DOTALL)
USE = re.compile(r"\b(pub(?:\([^)]*\))? )?use ([^;]+);")
PATH = re.compile(r"\b(?:crate|super)(?:::\w+)+")
WITHIN = re.compile(r"\bpub\(in [\w:]+\)")
DEFINED = re.compile(
    r"^ *(?:pub(?:\([^)]*\))? )?(?:fn|struct|enum|trait|const|static|impl)\b", re.MULTILINE
)

Module = tuple[str, ...]


def plan(lib: str) -> dict[str, tuple[int, int, int]]:
    """How high each floor and room lies: its line, its place in the line, its height there."""
    found = PLAN.search(lib)
    assert found, "src/lib.rs has no plan"
    heights = {}
    lines = [line.removeprefix("//! ") for line in found[1].splitlines()]
    for height, line in enumerate(reversed(lines)):
        for place, (floor, rooms) in enumerate(FLOOR.findall(line)):
            names = [room.strip() for room in rooms.split(",")] if rooms else []
            for at, room in enumerate(names):
                heights[f"{floor}/{room}"] = (height, place, at)
            heights[floor] = (height, place, len(names))
    return heights


def leaves(tree: str) -> Iterator[Module]:
    """The paths that a `use` names."""
    head, brace, rest = tree.partition("{")
    begin = tuple(part.strip() for part in head.split("::") if part.strip())
    if not brace:
        yield tuple(part.split(" as ")[0] for part in begin)
        return
    depth, item = 0, ""
    for character in rest[: rest.rindex("}")] + ",":
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if item.strip():
                yield from (begin + leaf for leaf in leaves(item.strip()))
            item = ""
        else:
            item += character


class House:
    """The files of a source tree, by module, and what each imports."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = {
            self.module(name): LITERAL.sub("", TESTS.sub("", text)) for name, text in texts.items()
        }
        self.files = {self.module(name): name for name in texts}
        self.shown: dict[Module, dict[str, Module]] = {}
        for module, text in self.texts.items():
            trees = (use[2] for use in USE.finditer(text) if use[1])
            self.shown[module] = {leaf[-1]: leaf for tree in trees for leaf in leaves(tree)}

    @staticmethod
    def module(name: str) -> Module:
        parts = tuple(name.removesuffix(".rs").split("/"))
        return () if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts

    def is_signpost(self, module: Module) -> bool:
        return self.files[module].endswith(("mod.rs", "lib.rs"))

    def find(self, here: Module, path: Module) -> Module | None:
        """The module that holds what `path` names, seen from the module `here`."""
        first, *rest = path
        if first == "crate":
            at: Module = ()
        elif first in ("self", "super"):
            at = here if first == "self" else here[:-1]
            while rest and rest[0] == "super":
                at, rest = at[:-1], rest[1:]
        elif (*here, first) in self.files:
            at, rest = here, [first, *rest]
        else:
            return None
        while rest and (*at, rest[0]) in self.files:
            at, rest = (*at, rest[0]), rest[1:]
        if rest and self.is_signpost(at) and rest[0] in self.shown[at]:
            return self.find(at, self.shown[at][rest[0]])
        return at

    def imports(self, module: Module) -> set[Module]:
        text = self.texts[module]
        paths = [leaf for use in USE.finditer(text) for leaf in leaves(use[2])]
        paths += [
            tuple(path.split("::")) for path in PATH.findall(USE.sub("", WITHIN.sub("", text)))
        ]
        found = {self.find(module, path) for path in paths}
        return {at for at in found if at is not None and at != module}

    def arrows(self) -> Iterator[tuple[str, str]]:
        """Which file imports which; what a signpost names is found behind it."""
        for module in self.files:
            if not self.is_signpost(module):
                for target in self.imports(module):
                    yield self.files[module], self.files[target]


def wrong(house: House, heights: dict[str, tuple[int, int, int]]) -> list[str]:
    """What breaks the plan, each with the files it is between."""
    found = []
    arrows: dict[str, set[str]] = {}

    def height(name: str) -> tuple[int, int, int]:
        floor, *rooms = name.removesuffix(".rs").split("/")
        return heights.get(f"{floor}/{rooms[0]}", heights[floor]) if rooms else heights[floor]

    for here, there in house.arrows():
        if there == "lib.rs" or (
            there.endswith("/mod.rs") and here.startswith(there.removesuffix("mod.rs"))
        ):
            found.append(f"{here} asks the signpost of its own floor: {there}")
        elif height(there) > height(here):
            found.append(f"{here} points up to {there}")
        elif height(there)[0] == height(here)[0] and height(there)[1] != height(here)[1]:
            found.append(f"{here} points sideways to {there}")
        arrows.setdefault(here, set()).add(there)
    while True:
        ends = {name for name, targets in arrows.items() if not targets & arrows.keys()}
        if not ends:
            break
        arrows = {name: targets for name, targets in arrows.items() if name not in ends}
    for name, targets in sorted(arrows.items()):
        circle = sorted(there for there in targets if name in arrows.get(there, ()))
        found += [f"{name} and {there} import each other" for there in circle if name < there]
    if arrows and not any("each other" in what for what in found):
        found.append(f"a circle is among {', '.join(sorted(arrows))}")
    return found


def sources() -> dict[str, str]:
    return {
        path.relative_to(SRC).as_posix(): path.read_text(encoding="utf-8")
        for path in SRC.rglob("*.rs")
    }


def test_no_import_points_up() -> None:
    texts = sources()
    assert wrong(House(texts), plan(texts["lib.rs"])) == []


def test_the_plan_names_every_room() -> None:
    rooms = set()
    for name in sources():
        floor, *rest = name.removesuffix(".rs").split("/")
        rooms.add(
            f"{floor}/{rest[0]}"
            if len(rest) > 1 and f"{floor}/{rest[0]}.rs" not in sources()
            else floor
        )
    assert rooms - {"lib"} == set(plan((SRC / "lib.rs").read_text(encoding="utf-8")))


def test_a_signpost_holds_nothing() -> None:
    for name, text in sources().items():
        # The binding's own says what the module is that Python imports.
        if name.endswith("mod.rs") and name != "python/mod.rs":
            assert not DEFINED.search(LITERAL.sub("", text)), name


def test_the_design_shows_the_same_plan() -> None:
    found = PLAN.search((SRC / "lib.rs").read_text(encoding="utf-8"))
    assert found
    shown = re.sub(r"^//! ", "", found[1], flags=re.MULTILINE)
    assert f"```text\n{shown}```\n" in (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


NAMING = ("*.md", "docs/**/*.md", "bench/**/*.py", "tests/**/*.py", "tools/**/*.py", "src/**/*.rs")
NAMED = re.compile(r"(?<![\w/])src/[\w/]+\.rs\b")


def test_what_is_named_is_there() -> None:
    """Documentation, tests and benchmarks name files of `src`."""
    named = {
        name
        for ending in NAMING
        for path in ROOT.glob(ending)
        for name in NAMED.findall(path.read_text(encoding="utf-8"))
    }
    assert len(named) > 10
    assert {name for name in named if not (ROOT / name).exists()} == set()


LIB = "//! ```text\n//! top\n//! left (low, high) | right\n//! ground\n//! ```\n"


TEST = "#[cfg(test)]\nmod tests {\n    use crate::top::h;\n}\n"
HIGH, LOW = "left/high/b.rs", "left/low/c.rs"


@pytest.mark.parametrize(
    ("here", "text", "told"),
    [
        ("ground/a.rs", "use crate::left::Thing;", f"ground/a.rs points up to {HIGH}"),
        ("ground/a.rs", "fn f() { crate::top::call() }", "ground/a.rs points up to top/mod.rs"),
        (LOW, "use crate::left::high::{b::{self, Thing}};", f"{LOW} points up to {HIGH}"),
        (LOW, "use super::super::d::D;", f"{LOW} points up to left/d.rs"),
        ("left/d.rs", "use super::Thing;", None),
        ("right/mod.rs", "use crate::left::Thing;", None),
        ("right/e.rs", "use crate::left::Thing;", f"right/e.rs points sideways to {HIGH}"),
        (HIGH, "use crate::top::g::{G as H};", f"{HIGH} points up to top/g.rs"),
        (HIGH, "use crate::left::low::c;", None),
        ("top/g.rs", "use crate::top;", "top/g.rs asks the signpost of its own floor: top/mod.rs"),
        ("top/g.rs", f"// crate::top::h\nuse crate::left::Thing;\n{TEST}", None),
        ("top/g.rs", "use super::h::H;", "top/g.rs and top/h.rs import each other"),
        ("top/g.rs", "use super::i::I;", "a circle is among top/g.rs, top/h.rs, top/i.rs"),
    ],
)
def test_a_planted_arrow_is_found(here: str, text: str, told: str | None) -> None:
    texts = {
        "lib.rs": LIB,
        "top/mod.rs": "mod g;\nmod h;\nmod i;\npub use self::g::G;",
        "top/i.rs": "use super::h::H;",
        "top/g.rs": "",
        "top/h.rs": "use super::g::G;",
        "left/mod.rs": "mod d;\npub use self::high::b::Thing;",
        "left/d.rs": "",
        "left/high/mod.rs": "pub(super) mod b;",
        "left/high/b.rs": "",
        "left/low/mod.rs": "pub(super) mod c;",
        "left/low/c.rs": "",
        "right/mod.rs": "mod e;",
        "right/e.rs": "",
        "ground/mod.rs": "pub mod a;",
        "ground/a.rs": "",
    }
    texts[here] += text
    found = wrong(House(texts), plan(LIB))
    assert (told in found) if told else (found == [])
