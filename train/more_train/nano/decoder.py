"""The stage that makes latents sound: spectra first, then discriminators beside them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from more_server.xtts.config import XttsConfig
from more_server.xtts.decoder import Decoder
from more_train import rates
from more_train.nano.discriminators import (
    Discriminators,
    features_loss,
    fooled_loss,
    judges_loss,
    spectrum,
)
from more_train.nano.features import Speech, as_recorded, at_output_rate, at_speaker_rate
from more_train.nano.generator import even_out, folded, make_generator
from more_train.nano.gpt import Speaking, at_codes
from more_train.nano.packing import pack
from more_train.nano.reader import Reader
from more_train.nano.speaker import embed
from more_train.nano.speech import CODE_SAMPLES
from more_train.nano.workshop import Workshop
from more_train.optimise import Optimiser

RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))
"""Window and hop, in samples at 24 kHz."""
MEL_BANDS, MEL_FLOOR = 100, 1e-5
ROWS = 8
"""Clips that latents are made of at once."""


class Piece(NamedTuple):
    """A clip ready for the decoder."""

    frames: Tensor
    """(frames, width): latents at the decoder's frame rate."""
    embedding: Tensor
    """(width,): the voice, from another of its clips."""
    audio: Tensor
    """(frames * hop,): what it should sound like."""


