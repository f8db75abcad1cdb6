"""Exceptions of a signal handler, at each place where Python looks for signals within our code.

It looks when a function begins, after a call and when a loop goes back. A trace function raises
there in the handler's place, so that nothing is left to chance.
"""

from __future__ import annotations

import dis
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import afterquery

_OURS = str(Path(afterquery.__file__).parent)
_LOOKS = ("CALL", "JUMP_BACKWARD", "JUMP_ABSOLUTE")
_BLIND = {("__exit__", "_connection.py")}
"""Where it comes as if the `with` block had not been left: any context manager that is written in
Python has that moment."""


class Interrupted(Exception):  # noqa: N818 - as those of task queues
    """What the signal handler raises, as a task queue's time limit does."""


def handler(*_: object) -> None:
    raise Interrupted


class Interruption:
    """Raises once, at place number `at`, counted from 1."""

    def __init__(self, at: int) -> None:
        self._left = at
        # By their ids: what a frame holds is to go when it has ended.
        self._before: dict[int, int] = {}
        self.raised = False
        self.where = ""

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Counts within the block."""
        previous = signal.signal(signal.SIGUSR2, handler)
        tracing = sys.gettrace()
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(tracing)
            signal.signal(signal.SIGUSR2, previous)

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_OURS) or code.co_name == "__del__":
            return None
        frame.f_trace_opcodes = True
        if event == "call":
            self._before.pop(id(frame), None)
            if not _is_blind(code):
                self._place(frame)
        elif event == "opcode":
            before, self._before[id(frame)] = self._before.get(id(frame)), frame.f_lasti
            if before is not None and _looks(code, before, frame.f_lasti):
                self._place(frame)
        return self._trace

    def _place(self, frame: FrameType) -> None:
        self._left -= 1
        if self._left == 0:
            self.raised = True
            self.where = f"{frame.f_code.co_name}:{frame.f_lineno}"
            handler(signal.SIGUSR2, frame)


@cache
def _looks(code: CodeType, before: int, at: int) -> bool:
    """Whether Python looks for signals between two instructions."""
    names = [dis.opname[code.co_code[offset]] for offset in (before, at)]
    if not names[0].startswith(_LOOKS) or names[1].startswith("SETUP_"):
        return False
    if sys.version_info < (3, 11) and names[1] == "DUP_TOP":
        # The first step of an `except` after a call that failed: Python 3.10 looks there, before
        # anything that `except` does. docs/integrations.md says what may be lost.
        return False
    # It looks as part of the first one: what handles an error of that one gets it.
    return _handler_of(code, before) == _handler_of(code, at)


def _handler_of(code: CodeType, offset: int) -> object:
    entries: list[Any] = getattr(dis.Bytecode(code), "exception_entries", [])
    return next((one.target for one in entries if one.start <= offset < one.end), None)


def _is_blind(code: CodeType) -> bool:
    return (code.co_name, Path(code.co_filename).name) in _BLIND


def sweep(scenario: Callable[[Interruption], None], most: int = 5_000) -> int:
    """Run it with an interruption at the first place, the second, and so on; how many there are."""
    for at in range(1, most):
        interruption = Interruption(at)
        scenario(interruption)
        if not interruption.raised:
            return at - 1
    raise AssertionError("it has no end")
