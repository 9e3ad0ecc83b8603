"""Test signals, and FFmpeg used directly as the judge of what the package encodes and reads."""

import io

import av
import numpy as np
from numpy.typing import NDArray

RATE = 24_000


def sine(hertz: float, seconds: float, rate: int = RATE, level: float = 0.5) -> NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def chirp(count: int, rate: int = RATE) -> NDArray[np.float32]:
    """From 200 Hz upwards by 800 Hz a second, with a soft onset."""
    time = np.arange(count) / rate
    return (0.5 * np.minimum(1, 20 * time) * np.sin(2 * np.pi * (200 * time + 400 * time**2))).astype(np.float32)


def cut(samples: NDArray[np.float32], sizes: list[int]) -> list[NDArray[np.float32]]:
    """`samples` in pieces of these sizes, over and over; one of them must be above 0."""
    pieces, start, turn = [], 0, 0
    while start < len(samples):
        size = sizes[turn % len(sizes)]
        pieces.append(samples[start : start + size])
        start, turn = start + size, turn + 1
    return pieces


def decode(data: bytes, container: str | None = None) -> tuple[NDArray[np.float64], int]:
    """Samples of the first channel and their rate."""
    pieces, rate = [], 0
    with av.open(io.BytesIO(data), "r", format=container) as source:
        for frame in source.decode(audio=0):
            values = frame.to_ndarray()
            scale = 1 if values.dtype.kind == "f" else 2.0 ** (8 * values.dtype.itemsize - 1)
            pieces.append(values[0] / scale)
            rate = frame.sample_rate
    return np.concatenate(pieces), rate


def encode(
    channels: NDArray[np.float32], rate: int, container: str, codec: str, sample_format: str = "fltp", **options: str
) -> bytes:
    """A file of `channels`, shape (channels, n), made by FFmpeg alone."""
    sink = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(sink, "w", format=container) as target:
        stream = target.add_stream(codec, rate=rate, options=options)
        stream.codec_context.layout = layout
        stream.codec_context.format = sample_format
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
        frame.sample_rate = rate
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return sink.getvalue()


def frequency(samples: NDArray[np.float32], rate: int) -> float:
    """The strongest frequency in hertz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 19))
    return float(np.argmax(spectrum)) * rate / (1 << 19)


def decibels(reference: NDArray[np.float32], decoded: NDArray[np.float64]) -> float:
    """Signal to noise."""
    return float(10 * np.log10(np.sum(reference.astype(float) ** 2) / np.sum((decoded - reference) ** 2)))
