"""espeak-ng in memory: synthetic readings for tests to compare with. Its library is a test dependency alone (GPL)."""

import ctypes
import shutil
from functools import cache
from tempfile import TemporaryDirectory

import espeakng_loader
import numpy as np

SAMPLE_RATE = 22_050
_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _PITCH = 1, 3
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, with a state of its own."""

    def __init__(self) -> None:
        # Loaded apart: the same file is one library in a process, and training would put its callback there.
        with TemporaryDirectory() as folder:
            self._library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), folder))
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        assert rate == SAMPLE_RATE
        self._pieces: list[np.ndarray] = []
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: object) -> int:
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, text: str, voice: str = "en-us+m3") -> np.ndarray:
        """A reading at 22,050 Hz, shape (n,), full scale ±1."""
        self._pieces.clear()
        assert self._library.espeak_SetVoiceByName(voice.encode()) == 0
        self._library.espeak_SetParameter(_RATE, 170, 0)
        self._library.espeak_SetParameter(_PITCH, 45, 0)
        encoded = text.encode() + b"\0"
        assert self._library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None) == 0
        return np.concatenate(self._pieces).astype(np.float32) / 32768


@cache
def espeak() -> Espeak:
    return Espeak()
