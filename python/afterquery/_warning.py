"""Warnings of `sqlite3`'s, for the line of the user's that they are about.

`sqlite3` names the line that called it, and between the user's line and it there is one of ours,
where nobody sees a DeprecationWarning. So we give them, and its own are silent for our lines.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

_OURS = str(Path(__file__).parent)

if sys.version_info >= (3, 12):
    warnings.filterwarnings("ignore", "Binding ", DeprecationWarning, r"afterquery\.sqlite3\.")
    warnings.filterwarnings("ignore", "Passing more", DeprecationWarning, r"afterquery\.sqlite3\.")


def deprecated(text: str) -> None:
    """Warn as `sqlite3` does where it is called directly: of the first caller that is not ours."""
    if sys.version_info >= (3, 12):
        warnings.warn(text, DeprecationWarning, skip_file_prefixes=(_OURS,))


def named_but_a_sequence(number: int, name: str) -> None:
    """Parameter `number` of a statement has a name, and the parameters are a sequence."""
    if (3, 12) <= sys.version_info < (3, 14):
        deprecated(
            f"Binding {number} ({name!r}) is a named parameter, but you supplied a sequence which "
            "requires nominal (qmark) placeholders. Starting with Python 3.14 an "
            "sqlite3.ProgrammingError will be raised."
        )
