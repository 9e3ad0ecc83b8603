"""Consents to a voice being cloned: a recording of whoever gives it and what is told of it, a folder each."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import structlog

from more_server.audio import apart
from more_server.audio.read import read
from more_server.errors import BadInput, ConsentNotFound, StorageError, allowed, shown
from more_server.files import keep_file, locked, read_file, remove_folder, staged_folder, sweep
from more_server.tables import LimitSettings
from more_server.voice_toml import REFERENCE_SUFFIXES
from more_server.voicebank.details import HIDDEN, MOST_TITLE
from more_server.voices import CHECK_SAMPLE_RATE

PREFIX = "cons_"
"""Of every consent's id, OpenAI's too; words that somebody wrote do not begin so."""
CONSENT_ID = re.compile(PREFIX + "[0-9a-f]{24}")
LANGUAGE = re.compile("[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}")
"""The form of BCP 47; the model need not speak the language of a consent."""
FILE_NAME = "consent.json"
PATIENCE_SECONDS = 5.0
"""Longest wait for another writer; each holds the folder for as long as a recording takes to be written."""

log = structlog.get_logger("more_server.voicebank")


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a consent."""

    id: str
    """Sorts by the moment at which it was made."""
    name: str
    """1 to 100 visible characters."""
    language: str
    """Of the recording, a BCP-47 tag as it was sent."""
    created_at: int
    """Unix seconds."""
    recording: str
    """Name of the file beside."""

    def words(self) -> str:
        """What a voice keeps of it, whatever becomes of the consent itself."""
        day = datetime.fromtimestamp(self.created_at, UTC).date().isoformat()
        return f"{self.name} ({self.language}), recording {self.id} of {day}"


def new_consent(name: str, language: str, suffix: str) -> Consent:
    """A consent to be added, whose recording has this suffix. Raises BadInput naming the field."""
    tag = language.strip()
    if not LANGUAGE.fullmatch(tag):
        raise BadInput(f"language: {shown(language)} is no BCP-47 tag, such as en-US", param="language")
    now = time.time()
    return Consent(
        id=f"{PREFIX}{round(now * 1000):012x}{secrets.token_hex(6)}",
        name=checked_name(name),
        language=tag,
        created_at=int(now),
        recording=f"recording{suffix}",
    )


def checked_name(name: str) -> str:
    """What a consent, or a voice, is called. Raises BadInput."""
    found = name.strip()
    if not 1 <= len(found) <= MOST_TITLE or HIDDEN.search(found):
        raise BadInput(f"name: {shown(name)} must be 1 to {MOST_TITLE} visible characters", param="name")
    return found


def check_recording(suffix: str, content: bytes, limits: LimitSettings) -> None:
    """Decode a recording apart. Raises BadInput or TooLarge for what cannot be read as audio, or is silent."""
    if suffix not in REFERENCE_SUFFIXES:
        raise BadInput(
            f"a recording cannot be a {shown(suffix) if suffix else 'nameless'} file; "
            f"allowed are {allowed(REFERENCE_SUFFIXES)}",
            param="recording",
        )
    audio = read(
        content,
        sample_rate=CHECK_SAMPLE_RATE,
        max_bytes=limits.reference_bytes,
        max_seconds=limits.reference_seconds,
        max_channels=limits.reference_channels,
        param="recording",
        by=apart.decode,
    )
    if not np.abs(audio.samples).max() > 0:
        raise BadInput("the recording is silent; somebody has to be heard who consents", param="recording")


class Consents:
    """All of them. Its methods block, on any thread and in any process at the same time."""

    def __init__(self, shelf: "Shelf") -> None:
        """shelf: where they are kept."""
        self._shelf = shelf

    def page(self, after: str, limit: int) -> tuple[list[Consent], bool]:
        """At most so many, the latest first, from the one after `after` on, and whether there are more.

        `after` may have been removed meanwhile; empty, it is the beginning. One that cannot be read is left out.
        Raises BadInput or StorageError.
        """
        if after and not CONSENT_ID.fullmatch(after):
            raise BadInput(f"after: {shown(after)} is no consent's id", param="after")
        found: list[Consent] = []
        for consent_id, content in self._shelf.latest(after):
            try:
                found.append(_decoded(consent_id, content))
            except StorageError as error:
                log.warning("a consent is left out", reason=error.message)
            if len(found) > limit:
                break
        return found[:limit], len(found) > limit

    def find(self, consent_id: str) -> Consent:
        """Raises ConsentNotFound or StorageError."""
        content = self._shelf.read(consent_id) if CONSENT_ID.fullmatch(consent_id) else None
        if content is None:
            raise _missing(consent_id)
        return _decoded(consent_id, content)

    def add(self, consent: Consent, recording: bytes) -> None:
        """Keep a new one with its recording, which was checked. Raises StorageError."""
        self._shelf.add(consent, recording)

    def rename(self, consent_id: str, name: str) -> Consent:
        """Raises BadInput, ConsentNotFound or StorageError."""
        name = checked_name(name)

        def renamed(content: bytes) -> bytes:
            return msgspec.json.encode(msgspec.structs.replace(_decoded(consent_id, content), name=name))

        made = self._shelf.change(consent_id, renamed) if CONSENT_ID.fullmatch(consent_id) else None
        if made is None:
            raise _missing(consent_id)
        return _decoded(consent_id, made)

    def remove(self, consent_id: str) -> None:
        """Delete one and its recording, a damaged one too. Raises ConsentNotFound or StorageError."""
        if not (CONSENT_ID.fullmatch(consent_id) and self._shelf.remove(consent_id)):
            raise _missing(consent_id)


