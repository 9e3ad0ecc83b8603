"""The stage that turns mels into codes: coqui's `DiscreteVAE`, every one of its codes in use."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from more_train.nano.config import Dvae as Settings
from more_train.nano.features import HOP, MELS, Mels, Speech, piece
from more_train.nano.speech import CODE_SAMPLES
from more_train.nano.workshop import Ahead, Workshop
from more_train.optimise import Optimiser

DECAY = 0.97
"""Of a code's use and place from step to step. With coqui's 0.99 a dead code is noticed after 230 steps, too late."""
SILENT_SHARE = 0.25
"""Of its fair share: a code that is used less is as good as dead. Unused ones get there in 46 steps."""


def make_dvae(settings: Settings) -> nn.Module:
    """Coqui's module with fresh weights, kernel and layers as in XTTS-v2's dvae.pth."""
    from more_server.xtts import torchaudio_shim

    torchaudio_shim.install()
    from TTS.tts.layers.xtts.dvae import DiscreteVAE

    module: nn.Module = DiscreteVAE(
        channels=MELS,
        positional_dims=1,
        num_tokens=settings.codes,
        codebook_dim=settings.width,
        hidden_dim=settings.hidden,
        num_resnet_blocks=settings.blocks,
        kernel_size=3,
        num_layers=2,
        use_transposed_convs=False,
    )
    return module


@torch.inference_mode()
def encode(dvae: nn.Module, mels: Tensor) -> Tensor:
    """Codes (batch, frames / 4) of normalised mels (batch, mels, frames)."""
    dvae.eval()
    codes: Tensor = dvae.get_codebook_indices(mels)  # type: ignore[operator]
    return codes


def smoothing(bands: int, waves: int) -> Tensor:
    """Matrix (bands, bands) that keeps the slowest cosine waves of a spectrum: its formants, not its harmonics."""
    place = torch.arange(bands, dtype=torch.float64)
    cosines = torch.cos(math.pi * torch.arange(min(waves, bands))[:, None] * (place + 0.5) / bands)
    cosines /= cosines.square().sum(dim=1, keepdim=True).sqrt()
    return (cosines.t() @ cosines).float()


class DvaeTrainer:
    """Trains it."""

    def __init__(self, workshop: Workshop, speech: Speech, mels: Mels, means: Tensor) -> None:
        """means: the mean mel of every speaker, (speakers, mels)."""
        self.settings = workshop.nano.dvae
        self.total = self.settings.optimisation.total_steps
        self._workshop, self._speech, self._mels = workshop, speech, mels
        self._means = means.to(workshop.device)
        self._smooth = smoothing(MELS, self.settings.smooth).to(workshop.device)
        torch.manual_seed(workshop.nano.seed)
        self._module = make_dvae(self.settings).to(workshop.device).train()
        self._quantizer.decay = DECAY
        self._optimiser = Optimiser(self._module, self.settings.optimisation)
        self._batches = Ahead(self._batch, workshop.nano.loaders)
        self.close = self._batches.close

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """One batch: at first without codes, which then start from data; now and then unused ones do so again."""
        since = number - round(self.settings.plain * self.total)
        if since == 0:
            self._start_codes(number, slice(None))
        elif (
            since > 0 and since % self.settings.revive_every == 0 and number <= self.settings.revive_until * self.total
        ):
            self._revive(number)
        with self._workshop.autocast():
            error, commitment = self._errors(*self._batches(number), coded=since >= 0)
            loss = error + self.settings.commitment * commitment
        torch.autograd.backward(loss)
        self._optimiser.step()
        return {"error": error.detach(), "commitment": commitment.detach(), "used": self._used()}

    def _errors(self, mels: Tensor, target: Tensor, *, coded: bool) -> tuple[Tensor, Tensor]:
        """Mean squared error of what is made, and the distance of vectors from their codes; as in coqui's `forward`,
        but for another target."""
        vectors, commitment = self._module.encoder(mels), mels.new_zeros(())  # type: ignore[operator]
        if coded:
            with torch.autocast(mels.device.type, enabled=False):
                near, _, commitment = self._quantizer(vectors.transpose(1, 2).float())
            vectors = near.transpose(1, 2)
        made = self._module.decoder(vectors)  # type: ignore[operator]
        return (made.float() - target).square().mean(), commitment

    def _used(self) -> Tensor:
        """Codes that are not as good as dead."""
        sizes = self._quantizer.cluster_size
        used: Tensor = (sizes > SILENT_SHARE * sizes.sum() / len(sizes)).sum()
        return used

    @property
    def _quantizer(self) -> Any:
        return self._module.codebook

    def _batch(self, number: object) -> tuple[Tensor, Tensor]:
        """Normalised mels (batch, mels, frames), and what is to be made of them."""
        random, length = self._workshop.random("dvae", number), self.settings.stretch_codes * CODE_SAMPLES
        places = [self._speech.clip(random) for _ in range(self.settings.batch)]
        audio = np.stack([piece(self._speech.samples(*place), length, random) for place in places])
        mels = self._mels(torch.from_numpy(audio))[:, :, : length // HOP].clone()
        own = self._means[[self._speech.shards[shard].lines[clip].speaker for shard, clip in places]]
        plain = mels - self.settings.voice_free * (own - self._means.mean(dim=0))[:, :, None]
        return mels, self._smooth @ plain

    def _revive(self, number: int) -> None:
        sizes = self._quantizer.cluster_size
        dead = sizes <= SILENT_SHARE * sizes.sum() / len(sizes)
        if dead.any():
            self._start_codes(number, dead)

    @torch.no_grad()
    def _start_codes(self, number: int, chosen: Any) -> None:
        """Put vectors of speech, any ones, where the chosen codes are."""
        self._module.eval()
        batches = [self._batch(f"codes {number}/{batch}") for batch in range(self.settings.first_codes)]
        vectors = torch.cat([self._module.encoder(mels) for mels, _ in batches])  # type: ignore[operator]
        self._module.train()
        vectors = vectors.transpose(1, 2).flatten(0, 1).float()
        quantizer = self._quantizer
        count = quantizer.embed[:, chosen].shape[1]
        order = torch.randperm(len(vectors), generator=self._workshop.generator("codes", number))
        taken = vectors[order[torch.arange(count) % len(order)].to(vectors.device)]
        share = max(1.0, float(quantizer.cluster_size.sum()) / len(quantizer.cluster_size))
        quantizer.embed[:, chosen] = taken.t()
        quantizer.embed_avg[:, chosen] = taken.t() * share
        quantizer.cluster_size[chosen] = share

    def measure(self, _number: int) -> Mapping[str, float]:
        """Nothing: training sees nothing twice."""
        return {}

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Weights, codes, moments."""
        return self._optimiser.parts()

    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on."""
        self._optimiser.load(parts)

    def result(self) -> dict[str, Tensor]:
        """The running average, under coqui's names."""
        return self._optimiser.parts()["ema"]
