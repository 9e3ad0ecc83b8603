"""What a dataset is to be like. Every default stands here, with its reason."""

import os
from typing import Annotated

import msgspec
from msgspec import Meta

from more_server.errors import BadInput, allowed, shown
from more_server.text import LANGUAGES, resolve_language

Positive = Annotated[float, Meta(gt=0)]
Natural = Annotated[int, Meta(ge=0)]


class DatasetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How recordings become clips, and which clips are refused."""

    language: str
    """What is spoken, one of XTTS's languages: texts in another one are refused."""
    name: str = ""
    """What the dataset is called; empty: as the source is."""
    speaker: str = ""
    """Who speaks where metadata.csv names nobody; empty: the dataset's name."""
    whisper: str = ""
    """Folder of a Whisper model in CTranslate2's format, which writes the texts where there is no metadata.csv."""
    shortest_seconds: Positive = 1.0
    """Seconds of a clip, ends included: XTTS takes 3 to 6 s of a clip for its voice and can learn little from less."""
    preferred_seconds: Positive = 6.0
    """Seconds that a cut recording's clips should have at least: the field's 6 to 12 s hold a sentence or two."""
    longest_seconds: Annotated[float, Meta(gt=0, le=30)] = 12.0
    """Seconds of a clip, ends included: the longest sets the memory of a training step. Whisper hears 30 s at once."""
    longest_pause: Positive = 1.0
    """Seconds of silence that a clip may span: what is longer parts it, else the voice learns to dawdle."""
    pad_seconds: Annotated[float, Meta(ge=0.05, le=0.5)] = 0.15
    """Seconds before the first and behind the last sound: voices trained on clips without them cut words off."""
    loudness: Annotated[float, Meta(ge=-40, le=-10)] = -20.0
    """LUFS that every clip is brought to, so that the voice learns one level."""
    peak: Annotated[float, Meta(ge=-20, le=0)] = -1.0
    """dBFS that no sample passes: such a clip stays softer, as a limiter would teach its distortion."""
    least_signal_to_noise: Annotated[float, Meta(ge=0, le=60)] = 15.0
    """Decibels, as estimated: below it noise is learnt with the voice. Clean speech measures 22 and more."""
    most_clipped: Annotated[float, Meta(ge=0, le=1)] = 0.001
    """Share of samples in flat tops, from which on clipping is heard."""
    pace_deviations: Positive = 4.0
    """Robust standard deviations between a clip's pace and its speaker's: beyond them the text is another clip's."""
    least_confidence: Annotated[float, Meta(le=0)] = -1.0
    """Mean log-probability of Whisper's words; below its own bound of -1 they are guesses."""
    most_files: Annotated[int, Meta(gt=0)] = 500_000
    """Files of a source: what a person collects has fewer, and each takes 1 kB of memory."""
    most_file_bytes: Annotated[int, Meta(gt=0)] = 4_294_967_296
    """Bytes of one recording, 4 GiB: a WAV cannot be larger, and one out of an archive needs as much room on disk."""
    most_bytes: Annotated[int, Meta(gt=0)] = 549_755_813_888
    """Bytes of all recordings, 512 GiB, as an archive declares them: more is a bomb."""
    most_hours: Positive = 12.0
    """Hours of one recording: while it is cut it takes up to 0.7 GB an hour on the disk of the dataset."""
    workers: Natural = 0
    """Recordings that are cut at a time; 0: as many as there are cores. The result does not depend on it."""

    def checked(self) -> "DatasetSettings":
        """These settings with the language by its code. Raises BadInput naming the one that does not fit."""
        try:
            msgspec.convert(msgspec.to_builtins(self), DatasetSettings)
        except msgspec.ValidationError as error:
            raise BadInput(f"the settings of the dataset do not fit: {error}") from error
        language = resolve_language(self.language)
        if language is None:
            raise BadInput(
                f"language {shown(self.language)} is not known; allowed are {allowed(LANGUAGES)}", param="language"
            )
        if not self.shortest_seconds <= self.preferred_seconds < self.longest_seconds:
            raise BadInput(
                f"shortest_seconds, preferred_seconds and longest_seconds are {self.shortest_seconds:g}, "
                f"{self.preferred_seconds:g} and {self.longest_seconds:g}; they must rise",
                param="preferred_seconds",
            )
        return msgspec.structs.replace(self, language=language)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
