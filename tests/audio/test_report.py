"""The report on reference clips, against mixes whose truth is known."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from more_server.audio.encode import FORMATS, encode_file
from more_server.audio.read import decode, resample
from more_server.audio.report import measure, report
from more_server.errors import BadInput, TooLarge
from more_server.settings import bundled_dir
from more_server.speech import Audio, Samples
from tests.espeak import SAMPLE_RATE, espeak

from .signals import RATE, sine

SENTENCE = (
    "When the sunlight strikes raindrops in the air, they act as a prism and form a rainbow. "
    "The rainbow is a division of white light into many beautiful colours."
)


@pytest.fixture(scope="module", params=["en-us+m3", "en-us+f2"])
def speech(request: pytest.FixtureRequest) -> Samples:
    """Clean synthetic speech with its pauses, 8 s."""
    return resample(espeak().say(SENTENCE, request.param), SAMPLE_RATE, RATE)


def active_power(samples: Samples) -> float:
    """While somebody speaks."""
    frames = np.square(samples[: len(samples) // 480 * 480], dtype=np.float64).reshape(-1, 480).mean(axis=1)
    return float(frames[frames > frames.max() * 10**-3.5].mean())


def noise(count: int, colour: str) -> Samples:
    """Of unit power."""
    values = np.random.default_rng(7).normal(size=count)
    if colour == "pink":
        spectrum = np.fft.rfft(values) / np.sqrt(np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20))
        values = np.fft.irfft(spectrum, count)
    return (values / values.std()).astype(np.float32)


def with_noise(samples: Samples, decibels: float, colour: str) -> Samples:
    level = np.sqrt(active_power(samples) / 10 ** (decibels / 10))
    return np.asarray(samples + level * noise(len(samples), colour), np.float32)


def without_pauses(samples: Samples) -> Samples:
    frames = samples[: len(samples) // 480 * 480].reshape(-1, 480)
    power = np.square(frames).mean(axis=1)
    return frames[power > power.max() * 1e-3].reshape(-1)


def advice(samples: Samples, rate: int = RATE, languages: tuple[str, ...] = ("en",)) -> str:
    return "\n".join(report({"a.wav": Audio(samples, rate)}, languages).advice)


# -- noise


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize(("decibels", "tolerance"), [(5, 3), (10, 2), (15, 2), (20, 2), (30, 4)])
def test_signal_to_noise_of_known_mixes(speech: Samples, decibels: float, tolerance: float, colour: str) -> None:
    found = measure("a.wav", Audio(with_noise(speech, decibels, colour), RATE)).signal_to_noise
    assert found == pytest.approx(decibels, abs=tolerance)


def test_noise_is_told(speech: Samples) -> None:
    assert "noise is" not in advice(speech)
    assert "noise is" in advice(with_noise(speech, 12, "pink"))
    assert "quieter place" in advice(with_noise(speech, 12, "pink"))


def test_speech_without_pauses_is_not_called_noisy(speech: Samples) -> None:
    dense = without_pauses(speech)
    assert "noise is" not in advice(dense)
    assert measure("a.wav", Audio(with_noise(dense, 12, "pink"), RATE)).signal_to_noise < 17


def test_clean_speech_and_nothing_but_noise(speech: Samples) -> None:
    assert measure("a.wav", Audio(speech, RATE)).signal_to_noise > 22
    assert measure("a.wav", Audio(0.1 * noise(3 * RATE, "white"), RATE)).signal_to_noise < 3


# -- lengths


def test_silence_around_speech_is_counted(speech: Samples) -> None:
    quiet = np.zeros(round(len(speech) * 1.5), np.float32)
    alone, padded = (measure("a.wav", Audio(clip, RATE)) for clip in (speech, np.concatenate([quiet, speech])))
    assert padded.speech_seconds == pytest.approx(alone.speech_seconds, abs=0.1)
    assert alone.silence < 0.15
    assert padded.silence == pytest.approx(0.6, abs=0.06)
    assert padded.seconds == pytest.approx(2.5 * alone.seconds, abs=0.02)
    assert "silence" in advice(np.concatenate([quiet, speech]))


def test_a_long_pause_is_silence_and_a_short_one_is_speech() -> None:
    def clip(pause: float) -> Samples:
        return np.concatenate([sine(200, 1), np.zeros(round(pause * RATE), np.float32), sine(200, 1)])

    assert measure("a.wav", Audio(clip(0.2), RATE)).speech_seconds == pytest.approx(2.2, abs=0.1)
    assert measure("a.wav", Audio(clip(2), RATE)).speech_seconds == pytest.approx(2, abs=0.1)


def test_how_much_is_enough(speech: Samples) -> None:
    assert advice(speech) == ""
    assert advice(speech[: 2 * RATE]).splitlines()[0] == "2.0 s of speech; 6 to 30 s are good"
    assert "nothing after the first 60 s is used" in advice(np.tile(speech, 10))


# -- levels


def test_levels_of_a_sine() -> None:
    """-20 dBFS of 1 kHz in one channel: a peak of -20 dBFS and, by BS.1770, -23 LUFS."""
    found = measure("a.wav", Audio(sine(997, 3, 48_000, 0.1), 48_000))
    assert found.peak == pytest.approx(-20, abs=0.1)
    assert found.loudness == pytest.approx(-23, abs=0.2)


def test_clipping_is_found_where_it_is(speech: Samples) -> None:
    recorded = resample(speech, RATE, 44_100)
    limit = float(np.quantile(np.abs(recorded), 0.97))
    clipped = np.clip(recorded, -limit, limit)
    truth = float((np.abs(recorded) >= limit).mean())
    found = measure("a.wav", Audio(clipped, 44_100)).clipped
    assert found == pytest.approx(truth, rel=0.15)
    assert "are clipped; record at a lower level" in advice(clipped, 44_100)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "pcm"])
def test_speech_that_is_not_clipped(speech: Samples, name: str) -> None:
    audio = decode(encode_file(speech, RATE, name), max_seconds=60, max_channels=2)
    assert measure("a", audio).clipped < 1e-4


def test_flat_tops_survive_the_file(speech: Samples) -> None:
    limit = float(np.quantile(np.abs(speech), 0.97))
    file = encode_file(np.clip(speech, -limit, limit), RATE, "wav")
    audio = decode(file, max_seconds=60, max_channels=2)
    assert audio.sample_rate == RATE
    assert measure("a.wav", audio).clipped > 0.01


def test_quiet_and_loud_recordings(speech: Samples) -> None:
    assert "very quiet" in advice(0.01 * speech / np.abs(speech).max())
    assert "very loud" in advice(np.clip(20 * speech, -1, 1))


# -- bandwidth


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
def test_a_narrow_band_in_a_wide_file(speech: Samples, rate: int) -> None:
    narrow = resample(resample(speech, RATE, rate), rate, 48_000)
    found = measure("a.wav", Audio(narrow, 48_000))
    assert found.bandwidth == pytest.approx(0.475 * rate, rel=0.05)
    assert found.sample_rate == 48_000
    assert ("as over a telephone" in advice(narrow, 48_000)) == (rate < 12_000)


def test_a_wide_band(speech: Samples) -> None:
    assert 10_000 < measure("a.wav", Audio(speech, RATE)).bandwidth <= 12_000


# -- the whole voice


def test_the_bundled_voices_are_good_enough() -> None:
    for name in ("linden", "rowan"):
        file = (bundled_dir() / "voices" / name / "reference.wav").read_bytes()
        found = report({"reference.wav": decode(file, max_seconds=60, max_channels=2)}, ("en",), ("en",))
        assert found.advice == ()
        assert found.clips[0].name == "reference.wav"


def test_several_clips_are_told_apart(speech: Samples) -> None:
    loud, quiet = Audio(0.5 * speech, RATE), Audio(0.05 * speech, RATE)
    found = report({"a.wav": loud, "b.wav": quiet, "c.wav": Audio(with_noise(speech, 8, "white"), RATE)}, ("en",))
    assert [clip.name for clip in found.clips] == ["a.wav", "b.wav", "c.wav"]
    assert found.seconds == pytest.approx(sum(clip.seconds for clip in found.clips), abs=0.02)
    assert found.signal_to_noise == found.clips[2].signal_to_noise
    assert found.peak == max(clip.peak for clip in found.clips)
    assert found.clips[1].loudness < found.loudness < found.clips[2].loudness
    assert any("c.wav: noise is" in sentence for sentence in found.advice)
    assert any("differs by" in sentence for sentence in found.advice)
    assert not any(sentence.startswith("a.wav: noise") for sentence in found.advice)


def test_languages_are_as_declared(speech: Samples) -> None:
    clips = {"a.wav": Audio(speech, RATE)}
    assert report(clips, (), ("en", "de"), "de").advice == (
        "language not given: requests that name none are spoken in de",
    )
    found = report(clips, ("de", "fr"), ("en", "de"))
    assert (found.languages, found.not_spoken) == (("de", "fr"), ("fr",))
    assert found.advice == ("the model does not speak fr; it speaks: de, en",)
    assert report(clips, ("fr",)).not_spoken == ()


# -- whatever comes


@example(np.full(3, 6e-28, np.float32), 8_000)
@example(np.full(3, 2.0**-15, np.float32), 8_000)
@given(
    arrays(np.float32, st.integers(1, 5000), elements=st.floats(-16, 16, width=32)),
    st.sampled_from([8_000, 24_000, 44_100]),
)
def test_any_samples_give_finite_numbers(samples: Samples, rate: int) -> None:
    found = report({"a.wav": Audio(samples, rate)})
    numbers = (found.loudness, found.peak, found.signal_to_noise, found.clipped, found.silence, found.speech_seconds)
    assert np.isfinite(numbers).all()
    assert 0 <= found.clipped <= 1
    assert 0 <= found.silence <= 1


@pytest.mark.parametrize("seconds", [0.01, 0.3, 2.0])
def test_silence(seconds: float) -> None:
    found = measure("a.wav", Audio(np.zeros(round(seconds * RATE), np.float32), RATE))
    assert (found.loudness, found.peak, found.clipped, found.speech_seconds, found.bandwidth) == (-70, -120, 0, 0, 0)
    assert found.silence == 1


def test_files_that_are_none() -> None:
    with pytest.raises(BadInput, match="no audio"):
        decode(b"garbage" * 100, max_seconds=60, max_channels=2)
    with pytest.raises(TooLarge):
        decode(encode_file(sine(200, 3), RATE, "wav"), max_seconds=2, max_channels=2)
    with pytest.raises(BadInput, match="no samples"):
        decode(encode_file(np.zeros(0, np.float32), RATE, "wav"), max_seconds=2, max_channels=2)
