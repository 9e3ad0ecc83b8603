"""The stage that makes latents sound: spectra first, then discriminators beside them."""

from collections.abc import Mapping

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from more_server.xtts.config import XttsConfig
from more_train import rates
from more_train.nano.config import Course
from more_train.nano.discriminators import (
    Discriminators,
    features_loss,
    fooled_loss,
    judges_loss,
    spectrum,
)
from more_train.nano.generator import even_out, make_generator
from more_train.nano.pool import Pool
from more_train.nano.speech import CODE_SAMPLES
from more_train.nano.workshop import Workshop
from more_train.optimise import Optimiser

RESOLUTIONS = ((512, 128), (1024, 256), (2048, 512))
"""Window and hop, in samples at 24 kHz."""
MEL_BANDS, MEL_FLOOR = 100, 1e-5
GENERATOR, JUDGES = "generator.", "judges."
"""What names of a result begin with."""


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


class Likeness(nn.Module):
    """How unlike its speaker made sound is, to the model's own speaker encoder; 0 to 2."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        from torchaudio.transforms import Resample

        self.encoder = encoder.eval().requires_grad_(False)
        self.resample = Resample(rates.STORED, rates.SPEAKER)

    def forward(self, made: Tensor, embeddings: Tensor) -> Tensor:
        """made: (batch, samples); embeddings: of unit length, (batch, width)."""
        heard: Tensor = self.encoder(self.resample(made), l2_norm=True)
        return 1 - (heard * embeddings).sum(dim=1).mean()


class DecoderTrainer:
    """Trains the generator, with discriminators from a certain step on."""

    def __init__(
        self,
        workshop: Workshop,
        pool: Pool,
        config: XttsConfig,
        course: Course,
        encoder: nn.Module,
        given: Mapping[str, Tensor] | None = None,
    ) -> None:
        """encoder: of speakers; given: the weights to begin from, by the names of `result`."""
        self.settings = settings = workshop.nano.decoder
        self.total = course.optimisation.total_steps
        self._begin = round(course.adversarial_from * self.total)
        self._workshop, self._pool, self._hop = workshop, pool, config.hop_length
        self._length = round(settings.stretch_codes * CODE_SAMPLES * rates.STORED / rates.MEL / config.hop_length)
        torch.manual_seed(workshop.nano.seed)
        device, others = workshop.device, workshop.nano.discriminators
        self._generator = make_generator(config).to(device)
        self._judges = Discriminators(others).to(device)
        if given is not None:
            self._generator.load_state_dict(part(given, GENERATOR))
            self._judges.load_state_dict(part(given, JUDGES))
        self._losses = SpectralLoss().to(device)
        # A voice on a note of the frames' rate is such a tone as is taken out of others.
        self._even = not course.monotone
        self._likeness, self._likeness_weight = Likeness(encoder).to(device), course.likeness
        self._optimiser = Optimiser(self._generator, course.optimisation)
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
        if self._likeness_weight:
            unlike = self._likeness(made, embeddings)
            loss = loss + self._likeness_weight * unlike
            values["unlike"] = unlike.detach()
        torch.autograd.backward(loss)
        self._optimiser.step()
        if self._even:
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
        """The running average of the generator, weight norm and all, and the discriminators."""
        generator, judges = self._optimiser.parts()["ema"], self._judging.parts()["weights"]
        return {
            **{GENERATOR + name: value for name, value in generator.items()},
            **{JUDGES + name: value for name, value in judges.items()},
        }


def part(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin so, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _cut(values: Tensor, start: int, length: int) -> Tensor:
    piece = values[start : start + length]
    missing = length - len(piece)
    return torch.cat([piece, piece.new_zeros(missing, *piece.shape[1:])]) if missing else piece
