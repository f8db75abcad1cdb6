"""Recording a run with strace, and reading what it recorded."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,lseek,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,mmap,copy_file_range,sendfile,splice"
)
UNKNOWN = {"writev", "pwritev", "pwritev2", "fallocate", "link", "linkat", "symlink", "symlinkat"}
UNKNOWN |= {"copy_file_range", "sendfile", "splice", "rmdir", "lseek"}
"""What nothing here does; a record with one of these on a file that matters is refused."""

MAX_STRING = 1 << 26
RUN_SECONDS = 300

Kind = Literal["create", "write", "length", "mkdir", "rename", "unlink", "begin", "end", "told"]


@dataclass(frozen=True)
class Event:
    """A thing that happened, in the order of the record.

    "begin" and "end" are those of an fsync.
    """

    kind: Kind
    path: str = ""
    thread: int = 0
    at: int = 0
    """Offset of a write, new length of a file."""
    data: bytes = b""
    to: str = ""
    """Where a rename goes."""


def why_not() -> str | None:
    """What this machine lacks."""
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed (apt install strace)"
    done = subprocess.run([strace, "-f", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace cannot trace here: {done.stderr.strip()}"


def record(command: list[str], output: Path, environment: dict[str, str]) -> None:
    """Run a command to its end; all its system calls that change files are in `output`."""
    options = ["-f", "--seccomp-bpf", "-y", "-xx", "-s", str(MAX_STRING), "-e", f"trace={CALLS}"]
    done = subprocess.run(
        ["strace", *options, "-o", str(output), *command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"the recorded run failed:\n{done.stdout}\n{done.stderr}"


_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_UNFINISHED = " <unfinished ...>"
_DELETED = "(deleted)"
_SYNCS = {"fsync", "fdatasync"}


def read(output: Path, root: Path) -> Iterator[Event]:
    """What happened to the files below `root`; its file `told` is what the run was told."""
    open_calls: dict[int, str] = {}
    reader = _Reader(str(root))
    with output.open() as lines:
        for line in lines:
            matched = _LINE.fullmatch(line.rstrip("\n"))
            assert matched is not None, line[:200]
            thread, text = int(matched[1]), matched[2]
            if text.startswith(("---", "+++")):
                continue
            if text.endswith(_UNFINISHED):
                open_calls[thread] = text.removesuffix(_UNFINISHED)
                yield from reader.begun(thread, open_calls[thread])
                continue
            if resumed := _RESUMED.fullmatch(text):
                text = open_calls.pop(thread) + resumed[2]
            else:
                yield from reader.begun(thread, text)
            yield from reader.done(thread, text)


class _Reader:
    """Knows where plain writes go on."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.told = f"{root}/told"
        self.positions: dict[str, int] = {}

    def begun(self, thread: int, text: str) -> Iterator[Event]:
        """What counts from the moment a call begins."""
        name, _, rest = text.partition("(")
        if name in _SYNCS:
            yield from (Event("begin", path, thread) for path in self._mine(_path(rest)))
        elif name == "write" and _path(rest) == self.told:
            yield Event("told", data=_strings(rest)[0])

    def done(self, thread: int, text: str) -> Iterator[Event]:
        """What counts once a call has returned."""
        matched = _CALL.fullmatch(text)
        if matched is None:
            return
        name, arguments, result, after = matched.groups()
        if result == "?" or int(result) < 0:
            return
        if name in {"open", "openat", "creat"}:
            yield from self._opened(arguments, after)
        elif name in {"rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat"}:
            yield from self._named(name, arguments)
        else:
            for path in self._mine(_path(arguments)):
                yield from self._changed(thread, name, path, arguments, int(result))

    def _changed(
        self, thread: int, name: str, path: str, arguments: str, result: int
    ) -> Iterator[Event]:
        if name in _SYNCS:
            yield Event("end", path, thread)
        elif name == "pwrite64":
            at = int(arguments.rsplit(", ", 1)[1])
            yield Event("write", path, thread, at, _strings(arguments)[0][:result])
        elif name == "write":
            at = self.positions[path]
            self.positions[path] += result
            yield Event("write", path, thread, at, _strings(arguments)[0][:result])
        elif name in {"ftruncate", "truncate"}:
            yield Event("length", path, thread, int(arguments.rsplit(", ", 1)[1]))
        elif name == "mmap":
            assert "MAP_SHARED" not in arguments or "PROT_WRITE" not in arguments, arguments[:300]
        else:
            assert name not in UNKNOWN or self._is_harmless(name, path, arguments), text_of(
                name, path
            )

    def _is_harmless(self, name: str, path: str, arguments: str) -> bool:
        # Python asks where a file it has just opened stands.
        return name == "lseek" and (
            path not in self.positions or arguments.endswith(", 0, SEEK_CUR")
        )

    def _opened(self, arguments: str, after: str) -> Iterator[Event]:
        for path in self._mine(_plain(after)[1:].partition(">")[0]):
            if "O_DIRECTORY" in arguments:
                continue
            if "O_CREAT" in arguments:
                yield Event("create", path)
            if "O_TRUNC" in arguments:
                yield Event("length", path, at=0)
            if "O_WRONLY" in arguments:
                self.positions[path] = 0

    def _named(self, name: str, arguments: str) -> Iterator[Event]:
        paths = [path.decode() for path in _strings(arguments)]
        mine = [path for path in paths if any(self._mine(path))]
        if not mine:
            return
        if name.startswith("rename"):
            yield Event("rename", paths[0], to=paths[1])
        else:
            assert paths[0].startswith("/"), f"a relative path: {paths[0]}"
            kind: Kind = "mkdir" if name.startswith("mkdir") else "unlink"
            yield Event(kind, paths[0])

    def _mine(self, path: str) -> Iterator[str]:
        """The path, if it matters: what is gone has no name, and logs are not the application's."""
        if not path.startswith(self.root + "/") or path.endswith((_DELETED, "-shm", ".txt")):
            return
        if path != self.told:
            yield path


def text_of(name: str, path: str) -> str:
    return f"{name} on {path} is not modelled"


def _plain(text: str) -> str:
    return _HEX.sub(lambda found: chr(int(found[1], 16)), text)


def _path(arguments: str) -> str:
    """The path of the descriptor among the arguments."""
    found = re.search(r"\b\d+<([^>]*)>(\(deleted\))?", arguments)
    return _plain(found[1]) + (found[2] or "") if found else ""


def _strings(arguments: str) -> list[bytes]:
    quoted = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)
    return [bytes.fromhex(one.replace("\\x", "")) for one in quoted]
