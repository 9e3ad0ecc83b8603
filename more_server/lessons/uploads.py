"""Uploads of recordings, each a folder that every server of the data directory can go on with.

<datasets>/uploads/<id>/about.json   what was said when it began
<datasets>/uploads/<id>/data         what has come; its size is the offset, whatever was killed
<datasets>/uploads/<id>/unchecked    while bytes come with a checksum: the offset that holds until it was found right
"""

import asyncio
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import structlog

from more_server.clock import SetClock
from more_server.errors import (
    BadInput,
    Conflict,
    DiskFull,
    MoreError,
    StorageError,
    TooLarge,
    UploadLocked,
    UploadNotFound,
    allowed,
    shown,
)
from more_server.files import NO_ROOM, keep_file, remove_folder, staged_folder, try_lock
from more_server.lessons.recordings import ARCHIVE, METADATA, READABLE, is_archive, is_metadata, is_recording
from more_server.settings import Settings
from more_server.voicebank.details import HIDDEN

FOLDER, ABOUT, DATA, UNCHECKED = "uploads", "about.json", "data", "unchecked"
ID = re.compile(r"[0-9a-f]{32}")
MOST_NAME_BYTES = 200
"""Of a file's name: file systems take 255, and some letters are added here."""
SWEEP_SECONDS = 3600.0
SYNC_BYTES = 1 << 26
"""Written between two syncs, so that the last one does not keep a client waiting."""

log = structlog.get_logger("more_server.lessons")


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload, as it is now."""

    id: str
    filename: str
    """As the client's, without folders."""
    length: int
    """Bytes of all of it."""
    created: int
    """Unix seconds."""
    offset: int = 0
    """Bytes that have come."""
    expires: int = 0
    """Unix seconds at which it is removed, finished or not, unless more comes or a dataset is made of it before."""
    metadata: str = ""
    """As the client sent it, in the header's form."""

    @property
    def is_finished(self) -> bool:
        """Whether all of it has come."""
        return self.offset == self.length


class Uploads:
    """All uploads of a data directory; everything about them is on disk."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.datasets_dir / FOLDER
        self._limits = settings.limits

    def create(self, filename: str, length: int, metadata: str = "") -> Upload:
        """Begin one. Raises BadInput, TooLarge, or DiskFull where there is no room for all of it."""
        checked_filename(filename)
        if length > (most := self._limits.upload_bytes):
            raise TooLarge(f"{length} bytes are more than the {most} allowed (limits.upload_bytes)")
        made = Upload(
            id=secrets.token_hex(16), filename=filename, length=length, created=int(time.time()), metadata=metadata
        )
        with staged_folder(self._folder / made.id) as stage:
            if length > (free := shutil.disk_usage(stage).free):
                raise DiskFull(f"{length} bytes are more than the {free} that are free on the disk")
            (stage / ABOUT).write_bytes(msgspec.json.encode(made))
            (stage / DATA).touch()
        return self.find(made.id)

    def find(self, upload_id: str) -> Upload:
        """Raises UploadNotFound, also where its time is over."""
        folder = self._of(upload_id)
        try:
            about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=Upload)
            state = (folder / DATA).stat()
        except FileNotFoundError as error:
            raise _unknown(upload_id) from error
        except (OSError, msgspec.DecodeError) as error:
            raise StorageError(f"the upload {upload_id} cannot be read: {error}") from error
        offset = _unchecked(folder)
        offset = state.st_size if offset is None else min(offset, state.st_size)
        expires = int(state.st_mtime + 3600 * self._limits.upload_hours)
        if expires < time.time():
            raise _unknown(upload_id)
        return msgspec.structs.replace(about, offset=offset, expires=expires)

    def list_all(self) -> list[Upload]:
        """All that are not over, the latest first."""
        found = []
        for folder in self._folder.glob("*/") if self._folder.is_dir() else ():
            # Removed meanwhile, or damaged, which is told when it is asked for.
            with suppress(UploadNotFound, StorageError):
                found.append(self.find(folder.name))
        return sorted(found, key=lambda upload: (-upload.created, upload.id))

    def path(self, upload_id: str) -> Path:
        """The file that has come."""
        return self._of(upload_id) / DATA

    @contextmanager
    def opened(self, upload_id: str, offset: int, *, checked: bool = False) -> Iterator["Sink"]:
        """Write at `offset`, where the upload ends. checked: nothing counts until the sink's `keep`.

        Raises UploadNotFound; UploadLocked while another writes; Conflict for another offset.
        """
        self.find(upload_id)
        with self._held(upload_id) as descriptor:
            _settle(descriptor, self._of(upload_id))
            upload = self.find(upload_id)
            if offset != upload.offset:
                raise Conflict(f"the upload has {upload.offset} bytes, so it does not go on at {offset}")
            if checked:
                keep_file(self._of(upload_id) / UNCHECKED, str(offset).encode())
            sink = Sink(descriptor, upload)
            try:
                yield sink
            finally:
                if checked and not sink.kept:
                    sink.forget()
                sink.sync()
                (self._of(upload_id) / UNCHECKED).unlink(missing_ok=True)

    def remove(self, upload_id: str) -> None:
        """Raises UploadNotFound; UploadLocked while somebody writes it."""
        self.find(upload_id)
        with self._held(upload_id):
            remove_folder(self._of(upload_id))

    def sweep(self) -> None:
        """Remove those whose time is over, and what killed servers left of others."""
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another server was quicker
                if ID.fullmatch(folder.name):
                    self._sweep(folder)
                elif folder.name.startswith(".") and folder.stat().st_mtime < time.time() - SWEEP_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self, folder: Path) -> None:
        try:
            self.find(folder.name)
        except UploadNotFound:
            with suppress(UploadNotFound, UploadLocked), self._held(folder.name):
                remove_folder(folder)
                log.info("an upload was left and is removed", upload=folder.name)
        except StorageError as error:
            log.warning("an upload is damaged; remove its folder", upload=folder.name, error=error.message)

    def _of(self, upload_id: str) -> Path:
        if not ID.fullmatch(upload_id):
            raise _unknown(upload_id)
        return self._folder / upload_id

    @contextmanager
    def _held(self, upload_id: str) -> Iterator[int]:
        """The right to write it, as a descriptor of its data."""
        try:
            descriptor = os.open(self.path(upload_id), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _unknown(upload_id) from error
        except OSError as error:
            raise StorageError(f"the upload {upload_id} cannot be written: {error.strerror or error}") from error
        try:
            if not try_lock(descriptor):
                raise UploadLocked("another request sends bytes of this upload; wait, ask for its offset, go on")
            yield descriptor
        finally:
            os.close(descriptor)


class Sink:
    """Where an upload's bytes go, in the order in which they come."""

    def __init__(self, descriptor: int, upload: Upload) -> None:
        self._descriptor = descriptor
        self._unsynced = 0
        self.kept = False
        self.begin = self.offset = upload.offset
        self.length = upload.length

    def write(self, piece: bytes | bytearray) -> None:
        """More of it. Raises TooLarge, after which nothing that this sink was given counts; DiskFull, StorageError."""
        if self.offset + len(piece) > self.length:
            self.forget()
            raise TooLarge(f"more bytes came than the {self.length} that the upload is to have")
        rest = piece
        with self._told():
            while rest:
                count = os.write(self._descriptor, rest)
                self.offset += count
                self._unsynced += count
                rest = rest[count:]
        if self._unsynced >= SYNC_BYTES:
            self.sync()

    def keep(self) -> None:
        """What has come is right."""
        self.kept = True

    def forget(self) -> None:
        """What this sink was given never came."""
        os.ftruncate(self._descriptor, self.begin)
        self.offset = self.begin

    def sync(self) -> None:
        """Wait until what has come is on the disk."""
        with self._told():
            os.fsync(self._descriptor)
        self._unsynced = 0

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A disk's refusal as an error for people."""
        try:
            yield
        except OSError as error:
            if error.errno in NO_ROOM:
                raise DiskFull(
                    f"the disk is full: it had room for {self.offset} of the upload's {self.length} bytes; try again "
                    "once there is more"
                ) from error
            raise StorageError(f"the upload cannot be written: {error.strerror or error}") from error


