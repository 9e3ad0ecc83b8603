"""Long recordings: cut at pauses, by what costs least, and never held in memory."""

import io
import subprocess
import sys
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from more_train.dataset.cutting import Cutter, Outcome, Task
from more_train.dataset.recording import Recording
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.sources import open_source
from more_train.dataset.spans import parted
from more_train.dataset.speech import FRAME_SECONDS, Listener, Silero, Stretch, stretches

from more_server.errors import MoreError
from tests.audio.signals import encode
from tests.espeak import SAMPLE_RATE
from tests.train.dataset.recordings import SENTENCES, read_aloud, say, silence, write

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = DatasetSettings(language="en")


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


def cut(folder: Path, samples: np.ndarray, **changed: object) -> Outcome:
    """What becomes of a recording without a text."""
    write(folder / "source" / "a.wav", samples)
    wanted = DatasetSettings(**({"language": "en"} | changed))  # type: ignore[arg-type]
    source = open_source(folder / "source", wanted)
    (folder / "cut").mkdir()
    cutter = Cutter(source, folder / "cut", folder, wanted)
    (found,) = cutter.run([Task(source.entries["a.wav"], is_clip=False)], lambda _: None)
    return found


def test_a_long_recording_is_cut_between_its_sentences(tmp_path: Path):
    """Words are never cut: where a clip ends there is silence in the recording."""
    pauses = (0.5, 0.3, 0.7, 0.45, 0.3, 1.6, 0.5, 0.25, 0.6, 0.4, 0.5, 0.5)
    parts = [part for text, pause in zip(SENTENCES, pauses, strict=True) for part in (say(text), silence(pause))]
    recording = np.concatenate([silence(0.8), *parts])
    found = cut(tmp_path, recording)
    assert found.flaws == ()
    assert found.seconds == pytest.approx(len(recording) / SAMPLE_RATE, abs=0.01)
    assert [5.5 < piece.seconds <= 12 for piece in found.pieces].count(False) <= 1
    ends = np.cumsum([0.8] + [len(part) / SAMPLE_RATE for part in parts])
    middles = [(ends[i], ends[i + 1]) for i in range(1, len(ends) - 1, 2)]
    for piece in found.pieces[:-1]:
        assert any(start < piece.end < end for start, end in middles), piece
    # All speech is in some clip.
    assert sum(piece.speech_seconds for piece in found.pieces) == pytest.approx(found.speech_seconds, abs=0.01)
    assert all(one.end <= other.start for one, other in pairwise(found.pieces))


def test_speech_without_a_pause_is_refused_and_the_rest_used(tmp_path: Path):
    drone = np.concatenate([say(text)[1500:-3000] for text in SENTENCES[:10]])
    recording = np.concatenate([read_aloud(SENTENCES[0], 0.4, 1.5), drone, read_aloud(SENTENCES[1], 1.5, 0.4)])
    found = cut(tmp_path, recording, longest_seconds=6.5, preferred_seconds=3)
    if found.flaws:  # espeak may pause inside
        assert found.flaws[0].reason == "no_pause"
        assert found.flaws[0].end - found.flaws[0].start > 6
    assert all(piece.seconds <= 6.5 for piece in found.pieces)


Pauses = st.lists(st.tuples(st.floats(0.1, 15), st.floats(0.1, 3)), min_size=1, max_size=40)


@given(Pauses)
@settings(max_examples=200, deadline=None)
def test_every_stretch_is_in_one_span_or_told_to_be_endless(lengths: list[tuple[float, float]]):
    place, parts = 0.3, []
    for speech, pause in lengths:
        parts.append(Stretch(place, place + speech))
        place += speech + pause
    spans, endless = parted(parts, place, SETTINGS)
    inside = [part for span in spans for part in parts if span.start <= part.start and part.end <= span.end]
    assert sorted(inside + endless, key=lambda part: part.start) == parts
    for span in spans:
        assert span.end - span.start <= SETTINGS.longest_seconds - 2 * SETTINGS.pad_seconds + 1e-9
        assert span.before >= 0
        assert span.behind >= 0
        pauses = [b.start - a.end for a, b in pairwise(parts) if span.start <= a.start < b.end <= span.end]
        assert all(pause <= SETTINGS.longest_pause + 1e-9 for pause in pauses)
    for one, other in pairwise(spans):
        assert one.end + one.behind <= other.start - other.before + 1e-9


