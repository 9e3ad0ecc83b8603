"""What tells true sound from made: HiFi-GAN's periods, UnivNet's spectra; both much narrower than there.

The spectral ones hear what stands still, such as tones at multiples of the frame rate; the periods hear the waveform.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from more_train.nano.config import Discriminators as Settings

SLOPE = 0.1


class Judged(NamedTuple):
    """What one discriminator says."""

    scores: Tensor
    """1 for true sound, 0 for made."""
    inner: list[Tensor]
    """Values of its layers."""


class ByPeriod(nn.Module):
    """Looks at every p-th sample beside its neighbours p samples away."""

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        sizes = [1, *channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (3, 1), padding=(2, 0))) for before, after in pairwise(sizes)
        )
        self.layers.append(weight_norm(nn.Conv2d(sizes[-1], sizes[-1], (5, 1), padding=(2, 0))))
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, audio: Tensor) -> Judged:
        """audio: (batch, samples)."""
        missing = -audio.shape[1] % self.period
        padded = F.pad(audio[:, None], (0, missing), mode="reflect")
        hidden = padded.view(len(audio), 1, -1, self.period)
        return _through(self.layers, self.last, hidden)


class BySpectrum(nn.Module):
    """Looks at the magnitudes of a spectrogram."""

    def __init__(self, window: int, hop: int, channels: int) -> None:
        super().__init__()
        self.hop = hop
        self.window: Tensor
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        # Half the frequencies from the first layer on, unlike UnivNet: a third of the time.
        self.layers = nn.ModuleList([weight_norm(nn.Conv2d(1, channels, (3, 9), (1, 2), padding=(1, 4)))])
        self.layers.extend(weight_norm(nn.Conv2d(channels, channels, (3, 5), (1, 2), padding=(1, 2))) for _ in range(3))
        self.layers.append(weight_norm(nn.Conv2d(channels, channels, (3, 3), padding=(1, 1))))
        self.last = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, audio: Tensor) -> Judged:
        """audio: (batch, samples)."""
        with torch.autocast(audio.device.type, enabled=False):
            magnitudes = spectrum(audio.float(), self.window, self.hop)
        return _through(self.layers, self.last, magnitudes.transpose(1, 2)[:, None])


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.judges = nn.ModuleList(ByPeriod(period, settings.period_channels) for period in settings.periods)
        self.judges.extend(BySpectrum(window, hop, settings.channels) for window, hop in settings.resolutions)

    def forward(self, audio: Tensor) -> list[Judged]:
        """audio: (batch, samples)."""
        return [judge(audio) for judge in self.judges]


def _through(layers: nn.ModuleList, last: nn.Module, hidden: Tensor) -> Judged:
    inner = []
    for layer in layers:
        hidden = F.leaky_relu(layer(hidden), SLOPE)
        inner.append(hidden)
    return Judged(last(hidden).flatten(1), inner)


def spectrum(audio: Tensor, window: Tensor, hop: int) -> Tensor:
    """Magnitudes (batch, frequencies, frames) of audio (batch, samples); never quite 0, so that a log has a slope."""
    size = len(window)
    bins = torch.stft(audio, size, hop, size, window, center=True, pad_mode="reflect", return_complex=True)
    return (bins.real.square() + bins.imag.square() + 1e-7).sqrt()


def judges_loss(true: Sequence[Judged], made: Sequence[Judged]) -> Tensor:
    """Of the discriminators, by least squares."""
    losses = [
        (1 - one.scores.float()).square().mean() + other.scores.float().square().mean()
        for one, other in zip(true, made, strict=True)
    ]
    return torch.stack(losses).mean()


def fooled_loss(made: Sequence[Judged]) -> Tensor:
    """Of the generator: what is made should be taken for true."""
    return torch.stack([(1 - judged.scores.float()).square().mean() for judged in made]).mean()


def features_loss(true: Sequence[Judged], made: Sequence[Judged]) -> Tensor:
    """Distance between inner values, relative to the true ones' size: layers of any width count alike."""
    losses = [
        (a.detach() - b).abs().float().mean() / a.detach().abs().float().mean().clamp(min=1e-4)
        for one, other in zip(true, made, strict=True)
        for a, b in zip(one.inner, other.inner, strict=True)
    ]
    return torch.stack(losses).mean()
