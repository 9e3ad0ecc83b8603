"""One clip: cut out with room around it, brought to its level, measured, and written."""

import hashlib
import re
import unicodedata
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from more_server.audio.encode import encode_file
from more_server.audio.read import resample
from more_server.audio.report import measure
from more_server.files import write_file
from more_server.speech import Audio, Samples
from more_train.dataset.format import SAMPLE_RATE
from more_train.dataset.recording import Recording
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.spans import Span

FADE_SECONDS = 0.005
"""Over which room and recording are blended, so that nothing clicks."""
OUTLINE = 48
"""Slices of a clip whose levels tell whether another clip is the same recording in another encoding."""
SOFTEST_OUTLINE = -60.0
"""Decibels below the loudest slice: what is softer is what codecs change."""
SUFFIX = ".flac"


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A clip as it was cut, before anybody looks whether it is good."""

    id: str
    """Of the clip."""
    bytes: int
    """Size of its file."""
    start: float
    """Seconds in the recording."""
    end: float
    """Seconds in the recording."""
    seconds: float
    """Of the clip."""
    speech_seconds: float
    """Of it, without the pauses."""
    added_seconds: float
    """Of it, silence that the recording does not have."""
    loudness: float
    """LUFS, as recorded."""
    softer: float
    """Decibels that it stays below the level asked for, as its peaks would pass full scale."""
    signal_to_noise: float
    """Decibels, as estimated, 0 to 60."""
    has_pauses: bool
    """Whether there are any to hear the noise in; else speech without a pause is taken for noisier than it is."""
    clipped: float
    """Share of samples in flat tops."""
    bandwidth: int
    """Hertz."""
    sound: str
    """Hash of the samples: the same for the same samples."""
    outline: str
    """Levels of OUTLINE slices in decibels below the loudest, two hexadecimal digits each."""


def make(
    recording: Recording, span: Span, room: Samples, source: str, folder: Path, settings: DatasetSettings
) -> Piece:
    """Cut a clip and write it into `folder`. Raises OSError where there is no room."""
    pad = settings.pad_seconds
    start = span.start - min(pad, span.before)
    end = min(span.end + min(pad, span.behind), recording.seconds)
    cut = recording.samples(start, end)
    measured = measure("", Audio(cut, recording.rate))
    lacking = (pad - (span.start - start), pad - (end - span.end))
    padded = _padded(resample(cut, recording.rate, SAMPLE_RATE), resample(room, recording.rate, SAMPLE_RATE), lacking)
    gain = settings.loudness - measured.loudness
    headroom = settings.peak - 20 * float(np.log10(max(float(np.abs(padded).max(initial=0.0)), 1e-6)))
    levelled = padded * np.float32(10 ** (min(gain, headroom) / 20))
    content = encode_file(levelled, SAMPLE_RATE, "flac")
    clip_id = name(source, start)
    heard = recording.signal_to_noise(start, end)
    write_file(folder / f"{clip_id}{SUFFIX}", content)
    return Piece(
        id=clip_id,
        bytes=len(content),
        start=round(start, 3),
        end=round(end, 3),
        seconds=round(len(levelled) / SAMPLE_RATE, 3),
        speech_seconds=round(_spoken(recording, start, end), 3),
        added_seconds=round(max(0.0, lacking[0]) + max(0.0, lacking[1]), 3),
        loudness=measured.loudness,
        softer=round(max(0.0, gain - headroom), 1),
        signal_to_noise=round(min(max(measured.signal_to_noise, heard or 0.0), 60.0), 1),
        has_pauses=heard is not None,
        clipped=measured.clipped,
        bandwidth=measured.bandwidth,
        sound=hashlib.blake2b(cut.tobytes(), digest_size=16).hexdigest(),
        outline=_outline(cut),
    )


def name(source: str, start: float) -> str:
    """Id of the clip that begins there: readable, safe as a file's name anywhere, and its own."""
    letters = unicodedata.normalize("NFKD", PurePosixPath(source).stem).encode("ascii", "ignore").decode().lower()
    readable = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:40].strip("-") or "clip"
    digest = hashlib.blake2b(f"{source}\0{round(1000 * start)}".encode(), digest_size=6).hexdigest()
    return f"{readable}-{digest}"


def _padded(samples: Samples, room: Samples, seconds: tuple[float, float]) -> Samples:
    """`samples` with what its room sounds like in front and behind, where silence is lacking."""
    fade = round(FADE_SECONDS * SAMPLE_RATE)
    before, behind = (max(0, round(lacking * SAMPLE_RATE)) for lacking in seconds)
    padded = samples.copy()
    if behind:
        padded = _joined(padded, _filled(room, behind + fade), fade)
    if before:
        padded = _joined(_filled(room, before + fade), padded, fade)
    return padded


def _filled(room: Samples, count: int) -> Samples:
    """So many samples of the room: it there and back again, so that nothing jumps."""
    if not len(room):
        return np.zeros(count, np.float32)
    both = np.concatenate([room, room[::-1]])
    return np.tile(both, -(-count // len(both)))[:count]


def _joined(first: Samples, second: Samples, fade: int) -> Samples:
    fade = min(fade, len(first), len(second))
    rising = np.linspace(0, 1, fade + 2, dtype=np.float32)[1:-1]
    blended = first[len(first) - fade :] * rising[::-1] + second[:fade] * rising
    return np.concatenate([first[: len(first) - fade], blended, second[fade:]])


def _spoken(recording: Recording, start: float, end: float) -> float:
    """Seconds of speech between two points."""
    return sum(max(0.0, min(end, part.end) - max(start, part.start)) for part in recording.stretches)


def _outline(samples: Samples) -> str:
    if len(samples) < OUTLINE:
        return ""
    whole = samples[: len(samples) // OUTLINE * OUTLINE].reshape(OUTLINE, -1)
    levels = 10 * np.log10(np.square(whole, dtype=np.float64).mean(axis=1) + 1e-12)
    below = np.clip(levels - levels.max(), SOFTEST_OUTLINE, 0)
    return bytes(np.rint(-4 * below).astype(np.uint8)).hex()
