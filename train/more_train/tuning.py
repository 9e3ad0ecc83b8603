"""Fine-tuning as a task of the loop: the GPT of a model learns the codes of a dataset."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from more_server.errors import MoreError
from more_server.speech import Samples
from more_server.text import SAMPLES
from more_server.xtts.config import XttsConfig
from more_server.xtts.load import build
from more_server.xtts.precision import LARGE
from more_server.xtts.weights import Weights
from more_train import rates
from more_train.batches import FIXED, Plan, Reference, References, ahead, as_row, reference_audio
from more_train.checkpoint import Part
from more_train.examples import Example, Examples, Recordings
from more_train.gpt_loss import Batch, counts, file_tensors, load_trained, make_batch
from more_train.optimise import Diverged, Optimisation, Optimiser
from more_train.processes import Processes
from more_train.recipe import FineTune
from more_train.run import Run
from more_train.samples import REFERENCE_SECONDS, Sentence, speak
from more_train.trainer import Check, Pace

MOST_EFFECTIVE = 252
"""coqui's advice for XTTS: batch times accumulation of 252."""
HOURS_EPOCHS = ((0.5, 40), (2.0, 20), (math.inf, 10))
"""Below so many hours of speech, so many epochs."""

Item = TypeVar("Item")
Chosen = tuple[Sequence[Example], Sequence[Reference]]
"""A micro-batch of all processes."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """What the recipe leaves to the amount of data."""

    epochs: int
    rows: int
    """Clips of a micro-batch, over all processes."""
    per_step: int
    """Micro-batches behind one step of the weights."""


def sizes(recipe: FineTune, clips: int, seconds: float, processes: int) -> Sizes:
    """Epochs and batches for so much data."""
    epochs = recipe.epochs or next(count for hours, count in HOURS_EPOCHS if seconds / 3600 < hours)
    effective = recipe.effective_batch or min(MOST_EFFECTIVE, max(recipe.batch_size, clips // 10))
    rows = recipe.batch_size * processes
    return Sizes(epochs=epochs, rows=rows, per_step=max(1, -(-effective // rows)))


class FineTuning:
    """A Task (trainer.py)."""

    def __init__(self, base: Path, config: XttsConfig, recipe: FineTune, examples: Examples, group: Processes) -> None:
        self._base, self._config, self._recipe, self._examples, self._group = base, config, recipe, examples, group
        self._module = load_trained(base, group.device)
        self._module.dropout, self._module.checkpointing = recipe.dropout, recipe.checkpointing
        for part in (self._module.conditioning_encoder, self._module.perceiver):
            part.requires_grad_(recipe.train_conditioning)
        self._mel = _Mel(base, config, group.device)
        self._bf16 = uses_bf16(recipe.precision, group.device, self._module)
        self._recordings = Recordings()
        chunk = config.conditioning.chunk_seconds
        self._references = References(examples.train, recipe.reference_shares, chunk, recipe.seed)
        self._fixed_references = References(examples.train, (1.0, 1.0), chunk, 0)
        self.sizes = sizes(recipe, len(examples.train), examples.seconds, group.size)
        lengths = [example.positions for example in examples.train]
        self._plan = Plan(lengths, self.sizes.rows, self.sizes.per_step, recipe.seed)
        steps = self._plan.steps_per_epoch
        self.pace = Pace(
            total_steps=self.sizes.epochs * steps,
            evaluate_steps=max(1, round(recipe.evaluate_epochs * steps)),
            patience=recipe.patience,
            save_seconds=60 * recipe.save_minutes,
        )
        self._optimiser = Optimiser(self._module, _optimisation(recipe, self.pace.total_steps))

    # -- what the loop asks for

    def parts(self) -> Mapping[str, Part]:
        """All tensors that a later process needs to go on."""
        return self._optimiser.parts()

    def load(self, parts: Mapping[str, Part]) -> None:
        """Go on from them."""
        self._optimiser.load(parts)

    def share(self, group: Processes) -> None:
        """Make the tensors of all processes those of the first."""
        self._optimiser.share(group.same)

    def advice(self) -> str:
        """What to lower when memory runs out."""
        longest = max(example.samples for example in self._examples.train) / rates.MEL
        return (
            f"lower batch_size, which is {self._recipe.batch_size} (accumulation makes up for it), or longest_seconds "
            f"(the longest clip has {longest:.1f} s), or set checkpointing = true"
        )

    def rehearse(self) -> None:
        """The longest clips there and back."""
        rows = [self._examples.train[place] for place in self._plan.longest()]
        longest = max(self._recipe.reference_shares)
        chunk = self._config.conditioning.chunk_seconds
        references = References(self._examples.train, (longest, longest), chunk, 0).choose(rows, FIXED, 0)
        self._module.train()
        for _ in range(2):  # the second time gradients are there already, as while they accumulate
            if mine := self._mine(rows):
                text, codes = self._losses(self._made(mine, self._mine(references)))
                (text + codes).backward()  # type: ignore[no-untyped-call]
        self._module.zero_grad(set_to_none=True)

    def step(self, number: int, check: Check) -> Mapping[str, float]:
        """Gradients of every micro-batch, as if they were one batch; then the weights move."""
        chosen = self._chosen(self._plan.step(number), number)
        text_count, code_count = _counted(chosen, self._config)
        self._module.train()
        torch.manual_seed(_seed(self._recipe.seed, number, self._group.rank))
        sums = torch.zeros(2, device=self._group.device)
        try:
            for batch in self._batches(chosen):
                check()
                if batch is not None:
                    text, codes = self._losses(batch)
                    loss = self._recipe.text_weight * text / text_count + codes / code_count
                    loss.backward()  # type: ignore[no-untyped-call]
                    sums += torch.stack([text.detach(), codes.detach()])
            values = self._named(self._group.sums(sums), text_count, code_count)
            if not math.isfinite(values["loss"]):
                raise Diverged(f"the loss of step {number + 1} is {values['loss']}")
            self._group.add_gradients(self._module)
            update = self._optimiser.step()
        finally:
            self._module.zero_grad(set_to_none=True)
        return values | {"rate": update.rate, "norm": update.norm, "epoch": (number + 1) / self._plan.steps_per_epoch}

    def evaluate(self, check: Check) -> Mapping[str, float]:
        """Losses of the averaged weights on the clips held out, with the same references each time."""
        held_out = sorted(self._examples.held_out, key=lambda example: example.positions)
        rows = self.sizes.rows
        micro = [held_out[start : start + rows] for start in range(0, len(held_out), rows)]
        chosen = [(some, self._fixed_references.choose(some, FIXED, place)) for place, some in enumerate(micro)]
        sums = torch.zeros(2, device=self._group.device)
        self._module.eval()
        with torch.no_grad(), self._optimiser.averaged():
            for batch in self._batches(chosen):
                check()
                if batch is not None:
                    sums += torch.stack(self._losses(batch))
        return self._named(self._group.sums(sums), *_counted(chosen, self._config))

    def show(self, run: Run, step: int, check: Check) -> None:
        """Sentences, spoken by the server's engine with the averaged weights."""
        if not self._recipe.speak:
            return
        changed = file_tensors(self._optimiser.parts()["ema"])
        device = self._group.device
        try:
            with run.samples(step) as folder:
                spoken = speak(self._base, changed, self._sentences(), self._voice(), folder, device, check)
        except (MoreError, RuntimeError, SafetensorError) as error:  # such as a full device; training itself is well
            run.note(step, f"no samples were spoken: {error}")
            return
        for number, samples in enumerate(spoken, start=1):
            run.add_audio(f"sample {number}", step, samples, rates.STORED)

    # -- batches

    def _chosen(self, micro: list[list[int]], step: int) -> list[Chosen]:
        rows = [[self._examples.train[place] for place in places] for places in micro]
        return [(some, self._references.choose(some, step, place)) for place, some in enumerate(rows)]

    def _batches(self, chosen: Sequence[Chosen]) -> Iterator[Batch | None]:
        """This process's part of each micro-batch; None where that is nothing."""
        return ahead(partial(self._made, self._mine(rows), self._mine(references)) for rows, references in chosen)

    def _mine(self, rows: Sequence[Item]) -> Sequence[Item]:
        return rows[self._group.rank :: self._group.size]

    def _made(self, rows: Sequence[Example], references: Sequence[Reference]) -> Batch | None:
        """A batch whose references are still audio."""
        if not rows:
            return None
        stride = self._config.gpt.code_stride_len
        made = [as_row(row, reference, stride) for row, reference in zip(rows, references, strict=True)]
        audio = reference_audio(references, self._recordings)
        return make_batch(made, audio, self._config.gpt, show_text_stop=self._recipe.show_text_stop)

    def _losses(self, batch: Batch | None) -> tuple[Tensor, Tensor]:
        assert batch is not None
        batch = batch.to(self._group.device)
        batch = replace(batch, reference=self._mel(batch.reference))
        with torch.autocast(self._group.device.type, torch.bfloat16) if self._bf16 else nullcontext():
            losses: tuple[Tensor, Tensor] = self._module(batch)
        return losses

    def _named(self, sums: Tensor, text_count: int, code_count: int) -> dict[str, float]:
        text, codes = float(sums[0]) / text_count, float(sums[1]) / code_count
        return {"loss": self._recipe.text_weight * text + codes, "text_loss": text, "code_loss": codes}

    # -- samples

    def _sentences(self) -> list[Sentence]:
        languages = Counter(example.language for example in self._examples.train)
        language = self._recipe.sample_language or languages.most_common(1)[0][0]
        if self._recipe.samples:
            return [Sentence(text, language) for text in self._recipe.samples]
        held_out = self._examples.held_out[0]
        return [Sentence(SAMPLES[language], language), Sentence(held_out.text, held_out.language)]

    def _voice(self) -> list[Samples]:
        """The longest clips of whoever speaks most."""
        speaker = Counter(example.speaker for example in self._examples.train).most_common(1)[0][0]
        own = [example for example in self._examples.train if example.speaker == speaker]
        clips, seconds = [], 0.0
        for example in sorted(own, key=lambda one: -one.samples):
            if seconds < REFERENCE_SECONDS:
                clips.append(self._recordings.get(example))
                seconds += example.samples / rates.MEL
        return clips


