"""The stage that learns to speak: text and a reference to codes, on the very modules that serve."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn import functional as F

from more_server.xtts.load import Parts
from more_train.nano.config import Gpt as Settings
from more_train.nano.config import Nano
from more_train.nano.features import FRAMES_PER_CODE, MELS
from more_train.nano.packing import UNCOUNTED, Batch, perturb
from more_train.nano.reader import Reader
from more_train.nano.workshop import Ahead, Workshop
from more_train.optimise import Matrices, Optimiser

SPEAKS, HEARS = ("gpt", "text_head", "mel_head"), ("conditioning_encoder", "perceiver", "voice_head")
KINDS = ("speaks", "hears")
GUIDED_HEAD = 0
CODE_SPREAD = 0.1
"""Of the codes' embeddings at the start; at GPT-2's 0.02 places drown them."""
POSITION_SPREAD = 0.05
"""Of the waves that places begin as: attention finds what is near before it has learnt what anything is."""


class Losses(NamedTuple):
    """Of a batch, each a mean."""

    codes: Tensor
    """Cross-entropy, nats a code."""
    text: Tensor
    guided: Tensor
    """Minus the log of the attention that rests where word times point."""
    mel: Tensor
    """Absolute error of the normalised mels told from latents."""
    voice: Tensor
    """One minus the cosine of the speaker's embedding told from the conditioning."""

    def total(self, settings: Settings) -> Tensor:
        """The weighted sum."""
        return (
            self.codes
            + settings.text * self.text
            + settings.guided * self.guided
            + settings.mel * self.mel
            + settings.voice * self.voice
        )


