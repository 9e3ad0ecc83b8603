"""The list of voices in a bucket, from memory for as long as it is fresh."""

import threading
import time

from more_server import Listing, Voice, check_voice_id, errors
from more_voice_object_store.bucket import Bucket, Session
from more_voice_object_store.manifest import FILE_NAME, ROOT, Manifest, clip_key, decoded, manifest_key

Known = dict[str, tuple[str, Manifest | str]]
"""Tag and content of manifests by voice; instead of the content of one that cannot be used, a sentence telling why."""


class Catalogue:
    """Asks for all keys, and for the manifests that have changed. One thread asks, the others wait for its answer.

    A failure is remembered too: while the storage is out of reach, requests do not each wait for it to time out.
    """

    def __init__(self, bucket: Bucket, seconds: float) -> None:
        """seconds: how long an answer is fresh."""
        self._bucket = bucket
        self._seconds = seconds
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._known: Known = {}
        self._kept: tuple[float, Listing] | None = None
        self._failure: tuple[float, str] | None = None
        self._changes = 0
        self._wanted = float("-inf")

    def listing(self) -> Listing:
        """All voices. Raises StorageError."""
        self._wanted = time.monotonic()
        if (kept := self._fresh()) is not None:
            return kept
        with self._asking:
            return self._fresh() or self._ask()

    def refresh(self, unused_seconds: float) -> None:
        """Ask now, so that nobody has to wait for it, unless nobody has wanted the list for so long."""
        if time.monotonic() - self._wanted < unused_seconds:
            with self._asking:
                self._ask()

    def forget(self) -> None:
        """Something was changed from here; an answer that was asked for before does not count either."""
        with self._lock:
            self._changes += 1
            self._kept = self._failure = None

    def _fresh(self) -> Listing | None:
        with self._lock:
            now = time.monotonic()
            if self._kept is not None and now < self._kept[0]:
                return self._kept[1]
            if self._failure is not None and now < self._failure[0]:
                raise errors.StorageError(self._failure[1])
            return None

    def _ask(self) -> Listing:
        with self._lock:
            changes, began = self._changes, time.monotonic()
        try:
            listing = self._read()
        except errors.StorageError as error:
            with self._lock:
                self._failure = (time.monotonic() + max(1.0, self._seconds / 2), error.message)
            raise
        with self._lock:
            if changes == self._changes:
                self._kept, self._failure = (began + self._seconds, listing), None
        return listing

    def _read(self) -> Listing:
        session = self._bucket.session()
        tags: dict[str, str] = {}
        keys = set()
        for entry in session.entries(ROOT):
            voice_id, _, inside = entry.key.removeprefix(f"{ROOT}/").partition("/")
            keys.add(entry.key)
            if inside == FILE_NAME:
                tags[voice_id] = entry.tag
        known = {
            one: self._known[one] for one, tag in tags.items() if one in self._known and self._known[one][0] == tag
        }
        changed = sorted(tags.keys() - known.keys())
        read = session.each(lambda one: _manifest(session, one), changed)
        known |= {one: found for one, found in zip(changed, read, strict=True) if found is not None}
        self._known = known
        return self._listing(session, keys)

    def _listing(self, session: Session, keys: set[str]) -> Listing:
        voices: list[Voice] = []
        problems: list[str] = []
        for voice_id, (_, manifest) in sorted(self._known.items()):
            found: Voice | str | None
            if isinstance(manifest, str):
                found = manifest
            elif all(clip_key(voice_id, manifest.version, name) in keys for name in manifest.references):
                found = manifest.voice(voice_id, self._bucket.name)
            else:
                found = self._looked_at(session, voice_id)
            if isinstance(found, Voice):
                voices.append(found)
            elif found is not None:
                problems.append(found)
        return Listing(tuple(voices), tuple(problems))

    def _looked_at(self, session: Session, voice_id: str) -> Voice | str | None:
        """A voice of which the keys lacked a clip: it may have been written, or removed, while they were listed.

        A sentence where the clip is missing indeed, None where the voice is gone.
        """
        before = ""
        while (found := _manifest(session, voice_id)) is not None:
            manifest = found[1]
            if isinstance(manifest, str):
                return manifest
            keys = {name: clip_key(voice_id, manifest.version, name) for name in manifest.references}
            lacking = [name for name, key in keys.items() if not session.has(key)]
            if not lacking:
                return manifest.voice(voice_id, self._bucket.name)
            if manifest.version == before:
                return f"voice {voice_id}: its clip {lacking[0]!r} is not in the store {self._bucket.name!r}"
            before = manifest.version
        return None


def _manifest(session: Session, voice_id: str) -> tuple[str, Manifest | str] | None:
    found = session.get_tagged(manifest_key(voice_id))
    if found is None:
        return None
    content, tag = found
    try:
        check_voice_id(voice_id)
        return tag, decoded(content)
    except errors.BadInput as error:
        return tag, error.message
    except (ValueError, RecursionError) as error:
        return tag, f"voice {voice_id}: its {FILE_NAME} cannot be used: {error}"
