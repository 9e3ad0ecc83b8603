"""What fine-tuning trains, and its loss: text and codes by teacher forcing, on the very modules that serve.

A sequence is [conditioning latents][START text STOP][START codes STOP STOP STOP] without a gap, so that plain causal
attention is enough; rows of a batch are filled up behind. coqui (layers/xtts/gpt.py) leaves the gap between a short
text and its codes open and masks it, the text's STOP with it: the loss is the same where `show_text_stop` is off.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from more_server.errors import ModelError
from more_server.xtts.config import GptConfig, read_config
from more_server.xtts.gpt import Gpt, coqui_name, is_transposed
from more_server.xtts.layout import CONDITIONING_LATENTS
from more_server.xtts.load import CONDITIONING_ENCODER, PERCEIVER, build
from more_server.xtts.precision import fill_gpt
from more_server.xtts.weights import Weights

STOPS = 4
"""STOP codes that are learnt behind a clip, as coqui does; the model serves no further than the first."""
TEXT_HEAD = "gpt.text_head."


@dataclass(frozen=True)
class Row:
    """One clip of a batch."""

    tokens: Sequence[int]
    """Text tokens, language token first."""
    codes: Sequence[int]
    heard: tuple[int, int] = (0, 0)
    """Codes, from and to, that its own reference lets the model hear: they are not counted in the loss."""


@dataclass(frozen=True)
class Batch:
    """Rows as tensors; `order` and the `_at` are places in what lies flat, row behind row."""

    text: Tensor
    """(rows, longest text): START, tokens, and STOP where it is shown."""
    codes: Tensor
    """(rows, longest codes): START, codes, STOPs but the last."""
    order: Tensor
    """(rows, longest sequence): where each part of a sequence is among text and codes together."""
    text_at: Tensor
    text_targets: Tensor
    codes_at: Tensor
    code_targets: Tensor
    reference: Tensor
    """(rows, mels, frames): normalised mel of each row's reference."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)})


def counts(row: Row) -> tuple[int, int]:
    """Text tokens and codes of a row that the loss counts."""
    return len(row.tokens) + 1, len(row.codes) + STOPS - (row.heard[1] - row.heard[0])


def make_batch(rows: Sequence[Row], reference: Tensor, config: GptConfig, *, show_text_stop: bool) -> Batch:
    """Tensors of rows, whose references are (rows, mels, frames)."""
    ends = [config.stop_text_token] if show_text_stop else []
    texts = [[config.start_text_token, *row.tokens, *ends] for row in rows]
    stops = [config.stop_audio_token] * STOPS
    targets = [[*row.codes, *stops] for row in rows]
    codes = [[config.start_audio_token, *target[:-1]] for target in targets]
    widest_text, widest_codes = max(map(len, texts)), max(map(len, codes))
    longest = max(len(text) + len(code) for text, code in zip(texts, codes, strict=True))
    order = torch.zeros(len(rows), longest, dtype=torch.long)
    text_at: list[int] = []
    text_targets: list[int] = []
    codes_at: list[int] = []
    code_targets: list[int] = []
    for number, (row, text, code) in enumerate(zip(rows, texts, codes, strict=True)):
        places = [*range(len(text)), *range(widest_text, widest_text + len(code))]
        order[number, : len(places)] = torch.tensor(places) + number * (widest_text + widest_codes)
        begin = number * (CONDITIONING_LATENTS + longest) + CONDITIONING_LATENTS
        text_at += range(begin, begin + len(row.tokens) + 1)
        text_targets += [*row.tokens, config.stop_text_token]
        counted = [place for place in range(len(code)) if not row.heard[0] <= place < row.heard[1]]
        codes_at += [begin + len(text) + place for place in counted]
        code_targets += [targets[number][place] for place in counted]
    return Batch(
        text=_padded(texts, widest_text),
        codes=_padded(codes, widest_codes),
        order=order,
        text_at=torch.tensor(text_at),
        text_targets=torch.tensor(text_targets),
        codes_at=torch.tensor(codes_at),
        code_targets=torch.tensor(code_targets),
        reference=reference,
    )


def _padded(rows: Sequence[Sequence[int]], width: int) -> Tensor:
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])


