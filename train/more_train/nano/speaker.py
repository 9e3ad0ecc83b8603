"""The stage that tells voices apart: coqui's H/ASP encoder with a softmax over the speakers of a batch, then frozen."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from more_train import rates
from more_train.nano.features import Speech, as_recorded, at_speaker_rate, piece
from more_train.nano.workshop import Ahead, Workshop
from more_train.optimise import Optimiser

CLIPS_EACH = 4
"""Of a speaker, whose embeddings are averaged for the table of voices."""
GAIN = 6.0


class SpeakerTrainer:
    """Trains the encoder on pairs of clips: each must be nearer to its own speaker's others than to anybody else's."""

    def __init__(self, workshop: Workshop, speech: Speech, encoder: nn.Module) -> None:
        self.settings = workshop.nano.speaker
        self.total = self.settings.optimisation.total_steps
        self._workshop, self._speech = workshop, speech
        self._module = encoder.to(workshop.device).train()
        self._optimiser = Optimiser(self._module, self.settings.optimisation)
        self._clips = clips_by_speaker(speech)
        self._batches = Ahead(self._batch, workshop.nano.loaders)
        self.close = self._batches.close

    def step(self, number: int) -> Mapping[str, float | Tensor]:
        """One batch."""
        audio = self._batches(number).to(self._workshop.device)
        embeddings = self._module(audio, l2_norm=True).unflatten(0, (-1, self.settings.clips))
        loss, right = contrast(embeddings, self.settings.scale, self.settings.margin)
        torch.autograd.backward(loss)
        self._optimiser.step()
        return {"loss": loss.detach(), "right": right}

    def _batch(self, number: int) -> Tensor:
        settings, random = self.settings, self._workshop.random("speaker", number)
        chosen = random.sample(sorted(self._clips), min(settings.speakers, len(self._clips)))
        pieces = [
            as_recorded(self._piece(place, random), GAIN, settings.noise, random)
            for speaker in chosen
            for place in random.sample(self._clips[speaker], settings.clips)
        ]
        return torch.from_numpy(np.stack(pieces))

    def _piece(self, place: tuple[int, int], random: object) -> np.ndarray:
        samples = self._speech.samples(*place)
        length = round(self.settings.seconds * rates.MEL)
        return at_speaker_rate(piece(samples, length, random))  # type: ignore[arg-type]

    def measure(self, _number: int) -> Mapping[str, float]:
        """Nothing: pieces and noise are never the same."""
        return {}

    def parts(self) -> dict[str, dict[str, Tensor]]:
        """Weights, statistics, moments."""
        return self._optimiser.parts()

    def load(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on."""
        self._optimiser.load(parts)

    def result(self) -> dict[str, Tensor]:
        """The running average, under coqui's names."""
        return self._optimiser.parts()["ema"]


def clips_by_speaker(speech: Speech) -> dict[int, list[tuple[int, int]]]:
    """Shard and number of each speaker's clips."""
    found: dict[int, list[tuple[int, int]]] = {}
    for group in speech.groups:
        found.setdefault(group.speaker, []).extend((group.shard, clip) for clip in group.clips)
    return found


def contrast(embeddings: Tensor, scale: float, margin: float) -> tuple[Tensor, Tensor]:
    """Generalised end-to-end loss of embeddings (speakers, clips, width), and the share of clips told right.

    Each clip is compared with the means of all speakers' clips, its own speaker's without itself.
    """
    speakers, clips, _ = embeddings.shape
    means = F.normalize(embeddings.mean(dim=1), dim=-1)
    others = F.normalize(embeddings.sum(dim=1, keepdim=True) - embeddings, dim=-1)
    cosines = embeddings @ means.t()
    own = torch.eye(speakers, dtype=torch.bool, device=embeddings.device)[:, None].expand(-1, clips, -1)
    cosines = torch.where(own, (embeddings * others).sum(dim=-1, keepdim=True) - margin, cosines)
    targets = torch.arange(speakers, device=embeddings.device)[:, None].expand(-1, clips).flatten()
    logits = scale * cosines.flatten(0, 1)
    return F.cross_entropy(logits, targets), (logits.argmax(dim=1) == targets).float().mean()


@torch.inference_mode()
def table(workshop: Workshop, speech: Speech, encoder: nn.Module, speakers: int) -> Tensor:
    """Mean embedding of each speaker, (speakers, width), of unit length; of one without clips zeros."""
    encoder.eval().to(workshop.device)
    found: dict[int, Tensor] = {}
    for speaker, places in clips_by_speaker(speech).items():
        chosen = workshop.random("table", speaker).sample(places, min(CLIPS_EACH, len(places)))
        clips = [at_speaker_rate(speech.samples(*place)) for place in chosen]
        found[speaker] = F.normalize(torch.stack([embed(encoder, clip) for clip in clips]).mean(dim=0), dim=0)
    width = next(iter(found.values())).shape[0]
    none = torch.zeros(width, device=workshop.device)
    return torch.stack([found.get(speaker, none) for speaker in range(speakers)])


@torch.inference_mode()
def embed(encoder: nn.Module, samples: np.ndarray) -> Tensor:
    """Embedding (width,) of a clip at the encoder's rate, of unit length, on the encoder's device."""
    device = next(encoder.parameters()).device
    embedding: Tensor = encoder(torch.from_numpy(samples)[None].to(device), l2_norm=True)
    return embedding[0]
