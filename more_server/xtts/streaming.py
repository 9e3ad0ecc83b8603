"""A HiFi-GAN that is given its frames piece by piece and decodes none of them twice.

Every layer keeps the end of what it was given, as far as its kernel reaches, and pads with zeros only where the
segment begins and ends, as the whole decode does. So the pieces together are the whole, sample for sample in number
and within rounding in value. Against windows that decode their context again (28 frames each for XTTS-v2) a five
second segment takes a third less work.

Signals are kept as (time, channels), the order in which a CPU's convolutions read them.
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


class StreamingGenerator:
    """A generator's layers, prepared; `begin` starts on a segment."""

    def __init__(self, generator: nn.Module) -> None:
        layers: Any = generator
        self.dtype: torch.dtype = next(generator.parameters()).dtype
        self.first = _Convolution(layers.conv_pre, STEP_FRAMES)
        self.voice_layers = [layers.cond_layer, *(layers.conds if layers.cond_in_each_up_layer else [])]
        self.stages: list[tuple[_Upsampling, list[_Steps]]] = []
        step, count = STEP_FRAMES, layers.num_kernels
        for index, upsampling in enumerate(layers.ups):
            upsampled = step * upsampling.stride[0]
            blocks = layers.resblocks[index * count : (index + 1) * count]
            self.stages.append((_Upsampling(upsampling, step), [_steps(block, upsampled) for block in blocks]))
            step = upsampled
        self.last = _Convolution(layers.conv_post, step)

    def begin(self, speaker_embedding: Tensor) -> "Streamed":
        """One segment's way through; speaker_embedding (cond_channels,)."""
        voice = speaker_embedding.to(self.dtype)[None, :, None]
        return Streamed(self, [layer(voice)[0].t() for layer in self.voice_layers])


class Streamed:
    """One segment's way through a generator."""

    def __init__(self, layers: StreamingGenerator, voices: Sequence[Tensor]) -> None:
        """voices: what each layer with a condition adds, (1, its channels)."""
        self._dtype, self._voice = layers.dtype, voices[0]
        self._first, self._last = _StreamedConvolution(layers.first), _StreamedConvolution(layers.last)
        stage_voices: Sequence[Tensor | None] = voices[1:] or [None] * len(layers.stages)
        self._stages = [
            _Stage(upsampling, voice, blocks)
            for (upsampling, blocks), voice in zip(layers.stages, stage_voices, strict=True)
        ]

    def process(self, frames: Tensor, *, last: bool) -> Tensor:
        """The samples, shape (m,), that further frames (n, width) settle; with the last ones, all that are left.

        Where it raises, what was kept is void.
        """
        signal = self._first(frames.to(self._dtype), last) + self._voice
        for stage in self._stages:
            signal = stage.process(signal, last)
        return torch.tanh(self._last(F.leaky_relu(signal), last))[:, 0]


class _Convolution:
    """A convolution of kept length, its weights in the order that oneDNN wants: for small pieces bringing them there
    takes as long as the convolution."""

    def __init__(self, layer: nn.Conv1d, step: int, *, rectified: bool = False) -> None:
        """step: it is run on multiples of so many outputs; rectified: with a leaky rectifier behind."""
        self.padding, self.inputs, self.outputs = int(layer.padding[0]), layer.in_channels, layer.out_channels
        self._step, self._rectified = step, rectified
        self._layer, self._dilation = layer, [1, layer.dilation[0]]
        self._packed: Tensor | None = None
        weight = layer.weight.detach()[:, :, None]
        if _can_pack(weight):
            size = [1, self.inputs, 1, step + 2 * self.padding]
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(weight, [0, 0], [1, 1], self._dilation, 1, size)

    def __call__(self, signal: Tensor) -> Tensor:
        """(count + 2 * padding, inputs) to (count, outputs)."""
        count = len(signal) - 2 * self.padding
        image = _image(signal, -count % self._step)
        bias = self._layer.bias
        if self._packed is None:
            output = F.conv2d(image, self._layer.weight[:, :, None], bias, dilation=tuple(self._dilation))
            output = F.leaky_relu(output, SLOPE) if self._rectified else output
        else:
            behind = ("leaky_relu", [SLOPE], "") if self._rectified else ("none", [], "")
            output = torch.ops.mkldnn._convolution_pointwise(
                image, self._packed, bias, [0, 0], [1, 1], self._dilation, 1, *behind
            )
        return _signal(output)[:count]


class _StreamedConvolution:
    """A convolution over pieces; its output runs behind by its padding."""

    def __init__(self, layer: _Convolution) -> None:
        self._layer = layer
        self._kept: Tensor | None = None

    def __call__(self, piece: Tensor, last: bool) -> Tensor:
        layer, padding = self._layer, self._layer.padding
        edge = piece.new_zeros(padding, layer.inputs)
        signal = torch.cat([edge if self._kept is None else self._kept, piece, *([edge] if last else [])])
        self._kept = signal[max(0, len(signal) - 2 * padding) :].clone()
        return layer(signal) if len(signal) > 2 * padding else piece.new_empty(0, layer.outputs)


