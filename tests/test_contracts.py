"""What every post-processor, encoder and voice store promises, held against each one that is there.

Encoders have more promises in tests/audio/test_encode.py: chunked input gives what whole input gives, and no sample is
lost. Stores have more in tests/test_store_contracts.py.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server import Audio, PostProcessor, Voice, errors
from more_server.audio.encode import FORMATS, make_encoder
from more_server.registry import Registry
from more_server.settings import Settings
from tests.audio.signals import chirp, cut, decode
from tests.discovered import plugins, post_processors
from tests.plugins.stages import RATE, driven, speech, stage, through

KINDS = post_processors()
MARKS = (".", ",", "", "?")
KEEPING = [name for name, kind in KINDS.items() if not kind.make(stage(".")).changes_length]
every_kind = pytest.mark.parametrize("name", KINDS)
both_ways = pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])


def make(name: str, whole: bool = False, rate: int = RATE) -> PostProcessor:
    kind = KINDS[name]
    measured = kind.measure(Audio(speech(2, rate=rate), rate)) if kind.measure else None
    return kind.make(stage(*MARKS, whole=whole, measured=measured, rate=rate))


def test_post_processors_are_found():
    assert {"more_silence", "more_loudness", "more_filters.denoise"} <= set(KINDS)


@every_kind
@both_ways
@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 15_000),
    st.lists(st.integers(0, 5000), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 50),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_chunked_input_gives_the_samples_of_whole_input(name, whole, count, sizes, places):
    samples = speech(1, 0.9)[:count]
    samples.flags.writeable = False  # they belong to whoever gave them
    ends = [int(place * count) for place in places]
    at_once, chunked = driven(make(name, whole), samples, ends=ends), driven(make(name, whole), samples, sizes, ends)
    if name not in KEEPING:
        assert all(np.array_equal(*pair) for pair in zip(at_once, chunked, strict=True))
    assert np.array_equal(np.concatenate(at_once), np.concatenate(chunked))
    assert np.concatenate(at_once).dtype == np.float32


@every_kind
@both_ways
def test_the_same_comes_out_sample_by_sample(name, whole):
    samples = speech(0.2, 0.9)
    assert np.array_equal(through(make(name, whole), samples), through(make(name, whole), samples, [1, 0]))


@pytest.mark.parametrize("name", KEEPING)
@both_ways
@pytest.mark.parametrize("rate", [16_000, RATE, 48_000])
@pytest.mark.parametrize("count", [0, 1, 100, 4801, 20_000])
def test_samples_keep_their_number_and_their_place(name, whole, rate, count):
    samples = speech(1.5, 0.5, rate=rate)[3000 : 3000 + count]
    out = through(make(name, whole, rate), samples, [1000], ends=[count // 3, count // 2])
    assert len(out) == count
    if count > RATE // 10:
        size = 1 << (2 * count).bit_length()
        likeness = np.fft.irfft(np.fft.rfft(out, size) * np.conj(np.fft.rfft(samples, size)), size)
        assert int(likeness.argmax()) == 0
        rest = slice(-RATE // 100, None)
        assert np.corrcoef(out[rest], samples[rest])[0, 1] > 0.8


@every_kind
@both_ways
def test_post_processors_work_side_by_side(name, whole):
    def work(seed):
        return through(make(name, whole), speech(1, 0.8, seed=seed), [2400], ends=[9000])

    alone = [work(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as threads:
        assert all(map(np.array_equal, alone * 3, threads.map(work, [*range(6)] * 3)))


@pytest.mark.parametrize("name", FORMATS)
def test_encoders_work_side_by_side(name):
    def work(count):
        with make_encoder(name, RATE) as encoder:
            data = b"".join([*(encoder.feed(piece) for piece in cut(chirp(count), [2400])), encoder.finish()])
        # Every Ogg stream carries a serial number drawn by chance.
        return decode(data)[0].tobytes() if name == "opus" else data

    counts = [6000, 7777, 9000, 12_001]
    alone = [work(count) for count in counts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, counts * 4)) == alone * 4


def test_importing_plugins_loads_nothing_heavy():
    names = [name for name, plugin in plugins().items() if hasattr(plugin, "post_processors")]
    heavy = ("av", "scipy", "pyloudnorm", "torch")
    script = f"import sys, {', '.join(names)}; print(*(name for name in {heavy} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


# -- voice stores: those of the registry, held to the promises that need nothing of a store but its methods.
# tests/test_store_contracts.py goes on from there, into crashes, races and storage that fails.


@pytest.fixture
def stores(tmp_path):
    """Plugin and store, of every plugin that offers any, each switched on."""
    bucket = {"enabled": True, "url": (tmp_path / "bucket").as_uri()}
    (tmp_path / "bucket").mkdir()
    registry = Registry(Settings(data_dir=tmp_path, plugins={"more_voice_object_store": bucket}))
    registry.open(None)
    offering = {row.name for row in registry.rows() if "voice_stores" in row.hooks}
    assert offering == {plugin for plugin, _ in registry.snapshot.stores}, "a store that nobody holds to its promises"
    return registry.snapshot.stores


def test_stores_are_found(stores):
    assert {"folder", "bundled", "objects"} <= {store.name for _, store in stores}


def test_voices_come_back_and_go(stores):
    clips = {"b.wav": b"two" * 1000, "a.wav": b"one" * 1000}
    voice = Voice(id="ann", name="Ann Müller", references=tuple(clips), languages=("de",), consent="said\nyes")
    for _, store in stores:
        if not store.writable:
            continue
        store.write(voice, clips)
        (found,) = (one for one in store.list().voices if one.id == "ann")
        assert (found.name, found.languages, found.consent, found.store) == (
            voice.name,
            ("de",),
            "said\nyes",
            store.name,
        )
        assert {name: store.read("ann", name) for name in found.references} == clips
        with pytest.raises(errors.BadInput):
            store.write(voice, clips)
        store.delete("ann")
        assert "ann" not in [one.id for one in store.list().voices]
        with pytest.raises(errors.VoiceNotFound):
            store.read("ann", "a.wav")


@pytest.mark.parametrize("name", ["..", "../ann", "a/b", "a\\b", "", "Ann", "ann\0", "a\u202eb", "x" * 65])
def test_names_that_cannot_be_leave_nothing(stores, tmp_path, name):
    before = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    for _, store in stores:
        with pytest.raises(errors.BadInput):
            store.write(Voice(id=name, name="x", references=("a.wav",)), {"a.wav": b"x"})
        with pytest.raises(errors.BadInput):
            store.read("ann", name)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]


def test_what_was_worked_out_is_kept_by_every_store(stores):
    for number, (_, store) in enumerate(stores):
        key = f"{number:064x}"
        assert store.read_derived(key) is None
        store.write_derived(key, b"latents of " + store.name.encode())
        assert store.read_derived(key) == b"latents of " + store.name.encode()
