import more_silence
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from more_silence import Settings

from more_server import PostProcessor
from more_server.text.split import _CLAUSE, _SENTENCE  # every mark that a segment can have
from tests.discovered import context

from .stages import RATE, driven, speech, stage, through

MS = RATE // 1000
LEAD, HOLD = 30 * MS, 50 * MS


def make(*marks: str, settings: Settings = Settings(), **utterance) -> PostProcessor:  # noqa: B008 - frozen
    (kind,) = more_silence.post_processors(context("more_silence", settings))
    return kind.make(stage(*marks, **utterance))


def hiss(milliseconds, level=-55, seed=0):
    """Peaks at `level` dB of full scale."""
    noise = np.random.default_rng(seed).uniform(-1, 1, milliseconds * MS)
    return (10 ** (level / 20) * noise).astype(np.float32)


def word(milliseconds=300, level=0.3):
    return (level * np.cos(2 * np.pi * 200 * np.arange(milliseconds * MS) / RATE)).astype(np.float32)


def segment(before=100, after=300, **of):
    return np.concatenate([hiss(before), word(**of), hiss(after)])


def pauses(processor, pieces):
    """Milliseconds behind the word of each segment."""
    ends = np.cumsum([len(piece) for piece in pieces])[:-1]
    out = driven(processor, np.concatenate(pieces), ends=ends)
    return [(len(piece) - np.flatnonzero(np.abs(piece) > 0.01)[-1] - 1) / MS for piece in out]


@pytest.mark.parametrize("mark", ["", *sorted(_SENTENCE | _CLAUSE)])
@pytest.mark.parametrize("after", [0, 20, 100, 250, 900])
def test_the_mark_says_how_long_the_pause_is(mark, after):
    expected = 420 if mark in _SENTENCE else 180 if mark in _CLAUSE else 60
    found = pauses(make(mark, mark, "."), [segment(after=after)] * 3)
    # Sound is judged in blocks of 5 ms.
    assert found == pytest.approx([expected, expected, 200], abs=5)


@pytest.mark.parametrize(("speed", "expected"), [(2.0, [210, 90, 50, 100]), (0.5, [840, 360, 120, 400])])
def test_pauses_follow_the_speed_but_never_cut_what_dies_away(speed, expected):
    assert pauses(make(".", ",", "", "?", speed=speed), [segment()] * 4) == pytest.approx(expected, abs=5)


def test_a_text_that_goes_on_ends_in_a_pause_between_sentences():
    assert pauses(make(",", ".", continues=True), [segment()] * 2) == pytest.approx([180, 420], abs=5)
    assert pauses(make(",", ".", continues=False), [segment()] * 2) == pytest.approx([180, 200], abs=5)


def test_pauses_are_settings():
    chosen = Settings(sentence_ms=500, clause_ms=0, other_ms=80, end_ms=1000, hold_ms=20, lead_ms=10)
    assert pauses(make(".", ",", "", "", settings=chosen), [segment()] * 4) == pytest.approx([500, 20, 80, 1000], abs=5)


@pytest.mark.parametrize("before", [0, 5, 29, 31, 100, 2000])
def test_silence_in_front_is_trimmed(before):
    out = through(make("."), segment(before=before))
    first = np.flatnonzero(np.abs(out) > 0.01)[0]
    assert first / MS == pytest.approx(min(before, 30), abs=5)
    if before <= 29:
        assert np.array_equal(out[: before * MS], hiss(before))


def test_soft_onsets_and_endings_survive():
    """A breath of 20 ms before the word and 40 ms behind it, both below the threshold."""
    onset, ending = hiss(20, -52, seed=1), hiss(40, -52, seed=2)
    samples = np.concatenate([hiss(200, -75), onset, word(), ending, hiss(200, -75)])
    kept = np.concatenate([onset, word(), ending])
    for mark in (".", ""):
        out = driven(make(mark, "."), np.concatenate([samples, samples]), ends=[len(samples)])[0]
        first = int(np.flatnonzero(np.abs(out) > 0.1)[0]) - len(onset)
        assert np.array_equal(out[first : first + len(kept)], kept)


def test_a_quiet_fricative_is_sound():
    samples = np.concatenate([hiss(300, -70), hiss(120, -42, seed=1), word(), hiss(150, -42, seed=2), hiss(300, -70)])
    spoken = samples[300 * MS : -300 * MS]
    out = through(make("."), samples)
    assert any(np.array_equal(out[start : start + len(spoken)], spoken) for start in range(LEAD + 6 * MS))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4000), st.sampled_from([0.0, 0.001, 0.002, 0.02, 0.5])), min_size=1, max_size=12),
    st.lists(st.floats(0, 1), max_size=3),
    st.lists(st.integers(0, 3000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 50),
)
def test_chunked_input_gives_the_samples_of_whole_input_and_no_sound_is_lost(stretches, places, sizes):
    random = np.random.default_rng(0)
    samples = np.concatenate([level * random.uniform(-1, 1, count) for count, level in stretches]).astype(np.float32)
    ends = sorted(int(place * len(samples)) for place in places)
    whole = driven(make(",", "", "!", "."), samples, ends=ends)
    chunked = driven(make(",", "", "!", "."), samples, sizes, ends)
    assert all(np.array_equal(*pair) for pair in zip(whole, chunked, strict=True))
    threshold = 10 ** (-50 / 20)
    for start, end, out in zip([0, *ends], [*ends, len(samples)], whole, strict=True):
        piece = samples[start:end]
        loud = np.flatnonzero(np.abs(piece) > threshold)
        if len(loud):
            sound = piece[loud[0] : loud[-1] + 1]
            first = int(np.flatnonzero(np.abs(out) > threshold)[0])
            assert np.array_equal(out[first : first + len(sound)], sound)
            assert first <= LEAD + 5 * MS


