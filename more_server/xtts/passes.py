"""Positions through the GPT, for several sequences at a time: one class for each way that pays on some device.

Every way keeps the promise that a row is the same alone and in any company. All tensors are on the model's device.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from more_server.xtts.gpt import POSITION_STEP, Block, Gpt, KvCache
from more_server.xtts.kernel import Int8Gpt

Outputs = tuple[Tensor, Tensor]
"""Latents (n, width) and code logits (n, codes), float32."""


VOICES = 16
"""Whose keys and values are kept; 4 MB each with XTTS-v2."""
Extent = tuple[int, int]
"""How many slots and how many positions a step of aligned rows has to look at."""


class Passes(Protocol):
    """A way through the GPT. Slots and positions are those of its cache."""

    aligned: bool
    """Whether `step` wants one row for every slot, in their order, idle ones pointing to the slot behind the last."""
    together: bool
    """Whether several rows in one step take less time than one after the other."""
    positions: int
    """Of a slot."""

    def prefill(self, prompts: Sequence[Tensor], slots: Sequence[int], voices: Sequence[Tensor]) -> Outputs:
        """Fill slots with prompts, each (its positions, width); outputs of their last positions.

        voices: the conditioning latents that each begins with, in memory that is not changed.
        """

    def step(self, codes: Tensor, code_positions: Tensor, slots: Tensor, positions: Tensor, extent: Extent) -> Outputs:
        """Speak on from codes (n,), each at its position in its slot and its place among codes."""

    def clear(self, slot: int) -> None:
        """Forget what a slot holds: values that are not finite would spread from behind a mask."""


class RowPasses:
    """Plain torch, attention row by row. The reference in fp32: rows one by one, since a product of several rows is
    rounded in another way than the product of one. With int8 layers, whose rows cannot see each other, all at once."""

    aligned = False

    def __init__(self, gpt: Gpt, slots: int, *, together: bool) -> None:
        weight = gpt.text_embedding.weight
        self.gpt = gpt
        self.cache = KvCache(gpt.config, slots + 1, weight.device, torch.float32)
        self.positions = self.cache.positions
        self.together = together

    def prefill(self, prompts: Sequence[Tensor], slots: Sequence[int], voices: Sequence[Tensor]) -> Outputs:
        outputs = [self.gpt.finish(self._fill(prompt, slot)) for prompt, slot in zip(prompts, slots, strict=True)]
        return _stacked(outputs)

    def step(self, codes: Tensor, code_positions: Tensor, slots: Tensor, positions: Tensor, extent: Extent) -> Outputs:
        hidden = self.gpt.embed(codes, code_positions)
        places = list(zip(slots.tolist(), positions.tolist(), strict=True))
        if self.together:
            hidden = self._blocks(hidden, places)
            return _stacked([self.gpt.finish(row[None]) for row in hidden])
        return _stacked(
            [self.gpt.finish(self._blocks(row[None], [place])) for row, place in zip(hidden, places, strict=True)]
        )

    def clear(self, slot: int) -> None:
        """Nothing to do: positions that were not written are not read."""

    def _fill(self, hidden: Tensor, slot: int) -> Tensor:
        stop = len(hidden)
        for layer, block in enumerate(self.gpt.blocks):
            assert isinstance(block, Block)
            query, key, value = (part.transpose(0, 1) for part in block.project(hidden))
            self.cache.keys[layer, slot, :, :stop], self.cache.values[layer, slot, :, :stop] = key, value
            attended = F.scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True)
            hidden = block.finish(hidden, attended[0].transpose(0, 1).flatten(1))
        return hidden[-1:]

    def _blocks(self, hidden: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
        for layer, block in enumerate(self.gpt.blocks):
            assert isinstance(block, Block)
            query, key, value = block.project(hidden)
            keys, values = self.cache.keys[layer], self.cache.values[layer]
            attended = torch.empty_like(hidden)
            for row, (slot, position) in enumerate(places):
                keys[slot, :, position], values[slot, :, position] = key[row], value[row]
                seen = keys[slot, :, : position + 1], values[slot, :, : position + 1]
                attended[row] = F.scaled_dot_product_attention(query[row, :, None], *seen).flatten()
            hidden = block.finish(hidden, attended)
        return hidden


class KernelPasses:
    """The compiled kernel: prompts and codes alike are rows with a slot and a position, as many as there are."""

    aligned = False
    together = True

    def __init__(self, gpt: Gpt, kernel: Int8Gpt, slots: int) -> None:
        self.gpt = gpt
        self.cache = KvCache(gpt.config, slots + 1, torch.device("cpu"), torch.float16)
        self.positions = self.cache.positions
        self._kernel = kernel
        self._voices: OrderedDict[int, tuple[Tensor, Tensor, Tensor]] = OrderedDict()
        """Keys and values of voices by the address of their latents, which are kept so that nothing else gets it."""

    def prefill(self, prompts: Sequence[Tensor], slots: Sequence[int], voices: Sequence[Tensor]) -> Outputs:
        """A voice that has just been read is not read again: what its positions hold depends on nothing behind them,
        and here a row is the same to the bit whichever way it is run. A third of a prompt of 60 tokens."""
        starts = [self._recall(slot, voice) for slot, voice in zip(slots, voices, strict=True)]
        parts = [prompt[start:] for prompt, start in zip(prompts, starts, strict=True)]
        row_slots = [slot for slot, part in zip(slots, parts, strict=True) for _ in part]
        positions = [start + row for start, part in zip(starts, parts, strict=True) for row in range(len(part))]
        last = [end - 1 for end in accumulate(map(len, parts))]
        outputs = self._run(torch.cat(parts), row_slots, positions, last)
        for slot, voice, start in zip(slots, voices, starts, strict=True):
            if not start:
                read = (slice(None), slot, slice(None), slice(len(voice)))
                self._voices[voice.data_ptr()] = (voice, self.cache.keys[read].clone(), self.cache.values[read].clone())
        while len(self._voices) > VOICES:
            self._voices.popitem(last=False)
        return outputs

    def _recall(self, slot: int, voice: Tensor) -> int:
        """Bring a voice's positions into a slot; how many, 0 where they are not known."""
        address = voice.data_ptr()
        if address not in self._voices:
            return 0
        self._voices.move_to_end(address)
        _, keys, values = self._voices[address]
        self.cache.keys[:, slot, :, : len(voice)] = keys
        self.cache.values[:, slot, :, : len(voice)] = values
        return len(voice)

    def step(self, codes: Tensor, code_positions: Tensor, slots: Tensor, positions: Tensor, extent: Extent) -> Outputs:
        hidden = self.gpt.embed(codes, code_positions)
        return self._run(hidden, slots.tolist(), positions.tolist(), list(range(len(hidden))))

    def clear(self, slot: int) -> None:
        """Nothing to do: positions that were not written are not read."""

    def _run(self, hidden: Tensor, slots: list[int], positions: list[int], wanted: list[int]) -> Outputs:
        return self._kernel.forward(hidden, slots, positions, self.cache.keys, self.cache.values, wanted)


