"""What the decoder is trained with: clips with their latents, or, before there are latents, with what stands for them.

A decoder needs hours of steps, and so does the GPT that it decodes. It need not wait for it: `Spectra` turns the mels
that the GPT's latents will have to tell (`mel_head`) into as many numbers as a latent has, linearly, so that later the
way from latents to mels to those numbers is folded into the decoder's first convolution, and it goes on from there.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from more_server.speech import Samples
from more_server.xtts.config import XttsConfig
from more_server.xtts.decoder import Decoder
from more_train import rates
from more_train.nano.features import Speech, as_recorded, at_output_rate, at_speaker_rate
from more_train.nano.gpt import Speaking, at_codes
from more_train.nano.monotone import Sound, nearest_period
from more_train.nano.packing import Batch, pack
from more_train.nano.reader import Reader
from more_train.nano.speaker import embed
from more_train.nano.workshop import Workshop

ROWS = 8
"""Clips that latents are made of at once."""
MEASURED_CLIPS = 256
"""Clips that the directions of `Spectra` are taken from: 13 minutes, 17,000 vectors of 640 numbers."""

Latents = Callable[[Batch], Tensor]
"""(rows, longest codes, width) of a batch: what the decoder is given at each code."""


def spoken_latents(speaking: Speaking) -> Latents:
    """Those of the GPT, told the true codes."""
    speaking.eval()

    def latents(batch: Batch) -> Tensor:
        hidden, _ = speaking.run(batch, speaking.condition(batch.references))
        return at_codes(hidden, batch)

    return latents


class Spectra(NamedTuple):
    """The mels before and at each code in their own main directions."""

    mean: Tensor
    """(2 * 4 * mels,)"""
    directions: Tensor
    """(2 * 4 * mels, width), each as long as makes its numbers vary by one."""

    def latents(self, batch: Batch) -> Tensor:
        """Shaped (rows, longest codes, width)."""
        return self.of(batch.mels.flatten(2))

    def of(self, mels: Tensor) -> Tensor:
        """The same of mels (..., 2 * 4 * mels)."""
        return (mels - self.mean.to(mels.device)) @ self.directions.to(mels.device)

    @classmethod
    def measured(cls, speech: Speech, reader: Reader, config: XttsConfig) -> "Spectra":
        """Principal components of the first shard's mels."""
        clips = range(min(MEASURED_CLIPS, len(speech.shards[0])))
        found = []
        for start in range(0, len(clips), ROWS):
            spoken = [reader.spoken(0, clip, 0) for clip in clips[start : start + ROWS]]
            batch = pack(spoken, torch.zeros(1, 1, 1), config.gpt, 1.0)
            found += [row[: len(one.codes)].flatten(1) for row, one in zip(batch.mels, spoken, strict=True)]
        mels = torch.cat(found).double()
        mean = mels.mean(dim=0)
        variances, directions = torch.linalg.eigh((mels - mean).T @ (mels - mean) / len(mels))
        width = config.gpt.model_dim
        chosen = directions[:, -width:] / variances[-width:].clamp(min=1e-4).sqrt()
        return cls(mean.float(), chosen.float().contiguous())

    def folded(self, first: Mapping[str, Tensor], told: nn.Linear) -> dict[str, Tensor]:
        """Weights of a first convolution that takes latents instead; told: the GPT's `mel_head`, latents to mels.

        first: `weight` (channels, width, taps) and `bias`. At the very edges, where the convolution is padded with
        zeros, the two differ.
        """
        through = self.directions.T @ told.weight
        constant = self.of(told.bias)
        return {
            "weight": torch.einsum("cwk,wl->clk", first["weight"], through),
            "bias": first["bias"] + first["weight"].sum(dim=2) @ constant,
        }


class Piece(NamedTuple):
    """A clip ready for the decoder."""

    frames: Tensor
    """(frames, width): latents at the decoder's frame rate."""
    embedding: Tensor
    """(width,): the voice, from another of its clips."""
    audio: Tensor
    """(frames * hop,): what it should sound like."""


class Pool:
    """Clips with their latents, some at a time, new ones every so many steps."""

    def __init__(
        self,
        workshop: Workshop,
        speech: Speech,
        reader: Reader,
        *,
        latents: Latents,
        encoder: nn.Module,
        config: XttsConfig,
        monotone: bool = False,
    ) -> None:
        self._workshop, self._speech, self._reader = workshop, speech, reader
        self._latents, self._encoder, self._config = latents, encoder.eval(), config
        self._monotone = monotone
        self._frames = Decoder(nn.Identity(), config)
        self._number, self._pieces = -1, list[Piece]()

    def at(self, step: int) -> Sequence[Piece]:
        """The pieces of a step, always the same ones."""
        number = step // self._workshop.nano.decoder.pool_steps
        if number != self._number:
            self._number, self._pieces = number, self._filled(number)
        return self._pieces

    def _filled(self, number: int) -> list[Piece]:
        random, settings = self._workshop.random("pool", number), self._workshop.nano.decoder
        pieces = list[Piece]()
        while len(pieces) < settings.pool:
            group = random.choice(self._speech.groups)
            chosen = random.sample(list(group.clips), min(ROWS, len(group.clips) - 1))
            other = random.choice([clip for clip in group.clips if clip not in chosen])
            pieces += self._pieces_of(group.shard, chosen, other, random)
            self._workshop.check()
        return pieces[: settings.pool]

    @torch.no_grad()
    def _pieces_of(self, shard: int, clips: Sequence[int], other: int, random: Random) -> list[Piece]:
        device, gpt = self._workshop.device, self._workshop.nano.gpt
        spoken = [self._reader.spoken(shard, clip, 0) for clip in clips]
        reference = self._reader.reference(shard, other, random)
        batch = pack(spoken, reference[None], self._config.gpt, gpt.guided_characters).to(device)
        with self._workshop.autocast():
            latents = self._latents(batch)
        recorded = as_recorded(self._speech.samples(shard, other), gpt.gain, gpt.noise, random)
        embedding = embed(self._encoder, at_speaker_rate(recorded))
        found = []
        audios = self._audios([at_output_rate(self._speech.samples(shard, clip)) for clip in clips], random)
        for one, true, row in zip(spoken, audios, latents.float(), strict=True):
            count = self._frames.frame_count(len(one.codes))
            audio = np.zeros(count * self._config.hop_length, dtype=np.float32)
            true = true[: len(audio)]
            audio[: len(true)] = true
            frames = self._frames.upsample(row[: len(one.codes)], 0, count)
            found.append(Piece(frames, embedding, torch.from_numpy(audio)))
        return found

    def _audios(self, clips: Sequence[Samples], random: Random) -> Sequence[Samples]:
        """What clips of one voice should sound like."""
        if not self._monotone:
            return clips
        sounds = [Sound(clip, rates.STORED) for clip in clips]
        period = nearest_period(sounds, rates.STORED, self._config.hop_length)
        return [sound.on(period, random.getrandbits(63)) for sound in sounds]
