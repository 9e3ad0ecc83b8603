"""Synthetic speech: word times that match the text, and shards that are always the same."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from more_train.nano import shards
from more_train.nano.features import Speech
from more_train.nano.phrases import GRAMMARS
from more_train.nano.shards import Plans, Shard, make, name
from more_train.nano.speech import CODE_SAMPLES, HOUSE, LEVEL, SAMPLE_RATE, Clip, Espeak, Speaker, speakers

from tests.train.nano.material import settings, tokenizer

SENTENCES = {
    "en": "the kitchen window is open, and it's raining. nobody knew!",
    "de": "das schöne mädchen wohnt in köln, und der apfelbaum ist groß",
    "es": "¿dónde está la bicicleta? el niño compró pan.",
    "pt": "o coração não está em são paulo, às nove",
}


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak()


def say(espeak: Espeak, language: str, speaker: Speaker = HOUSE[0]) -> Clip:
    return espeak.say(SENTENCES[language], GRAMMARS[language].voice, speaker)


@pytest.mark.parametrize("language", SENTENCES)
def test_every_word_has_a_time_and_its_place_in_the_text(espeak: Espeak, language: str):
    text, clip = SENTENCES[language], say(espeak, language)
    assert [word.position for word in clip.words] == [found.start() for found in re.finditer(r"[^\W\d_][\w']*", text)]
    # espeak-ng counts "it's" as two characters, so a word's length is not used.
    assert all(text[word.position : word.position + word.length].isalpha() for word in clip.words)
    times = [word.sample for word in clip.words]
    assert times == sorted(times)
    assert 0 <= times[0] < 0.15 * SAMPLE_RATE
    assert times[-1] < len(clip.samples) - 0.1 * SAMPLE_RATE


def test_a_stretched_voice_says_its_words_as_much_later(espeak: Espeak):
    plain, long = say(espeak, "en"), say(espeak, "en", Speaker(variant="m3", pitch=45, range=50, rate=170, stretch=1.1))
    ratios = [b.sample / a.sample for a, b in zip(plain.words[3:], long.words[3:], strict=True)]
    assert ratios == pytest.approx([1.1] * len(ratios), abs=0.03)


def test_a_clip_is_whole_codes_with_little_silence_and_one_level(espeak: Espeak):
    for speaker in (*HOUSE, Speaker(variant="zac", pitch=60, range=50, rate=160, stretch=0.92, tilt=0.3)):
        clip = say(espeak, "en", speaker)
        assert len(clip.samples) % CODE_SAMPLES == 0
        samples = clip.samples.astype(np.float32) / 32768
        loud = np.flatnonzero(np.abs(samples) > 0.01)
        assert loud[0] < 0.06 * SAMPLE_RATE
        assert 0.05 * SAMPLE_RATE < len(samples) - loud[-1] < 0.14 * SAMPLE_RATE + CODE_SAMPLES
        assert np.sqrt(np.mean(samples[loud[0] : loud[-1]] ** 2)) == pytest.approx(LEVEL, rel=0.05)
        assert np.abs(samples).max() <= 0.96


def test_speakers_differ_and_the_bundled_ones_come_first():
    made = speakers(settings().voices, 1)
    assert tuple(made[:2]) == HOUSE
    many = speakers(settings(voices=settings().voices.__class__(speakers=150)).voices, 1)
    assert len(set(many)) == 150
    assert len({speaker.variant for speaker in many}) > 50
    assert speakers(settings().voices, 1) == made != speakers(settings().voices, 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plans]:
    folder = tmp_path_factory.mktemp("speech")
    plans = Plans(settings(), tokenizer(folder, "en", "pt"))
    wanted = {folder / name(number): partial(plans.training, number) for number in range(2)}
    assert make(wanted, plans, stop=lambda: False, told=lambda _done: None)
    return folder, plans


def test_a_shard_is_the_same_whenever_it_is_made(made: tuple[Path, Plans], tmp_path: Path):
    folder, plans = made
    # Alone, in a process that said nothing before; and the one before it is not made.
    assert make({tmp_path / name(1): partial(plans.training, 1)}, plans, stop=lambda: False, told=lambda _done: None)
    assert (tmp_path / name(1)).read_bytes() == (folder / name(1)).read_bytes()


def test_a_shard_holds_what_was_planned(made: tuple[Path, Plans]):
    folder, plans = made
    shard, lines = Shard(folder / name(0)), plans.training(0)
    assert set(map(str, shard.lines)) <= set(map(str, lines))
    assert len(shard) > 0.8 * len(lines)
    for clip in range(len(shard)):
        assert len(shard.samples(clip)) == shard.length(clip) * CODE_SAMPLES
        assert shard.length(clip) <= plans.nano.gpt.max_codes - 4
        last = shard.words[clip][-1]
        assert last.position + last.length <= len(shard.lines[clip].text)


def test_groups_are_of_one_voice_and_language_shortest_first(made: tuple[Path, Plans]):
    folder, _ = made
    speech = Speech(folder, 2)
    assert sum(len(group.clips) for group in speech.groups) == sum(map(len, speech.shards))
    for group in speech.groups:
        shard = speech.shards[group.shard]
        assert {(shard.lines[clip].speaker, shard.lines[clip].language) for clip in group.clips} == {
            (group.speaker, group.language)
        }
        lengths = [shard.length(clip) for clip in group.clips]
        assert lengths == sorted(lengths)


def test_what_is_there_is_not_made_again(made: tuple[Path, Plans], monkeypatch: pytest.MonkeyPatch):
    folder, plans = made
    monkeypatch.setattr(shards, "get_context", lambda _: None)
    told: list[int] = []
    assert make({folder / name(0): list, folder / name(1): list}, plans, stop=lambda: False, told=told.append)
    assert told == [2]


def test_making_ends_when_it_is_told_to(tmp_path: Path):
    plans = Plans(settings(), tokenizer(tmp_path, "en", "pt"))
    assert not make({tmp_path / name(0): list}, plans, stop=lambda: True, told=lambda _done: None)
    assert not (tmp_path / name(0)).exists()


def test_held_out_speech_is_of_held_out_sentences(tmp_path: Path):
    plans = Plans(settings(), tokenizer(tmp_path, "en", "pt"))
    lines = plans.held_out()
    texts = {line.text for line in lines}
    trained = {line.text for number in range(20) for line in plans.training(number)}
    assert len(texts) == len(lines)
    assert not texts & trained
    assert {line.language for line in lines} == {"en", "pt"}
    assert len({line.speaker for line in lines}) == 4
