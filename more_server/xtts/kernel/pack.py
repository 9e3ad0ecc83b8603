"""Weights of a GPT as the kernel reads them: one block of memory, front to back (kernel.c, products.h)."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from more_server.xtts.config import GptConfig
from more_server.xtts.gpt import Block, Gpt

TILE = 32
"""Output channels that lie together; products.h has the same number."""


def packed_bytes(config: GptConfig) -> int:
    """Bytes of a whole model."""
    width, head_tiles = config.model_dim, -(-config.num_audio_tokens // TILE)
    linears = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
    layer = 2 * _norm_bytes(width) + sum(outputs * (inputs + 8) for inputs, outputs in linears)
    return config.layers * layer + 2 * _norm_bytes(width) + head_tiles * TILE * 4 * (width + 1)


def _norm_bytes(width: int) -> int:
    return 2 * 4 * width


@torch.no_grad()
def write(memory: Tensor, gpt: Gpt, blocks: Iterable[nn.Module]) -> None:
    """Write a model into memory (packed_bytes,), block by block as they come."""
    start = 0
    for part in _parts(gpt, blocks):
        packed = part.flatten().view(torch.uint8)
        memory[start : start + len(packed)] = packed
        start += len(packed)
    assert start == len(memory)


def _parts(gpt: Gpt, blocks: Iterable[nn.Module]) -> Iterable[Tensor]:
    for block in blocks:
        assert isinstance(block, Block)
        yield _norm(block.ln_1)
        yield _int8(block.c_attn)
        yield _int8(block.c_proj)
        yield _norm(block.ln_2)
        yield _int8(block.c_fc)
        yield _int8(block.c_out)
    yield _norm(gpt.ln_f)
    yield _norm(gpt.final_norm)
    yield _float32(gpt.code_head)


def _norm(norm: nn.LayerNorm) -> Tensor:
    return torch.cat([norm.weight, norm.bias]).float()


def _int8(linear: nn.Linear) -> Tensor:
    """Tiles of a linear layer (tiles, words of 4 bytes): symmetric, one scale per output channel, 128 added."""
    weight = linear.weight.float()
    scales = weight.abs().amax(dim=1).clamp(min=1e-30) / 127
    unsigned = (weight / scales[:, None]).round_().add_(128).to(torch.uint8)
    quads = unsigned.view(torch.int32).view(-1, TILE, linear.in_features // 4)  # of inputs
    floats = torch.cat([scales.view(-1, TILE), linear.bias.float().view(-1, TILE)], dim=1)
    return torch.cat([quads.transpose(1, 2).flatten(1), floats.view(torch.int32)], dim=1)


def _float32(linear: nn.Linear) -> Tensor:
    """Tiles of the code head in float32 (tiles, width + 1, channels), the biases last."""
    missing = -linear.out_features % TILE
    weight = nn.functional.pad(linear.weight.float(), (0, 0, 0, missing))
    bias = nn.functional.pad(linear.bias.float(), (0, missing))
    tiles = weight.view(-1, TILE, linear.in_features).transpose(1, 2)
    return torch.cat([tiles, bias.view(-1, 1, TILE)], dim=1)
