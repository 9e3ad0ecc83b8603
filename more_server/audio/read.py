"""Audio that a stranger sent: any common container in, mono float samples out, nothing trusted.

FFmpeg sees bytes, never a name, and may open nothing else; what it decodes is counted while it decodes.
"""

import ctypes
import functools
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import av
import av.buffer
import numpy as np
import soxr
from numpy.typing import NDArray

from more_server.errors import BadInput, TooLarge
from more_server.speech import Audio, Samples

CONTAINERS = "wav, mp3, m4a/mp4, aac, ogg, opus, flac, webm, aiff, caf"
"""What a person may send, as messages say it."""

LOWEST_RATE, HIGHEST_RATE = 8_000, 192_000

LOUDEST = 16.0
"""Float files may pass full scale; beyond 24 dB over it the samples are no audio, or 16-bit values left as floats."""

# Playlists and concatenations, which name other files, are not among them; neither are image and video codecs.
_DEMUXERS = ("wav", "w64", "mp3", "mov", "aac", "ogg", "flac", "matroska", "webm", "aiff", "caf")
_DECODERS = (
    *("mp3", "mp3float", "aac", "aac_latm", "alac", "flac", "opus", "libopus", "vorbis", "libvorbis", "amrnb", "amrwb"),
    *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
    *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw"),
    *("adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt"),
)
OPTIONS = {
    "format_whitelist": ",".join(_DEMUXERS),
    "codec_whitelist": ",".join(_DECODERS),
    "protocol_whitelist": "",
}

LARGEST_BLOCK = 64 * 1024 * 1024
"""Bytes FFmpeg may ask for at once. A 100-byte WAV whose LIST chunk claims 2 GB made it fill them with zeros."""

KEPT_SILENCE_SECONDS = 0.05
SHORTEST_SECONDS = 0.35
SILENCE_DECIBELS = -40.0
"""Against the loudest frame; recorded room noise lies 30 to 60 dB below speech."""
_FRAME_SECONDS = 0.01


def decode(data: bytes, *, max_seconds: float, max_channels: int, param: str = "audio_sample") -> Audio:
    """A clip in mono at the rate of its own file, where flat tops are still flat. Raises as `read` does."""
    decoder = Decoder(max_seconds, max_channels, param)
    samples = decoder.decode(data)
    if not len(samples):
        raise BadInput("the audio has no samples", param=param)
    return Audio(samples, decoder.rate)


def read(
    data: bytes,
    *,
    sample_rate: int,
    max_bytes: int,
    max_seconds: float,
    max_channels: int,
    param: str = "audio_sample",
    by: Callable[..., Audio] = decode,
) -> Audio:
    """Decode `data` to mono at `sample_rate` hertz: channels are averaged, the level stays as it is.

    by: `decode`, or `apart.decode` for what somebody uploads. TooLarge where there are more bytes or seconds than
    allowed; BadInput for everything else that is wrong, both naming `param`.
    """
    if len(data) > max_bytes:
        raise _too_many_bytes(len(data), max_bytes, param)
    if not data:
        raise BadInput(f"the audio is empty; send {CONTAINERS}", param=param)
    audio = by(data, max_seconds=max_seconds, max_channels=max_channels, param=param)
    samples = resample(audio.samples, audio.sample_rate, sample_rate)
    if not len(samples):
        raise BadInput("the audio has no samples", param=param)
    return Audio(samples, sample_rate)


