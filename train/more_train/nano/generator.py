"""Coqui's `HifiganGenerator` as it is trained: weight norm on, and its transposed convolutions without tones.

A transposed convolution makes `factor` samples of one, each from taps of its own. Where those taps do not sum up alike,
a constant input comes out as a tone at the input's rate and its multiples: here 93.75 Hz, 750 Hz, 6 kHz, steadily,
since biases and rectifiers leave constants everywhere. So they begin as linear interpolation, whose sums are alike, and
after every step what the sums differ by is taken out again. The server needs to know nothing of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from more_server.xtts import torchaudio_shim
from more_server.xtts.checkpoint import fold_weight_norm
from more_server.xtts.config import XttsConfig


def make_generator(config: XttsConfig) -> nn.Module:
    """Fresh weights, for training."""
    torchaudio_shim.install()
    from TTS.vocoder.models.hifigan_generator import HifiganGenerator

    decoder = config.decoder
    generator: nn.Module = HifiganGenerator(
        config.gpt.model_dim,
        1,
        decoder.resblock_type,
        decoder.resblock_dilation_sizes,
        decoder.resblock_kernel_sizes,
        decoder.upsample_kernel_sizes,
        decoder.upsample_initial_channel,
        decoder.upsample_factors,
        inference_padding=0,
        cond_channels=decoder.cond_channels,
        conv_pre_weight_norm=False,
        conv_post_weight_norm=False,
        conv_post_bias=False,
        cond_in_each_up_layer=decoder.cond_in_each_up_layer,
    )
    with torch.no_grad():
        for up in _ups(generator):
            _interpolate(up)
    return generator


def _ups(generator: nn.Module) -> Iterator[nn.ConvTranspose1d]:
    ups: Any = generator.ups
    yield from ups


def _interpolate(up: nn.ConvTranspose1d) -> None:
    """Begin as linear interpolation of random mixtures of the inputs."""
    before, after, kernel = up.weight.shape
    factor = up.stride[0]
    place = torch.arange(kernel) - (kernel - 1) / 2
    taps = (1 - place.abs() / factor).clamp(min=0)
    # Under weight norm this sets direction and size.
    up.weight = torch.randn(before, after, 1) * (2 / (before + after)) ** 0.5 * taps


@torch.no_grad()
def even_out(generator: nn.Module) -> None:
    """Make the taps of each of a transposed convolution's outputs sum up alike. Cheap: some thousand weights."""
    for up in _ups(generator):
        # The direction under weight norm; its size is one number for each input and changes nothing here.
        weight = dict(up.named_parameters())["parametrizations.weight.original1"]
        weight.sub_(unevenness(weight, up.stride[0]))


def unevenness(weight: Tensor, factor: int) -> Tensor:
    """For each tap (in, out, kernel), its part of what its output's sum differs from the mean of all outputs' sums."""
    taps = weight.view(*weight.shape[:-1], -1, factor)
    sums = taps.sum(dim=-2, keepdim=True)
    difference: Tensor = (sums - sums.mean(dim=-1, keepdim=True)) / taps.shape[-2]
    return difference.expand_as(taps).flatten(-2)


def folded(generator: nn.Module, *, even: bool = True) -> dict[str, Tensor]:
    """Weights as they serve; even: without tones to the last bit."""
    # Not by the modules: a copy shares its parametrised class with the original, which would lose its weight.
    state = fold_weight_norm({name: value.detach() for name, value in generator.state_dict().items()}, Path("decoder"))
    for number, up in enumerate(_ups(generator) if even else ()):
        name = f"ups.{number}.weight"
        state[name] = state[name] - unevenness(state[name], up.stride[0])
    return state