class Trained(nn.Module):
    """The parts of a model that fine-tuning changes; names as those modules have them when they serve."""

    def __init__(self, gpt: Gpt, text_head: nn.Linear, conditioning_encoder: nn.Module, perceiver: nn.Module) -> None:
        super().__init__()
        self.gpt, self.text_head = gpt, text_head
        self.conditioning_encoder, self.perceiver = conditioning_encoder, perceiver
        self.dropout = 0.0
        """In `train` mode."""
        self.checkpointing = False

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums of the cross-entropies of text and of codes over all that the batch counts."""
        latents = self.perceiver(encode_reference(self.conditioning_encoder, batch.reference))
        hidden = self._dropped(torch.cat([latents, self._embedded(batch)], dim=1))
        for block in self.gpt.blocks:
            if self.checkpointing and self.training:
                hidden = checkpoint(self._through, block, hidden, use_reentrant=False)
            else:
                hidden = self._through(block, hidden)
        text = self.text_head(self._finished(hidden, batch.text_at))
        codes = self.gpt.code_head(self._finished(hidden, batch.codes_at))
        return (
            F.cross_entropy(text.float(), batch.text_targets, reduction="sum"),
            F.cross_entropy(codes.float(), batch.code_targets, reduction="sum"),
        )

    def _embedded(self, batch: Batch) -> Tensor:
        """Text and codes (rows, longest sequence, width), each with its own positions."""
        gpt = self.gpt
        text = gpt.text_embedding(batch.text) + gpt.text_positions.weight[: batch.text.shape[1]]
        codes = gpt.code_embedding(batch.codes) + gpt.code_positions.weight[: batch.codes.shape[1]]
        return _rows(torch.cat([text, codes], dim=1), batch.order)

    def _through(self, block: nn.Module, hidden: Tensor) -> Tensor:
        """One block over whole sequences; the same as `Block` does position by position."""
        query, key, value = (part.transpose(1, 2) for part in block.project(hidden))  # type: ignore[operator]
        attended = attend(query, key, value, self.dropout if self.training else 0.0)
        hidden = hidden + self._dropped(block.c_proj(attended.transpose(1, 2).flatten(2)))  # type: ignore[operator]
        inner = F.gelu(block.c_fc(block.ln_2(hidden)), approximate="tanh")  # type: ignore[operator]
        return hidden + self._dropped(block.c_out(inner))  # type: ignore[operator]

    def _finished(self, hidden: Tensor, places: Tensor) -> Tensor:
        latents: Tensor = self.gpt.final_norm(self.gpt.ln_f(_rows(hidden, places)))
        return latents

    def _dropped(self, hidden: Tensor) -> Tensor:
        return drop(hidden, self.dropout) if self.training else hidden


def attend(query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
    """Causal attention of (rows, heads, positions, width), with this share of its weights left out."""
    if query.is_cuda or not dropout:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=dropout)
    # On a CPU torch's own takes half as long again: it draws a number for each weight, and minds rows without any.
    later = query.new_full((query.shape[2], query.shape[2]), -math.inf).triu(1)
    weights = torch.softmax(query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + later, dim=-1)
    return drop(weights, dropout) @ value


def drop(values: Tensor, share: float) -> Tensor:
    """Dropout; on a CPU with four draws out of each random number, in a third of torch's time."""
    if values.is_cuda or not share:
        return F.dropout(values, share)
    numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = numbers.view(torch.int16)[: values.numel()].view(values.shape)
    kept = (draws >= round(share * 2**16) - 2**15).to(values.dtype)
    return values * kept.mul_(1 / (1 - share))


def encode_reference(encoder: nn.Module, mel: Tensor) -> Tensor:
    """What coqui's `ConditioningEncoder` makes of mels (rows, mels, frames), as (rows, frames, width).

    Its convolutions of width one are products here, and its attention is torch's own, which is faster.
    """
    hidden = _product(encoder.init, mel.transpose(1, 2))  # type: ignore[arg-type]
    for block in encoder.attn:  # type: ignore[union-attr]
        normed = block.norm(hidden.transpose(1, 2)).transpose(1, 2)
        parts = torch.unflatten(_product(block.qkv, normed), -1, (block.attention.n_heads, 3, -1))
        query, key, value = (part.transpose(1, 2) for part in parts.unbind(-2))
        attended = F.scaled_dot_product_attention(query, key, value)
        hidden = normed + _product(block.proj_out, attended.transpose(1, 2).flatten(2))
    return hidden


def _product(convolution: nn.Conv1d, hidden: Tensor) -> Tensor:
    """A convolution of width one over hidden (…, positions, channels)."""
    return F.linear(hidden, convolution.weight[:, :, 0], convolution.bias)


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Vectors of (rows, positions, width) at flat places; on the way back an embedding adds faster than an index."""
    return F.embedding(places, values.flatten(0, 1))


def load_trained(folder: Path, device: torch.device) -> Trained:
    """The parts of a model that fine-tuning changes, in fp32. Raises ModelError with the file and the reason."""
    config, weights = read_config(folder), Weights(folder)
    parts = build(config, gpt_device="meta")
    weights.refuse("gpt", weights.misfits(parts.gpt.file_shapes(), coqui_name))
    with torch.no_grad():
        fill_gpt(parts.gpt, weights, device, "fp32")
        text_head = nn.Linear(config.gpt.model_dim, config.gpt.number_text_tokens)
        prefixed = {TEXT_HEAD: text_head, CONDITIONING_ENCODER: parts.conditioning_encoder, PERCEIVER: parts.perceiver}
        for prefix, module in prefixed.items():
            weights.fill(module, prefix)
        trained = Trained(parts.gpt, text_head, parts.conditioning_encoder, parts.perceiver)
    return trained.to(device).float().requires_grad_(True)


def file_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state of `Trained`, such as the part `ema` of a checkpoint, by the names of model.safetensors."""
    return dict(_renamed(state))


def _renamed(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    prefixes = {"text_head": TEXT_HEAD, "conditioning_encoder": CONDITIONING_ENCODER, "perceiver": PERCEIVER}
    for full_name, tensor in state.items():
        part, _, name = full_name.partition(".")
        if part == "gpt":
            yield coqui_name(name), tensor.t().contiguous() if is_transposed(name) else tensor
        elif part in prefixes:
            yield prefixes[part] + name, tensor
        else:
            raise ModelError(f"the checkpoint holds {full_name}, which is no part of fine-tuning")
