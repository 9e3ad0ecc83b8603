"""Latents to audio: two linear interpolations to the decoder's frame rate, then HiFi-GAN.

A window of frames decoded with the context of the generator's receptive field equals the same
stretch of the whole decode, so audio can stream without decoding anything twice but that context.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from more_server.xtts.config import DecoderConfig, XttsConfig
from more_server.xtts.streaming import Streamed, StreamingGenerator


class Window(NamedTuple):
    """A stretch of a segment to decode."""

    latents: Tensor
    """All that are known of the segment, (T, width)."""
    speaker_embedding: Tensor
    """(cond_channels,)"""
    start: int
    """Its first frame."""
    stop: int
    """The frame behind its last; beyond `settled_frames(T)` frames are right only when T is the whole segment."""


class Decoder:
    """HiFi-GAN behind coqui's two interpolations (layers/xtts/hifigan_decoder.py, `HifiDecoder.forward`)."""

    def __init__(self, generator: nn.Module, config: XttsConfig, batch: int = 1) -> None:
        """batch: windows decoded in one pass; fewer are filled up, so that a window is the same in any company."""
        self.generator = generator
        self.batch = batch
        self._streaming: StreamingGenerator | None = None
        self.hop_length = config.hop_length
        self.context_frames = receptive_field(config.decoder)
        self._frames_per_latent = config.gpt.code_stride_len / config.hop_length
        self._rate_ratio = config.output_sample_rate / config.sample_rate

    def frame_count(self, latents: int) -> int:
        """Frames that so many latents make, all of them known."""
        coarse = math.floor(latents * self._frames_per_latent)
        return math.floor(coarse * self._rate_ratio)

    def settled_frames(self, latents: int) -> int:
        """Frames that further latents can no longer change: those interpolated without the last edge."""
        coarse = math.floor(self._frames_per_latent * (latents - 0.5) - 0.5)
        return max(0, math.floor((coarse - 0.5) * self._rate_ratio - 0.5))

    def upsample(self, latents: Tensor, start: int, stop: int) -> Tensor:
        """Frames start…stop of latents (T, width), shape (stop - start, width).

        The same arithmetic as `F.interpolate(mode="linear", scale_factor=…)` twice, in float32 as
        there, but for a stretch of the output.
        """
        coarse_count = math.floor(len(latents) * self._frames_per_latent)
        frame = torch.arange(start, stop, device=latents.device)
        left, right, weight = _neighbours(frame, self._rate_ratio, coarse_count)
        return torch.lerp(self._coarse(latents, left), self._coarse(latents, right), weight[:, None])

    def decode(self, latents: Tensor, speaker_embedding: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Audio of frames start…stop, or to the end, of one window: shape ((stop - start) * hop_length,)."""
        stop = self.frame_count(len(latents)) if stop is None else stop
        return self.decode_all([Window(latents, speaker_embedding, start, stop)])[0]

    def begin(self, speaker_embedding: Tensor) -> Streamed:
        """A decoder of one segment that is given its frames piece by piece; speaker_embedding (cond_channels,)."""
        self._streaming = self._streaming or StreamingGenerator(self.generator)
        return self._streaming.begin(speaker_embedding)

    def decode_all(self, windows: Sequence[Window]) -> list[Tensor]:
        """Audio of each window, shape ((stop - start) * hop_length,), full scale ±1.

        Windows that need equally many frames go through the generator together. Others are not padded to one length:
        the generator's own zero padding at the end of a segment would become something else.
        """
        reaches = [self._reach(window) for window in windows]
        by_length: dict[int, list[int]] = {}
        for index, (first, last) in enumerate(reaches):
            by_length.setdefault(last - first, []).append(index)
        audio: dict[int, Tensor] = {}
        for members in by_length.values():
            for begin in range(0, len(members), self.batch):
                group = members[begin : begin + self.batch]
                made = self._generate([windows[i] for i in group], [reaches[i] for i in group])
                audio |= dict(zip(group, made, strict=False))
        return [
            audio[index][(window.start - reaches[index][0]) * self.hop_length :][
                : (window.stop - window.start) * self.hop_length
            ]
            for index, window in enumerate(windows)
        ]

    def _reach(self, window: Window) -> tuple[int, int]:
        """A window with the context that its audio depends on."""
        end = self.frame_count(len(window.latents))
        return max(0, window.start - self.context_frames), min(end, window.stop + self.context_frames)

    def _generate(self, windows: Sequence[Window], reaches: Sequence[tuple[int, int]]) -> Tensor:
        """Audio (batch, samples) of windows with their context, all of one length."""
        dtype = next(self.generator.parameters()).dtype
        frames = [self.upsample(window.latents, *reach).t() for window, reach in zip(windows, reaches, strict=True)]
        voices = [window.speaker_embedding[:, None] for window in windows]
        missing = self.batch - len(windows)
        audio: Tensor = self.generator(
            torch.stack(frames + frames[:1] * missing).to(dtype), g=torch.stack(voices + voices[:1] * missing).to(dtype)
        )
        return audio[:, 0]

    def _coarse(self, latents: Tensor, index: Tensor) -> Tensor:
        left, right, weight = _neighbours(index, self._frames_per_latent, len(latents))
        return torch.lerp(latents[left], latents[right], weight[:, None].to(latents.dtype))


def _neighbours(index: Tensor, scale: float, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where an output of `F.interpolate` by `scale` lies between `count` inputs: left, right, weight of right."""
    inverse = torch.tensor(1.0 / scale, dtype=torch.float32, device=index.device)
    source = (inverse * (index.to(torch.float32) + 0.5) - 0.5).clamp(min=0.0)
    left = source.floor().long().clamp(max=count - 1)
    return left, (left + 1).clamp(max=count - 1), source - left


def receptive_field(config: DecoderConfig) -> int:
    """Frames on either side that a frame's audio depends on, counted backwards through the generator.

    14 for XTTS-v2. Rounded up at each transposed convolution, so never too small.
    """
    reach = 3  # conv_post, kernel 7
    stages = list(zip(config.upsample_factors, config.upsample_kernel_sizes, strict=True))
    for factor, kernel in reversed(stages):
        reach += max(
            _resblock_reach(config.resblock_type, size, dilations)
            for size, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
        )
        reach = math.ceil((reach + (kernel + factor) / 2) / factor)
    return reach + 3  # conv_pre, kernel 7


def _resblock_reach(kind: str, kernel: int, dilations: tuple[int, ...]) -> int:
    half = (kernel - 1) // 2
    # Type 1 follows every dilated convolution by an undilated one (coqui: ResBlock1, ResBlock2).
    return sum(half * dilation + (half if kind == "1" else 0) for dilation in dilations)
