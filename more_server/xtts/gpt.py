"""XTTS's GPT-2, position by position over a static cache; the latents are kept, so one pass is enough.

The sequence is [conditioning latents][START text STOP][START codes…], with position tables of their own
for text and for codes (coqui: layers/xtts/gpt.py). A latent is `final_norm(ln_f(hidden))` of a code
position: the vector the next code is drawn from, and what the decoder turns into audio.
"""

import math
import mmap
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from more_server.xtts.config import GptConfig

POSITION_STEP = 64
"""The cache's positions are a multiple of it, as the lengths that attention is captured for are."""


class KvCache:
    """Keys and values of every slot, each of shape (layers, slots, heads, positions, head width)."""

    def __init__(self, config: GptConfig, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self.positions = cache_positions(config)
        shape = (config.layers, slots, config.heads, self.positions, config.model_dim // config.heads)
        self.keys, self.values = _zeros(shape, device, dtype), _zeros(shape, device, dtype)


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Zeros, as a masked position's weight of 0 still makes NaN of whatever is not finite.

    On the CPU they are the system's own empty pages: positions never reached take no memory. Small ones: in pages of
    2 MB, which numpy asks for, eight slots of XTTS-v2 were resident to the last position, 1.2 GB instead of 0.2, and
    reading them was 3 % faster.
    """
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without large pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


def cache_positions(config: GptConfig) -> int:
    """Positions of a slot: the longest sequence (prompt, text with start and stop, codes with start), rounded up."""
    longest = config.max_prompt_tokens + config.max_text_tokens + 2 + config.max_mel_tokens + 1
    return math.ceil(longest / POSITION_STEP) * POSITION_STEP


def cache_bytes(config: GptConfig, dtype: torch.dtype) -> int:
    """Bytes of one slot."""
    return 2 * config.layers * cache_positions(config) * config.model_dim * dtype.itemsize


class Block(nn.Module):
    """A pre-norm transformer block of GPT-2; weights are named as in Hugging Face's `GPT2Block`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def project(self, hidden: Tensor) -> tuple[Tensor, ...]:
        """Query, key and value of hidden (…, width), each (…, heads, head width)."""
        parts: Tensor = self.c_attn(self.ln_1(hidden)).unflatten(-1, (3, self.heads, -1))
        return parts.unbind(-3)

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """What follows attention: hidden (…, width), attended (…, width)."""
        hidden = hidden + self.c_proj(attended)
        output: Tensor = hidden + self.c_out(F.gelu(self.c_fc(self.ln_2(hidden)), approximate="tanh"))
        return output


class Gpt(nn.Module):
    """Text tokens and conditioning latents in, latents and code logits out."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.config = config
        width = config.model_dim
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.ln_f, self.final_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.text_embedding = nn.Embedding(config.number_text_tokens, width)
        self.text_positions = nn.Embedding(config.max_text_tokens + 2, width)
        self.code_embedding = nn.Embedding(config.num_audio_tokens, width)
        # coqui's max_conditioning_inputs (1) and two more positions (layers/xtts/gpt.py: max_mel_tokens)
        self.code_positions = nn.Embedding(config.max_mel_tokens + 3, width)
        self.code_head = nn.Linear(width, config.num_audio_tokens)

    @property
    def most_codes(self) -> int:
        """Codes of one sequence; coqui's max_gen_mel_tokens."""
        return self.config.max_mel_tokens - 3

    def prompt(self, conditioning: Tensor, token_ids: Sequence[int]) -> Tensor:
        """Embeddings (positions, width) of a prompt: conditioning (positions, width), START text STOP, first code."""
        config, weight = self.config, self.text_embedding.weight
        text = torch.tensor([config.start_text_token, *token_ids, config.stop_text_token], device=weight.device)
        return torch.cat(
            [
                conditioning.to(weight.dtype),
                self.text_embedding(text) + self.text_positions.weight[: len(text)],
                self.code_embedding.weight[None, config.start_audio_token] + self.code_positions.weight[:1],
            ]
        )

    def embed(self, codes: Tensor, positions: Tensor) -> Tensor:
        """Embeddings (n, width) of codes (n,) at their places (n,) among their codes, START being 0."""
        embeddings: Tensor = self.code_embedding(codes) + self.code_positions(positions)
        return embeddings

    def finish(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (n, width) and code logits (n, num_audio_tokens), float32, of the last block's hidden (n, width)."""
        latents = self.final_norm(self.ln_f(hidden.float()))
        return latents, self.code_head(latents)

    def file_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of this module's parameters, by its own names, as coqui keeps them."""
        return {
            name: tuple(reversed(tensor.shape)) if is_transposed(name) else tuple(tensor.shape)
            for name, tensor in self.state_dict().items()
        }

    def to_coqui(self) -> dict[str, Tensor]:
        """This module's weights under coqui's names."""
        return {
            coqui_name(name): tensor.t().contiguous() if is_transposed(name) else tensor
            for name, tensor in self.state_dict().items()
        }


# Our names and coqui's. GPT-2's Conv1D keeps its weights as (in, out): those are transposed.
OUTER_NAMES = {
    "ln_f": "gpt.gpt.ln_f",
    "final_norm": "gpt.final_norm",
    "text_embedding": "gpt.text_embedding",
    "text_positions": "gpt.text_pos_embedding.emb",
    "code_embedding": "gpt.mel_embedding",
    "code_positions": "gpt.mel_pos_embedding.emb",
    "code_head": "gpt.mel_head",
}
BLOCK_NAMES = {
    "ln_1": "ln_1",
    "ln_2": "ln_2",
    "c_attn": "attn.c_attn",
    "c_proj": "attn.c_proj",
    "c_fc": "mlp.c_fc",
    "c_out": "mlp.c_proj",
}


def coqui_name(name: str) -> str:
    """coqui's name of a parameter of `Gpt`."""
    module, _, part = name.rpartition(".")
    if not module.startswith("blocks."):
        return f"{OUTER_NAMES[module]}.{part}"
    _, layer, inner = module.split(".")
    return f"gpt.gpt.h.{layer}.{BLOCK_NAMES[inner]}.{part}"


def is_transposed(name: str) -> bool:
    """Whether a parameter of `Gpt` is a GPT-2 Conv1D weight."""
    return name.startswith("blocks.") and ".c_" in name and name.endswith(".weight")
