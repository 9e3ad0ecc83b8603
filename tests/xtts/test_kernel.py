"""The compiled int8 GPT: close to float32, and to the bit the same row whatever stands beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from more_server.testing import tiny_config
from more_server.xtts import kernel
from more_server.xtts.config import GptConfig
from more_server.xtts.gpt import Block, Gpt
from more_server.xtts.kernel import Int8Gpt
from more_server.xtts.load import load

pytestmark = pytest.mark.skipif(
    not kernel.available(),
    reason="the int8 kernel needs Linux on x86-64 with AVX-512 VNNI, GNU's OpenMP, and a C compiler at installation",
)

TINY = tiny_config().gpt
# No number of it is a power of two: 3 heads of 64, 29 tiles of 32 codes and one of 5, prompts of no round length.
ODD = msgspec.structs.replace(TINY, layers=3, model_dim=192, heads=3, num_audio_tokens=933)
# Head widths of one, of four and one, and of two vectors and one.
NARROW = msgspec.structs.replace(TINY, layers=1, heads=4)
WIDE = msgspec.structs.replace(TINY, layers=1, model_dim=320, heads=4)
ODDER = msgspec.structs.replace(TINY, layers=1, model_dim=192, heads=4)
SLOTS, POSITIONS = 5, 100


def random_gpt(config: GptConfig) -> Gpt:
    """Random weights, norms and biases included."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        gpt = Gpt(config).requires_grad_(False)
        for parameter in gpt.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return gpt


