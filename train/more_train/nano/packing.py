"""Clips as the GPT reads them: [conditioning][START text STOP][START codes] with nothing between, filled up behind.

Plain causal attention is then enough, and the model serves what it was trained on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from more_server.xtts.config import GptConfig
from more_server.xtts.layout import CONDITIONING_LATENTS
from more_train.nano.features import FRAMES_PER_CODE
from more_train.nano.speech import CODE_SAMPLES, Word

UNCOUNTED = -100
"""A target that no loss counts."""


@dataclass(frozen=True)
class Spoken:
    """One clip of a batch."""

    tokens: Sequence[int]
    """Of the text, language token first."""
    codes: Tensor
    """(n,)"""
    words: Sequence[Word]
    mels: Tensor
    """(mels, 4 n), normalised."""
    reference: int
    """Row of the batch's references."""


@dataclass(frozen=True)
class Batch:
    """Clips as tensors; places count from the first conditioning latent of a row."""

    text: Tensor
    """(rows, longest text): START, tokens, STOP."""
    text_targets: Tensor
    codes: Tensor
    """(rows, longest codes): START and codes, some of them replaced."""
    code_targets: Tensor
    """The codes and STOP."""
    order: Tensor
    """(rows, longest sequence): what of [conditioning][text][codes], each filled up, stands at each place."""
    code_places: Tensor
    """(rows, longest codes): where each code stands."""
    looks: Tensor
    """(rows, longest codes, 2): first and last place of the text that speaks there; -1 where none does."""
    mels: Tensor
    """(rows, longest codes, 2, 4 mels): of the code before each place, and of the one to be told there."""
    heard: Tensor
    """(rows, longest codes, 2): 1 where there is such a code, else 0."""
    references: Tensor
    """(references, mels, frames), normalised."""
    reference: Tensor
    """(rows,): row of the references."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return replace(self, **{each.name: getattr(self, each.name).to(device) for each in fields(self)})


def pack(clips: Sequence[Spoken], references: Tensor, config: GptConfig, width: float) -> Batch:
    """A batch; width: characters on either side of the spoken one that `looks` reaches to."""
    texts = [[config.start_text_token, *clip.tokens, config.stop_text_token] for clip in clips]
    longest_text = max(map(len, texts))
    longest_codes = max(len(clip.codes) for clip in clips) + 1
    longest = max(len(text) + len(clip.codes) + 1 for text, clip in zip(texts, clips, strict=True))
    rows = len(clips)
    batch = Batch(
        text=torch.full((rows, longest_text), config.stop_text_token),
        text_targets=torch.full((rows, longest_text), UNCOUNTED),
        codes=torch.full((rows, longest_codes), config.stop_audio_token),
        code_targets=torch.full((rows, longest_codes), UNCOUNTED),
        order=torch.zeros(rows, CONDITIONING_LATENTS + longest, dtype=torch.long),
        code_places=torch.zeros(rows, longest_codes, dtype=torch.long),
        looks=torch.full((rows, longest_codes, 2), -1),
        mels=torch.zeros(rows, longest_codes, 2, clips[0].mels.shape[0] * FRAMES_PER_CODE),
        heard=torch.zeros(rows, longest_codes, 2),
        references=references,
        reference=torch.tensor([clip.reference for clip in clips]),
    )
    for row, (text, clip) in enumerate(zip(texts, clips, strict=True)):
        _put(batch, row, text, clip, config, width)
    return batch


def _put(batch: Batch, row: int, text: Sequence[int], clip: Spoken, config: GptConfig, width: float) -> None:
    count, before, words = len(clip.codes), CONDITIONING_LATENTS, batch.text.shape[1]
    batch.text[row, : len(text)] = torch.tensor(text)
    batch.text_targets[row, : len(text) - 1] = torch.tensor(text[1:])
    batch.codes[row, : count + 1] = torch.cat([torch.tensor([config.start_audio_token]), clip.codes])
    batch.code_targets[row, : count + 1] = torch.cat([clip.codes, torch.tensor([config.stop_audio_token])])
    parts = [
        torch.arange(before),
        torch.arange(before, before + len(text)),
        torch.arange(before + words, before + words + count + 1),
    ]
    batch.order[row, : before + len(text) + count + 1] = torch.cat(parts)
    batch.code_places[row, : count + 1] = before + len(text) + torch.arange(count + 1)
    # START and the language stand before the first character.
    first = before + 2
    looks = places(clip.words, len(text) - 3, count + 1, width)
    batch.looks[row, : count + 1] = looks + first
    sound = clip.mels.reshape(clip.mels.shape[0], count, FRAMES_PER_CODE).permute(1, 2, 0).flatten(1)
    batch.mels[row, 1 : count + 1, 0], batch.mels[row, :count, 1] = sound, sound
    batch.heard[row, 1 : count + 1, 0], batch.heard[row, :count, 1] = 1, 1


def places(words: Sequence[Word], characters: int, codes: int, width: float) -> Tensor:
    """First and last character, (codes, 2), that each code may be looked up at: where it is in its word, ± `width`.

    A word lasts until the next begins, the space behind it included, and its characters share that time.
    """
    starts = torch.tensor([word.sample for word in words] + [max(codes * CODE_SAMPLES, words[-1].sample + 1)])
    begins = torch.tensor([word.position for word in words] + [characters])
    middle = torch.arange(codes) * CODE_SAMPLES + CODE_SAMPLES // 2
    word = (torch.searchsorted(starts, middle, right=True) - 1).clamp(0, len(words) - 1)
    share = (middle - starts[word]) / (starts[word + 1] - starts[word]).clamp(min=1)
    place = begins[word] + share.clamp(0, 1) * (begins[word + 1] - begins[word]).clamp(min=1)
    looks = torch.stack([(place - width).ceil(), (place + width).floor()], dim=1)
    return looks.clamp(0, characters - 1).long()


def perturb(batch: Batch, share: float, most: float, codes: int, draw: Callable[..., Tensor]) -> Batch:
    """Past codes replaced by other clips' ones, in `share` of the rows and there in up to `most` of the places.

    draw: uniform random numbers of a shape.
    """
    rows, length = batch.codes.shape
    rate = torch.where(draw(rows) < share, draw(rows) * most, 0.0)
    chosen = (draw(rows, length) < rate[:, None]) & (batch.codes < codes)
    known = batch.codes[batch.codes < codes]
    others = known[(draw(rows, length) * len(known)).long().clamp(max=len(known) - 1)]
    return replace(batch, codes=torch.where(chosen, others, batch.codes))
