"""An object store as this plugin needs it: few operations, errors in words, an end to every wait."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

# Here, not where they are used: of its first importers on several threads one gets half a module.
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from more_server import errors, files
from more_voice_object_store.words import details, in_words, lacks_bucket

LOCK_SECONDS = 2.0
WORKERS = 16
"""Requests at the same time: 100 manifests at 20 ms each take 0.15 s instead of 2."""
Item = TypeVar("Item")
Result = TypeVar("Result")
log = structlog.get_logger("more_voice_object_store")


class Entry(msgspec.Struct, frozen=True):
    """An object as listings tell of it."""

    key: str
    tag: str
    """Another one whenever its content has changed."""
    modified: datetime
    """By the storage's clock."""


class Bucket:
    """A bucket, or what lies below a prefix in one. Safe to use on any thread."""

    def __init__(self, name: str, store: Any, request_seconds: float, folder: Path | None = None) -> None:
        """store: one of obstore's, with `request_seconds` as its timeout. folder: where it is one on this machine."""
        self.name = name
        self.store = store
        self.request_seconds = request_seconds
        self.folder = folder

    def locked(self, voice_id: str) -> AbstractContextManager[None]:
        """The right to change a voice in a folder, which has no conditional replacement; buckets need no lock."""
        return nullcontext() if self.folder is None else files.locked(self.folder / voice_id, seconds=LOCK_SECONDS)

    def sweep_unfinished(self, prefix: str) -> None:
        """Remove what a killed process had begun to write to a folder; no listing shows it. Hold the lock.

        Buckets keep nothing of such an object.
        """
        if self.folder is None:
            return
        try:
            for path in (self.folder / prefix).rglob("*#[0-9]*"):  # the library's name until an object is whole
                path.unlink(missing_ok=True)
                with suppress(OSError):  # there are others in it
                    path.parent.rmdir()
        except OSError as error:
            raise self.failure(error.strerror or str(error)) from error

    def session(self) -> "Session":
        """For the requests that make up one piece of work."""
        return Session(self)

    def failure(self, words: str) -> errors.StorageError:
        """An error that names the store."""
        return errors.StorageError(f"the voice store {self.name!r} cannot be used: {words}")


class Session:
    """Requests, none of which begins later than a request may take, so that all end within twice that.

    Each raises StorageError in words where the storage fails.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._store = bucket.store
        self._last = time.monotonic() + bucket.request_seconds

    def get(self, key: str) -> bytes | None:
        """Content of an object; None where there is none."""
        found = self.get_tagged(key)
        return None if found is None else found[0]

    def get_tagged(self, key: str) -> tuple[bytes, str] | None:
        """Content of an object and its tag; None where there is none."""
        with self._request():
            try:
                result = self._store.get(key)
                return bytes(result.bytes()), _tag(result.meta)
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise
                return None

    def has(self, key: str) -> bool:
        """Whether there is such an object."""
        with self._request():
            try:
                self._store.head(key)
            except FileNotFoundError:
                return False
            return True

    def put(self, key: str, content: bytes) -> None:
        """Keep an object, whatever was there before."""
        with self._request():
            # In one request: an upload in parts that breaks off leaves parts behind that no listing shows.
            self._store.put(key, content, use_multipart=False)

    def create(self, key: str, content: bytes) -> bool:
        """Keep an object where there is none; False where there is one."""
        with self._request():
            try:
                self._store.put(key, content, mode="create")
            except AlreadyExistsError:
                return False
            return True

    def replace(self, key: str, content: bytes, tag: str) -> bool:
        """Change an object that still has this tag; False where it has another one or is gone.

        In a folder the tag does not count: hold the lock.
        """
        mode: Any = "overwrite" if self._bucket.folder else msgspec.json.decode(tag)
        with self._request():
            try:
                self._store.put(key, content, mode=mode)
            except PreconditionError:
                return False
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise
                return False
            return True

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are passed over."""
        # A folder gives up at the first one that is missing; the others remove many in one request.
        for some in [[key] for key in keys] if self._bucket.folder else [list(keys)] if keys else []:
            with self._request():
                try:
                    self._store.delete(some)
                except FileNotFoundError as error:
                    if lacks_bucket(error):
                        raise

    def entries(self, prefix: str) -> list[Entry]:
        """All objects whose keys begin with these whole parts of a path."""
        if self._bucket.folder and not self._bucket.folder.is_dir():
            raise self._bucket.failure("its folder is gone")
        found = []
        with self._request():
            for chunk in self._store.list(prefix, chunk_size=1000):
                found += [Entry(meta["path"], _tag(meta), meta["last_modified"]) for meta in chunk]
                self._check_time()
        return found

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Work on items, several at a time; results in their order, or what the first one that failed raised."""
        items = list(items)
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(min(WORKERS, len(items))) as pool:
            return list(pool.map(work, items))

    def _check_time(self) -> None:
        if time.monotonic() > self._last:
            raise self._bucket.failure("it answers too slowly (timeout_seconds)")

    @contextmanager
    def _request(self) -> Iterator[None]:
        self._check_time()
        try:
            yield
        except errors.MoreError:
            raise
        except BaseException as error:
            # The library's panics are no Exceptions, and would end whatever thread they reach.
            panic = type(error).__name__ == "PanicException"
            if not (panic or isinstance(error, BaseError | OSError | ValueError | NotImplementedError)):
                raise
            log.warning("the storage failed", store=self._bucket.name, details=details(error))
            raise self._bucket.failure(in_words(error)) from None


def _tag(meta: Any) -> str:
    """What the library recognises a version of an object by, as JSON: Google's number, the others' ETag."""
    return msgspec.json.encode({name: meta[name] for name in ("e_tag", "version") if meta.get(name)}).decode()
