"""Speech on one note: the note is the one asked for, and the words, the level and the length stay."""

import numpy as np
import pytest
from more_train.evaluate.content import cepstra, distance
from more_train.nano.monotone import HOP, Sound, nearest_period

from more_server.audio.read import resample
from more_server.speech import Audio, Samples
from tests.espeak import SAMPLE_RATE, espeak

RATE = 24_000
SENTENCES = ("the kitchen window is open", "my brother works in an office", "nobody knew why the music stopped")


def spoken(text: str, voice: str = "en-us+m3") -> Samples:
    return resample(espeak().say(text, voice), SAMPLE_RATE, RATE)


@pytest.mark.parametrize(("voice", "own"), [("en-us+m3", 100), ("en-us+f2", 190)])
@pytest.mark.parametrize("period", [HOP, 2 * HOP])
def test_the_note_is_the_one_asked_for(voice: str, own: float, period: int):
    sound = Sound(spoken(SENTENCES[0], voice), RATE)
    assert sound.pitch() == pytest.approx(own, rel=0.06)
    assert Sound(sound.on(period, 1), RATE).pitch() == pytest.approx(RATE / period, rel=0.02)


def test_every_other_pulse_weaker_is_the_same_note():
    pulses = np.zeros(RATE, np.float32)
    pulses[::128], pulses[::256] = 0.5, 0.45
    assert Sound(pulses, RATE).pitch() == pytest.approx(187.5)


def test_pulses_stand_where_frames_begin():
    """What the decoder can learn: each frame of a steady vowel is the same."""
    time = np.arange(RATE) / RATE
    vowel = sum(np.sin(2 * np.pi * 103 * k * time) / k for k in range(1, 30)).astype(np.float32) * 0.1
    made = Sound(vowel, RATE).on(2 * HOP, 1)[4096:-4096]
    frames = made[: len(made) // (2 * HOP) * 2 * HOP].reshape(-1, 2 * HOP)
    mean = frames.mean(axis=0)
    assert np.square(frames - mean).mean() < 0.15 * np.square(mean).mean()


def test_words_level_and_length_stay():
    clips = [spoken(sentence) for sentence in SENTENCES]
    made = [Sound(clip, RATE).on(2 * HOP, 1) for clip in clips]
    known = [cepstra(Audio(clip, RATE)) for clip in clips]
    for number, one in enumerate(made):
        assert len(one) == len(clips[number])
        level, own = (np.sqrt(np.mean(np.square(samples))) for samples in (one, clips[number]))
        assert level == pytest.approx(own, rel=0.12)
        heard = cepstra(Audio(one, RATE))
        assert int(np.argmin([distance(heard, reading) for reading in known])) == number


def test_the_same_seed_makes_the_same_sound():
    sound = Sound(spoken(SENTENCES[1]), RATE)
    assert np.array_equal(sound.on(HOP, 4), sound.on(HOP, 4))
    assert not np.array_equal(sound.on(HOP, 4), sound.on(HOP, 5))


@pytest.mark.parametrize("length", [1, 100, 5000])
def test_silence_stays_silence(length: int):
    sound = Sound(np.zeros(length, np.float32), RATE)
    assert sound.pitch() == 0
    made = sound.on(HOP, 1)
    assert len(made) == length
    assert np.abs(made).max() < 1e-6


def test_a_voice_gets_the_nearer_note():
    low, high = (Sound(spoken(SENTENCES[0], voice), RATE) for voice in ("en-us+m3", "en-us+f2"))
    silent = Sound(np.zeros(5000, np.float32), RATE)
    assert nearest_period([low, silent], RATE, 256) == 256
    assert nearest_period([high, high, low], RATE, 256) == 128
    assert nearest_period([silent], RATE, 256) == 256