class _Mel:
    """What the conditioning encoder hears, of many rows at once; `Conditioner.mel` makes it of one."""

    def __init__(self, base: Path, config: XttsConfig, device: torch.device) -> None:
        self._spectrogram: nn.Module = build(config, gpt_device="meta").mel.to(device)
        self._stats = Weights(base).read(["mel_stats"])["mel_stats"].float().to(device)

    @torch.no_grad()
    def __call__(self, audio: Tensor) -> Tensor:
        """(rows, mels, frames) of (rows, n)."""
        return torch.log(self._spectrogram(audio).clamp(min=1e-5)) / self._stats[:, None]


def uses_bf16(precision: str, device: torch.device, module: nn.Module) -> bool:
    """Whether products are made in bf16; `auto`: where there are instructions for it, and enough to do."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    large = sum(value.numel() for value in module.parameters()) > LARGE
    return large and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _optimisation(recipe: FineTune, total_steps: int) -> Optimisation:
    return Optimisation(
        learning_rate=recipe.learning_rate,
        total_steps=total_steps,
        warmup_steps=round(recipe.warmup_share * total_steps),
        final_share=recipe.final_share,
        weight_decay=recipe.weight_decay,
        betas=recipe.betas,
        clip=recipe.clip,
        average=recipe.average,
    )


def _counted(chosen: Sequence[Chosen], config: XttsConfig) -> tuple[int, int]:
    """Text tokens and codes that all micro-batches together count."""
    stride = config.gpt.code_stride_len
    found = [
        counts(as_row(row, reference, stride))
        for rows, references in chosen
        for row, reference in zip(rows, references, strict=True)
    ]
    return sum(text for text, _ in found), sum(codes for _, codes in found)


def _seed(*numbers: int) -> int:
    """One number of several, for dropout."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