def waves(places: int, width: int) -> Tensor:
    """Sines and cosines of places, (places, width): places that are near are alike, in text and codes alike."""
    rates = torch.exp(-math.log(1000.0) * torch.arange(width // 2) / (width // 2))
    angles = torch.arange(places)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Speaking(nn.Module):
    """What this stage trains; names are those of the modules when they serve. `mel_head` and `voice_head` stay here."""

    def __init__(self, parts: Parts, nano: Nano) -> None:
        super().__init__()
        config = parts.gpt.config
        self.settings = nano.gpt
        self.gpt, self.conditioning_encoder, self.perceiver = parts.gpt, parts.conditioning_encoder, parts.perceiver
        self.text_head = nn.Linear(config.model_dim, config.number_text_tokens)
        self.mel_head = nn.Linear(config.model_dim, 2 * FRAMES_PER_CODE * MELS)
        self.voice_head = nn.Linear(config.model_dim, nano.speaker.width)
        self._start()

    def _start(self) -> None:
        """GPT-2's start: small weights, those that add to the stream smaller with depth."""
        gpt, deep = self.gpt, 0.02 / math.sqrt(2 * len(self.gpt.blocks))
        for name, value in gpt.named_parameters():
            if value.dim() > 1:
                nn.init.normal_(value, std=deep if name.endswith(("c_proj.weight", "c_out.weight")) else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(value)
        with torch.no_grad():
            for table in (gpt.text_positions, gpt.code_positions):
                table.weight.copy_(POSITION_SPREAD * waves(*table.weight.shape))

    @torch.no_grad()
    def start_codes(self, codebook: Tensor) -> None:
        """Let codes that sound alike begin alike, as input and as output; codebook: (width, codes) of the DVAE.

        Otherwise each of them is learnt by itself, from the one time in a batch that it is met.
        """
        vectors = codebook.t() - codebook.mean(dim=1)
        vectors = vectors / vectors.std(dim=0).clamp(min=1e-6)
        width = self.gpt.code_embedding.weight.shape[1]
        mixed = vectors @ torch.randn(vectors.shape[1], width) / math.sqrt(vectors.shape[1])
        self.gpt.code_embedding.weight[: len(mixed)] = CODE_SPREAD * mixed
        self.gpt.code_head.weight[: len(mixed)] = 0.02 * mixed

    def condition(self, references: Tensor) -> Tensor:
        """Conditioning latents (references, 32, width) of normalised mels (references, mels, frames)."""
        latents: Tensor = self.perceiver(self.conditioning_encoder(references).transpose(1, 2))
        return latents

    def run(self, batch: Batch, conditioning: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (rows, places, width) of a batch, and what the guided heads' attention misses, (rows, codes)."""
        gpt = self.gpt
        text = gpt.text_embedding(batch.text) + gpt.text_positions.weight[: batch.text.shape[1]]
        codes = gpt.code_embedding(batch.codes) + gpt.code_positions.weight[: batch.codes.shape[1]]
        parts = torch.cat([conditioning[batch.reference], text, codes], dim=1)
        hidden = parts.gather(1, batch.order[:, :, None].expand(-1, -1, parts.shape[-1]))
        missed = []
        for number, block in enumerate(gpt.blocks):
            query, key, value = (part.transpose(1, 2) for part in block.project(hidden))  # type: ignore[operator]
            if number in self.settings.guided_layers:
                missed.append(_missed(query[:, GUIDED_HEAD], key[:, GUIDED_HEAD], batch))
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            hidden = block.finish(hidden, attended.transpose(1, 2).flatten(2))  # type: ignore[operator]
        return gpt.final_norm(gpt.ln_f(hidden.float())), torch.stack(missed).mean(dim=0)

    def forward(self, batch: Batch, voices: Tensor) -> Losses:
        """voices: embedding of each reference's speaker, (references, width)."""
        conditioning = self.condition(batch.references)
        latents, missed = self.run(batch, conditioning)
        spoken = at_codes(latents, batch)
        said = (batch.code_targets != UNCOUNTED).float()
        told = self.mel_head(spoken).view_as(batch.mels)
        wrong = (told - batch.mels).abs().mean(dim=-1)
        characters = latents[:, conditioning.shape[1] :][:, : batch.text.shape[1]]
        return Losses(
            codes=F.cross_entropy(self.gpt.code_head(spoken).flatten(0, 1), batch.code_targets.flatten()),
            text=F.cross_entropy(self.text_head(characters).flatten(0, 1), batch.text_targets.flatten()),
            guided=(missed * said).sum() / said.sum(),
            mel=(wrong * batch.heard).sum() / batch.heard.sum(),
            voice=(1 - F.cosine_similarity(self.voice_head(conditioning.mean(dim=1)), voices)).mean(),
        )


def at_codes(latents: Tensor, batch: Batch) -> Tensor:
    """Latents (rows, codes, width) of the places where codes are told."""
    return latents.gather(1, batch.code_places[:, :, None].expand(-1, -1, latents.shape[-1]))


def _missed(query: Tensor, key: Tensor, batch: Batch) -> Tensor:
    """Minus the log of a head's attention, (rows, codes), that rests between the two places of `looks`."""
    asked = query.gather(1, batch.code_places[:, :, None].expand(-1, -1, query.shape[-1]))
    scores = (asked @ key.transpose(1, 2)).float() / math.sqrt(query.shape[-1])
    place = torch.arange(key.shape[1], device=key.device)
    scores = scores.masked_fill(place > batch.code_places[:, :, None], -torch.inf)
    looked = (place >= batch.looks[:, :, :1]) & (place <= batch.looks[:, :, 1:])
    aimed = scores.masked_fill(~looked, -1e9).logsumexp(dim=-1)
    return torch.where(batch.looks[:, :, 0] >= 0, scores.logsumexp(dim=-1) - aimed, 0.0)


class GptTrainer:
    """Trains it; short clips first, past codes perturbed, every reference another clip of the speaker."""

    def __init__(self, workshop: Workshop, reader: Reader, parts: Parts, *, voices: Tensor, codebook: Tensor) -> None:
        """voices: embedding of every speaker, (speakers, width); codebook: (width, codes) of the DVAE."""
        self.settings = workshop.nano.gpt
        self.total = self.settings.optimisation.total_steps
        self._workshop, self._reader, self._voices = workshop, reader, voices.to(workshop.device)
        torch.manual_seed(workshop.nano.seed)
        speaking = Speaking(parts, workshop.nano)
        speaking.start_codes(codebook)
        self._module = speaking.to(workshop.device)
        rates = self.settings.optimisation
        slower = replace(rates, learning_rate=self.settings.hearing * rates.learning_rate)
        matrices = Matrices(("gpt.blocks.",), self.settings.muon)
        self._optimisers = [
            Optimiser(nn.ModuleDict({name: self._module.get_submodule(name) for name in names}), chosen, turned)
            for names, chosen, turned in ((SPEAKS, rates, matrices), (HEARS, slower, None))
        ]
        self._batches = Ahead(self._batch, workshop.nano.loaders)
        self.close = self._batches.close

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """One batch."""
        batch, speakers = self._batches(number)
        with self._workshop.autocast():
            losses: Losses = self._module(batch.to(self._workshop.device), self._voices[speakers])
        torch.autograd.backward(losses.total(self.settings))
        for optimiser in self._optimisers:
            optimiser.step()
        return {name: value.detach() for name, value in losses._asdict().items()}

    def _batch(self, number: int) -> tuple[Batch, Tensor]:
        random = self._workshop.random("gpt", number)
        longest = min(1.0, 1 / 3 + 2 / 3 * number / max(1.0, self.settings.short_until * self.total))
        batch, speakers = self._reader.batch(random, longest)
        generator = self._workshop.generator("gpt", number)
        batch = perturb(
            batch,
            self.settings.perturbed,
            self.settings.perturbed_codes,
            self._workshop.nano.dvae.codes,
            lambda *shape: torch.rand(shape, generator=generator),
        )
        return batch, speakers

    @torch.no_grad()
    def measure(self, number: int) -> Mapping[str, float]:
        """Losses of held-out sentences, and how much worse codes and mels are told with exchanged references."""
        if number % self.settings.measured_every and number != self.total:
            return {}
        speaks, hears = self._optimisers
        with speaks.averaged(), hears.averaged(), self._workshop.autocast():
            true, exchanged = (self._losses(exchange) for exchange in (False, True))
        return {
            **{name: float(value) for name, value in true._asdict().items()},
            "codes_exchanged": float(exchanged.codes - true.codes),
            "mel_exchanged": float(exchanged.mel - true.mel),
        }

    def _losses(self, exchange: bool) -> Losses:
        batches = self._reader.held_out(self.settings.held_out, exchange=exchange)
        found = [self._module(batch.to(self._workshop.device), self._voices[speakers]) for batch, speakers in batches]
        return Losses(*(torch.stack(each).mean() for each in zip(*found, strict=True)))

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Weights, average, moments."""
        return {
            f"{kind}-{name}": part
            for kind, optimiser in zip(KINDS, self._optimisers, strict=True)
            for name, part in optimiser.parts().items()
        }

    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on."""
        for kind, optimiser in zip(KINDS, self._optimisers, strict=True):
            optimiser.load({name: parts[f"{kind}-{name}"] for name in optimiser.parts()})

    def result(self) -> dict[str, Tensor]:
        """The running average, by the names of `Speaking`."""
        return {name: value for optimiser in self._optimisers for name, value in optimiser.parts()["ema"].items()}