class _Upsampling:
    """A transposed convolution."""

    def __init__(self, layer: nn.ConvTranspose1d, step: int) -> None:
        """step: it is run on multiples of so many inputs."""
        self.stride, self.kernel, self.padding = layer.stride[0], layer.kernel_size[0], int(layer.padding[0])
        self.outputs = layer.out_channels
        self._layer, self._step = layer, step
        self._packed: Tensor | None = None
        weight = layer.weight.detach()[:, :, None]
        if _can_pack(weight):
            size = [1, layer.in_channels, 1, step]
            self._packed = torch.ops.mkldnn._reorder_convolution_transpose_weight(
                weight, [0, 0], [0, 0], [1, self.stride], [1, 1], 1, size
            )

    def __call__(self, signal: Tensor) -> Tensor:
        """(n, inputs) to ((n - 1) * stride + kernel and more, outputs)."""
        image = _image(signal, -len(signal) % self._step)
        stride, bias = [1, self.stride], self._layer.bias
        if self._packed is None:
            return _signal(F.conv_transpose2d(image, self._layer.weight[:, :, None], bias, stride=tuple(stride)))
        return _signal(
            torch.ops.mkldnn._convolution_transpose_pointwise(
                image, self._packed, bias, [0, 0], [0, 0], stride, [1, 1], 1, "none", [], ""
            )
        )


class _StreamedUpsampling:
    """A transposed convolution over pieces; an output is given when every input that reaches it is there."""

    def __init__(self, layer: _Upsampling) -> None:
        self._layer = layer
        self._kept: Tensor | None = None
        self._begin = 0
        """Number of the first input that is kept."""
        self._given = layer.padding
        """Outputs given, counted without padding: those before it are never given."""

    def __call__(self, piece: Tensor, last: bool) -> Tensor:
        layer = self._layer
        signal = piece if self._kept is None else torch.cat([self._kept, piece])
        count, origin = len(signal), self._begin * layer.stride
        reached = (count - 1) * layer.stride + layer.kernel - layer.padding if last else count * layer.stride
        keep = min(count, math.ceil(layer.kernel / layer.stride) - 1)
        self._kept, self._begin = signal[count - keep :].clone(), self._begin + count - keep
        start, self._given = self._given - origin, max(self._given, origin + reached)
        return layer(signal)[start:reached] if count and reached > start else piece.new_empty(0, layer.outputs)


_Steps = list[list[_Convolution]]
"""A residual block: what goes through some convolutions is added to what goes past them, again and again."""


def _steps(block: nn.Module, step: int) -> _Steps:
    layers: Any = block
    if hasattr(layers, "convs"):  # coqui's ResBlock2
        return [[_Convolution(layer, step)] for layer in layers.convs]
    pairs = zip(layers.convs1, layers.convs2, strict=True)
    return [[_Convolution(first, step, rectified=True), _Convolution(second, step)] for first, second in pairs]


class _Queue:
    """A signal that waits for others to come as far."""

    def __init__(self) -> None:
        self._waiting: Tensor | None = None

    def put(self, piece: Tensor) -> int:
        """Add a piece; how much waits now."""
        self._waiting = piece if self._waiting is None else torch.cat([self._waiting, piece])
        return len(self._waiting)

    def take(self, count: int) -> Tensor:
        assert self._waiting is not None
        given, self._waiting = self._waiting[:count], self._waiting[count:]
        return given


class _Residual:
    """A residual block over pieces."""

    def __init__(self, steps: _Steps) -> None:
        self._steps = [([_StreamedConvolution(layer) for layer in through], _Queue()) for through in steps]

    def __call__(self, signal: Tensor, last: bool) -> Tensor:
        for convolutions, past in self._steps:
            past.put(signal)
            through = F.leaky_relu(signal, SLOPE)
            for convolution in convolutions:
                through = convolution(through, last)
            signal = through + past.take(len(through))
        return signal


class _Stage:
    """An upsampling and the mean of the residual blocks behind it, over pieces."""

    def __init__(self, upsampling: _Upsampling, voice: Tensor | None, blocks: Sequence[_Steps]) -> None:
        self._upsampling, self._voice = _StreamedUpsampling(upsampling), voice
        self._blocks = [(_Residual(steps), _Queue()) for steps in blocks]

    def process(self, signal: Tensor, last: bool) -> Tensor:
        signal = self._upsampling(F.leaky_relu(signal, SLOPE), last)
        if self._voice is not None:
            signal = signal + self._voice
        count = min([queue.put(block(signal, last)) for block, queue in self._blocks])
        total, *others = (queue.take(count) for _, queue in self._blocks)
        for other in others:
            total = total + other
        return total / len(self._blocks)


def _can_pack(weight: Tensor) -> bool:
    """Whether weights can be brought into oneDNN's order once, by ops of the compiler of the torch that is pinned."""
    return bool(torch.backends.mkldnn.is_available()) and weight.device.type == "cpu"  # type: ignore[no-untyped-call]


def _image(signal: Tensor, more: int) -> Tensor:
    """(time, channels) as a picture one pixel high, (1, channels, 1, time), channels last in memory.

    more: zeros behind it; where there are none, padding would still copy.
    """
    padded = F.pad(signal, (0, 0, 0, more)) if more else signal
    return padded[None, None].permute(0, 3, 1, 2)


def _signal(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1)[0, 0]
