"""Files and folders that appear whole or not at all, and one writer at a time."""

import errno
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec
import structlog

from more_server.errors import InUse, MoreError, StorageError

NO_ROOM = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""What a disk says that takes no more of a file."""
LOCK_SECONDS = 5.0
"""How long a writer of a small file waits for another one."""
LOCK_STEP_SECONDS = 0.01
"""Between two tries for a lock: a voice of two clips is written in about as much."""
DAMAGED = re.compile(r".+\.damaged-\d{8}T\d{6}\.\d{6}Z")
"""Name of a file that was set aside, less what went along with it."""

log = structlog.get_logger("more_server.files")


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
        sync_entry(target.parent)
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
        sync_entry(stage)
        stage.replace(target)
    finally:
        stage.unlink(missing_ok=True)
    sync_entry(target.parent)


def sweep(target: Path) -> None:
    """Remove what a killed process left of the folder or file `target`; only the holder of its lock may call this."""
    for stage in target.parent.glob(f".{target.name}.partial-*"):
        _discard(stage)


def sweep_all(folder: Path, *, deep: bool = False) -> None:
    """Remove what killed processes left in a folder, of everything that nobody holds the lock of at the moment.

    deep: in the folders within, too, each of which is written under one lock of its own.
    """
    for stage in list(folder.glob("**/.*.partial-*" if deep else ".*.partial-*")):
        first = stage.relative_to(folder).parts[0]
        target = first[1:].rpartition(".partial-")[0] if first.startswith(".") else first
        if target:
            with suppress(StorageError), locked(folder / target):
                _discard(stage)


def _discard(stage: Path) -> None:
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
    with _acquired(path, folder, seconds):
        try:
            yield
        finally:
            # Of what is gone, or else there would be one for each voice that ever was. Of what is there it stays: on a
            # full disk there may be no room to make it anew, for whoever wants to delete something.
            if not folder.exists():
                path.unlink(missing_ok=True)


def _acquired(path: Path, folder: Path, seconds: float) -> IO[bytes]:
    last = time.monotonic() + seconds
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
        try:
            _lock(file, folder, last)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # who held it before has removed it; who comes now locks another one


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _lock(file: IO[bytes], folder: Path, last: float) -> None:
    while not try_lock(file):
        if time.monotonic() >= last:
            raise InUse(
                f"another process is writing {folder} at the moment; wait for it, or end it, and try again",
                retry_after=1.0,
            )
        time.sleep(LOCK_STEP_SECONDS)


def try_lock(file: int | IO[bytes]) -> bool:
    """Whether nobody else holds the lock of an open file, or its descriptor: then it is ours until that is closed.

    Raises StorageError.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network file systems know no locks
        name = "a file" if isinstance(file, int) else file.name
        raise StorageError(f"{name} cannot be locked: {error.strerror or error}") from error
    return True


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
    sync_entry(path.parent)


def read_file(path: Path) -> bytes | None:
    """What is in a file; None: there is none. Raises StorageError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error


def keep_file(path: Path, content: bytes, *, private: bool = False) -> None:
    """`write_file`, after what killed writers of the file left was swept. Raises StorageError.

    Only the holder of its lock may call this.
    """
    sweep(path)
    try:
        write_file(path, content, private=private)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error


def set_aside(path: Path, reason: str, endings: Sequence[str] = ()) -> Path:
    """Take a damaged file out of the way, to `<name>.damaged-<UTC time>` beside it, and log what was lost.

    endings: of the names of files that belong to it and go along. Only the holder of its lock may call this.
    Raises StorageError.
    """
    kept = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    try:
        path.rename(kept)
        for ending in endings:
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(kept.with_name(kept.name + ending))
        sync_entry(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} is damaged ({reason}) and cannot be set aside: {error.strerror or error}"
        ) from error
    log.error(
        "a damaged file was set aside; what was in it is not in force", path=str(path), kept=str(kept), why=reason
    )
    return kept


def set_aside_damaged(path: Path, decode: Callable[[bytes], object]) -> None:
    """Set a file aside that `decode` refuses, once nobody writes it. Where there is none, nothing happens.

    One that cannot even be read stays, for its reader to complain of: whoever may not read it did not damage it.
    Raises StorageError.
    """
    if _damage(path, decode):
        with locked(path, seconds=LOCK_SECONDS):
            if reason := _damage(path, decode):  # another process may have been quicker
                set_aside(path, reason)


def set_aside_in(folder: Path) -> list[str]:
    """Paths of the damaged files that were set aside in a folder and still lie there, the earliest first."""
    found = [path for path in folder.glob("*.damaged-*") if DAMAGED.fullmatch(path.name)]
    return [str(path) for path in sorted(found, key=lambda path: path.name.rpartition(".damaged-")[2])]


def _damage(path: Path, decode: Callable[[bytes], object]) -> str:
    try:
        decode(path.read_bytes())
    except OSError:
        return ""
    except MoreError as error:
        return error.message
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return str(error)
    return ""


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        sync_entry(path)
    sync_entry(folder)


def sync_entry(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
