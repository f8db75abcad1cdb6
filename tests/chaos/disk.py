"""A small disk for the journal, to be filled. It takes root on Linux to make one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_BYTES = 64 << 20
CHUNK = bytes(64 << 10)
FILLER = "filler"


def available(folder: Path) -> bool:
    """Whether this user may mount a file system here."""
    try:
        with small_disk(folder / "probe"):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextmanager
def small_disk(path: Path) -> Iterator[None]:
    """A tmpfs of `DISK_BYTES` at `path`."""
    path.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs"]
    subprocess.run(["mount", *options, str(path)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True, capture_output=True)


def fill(path: Path) -> None:
    """Leave no byte free."""
    with (path / FILLER).open("wb", buffering=0) as file:
        for chunk in (CHUNK, CHUNK[:4096]):
            _write_all(file.fileno(), chunk)


def _write_all(file: int, chunk: bytes) -> None:
    try:
        while os.write(file, chunk) == len(chunk):
            pass
    except OSError:
        return


def empty(path: Path) -> None:
    """Give back what `fill` took."""
    (path / FILLER).unlink(missing_ok=True)
