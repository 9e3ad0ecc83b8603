"""Six streaming encoders: float samples in, bytes of mp3, Ogg-Opus, AAC, FLAC, WAV or raw PCM out.

with make_encoder("mp3", 24_000) as encoder:
    for samples in chunks:
        yield encoder.feed(samples)
    yield encoder.finish()
"""

import io
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType, TracebackType
from typing import Self

import av
import msgspec
import numpy as np
import soxr
from numpy.typing import NDArray

from more_server.errors import BadInput, allowed, shown
from more_server.speech import Samples

UNKNOWN_SIZE = 0xFFFFFFFF
"""Size fields of a WAV whose end is not known: clients and FFmpeg read on; with 0 they refuse it or read nothing."""

Options = tuple[tuple[str, str], ...]


class Codec(msgspec.Struct, frozen=True, kw_only=True):
    """How FFmpeg makes a format."""

    container: str
    name: str
    sample_format: str
    """What the encoder takes: the float one where it has one."""
    bit_rate: int | None = None
    """Bits per second; None for a lossless codec."""
    sample_rates: tuple[int, ...] = ()
    """Hertz, ascending, that the codec carries; empty: any."""
    container_options: Options = ()
    """Options of the container, in files and streams."""
    streamed: Options = ()
    """Options of the codec while streaming."""
    streamed_container: Options = ()
    """Options of the container while streaming."""


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """An audio format that can be asked for by `name`."""

    name: str
    content_type: str
    lossless: bool
    """Decodes to the 16-bit rounding of what was fed."""
    codec: Codec | None = None
    """None: 16-bit samples as they are."""


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

_FORMATS = (
    Format(
        name="mp3",
        content_type="audio/mpeg",
        lossless=False,
        # LAME turns its input down by 0.4 dB, to 0.95, and FFmpeg offers no switch for it.
        codec=Codec(
            container="mp3",
            name="libmp3lame",
            sample_format="fltp",
            bit_rate=96_000,
            sample_rates=_MPEG_RATES,
            # Without the bit reservoir every frame stands alone, so streams can be joined, and the
            # first one is out after 1200 samples instead of 1920.
            streamed=(("reservoir", "0"),),
            # A length tag or an ID3 block would lie in the middle once several responses are piped into one.
            streamed_container=(("write_xing", "0"), ("id3v2_version", "0")),
        ),
    ),
    Format(
        name="opus",
        content_type="audio/opus",
        lossless=False,
        codec=Codec(
            container="ogg",
            name="libopus",
            sample_format="flt",
            bit_rate=64_000,
            sample_rates=(8000, 12000, 16000, 24000, 48000),
            # A page per packet, in microseconds: first audio after 960 samples; with FFmpeg's own 1 s after
            # 48 000. Files too: FFmpeg's reader ignores the end mark of a stream that lies on a single page.
            container_options=(("page_duration", "20000"),),
        ),
    ),
    Format(
        name="aac",
        content_type="audio/aac",
        lossless=False,
        codec=Codec(
            container="adts", name="aac", sample_format="fltp", bit_rate=96_000, sample_rates=(7350, *_MPEG_RATES)
        ),
    ),
    Format(
        name="flac",
        content_type="audio/flac",
        lossless=True,
        codec=Codec(
            container="flac",
            name="flac",
            sample_format="s16",
            # Level 2 brings 27 ms blocks: first audio after 600 samples at 24 kHz instead of 2400. With
            # the default level's predictor two voices came out 3 % smaller than at the default level.
            streamed=(
                ("compression_level", "2"),
                ("lpc_type", "levinson"),
                ("min_prediction_order", "1"),
                ("max_prediction_order", "8"),
            ),
            # FFmpeg leaves 8 kB of padding for later tags.
            streamed_container=(("metadata_header_padding", "0"),),
        ),
    ),
    Format(name="wav", content_type="audio/wav", lossless=True),
    Format(name="pcm", content_type="audio/pcm", lossless=True),
)

FORMATS: Mapping[str, Format] = MappingProxyType({format_.name: format_ for format_ in _FORMATS})
"""Every format by its name, in the order of OpenAI's documentation."""


class Encoder(ABC):
    """One stream of one format: feed, feed, …, finish; or close when the listener leaves."""

    def __init__(self) -> None:
        self._open = True

    def feed(self, samples: Samples) -> bytes:
        """Take `samples`, shape (n,), full scale ±1, and give the bytes that are ready, often none.

        Values beyond full scale are clipped and NaN becomes silence. Raises RuntimeError after finish or close.
        """
        self._check_open()
        return self._encode(_clean(samples))

    def finish(self) -> bytes:
        """The rest of the stream; nothing can be fed afterwards."""
        self._check_open()
        rest = self._flush()
        self.close()
        return rest

    def close(self) -> None:
        """Let go of the codec, finished or not; a second call does nothing."""
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def _encode(self, samples: Samples) -> bytes: ...

    @abstractmethod
    def _flush(self) -> bytes: ...

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError("this encoder is finished or closed; make a new one for more audio")


class _Raw(Encoder):
    """16-bit samples behind a header, if there is one."""

    def __init__(self, header: bytes) -> None:
        super().__init__()
        self._header = header

    def _encode(self, samples: Samples) -> bytes:
        # Header and first samples leave together: clients parse the first piece they read.
        header, self._header = self._header, b""
        return header + _to_int16(samples).tobytes()

    def _flush(self) -> bytes:
        return self._encode(np.zeros(0, np.float32))


