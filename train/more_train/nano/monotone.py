"""Speech made again on one note that the decoder can hold: a whole number of its frames' rate.

A HiFi-GAN is a stack of convolutions: while nothing changes in its input, it repeats what it says in every frame. A
voice of 103 Hz is not of that kind; to keep its phase from frame to frame is what such a decoder learns last.
After 3,000 steps on true mels (an hour of one CPU core) ours had learnt all but that: 94 Hz, the frames' rate, whoever
spoke. So a recipe for a CPU has it learn from speech at 93.75 or 187.5 Hz, whichever is nearer to the speaker, with a
pulse where each frame begins: low voices and high ones, both on one note.

The usual source and filter: an envelope from the cepstrum (Oppenheim and Schafer, Discrete-Time Signal Processing),
minimum phase, excited by pulses as far as the sound is periodic and by noise for the rest.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from more_server.speech import Samples

HOP = 128
"""Samples between two looks: half a frame of the decoder, the shorter period."""
WINDOW, BINS = 1024, 2048
SMOOTH = 0.0022
"""Seconds of the cepstrum that are the envelope: less than half the period of 230 Hz."""
RESPONSE = 512
"""Samples that a pulse rings."""
PITCHES = 70.0, 330.0
"""Hertz that are looked for."""
VOICED = 0.3, 0.7
"""Periodicity (1: exactly) of noise alone and of pulses alone."""
NEARLY = 0.85
"""Of the best likeness: a shorter period that is as good as that is the true one."""
QUIET = 1e-9


class Sound:
    """A clip as envelopes, levels and periodicity at every half frame."""

    def __init__(self, samples: Samples, sample_rate: int) -> None:
        self._rate, self._length = sample_rate, len(samples)
        padded = np.pad(samples, (WINDOW // 2, WINDOW))
        count = -(-len(samples) // HOP)
        cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: count * HOP : HOP]
        window = np.hanning(WINDOW)
        spectra = np.fft.rfft(cut * window, BINS)
        self._power = (np.square(cut) * window).sum(axis=1) / window.sum()
        self._responses = _responses(spectra, round(SMOOTH * sample_rate))
        self.periods, self.periodicity = _periods(spectra, window, sample_rate)

    def pitch(self) -> float:
        """Median hertz of what is voiced; 0 where nothing is."""
        voiced = (self.periodicity > VOICED[1]) & (self._power > 0.05 * self._power.max())
        return float(self._rate / np.median(self.periods[voiced])) if voiced.any() else 0.0

    def on(self, period: int, seed: int) -> Samples:
        """It again with pulses every so many samples, a multiple of HOP, counted from its start."""
        share = np.clip((self.periodicity - VOICED[0]) / (VOICED[1] - VOICED[0]), 0, 1)
        hisses = self._hisses(seed)
        made = np.zeros(self._length + BINS)
        for place in range(len(share)):
            start = place * HOP
            level = np.sqrt(self._power[place])
            hiss = hisses[place] * (level * np.sqrt(1 - share[place]))
            made[start : start + len(hiss)] += hiss
            if start % period == 0:
                made[start : start + RESPONSE] += self._responses[place] * (level * np.sqrt(period * share[place]))
        return np.asarray(made[: self._length], np.float32)

    def _hisses(self, seed: int) -> NDArray[np.float64]:
        """Noise through every response, (looks, samples), such that overlapping ones sum up to it."""
        fade = np.sin(np.pi * (np.arange(2 * HOP) + 0.5) / (2 * HOP))
        noise = np.random.default_rng(seed).standard_normal((len(self._responses), 2 * HOP)) * fade
        made = np.fft.irfft(np.fft.rfft(noise, BINS) * np.fft.rfft(self._responses, BINS), BINS)
        return np.asarray(made[:, : 2 * HOP + RESPONSE])


def nearest_period(sounds: Sequence[Sound], sample_rate: int, frame: int) -> int:
    """Samples between pulses for a voice that said these: a frame or half of one, whichever is nearer to its pitch."""
    pitches = [pitch for sound in sounds if (pitch := sound.pitch())]
    boundary = sample_rate / frame * 2**0.5
    return frame // 2 if pitches and float(np.median(pitches)) > boundary else frame


def _responses(spectra: NDArray[np.complex128], kept: int) -> NDArray[np.float64]:
    """Minimum-phase responses of unit energy, (looks, RESPONSE)."""
    cepstra = np.fft.irfft(np.log(np.abs(spectra) + 1e-5), BINS)
    folded = np.zeros_like(cepstra)
    folded[:, 0] = cepstra[:, 0]
    folded[:, 1:kept] = 2 * cepstra[:, 1:kept]
    found = np.fft.irfft(np.exp(np.fft.rfft(folded, BINS)), BINS)[:, :RESPONSE]
    found = found * np.cos(np.pi / 2 * np.arange(RESPONSE) / RESPONSE)
    return np.asarray(found / np.sqrt(np.square(found).sum(axis=1, keepdims=True) + QUIET**2))


def _periods(
    spectra: NDArray[np.complex128], window: NDArray[np.float64], sample_rate: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Samples of the strongest period of each look, and how alike the sound is to itself that much later."""
    likeness = np.fft.irfft(np.square(np.abs(spectra)), BINS)[:, : WINDOW // 2]
    own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, BINS))), BINS)[: WINDOW // 2]
    likeness = likeness / (likeness[:, :1] + QUIET) / (own / own[0])
    shortest, longest = (int(sample_rate / pitch) for pitch in reversed(PITCHES))
    looked = likeness[:, shortest:longest]
    best = looked.max(axis=1)
    # A sound that repeats itself after 5 ms does so after 10 ms, too, and a little better by chance.
    peaks = (looked[:, 1:-1] >= looked[:, :-2]) & (looked[:, 1:-1] >= looked[:, 2:])
    good = peaks & (looked[:, 1:-1] >= NEARLY * best[:, None])
    first = np.where(good.any(axis=1), good.argmax(axis=1) + 1, looked.argmax(axis=1))
    return shortest + first, best
