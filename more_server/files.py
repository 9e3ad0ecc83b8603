"""Files and folders that appear whole or not at all, and one writer at a time."""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from more_server.errors import StorageError

LOCK_SECONDS = 5.0
"""How long a writer of a small file waits for another one."""
LOCK_STEP_SECONDS = 0.01
"""Between two tries for a lock: a voice of two clips is written in about as much."""


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target` that becomes `target` when the block ends, synced to disk first.

    Whatever ends the block otherwise, a full disk and Ctrl-C included, the folder is gone. What a
    killed process left behind has a name with a leading dot and goes with `sweep`.
    Raises StorageError where the target exists or cannot be written.
    """
    if target.exists():
        raise StorageError(f"{target} exists already")
    stage = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stage.mkdir()
        yield stage
        _sync(stage)
        stage.rename(target)
        _sync_entry(target.parent)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def staged_file(target: Path) -> Iterator[Path]:
    """A path beside `target` for a file that becomes `target` when the block ends, synced to disk first.

    Whatever ends the block otherwise, the file is gone. What killed writers left is swept before: there may be one
    writer at a time. Raises OSError.
    """
    sweep(target)
    stage = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    try:
        yield stage
        _sync_entry(stage)
        stage.replace(target)
    finally:
        stage.unlink(missing_ok=True)
    _sync_entry(target.parent)


def sweep(target: Path) -> None:
    """Remove what a killed process left of the folder or file `target`; only the holder of its lock may call this."""
    for stage in target.parent.glob(f".{target.name}.partial-*"):
        if stage.is_dir() and not stage.is_symlink():
            shutil.rmtree(stage, ignore_errors=True)
        else:
            with suppress(OSError):  # as rmtree above: whatever stays is hidden, and the next sweep tries again
                stage.unlink()


def remove_folder(folder: Path) -> None:
    """Delete a folder; one rename takes it out of sight first, so that a killed removal leaves no half of it.

    Only the holder of its lock may call this. Raises StorageError.
    """
    doomed = folder.with_name(f".{folder.name}.partial-removed")
    try:
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
    except OSError as error:
        raise StorageError(f"{folder} cannot be removed: {error.strerror or error}") from error
    sweep(folder)


@contextmanager
def locked(folder: Path, *, seconds: float = 0.0) -> Iterator[None]:
    """Hold the right to write a folder, across threads and processes; it ends with the process at the latest.

    Raises StorageError where somebody else holds it and does not let it go within `seconds`.
    """
    path = folder.parent / ".locks" / f"{folder.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    with file:
        _lock(file, folder, seconds)
        yield


def _lock(file: IO[bytes], folder: Path, seconds: float) -> None:
    last = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= last:
                raise StorageError(
                    f"another process is writing {folder} at the moment; wait for it, or end it, and try again"
                ) from error
        except OSError as error:  # some network file systems know no locks
            raise StorageError(f"{folder} cannot be locked: {error.strerror or error}") from error
        else:
            return
        time.sleep(LOCK_STEP_SECONDS)


def write_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """Replace a file atomically and durably; private: for its owner alone. Raises OSError."""
    stage = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
    try:
        descriptor = os.open(stage, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        stage.replace(path)
    finally:
        stage.unlink(missing_ok=True)
    _sync_entry(path.parent)


def keep_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """`write_file`, after what killed writers of the file left was swept. Raises StorageError.

    Only the holder of its lock may call this.
    """
    sweep(path)
    try:
        write_file(path, content, private=private)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


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
