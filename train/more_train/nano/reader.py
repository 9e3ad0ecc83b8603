"""Batches for the GPT: voices, clips of about one length, a reference of each voice that is none of them."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from more_server.files import write_file
from more_server.xtts.config import GptConfig
from more_server.xtts.tokenizer import Tokenizer
from more_train import rates
from more_train.nano.dvae import encode
from more_train.nano.features import Group, Mels, Speech, as_recorded, piece
from more_train.nano.packing import Batch, Spoken, pack
from more_train.nano.shards import Shard, name
from more_train.nano.workshop import Workshop

CODES = "codes"
HELD_OUT_ROWS = 8
"""Clips of a batch of held-out ones."""


def write_codes(path: Path, shard: Shard, dvae: nn.Module, mels: Mels) -> None:
    """Keep the codes of every clip of a shard, one behind the other."""
    codes = [encode(dvae, mels.of_codes(shard.samples(clip))[None])[0].to(torch.int32) for clip in range(len(shard))]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save({CODES: torch.cat(codes).cpu()}))


class Reader:
    """Draws batches from speech and its codes."""

    def __init__(
        self,
        workshop: Workshop,
        speech: Speech,
        held_out: Speech,
        codes: Path,
        *,
        tokenizer: Tokenizer,
        mels: Mels,
        config: GptConfig,
    ) -> None:
        """codes: folder with a file for each shard, and one for the held-out one."""
        self._nano, self._speech, self._held_out = workshop.nano, speech, held_out
        self._tokenizer, self._mels, self._config = tokenizer, mels, config
        self._workshop = workshop
        self._codes = [_split(codes / name(number), shard) for number, shard in enumerate(speech.shards)]
        self._held_out_codes = [_split(codes / "held-out.safetensors", held_out.shards[0])]

    def batch(self, random: Random, longest: float) -> tuple[Batch, Tensor]:
        """A batch for training, and the speaker of each of its references; longest: share of each group's lengths."""
        settings = self._nano.gpt
        groups = random.sample(self._speech.groups, min(settings.groups, len(self._speech.groups)))
        place, clips, references = random.random() * longest, list[Spoken](), list[Tensor]()
        for row, group in enumerate(groups):
            first = round(place * (len(group.clips) - settings.clips))
            chosen = group.clips[first : first + settings.clips]
            others = [clip for clip in group.clips if clip not in chosen] or list(chosen)
            references.append(self._reference(self._speech, group.shard, random.choice(others), random))
            clips += [self._spoken(self._speech, self._codes, group.shard, clip, row) for clip in chosen]
        speakers = torch.tensor([group.speaker for group in groups])
        return pack(clips, torch.stack(references), self._config, settings.guided_characters), speakers

    def held_out(self, count: int, *, exchange: bool) -> Iterator[tuple[Batch, Tensor]]:
        """Held-out sentences, always the same ones; exchange: each with the reference of another voice."""
        groups = self._held_out.groups
        random = self._workshop.random("held out")
        chosen = [
            (row, clip)
            for row in range(len(groups))
            for clip in groups[row].clips[1 : 1 + max(1, count // len(groups))]
        ][:count]
        references = [self._reference(self._held_out, 0, group.clips[0], random) for group in groups]
        speakers = torch.tensor([group.speaker for group in groups])
        shift = _another(groups) if exchange else list(range(len(groups)))
        for start in range(0, len(chosen), HELD_OUT_ROWS):
            clips = [
                self._spoken(self._held_out, self._held_out_codes, 0, clip, shift[row])
                for row, clip in chosen[start : start + HELD_OUT_ROWS]
            ]
            yield pack(clips, torch.stack(references), self._config, self._nano.gpt.guided_characters), speakers

    def spoken(self, shard: int, clip: int, reference: int) -> Spoken:
        """A clip of the training speech."""
        return self._spoken(self._speech, self._codes, shard, clip, reference)

    def reference(self, shard: int, clip: int, random: Random) -> Tensor:
        """Normalised mel (mels, frames) of a stretch of a training clip."""
        return self._reference(self._speech, shard, clip, random)

    def _reference(self, speech: Speech, shard: int, clip: int, random: Random) -> Tensor:
        settings = self._nano.gpt
        length = round(settings.reference_seconds * rates.MEL)
        samples = as_recorded(piece(speech.samples(shard, clip), length, random), settings.gain, settings.noise, random)
        return self._mels(torch.from_numpy(samples)[None])[0].cpu()

    def _spoken(
        self, speech: Speech, codes: Sequence[Sequence[Tensor]], shard: int, clip: int, reference: int
    ) -> Spoken:
        line = speech.shards[shard].lines[clip]
        return Spoken(
            tokens=self._tokenizer.encode(line.text, line.language),
            codes=codes[shard][clip].long(),
            words=speech.shards[shard].words[clip],
            mels=self._mels.of_codes(speech.samples(shard, clip)).cpu(),
            reference=reference,
        )


def _split(path: Path, shard: Shard) -> Sequence[Tensor]:
    lengths = [shard.length(clip) for clip in range(len(shard))]
    return torch.split(load_file(path)[CODES], lengths)


def _another(groups: Sequence[Group]) -> list[int]:
    """For each group one of another speaker."""
    found = []
    for row, group in enumerate(groups):
        turned = [*range(row + 1, len(groups)), *range(row)]
        found.append(next((other for other in turned if groups[other].speaker != group.speaker), row))
    return found
