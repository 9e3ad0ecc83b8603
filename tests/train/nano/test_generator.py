"""The decoder's transposed convolutions make no tones, and the discriminators see every sample."""

import pytest
import torch
from more_train.nano.config import Discriminators as Settings
from more_train.nano.decoder import SpectralLoss
from more_train.nano.discriminators import Discriminators, features_loss, fooled_loss, judges_loss
from more_train.nano.generator import even_out, folded, make_generator, unevenness
from more_train.nano.serving import xtts_config
from msgspec.structs import replace
from torch import nn

from more_server.xtts.load import build
from tests.train.nano.material import settings

CONFIG = xtts_config(settings())


@pytest.fixture
def generator() -> nn.Module:
    torch.manual_seed(3)
    return make_generator(CONFIG)


def hum(generator: nn.Module, frames: int = 40) -> float:
    """How much the middle of a constant input's sound varies, against its size."""
    with torch.no_grad():
        latents = torch.randn(1, CONFIG.gpt.model_dim, 1).expand(-1, -1, frames)
        sound = generator(latents, g=torch.randn(1, CONFIG.decoder.cond_channels, 1))[0, 0]
    middle = sound[len(sound) // 2 - 256 : len(sound) // 2 + 256]
    return float((middle.max() - middle.min()) / middle.abs().max().clamp(min=1e-6))


def test_a_constant_input_gives_a_constant_output(generator: nn.Module):
    assert hum(generator) < 1e-3


def test_a_plain_start_hums(generator: nn.Module):
    """The test above can fail: with torch's own fresh weights it does."""
    for up in generator.ups:
        up.weight = torch.randn_like(up.weight) * 0.1
    assert hum(generator) > 0.01


def test_training_cannot_bring_the_hum_back(generator: nn.Module):
    optimiser = torch.optim.Adam(generator.parameters(), lr=1e-2)
    for _ in range(3):
        sound = generator(torch.randn(2, CONFIG.gpt.model_dim, 6), g=torch.randn(2, CONFIG.decoder.cond_channels, 1))
        torch.autograd.backward((sound - torch.rand_like(sound)).abs().mean())
        optimiser.step()
        optimiser.zero_grad()
        before = hum(generator)
        even_out(generator)
    assert before > 1e-3
    assert hum(generator) < 1e-3


def test_unevenness_is_what_the_sums_differ_by():
    weight = torch.randn(3, 2, 16)
    even = weight - unevenness(weight, 8)
    sums = even.view(3, 2, 2, 8).sum(dim=2)
    torch.testing.assert_close(sums, sums.mean(dim=-1, keepdim=True).expand_as(sums))
    torch.testing.assert_close(even.sum(), weight.sum())


def test_folded_weights_are_the_servers_and_sound_the_same(generator: nn.Module):
    served = build(CONFIG).generator
    served.load_state_dict(folded(generator))
    latents, voice = torch.randn(1, CONFIG.gpt.model_dim, 8), torch.randn(1, CONFIG.decoder.cond_channels, 1)
    with torch.no_grad():
        torch.testing.assert_close(served(latents, g=voice), generator(latents, g=voice), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [4096, 5001])
def test_discriminators_judge_audio_of_any_length(samples: int):
    chosen = replace(settings().discriminators, periods=(2, 3, 7), resolutions=((512, 128), (1024, 240)))
    judges = Discriminators(chosen)
    judged = judges(torch.randn(2, samples))
    assert len(judged) == 5
    for one in judged:
        assert one.scores.shape[0] == 2
        assert one.scores.shape[1] > 10
        assert all(value.shape[0] == 2 for value in one.inner)
    assert [len(one.inner) for one in judged] == [3, 3, 3, 5, 5]


def test_every_sample_counts():
    judges = Discriminators(settings().discriminators)
    audio = torch.randn(1, 4096, requires_grad=True)
    torch.autograd.backward(sum(one.scores.sum() for one in judges(audio)))
    assert (audio.grad != 0).float().mean() > 0.99


def test_the_losses_of_both_sides():
    torch.manual_seed(5)
    judges = Discriminators(Settings(periods=(2,), period_channels=(4, 4), resolutions=((512, 128),), channels=2))
    true, made = judges(torch.randn(2, 4096)), judges(torch.randn(2, 4096))
    assert judges_loss(true, made).item() == pytest.approx(1, abs=0.3)  # both are taken for made at first
    assert features_loss(true, true).item() == 0
    assert features_loss(true, made).item() > 0
    assert fooled_loss(made).item() > 0.5


def test_spectra_are_nearest_to_their_own():
    loss = SpectralLoss()
    true = torch.randn(2, 8192) * 0.1
    spectra, mel = loss(true, true)
    assert float(spectra) == float(mel) == 0
    assert all(float(value) > 0.2 for value in loss(torch.randn(2, 8192) * 0.1, true))
