"""Segments of speech with the pauses between them that their punctuation asks for."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from more_server import PostProcessor, Samples, Utterance
from more_silence import Settings

SENTENCE_MARKS = frozenset(".!?。！？।؟…")
CLAUSE_MARKS = frozenset(",;:—–，、；：،؛")
BLOCK_SECONDS = 0.005
"""What is sound or silence as a whole."""
FADE_SECONDS = 0.005
"""How long silence takes to begin and to end where it is cut."""


class Pauses(PostProcessor):
    """Trims the silence at both ends of every segment and lets a pause follow. All else passes unchanged.

    Sound is held back for less than a block of 5 ms. Silence that may have to be cut is held back until a sound
    follows or the segment ends. Costs 0.1 ms per second of audio.
    """

    changes_length = True

    def __init__(self, settings: Settings, utterance: Utterance, sample_rate: int) -> None:
        self._settings = settings
        self._rate = sample_rate
        self._speed = utterance.speed
        self._marks = [segment.mark for segment in utterance.segments]
        self._continues = utterance.continues
        self._sizes = _Sizes(
            threshold=10 ** (settings.threshold_dbfs / 20),
            block=max(1, round(BLOCK_SECONDS * sample_rate)),
            lead=self._samples(settings.lead_ms),
            fade=max(1, round(FADE_SECONDS * sample_rate)),
        )
        self._segment = 0
        """How many have ended."""
        self._trimmer = _Trimmer(self._sizes, self._pause())
        self._begun = False
        """Samples of the segment have come."""

    def process(self, samples: Samples) -> Samples:
        self._begun = True
        return self._trimmer.process(samples)

    def end_segment(self) -> Samples:
        rest = self._trimmer.finish()
        self._segment += 1
        self._trimmer, self._begun = _Trimmer(self._sizes, self._pause()), False
        return rest

    def finish(self) -> Samples:
        return self.end_segment() if self._begun else np.zeros(0, np.float32)

    def _pause(self) -> int:
        """Samples from the last sound of the segment to its end."""
        last = len(self._marks) - 1
        if self._segment > last or (self._segment == last and not self._continues):
            length = self._settings.end_ms
        elif self._marks[self._segment] in SENTENCE_MARKS:
            length = self._settings.sentence_ms
        elif self._marks[self._segment] in CLAUSE_MARKS:
            length = self._settings.clause_ms
        else:
            length = self._settings.other_ms
        return self._samples(max(length / self._speed, self._settings.hold_ms))

    def _samples(self, milliseconds: float) -> int:
        return round(milliseconds * self._rate / 1000)


class _Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What all segments have in common."""

    threshold: float
    """Peaks above it are sound, full scale 1."""
    block: int
    """Samples that are judged together."""
    lead: int
    """Samples of silence that stay before the first sound; not fewer than `fade`."""
    fade: int
    """Samples."""


class _Trimmer:
    """One segment. Blocks are counted from its beginning, so nothing depends on how it is cut."""

    def __init__(self, sizes: _Sizes, pause: int) -> None:
        """`pause`: samples from the last sound to the end; not fewer than a fade."""
        self._sizes = sizes
        self._pause = pause
        self._pending = np.zeros(0, np.float32)
        """What is neither given nor cut."""
        self._judged = 0
        """Samples at the beginning of `_pending` that are known as sound or silence."""
        self._heard = False
        self._trimmed = False
        """Some of the silence before the first sound is cut."""
        self._sound_end = 0
        """Where the last sound ends, counted from the beginning of `_pending`; below 0 once more than that is given."""
        self._last = np.float32(0)
        """The sample given last."""

    def process(self, samples: Samples) -> Samples:
        self._pending = np.concatenate([self._pending, samples])
        whole = (len(self._pending) - self._judged) // self._sizes.block
        self._judge(whole, self._sizes.block)
        return self._give() if self._heard else self._pending[:0]

    def finish(self) -> Samples:
        """The rest, the pause included."""
        self._judge(1, len(self._pending) - self._judged)
        if not self._heard:
            self._pending, self._sound_end = self._pending[:0], 0
        end = self._sound_end + self._pause
        missing = end - len(self._pending)
        if missing <= 0:
            return _faded(self._pending[:end], slice(end - self._sizes.fade, end), falling=True)
        # What is given cannot be faded any more, so the silence that is added begins where it ended and dies away.
        added = np.full(missing, self._pending[-1] if len(self._pending) else self._last)
        added[self._sizes.fade :] = 0
        added = _faded(added, slice(0, min(missing, self._sizes.fade)), falling=True)
        return np.concatenate([self._pending, added])

    def _judge(self, blocks: int, size: int) -> None:
        """Find the sound in the next `blocks` × `size` samples."""
        if not blocks * size:
            return
        first, self._judged = self._judged, self._judged + blocks * size
        peaks = np.abs(self._pending[first : self._judged]).reshape(blocks, size).max(axis=1)
        loud = np.flatnonzero(peaks > self._sizes.threshold)
        if len(loud):
            self._sound_end = first + (int(loud[-1]) + 1) * size
        if self._heard:
            return
        self._cut((first + int(loud[0]) * size if len(loud) else self._judged) - self._sizes.lead)
        if len(loud):
            self._heard = True
            if self._trimmed:
                self._pending = _faded(self._pending, slice(0, self._sizes.fade), falling=False)

    def _cut(self, count: int) -> None:
        """Leave out `count` samples of silence, if any."""
        if count > 0:
            self._pending = self._pending[count:]
            self._judged -= count
            self._sound_end -= count
            self._trimmed = True

    def _give(self) -> Samples:
        """All that is judged and cannot be cut or faded any more."""
        ready = max(0, min(self._judged, self._sound_end + self._pause - self._sizes.fade))
        given, self._pending = self._pending[:ready], self._pending[ready:]
        self._judged -= ready
        self._sound_end -= ready
        if ready:
            self._last = given[-1]
        return given


def _faded(samples: Samples, where: slice, *, falling: bool) -> Samples:
    """A copy that rises from 0, or falls to it, in a part of it."""
    faded = samples.copy()
    part = faded[where]
    curve: NDArray[np.float64] = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, len(part) + 1) / len(part))
    part *= (curve if falling else curve[::-1]).astype(np.float32)
    return faded
