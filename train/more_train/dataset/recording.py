"""A recording, decoded once from beginning to end: its samples go to a scratch file, never whole into memory."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Self

import av
import numpy as np
import soxr
from numpy.typing import NDArray

# Private names of the server: what it lets FFmpeg open is told in one place.
from more_server.audio import read
from more_server.errors import BadInput
from more_server.speech import Samples
from more_train.dataset.sources import Unread
from more_train.dataset.speech import RATE, Listener, Silero, Stretch, stretches

MOST_CHANNELS = 8
IN_MEMORY_BYTES = 33_554_432
"""Of the samples of one recording, before they go to disk: three minutes at 48 kHz."""
BLOCK_SECONDS = 2.0
"""Decoded before it is looked at; cancelling takes as long."""
STEP_SECONDS = 0.01
"""What loudness is followed in."""
QUIET_QUANTILE = 0.1
EDGE_INSIDE, EDGE_OUTSIDE = 0.2, 0.3
"""Seconds that a stretch's true end is looked for before and behind the one that silero says."""
ABOVE_NOISE, BELOW_SPEECH = 4.0, 1e-4
"""Power of a sound over the recording's pauses, 6 dB, and against its loud parts, -40 dB."""
LOUD_QUANTILE = 0.95
LASTING_STEPS = 6
"""Of a sound that may be speech: a step on the floor or a click of the mouth is shorter."""
SPEECH_MARGIN = 2
"""Steps around speech that are no pause either."""
NEAR_SECONDS = 2.0
"""Around a clip, where its noise is listened for too."""
FEWEST_PAUSE_STEPS = 6
"""That tell how loud noise is."""
ROOM_STEPS = 10
"""Of a pause that tells what the room sounds like: 0.1 s."""