async def keep_swept(settings: Callable[[], Settings]) -> None:
    """Sweep now and every hour, until cancelled; not while the clock was just set."""
    clock = SetClock()
    while True:
        try:
            if clock.is_trusted():
                await asyncio.to_thread(Uploads(settings()).sweep)
        except (MoreError, OSError) as error:
            log.warning("uploads cannot be swept", error=str(error))
        await asyncio.sleep(SWEEP_SECONDS)


def checked_filename(name: str) -> str:
    """A name for a file of recordings, which is no path. Raises BadInput."""
    if not name:
        raise BadInput("the upload has no filename; send it in Upload-Metadata, as base64", param="filename")
    if "/" in name or "\\" in name or name.startswith(".") or HIDDEN.search(name) or name != name.strip():
        raise BadInput(f"filename: {shown(name)} cannot be a file's name; send it without folders", param="filename")
    if (size := len(name.encode())) > MOST_NAME_BYTES:
        raise BadInput(f"filename has {size} bytes; at most {MOST_NAME_BYTES} are allowed", param="filename")
    if not (is_archive(name) or is_recording(name) or is_metadata(name)):
        kinds = allowed([ARCHIVE, *READABLE])
        raise BadInput(
            f"filename: {shown(name)} is neither an archive nor a recording ({kinds}) nor one of {allowed(METADATA)}",
            param="filename",
        )
    return name


def _unchecked(folder: Path) -> int | None:
    """The offset that holds while a checksum is not yet known to be right; None: all that has come holds."""
    try:
        return int((folder / UNCHECKED).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"the upload {folder.name} cannot be read: {error}") from error


def _settle(descriptor: int, folder: Path) -> None:
    """Forget what a killed server could not check any more."""
    if (offset := _unchecked(folder)) is not None:
        if os.fstat(descriptor).st_size > offset:
            os.ftruncate(descriptor, offset)
            os.fsync(descriptor)
        (folder / UNCHECKED).unlink(missing_ok=True)


def _unknown(upload_id: str) -> UploadNotFound:
    return UploadNotFound(f"there is no upload {shown(upload_id)}, or its time is over", param="id")
