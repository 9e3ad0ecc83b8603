"""Drawing a code from logits: repetition penalty, temperature, top-k, top-p, then one draw per row."""

import torch
from torch import Tensor

from more_server.speech import Profile


def sample(logits: Tensor, seen: Tensor, noise: Tensor, profile: Profile) -> Tensor:
    """One code per row, shape (rows,).

    logits (rows, codes); seen (rows, codes), true where a code was spoken before; noise (rows, codes),
    standard exponential draws. The order of the steps is Hugging Face's, as coqui uses it.

    argmax(p / noise) draws from p: the exponential race, the same thing as Gumbel-max, and one
    random number stream per row serves any batch.
    """
    penalised = torch.where(logits > 0, logits / profile.repetition_penalty, logits * profile.repetition_penalty)
    logits = torch.where(seen, penalised, logits)
    if profile.temperature == 0:
        return logits.argmax(dim=-1)
    logits = _keep_nucleus(_keep_top_k(logits / profile.temperature, profile.top_k), profile.top_p)
    # float32 draws are exactly 0 about once in 10^7; a masked code's 0/0 would be NaN, which argmax takes for the best.
    return (logits.softmax(dim=-1) / noise.clamp(min=torch.finfo(noise.dtype).tiny)).argmax(dim=-1)


def _keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    if not 0 < top_k < logits.shape[-1]:
        return logits
    kth = logits.topk(top_k, dim=-1).values[:, -1:]
    return logits.masked_fill(logits < kth, -torch.inf)


def _keep_nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of most probable codes whose probabilities sum to top_p."""
    if top_p >= 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    drop = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return logits.masked_fill(drop, -torch.inf)
