import sys
from functools import cache
from pathlib import Path

import more_filters
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from more_filters import SHIPPED, Settings
from more_filters.graph import FILTERS

from more_server import PostProcessor, PostProcessorKind
from more_server.errors import BadInput
from tests.discovered import context

from .stages import RATE, decibels, speech, stage, through

OPTIONS = {
    "anequalizer": "c0 f=200 w=100 g=-10|c0 f=3000 w=500 g=3",
    "compand": "attacks=0.02:decays=0.2:points=-80/-80|-30/-15|0/-3",
    "dynaudnorm": "f=50:g=3",
    "volume": "-3dB",
}
CHAINS = dict(SHIPPED) | {name: f"{name}={OPTIONS[name]}" if name in OPTIONS else name for name in FILTERS}
CHAINS["several"] = "highpass=f=90, afftdn ,alimiter=limit=0.5:level=0:latency=1,treble=g=3"


def kinds(**chains):
    return {kind.name: kind for kind in more_filters.post_processors(context("more_filters", Settings(chains=chains)))}


@cache
def kind(text: str) -> PostProcessorKind:
    return kinds(tested=text)["tested"]


def make(text: str, rate: int = RATE) -> PostProcessor:
    return kind(text).make(stage(".", rate=rate))


def lag(result, samples):
    """By how many samples one is later than the other."""
    size = 1 << (2 * len(samples)).bit_length()
    likeness = np.fft.irfft(np.fft.rfft(result, size) * np.conj(np.fft.rfft(samples, size)), size)
    at = int(np.abs(likeness).argmax())
    return at if at < size // 2 else at - size


def noise(seconds, level=0.1, rate=RATE):
    return (level * np.random.default_rng(5).standard_normal(round(seconds * rate))).astype(np.float32)