class Shelf(Protocol):
    """Where consents are kept, by ids that CONSENT_ID fits. All of it raises StorageError."""

    def latest(self, after: str) -> Iterator[tuple[str, bytes]]:
        """Ids and what is told of them, as JSON, the latest first, from the one after `after` on; empty: all."""

    def read(self, consent_id: str) -> bytes | None:
        """What is told of one, as JSON; None: there is none."""

    def add(self, consent: Consent, recording: bytes) -> None:
        """Keep a new one."""

    def change(self, consent_id: str, change: Callable[[bytes], bytes]) -> bytes | None:
        """Tell something else of one, by one writer at a time, and what that is; None: there is none."""

    def remove(self, consent_id: str) -> bool:
        """Delete one with its recording; False: there is none."""


class FolderShelf:
    """`consents/` in a folder, and a folder for each there."""

    def __init__(self, folder: Path) -> None:
        self._home = folder / "consents"

    def latest(self, after: str) -> Iterator[tuple[str, bytes]]:
        """Ids and what is told of them, as JSON, the latest first, from the one after `after` on; empty: all.

        Raises StorageError; one alone that cannot be read is left out.
        """
        for consent_id in sorted(self._ids(), reverse=True):
            if not after or consent_id < after:
                try:
                    content = self.read(consent_id)
                except StorageError as error:
                    log.warning("a consent is left out", reason=error.message)
                    continue
                if content is not None:  # removed a moment ago
                    yield consent_id, content

    def _ids(self) -> list[str]:
        try:
            return [path.name for path in self._home.iterdir() if CONSENT_ID.fullmatch(path.name)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self._home} cannot be read: {error.strerror or error}") from error

    def read(self, consent_id: str) -> bytes | None:
        """What is told of one, as JSON; None: there is none. Raises StorageError."""
        return read_file(self._home / consent_id / FILE_NAME)

    def recording(self, consent: Consent) -> bytes:
        """Raises StorageError, also where it is missing."""
        path = self._home / consent.id / consent.recording
        content = read_file(path)
        if content is None:
            raise StorageError(f"{path} is missing")
        return content

    def add(self, consent: Consent, recording: bytes) -> None:
        """Keep a new one. Raises StorageError."""
        with locked(self._home, seconds=PATIENCE_SECONDS):
            sweep(self._home / f"{PREFIX}*")  # of all: whoever left something there is dead
            with staged_folder(self._home / consent.id) as stage:
                stage.chmod(0o700)
                (stage / consent.recording).write_bytes(recording)
                (stage / FILE_NAME).write_bytes(msgspec.json.encode(consent))

    def change(self, consent_id: str, change: Callable[[bytes], bytes]) -> bytes | None:
        """Tell something else of one, and what that is; None: there is none. Raises StorageError."""
        path = self._home / consent_id / FILE_NAME
        with locked(self._home, seconds=PATIENCE_SECONDS):
            content = self.read(consent_id)
            if content is None:
                return None
            changed = change(content)
            keep_file(path, changed)
            return changed

    def remove(self, consent_id: str) -> bool:
        """Delete one with its recording; False: there is none. Raises StorageError."""
        folder = self._home / consent_id
        with locked(self._home, seconds=PATIENCE_SECONDS):
            if not folder.is_dir():
                return False
            remove_folder(folder)
            return True


def _decoded(consent_id: str, content: bytes) -> Consent:
    try:
        return msgspec.json.decode(content, type=Consent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"the consent {consent_id} is damaged: {error}; mend it, or remove it") from error


def _missing(consent_id: str) -> ConsentNotFound:
    return ConsentNotFound(f"there is no consent {shown(consent_id)}", param="consent")
