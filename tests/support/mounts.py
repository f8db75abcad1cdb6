"""File systems of a test's own. They need root: a test that gets none is skipped, and says so."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("NOT TESTED: this system has no mount command")
    done = subprocess.run([mount, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED: mount needs root here: {done.stderr.strip()}")


@contextmanager
def small_disk(at: Path, kib: int) -> Iterator[Path]:
    """A file system of `kib` KiB."""
    at.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={kib}k", "none", str(at))
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mounts a directory on itself, read-only: permissions mean nothing to root."""
    _mount("--bind", str(path), str(path))
    try:
        _mount("-o", "remount,bind,ro", str(path))
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
