"""Figures of sentences whose faults are known."""

import itertools

import numpy as np
import pytest
from more_train.evaluate.content import cepstra, distance
from more_train.evaluate.exam import Exam, Wanted, from_sentences, spread
from more_train.evaluate.judge import figures, measured, others, spread_of, wilson
from more_train.evaluate.report import Sentence, Spread
from more_train.evaluate.sentences import ENGLISH
from more_train.evaluate.verdicts import sign_test

from more_server.settings import Settings
from more_server.speech import EMPTY, Audio
from tests.train.evaluate.material import reading, said, spoken

VOICES = (np.array([1.0, 0.0]), np.array([0.0, 1.0]))


@pytest.fixture(scope="module")
def exam() -> Exam:
    return from_sentences(Settings(), None, Wanted(count=12))


def judged(exam: Exam, *ones: object) -> tuple[Sentence, ...]:
    return measured(exam, spoken(*ones), None, lambda done: None)


def test_a_perfect_speaker_is_found_and_told_so(exam: Exam) -> None:
    """The woman's reading, slower and quieter than the man's that it is listened to beside."""
    ones = []
    for number, trial in enumerate(exam.trials):
        audio = reading(trial.text, 1)
        silence = np.zeros(audio.sample_rate // 4, np.float32)
        audio = Audio(np.concatenate([silence, 0.3 * audio.samples, silence]), audio.sample_rate)
        ones.append(said(trial, audio, voice=VOICES[number % 2], speech=VOICES[number % 2]))
    found = figures(judged(exam, *ones), spoken(*ones))
    assert (found.found, found.accuracy, found.stopped, found.failed, found.silent) == (12, 1.0, 1.0, 0, 0)
    assert found.chance == 0.1
    assert found.accuracy_low == pytest.approx(0.757, abs=0.01)
    assert found.margin
    assert found.margin.low > 0.3
    assert found.duration_ratio
    assert found.duration_ratio.median == pytest.approx(1, abs=0.1)
    assert found.codes_per_character
    assert found.reference_codes_per_character
    assert found.codes_per_character.median == pytest.approx(found.reference_codes_per_character.median, rel=0.1)
    assert found.codes_per_character.median == pytest.approx(1.2, abs=0.3)
    assert found.voices_told_apart == found.steady_timbre == 1.0
    assert found.clipped == 0


def test_words_that_were_not_asked_for_are_not_found(exam: Exam) -> None:
    ones = [
        said(trial, reading(other.text))
        for trial, other in zip(exam.trials, (*exam.trials[1:], exam.trials[0]), strict=True)
    ]
    sentences = judged(exam, *ones)
    assert sum(one.found for one in sentences) <= 1
    assert all(one.margin < 0 for one in sentences if not one.found)


def test_faults_are_counted_and_none_is_fatal(exam: Exam) -> None:
    good = [said(trial, reading(trial.text)) for trial in exam.trials]
    loud = Audio(np.clip(40 * good[3].audio.samples, -1, 1), 24_000)
    good[0] = said(exam.trials[0], Audio(EMPTY, 24_000), failure="no letter and no digit")
    good[1] = said(exam.trials[1], Audio(np.zeros(24_000, np.float32), 24_000), guards=("limit",))
    good[2] = said(exam.trials[2], Audio(EMPTY, 24_000))
    good[3] = said(exam.trials[3], loud, guards=("trimmed",))
    good[4] = said(exam.trials[4], good[4].audio, guards=("loop", "retry", "loop", "retry"))
    sentences = judged(exam, *good)
    found = figures(sentences, spoken(*good))
    assert (found.sentences, found.spoken, found.failed, found.silent) == (12, 11, 1, 2)
    assert found.found >= 8
    assert found.stopped == pytest.approx(9 / 12, abs=1e-3)  # trimmed silence is no fault of the ending
    assert found.guards == {"limit": 1, "loop": 1, "retry": 1, "trimmed": 1}
    assert found.clipped == pytest.approx(1 / 11, abs=1e-3)
    assert sentences[3].clipped > 0.01
    assert (sentences[0].failure, sentences[0].rank) == ("no letter and no digit", 0)
    assert sentences[1].silent
    assert sentences[2].silent


def test_nobody_spoke_at_all(exam: Exam) -> None:
    ones = [said(trial, Audio(EMPTY, 24_000), failure="broken") for trial in exam.trials]
    found = figures(judged(exam, *ones), spoken(*ones))
    assert (found.failed, found.accuracy, found.stopped, found.real_time_factor) == (12, 0, 0, 0)
    assert found.duration_ratio is found.similarity is found.margin is None


def test_a_timbre_that_changes_is_seen(exam: Exam) -> None:
    ones = [said(trial, reading(trial.text, number < 5)) for number, trial in enumerate(exam.trials)]
    found = figures(judged(exam, *ones), spoken(*ones))
    # The voices take turns: of six sentences each, the woman reads three of linden's and two of rowan's.
    assert found.readers == {"linden": {"f2": 3, "m3": 3}, "rowan": {"m3": 4, "f2": 2}}
    assert found.steady_timbre == pytest.approx(7 / 12, abs=1e-3)
    assert found.accuracy == 1


def test_each_stands_among_nine_of_like_length(exam: Exam) -> None:
    for own, among in enumerate(others(exam.trials)):
        assert len(among) == len(set(among)) == 9
        assert own not in among
        left = [one for one in range(12) if one not in among and one != own]
        lengths = [abs(trial.frames - exam.trials[own].frames) for trial in exam.trials]
        assert max(lengths[one] for one in among) <= min(lengths[one] for one in left)


def test_level_and_silence_do_not_count_as_content() -> None:
    audio = reading(ENGLISH[0])
    quiet = Audio(np.concatenate([np.zeros(9000, np.float32), 0.02 * audio.samples]), audio.sample_rate)
    one, other = cepstra(audio), cepstra(quiet)
    assert one is not None
    assert other is not None
    assert distance(one, other) < 0.1
    for nothing in (EMPTY, np.zeros(24_000, np.float32), np.full(100, 0.5, np.float32)):
        assert cepstra(Audio(nothing, 24_000)) is None


def test_readings_are_the_same_whatever_was_read_before() -> None:
    again = from_sentences(Settings(), None, Wanted(count=2))
    reading(ENGLISH[0])
    for one, other in zip(again.trials, from_sentences(Settings(), None, Wanted(count=2)).trials, strict=True):
        assert np.array_equal(one.reference.samples, other.reference.samples)
        assert all(np.array_equal(one.readings[reader], other.readings[reader]) for reader in ("m3", "f2"))


def test_intervals_and_signs() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == pytest.approx(1)
    assert wilson(0, 0) == (0, 1)
    assert sign_test(0, 0) == sign_test(3, 3) == 1
    assert sign_test(0, 6) == sign_test(6, 0) == 2 / 64
    assert spread_of([]) is spread_of([None]) is None
    assert spread_of([1.0, None, 3.0]) == Spread(1.1, 2.0, 2.9)
    assert spread(range(10), 4) == [0, 2, 5, 7]
    assert spread([1, 2], 4) == [1, 2]


def test_sentences_are_fit_to_be_told_apart() -> None:
    assert len({text.casefold() for text in ENGLISH}) == len(ENGLISH) == 100
    words = [set(text.lower().split()) for text in ENGLISH]
    assert all(len(one & other) < 0.7 * len(one | other) for one, other in itertools.combinations(words, 2))