def sine(hertz, level=0.1):
    return (level * np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize("name", CHAINS)
def test_every_filter_keeps_its_audio_in_place_however_it_is_cut(name):
    samples = np.concatenate([noise(0.3), np.zeros(3000, np.float32), noise(0.4)])
    whole = through(make(CHAINS[name]), samples)
    assert len(whole) == len(samples)
    assert abs(lag(whole, samples)) <= 1
    for sizes in ([1, 0, 2000], [479, 481], [4801]):
        assert np.array_equal(whole, through(make(CHAINS[name]), samples, sizes))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([text for _, text in SHIPPED]),
    st.integers(0, 20_000),
    st.lists(st.integers(0, 5000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 50),
)
def test_chunked_input_gives_the_samples_of_whole_input(text, count, sizes):
    samples = speech(1)[:count]
    whole = through(make(text), samples)
    assert np.array_equal(whole, through(make(text), samples, sizes))
    assert len(whole) == count
    assert whole.dtype == np.float32


@pytest.mark.parametrize("name", [*dict(SHIPPED), "superequalizer", "afwtdn", "dynaudnorm"])
@pytest.mark.parametrize("count", [1, 479, 480, 12_345])
def test_nothing_is_lost_at_the_end(name, count):
    """However much a chain holds, the last 10 ms are as loud as the middle."""
    samples = noise(1)[:count]
    result = through(make(CHAINS[name]), samples, [777])
    assert len(result) == count
    if count > RATE // 10:
        end, middle = decibels(result[-240:]), decibels(result[count // 2 :][:2400])
        # The silence behind the end is a fall that noise reduction and gain control follow.
        assert end == pytest.approx(middle, abs=3)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("name", dict(SHIPPED))
def test_every_rate_of_a_model(rate, name):
    samples = noise(0.5, rate=rate)
    result = through(make(CHAINS[name], rate), samples, [1000])
    assert len(result) == len(samples)
    assert abs(lag(result, samples)) <= 1


def test_denoise_takes_hiss_and_leaves_speech():
    spoken = speech(4)
    quiet = np.concatenate([np.zeros(RATE, np.float32), spoken])
    hissing = quiet + noise(5, 10 ** (-55 / 20))
    result = through(kinds()["denoise"].make(stage(".")), hissing)
    assert decibels(result[: RATE // 2]) < decibels(hissing[: RATE // 2]) - 5
    assert decibels(result[RATE:]) == pytest.approx(decibels(spoken), abs=0.1)
    assert decibels(result[RATE:] - spoken) < decibels(spoken) - 25


def test_equaliser_shapes_the_tone():
    processor = kinds()["equaliser"]
    gains = [decibels(through(processor.make(stage(".")), sine(hertz))) - decibels(sine(hertz)) for hertz in
             (30, 250, 1000, 3500, 9000)]  # fmt: skip
    assert gains == pytest.approx([-15, -2, 0.2, 2.5, 0.4], abs=0.5)


def test_limiter_keeps_its_limit_and_leaves_the_rest():
    make_one = kinds()["limiter"].make
    soft, loud = speech(2, 0.5), speech(2, 3.0)
    assert np.abs(through(make_one(stage(".")), soft) - soft).max() < 1e-4
    assert np.abs(through(make_one(stage(".")), loud)).max() <= 0.8911


def test_the_shipped_chains_are_there_and_can_be_replaced():
    assert list(kinds()) == ["denoise", "equaliser", "limiter"]
    changed = kinds(denoise="volume=0.5", warm="bass=g=2")
    assert list(changed) == ["denoise", "equaliser", "limiter", "warm"]
    samples = noise(0.2)
    assert through(changed["denoise"].make(stage(".")), samples) == pytest.approx(samples / 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nosuchfilter", "'nosuchfilter' is no filter that a chain may have; there are: acompressor, .*, volume"),
        ("highpass,", "'' is no filter"),
        (" ", "'' is no filter"),
        ("arnndn=m=/etc/passwd", "'arnndn' is no filter"),
        ("amovie=/etc/passwd", "'amovie' is no filter"),
        ("ladspa=file=x", "'ladspa' is no filter"),
        ("atempo=1.1", "'atempo' is no filter"),
        ("silenceremove=start_periods=1", "'silenceremove' is no filter"),
        ("aresample=48000", "'aresample' is no filter"),
        ("loudnorm", "'loudnorm' is no filter"),
        ("firequalizer=dumpfile=/tmp/x", "'firequalizer' is no filter"),
        ("volume@a=0.5", "not one line of filters"),
        ("[in]highpass[out]", "not one line of filters"),
        ("highpass;lowpass", "not one line of filters"),
        ("highpass=f=while(1\\,1)", "not one line of filters"),
        ("highpass=f='70'", "not one line of filters"),
        ("highpass\n", "not one line of filters"),
        ("highpass=frequenzy=70", "FFmpeg does not take highpass=frequenzy=70: Option not found"),
        ("treble=g=2,highpass=f=-4", "FFmpeg does not take highpass=f=-4: Numerical result out of range"),
        ("highpass=f=much", "FFmpeg does not take highpass=f=much: Invalid argument"),
        ("anequalizer=c0 f=200 w=100 g=-10:curves=1", "FFmpeg does not take this as a whole: Invalid argument"),
        ("dynaudnorm", r"runs at least 3\.0 s behind; at most 1 s are allowed"),
        ("volume=0", "leaves too little"),
    ],
)
def test_a_chain_that_cannot_be_used_is_refused(text, why):
    with pytest.raises(BadInput, match=why) as caught:
        kinds(mine=text)
    assert caught.value.message.startswith("chains.mine")
    assert caught.value.param == "settings.chains.mine"


@pytest.mark.parametrize(
    "chains",
    [
        *({name: "volume"} for name in ("Denoise", "", "a.b", "-a", "a\n", "a\u202eb", "a" * 33)),
        *({"a": text} for text in ("", "x" * 1001, 1)),
        {str(number): "volume" for number in range(33)},
    ],
)
def test_settings_out_of_bounds_are_refused(chains):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"chains": chains}, Settings)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc, which Linux has")
def test_a_chain_starts_no_thread():
    running = len(list(Path("/proc/self/task").iterdir()))
    processors = [make("highpass,afftdn") for _ in range(10)]
    for processor in processors:
        processor.process(noise(0.1))
    assert len(list(Path("/proc/self/task").iterdir())) == running
