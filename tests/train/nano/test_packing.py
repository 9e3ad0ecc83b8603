"""Sequences without a gap, and where in the text each code looks."""

import pytest
import torch
from more_train.nano.packing import UNCOUNTED, pack, perturb, places
from more_train.nano.serving import xtts_config
from more_train.nano.speech import CODE_SAMPLES, Word
from msgspec.structs import replace

from more_server.xtts.layout import CONDITIONING_LATENTS
from tests.train.nano.material import settings, spoken

CONFIG = xtts_config(settings()).gpt
"""Of 32 codes."""


def batch_of(*sizes: tuple[int, int]):
    clips = [spoken(text, codes, seed=number) for number, (text, codes) in enumerate(sizes)]
    return pack(clips, torch.zeros(1, 80, 10), CONFIG, 2.0), clips


def test_nothing_stands_between_text_and_codes():
    batch, clips = batch_of((6, 9), (12, 4))
    width, first_code = batch.text.shape[1], CONDITIONING_LATENTS + batch.text.shape[1]
    for row, clip in enumerate(clips):
        length = CONDITIONING_LATENTS + len(clip.tokens) + 2 + len(clip.codes) + 1
        order = batch.order[row, :length].tolist()
        text = [CONDITIONING_LATENTS + place for place in range(len(clip.tokens) + 2)]
        codes = [first_code + place for place in range(len(clip.codes) + 1)]
        assert order == [*range(CONDITIONING_LATENTS), *text, *codes]
        assert batch.code_places[row, : len(clip.codes) + 1].tolist() == list(range(length - len(codes), length))
    assert width == 14
    assert batch.order.shape[1] == max(32 + 8 + 10, 32 + 14 + 5)


def test_targets_are_the_next_ones_and_stop():
    batch, clips = batch_of((6, 9), (12, 4))
    for row, clip in enumerate(clips):
        count = len(clip.codes)
        assert batch.codes[row, : count + 1].tolist() == [CONFIG.start_audio_token, *clip.codes.tolist()]
        assert batch.code_targets[row, : count + 1].tolist() == [*clip.codes.tolist(), CONFIG.stop_audio_token]
        assert (batch.code_targets[row, count + 1 :] == UNCOUNTED).all()
        text = [CONFIG.start_text_token, *clip.tokens, CONFIG.stop_text_token]
        assert batch.text[row, : len(text)].tolist() == text
        assert batch.text_targets[row, : len(text)].tolist() == [*text[1:], UNCOUNTED]


def test_mels_stand_beside_the_codes_that_they_sound_like():
    batch, (clip, _) = batch_of((6, 9), (12, 4))
    groups = clip.mels.view(80, 9, 4)
    for place in range(9):
        frames = groups[:, place].t().flatten()
        assert torch.equal(batch.mels[0, place, 1], frames)
        assert torch.equal(batch.mels[0, place + 1, 0], frames)
    assert batch.heard[0].tolist() == [[0, 1], *[[1, 1]] * 8, [1, 0]]
    assert batch.heard[1, 5:].sum() == 0


def test_places_go_through_each_word_in_its_time():
    # "ab cde": ab until code 4, cde until code 10; a word's time covers the space behind it.
    words = [Word(0, 2, 0), Word(3, 3, 4 * CODE_SAMPLES)]
    looks = places(words, 6, 10, 0.5)
    middle = looks.float().mean(dim=1)
    assert middle[:4].tolist() == pytest.approx([0.375, 1.125, 1.875, 2.625], abs=0.51)
    assert middle[4:].tolist() == pytest.approx([3.25, 3.75, 4.25, 4.75, 5.25, 5.75], abs=0.76)
    assert (middle[1:] >= middle[:-1]).all()


def test_silence_before_the_first_word_looks_at_its_beginning_and_the_end_at_the_last():
    words = [Word(2, 3, 3 * CODE_SAMPLES), Word(6, 2, 5 * CODE_SAMPLES)]
    looks = places(words, 8, 9, 1.0)
    assert looks[:3].tolist() == [[1, 3]] * 3
    assert looks[-1].tolist()[1] == 7
    assert looks.min() >= 0
    assert looks.max() <= 7


def test_looks_count_from_the_sequence_and_only_for_codes_that_are_there():
    batch, clips = batch_of((6, 9), (12, 4))
    first = CONDITIONING_LATENTS + 2  # behind START and the language
    for row, clip in enumerate(clips):
        looks = batch.looks[row, : len(clip.codes) + 1]
        assert looks.min() >= first
        assert looks.max() <= first + len(clip.tokens) - 2
        assert (batch.looks[row, len(clip.codes) + 1 :] == -1).all()


def test_past_codes_are_replaced_by_others_and_nothing_else_is():
    batch, _ = batch_of(*[(6, 60)] * 12)
    draw = torch.Generator().manual_seed(3)
    changed = perturb(batch, 1.0, 0.5, 32, lambda *shape: torch.rand(shape, generator=draw))
    differs = changed.codes != batch.codes
    assert 0.15 < differs[:, 1:61].float().mean() < 0.3  # a quarter on average, one in 32 by the same code
    assert not differs[:, 0].any()
    assert changed.codes.max() == CONFIG.start_audio_token
    assert torch.equal(changed.code_targets, batch.code_targets)


def test_clips_that_are_left_alone_are_whole():
    batch, _ = batch_of(*[(6, 60)] * 40)
    draw = torch.Generator().manual_seed(4)
    changed = perturb(batch, 0.5, 0.4, 32, lambda *shape: torch.rand(shape, generator=draw))
    whole = (changed.codes == batch.codes).all(dim=1).float().mean()
    assert 0.25 < whole < 0.75
    none = perturb(batch, 0.0, 0.4, 32, lambda *shape: torch.rand(shape, generator=draw))
    assert torch.equal(none.codes, batch.codes)


def test_the_settings_make_the_sequences_fit_the_cache():
    config = xtts_config(settings(gpt=replace(settings().gpt, max_codes=64))).gpt
    batch = pack([spoken(6, 60)], torch.zeros(1, 80, 10), config, 2.0)
    assert batch.codes.shape[1] <= config.max_mel_tokens + 3
