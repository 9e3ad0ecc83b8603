"""Reading back what the server sent, with FFmpeg's decoders."""

import io

import av
import numpy as np


def decoded(data: bytes, response_format: str) -> tuple[np.ndarray, int]:
    """Samples, full scale ±1, and their rate."""
    if response_format == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768, 24_000
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24_000)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]), 24_000
