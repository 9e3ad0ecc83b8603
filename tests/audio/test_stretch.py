import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.audio import stretch
from more_server.audio.stretch import Stretcher
from more_server.errors import BadInput

from .signals import RATE, chirp, cut, frequency, sine

TEMPOS = [0.25, 0.4, 0.5, 0.7, 0.95, 1.05, 1.2, 1.5, 2, 3, 4]


def stretched(samples, tempo, sizes=(1 << 20,), rate=RATE):
    stretcher = Stretcher(tempo, rate)
    return np.concatenate([*(stretcher.process(piece) for piece in cut(samples, list(sizes))), stretcher.finish()])


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.2, 5),
    st.integers(1, 20_000),
    st.lists(st.integers(0, 5000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 50),
)
def test_chunked_input_gives_the_samples_of_whole_input(tempo, count, sizes):
    samples = chirp(count)
    whole = stretched(samples, tempo)
    assert np.array_equal(whole, stretched(samples, tempo, sizes))
    assert len(whole) == round(count / tempo)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("tempo", TEMPOS)
@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 48_000])
def test_length_changes_and_pitch_and_level_do_not(tempo, rate):
    samples = sine(220, 1.5, rate)
    result = stretched(samples, tempo, (480,), rate)
    assert len(result) == round(len(samples) / tempo)
    assert frequency(result, rate) == pytest.approx(220, abs=2)
    assert np.sqrt(np.mean(result**2)) == pytest.approx(0.3535, rel=0.03)


@pytest.mark.parametrize("tempo", TEMPOS)
def test_words_keep_their_place_and_the_last_one_is_not_lost(tempo):
    samples = np.zeros(2 * RATE, np.float32)
    for start in (0.2, 1.0, 1.85):
        samples[round(start * RATE) : round((start + 0.15) * RATE)] = sine(330, 0.15)
    result = stretched(samples, tempo)
    # At tempo 4 a word is shorter than atempo's window, which repeats some of it.
    assert np.sum(result**2) * tempo == pytest.approx(np.sum(samples**2), rel=0.25 if tempo <= 2 else 0.5)
    for start in (0.2, 1.0, 1.85):
        word = result[round(start * RATE / tempo) : round((start + 0.15) * RATE / tempo)]
        assert np.sqrt(np.mean(word**2)) > 0.2


@pytest.mark.parametrize(("tempo", "seconds"), [(0.5, 0.08), (0.95, 0.08), (1.2, 0.08), (2, 0.1), (4, 0.27)])
def test_output_runs_behind_by_little(tempo, seconds):
    stretcher = Stretcher(tempo, RATE)
    taken = given_out = 0
    for piece in cut(chirp(2 * RATE), [240]):
        taken += len(piece)
        given_out += len(stretcher.process(piece))
        assert given_out * tempo <= taken
        assert taken - given_out * tempo <= seconds * RATE


def test_tempo_1_is_the_identity_and_touches_no_filter(monkeypatch):
    monkeypatch.delattr(stretch, "_graph")
    samples = chirp(1000)
    stretcher = Stretcher(1.0, RATE)
    assert stretcher.process(samples) is samples
    assert len(stretcher.finish()) == 0


@pytest.mark.parametrize("tempo", [1.0, 1.2])
def test_nothing_in_nothing_out_and_no_more_after_the_end(tempo):
    stretcher = Stretcher(tempo, RATE)
    assert len(stretcher.process(np.zeros(0, np.float32))) == 0
    assert len(stretcher.finish()) == 0
    with pytest.raises(RuntimeError, match="finished"):
        stretcher.process(chirp(10))


@pytest.mark.parametrize("tempo", [0, -1, 0.05, 11, float("nan"), float("inf")])
def test_impossible_tempos_are_refused(tempo):
    with pytest.raises(BadInput, match=r"0\.1 to 10") as caught:
        Stretcher(tempo, RATE)
    assert caught.value.param == "speed"
