"""Disks that are full, and disks that take nothing: real file systems, which only root may mount."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small(folder: Path, megabytes: int = 4) -> Iterator[Path]:
    """A file system of so many MB in a new folder."""
    folder.mkdir(parents=True)
    with _mounted(folder, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"):
        yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """What lies in a folder, in a place where it cannot be changed."""
    place = folder.with_name(f"{folder.name}-read-only")
    place.mkdir()
    with _mounted(place, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
        yield place


@contextmanager
def _mounted(place: Path, *how: str) -> Iterator[None]:
    done = subprocess.run(["mount", *how, place], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}; run it as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            return
