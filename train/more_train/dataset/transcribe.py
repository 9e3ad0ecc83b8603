"""Texts for recordings that have none: Whisper through faster-whisper, from a folder on disk and nowhere else."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from more_server.audio.read import decode, resample
from more_server.errors import BadInput, MoreError, StorageError
from more_train.dataset.metadata import cleaned
from more_train.dataset.settings import cores

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

RATE = 16_000
NEEDED = ("config.json", "model.bin", "tokenizer.json")
"""Without tokenizer.json faster-whisper asks the hub, for a folder on disk too."""
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")
MOST_SECONDS = 30.0
"""What Whisper hears at once."""


class Transcript(msgspec.Struct, frozen=True):
    """What Whisper heard in a clip."""

    key: str
    """Of the clip's samples, the model and the language."""
    text: str
    """In one line; empty where it heard nothing."""
    confidence: float
    """Mean log-probability of its tokens."""
    repetition: float
    """How well the text compresses: above 2.4 it runs in circles, as Whisper's own bound has it."""


class Whisper:
    """A model that is on disk; loaded with the first clip."""

    def __init__(self, folder: Path, language: str) -> None:
        """Raises BadInput naming the files that are missing."""
        self._folder = folder
        self._language = language.partition("-")[0]
        if not folder.is_dir():
            raise BadInput(
                f"{folder} is not a folder; whisper names one with a Whisper model in CTranslate2's format, such as "
                "Systran/faster-whisper-small of the Hugging Face hub, downloaded",
                param="whisper",
            )
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if not any((folder / name).is_file() for name in VOCABULARIES):
            missing.append(" or ".join(VOCABULARIES))
        if missing:
            raise BadInput(f"the Whisper model {folder} lacks {', '.join(missing)}", param="whisper")
        self._stamp = _stamp(folder, self._language)
        self._model: WhisperModel | None = None

    def key(self, sound: str) -> str:
        """Of what this model makes of these samples."""
        return f"{sound}-{self._stamp}"

    def transcribe(self, sound: str, content: bytes) -> Transcript:
        """What is said in a clip, a file's content. Raises BadInput for a model that cannot be used."""
        clip = decode(content, max_seconds=MOST_SECONDS + 1, max_channels=1)
        heard = resample(clip.samples, clip.sample_rate, RATE)
        model = self._model or self._loaded()
        try:
            # Without sampling and without a memory of other clips: the same clip gives the same text.
            segments, _ = model.transcribe(
                heard, language=self._language, beam_size=5, temperature=0.0, condition_on_previous_text=False,
                without_timestamps=True, no_speech_threshold=None,
            )  # fmt: skip
            found = list(segments)
        except (RuntimeError, ValueError) as error:
            raise self._broken(error) from error
        return Transcript(
            key=self.key(sound),
            text=cleaned(" ".join(segment.text for segment in found)),
            confidence=round(float(np.mean([segment.avg_logprob for segment in found])), 3) if found else -99.0,
            repetition=round(max((segment.compression_ratio for segment in found), default=0.0), 2),
        )

    def _loaded(self) -> "WhisperModel":
        try:
            from faster_whisper import WhisperModel
        except ModuleNotFoundError as error:
            raise MoreError("faster-whisper is missing: pip install 'more-server[transcribe]'") from error
        try:
            model = WhisperModel(str(self._folder), cpu_threads=cores(), compute_type="auto", local_files_only=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise self._broken(error) from error
        if not model.model.is_multilingual and self._language != "en":
            raise BadInput(
                f"the Whisper model {self._folder} knows English alone; the dataset's language is {self._language}",
                param="whisper",
            )
        self._model = model
        return model

    def _broken(self, error: Exception) -> BadInput:
        return BadInput(f"the Whisper model {self._folder} cannot be used: {error}", param="whisper")


def _stamp(folder: Path, language: str) -> str:
    """Another one where the model may say something else. Raises StorageError."""
    try:
        state = (folder / "model.bin").stat()
        parts = [language, str(state.st_size), str(state.st_mtime_ns), (folder / "config.json").read_text("utf-8")]
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder} cannot be read: {error}") from error
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