def test_cuts_are_made_in_the_longer_pauses():
    def spoken(*pauses: float) -> list[tuple[float, float]]:
        place, parts = 0.0, []
        for pause in (*pauses, 0.0):
            parts.append(Stretch(place, place + 4))
            place += 4 + pause
        return [(round(span.start, 2), round(span.end, 2)) for span in parted(parts, place, SETTINGS)[0]]

    assert spoken(0.15, 0.6, 0.15) == [(0, 8.15), (8.75, 16.9)]
    assert spoken(0.6, 0.15, 0.6, 0.15, 0.6)[0] == (0, 4)  # rather one short clip than two cuts through a word
    assert spoken(1.2) == [(0, 4), (5.2, 9.2)]


def test_silero_hears_speech_and_no_more(silero: Silero):
    from more_server.audio.read import resample

    recording = resample(read_aloud(SENTENCES[0], 1.0, 1.0), SAMPLE_RATE, 16_000)
    whole = Listener(silero)
    whole.feed(recording)
    heard = whole.finish()
    (found, *more) = stretches(heard)
    last = more[-1] if more else found
    assert found.start == pytest.approx(1.0, abs=0.15)
    assert last.end == pytest.approx(len(recording) / 16_000 - 1.0, abs=0.2)
    pieces = Listener(silero)
    for start in range(0, len(recording), 777):
        pieces.feed(recording[start : start + 777])
    assert np.abs(pieces.finish() - heard).max() < 1e-4
    assert len(heard) == -(-len(recording) // 512)
    noise = Listener(silero)
    noise.feed((0.05 * np.random.default_rng(1).normal(size=48_000)).astype(np.float32))
    assert stretches(noise.finish()) == []


def test_silero_s_package_is_never_imported():
    """It would set torch to one thread, for the whole process."""
    code = "import sys; from more_train.dataset.speech import Silero; Silero(); print('silero_vad' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_without_its_packages_the_message_says_which(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MoreError, match=r"onnxruntime is missing: pip install 'more-server\[train\]'"):
        Silero()
    monkeypatch.undo()
    monkeypatch.setattr("more_train.dataset.speech.find_spec", lambda _: None)
    with pytest.raises(MoreError, match=r"silero-vad's .*onnx is missing: pip install 'more-server\[train\]'"):
        Silero()


def test_a_soft_word_that_silero_misses_is_not_cut_off(tmp_path: Path):
    """One clip begins with a whisper, another with a click and a second of silence."""
    soft = np.concatenate([0.04 * say("Well,"), silence(0.5), say(SENTENCES[1]), silence(0.5)])
    click = np.concatenate([silence(0.2), np.full(200, 0.2, np.float32), silence(1.0), say(SENTENCES[1]), silence(0.5)])
    for name, samples in {"soft": soft, "click": click}.items():
        write(tmp_path / "source" / f"{name}.wav", samples)
    source = open_source(tmp_path / "source", SETTINGS)
    (tmp_path / "cut").mkdir()
    tasks = [Task(entry, is_clip=True) for entry in source.entries.values()]
    found = {
        o.pieces[0].id.split("-")[0]: o.pieces[0]
        for o in Cutter(source, tmp_path / "cut", tmp_path, SETTINGS).run(tasks, lambda _: None)
    }
    assert found["soft"].start < 0.05
    assert found["click"].start == pytest.approx(1.06, abs=0.1)


def test_noise_is_heard_in_the_pauses(silero: Silero, tmp_path: Path):
    clean = np.concatenate([np.zeros(SAMPLE_RATE), say(SENTENCES[3]), np.zeros(SAMPLE_RATE)]).astype(np.float32)
    noise = np.random.default_rng(4).normal(size=len(clean)).astype(np.float32)
    speech = np.sqrt(np.square(say(SENTENCES[3])).mean())
    for decibels in (8, 16, 30):
        mixed = clean + noise * speech * np.float32(10 ** (-decibels / 20))
        with Recording(tmp_path) as recording:
            recording.fill(
                io.BytesIO(encode(mixed[np.newaxis], SAMPLE_RATE, "wav", "pcm_f32le", "flt")),
                silero,
                60,
                lambda _: None,
            )
            heard = recording.signal_to_noise(1.0, len(clean) / SAMPLE_RATE - 1.0)
            assert heard == pytest.approx(decibels, abs=1.5)


def test_a_short_gap_is_no_pause():
    said = [0.9] * 10 + [0.4] * 9 + [0.1] * 3 + [0.9] * 10 + [0.1] * 4 + [0.9] * 10 + [0.1] * 9 + [0.6] * 2
    found = stretches(np.array(said, np.float32))
    assert [(round(part.start / FRAME_SECONDS), round(part.end / FRAME_SECONDS)) for part in found] == [
        (0, 32),
        (36, 46),
    ]


@pytest.mark.parametrize(
    ("container", "codec", "form"),
    [
        ("mp3", "libmp3lame", "fltp"), ("ogg", "libopus", "flt"), ("mp4", "aac", "fltp"), ("adts", "aac", "fltp"),
        ("aiff", "pcm_s16be", "s16"), ("wav", "pcm_s24le", "s32"), ("caf", "alac", "s16p"),
        ("webm", "libopus", "flt"),
    ],
)  # fmt: skip
def test_formats_are_heard_alike(container: str, codec: str, form: str, silero: Silero, tmp_path: Path):
    from more_server.audio.read import resample

    clean = resample(read_aloud(SENTENCES[3]), SAMPLE_RATE, 48_000)
    file = io.BytesIO(encode(np.stack([clean, clean]), 48_000, container, codec, form))
    with Recording(tmp_path) as recording:
        recording.fill(file, silero, 60, lambda _: None)
        assert recording.rate == 48_000
        assert recording.seconds == pytest.approx(len(clean) / 48_000, abs=0.1)
        assert recording.stretches[0].start == pytest.approx(0.4, abs=0.1)
        assert recording.stretches[-1].end == pytest.approx(len(clean) / 48_000 - 0.4, abs=0.15)
        assert np.abs(recording.samples(0.4, 1.4)).max() > 0.05


HOUR = """
import resource, sys
from pathlib import Path
from more_train.dataset.recording import Recording
from more_train.dataset.speech import Silero
from tests.train.dataset.test_cutting import Deaf

def memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000

file, scratch = Path(sys.argv[1]), Path(sys.argv[2])
before = memory()
with Recording(scratch) as recording, file.open("rb") as opened:
    recording.fill(opened, Deaf(), 3600, lambda _: None)
    assert recording.seconds == 3600
    assert len(recording.samples(3599, 3600)) == 8000
print(memory() - before)
"""


class Deaf(Silero):
    """Hears nothing, and takes no time for it."""

    def __init__(self) -> None:
        self.session = self  # type: ignore[assignment]

    def run(self, _: object, shown: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return np.zeros(len(shown["input"]), np.float32), shown["h"], shown["c"]


def test_an_hour_is_never_held_in_memory(tmp_path: Path):
    """115 MB as numbers, at the lowest rate there is."""
    minute = (1000 * np.random.default_rng(1).normal(size=480_000)).astype("<i2").tobytes()
    with wave.open(str(tmp_path / "hour.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        for _ in range(60):
            file.writeframesraw(minute)
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", HOUR, str(tmp_path / "hour.wav"), str(tmp_path / "scratch")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 80
    assert not list((tmp_path / "scratch").iterdir())
