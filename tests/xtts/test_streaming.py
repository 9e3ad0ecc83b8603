"""A generator that is given its frames piece by piece makes what it makes of all of them at once."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from more_server.testing import tiny_config
from more_server.xtts.load import build, load
from more_server.xtts.streaming import StreamingGenerator


@pytest.fixture(scope="module", params=["tiny", "nano", "type 2", "odd"])
def generator(request: pytest.FixtureRequest) -> torch.nn.Module:
    if request.param == "nano":
        return load(Path("models/nano"), torch.device("cpu")).decoder.generator
    config = tiny_config()
    changes: dict[str, object] = {}
    if request.param == "type 2":
        changes = {"resblock_type": "2", "resblock_dilation_sizes": ((1, 3),) * 3}
    if request.param == "odd":  # kernels that span more than two inputs, one stage without conditions
        changes = {
            "upsample_factors": (4, 4, 4, 4),
            "upsample_kernel_sizes": (12, 8, 8, 4),
            "cond_in_each_up_layer": False,
        }
    torch.manual_seed(1)
    config = msgspec.structs.replace(config, decoder=msgspec.structs.replace(config.decoder, **changes))
    return build(config).generator.eval().requires_grad_(False)


def embedding(generator: torch.nn.Module) -> torch.Tensor:
    width = generator.cond_layer.weight.shape[1]  # type: ignore[union-attr, index]
    drawn = torch.randn(width, generator=torch.Generator().manual_seed(1))  # type: ignore[arg-type]
    return torch.nn.functional.normalize(drawn, dim=0)


@pytest.fixture(scope="module")
def voice(generator: torch.nn.Module) -> torch.Tensor:
    return embedding(generator)


def frames(generator: torch.nn.Module, count: int) -> torch.Tensor:
    width = generator.conv_pre.weight.shape[1]  # type: ignore[union-attr, index]
    return torch.randn(count, width, generator=torch.Generator().manual_seed(2))  # type: ignore[arg-type]


@torch.inference_mode()
@pytest.mark.parametrize("sizes", [[1], [2, 3], [30, 16, 16, 24], [100], [60, 1]], ids=str)
def test_pieces_are_the_whole(generator: torch.nn.Module, voice: torch.Tensor, sizes: list[int]) -> None:
    given = frames(generator, 90)
    whole = generator(given.t()[None], g=voice[None, :, None])[0, 0]
    streamed, pieces, start = StreamingGenerator(generator).begin(voice), [], 0
    while start < len(given):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(streamed.process(given[start : start + size], last=start + size >= len(given)))
        start += size
    joined = torch.cat(pieces)
    assert len(joined) == len(whole)
    np.testing.assert_allclose(joined, whole, atol=1e-5)


@torch.inference_mode()
def test_the_end_may_come_with_no_further_frames(generator: torch.nn.Module, voice: torch.Tensor) -> None:
    given = frames(generator, 40)
    streamed = StreamingGenerator(generator).begin(voice)
    pieces = [streamed.process(given, last=False), streamed.process(given[:0], last=True)]
    whole = generator(given.t()[None], g=voice[None, :, None])[0, 0]
    np.testing.assert_allclose(torch.cat(pieces), whole, atol=1e-5)


@torch.inference_mode()
def test_samples_come_as_soon_as_their_context_is_there() -> None:
    """What lies before the frames that the decoder looks ahead is handed out."""
    decoder = load(Path("models/nano"), torch.device("cpu")).decoder
    given, voice = frames(decoder.generator, 40), embedding(decoder.generator)
    first = StreamingGenerator(decoder.generator).begin(voice).process(given, last=False)
    assert len(first) >= (40 - decoder.context_frames) * decoder.hop_length
    changed = torch.cat([given, torch.ones_like(given)])
    later = decoder.generator(changed.t()[None], g=voice[None, :, None])[0, 0]
    np.testing.assert_allclose(first, later[: len(first)], atol=1e-5)
