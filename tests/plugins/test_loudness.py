import more_loudness
import msgspec
import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from more_loudness import Settings, measure
from more_loudness.limiter import Limiter
from scipy.signal import resample_poly

from more_server import Audio, PostProcessor
from tests.discovered import context

from .stages import RATE, speech, stage, through

CEILING = 10 ** (-1 / 20)


def make(settings: Settings = Settings(), **utterance) -> PostProcessor:  # noqa: B008 - frozen
    (kind,) = more_loudness.post_processors(context("more_loudness", settings))
    return kind.make(stage(".", **utterance))


def lufs(samples, rate=RATE) -> float:
    """By pyloudnorm alone; what is shorter than its block has silence behind it."""
    padded = np.pad(samples.astype(float), (0, max(0, rate * 4 // 10 + 1 - len(samples))))
    with np.errstate(divide="ignore"):
        return float(pyloudnorm.Meter(rate).integrated_loudness(padded))


def true_peak(samples) -> float:
    """In dB, at eight times the rate by scipy's filter, the silence around it included."""
    return float(20 * np.log10(np.abs(resample_poly(np.pad(samples.astype(float), 4000), 8, 1)).max()))


def limited(samples, ceiling=CEILING, rate=RATE):
    limiter = Limiter(ceiling, rate)
    return np.concatenate([limiter.process(samples), limiter.finish()])


SIGNALS = {
    "speech": lambda: speech(3, 4.0),
    "quiet then loud": lambda: np.concatenate([speech(1, 0.2), speech(1, 3.0)]),
    "noise": lambda: (0.5 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32),
    "square": lambda: np.sign(np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32),
    # Its samples reach 0.85, the wave between them 1.2.
    "between samples": lambda: (1.2 * np.sin(np.pi / 2 * np.arange(RATE) + np.pi / 4)).astype(np.float32),
    "clicks": lambda: (2.0 * (np.arange(RATE) % 5000 == 77)).astype(np.float32),
    "beginning at its loudest": lambda: (3 * np.cos(2 * np.pi * 300 * np.arange(RATE) / RATE)).astype(np.float32),
    "constant": lambda: np.full(RATE, 1.5, np.float32),
    "far beyond": lambda: np.full(RATE, 15.0, np.float32),
}


@pytest.mark.parametrize("target", [-23.0, -16.0, -13.0])
@pytest.mark.parametrize("peak", [0.05, 0.3, 1.0])
def test_whole_audio_reaches_the_target_and_keeps_the_ceiling(target, peak):
    samples = speech(6, peak)
    result = through(make(Settings(target_lufs=target, max_gain_db=40), whole=True), samples, [4801])
    assert lufs(result) == pytest.approx(target, abs=0.1)
    assert len(result) == len(samples)
    assert true_peak(result) < -1


@pytest.mark.parametrize("count", [1, 100, 2400, 9599, 9600, 9601, 12_001])
def test_audio_shorter_than_a_block_of_measuring(count):
    samples = speech(2, 0.1)[2000 : 2000 + count]
    result = through(make(whole=True), samples)
    assert len(result) == count
    raised = lufs(result) - lufs(samples)
    assert lufs(result) == pytest.approx(-16, abs=0.1) or raised == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("level", [-30, -15, -6])
def test_a_stream_reaches_the_target_as_far_as_the_voice_is_like_itself(level):
    voice = speech(8, 10 ** (level / 20), seed=1)
    measured = measure(Audio(voice, RATE))
    text = speech(5, 10 ** (level / 20), seed=2)
    result = through(make(Settings(max_gain_db=40), measured=measured), text, [2400])
    assert lufs(result) - -16 == pytest.approx(lufs(text) - measured, abs=0.2)
    assert true_peak(result) < -1


def test_a_stream_and_the_whole_agree_where_nothing_is_limited():
    samples = speech(4, 0.3)
    settings = Settings(target_lufs=-30)
    streamed = through(make(settings, measured=measure(Audio(samples, RATE))), samples, [999])
    assert np.array_equal(streamed, through(make(settings, whole=True), samples))


@pytest.mark.parametrize("whole", [False, True])
@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 20_000),
    st.sampled_from(sorted(SIGNALS)),
    st.lists(st.integers(0, 5000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 50),
)
def test_chunked_input_gives_the_samples_of_whole_input(whole, count, name, sizes):
    samples = SIGNALS[name]()[:count]
    expected = through(make(whole=whole, measured=-20.0), samples)
    assert np.array_equal(expected, through(make(whole=whole, measured=-20.0), samples, sizes))
    assert len(expected) == count
    assert expected.dtype == np.float32


def test_sample_by_sample():
    samples = SIGNALS["clicks"]()[:6000]
    assert np.array_equal(through(make(measured=-20.0), samples), through(make(measured=-20.0), samples, [1]))


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("ceiling", [1.0, CEILING, 0.1])
def test_nothing_exceeds_the_ceiling(name, ceiling):
    result = limited(SIGNALS[name](), ceiling)
    assert true_peak(result) < 20 * np.log10(ceiling)
    assert np.abs(result).max() < ceiling


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 48_000])
def test_every_rate_of_a_model(rate):
    samples = speech(2, 3.0, rate=rate)
    result = limited(samples, CEILING, rate)
    assert len(result) == len(samples)
    assert true_peak(result) < -1