def test_sample_by_sample():
    samples = np.concatenate([segment(), segment()])
    ends = [len(samples) // 2]
    assert np.array_equal(through(make("", "."), samples, ends=ends), through(make("", "."), samples, [1], ends))


def test_pauses_inside_a_segment_stay():
    spoken = np.concatenate([word(), hiss(700), word()])
    out = through(make("."), np.concatenate([hiss(100), spoken, hiss(100)]))
    assert np.array_equal(out[LEAD : LEAD + len(spoken)], spoken)


def test_cuts_are_faded():
    out = through(make("."), np.concatenate([hiss(400, -51), word(), hiss(700, -51)]))
    lead, rest = out[:LEAD], out[LEAD + len(word()) :]
    for silence in (lead, rest[::-1]):
        assert silence[0] == pytest.approx(0, abs=1e-6)
        assert np.abs(silence[: 2 * MS]).max() < np.abs(silence[5 * MS : 20 * MS]).max()


@pytest.mark.parametrize("pause", [20, 400])
def test_a_segment_that_ends_at_full_level_ends_without_a_click(pause):
    ended = word(302, 0.5)  # cut where the wave is far from 0
    chosen = Settings(other_ms=pause, sentence_ms=pause, end_ms=pause, hold_ms=10)
    out = through(make("", settings=chosen), ended)
    assert np.array_equal(out[: len(ended)], ended)
    assert len(out) == len(ended) + pause * MS
    assert np.abs(np.diff(out)).max() <= np.abs(np.diff(ended)).max()
    assert out[-1] == 0


@pytest.mark.parametrize("size", [1, 100, 2400])
def test_sound_is_not_held_back(size):
    processor = make(".")
    samples = np.concatenate([hiss(300), word(40), hiss(600), word(40)])
    given = 0
    for start in range(0, len(samples), size):
        given += len(processor.process(samples[start : start + size]))
        # Of what is older than a block.
        heard = np.flatnonzero(np.abs(samples[: max(0, start + size - 5 * MS)]) > 0.01)
        if len(heard):
            assert given >= int(heard[-1]) + 1 - (300 * MS - LEAD)


def test_of_silence_only_what_may_be_cut_is_held_back():
    processor = make(".", ".")
    given = len(processor.process(np.concatenate([word(), hiss(300)])))
    assert given == (300 + 300) * MS
    assert len(processor.process(hiss(600))) == (420 - 300 - 5) * MS
    assert len(processor.process(word())) == (480 + 5 + 300) * MS


@pytest.mark.parametrize("count", [0, 1, 50, RATE])
def test_silence_becomes_a_pause(count):
    out = driven(make(",", "."), np.zeros(2 * count, np.float32), ends=[count])
    assert [len(piece) for piece in out] == [180 * MS, 200 * MS]
    assert not any(piece.any() for piece in out)


def test_what_was_not_ended_is_not_lost():
    processor = make(".")
    given = [processor.process(segment()), processor.finish()]
    assert np.array_equal(np.concatenate(given), through(make("."), segment()))


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
def test_every_rate_of_a_model(rate):
    spoken = speech(1, rate=rate)
    out = through(
        make(".", rate=rate), np.concatenate([np.zeros(rate, np.float32), spoken, np.zeros(rate, np.float32)])
    )
    loud = np.flatnonzero(np.abs(spoken) > 10 ** (-50 / 20))
    assert len(out) / rate == pytest.approx((loud[-1] - loud[0]) / rate + 0.03 + 0.2, abs=0.011)


def test_a_constant_is_no_silence():
    samples = np.full(RATE, 0.1, np.float32)
    out = through(make("."), samples)
    assert np.array_equal(out[:RATE], samples)
    assert len(out) == RATE + 200 * MS


@pytest.mark.parametrize(
    "values",
    [
        {"sentence_ms": -1},
        {"clause_ms": 10_001},
        {"lead_ms": 9},
        {"hold_ms": 0},
        {"threshold_dbfs": -10},
        {"threshold_dbfs": -91},
        {"pause": 1},
    ],
)
def test_settings_out_of_bounds_are_refused(values):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, Settings)
    assert msgspec.convert({"end_ms": 0}, Settings).end_ms == 0
