"""Each step of drawing a code, alone."""

import numpy as np
import torch

from more_server.engine.sampling import Draws, exponential, sample
from more_server.engine.sequence import GOLDEN, WORD, mixed

PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "stop_bias": 0.0}
STOP = -1
"""The last code."""


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def draws_for(keys: list[int], **parameters: float) -> Draws:
    values = PLAIN | parameters
    rows = {name: torch.full((len(keys),), value, dtype=torch.float32) for name, value in values.items()}
    return Draws(keys=torch.tensor([signed(key) for key in keys]), **rows | {"top_k": rows["top_k"].long()})


def draw(logits: list[float], draws: int = 20_000, seen: list[int] | None = None, **parameters: float) -> np.ndarray:
    """How often each code is drawn."""
    rows = torch.tensor(logits).repeat(draws, 1)
    mask = torch.zeros_like(rows, dtype=torch.bool)
    mask[:, seen or []] = True
    keys = [mixed(number * GOLDEN & WORD) for number in range(draws)]
    codes = sample(rows, mask, draws_for(keys, **parameters), STOP, len(logits))
    return np.bincount(codes.numpy(), minlength=len(logits)) / draws


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


def test_the_bias_moves_the_stop_code_alone() -> None:
    assert draw([1.0, 1.0, 1.0], stop_bias=-np.inf)[STOP] == 0
    frequencies = draw([1.0, 1.0, 1.0], stop_bias=2.0)
    np.testing.assert_allclose(frequencies, np.array([1, 1, np.e**2]) / (2 + np.e**2), atol=0.018)


def test_noise_is_that_of_the_exponential_distribution() -> None:
    keys = torch.tensor([signed(mixed(number)) for number in range(200)])
    noise = exponential(keys, torch.arange(1026).expand(200, -1)).double().numpy()
    assert noise.min() > 0
    # 205,200 draws: standard errors of 0.0022 and 0.0049 (mean and variance 1, fourth moment 24), five allowed
    assert abs(noise.mean() - 1) < 0.011
    assert abs(noise.var() - 1) < 0.025
    for share in (0.1, 0.5, 0.9):
        assert abs((noise < -np.log(1 - share)).mean() - share) < 0.006
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.011
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.011


def test_the_hosts_mixing_is_the_devices() -> None:
    """SplitMix64 from state 0 begins with this number; both sides agree on it."""
    assert mixed(GOLDEN) == 0xE220A8397B1DCDAF
    bits = 0xE220A8397B1DCDAF >> 41
    expected = -np.log(np.float32((bits + 0.5) / 2**23))
    assert float(exponential(torch.tensor([0]), torch.tensor([[0]]))) == np.float32(expected)


def test_a_masked_code_is_never_drawn() -> None:
    """Also where the noise is as small as it can be: 0 / noise is 0, never 0 / 0."""
    assert draw([0.0, 5.0, 1.0], top_k=1)[1] == 1.0


def test_a_row_does_not_see_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 40, generator=generator)
    seen = torch.rand(8, 40, generator=generator) < 0.2
    draws = Draws(
        keys=torch.randint(-(2**62), 2**62, (8,), generator=generator),
        temperature=torch.tensor([0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1]),
        top_k=torch.tensor([0, 1, 5, 10, 20, 30, 40, 50]).clamp(max=40),
        top_p=torch.linspace(0.5, 1.0, 8),
        repetition_penalty=torch.linspace(1.0, 5.0, 8),
        stop_bias=torch.linspace(-1.0, 1.0, 8),
    )

    def row(index: int) -> Draws:
        return Draws(**{name: value[index : index + 1] for name, value in vars(draws).items()})

    together = sample(logits, seen, draws, STOP, 40)
    alone = torch.cat([sample(logits[i : i + 1], seen[i : i + 1], row(i), STOP, 40) for i in range(8)])
    assert torch.equal(together, alone)


def test_looking_at_the_best_codes_alone_is_the_same_draw() -> None:
    """What a profile with top_k 5 draws does not depend on how many codes a neighbour's needs to look at."""
    logits = torch.randn(200, 100, generator=torch.Generator().manual_seed(1))
    seen = torch.zeros(200, 100, dtype=torch.bool)
    draws = draws_for([mixed(number) for number in range(200)], top_k=5, top_p=0.9)
    assert torch.equal(sample(logits, seen, draws, STOP, 8), sample(logits, seen, draws, STOP, 100))
