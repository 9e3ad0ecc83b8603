"""Codes and voices: a codebook that is used, smooth spectra, speakers told apart."""

import torch
from more_train.dvae import Dvae as Serving
from more_train.nano.dvae import encode, make_dvae, smoothing
from more_train.nano.serving import xtts_config
from more_train.nano.speaker import contrast
from torch.nn import functional as F

from tests.train.nano.material import settings


def test_smoothing_keeps_formants_and_drops_harmonics():
    matrix = smoothing(80, 24)
    place = torch.arange(80) / 80
    formants, harmonics = torch.cos(6 * torch.pi * place), torch.cos(60 * torch.pi * place)
    torch.testing.assert_close(matrix @ matrix, matrix, atol=1e-5, rtol=1e-4)
    assert float((matrix @ formants - formants).norm() / formants.norm()) < 0.1
    assert float((matrix @ harmonics).norm() / harmonics.norm()) < 0.3
    torch.testing.assert_close(smoothing(80, 80), torch.eye(80), atol=1e-5, rtol=0)


def test_fine_tuning_reads_the_same_codes():
    """more_train.dvae runs the encoder from the file alone; coqui's module made these."""
    nano = settings()
    torch.manual_seed(4)
    dvae, config, stats = make_dvae(nano.dvae), xtts_config(nano), torch.full((80,), 7.0)
    serving = Serving(config, dict(dvae.state_dict()), stats, torch.device("cpu"))
    samples = 0.1 * torch.randn(1024 * 20)
    with torch.no_grad():
        ours = encode(dvae, serving.mel(samples)[:, :, :80])[0]
    assert torch.equal(torch.from_numpy(serving.encode(samples.numpy())).long(), ours)


def test_a_clip_wins_when_it_is_nearest_to_its_own_speaker():
    centres = torch.eye(6)
    clips = F.normalize(centres[:, None] + 0.05 * torch.randn(6, 3, 6), dim=-1)
    loss, right = contrast(clips, 15.0, 0.1)
    assert float(right) == 1
    assert float(loss) < 0.1
    mixed, chance = contrast(F.normalize(torch.randn(6, 3, 6), dim=-1), 15.0, 0.1)
    assert float(chance) < 0.7
    assert float(mixed) > 1


def test_a_clip_is_not_compared_with_itself():
    """The first speaker's clips are nearer to the second's than to each other; a mean that held them would hide it."""
    clips = torch.tensor([[[0.95, 0.3122, 0], [0, 0.6, 0.8]], [[0, 1.0, 0], [0, 1.0, 0]]])
    _, right = contrast(clips, 10.0, 0.0)
    assert float(right) == 0.5
