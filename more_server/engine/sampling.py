"""Drawing a code from logits: repetition penalty, temperature, top-k, top-p, then one draw per row.

Everything is one tensor operation over all rows, each row with its own parameters, so that it runs on the device
and inside a captured graph; no row sees another.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GOLDEN = -0x61C8864680B583EB
"""SplitMix64's increment, as a signed 64-bit integer; its multipliers are below."""
MULTIPLIERS = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)


@dataclass(frozen=True)
class Draws:
    """What each of n rows is drawn with; tensors of shape (n,)."""

    keys: Tensor
    """int64, 64 random bits for this draw."""
    temperature: Tensor
    """float32; 0 takes the best code."""
    top_k: Tensor
    """int64; 0 keeps all codes."""
    top_p: Tensor
    """float32; smallest set of codes whose probabilities sum to it."""
    repetition_penalty: Tensor
    """float32; divides positive logits of codes already spoken, multiplies negative ones."""
    stop_bias: Tensor
    """float32, added to the stop code's logit."""


def sample(logits: Tensor, seen: Tensor, draws: Draws, stop: int, most: int) -> Tensor:
    """One code per row, int64 of shape (n,).

    logits (n, codes) float32; seen (n, codes), true where a code was spoken before; most: the largest top_k among
    the rows, or the number of codes where one keeps all. The order of the steps is Hugging Face's, as coqui uses it.

    argmax(p / noise) with standard exponential noise draws from p: the exponential race, the same thing as
    Gumbel-max. The noise of a code is a function of the row's key and the code alone.
    """
    penalty = draws.repetition_penalty[:, None]
    logits = torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)
    logits[:, stop] += draws.stop_bias
    greedy = draws.temperature == 0
    best, codes = (logits / torch.where(greedy, 1.0, draws.temperature)[:, None]).topk(most, dim=-1)
    rank = torch.arange(most, device=logits.device)
    top_k = torch.where(draws.top_k > 0, draws.top_k, most)[:, None]
    probabilities = best.masked_fill(rank >= top_k, -torch.inf).softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill((before >= draws.top_p[:, None]) & (rank > 0), 0.0)
    drawn = (probabilities / exponential(draws.keys, codes)).argmax(dim=-1)
    return codes.gather(1, torch.where(greedy, 0, drawn)[:, None])[:, 0]


def exponential(keys: Tensor, codes: Tensor) -> Tensor:
    """Standard exponential noise (n, k) for codes (n, k) under keys (n,): SplitMix64 at position `code` of a stream.

    Never 0, so that a masked code's share is 0 and not 0/0.
    """
    bits = _mixed(keys[:, None] + GOLDEN * (codes + 1))
    # The middles of 2^23 intervals: with one bit more the last of them would round to 1 in float32.
    uniform: Tensor = (_shifted(bits, 41).float() + 0.5) * 2.0**-23
    noise: Tensor = -uniform.log()
    return noise


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * MULTIPLIERS[0]
    state = (state ^ _shifted(state, 27)) * MULTIPLIERS[1]
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; torch's own carries the sign along."""
    shifted: Tensor = (state >> bits) & (2 ** (64 - bits) - 1)
    return shifted