class SlotPasses:
    """Static shapes, for graphs: a row for every slot, in every step, so that one shape of product serves all company
    and no row is rounded in another way when neighbours come or go.

    Attention looks at the first slots and positions of the cache alone, by extent. Kernels that walk over positions in
    order give a row the same sum whatever lies masked behind it; split ones do not, hence the choice of backend.
    """

    aligned = together = True

    def __init__(self, gpt: Gpt, slots: int, prompts: int) -> None:
        weight = next(gpt.blocks.parameters())
        self.gpt = gpt
        self.slots = slots
        # The slot behind the last takes what idle rows write.
        self.cache = KvCache(gpt.config, slots + 1, weight.device, weight.dtype)
        self.positions = self.cache.positions
        self._prompts = prompts
        """Prompts of a pass; fewer are filled up, again for the sake of one shape."""
        self._backends = (
            [SDPBackend.EFFICIENT_ATTENTION] if weight.is_cuda else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
        )

    def prefill(self, prompts: Sequence[Tensor], slots: Sequence[int], voices: Sequence[Tensor]) -> Outputs:
        found: dict[int, Outputs] = {}
        by_length: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(-(-len(prompt) // POSITION_STEP) * POSITION_STEP, []).append(index)
        for length, members in by_length.items():
            for start in range(0, len(members), self._prompts):
                group = members[start : start + self._prompts]
                latents, logits = self._fill([prompts[i] for i in group], [slots[i] for i in group], length)
                found |= {index: (latents[row, None], logits[row, None]) for row, index in enumerate(group)}
        return _stacked([found[index] for index in range(len(prompts))])

    def step(self, codes: Tensor, code_positions: Tensor, slots: Tensor, positions: Tensor, extent: Extent) -> Outputs:
        width, span = extent
        hidden = self.gpt.embed(codes, code_positions)
        seen = (torch.arange(span, device=codes.device) <= positions[:width, None])[:, None, None]
        attended = torch.zeros_like(hidden)
        with sdpa_kernel(self._backends):
            for layer, block in enumerate(self.gpt.blocks):
                assert isinstance(block, Block)
                query, key, value = block.project(hidden)
                keys, values = self.cache.keys[layer], self.cache.values[layer]
                keys[slots, :, positions], values[slots, :, positions] = key, value
                attended[:width] = F.scaled_dot_product_attention(
                    query[:width, :, None], keys[:width, :, :span], values[:width, :, :span], attn_mask=seen
                ).flatten(1)
                hidden = block.finish(hidden, attended)
        return self.gpt.finish(hidden)

    def clear(self, slot: int) -> None:
        self.cache.keys[:, slot] = 0
        self.cache.values[:, slot] = 0

    def _fill(self, prompts: Sequence[Tensor], slots: Sequence[int], length: int) -> Outputs:
        hidden = prompts[0].new_zeros(self._prompts, length, prompts[0].shape[-1])
        for row, prompt in enumerate(prompts):
            hidden[row, : len(prompt)] = prompt
        for layer, block in enumerate(self.gpt.blocks):
            assert isinstance(block, Block)
            query, key, value = (part.transpose(1, 2) for part in block.project(hidden))
            for row, slot in enumerate(slots):
                self.cache.keys[layer, slot, :, :length], self.cache.values[layer, slot, :, :length] = (
                    key[row],
                    value[row],
                )
            attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
            hidden = block.finish(hidden, attended.transpose(1, 2).flatten(2))
        last = torch.tensor([len(prompt) - 1 for prompt in prompts] + [0] * (self._prompts - len(prompts)))
        return self.gpt.finish(hidden[torch.arange(self._prompts), last])


def _stacked(outputs: Sequence[Outputs]) -> Outputs:
    latents, logits = zip(*outputs, strict=True)
    return torch.cat(latents), torch.cat(logits)