class Cached:
    """A kernel with a cache of its own, full of NaN: what was not written must not be read."""

    def __init__(self, config: GptConfig, int8: Int8Gpt) -> None:
        shape = (config.layers, SLOTS, config.heads, POSITIONS, config.model_dim // config.heads)
        self.int8 = int8
        self.keys, self.values = (torch.full(shape, torch.nan, dtype=torch.float16) for _ in range(2))

    def __call__(
        self, hidden: Tensor, slots: Sequence[int], positions: Sequence[int], wanted: Sequence[int] | None = None
    ) -> Tensor:
        """Latents and logits of the wanted rows, side by side; of all rows unless told."""
        wanted = range(len(hidden)) if wanted is None else wanted
        return torch.cat(self.int8.forward(hidden, slots, positions, self.keys, self.values, wanted), dim=1)


@pytest.fixture(scope="module")
def int8() -> Int8Gpt:
    return Int8Gpt(random_gpt(ODD))


@pytest.fixture
def cached(int8: Int8Gpt) -> Cached:
    return Cached(ODD, int8)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def embeddings(rows: int, config: GptConfig = ODD, seed: int = 7) -> Tensor:
    return torch.randn(rows, config.model_dim, generator=torch.Generator().manual_seed(seed))


def exact(gpt: Gpt, hidden: Tensor) -> Tensor:
    """Latents and logits of a prompt, in float32 by torch."""
    for block in gpt.blocks:
        assert isinstance(block, Block)
        query, key, value = (
            part.unflatten(-1, (block.heads, -1)).transpose(0, 1)
            for part in block.c_attn(block.ln_1(hidden)).chunk(3, -1)
        )
        attended = F.scaled_dot_product_attention(query[None], key[None], value[None], is_causal=True)
        hidden = hidden + block.c_proj(attended[0].transpose(0, 1).flatten(1))
        hidden = hidden + block.c_out(F.gelu(block.c_fc(block.ln_2(hidden)), approximate="tanh"))
    latents = gpt.final_norm(gpt.ln_f(hidden))
    return torch.cat([latents, gpt.code_head(latents)], dim=1)


def error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# A row is the same


def test_in_any_company(cached: Cached) -> None:
    """Rows of five slots, from a millionth to a million in size, at different positions, in one call and one by one."""
    prompts = [embeddings(3 + 11 * slot, seed=slot) * 10.0 ** (3 * slot - 6) for slot in range(SLOTS)]
    lone = torch.cat([cached(prompt, [slot] * len(prompt), range(len(prompt))) for slot, prompt in enumerate(prompts)])
    places = [(slot, position) for slot, prompt in enumerate(prompts) for position in range(len(prompt))]
    together = cached(torch.cat(prompts), *zip(*places, strict=True))
    assert torch.equal(together, lone)
    last = [len(prompt) for prompt in prompts]
    steps = embeddings(SLOTS, seed=99)
    alone = torch.cat([cached(steps[slot, None], [slot], [last[slot]]) for slot in range(SLOTS)])
    assert torch.equal(cached(steps, range(SLOTS), last), alone)
    assert alone.isfinite().all()


@pytest.mark.parametrize("rows", range(1, 15))
def test_in_any_number(cached: Cached, rows: int) -> None:
    """Every number of rows that the products know, and two more, which are two blocks."""
    hidden = embeddings(14)
    expected = cached(hidden, [0] * 14, range(14))
    assert torch.equal(cached(hidden[:rows], [1] * rows, range(rows)), expected[:rows])


def test_in_any_order(cached: Cached) -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    hidden = embeddings(40)
    straight = cached(hidden, [3] * 40, range(40))
    assert torch.equal(cached(hidden[order], [3] * 40, order.tolist()), straight[order])


def test_in_one_pass_and_step_by_step(cached: Cached) -> None:
    hidden = embeddings(POSITIONS)
    whole = cached(hidden, [0] * POSITIONS, range(POSITIONS))
    steps = [cached(hidden[i, None], [4], [i]) for i in range(POSITIONS)]
    assert torch.equal(torch.cat(steps), whole)
    assert torch.equal(cached.keys[:, 4], cached.keys[:, 0])


@pytest.mark.parametrize("config", [TINY, ODD], ids=["tiny", "odd"])
@pytest.mark.parametrize("rows", [1, 2, 37])
@pytest.mark.usefixtures("threads")
def test_on_any_number_of_threads(config: GptConfig, rows: int) -> None:
    cached = Cached(config, Int8Gpt(random_gpt(config)))
    found = []
    for number in (1, 2, 3, 7):
        torch.set_num_threads(number)
        found.append(cached(embeddings(rows, config), [1] * rows, range(rows)))
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_on_fewer_threads_than_asked_for() -> None:
    """OpenMP may refuse some: here all but one."""
    script = (
        "import torch; from tests.xtts.test_kernel import *; torch.set_num_threads(4);"
        "cached = Cached(ODD, Int8Gpt(random_gpt(ODD)));"
        "print(cached(embeddings(20), [0] * 20, range(20)).double().sum().item())"
    )
    command = [sys.executable, "-c", script]
    whole, limited = (
        subprocess.run(command, env=os.environ | limit, stdout=subprocess.PIPE, check=True).stdout
        for limit in ({}, {"OMP_THREAD_LIMIT": "1"})
    )
    assert whole == limited != b""


def test_in_a_hundred_calls(cached: Cached) -> None:
    hidden = embeddings(9)
    first = cached(hidden, [2] * 9, range(9))
    assert all(torch.equal(cached(hidden, [2] * 9, range(9)), first) for _ in range(100))


def test_among_those_that_are_wanted(cached: Cached) -> None:
    hidden = embeddings(20)
    whole = cached(hidden, [0] * 20, range(20))
    assert torch.equal(cached(hidden, [0] * 20, range(20), [19, 3, 3]), whole[[19, 3, 3]])
    assert len(cached(hidden, [0] * 20, range(20), [])) == 0


# Close to float32


@pytest.mark.parametrize("config", [TINY, ODD, NARROW, WIDE, ODDER], ids=["tiny", "odd", "narrow", "wide", "odder"])
def test_close_to_float32(config: GptConfig) -> None:
    assert kernel.supports(config)
    gpt, hidden = random_gpt(config), embeddings(POSITIONS, config)
    cached = Cached(config, Int8Gpt(gpt))
    found = cached(hidden, [0] * POSITIONS, range(POSITIONS))
    assert error(found, exact(gpt, hidden)) < 0.02
    latents, logits = found.split([config.model_dim, config.num_audio_tokens], dim=1)
    assert error(logits, gpt.code_head(latents)) < 1e-6


@torch.inference_mode()
def test_nano_stays_close() -> None:
    gpt = load(Path("models/nano"), torch.device("cpu"), "fp32").gpt
    hidden = torch.cat(
        [
            embeddings(32, gpt.config),
            gpt.text_embedding.weight[:20] + gpt.text_positions.weight[:20],
            gpt.code_embedding.weight[:48] + gpt.code_positions.weight[:48],
        ]
    )
    found = Cached(gpt.config, Int8Gpt(gpt))(hidden, [0] * 100, range(100), range(52, 100))
    assert error(found, exact(gpt, hidden)[52:]) < 0.05


# What comes in


def test_zeros(cached: Cached) -> None:
    hidden = embeddings(3)
    hidden[1] = 0
    expected = exact(random_gpt(ODD), hidden)
    assert error(cached(hidden, [0] * 3, range(3)), expected) < 0.02


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_stays_with_its_row(cached: Cached, number: float) -> None:
    hidden = embeddings(4)
    expected = cached(hidden, range(4), [0] * 4)
    hidden[2, 100] = number
    found = cached(hidden, range(4), [0] * 4)
    assert not found[2].isfinite().any()
    assert torch.equal(found[[0, 1, 3]], expected[[0, 1, 3]])
    # A sequence that such a row is part of is lost, a slot is not.
    assert not cached(embeddings(1), [2], [1]).isfinite().any()
    assert torch.equal(cached(embeddings(4), range(4), [0] * 4), expected)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"hidden": torch.zeros(2, 64)}, r"hidden must be \(2, 192\)"),
        ({"hidden": torch.zeros(2, 192, dtype=torch.float16)}, "not .* float16"),
        ({"slots": [0, 5]}, "slot 0 to 5: must lie between 0 and 4"),
        ({"slots": [-1, 0]}, "slot -1 to 0"),
        ({"slots": [1, 1]}, "a place of its own"),
        ({"positions": [3, 100]}, "position 3 to 100"),
        ({"positions": [3]}, "2 rows at 1 positions"),
        ({"wanted": [2]}, "wanted row 2 to 2"),
        ({"keys": torch.zeros(3, 5, 3, 100, 64)}, "keys must be .* not .* float32"),
        ({"values": torch.zeros(3, 5, 3, 90, 64, dtype=torch.float16)}, "values must be"),
        ({"values": torch.zeros(3, 5, 3, 64, 100, dtype=torch.float16).mT}, "with strides"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(int8: Int8Gpt, changed: dict[str, object], words: str) -> None:
    cache = torch.zeros(3, 5, 3, 100, 64, dtype=torch.float16)
    fitting = {"hidden": torch.zeros(2, 192), "slots": [0, 1], "positions": [3, 3], "wanted": [0]}
    with pytest.raises(ValueError, match=words):
        int8.forward(**({"keys": cache, "values": cache.clone()} | fitting | changed))  # type: ignore[arg-type]


def test_sizes_that_it_does_not_support() -> None:
    for sizes in ({"model_dim": 96}, {"model_dim": 64, "heads": 8}, {"model_dim": 32_768, "heads": 8}):
        config = msgspec.structs.replace(TINY, **sizes)
        assert not kernel.supports(config)
    with pytest.raises(ValueError, match="width 96 and 2 heads"):
        Int8Gpt(Gpt(msgspec.structs.replace(TINY, model_dim=96)))


def test_without_the_compiled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installation without a compiler is left with."""
    monkeypatch.setattr(kernel, "find_spec", lambda name: None)
    monkeypatch.setattr(kernel, "_library", kernel._library.__wrapped__)
    assert not kernel.available()
    with pytest.raises(RuntimeError, match="not available"):
        Int8Gpt(random_gpt(TINY))
