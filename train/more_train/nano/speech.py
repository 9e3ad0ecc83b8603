"""Synthetic speech with the time of every word: espeak-ng in memory. No torch here, since workers import it.

espeak-ng is GPL: it is used as a program, from the wheel `espeakng-loader`; what it says is free.
"""

import ctypes
import threading
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import soxr

from more_server.speech import Samples

if TYPE_CHECKING:
    from more_train.nano.config import Voices

SAMPLE_RATE = 22_050
CODE_SAMPLES = 1024
"""Samples that one code stands for."""
LEAD_SECONDS, TAIL_SECONDS = 0.036, 0.072
"""Kept before and after speech: the shortest that cut off no soft consonant."""
SILENCE = 0.003
"""Of the peak: below it is what espeak-ng fades out with."""
LEVEL, PEAK = 0.1, 0.95
"""Root mean square that every clip gets (-20 dB), unless its peak would pass the second."""

_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_END, _WORD = 0, 1

# espeak-ng's variants that sound like a voice: no robots, no whispers, nothing that croaks.
VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 Alex Alicia Andrea Andy Annie Denis Diogo Gene Hugo Lee Mario Michael Mike "
    "Reed adam anika aunty belinda benjamin boris caleb david ed edward grandma john klatt4 klatt6 linda max michel "
    "miguel norbert pablo paul pedro quincy rob robert sandro shelby steph travis victor zac"
)


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Speaker(msgspec.Struct, frozen=True, kw_only=True):
    """One of the voices that speech is made with."""

    variant: str
    """espeak-ng's name of the timbre."""
    pitch: int
    """0 to 99."""
    range: int
    """How lively the melody is, 0 to 99."""
    rate: int
    """Words per minute, before `stretch`."""
    stretch: float = 1.0
    """Played so much longer by resampling: formants and pitch go down by it."""
    tilt: float = 0.0
    """Share of the sample before that is taken away: above 0 brighter, below 0 duller."""


HOUSE = (
    Speaker(variant="m3", pitch=45, range=50, rate=170),
    Speaker(variant="f2", pitch=60, range=50, rate=170),
)
"""The bundled references, linden and rowan."""


class Word(NamedTuple):
    """A word and where it is heard."""

    position: int
    """Its first character, counted from 0."""
    length: int
    """Characters."""
    sample: int
    """Where it begins."""


class Clip(NamedTuple):
    """One sentence spoken."""

    samples: npt.NDArray[np.int16]
    """At 22,050 Hz, a whole number of codes long."""
    words: list[Word]

    @property
    def codes(self) -> int:
        return len(self.samples) // CODE_SAMPLES


def speakers(settings: "Voices", seed: int) -> list[Speaker]:
    """The bundled references first, then voices of every timbre at random pitch, pace and size."""
    random, variants = Random(f"{seed}/speakers"), VARIANTS.split()  # noqa: S311 - no secret
    found = list(HOUSE[: settings.speakers])
    order: list[str] = []
    while len(found) < settings.speakers:
        order = order or random.sample(variants, len(variants))
        found.append(
            Speaker(
                variant=order.pop(),
                pitch=random.randint(*settings.pitch),
                range=random.randint(*settings.range),
                rate=random.randint(*settings.rate),
                stretch=round(random.uniform(*settings.stretch), 3),
                tilt=round(random.uniform(*settings.tilt), 3),
            )
        )
    return found


class Espeak:
    """The library. It keeps its state, noise included, in one place per process: a clip depends on those before it."""

    _lock = threading.Lock()

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng cannot start ({rate})")
        # It seeds its noise with the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._words: list[Word] = []
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while (event := events[index]).type != _END:
            if event.type == _WORD:
                self._words.append(Word(event.position - 1, event.length, event.sample))
            index += 1
        return 0

    def say(self, text: str, voice: str, speaker: Speaker) -> Clip:
        """A sentence as a speaker says it; voice: espeak-ng's name of the language."""
        with self._lock:
            raw, words = self._raw(text, f"{voice}+{speaker.variant}", speaker)
        samples: Samples = raw.astype(np.float32) / np.float32(32768)
        if speaker.stretch != 1.0:
            stretched = soxr.resample(samples, SAMPLE_RATE, SAMPLE_RATE * speaker.stretch, quality="HQ")
            samples = np.asarray(stretched, dtype=np.float32)
        if speaker.tilt:
            before = np.concatenate([np.zeros(1, np.float32), samples[:-1]])
            samples = np.asarray(samples - np.float32(speaker.tilt) * before, dtype=np.float32)
        moved = [
            Word(_letter(text, word.position), word.length, round(word.sample * speaker.stretch)) for word in words
        ]
        return _finished(samples, moved)

    def _raw(self, text: str, voice: str, speaker: Speaker) -> tuple[npt.NDArray[np.int16], list[Word]]:
        self._pieces, self._words = [], []
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice}")
        for name, value in ((_RATE, speaker.rate), (_PITCH, speaker.pitch), (_RANGE, speaker.range)):
            self._library.espeak_SetParameter(name, value, 0)
        encoded = text.encode() + b"\0"
        if self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None) or not self._pieces:
            raise RuntimeError(f"espeak-ng does not say {text!r}")
        return np.concatenate(self._pieces), self._words


def _letter(text: str, position: int) -> int:
    """The first letter from a place on: the first word of a sentence is told to begin at the space before it."""
    return next((place for place in range(position, len(text)) if text[place].isalpha()), position)


def _finished(samples: Samples, words: Sequence[Word]) -> Clip:
    """Silence cut to its shortest, padded to whole codes, at the level of all clips; words moved along."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE * max(float(np.abs(samples).max()), 1e-4))
    first, last = (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(samples))
    start = max(0, first - round(LEAD_SECONDS * SAMPLE_RATE))
    stop = last + round(TAIL_SECONDS * SAMPLE_RATE)
    length = -(-(stop - start) // CODE_SAMPLES) * CODE_SAMPLES
    kept = np.zeros(length, dtype=np.float32)
    piece = samples[start : start + length]
    kept[: len(piece)] = piece
    speech = kept[first - start : last - start]
    level, peak = float(np.sqrt(np.mean(speech**2))), float(np.abs(speech).max())
    gain = min(LEVEL / max(level, 1e-6), PEAK / max(peak, 1e-6))
    return Clip(
        (kept * gain * 32767).round().astype(np.int16),
        [word._replace(sample=min(max(0, word.sample - start), length)) for word in words],
    )