class Recording:
    """Mono samples at the rate of the file, and where somebody speaks. To be closed."""

    def __init__(self, scratch: Path) -> None:
        self.rate = 0
        """Hertz."""
        self.count = 0
        """Samples."""
        self.powers: NDArray[np.float32] = np.zeros(0, np.float32)
        """Mean square of every STEP_SECONDS."""
        self.stretches: list[Stretch] = []
        """Speech, its ends where sound begins and ends."""
        self.sound = Stretch(0.0, 0.0)
        """From the first to the last sound that lasts, speech or not."""
        self._spool = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, dir=str(scratch))  # noqa: SIM115 - closed below

    @property
    def seconds(self) -> float:
        return self.count / self.rate if self.rate else 0.0

    def samples(self, start: float, end: float) -> Samples:
        """From second to second, as far as there are any."""
        first = min(max(0, round(start * self.rate)), self.count)
        last = min(max(first, round(end * self.rate)), self.count)
        self._spool.seek(4 * first)
        return np.frombuffer(self._spool.read(4 * (last - first)), np.float32)

    def room(self) -> Samples:
        """The quietest tenth of a second between stretches, shape (n,); empty where all is speech."""
        if len(self.powers) < ROOM_STEPS:
            return np.zeros(0, np.float32)
        windows, free = np.lib.stride_tricks.sliding_window_view, ~self._is_speech(SPEECH_MARGIN)
        sums = np.where(windows(free, ROOM_STEPS).all(axis=1), windows(self.powers, ROOM_STEPS).sum(axis=1), np.inf)
        quietest = int(np.argmin(sums))
        if not np.isfinite(sums[quietest]):
            return np.zeros(0, np.float32)
        return self.samples(quietest * STEP_SECONDS, (quietest + ROOM_STEPS) * STEP_SECONDS)

    def signal_to_noise(self, start: float, end: float) -> float | None:
        """Decibels by which speech between two points is above the pauses in and around it; None: there are none."""
        near = slice(_step(start - NEAR_SECONDS), _step(end + NEAR_SECONDS))
        pauses = self.powers[near][~self._is_speech(SPEECH_MARGIN)[near]]
        inside = slice(_step(start), _step(end))
        speech = self.powers[inside][self._is_speech(0)[inside]]
        if len(pauses) < FEWEST_PAUSE_STEPS or not len(speech):
            return None
        noise = max(float(np.median(pauses)), 1e-15)
        return 10 * float(np.log10(max(float(speech.mean()) / noise - 1, 1e-6)))

    def _is_speech(self, margin: int) -> NDArray[np.bool_]:
        """For every step, those less than `margin` away from speech included."""
        found = np.zeros(len(self.powers), bool)
        for part in self.stretches:
            found[max(0, _step(part.start) - margin) : _step(part.end) + margin] = True
        return found

    def close(self) -> None:
        """The scratch file goes with it."""
        self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fill(self, file: IO[bytes], silero: Silero, most_seconds: float, on_bytes: Callable[[int], None]) -> None:
        """Decode a file; `on_bytes` hears how many were read since and may raise to stop.

        Raises BadInput where it is no audio or too long, Unread where it cannot be read, OSError where there is no
        room.
        """
        resampler: soxr.ResampleStream | None = None
        listener, powers = Listener(silero), []
        for rate, block in _blocks(file, most_seconds, on_bytes):
            self.rate, self.count = rate, self.count + len(block)
            self._spool.write(block.tobytes())
            powers.append(_powers(block, round(STEP_SECONDS * rate)))
            resampler = resampler or soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ")
            listener.feed(resampler.resample_chunk(block))
        if resampler:
            listener.feed(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            self.powers = np.concatenate(powers)
        heard = stretches(listener.finish())
        if heard and len(self.powers):
            is_sound = _is_sound(self.powers)
            self.sound = _lasting(is_sound)
            self.stretches = _sharpened([part for part in heard if part.start < self.seconds], is_sound, self.seconds)


def _blocks(
    file: IO[bytes], most_seconds: float, on_bytes: Callable[[int], None]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Rate and samples, some seconds at a time; each but the last holds whole steps."""
    waiting: list[Samples] = []
    held, told = 0, 0
    decoder = read.Decoder(most_seconds, MOST_CHANNELS, "source")
    for piece in _pieces(file, decoder):
        waiting.append(piece)
        held += len(piece)
        if held < BLOCK_SECONDS * decoder.rate:
            continue
        on_bytes(max(0, (place := file.tell()) - told))
        told = max(told, place)
        joined = np.concatenate(waiting)
        whole = len(joined) - len(joined) % round(STEP_SECONDS * decoder.rate)
        waiting, held = [joined[whole:]], len(joined) - whole
        yield decoder.rate, joined[:whole]
    on_bytes(max(0, file.seek(0, 2) - told))
    if held:
        yield decoder.rate, np.concatenate(waiting)


def _pieces(file: IO[bytes], decoder: "read.Decoder") -> Iterator[Samples]:
    read.limit_blocks()
    try:
        # As `read.read` opens it: FFmpeg sees no name, and may open nothing else.
        with av.open(
            file, "r", options=read.OPTIONS, metadata_errors="replace", io_open=read.open_nothing
        ) as container:
            yield from decoder._pieces(container)
    except av.FFmpegError as error:
        raise BadInput(f"it is damaged or no audio; send {read.CONTAINERS}") from error
    except OSError as error:
        raise Unread(f"it cannot be read: {error.strerror or error}") from error


def _powers(block: Samples, step: int) -> NDArray[np.float32]:
    whole = np.pad(block, (0, -len(block) % step)).reshape(-1, step)
    return np.asarray(np.square(whole).mean(axis=1), np.float32)


def _step(seconds: float) -> int:
    return max(0, round(seconds / STEP_SECONDS))


def _is_sound(powers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Steps that are louder than the recording's pauses, and not too soft beside its speech."""
    quiet, loud = np.quantile(powers, [QUIET_QUANTILE, LOUD_QUANTILE])
    return np.asarray(powers > max(min(ABOVE_NOISE * quiet, loud / ABOVE_NOISE), BELOW_SPEECH * loud))


def _lasting(is_sound: NDArray[np.bool_]) -> Stretch:
    """From the first to the last sound of LASTING_STEPS; a click is shorter."""
    edges = np.flatnonzero(np.diff(is_sound.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    lasts = np.flatnonzero(ends - starts >= LASTING_STEPS)
    if not len(lasts):
        return Stretch(np.inf, 0.0)
    return Stretch(float(starts[lasts[0]]) * STEP_SECONDS, float(ends[lasts[-1]]) * STEP_SECONDS)


def _sharpened(heard: list[Stretch], is_sound: NDArray[np.bool_], seconds: float) -> list[Stretch]:
    """Stretches with their ends moved to where sound begins and ends: silero tells frames of 32 ms, and lags."""
    found: list[Stretch] = []
    for index, part in enumerate(heard):
        before = found[-1].end if found else 0.0
        behind = heard[index + 1].start if index + 1 < len(heard) else seconds
        start = _edge(is_sound, max(before, part.start - EDGE_OUTSIDE), min(part.start + EDGE_INSIDE, part.end), 0)
        end = _edge(is_sound, max(part.end - EDGE_INSIDE, part.start), min(behind, part.end + EDGE_OUTSIDE), -1)
        start, end = part.start if start is None else start, part.end if end is None else end
        found.append(Stretch(min(start, part.end), min(max(end, start + STEP_SECONDS), seconds)))
    return found


def _edge(is_sound: NDArray[np.bool_], start: float, end: float, which: int) -> float | None:
    """Where the first (0) or last (-1) sound between two points begins or ends; None where there is none."""
    first = _step(start)
    loud = np.flatnonzero(is_sound[first : _step(end)])
    return None if not len(loud) else (first + int(loud[which]) + (1 if which else 0)) * STEP_SECONDS
