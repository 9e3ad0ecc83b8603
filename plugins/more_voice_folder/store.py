"""Voices of a folder, written: each is there whole or not at all, whoever else writes and whenever the power fails."""

import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from more_server import Voice, check_voice_id, errors, files, voice_toml
from more_voice_folder.derived import DerivedFiles
from more_voice_folder.memory import Memory
from more_voice_folder.reading import Contents, ReadOnlyFolder

LOCK_SECONDS = 5.0
"""Longest wait for another writer of the same voice: half of the time after which a plugin counts as hung."""


class FolderStore(ReadOnlyFolder):
    """A folder that can be written. While a watcher vouches for it, its contents come from memory."""

    writable = True

    def __init__(self, name: str, home: Path, derived: DerivedFiles, fixed: Collection[str] = ()) -> None:
        super().__init__(name, home, derived)
        self.memory = Memory(home)
        """What the watcher keeps true."""
        self._fixed = frozenset(fixed)
        self._own: set[str] = set()
        self._own_lock = threading.Lock()

    def contents(self) -> Contents:
        """Voices and problems."""
        return self.memory.get(super().contents)

    def write(self, voice: Voice, clips: Mapping[str, bytes]) -> None:
        """Keep a new voice. Raises BadInput for a name that does not fit or is taken."""
        voice_toml.check_new_voice(voice, clips)
        description = voice_toml.written(voice)
        folder = self.home / voice.id
        with files.locked(folder, seconds=LOCK_SECONDS):
            if os.path.lexists(folder):
                raise errors.BadInput(
                    f"a voice {voice.id!r} exists already; remove it first or choose another name", param="name"
                )
            files.sweep(folder)
            with files.staged_folder(folder) as stage:
                for name in voice.references:
                    (stage / name).write_bytes(clips[name])
                (stage / voice_toml.FILE_NAME).write_bytes(description)
        self._changed(voice.id)

    def update(self, voice: Voice) -> None:
        """Replace what is known of a voice. Raises VoiceNotFound, or BadInput for one that came with the program."""
        path = self.home / voice.id / voice_toml.FILE_NAME
        self._check_changeable(voice.id)
        with files.locked(path.parent, seconds=LOCK_SECONDS):
            content = voice_toml.written(msgspec.structs.replace(voice, mix=self._find(voice.id).mix))
            files.sweep(path)
            try:
                files.write_file(path, content)
            except OSError as error:
                raise errors.StorageError(f"{path} cannot be written: {error.strerror or error}") from error
        self._changed(voice.id)

    def delete(self, voice_id: str) -> None:
        """Remove a voice, a broken one too. Raises VoiceNotFound, or BadInput for one that came with the program."""
        folder = self.home / voice_id
        self._check_changeable(voice_id)
        with files.locked(folder, seconds=LOCK_SECONDS):
            if not folder.is_dir():
                raise errors.VoiceNotFound(f"there is no voice {voice_id!r} in {self.home}", param="voice")
            files.remove_folder(folder)
        self._changed(voice_id)

    def was_own(self, voice_id: str) -> bool:
        """Whether this store changed the voice since it was last asked about it."""
        with self._own_lock:
            known = voice_id in self._own
            self._own.discard(voice_id)
            return known

    def _changed(self, voice_id: str) -> None:
        with self._own_lock:
            self._own.add(voice_id)
        self.memory.forget()

    def _check_changeable(self, voice_id: str) -> None:
        try:
            check_voice_id(voice_id)
        except errors.BadInput as error:
            raise errors.VoiceNotFound(error.message, param="voice") from error
        if self._is_fixed(voice_id):
            raise errors.BadInput(f"the voice {voice_id!r} came with the program; it stays", param="voice")
        if not (self.home / voice_id).is_dir():  # told before a lock is left for a voice that never was
            raise errors.VoiceNotFound(f"there is no voice {voice_id!r} in {self.home}", param="voice")

    def _is_fixed(self, voice_id: str) -> bool:
        return voice_id in self._fixed