def test_what_lies_below_the_ceiling_passes_unchanged():
    samples = speech(4, 0.85)
    assert np.array_equal(limited(samples), samples)
    result = through(make(measured=-10.0), samples, [777])
    assert np.array_equal(result, samples * np.float32(10 ** (-6 / 20)))


def test_peaks_are_turned_down_alone_and_smoothly():
    samples = np.full(2 * RATE, 0.5, np.float32)
    samples[RATE : RATE + 241] += (1.5 * np.hanning(241)).astype(np.float32)
    gains = limited(samples).astype(float) / samples
    assert (gains[: RATE - 100] == 1).all()
    assert (gains[RATE + 241 + RATE // 5 :] == 1).all()
    assert gains[RATE + 120] == pytest.approx(CEILING / 2, rel=0.015)
    falling, rising = np.diff(gains[: RATE + 120]), np.diff(gains[RATE + 140 :])
    assert falling.max() <= 1e-6
    assert falling.min() > -2 * (1 - CEILING / 2) / (0.003 * RATE)
    assert rising.min() > -1e-6
    assert rising.max() < 1.01 * 5 / RATE


def test_the_limiter_runs_four_milliseconds_behind_and_puts_nothing_in_front():
    samples = speech(1)
    processor = make(measured=-16.0)
    first = processor.process(samples)
    assert len(samples) - len(first) <= 0.004 * RATE
    assert np.array_equal(first, samples[: len(first)])


@pytest.mark.parametrize("measured", [None, -70.0, -np.inf, np.inf, np.nan])
def test_a_voice_of_unknown_loudness_stays_as_loud_as_it_is(measured):
    samples = speech(1)
    assert np.array_equal(through(make(measured=measured), samples), samples)


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_nearly_silent_is_raised_by_so_much_alone(whole):
    noise = (1e-3 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    result = through(make(Settings(max_gain_db=12), whole=whole, measured=-60.0), noise)
    assert np.array_equal(result, noise * np.float32(10 ** (12 / 20)))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [0, 1, RATE])
def test_silence_stays_silence(whole, count):
    silence = np.zeros(count, np.float32)
    assert np.array_equal(through(make(whole=whole, measured=-40.0), silence), silence)


@pytest.mark.parametrize("rate", [8000, 22_050, RATE, 48_000])
@pytest.mark.parametrize("seconds", [0.02, 0.39, 0.4, 0.44, 0.46, 3.21, 10.0, 10.03, 10.2, 25.0])
def test_loudness_is_measured_as_pyloudnorm_measures_it(seconds, rate):
    samples = speech(seconds, 0.4, rate=rate)
    samples[len(samples) // 2 : len(samples) * 3 // 4] *= 0.001
    assert measure(Audio(samples, rate)) == pytest.approx(lufs(samples, rate), abs=1e-3)


def test_silence_has_the_loudness_of_the_gate():
    assert measure(Audio(np.zeros(RATE, np.float32), RATE)) == -70
    assert measure(Audio(np.zeros(0, np.float32), RATE)) == -70
    click = np.zeros(RATE, np.float32)
    click[100] = 1e-3
    assert measure(Audio(click, RATE)) == -70


@pytest.mark.parametrize(
    "values",
    [{"target_lufs": -7}, {"target_lufs": -41}, {"true_peak_dbtp": 0.1}, {"max_gain_db": -1}, {"loudness": -16}],
)
def test_settings_out_of_bounds_are_refused(values):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(values, Settings)
    assert msgspec.convert({"target_lufs": -20}, Settings).target_lufs == -20
