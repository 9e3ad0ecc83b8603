"""What the decoder begins with: mels in their main directions, and the way there from latents."""

import torch
from more_train.nano.features import FRAMES_PER_CODE, MELS
from more_train.nano.packing import pack
from more_train.nano.pool import Spectra
from more_train.nano.serving import xtts_config
from torch import nn
from torch.nn import functional as F

from tests.train.nano.material import settings, spoken

CONFIG = xtts_config(settings())
WIDTH = CONFIG.gpt.model_dim


class Shelf:
    """Clips that lie near a plane of two directions."""

    def __init__(self) -> None:
        self.shards = [range(12)]
        draw = torch.Generator().manual_seed(4)
        self._plane = torch.randn(2, MELS, FRAMES_PER_CODE, generator=draw)

    def spoken(self, _shard: int, clip: int, reference: int):
        one = spoken(4, 10 + clip, reference=reference, seed=clip)
        draw = torch.Generator().manual_seed(clip)
        places = torch.randn(len(one.codes), 2, generator=draw)
        sound = torch.einsum("np,pmf->mnf", places, self._plane).reshape(MELS, -1)
        one.mels.copy_(sound + 0.05 * torch.randn(sound.shape, generator=draw) + 1)
        return one


def measured() -> tuple[Spectra, Shelf]:
    shelf = Shelf()
    return Spectra.measured(shelf, shelf, CONFIG), shelf


def test_they_are_as_wide_as_latents_and_vary_by_one():
    spectra, shelf = measured()
    clips = [shelf.spoken(0, clip, 0) for clip in range(12)]
    batch = pack(clips, torch.zeros(1, 1, 1), CONFIG.gpt, 1.0)
    found = torch.cat([row[: len(clip.codes)] for row, clip in zip(spectra.latents(batch), clips, strict=True)])
    assert found.shape[1] == WIDTH
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(WIDTH), atol=1e-3, rtol=0)
    # Two directions before each code and two at it; all else is the noise, which is not blown up to ones.
    spread = found.std(dim=0)
    torch.testing.assert_close(spread[-4:], torch.ones(4), atol=0.02, rtol=0)
    assert spread[:-5].max() < 1.1


def test_a_folded_convolution_hears_the_same_in_latents():
    spectra, _ = measured()
    torch.manual_seed(1)
    first, told = nn.Conv1d(WIDTH, 6, 7, padding=3), nn.Linear(WIDTH, 2 * FRAMES_PER_CODE * MELS)
    latents = torch.randn(1, 20, WIDTH)
    folded = spectra.folded(dict(first.named_parameters()), told)
    with torch.no_grad():
        true = first(spectra.of(told(latents)).transpose(1, 2))
        heard = F.conv1d(latents.transpose(1, 2), folded["weight"], folded["bias"], padding=3)
    torch.testing.assert_close(heard[..., 3:-3], true[..., 3:-3], atol=1e-3, rtol=1e-3)
