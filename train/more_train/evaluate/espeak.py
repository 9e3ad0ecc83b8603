"""Readings by espeak-ng, in memory: what a sentence sounds like where there is no recording of it."""

import ctypes
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import numpy as np

from more_server.errors import BadInput, allowed
from more_server.speech import Audio

SAMPLE_RATE = 22_050
WORDS_PER_MINUTE = 170
READERS = (("m3", 45), ("f2", 60))
"""Variant and pitch of who reads, a man and a woman: cepstra hold the timbre as well as the words. Against the man
alone nano's sentences were 0.25 to 0.5 from their own reading, and 0.6 to 0.8 where it had drawn its other timbre."""
VOICES: Mapping[str, str] = MappingProxyType(
    {
        "en": "en-us", "es": "es", "fr": "fr-fr", "de": "de", "it": "it", "pt": "pt-br", "pl": "pl", "tr": "tr",
        "ru": "ru", "nl": "nl", "cs": "cs", "ar": "ar", "zh-cn": "cmn", "hu": "hu", "ko": "ko", "hi": "hi",
    }
)  # fmt: skip
"""By language. Japanese is not among them: espeak-ng reads kanji as "Chinese letter"."""

_SYNCHRONOUS, _UTF8 = 2, 1
_RATE_PARAMETER, _PITCH_PARAMETER = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, as it was started: the same sentences in the same order are read the same way, sample for sample.

    What it keeps from one reading to the next, by which a sentence's length changes by up to 10 ms, lies in the library
    itself and outlives its own end. So each object has a copy of the library.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        """scratch: folder for the copy while it is loaded; None: the system's.

        Raises BadInput where espeak-ng is not installed.
        """
        try:
            import espeakng_loader
        except ImportError as error:
            raise BadInput(
                "sentences without recordings are compared with readings by espeak-ng: pip install "
                "'more-server[train]', or name a dataset",
                param="sentences",
            ) from error
        with TemporaryDirectory(prefix="more-evaluate-", dir=scratch) as folder:
            self._library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
        self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else its noise is seeded with the time of day
        self._pieces: list[bytes] = []
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: object) -> int:
        if count > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, text: str, language: str, variant: str = READERS[0][0], pitch: int = READERS[0][1]) -> Audio:
        """A reading. Raises BadInput for a language that it does not read."""
        if language not in VOICES:
            raise BadInput(
                f"espeak-ng gives no readings in {language!r} to compare with; name a dataset, or one of: "
                f"{allowed(VOICES)}",
                param="language",
            )
        self._pieces.clear()
        # Another voice than asked for would speak on, and its answer is the only sign of it.
        if self._library.espeak_SetVoiceByName(f"{VOICES[language]}+{variant}".encode()):
            raise BadInput(f"espeak-ng has no voice {VOICES[language]}", param="language")
        self._library.espeak_SetParameter(_RATE_PARAMETER, WORDS_PER_MINUTE, 0)
        self._library.espeak_SetParameter(_PITCH_PARAMETER, pitch, 0)
        encoded = text.replace("\0", " ").encode() + b"\0"
        self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None)
        samples = np.frombuffer(b"".join(self._pieces), np.int16).astype(np.float32)
        return Audio(samples / np.float32(32768), SAMPLE_RATE)
