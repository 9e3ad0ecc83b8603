"""XTTS's GPT-2, position by position over a static cache; the latents are kept, so one pass is enough.

The sequence is [conditioning latents][START text STOP][START codes…], with position tables of their own
for text and for codes (coqui: layers/xtts/gpt.py). A latent is `final_norm(ln_f(hidden))` of a code
position: the vector the next code is drawn from, and what the decoder turns into audio.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from more_server.xtts.config import GptConfig


class KvCache:
    """Keys and values of every slot, each of shape (layers, slots, heads, positions, head width)."""

    def __init__(self, config: GptConfig, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self.positions = max_positions(config)
        shape = (config.layers, slots, config.heads, self.positions, config.model_dim // config.heads)
        # Not zeroed: on the CPU the pages of positions never reached take no memory (256 MB a slot
        # for XTTS-v2 in fp32, of which a usual sentence touches a quarter).
        self.keys = torch.empty(shape, device=device, dtype=dtype)
        self.values = torch.empty(shape, device=device, dtype=dtype)


def max_positions(config: GptConfig) -> int:
    """Longest sequence: prompt, text with start and stop, codes with start."""
    return config.max_prompt_tokens + config.max_text_tokens + 2 + config.max_mel_tokens + 1


class Block(nn.Module):
    """A pre-norm transformer block of GPT-2; weights are named as in Hugging Face's `GPT2Block`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, start: int) -> Tensor:
        """hidden (n, width) at positions start…start+n; keys and values (heads, positions, head width) are written."""
        count, width = hidden.shape
        query, key, value = self.c_attn(self.ln_1(hidden)).view(count, 3, self.heads, -1).permute(1, 2, 0, 3)
        stop = start + count
        keys[:, start:stop] = key
        values[:, start:stop] = value
        # A prompt starts at position 0 and sees itself causally; a single position sees all before it.
        attended = F.scaled_dot_product_attention(
            query[None], keys[None, :, :stop], values[None, :, :stop], is_causal=count > 1
        )
        hidden = hidden + self.c_proj(attended[0].transpose(0, 1).reshape(count, width))
        return self._transform(hidden)

    def step(
        self, hidden: Tensor, keys: Tensor, values: Tensor, slots: Sequence[int], lengths: Sequence[int]
    ) -> Tensor:
        """One position of several sequences: hidden (n, width); keys and values (slots, heads, positions, head width).

        Attention is done row by row, each over its own length, so that a row is the same alone and in company.
        """
        count, width = hidden.shape
        query, key, value = self.c_attn(self.ln_1(hidden)).view(count, 3, self.heads, 1, -1).unbind(1)
        attended = torch.empty_like(hidden)
        for row, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
            keys[slot, :, length : length + 1] = key[row]
            values[slot, :, length : length + 1] = value[row]
            seen = keys[None, slot, :, : length + 1], values[None, slot, :, : length + 1]
            attended[row] = F.scaled_dot_product_attention(query[None, row], *seen).view(width)
        return self._transform(hidden + self.c_proj(attended))

    def _transform(self, hidden: Tensor) -> Tensor:
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

    def prompt_length(self, conditioning: Tensor, token_ids: tuple[int, ...]) -> int:
        """Positions that `prefill` fills: conditioning, START text STOP, and the first code position."""
        return len(conditioning) + len(token_ids) + 3

    def prefill(self, conditioning: Tensor, token_ids: tuple[int, ...], cache: KvCache, slot: int) -> Tensor:
        """Fill a slot with the prompt. conditioning (positions, width). Returns the first latent (width,)."""
        config, device = self.config, conditioning.device
        text = torch.tensor([config.start_text_token, *token_ids, config.stop_text_token], device=device)
        start_code = torch.tensor([config.start_audio_token], device=device)
        embeddings = torch.cat(
            [
                conditioning,
                self.text_embedding(text) + self.text_positions.weight[: len(text)],
                self.code_embedding(start_code) + self.code_positions.weight[:1],
            ]
        )
        return self._run(embeddings, cache, slot, 0)

    def step(
        self,
        codes: Sequence[int],
        positions: Sequence[int],
        lengths: Sequence[int],
        cache: KvCache,
        slots: Sequence[int],
    ) -> Tensor:
        """Speak on from one code in each of n slots. Returns the next latents (n, width).

        positions: a code's place among its codes, START being 0; lengths: positions already in its slot.
        """
        hidden = self.code_embedding.weight[codes] + self.code_positions.weight[positions]
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            hidden = block.step(hidden, cache.keys[layer], cache.values[layer], slots, lengths)
        latents: Tensor = self.final_norm(self.ln_f(hidden))
        return latents

    def logits(self, latent: Tensor) -> Tensor:
        """Code logits (…, num_audio_tokens) of latents (…, width)."""
        logits: Tensor = self.code_head(latent)
        return logits

    def from_coqui(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """This module's state dict out of a model's, copied; names that are missing there stay missing."""
        return {
            name: state[theirs].t().contiguous() if is_transposed(name) else state[theirs].clone()
            for name in self.state_dict()
            if (theirs := coqui_name(name)) in state
        }

    def to_coqui(self) -> dict[str, Tensor]:
        """This module's weights under coqui's names."""
        return {
            coqui_name(name): tensor.t().contiguous() if is_transposed(name) else tensor
            for name, tensor in self.state_dict().items()
        }

    def _run(self, hidden: Tensor, cache: KvCache, slot: int, start: int) -> Tensor:
        for layer, block in enumerate(self.blocks):
            hidden = block(hidden, cache.keys[layer, slot], cache.values[layer, slot], start)
        latent: Tensor = self.final_norm(self.ln_f(hidden[-1]))
        return latent


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