class CodedEncoder(Encoder):
    """A codec of FFmpeg and its container, written to `sink`, a path where it is a str.

    What is set on `container` before the first sample, such as tags, is written with it.
    """

    def __init__(self, codec: Codec, sample_rate: int, sink: "_Pipe | io.BytesIO | str") -> None:
        super().__init__()
        self._codec = codec
        self._sink = sink
        streamed = isinstance(sink, _Pipe)
        self._rate = _carried_rate(codec, sample_rate)
        self._resampler = (
            soxr.ResampleStream(sample_rate, self._rate, 1, dtype="float32", quality="HQ")
            if self._rate != sample_rate
            else None
        )
        container_options = dict(codec.container_options + (codec.streamed_container if streamed else ()))
        self.container = av.open(sink, "w", format=codec.container, options=container_options)
        stream = self.container.add_stream(
            codec.name, rate=self._rate, options=dict(codec.streamed if streamed else ())
        )
        assert isinstance(stream, av.AudioStream)
        stream.codec_context.layout = "mono"
        stream.codec_context.format = codec.sample_format
        if codec.bit_rate:
            stream.codec_context.bit_rate = codec.bit_rate
        self._stream = stream
        self._fed = 0
        """Samples of the codec's rate."""

    def _encode(self, samples: Samples) -> bytes:
        if self._resampler:
            # Resampling can overshoot full scale by a few per cent.
            samples = _clean(self._resampler.resample_chunk(samples))
        self._mux(samples)
        return self._taken()

    def _flush(self) -> bytes:
        if self._resampler:
            self._mux(_clean(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
        # The header is written here where nothing was fed.
        self.container.start_encoding()
        self.container.mux(self._stream.encode(None))
        self.container.close()
        return self._taken()

    def close(self) -> None:
        if self._open:
            self.container.close()
        super().close()

    def _mux(self, samples: Samples) -> None:
        if not len(samples):
            return
        values: NDArray[np.float32] | NDArray[np.int16] = samples
        if self._codec.sample_format == "s16":
            values = _to_int16(samples)
        frame = av.AudioFrame.from_ndarray(values[np.newaxis], format=self._codec.sample_format, layout="mono")
        frame.sample_rate = self._rate
        # MP4 keeps the codec's delay out of what is heard only where frames have times.
        frame.pts, frame.time_base = self._fed, Fraction(1, self._rate)
        self._fed += frame.samples
        self.container.mux(self._stream.encode(frame))

    def _taken(self) -> bytes:
        return self._sink.take() if isinstance(self._sink, _Pipe) else b""


class _Pipe:
    """Where a container writes while it streams; it cannot seek, so nothing already sent is ever rewritten."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._written)
        self._written.clear()
        return data


def make_encoder(format_name: str, sample_rate: int) -> Encoder:
    """A streaming encoder for mono audio at `sample_rate` hertz; BadInput where there is no such format.

    A rate that the codec cannot carry is resampled to the next one above.
    """
    format_ = find_format(format_name)
    if format_.codec:
        return CodedEncoder(format_.codec, sample_rate, _Pipe())
    return _Raw(wav_header(sample_rate) if format_.name == "wav" else b"")


def encode_file(samples: Samples, sample_rate: int, format_name: str) -> bytes:
    """A whole file of mono `samples`, shape (n,): unlike a stream its header tells the length, where the format can."""
    format_ = find_format(format_name)
    if not format_.codec:
        data = _to_int16(_clean(samples)).tobytes()
        return (wav_header(sample_rate, len(data)) if format_.name == "wav" else b"") + data
    sink = io.BytesIO()
    with CodedEncoder(format_.codec, sample_rate, sink) as encoder:
        encoder.feed(samples)
        encoder.finish()
    return sink.getvalue()


def find_format(name: str) -> Format:
    """The format of this name; BadInput listing what exists."""
    if name not in FORMATS:
        raise BadInput(f"unknown format {shown(name)}; allowed are {allowed(FORMATS)}", param="response_format")
    return FORMATS[name]


def wav_header(sample_rate: int, data_bytes: int | None = None) -> bytes:
    """The plain 44-byte header of 16-bit mono PCM; None: a stream whose length nobody knows.

    Clients skip exactly 44 bytes and read the rate at byte 24, so no other chunk may precede the data.
    """
    size = UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = min(size + 36, UNKNOWN_SIZE)
    # Chunk length 16, format 1 (PCM), 1 channel, rate, bytes per second, bytes per sample, bits.
    shape = struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return struct.pack("<4sI4s4s", b"RIFF", riff, b"WAVE", b"fmt ") + shape + struct.pack("<4sI", b"data", size)


def _clean(samples: Samples) -> Samples:
    """The one guard before every codec: AAC fails on NaN, the others encode garbage without a word."""
    finite = np.nan_to_num(np.asarray(samples, dtype=np.float32), nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(finite, -1.0, 1.0)


def _to_int16(samples: Samples) -> NDArray[np.int16]:
    return np.rint(samples * 32767).astype("<i2")


def _carried_rate(codec: Codec, sample_rate: int) -> int:
    rates = codec.sample_rates
    if not rates or sample_rate in rates:
        return sample_rate
    return min((rate for rate in rates if rate > sample_rate), default=rates[-1])
