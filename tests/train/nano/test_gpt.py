"""What is trained is what serves, and its extra losses point where they should."""

import pytest
import torch
from more_train.nano.gpt import Speaking, at_codes
from more_train.nano.packing import pack
from more_train.nano.serving import xtts_config
from more_train.optimise import Optimisation, Optimiser
from msgspec.structs import replace

from more_server.xtts.load import build
from more_server.xtts.passes import RowPasses
from tests.train.nano.material import settings, spoken

NANO = settings()
CONFIG = xtts_config(NANO)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def speaking(seed: int = 1) -> Speaking:
    torch.manual_seed(seed)
    return Speaking(build(CONFIG), NANO)


def references(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 80, 24, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_latents_and_logits_are_those_of_the_server():
    module = speaking()
    clips = [spoken(6, 9, seed=1), spoken(12, 5, seed=2)]
    batch = pack(clips, references(), CONFIG.gpt, 2.0)
    conditioning = module.condition(batch.references)
    trained = at_codes(module.run(batch, conditioning)[0], batch)
    for row, clip in enumerate(clips):
        passes = RowPasses(module.gpt, 1, together=False)
        prompt = module.gpt.prompt(conditioning[0], clip.tokens)
        latents = [passes.prefill([prompt], [0], [conditioning[0]])[0][0]]
        for place, code in enumerate(clip.codes, 1):
            positions = torch.tensor([len(prompt) + place - 1])
            step = passes.step(code[None], torch.tensor([place]), torch.tensor([0]), positions, (1, passes.positions))
            latents.append(step[0][0])
        torch.testing.assert_close(trained[row, : len(latents)], torch.stack(latents), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_clip_is_the_same_beside_a_longer_one():
    module = speaking()
    short, long = spoken(6, 9, seed=1), spoken(20, 40, seed=2)
    conditioning = module.condition(references())
    alone, beside = (pack(clips, references(), CONFIG.gpt, 2.0) for clips in ([short], [short, long]))
    one, other = (at_codes(module.run(batch, conditioning)[0], batch)[0, :10] for batch in (alone, beside))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_losses_are_where_chance_puts_them():
    module = speaking()
    batch = pack([spoken(8, 20, seed=seed) for seed in range(4)], references(), CONFIG.gpt, 2.0)
    with torch.no_grad():
        losses = module(batch, torch.nn.functional.normalize(torch.ones(1, NANO.speaker.width), dim=1))
    assert losses.codes.item() == pytest.approx(3.5, abs=0.3)  # log of 34 audio tokens
    assert 0.6 < losses.mel.item() < 1.2  # the mean size of a standard normal number is 0.8
    # Of about 55 places seen, 3 to 5 are looked at.
    assert 1.5 < losses.guided.item() < 3.5


def test_the_guided_head_learns_to_look_and_only_it_is_told():
    module = speaking()
    batch = pack([spoken(16, 20, seed=seed) for seed in range(4)], references(), CONFIG.gpt, 1.0)
    voices = torch.zeros(1, NANO.speaker.width)
    optimiser = Optimiser(module, Optimisation(learning_rate=3e-3, total_steps=40, average=0))
    first = None
    for _ in range(40):
        losses = module(batch, voices)
        first = first or losses.guided.item()
        torch.autograd.backward(losses.guided)
        optimiser.step()
    assert losses.guided.item() < first / 3


def test_a_few_steps_learn_a_few_clips():
    nano = settings(gpt=replace(NANO.gpt, mel=1.0))
    module = speaking()
    batch = pack([spoken(8, 12, seed=seed) for seed in range(2)], references(), CONFIG.gpt, 2.0)
    voices = torch.nn.functional.normalize(torch.randn(1, NANO.speaker.width), dim=1)
    optimiser = Optimiser(module, Optimisation(learning_rate=3e-3, total_steps=60, average=0))
    totals = []
    for _ in range(60):
        losses = module(batch, voices)
        totals.append(losses)
        torch.autograd.backward(losses.total(nano.gpt))
        optimiser.step()
    assert totals[-1].codes.item() < 0.6 * totals[0].codes.item()
    assert totals[-1].mel.item() < 0.95 * totals[0].mel.item()
    assert totals[-1].voice.item() < 0.1
