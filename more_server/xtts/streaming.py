"""A HiFi-GAN that is given its frames piece by piece and decodes none of them twice.

Every layer keeps the end of what it was given, as far as its kernel reaches, and pads with zeros only where the
segment begins and ends, as the whole decode does. So the pieces together are the whole, sample for sample in number
and within rounding in value. Against windows that decode their context again (28 frames each for XTTS-v2) a five
second segment takes a third less work.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1
"""Of the leaky rectifiers but the last one, which has torch's own (coqui: vocoder/models/hifigan_generator.py)."""

STEP_FRAMES = 8
"""Layers are run on lengths that are multiples of so many frames, with zeros behind that nothing is taken from: oneDNN
compiles each new shape of each layer, 55 ms for a generator of XTTS-v2's sizes, and remembers 13 such generators."""


class Streamed:
    """One segment's way through a generator."""

    def __init__(self, generator: nn.Module, speaker_embedding: Tensor) -> None:
        """speaker_embedding (cond_channels,)."""
        layers: Any = generator
        self._dtype = next(generator.parameters()).dtype
        voice = speaker_embedding.to(self._dtype)[None, :, None]
        self._first, self._first_voice = _Convolution(layers.conv_pre, STEP_FRAMES), layers.cond_layer(voice)
        self._stages: list[_Stage] = []
        step, count = STEP_FRAMES, layers.num_kernels
        for index, upsampling in enumerate(layers.ups):
            stage_voice = layers.conds[index](voice) if layers.cond_in_each_up_layer else None
            blocks = layers.resblocks[index * count : (index + 1) * count]
            self._stages.append(_Stage(upsampling, stage_voice, blocks, step))
            step *= upsampling.stride[0]
        self._last = _Convolution(layers.conv_post, step)

    def process(self, frames: Tensor, *, last: bool) -> Tensor:
        """The samples, shape (m,), that further frames (n, width) settle; with the last ones, all that are left.

        Where it raises, what was kept is void.
        """
        signal = self._first(frames.t()[None].to(self._dtype), last) + self._first_voice
        for stage in self._stages:
            signal = stage.process(signal, last)
        return torch.tanh(self._last(F.leaky_relu(signal), last))[0, 0]


class _Convolution:
    """A convolution that keeps length, over pieces; its output runs behind by its padding."""

    def __init__(self, layer: nn.Conv1d, step: int) -> None:
        """step: it is run on multiples of so many outputs."""
        self._layer = layer
        self._step = step
        self._padding = int(layer.padding[0])
        self._kept: Tensor | None = None

    def __call__(self, piece: Tensor, last: bool) -> Tensor:
        layer, padding = self._layer, self._padding
        edge = piece.new_zeros(1, layer.in_channels, padding)
        parts = [edge if self._kept is None else self._kept, piece, *([edge] if last else [])]
        signal = torch.cat(parts, dim=-1)
        reach = 2 * padding
        self._kept = signal[..., max(0, signal.shape[-1] - reach) :].clone()
        count = signal.shape[-1] - reach
        if count <= 0:
            return piece.new_empty(1, layer.out_channels, 0)
        padded = F.pad(signal, (0, -count % self._step))
        return F.conv1d(padded, layer.weight, layer.bias, dilation=layer.dilation)[..., :count]


class _Upsampling:
    """A transposed convolution over pieces; an output is given when every input that reaches it is there."""

    def __init__(self, layer: nn.ConvTranspose1d, step: int) -> None:
        """step: it is run on multiples of so many inputs."""
        self._layer = layer
        self._step = step
        self._stride, self._kernel, self._padding = layer.stride[0], layer.kernel_size[0], int(layer.padding[0])
        self._kept: Tensor | None = None
        self._begin = 0
        """Number of the first input that is kept."""
        self._given = self._padding
        """Outputs given, counted without padding: those before it are never given."""

    def __call__(self, piece: Tensor, last: bool) -> Tensor:
        layer, stride = self._layer, self._stride
        signal = piece if self._kept is None else torch.cat([self._kept, piece], dim=-1)
        count = signal.shape[-1]
        origin = self._begin * stride
        end = origin + ((count - 1) * stride + self._kernel - self._padding if last else count * stride)
        keep = min(count, math.ceil(self._kernel / stride) - 1)
        self._kept = signal[..., count - keep :].clone()
        self._begin += count - keep
        if not count or end <= self._given:
            return piece.new_empty(1, layer.out_channels, 0)
        padded = F.pad(signal, (0, -count % self._step))
        output = F.conv_transpose1d(padded, layer.weight, layer.bias, stride=layer.stride)
        given = output[..., self._given - origin : end - origin]
        self._given = end
        return given


class _Queue:
    """A signal that waits for others to come as far."""

    def __init__(self) -> None:
        self._waiting: Tensor | None = None

    def put(self, piece: Tensor) -> int:
        """Add a piece; how much waits now."""
        self._waiting = piece if self._waiting is None else torch.cat([self._waiting, piece], dim=-1)
        return self._waiting.shape[-1]

    def take(self, count: int) -> Tensor:
        assert self._waiting is not None
        given, self._waiting = self._waiting[..., :count], self._waiting[..., count:]
        return given


class _Residual:
    """A residual block over pieces: what goes past its convolutions waits for what goes through them."""

    def __init__(self, block: nn.Module, step: int) -> None:
        layers: Any = block
        pairs = zip(layers.convs1, layers.convs2, strict=True) if hasattr(layers, "convs1") else zip(layers.convs)
        self._steps = [([_Convolution(layer, step) for layer in pair], _Queue()) for pair in pairs]

    def __call__(self, signal: Tensor, last: bool) -> Tensor:
        for convolutions, past in self._steps:
            past.put(signal)
            through = signal
            for convolution in convolutions:
                through = convolution(F.leaky_relu(through, SLOPE), last)
            signal = through + past.take(through.shape[-1])
        return signal


class _Stage:
    """An upsampling and the mean of the residual blocks behind it."""

    def __init__(
        self, upsampling: nn.ConvTranspose1d, voice: Tensor | None, blocks: Sequence[nn.Module], step: int
    ) -> None:
        self._upsampling, self._voice = _Upsampling(upsampling, step), voice
        self._blocks = [(_Residual(block, step * upsampling.stride[0]), _Queue()) for block in blocks]

    def process(self, signal: Tensor, last: bool) -> Tensor:
        signal = self._upsampling(F.leaky_relu(signal, SLOPE), last)
        if self._voice is not None:
            signal = signal + self._voice
        count = min([queue.put(block(signal, last)) for block, queue in self._blocks])
        total, *others = (queue.take(count) for _, queue in self._blocks)
        for other in others:
            total = total + other
        return total / len(self._blocks)
