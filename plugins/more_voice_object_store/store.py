"""Voices in a bucket: each is there whole or not at all, whichever server writes and whenever one of them dies."""

import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog

from more_server import Listing, Voice, VoiceStore, check_voice_id, errors, voice_toml
from more_voice_object_store.bucket import Bucket, Session
from more_voice_object_store.catalogue import Catalogue
from more_voice_object_store.manifest import (
    ROOT,
    Manifest,
    clip_key,
    decoded,
    encoded,
    manifest_key,
    manifest_of,
)

KEY = re.compile(r"[0-9a-f]{64}")
ATTEMPTS = 5
"""To change a manifest that others keep changing."""
log = structlog.get_logger("more_voice_object_store")


class ObjectVoiceStore(VoiceStore):
    """Methods ask the bucket, except for `list`, whose answer is kept for some seconds."""

    writable = True
    orphan_seconds = 3600.0
    """Age at which a clip that no manifest names was left by a dead writer: a living one is done, or gives up, sooner.

    Clocks do not matter: storages refuse requests of a machine whose clock is off by a quarter of an hour.
    """

    def __init__(self, name: str, bucket: Bucket, refresh_seconds: float) -> None:
        self.name = name
        self.catalogue = Catalogue(bucket, refresh_seconds)
        """Kept fresh by the refresher."""
        self._bucket = bucket

    def list(self) -> Listing:
        """All voices, as they were at most `refresh_seconds` ago; changes made through this store are seen at once."""
        return self.catalogue.listing()

    def read(self, voice_id: str, reference: str) -> bytes:
        """Content of a reference clip. Raises VoiceNotFound."""
        _check_name(voice_id)
        session = self._bucket.session()
        manifest, _ = _found(session, voice_id)
        missing = errors.VoiceNotFound(f"the voice {voice_id!r} has no clip {errors.shown(reference)}", param="voice")
        if reference not in manifest.references:
            raise missing
        content = session.get(clip_key(voice_id, manifest.version, reference))
        if content is None:  # removed since the manifest was read
            raise missing
        return content

    def write(self, voice: Voice, clips: Mapping[str, bytes]) -> None:
        """Keep a new voice. Raises BadInput for a name that does not fit or is taken, if only just now by another."""
        voice_toml.check_new_voice(voice, clips)
        manifest = manifest_of(voice, secrets.token_hex(16))
        content = encoded(manifest)
        keys = {clip_key(voice.id, manifest.version, name): name for name in voice.references}
        taken = errors.BadInput(
            f"a voice {voice.id!r} exists already; remove it first or choose another name", param="name"
        )
        with self._bucket.locked(voice.id):
            session = self._bucket.session()
            if session.has(manifest_key(voice.id)):
                raise taken
            try:
                session.each(lambda key: session.put(key, clips[keys[key]]), keys)
            except BaseException:
                _discard(session, tuple(keys))
                raise
            if not _commit(session, voice.id, manifest, content):
                _discard(session, tuple(keys))
                raise taken
            self._sweep(session, voice.id, manifest.version)
        self.catalogue.forget()

    def update(self, voice: Voice) -> None:
        """Replace what is known of a voice, its clips and mix excepted. Raises VoiceNotFound."""
        _check_name(voice.id)
        with self._bucket.locked(voice.id):
            session = self._bucket.session()
            for _ in range(ATTEMPTS):
                manifest, tag = _found(session, voice.id)
                new = msgspec.structs.replace(voice, references=manifest.references, mix=manifest.mix)
                content = encoded(manifest_of(new, manifest.version))
                if session.replace(manifest_key(voice.id), content, tag):
                    self.catalogue.forget()
                    return
        raise self._bucket.failure(f"the voice {voice.id!r} is being changed by others; try again")

    def delete(self, voice_id: str) -> None:
        """Remove a voice, a broken one too. Raises VoiceNotFound."""
        _check_name(voice_id)
        with self._bucket.locked(voice_id):
            session = self._bucket.session()
            content = session.get(manifest_key(voice_id))
            if content is None:
                raise _not_found(voice_id)
            session.delete([manifest_key(voice_id)])
            self.catalogue.forget()
            # The clips of a manifest that cannot be used go with the orphans.
            with suppress(ValueError, RecursionError):
                manifest = decoded(content)
                _discard(session, [clip_key(voice_id, manifest.version, name) for name in manifest.references])
            self._sweep(session, voice_id, "")

    def read_derived(self, key: str) -> bytes | None:
        """What was kept under a key."""
        return self._bucket.session().get(_derived_key(key))

    def write_derived(self, key: str, content: bytes) -> None:
        """Keep what can be worked out again; the bucket's own rules may remove it by age (`derived/`)."""
        self._bucket.session().put(_derived_key(key), content)

    def _sweep(self, session: Session, voice_id: str, version: str) -> None:
        """Remove what dead writers of this voice left; the voice is as it should be whether that succeeds or not."""
        now, kept = datetime.now(UTC), (manifest_key(voice_id), clip_key(voice_id, version, ""))
        try:
            entries = session.entries(f"{ROOT}/{voice_id}")
            orphans = [entry for entry in entries if not entry.key.startswith(kept)]
            old = [one.key for one in orphans if (now - one.modified).total_seconds() >= self.orphan_seconds]
            session.delete(old)
            self._bucket.sweep_unfinished(f"{ROOT}/{voice_id}")
        except errors.StorageError as error:
            log.warning("clips of no voice stay behind", store=self.name, voice_id=voice_id, reason=error.message)


def _commit(session: Session, voice_id: str, manifest: Manifest, content: bytes) -> bool:
    """Put the manifest where there is none; False where another writer's lies.

    Where it raises, the manifest may lie there sooner or later all the same, so its clips have to stay.
    """
    key = manifest_key(voice_id)
    try:
        if session.create(key, content):
            return True
    except errors.StorageError:
        # The answer may be lost, not the request.
        if _holds(session, key, manifest):
            return True
        raise
    # The library tries again by itself, and may have met its own first try.
    return _holds(session, key, manifest)


def _holds(session: Session, key: str, manifest: Manifest) -> bool:
    content = session.get(key)
    return content is not None and manifest.version.encode() in content


def _discard(session: Session, keys: Sequence[str]) -> None:
    """Remove clips that no manifest names; those that stay are swept later."""
    with suppress(errors.StorageError):
        session.delete(keys)


def _found(session: Session, voice_id: str) -> tuple[Manifest, str]:
    """A voice's manifest and its tag. Raises VoiceNotFound."""
    found = session.get_tagged(manifest_key(voice_id))
    if found is None:
        raise _not_found(voice_id)
    try:
        return decoded(found[0]), found[1]
    except (ValueError, RecursionError) as error:
        raise errors.VoiceNotFound(f"voice {voice_id} cannot be used: {error}", param="voice") from error


def _check_name(voice_id: str) -> None:
    try:
        check_voice_id(voice_id)
    except errors.BadInput as error:
        raise errors.VoiceNotFound(error.message, param="voice") from error


def _not_found(voice_id: str) -> errors.VoiceNotFound:
    return errors.VoiceNotFound(f"there is no voice {voice_id!r} in this store", param="voice")


def _derived_key(key: str) -> str:
    if not KEY.fullmatch(key):
        raise errors.BadInput(f"{errors.shown(key)} is no key: 64 hexadecimal digits are")
    return f"derived/{key}"
