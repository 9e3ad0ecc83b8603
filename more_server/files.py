"""Folders that appear whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from more_server.errors import ModelError


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target` that becomes `target` when the block ends, synced to disk first.

    Whatever ends the block otherwise, a full disk and Ctrl-C included, the folder is gone. What a
    killed process left behind has a name with a leading dot and goes with `sweep`.
    Raises ModelError where the target exists or cannot be written.
    """
    if target.exists():
        raise ModelError(f"{target} exists already")
    stage = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stage.mkdir()
        yield stage
        _sync(stage)
        stage.rename(target)
        _sync_entry(target.parent)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def sweep(target: Path) -> None:
    """Remove what a killed process left of `target`; only the holder of its lock may call this."""
    for stage in target.parent.glob(f".{target.name}.partial-*"):
        shutil.rmtree(stage, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably. Raises OSError."""
    stage = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        with stage.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        stage.replace(path)
    finally:
        stage.unlink(missing_ok=True)
    _sync_entry(path.parent)


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        _sync_entry(path)
    _sync_entry(folder)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
