"""The schedule, which parameters decay, the running average, and going on with the same bits."""

import math
from itertools import pairwise

import pytest
import torch
from more_train.muon import Muon, orthogonal
from more_train.optimise import Diverged, Matrices, Optimisation, Optimiser, groups, schedule
from torch import nn

from more_server.errors import ModelError


def settings(**changes: float) -> Optimisation:
    return Optimisation(**{"learning_rate": 0.1, "total_steps": 100, "warmup_steps": 10, **changes})


def module() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 3), nn.Conv1d(1, 2, 3))


def backward(model: nn.Module, step: int) -> None:
    model.zero_grad()
    places = torch.randint(0, 7, (5,), generator=torch.Generator().manual_seed(step))
    hidden = model[2](model[1](model[0](places)))
    (model[3](hidden[:, None]).square().mean() + hidden.mean()).backward()


def test_the_rate_climbs_a_line_and_comes_down_a_cosine():
    rates = [schedule(step, settings()) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert rates[9] < rates[10] == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert all(one > other for one, other in pairwise(rates[10:]))


def test_only_matrices_decay():
    model = module()
    decayed, kept = groups(model, 0.01)
    assert {id(value) for value in decayed["params"]} == {id(model[2].weight), id(model[3].weight)}
    assert len(kept["params"]) == 5
    assert kept["weight_decay"] == 0
    weighted = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    assert [value.shape for value in groups(weighted, 0.01)[0]["params"]] == [(3, 4)]


def test_frozen_parameters_stay():
    model = module()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    optimiser = Optimiser(model, settings())
    backward(model, 0)
    optimiser.step()
    assert torch.equal(model[0].weight, before)


def test_gradients_are_clipped():
    model = module()
    optimiser = Optimiser(model, settings(clip=0.01))
    backward(model, 0)
    for value in model.parameters():
        value.grad.mul_(1000)
    gradients = [value.grad for value in model.parameters()]
    update = optimiser.step()
    assert update.norm > 1
    assert math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)) == pytest.approx(0.01, rel=1e-3)
    assert all(value.grad is None for value in model.parameters())


def test_the_average_follows_and_is_lent():
    model = module()
    optimiser = Optimiser(model, settings(average=0.9))
    for step in range(20):
        backward(model, step)
        optimiser.step()
    own = model[2].weight.detach().clone()
    average = optimiser.parts()["ema"]["2.weight"].clone()
    assert not torch.equal(own, average)
    with optimiser.averaged():
        assert torch.equal(model[2].weight, average)
    assert torch.equal(model[2].weight, own)


def test_without_an_average_the_weights_are_kept():
    model = module()
    optimiser = Optimiser(model, settings(average=0.0))
    backward(model, 0)
    optimiser.step()
    with optimiser.averaged():
        assert torch.equal(optimiser.parts()["ema"]["2.weight"], optimiser.parts()["weights"]["2.weight"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_changes_nothing(bad: float):
    model = module()
    optimiser = Optimiser(model, settings())
    before = {name: value.clone() for name, value in optimiser.parts()["optimiser"].items()}
    backward(model, 0)
    model[2].weight.grad[0, 0] = bad
    with pytest.raises(Diverged, match="step 1"):
        optimiser.step()
    assert optimiser.steps == 0
    assert all(torch.equal(value, before[name]) for name, value in optimiser.parts()["optimiser"].items())


@pytest.mark.parametrize("matrices", [None, Matrices(("2.", "3."), 0.02)])
def test_going_on_gives_the_same_bits(matrices: Matrices | None):
    straight = Optimiser(module(), settings(), matrices)
    for step in range(8):
        backward(straight.module, step)
        straight.step()
        if step == 4:
            kept = {
                part: {name: value.clone() for name, value in some.items()} for part, some in straight.parts().items()
            }
    resumed = Optimiser(module(), settings(), matrices)
    resumed.load(kept)
    for step in range(5, 8):
        backward(resumed.module, step)
        resumed.step()
    for part, tensors in straight.parts().items():
        for name, value in tensors.items():
            assert torch.equal(value, resumed.parts()[part][name]), (part, name)


def test_muon_moves_the_matrices_that_are_named_and_nothing_else():
    model = module()
    optimiser = Optimiser(model, settings(), Matrices(("2.", "3."), 0.02))
    kinds: dict[str, set[str]] = {}
    for name in optimiser.parts()["optimiser"]:
        parameter, _, kind = name.rpartition(".")
        kinds.setdefault(parameter, set()).add(kind)
    adam = {"exp_avg", "exp_avg_sq"}
    biases = {"0.weight": adam, "1.weight": adam, "1.bias": adam, "2.bias": adam, "3.bias": adam}
    # A convolution's weight has three dimensions.
    assert kinds == {"": {"steps"}, "2.weight": {"momentum"}, "3.weight": adam, **biases}


def test_orthogonal_steps_go_everywhere_alike():
    gradient = torch.randn(12, 30) @ torch.diag(torch.logspace(-2, 2, 30))
    for one in (gradient, gradient.T):
        values = torch.linalg.svdvals(orthogonal(one))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


@pytest.mark.parametrize("shape", [(6, 15), (15, 6)])
def test_it_is_torchs_muon(shape: tuple[int, int]):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    own, other = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    steps = Muon([own], 0.1, 0.01), torch.optim.Muon([other], lr=0.1, weight_decay=0.01, momentum=0.95, nesterov=True)
    for step in range(4):
        gradient = torch.randn(shape, generator=torch.Generator().manual_seed(10 + step))
        own.grad, other.grad = gradient.clone(), gradient.clone()
        for optimiser in steps:
            optimiser.step()
    moved = (other - start).norm()
    assert moved > 0.3
    # torch's computes in bfloat16.
    assert (own - other).norm() < 0.02 * moved


def test_another_modules_checkpoint_is_refused():
    parts = Optimiser(nn.Linear(3, 3), settings()).parts()
    with pytest.raises(ModelError, match="does not fit"):
        Optimiser(module(), settings()).load(parts)