def read_file(
    path: Path,
    *,
    sample_rate: int,
    max_bytes: int,
    max_seconds: float,
    max_channels: int,
    param: str = "audio_sample",
) -> Audio:
    """`read` for a file of one's own; BadInput too where it cannot be opened."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", param=param) from error
    if len(data) > max_bytes:
        raise _too_many_bytes(size, max_bytes, param)
    return read(
        data,
        sample_rate=sample_rate,
        max_bytes=max_bytes,
        max_seconds=max_seconds,
        max_channels=max_channels,
        param=param,
    )


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """`samples`, shape (n,), at `to_rate` hertz: shape (round(n * to_rate / from_rate),).

    soxr keeps aliases 140 dB down; FFmpeg's resampler leaves them at 35 dB, torchaudio's at 13 dB.
    """
    if from_rate == to_rate or not len(samples):
        return samples
    return np.asarray(soxr.resample(samples, from_rate, to_rate, quality="HQ"), dtype=np.float32)


def trim_silence(samples: Samples, sample_rate: int) -> Samples:
    """`samples`, shape (n,), without leading and trailing silence but for 50 ms, never below 0.35 s of it."""
    frame = max(1, round(_FRAME_SECONDS * sample_rate))
    count = len(samples) // frame
    energy = np.square(samples[: count * frame], dtype=np.float64).reshape(count, frame).mean(axis=1)
    if not count or not energy.max():
        return samples
    loud = np.flatnonzero(energy > energy.max() * 10 ** (SILENCE_DECIBELS / 10))
    margin = round(KEPT_SILENCE_SECONDS * sample_rate)
    # A remainder behind the last whole frame belongs to it.
    end = len(samples) if loud[-1] == count - 1 else int(loud[-1] + 1) * frame + margin
    start = max(0, int(loud[0]) * frame - margin)
    end = min(len(samples), end)
    lacking = round(SHORTEST_SECONDS * sample_rate) - (end - start)
    if lacking > 0:
        start = max(0, min(start - lacking // 2, len(samples) - (end - start) - lacking))
        end = min(len(samples), start + round(SHORTEST_SECONDS * sample_rate))
    return samples[start:end]


class Decoder:
    """Mono samples of one upload, counted while they come out."""

    def __init__(self, max_seconds: float, max_channels: int, param: str) -> None:
        self._max_seconds = max_seconds
        self._max_channels = max_channels
        self._param = param
        self.rate = 0
        """Hertz; known once something was decoded."""

    def decode(self, data: bytes) -> Samples:
        limit_blocks()
        try:
            # Metadata is not UTF-8 everywhere, and nobody reads it here.
            with av.open(
                io.BytesIO(data), "r", options=OPTIONS, metadata_errors="replace", io_open=open_nothing
            ) as container:
                pieces = list(self._pieces(container))
        except av.FFmpegError as error:
            # FFmpeg's own words do not help: an image is an "Invalid argument".
            raise BadInput(f"the audio is damaged or no audio; send {CONTAINERS}", param=self._param) from error
        if not pieces:
            self._refuse("has no samples")
        return np.concatenate(pieces)

    def _pieces(self, container: av.container.InputContainer) -> Iterator[Samples]:
        if not container.streams.audio:
            self._refuse(f"has no audio track; send {CONTAINERS}")
        stream = container.streams.audio[0]
        # FFmpeg has no context at all for a codec it does not know.
        codec = getattr(stream.codec_context, "name", "unknown")
        if codec not in _DECODERS:
            self._refuse(f"has the codec {codec}, which is not supported; send {CONTAINERS}")
        count = 0
        for frame in _frames(container, stream):
            self._check_shape(frame.sample_rate, frame.layout.nb_channels)
            if self.rate and frame.sample_rate != self.rate:
                self._refuse(f"changes its sample rate from {self.rate} to {frame.sample_rate} Hz on the way")
            self.rate = frame.sample_rate
            count += frame.samples
            if count > self._max_seconds * self.rate:
                raise TooLarge(f"the audio is longer than the {self._max_seconds:g} s allowed", param=self._param)
            yield self._mono(frame)

    def _check_shape(self, rate: int, channels: int) -> None:
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            self._refuse(f"has a sample rate of {rate} Hz; {LOWEST_RATE} to {HIGHEST_RATE} Hz are allowed")
        if not 1 <= channels <= self._max_channels:
            self._refuse(f"has {channels} channels; 1 to {self._max_channels} are allowed")

    def _mono(self, frame: av.AudioFrame) -> Samples:
        values = _full_scale(frame)
        peak = float(np.abs(values).max(initial=0.0))
        if not peak <= LOUDEST:
            self._refuse(f"has samples of {peak:g}; full scale is 1")
        mono: Samples = values.mean(axis=0, dtype=np.float32)
        return mono

    def _refuse(self, message: str) -> NoReturn:
        raise BadInput(f"the audio {message}", param=self._param)


@functools.cache
def limit_blocks() -> None:
    """FFmpeg's own limit, for the whole process: PyAV does not offer it, so it is called in the library it loaded."""
    library = ctypes.CDLL(av.buffer.__file__)
    library.av_max_alloc.argtypes = [ctypes.c_size_t]
    library.av_max_alloc.restype = None
    library.av_max_alloc(LARGEST_BLOCK)


def _frames(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Decoded frames; a damaged packet is skipped, as players do, unless they are one in ten."""
    damaged = 0
    for index, packet in enumerate(container.demux(stream)):
        try:
            yield from packet.decode()
        except av.InvalidDataError:
            damaged += 1
            # A cut file ends in one or two broken packets.
            if damaged > max(2, index // 10):
                raise


def _full_scale(frame: av.AudioFrame) -> NDArray[np.float64]:
    """Shape (channels, n), full scale ±1."""
    values: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    # A signalling NaN warns as it is cast; it is refused by its value later.
    with np.errstate(invalid="ignore"):
        scaled = values.astype(np.float64)
    if values.dtype.kind != "f":
        middle = 2.0 ** (8 * values.dtype.itemsize - 1)
        scaled = scaled / middle - (1 if values.dtype.kind == "u" else 0)
    return scaled


def open_nothing(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """A container may point at other files; none of them is opened."""
    raise av.PermissionError(1, "other files are not opened", url)


def _too_many_bytes(size: int, max_bytes: int, param: str) -> TooLarge:
    return TooLarge(f"the audio has {size} bytes; at most {max_bytes} are allowed", param=param)
