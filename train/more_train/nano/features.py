"""Sound as the model's parts see it: normalised mels, other sample rates, and the speech that is trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from more_server.audio.read import resample
from more_server.speech import Samples
from more_train import rates
from more_train.nano.shards import Shard, name
from more_train.nano.speech import CODE_SAMPLES

FRAMES_PER_CODE = 4
MELS = 80
HOP = CODE_SAMPLES // FRAMES_PER_CODE
MEASURED_CLIPS = 200
"""Clips that the mel statistics are taken from: ten minutes, a value settles within three."""

MEAN_CLIPS = 8
"""Of a group, for a speaker's mean spectrum."""


@dataclass(frozen=True)
class Group:
    """Clips of one voice in one language, in one shard, shortest first."""

    shard: int
    speaker: int
    language: str
    clips: Sequence[int]


class Speech:
    """All shards of a folder."""

    def __init__(self, folder: Path, count: int) -> None:
        self.shards = [Shard(folder / name(number)) for number in range(count)]
        self.groups = [
            Group(number, speaker, language, clips)
            for number, shard in enumerate(self.shards)
            for (speaker, language), clips in shard.groups().items()
        ]

    def clip(self, random: Random) -> tuple[int, int]:
        """Shard and number of any clip."""
        number = random.randrange(len(self.shards))
        return number, random.randrange(len(self.shards[number]))

    def samples(self, shard: int, clip: int) -> Samples:
        """A clip at 22,050 Hz."""
        return self.shards[shard].samples(clip)


class Mels:
    """Normalised log mels, as the server's conditioner and fine-tuning's DVAE make them."""

    def __init__(self, spectrogram: nn.Module, stats: Tensor, device: torch.device) -> None:
        self._spectrogram, self.stats, self.device = spectrogram.to(device), stats.to(device), device

    @torch.inference_mode()
    def __call__(self, audio: Tensor) -> Tensor:
        """(batch, mels, frames) of audio (batch, n) at 22,050 Hz."""
        return log_mels(self._spectrogram, audio.to(self.device)) / self.stats[:, None]

    def of_codes(self, samples: Samples) -> Tensor:
        """(mels, frames) of a whole clip, four frames for each code."""
        return self(torch.from_numpy(samples)[None])[0, :, : len(samples) // HOP]


def log_mels(spectrogram: nn.Module, audio: Tensor) -> Tensor:
    """Natural log of mel power (batch, mels, frames), never below that of 1e-5."""
    mels: Tensor = torch.log(spectrogram(audio).clamp(min=1e-5))
    return mels


@torch.inference_mode()
def mel_stats(spectrogram: nn.Module, speech: Speech) -> Tensor:
    """Root mean square of each band's log, by which mels are divided; (mels,)."""
    squares, frames = torch.zeros(()), 0
    shard = speech.shards[0]
    for clip in range(min(MEASURED_CLIPS, len(shard))):
        mels = log_mels(spectrogram, torch.from_numpy(shard.samples(clip))[None])[0]
        squares, frames = squares + mels.square().sum(dim=1), frames + mels.shape[1]
    return (squares / frames).sqrt()


@torch.inference_mode()
def speaker_means(speech: Speech, mels: Mels, speakers: int) -> Tensor:
    """Mean normalised mel of each speaker, (speakers, mels); of one without clips the mean of the others."""
    sums: dict[int, list[Tensor]] = {}
    for group in speech.groups:
        for clip in group.clips[:: max(1, len(group.clips) // MEAN_CLIPS)]:
            sums.setdefault(group.speaker, []).append(mels.of_codes(speech.samples(group.shard, clip)).mean(dim=1))
    means = {speaker: torch.stack(found).mean(dim=0) for speaker, found in sums.items()}
    common = torch.stack(list(means.values())).mean(dim=0)
    return torch.stack([means.get(speaker, common) for speaker in range(speakers)])


def piece(samples: Samples, length: int, random: Random) -> Samples:
    """A stretch of so many samples from anywhere; a shorter clip is said again until it is long enough."""
    if len(samples) < length:
        samples = np.tile(samples, -(-length // len(samples)))
    start = random.randrange(len(samples) - length + 1)
    return samples[start : start + length]


def as_recorded(samples: Samples, gain: float, noise: tuple[float, float], random: Random) -> Samples:
    """Louder or quieter by up to `gain` decibels, with white noise between two levels below it."""
    level = 10 ** (random.uniform(*noise) / 20) * float(np.sqrt(np.mean(samples**2)) + 1e-6)
    hiss = np.random.default_rng(random.getrandbits(63)).standard_normal(len(samples), dtype=np.float32)
    return np.asarray((samples + level * hiss) * 10 ** (random.uniform(-gain, gain) / 20), dtype=np.float32)


def at_speaker_rate(samples: Samples) -> Samples:
    """A clip at the rate that the speaker encoder hears."""
    return resample(samples, rates.MEL, rates.SPEAKER)


def at_output_rate(samples: Samples) -> Samples:
    """A clip at the rate that the decoder speaks."""
    return resample(samples, rates.MEL, rates.STORED)