class SpectralLoss(nn.Module):
    """How far spectra are apart: magnitudes and their logs at three resolutions, and log mels."""

    def __init__(self) -> None:
        super().__init__()
        from torchaudio.transforms import MelScale

        self.windows = nn.ParameterList(
            nn.Parameter(torch.hann_window(size), requires_grad=False) for size, _ in RESOLUTIONS
        )
        self.mel = MelScale(MEL_BANDS, rates.STORED, 0.0, rates.STORED / 2, 1024 // 2 + 1, norm="slaney")

    def forward(self, made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Of spectra, and of log mels (mean absolute, natural log); audio (batch, samples)."""
        losses, mel = [], made.new_zeros(())
        for window, (size, hop) in zip(self.windows, RESOLUTIONS, strict=True):
            one, other = spectrum(made, window, hop), spectrum(true, window, hop)
            converged = (one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2)).clamp(min=1e-3)
            losses.append(converged.mean() + (one.clamp(min=1e-3).log() - other.clamp(min=1e-3).log()).abs().mean())
            if size == 1024:
                mel = (self._log_mel(one) - self._log_mel(other)).abs().mean()
        return torch.stack(losses).mean(), mel

    def _log_mel(self, magnitudes: Tensor) -> Tensor:
        logs: Tensor = self.mel(magnitudes).clamp(min=MEL_FLOOR).log()
        return logs


class Pool:
    """Clips with their latents, some at a time, new ones every so many steps."""

    def __init__(
        self,
        workshop: Workshop,
        speech: Speech,
        reader: Reader,
        *,
        speaking: Speaking,
        encoder: nn.Module,
        config: XttsConfig,
    ) -> None:
        self._workshop, self._speech, self._reader = workshop, speech, reader
        self._speaking, self._encoder, self._config = speaking.eval(), encoder.eval(), config
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
    def _pieces_of(self, shard: int, clips: Sequence[int], other: int, random: Any) -> list[Piece]:
        device, gpt = self._workshop.device, self._workshop.nano.gpt
        spoken = [self._reader.spoken(shard, clip, 0) for clip in clips]
        reference = self._reader.reference(shard, other, random)
        batch = pack(spoken, reference[None], self._config.gpt, gpt.guided_characters).to(device)
        with self._workshop.autocast():
            latents, _ = self._speaking.run(batch, self._speaking.condition(batch.references))
        recorded = as_recorded(self._speech.samples(shard, other), gpt.gain, gpt.noise, random)
        embedding = embed(self._encoder, at_speaker_rate(recorded))
        found = []
        for clip, one, row in zip(clips, spoken, at_codes(latents, batch).float(), strict=True):
            count = self._frames.frame_count(len(one.codes))
            audio = np.zeros(count * self._config.hop_length, dtype=np.float32)
            true = at_output_rate(self._speech.samples(shard, clip))[: len(audio)]
            audio[: len(true)] = true
            frames = self._frames.upsample(row[: len(one.codes)], 0, count)
            found.append(Piece(frames, embedding, torch.from_numpy(audio)))
        return found


class DecoderTrainer:
    """Trains the generator, with discriminators from a certain step on."""

    def __init__(self, workshop: Workshop, pool: Pool, config: XttsConfig) -> None:
        self.settings = settings = workshop.nano.decoder
        self.total = settings.optimisation.total_steps
        self._begin = round(settings.adversarial_from * self.total)
        self._workshop, self._pool, self._hop = workshop, pool, config.hop_length
        self._length = round(settings.stretch_codes * CODE_SAMPLES * rates.STORED / rates.MEL / config.hop_length)
        torch.manual_seed(workshop.nano.seed)
        device, others = workshop.device, workshop.nano.discriminators
        self._generator = make_generator(config).to(device)
        self._judges = Discriminators(others).to(device)
        self._losses = SpectralLoss().to(device)
        self._optimiser = Optimiser(self._generator, settings.optimisation)
        self._judging = Optimiser(
            self._judges, replace(others.optimisation, total_steps=max(1, self.total - self._begin))
        )

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """One batch for the generator, and one for the discriminators once they are there."""
        frames, embeddings, true = self._batch(number)
        with self._workshop.autocast():
            made = self._generator(frames, g=embeddings[:, :, None])[:, 0]
        made = made.float()
        values: dict[str, float | Tensor] = {}
        if number >= self._begin:
            values["judges"] = self._judge(made.detach(), true)
        spectra, mel = self._losses(made, true)
        loss = self.settings.stft * spectra + self.settings.mel * mel
        if number >= self._begin:
            fooled, features = self._fool(made, true)
            loss = loss + fooled + self.settings.features * features
            values |= {"fooled": fooled.detach(), "features": features.detach()}
        torch.autograd.backward(loss)
        self._optimiser.step()
        even_out(self._generator)
        return {"spectra": spectra.detach(), "mel": mel.detach(), **values}

    def _batch(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        pieces, random = self._pool.at(number), self._workshop.random("decoder", number)
        frames, embeddings, audio = list[Tensor](), list[Tensor](), list[Tensor]()
        for piece in random.choices(pieces, k=self.settings.batch):
            length = self._length
            start = random.randrange(max(1, len(piece.frames) - length + 1))
            frames.append(_cut(piece.frames, start, length).t())
            audio.append(_cut(piece.audio, start * self._hop, length * self._hop))
            embeddings.append(piece.embedding)
        device = self._workshop.device
        return torch.stack(frames).to(device), torch.stack(embeddings).to(device), torch.stack(audio).to(device)

    def _judge(self, made: Tensor, true: Tensor) -> Tensor:
        with self._workshop.autocast():
            loss = judges_loss(self._judges(true), self._judges(made))
        torch.autograd.backward(loss)
        self._judging.step()
        return loss.detach()

    def _fool(self, made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        self._judges.requires_grad_(False)
        with self._workshop.autocast():
            with torch.no_grad():
                known = self._judges(true)
            judged = self._judges(made)
            losses = fooled_loss(judged), features_loss(known, judged)
        self._judges.requires_grad_(True)
        return losses

    def measure(self, _number: int) -> Mapping[str, float]:
        """Nothing: the whole model is evaluated when it is there."""
        return {}

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Of both sides."""
        own = {f"generator-{name}": part for name, part in self._optimiser.parts().items()}
        return own | {f"judges-{name}": part for name, part in self._judging.parts().items() if name != "ema"}

    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on."""
        self._optimiser.load({name: parts[f"generator-{name}"] for name in ("weights", "ema", "optimiser")})
        self._judging.load({name: parts[f"judges-{name}"] for name in ("weights", "optimiser")})

    def close(self) -> None:
        """No threads: a pool lasts for many steps."""

    def result(self) -> dict[str, Tensor]:
        """The running average, weight norm folded, as it serves."""
        with self._optimiser.averaged():
            return folded(self._generator)


def _cut(values: Tensor, start: int, length: int) -> Tensor:
    piece = values[start : start + length]
    missing = length - len(piece)
    return torch.cat([piece, piece.new_zeros(missing, *piece.shape[1:])]) if missing else piece
