"""Each step of drawing a code, alone."""

import numpy as np
import torch

from more_server.engine.guards import CODES_FLOOR, code_limit
from more_server.engine.sampling import sample
from more_server.speech import Profile, Segment


def draw(logits: list[float], draws: int = 20_000, seen: list[int] | None = None, **parameters: float) -> np.ndarray:
    profile = Profile(
        name="test", **({"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0} | parameters)
    )  # type: ignore[arg-type]
    rows = torch.tensor(logits).repeat(draws, 1)
    mask = torch.zeros_like(rows, dtype=torch.bool)
    mask[:, seen or []] = True
    noise = torch.from_numpy(np.random.default_rng(0).standard_exponential(rows.shape, dtype=np.float32))
    return np.bincount(sample(rows, mask, noise, profile).numpy(), minlength=len(logits)) / draws


def test_draws_follow_the_probabilities() -> None:
    expected = np.array([0.5, 0.3, 0.15, 0.05])
    # 20,000 draws: a standard error of at most 0.0035, five of them allowed
    np.testing.assert_allclose(draw(list(np.log(expected))), expected, atol=0.018)


def test_temperature_zero_is_the_best_code() -> None:
    assert draw([0.1, 3.0, 2.9], temperature=0.0)[1] == 1.0


def test_temperature_sharpens() -> None:
    probabilities = np.array([0.6, 0.4]) ** 2
    np.testing.assert_allclose(
        draw([np.log(0.6), np.log(0.4)], temperature=0.5), probabilities / probabilities.sum(), atol=0.018
    )


def test_top_k_keeps_the_k_best() -> None:
    frequencies = draw([0.0, 1.0, 2.0, 3.0], top_k=2)
    assert frequencies[0] == frequencies[1] == 0
    assert frequencies[2] > 0.2


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = list(np.log([0.5, 0.3, 0.15, 0.05]))
    assert np.flatnonzero(draw(logits, top_p=0.5)).tolist() == [0]
    assert np.flatnonzero(draw(logits, top_p=0.51)).tolist() == [0, 1]
    assert np.flatnonzero(draw(logits, top_p=0.81)).tolist() == [0, 1, 2]


def test_the_penalty_makes_spoken_codes_less_likely_on_both_sides_of_zero() -> None:
    plain, penalised = draw([1.0, 1.0]), draw([1.0, 1.0], seen=[0], repetition_penalty=5.0)
    assert penalised[0] < plain[0] - 0.1
    plain, penalised = draw([-1.0, -1.0]), draw([-1.0, -1.0], seen=[0], repetition_penalty=5.0)
    assert penalised[0] < plain[0] - 0.1


def test_noise_of_zero_does_not_draw_a_masked_code() -> None:
    profile = Profile(name="test", temperature=1.0, top_p=1.0, top_k=1, repetition_penalty=1.0)
    noise = torch.tensor([[0.0, 1.0, 0.0]])
    seen = torch.zeros(1, 3, dtype=torch.bool)
    assert sample(torch.tensor([[0.0, 5.0, 1.0]]), seen, noise, profile).tolist() == [1]


def test_a_row_does_not_see_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 40, generator=generator)
    noise = torch.empty(8, 40).exponential_(generator=generator)
    seen = torch.rand(8, 40, generator=generator) < 0.2
    profile = Profile(name="test", temperature=0.8, top_p=0.9, top_k=10)
    together = sample(logits, seen, noise, profile)
    alone = torch.cat([sample(logits[i : i + 1], seen[i : i + 1], noise[i : i + 1], profile) for i in range(8)])
    assert torch.equal(together, alone)


def test_code_limits() -> None:
    short, long = Segment("Hi.", (3, 4, 5, 6)), Segment("a" * 500, tuple(range(500)))
    assert CODES_FLOOR < code_limit(short, 600) < 60
    assert code_limit(long, 600) == 600
    # "你好吗" romanises to nine tokens: bounded by those, not by three characters
    assert code_limit(Segment("你好吗", tuple(range(10))), 600) == CODES_FLOOR + 60
