"""Docstrings of the compiled core for the API reference: the stubs have none."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe

CORE = "_core"


class RuntimeDocstrings(griffe.Extension):
    """Gives each object of the core's stubs the docstring that `help()` shows."""

    def on_package(self, *, pkg: griffe.Module, **_kwargs: Any) -> None:
        _document(pkg[CORE], importlib.import_module(f"{pkg.name}.{CORE}"))


def _document(described: griffe.Object, real: Any) -> None:
    for name, member in described.members.items():
        found = inspect.getattr_static(real, name, None)
        if found is None or isinstance(member, griffe.Alias):
            continue
        text = inspect.getdoc(found)
        if text and member.docstring is None:
            member.docstring = griffe.Docstring(text, parent=member)
        if isinstance(member, griffe.Class):
            _document(member, found)
