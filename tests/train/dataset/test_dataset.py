"""Recordings become a dataset: in the format that trainers read, the same each time, and no more work than needed."""

import os
import zipfile
from pathlib import Path

import av
import msgspec
import numpy as np
import pyloudnorm
import pytest
from more_train.dataset import build as building
from more_train.dataset.assemble import held_out, speaker_folders
from more_train.dataset.build import build
from more_train.dataset.format import read_dataset
from more_train.dataset.settings import DatasetSettings

from more_server.errors import BadInput, StorageError
from more_server.files import locked
from tests.train.dataset.recordings import SENTENCES, content, label, ljspeech, made, read_aloud, samples, say, write


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ljspeech(tmp_path_factory.mktemp("source") / "reader")


@pytest.fixture(scope="module")
def out(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that tests look at and leave as it is."""
    folder = tmp_path_factory.mktemp("out") / "dataset"
    made(source, folder)
    return folder


def test_a_folder_becomes_a_dataset(source: Path, out: Path):
    dataset, clips = read_dataset(out)
    assert dataset.version == 1
    assert (dataset.name, dataset.language, dataset.sample_rate, dataset.speakers) == (
        "reader", "en", 24_000, ("reader",),
    )  # fmt: skip
    assert (dataset.clips, dataset.held_out, dataset.source) == (4, 1, str(source))
    assert dataset.seconds == pytest.approx(sum(clip.seconds for clip in clips), abs=0.01)
    assert [clip.text for clip in clips] == list(SENTENCES[:4])
    assert [clip.split for clip in clips].count("held_out") == 1
    for clip in clips:
        assert clip.file == f"clips/reader/{clip.id}.flac"
        assert clip.source.startswith("wavs/000")
        assert 0 < clip.start < clip.end
    assert {path.name for path in out.iterdir()} == {
        "dataset.json", "clips.jsonl", "refused.jsonl", "report.json", "report.html", "clips", ".work",
    }  # fmt: skip


def test_clips_are_flac_of_16_bits_at_24_khz_and_one_loudness(out: Path):
    for clip in read_dataset(out)[1]:
        with av.open(out / clip.file) as file:
            stream = file.streams.audio[0]
            assert (stream.codec_context.name, stream.rate, stream.channels) == ("flac", 24_000, 1)
            assert stream.codec_context.format.name == "s16"
        found = samples(out, clip)
        assert len(found) / 24_000 == pytest.approx(clip.seconds, abs=0.001)
        assert np.abs(found).max() <= 10 ** (-1 / 20) + 1e-3
        loudness = pyloudnorm.Meter(24_000).integrated_loudness(found)
        # Softer only where the peak is at its limit.
        assert loudness == pytest.approx(-20, abs=0.3) or np.abs(found).max() > 10 ** (-1.1 / 20)


def test_a_loud_peak_stays_below_full_scale(tmp_path: Path):
    knock = read_aloud(SENTENCES[0])
    knock *= 0.05 / np.abs(knock).max()
    knock[len(knock) // 2] = 0.9
    write(tmp_path / "source" / "a.wav", knock)
    write(tmp_path / "source" / "b.wav", read_aloud(SENTENCES[1]))
    label(tmp_path / "source", {"a.wav": SENTENCES[0], "b.wav": SENTENCES[1]})
    _, clips, _ = made(tmp_path / "source", tmp_path / "out", least_signal_to_noise=0)
    assert np.abs(samples(tmp_path / "out", clips["a.wav"])).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)


def test_sources_are_not_altered(tmp_path: Path):
    source = ljspeech(tmp_path / "source", SENTENCES[:2])
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in source.rglob("*")}, content(source)
    made(source, tmp_path / "out")
    assert before == (
        {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in source.rglob("*")}, content(source),
    )  # fmt: skip


def test_a_zip_archive_gives_the_clips_of_its_folder(source: Path, out: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "upload.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.rglob("*")):
            archive.write(path, path.relative_to(source))
    dataset, clips, refused = made(tmp_path / "upload.zip", tmp_path / "out", speaker="reader")
    assert (dataset.name, refused) == ("upload", [])
    assert tuple(clips.values()) == read_dataset(out)[1]
    assert content(tmp_path / "out" / "clips") == content(out / "clips")


def test_coqui_names_speakers_below_a_header(tmp_path: Path):
    source = tmp_path / "source"
    for name, text in zip(("wavs/a.wav", "b.flac", "wavs/c.wav"), SENTENCES, strict=False):
        write(source / name, read_aloud(text), name.split(".")[1])
    (source / "metadata.csv").write_text(
        "audio_file|text|speaker_name\n"
        f"wavs/a.wav|{SENTENCES[0]}|Ann\n"
        f'b.flac|"{SENTENCES[1][:-1]} ""again""."|Ann\n'
        f"wavs/c.wav|{SENTENCES[2]}|../Bo Ünlü\n",
        "utf-8-sig",
    )
    dataset, clips, refused = made(source, tmp_path / "out", language="English")
    assert (dataset.speakers, dataset.language, refused) == (("ann", "bo-ünlü"), "en", [])
    assert clips["b.flac"].text == 'Nobody knew what he had meant by it "again".'
    assert clips["wavs/c.wav"].file.startswith("clips/bo-ünlü/c-")
    report = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes())
    assert [(row["name"], row["clips"]) for row in report["speakers"]] == [("Ann", 2), ("../Bo Ünlü", 1)]


def test_ljspeechs_third_column_is_what_is_read(tmp_path: Path):
    source = ljspeech(tmp_path / "source", SENTENCES[:2])
    (source / "metadata.csv").write_text(f"0000|In 1999 it rose.|{SENTENCES[0]}\n0001|{SENTENCES[1]}|\n")
    _, clips, _ = made(source, tmp_path / "out")
    assert [clip.text for clip in clips.values()] == list(SENTENCES[:2])


def test_a_second_run_changes_nothing_and_cuts_nothing(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    before = content(out), {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.is_file()}
    monkeypatch.setattr(building, "Cutter", None)
    monkeypatch.setattr(building, "judge", None)
    dataset, _, _ = made(source, out)
    assert dataset.clips == 4
    assert before == (content(out), {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.is_file()})


def test_the_same_recordings_give_the_same_files_anywhere(source: Path, out: Path, tmp_path: Path):
    made(source, tmp_path / "out", workers=1)
    again = content(tmp_path / "out")
    ours = content(out)
    for name in ("dataset.json", "report.json", "report.html"):  # these tell the number of workers
        assert again.pop(name) != ours.pop(name)
    assert again == ours


def test_other_bounds_judge_anew_and_cut_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = ljspeech(tmp_path / "source", SENTENCES[:4])
    dataset, clips, _ = made(source, tmp_path / "out")
    monkeypatch.setattr(building, "Cutter", None)
    shortest = min(clip.seconds for clip in clips.values())
    fewer, kept, refused = made(source, tmp_path / "out", shortest_seconds=shortest + 0.01)
    assert fewer.clips == dataset.clips - 1
    assert [row.reasons for row in refused] == [("short",)]
    assert not (tmp_path / "out" / clips[refused[0].source].file).exists()
    assert (tmp_path / "out" / refused[0].file).exists()
    assert all((tmp_path / "out" / clip.file).exists() for clip in kept.values())
    assert made(source, tmp_path / "out")[1] == clips


def test_more_recordings_keep_what_is_held_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = ljspeech(tmp_path / "source", SENTENCES[:3])
    first, clips, _ = made(source, tmp_path / "out")
    kept = {clip.file: (tmp_path / "out" / clip.file).stat().st_ino for clip in clips.values()}
    ljspeech(source, SENTENCES[:5])
    for number in range(3):  # written again, and the same
        os.utime(source / "wavs" / f"{number:04}.wav", ns=(0, 0))
    more, clips, _ = made(source, tmp_path / "out")
    assert (first.clips, more.clips) == (3, 5)
    (source / "wavs" / "0004.wav").unlink()
    label(source, {f"{number:04}": SENTENCES[number] for number in range(4)})
    fewer, clips, _ = made(source, tmp_path / "out")
    assert fewer.clips == 4
    assert len(list((tmp_path / "out" / "clips").rglob("*.flac"))) == 4
    assert not list((tmp_path / "out" / ".work" / "cut").iterdir())
    assert kept.keys() <= {clip.file for clip in clips.values()}


def test_what_is_held_out_is_five_in_a_hundred_and_never_trained_on():
    ids = [f"clip-{number}" for number in range(6000)]
    assert [len(held_out(ids[:count])) for count in (1, 2, 10)] == [1, 1, 1]
    assert 30 <= len(held_out(ids[:1000])) <= 70
    assert len(held_out(ids)) == 100
    trained: set[str] = set()
    for count in range(1, 6000, 97):
        apart = held_out(ids[:count])
        assert not apart & trained
        trained |= set(ids[:count]) - apart


def test_speakers_have_folders_of_their_own():
    names = ["Ann", "ann", "../..", "Łucja Żółć", "a" * 300, "a" * 299, "李", ""]
    folders = speaker_folders(names)
    assert folders["Łucja Żółć"] == "łucja-żółć"
    assert len({folder.lower() for folder in folders.values()}) == len(names)
    assert all("/" not in folder and "." not in folder and 0 < len(folder) <= 60 for folder in folders.values())


def test_the_ends_are_padded_with_the_room(tmp_path: Path):
    """A clip that ends with its last sound, one with much silence, and one in a room that hums."""
    tight, loose = say(SENTENCES[0]), read_aloud(SENTENCES[1], 1.0, 1.0)
    hum = (0.003 * np.sin(2 * np.pi * 120 * np.arange(22_050) / 22_050)).astype(np.float32)
    pause = np.concatenate([say(SENTENCES[2]), hum[:11_025], say(SENTENCES[3])])
    for name, recording in {"tight": tight, "loose": loose, "hum": pause}.items():
        write(tmp_path / "source" / f"{name}.wav", recording)
    texts = {"tight": SENTENCES[0], "loose": SENTENCES[1], "hum": f"{SENTENCES[2]} {SENTENCES[3]}"}
    label(tmp_path / "source", texts)
    _, clips, refused = made(tmp_path / "source", tmp_path / "out", least_signal_to_noise=0)
    assert refused == []
    for name in texts:
        found = samples(tmp_path / "out", clips[f"{name}.wav"])
        level = np.sqrt(np.square(found[: len(found) // 240 * 240].reshape(-1, 240)).mean(axis=1))
        loud = np.flatnonzero(level > 0.02 * level.max()) / 100
        assert 0.1 <= loud[0] <= 0.2, name
        assert 0.1 <= len(found) / 24_000 - loud[-1] - 0.01 <= 0.2, name
    hummed = samples(tmp_path / "out", clips["hum.wav"])
    # The hum of the pause is what the ends sound like; without it they would be zeros.
    assert all(1e-3 < np.abs(part).max() < 0.05 for part in (hummed[:2000], hummed[-2000:]))


def test_a_dataset_lies_in_a_folder_of_its_own(source: Path, tmp_path: Path):
    settings = DatasetSettings(language="en")
    for out in (source, source / "inside", source.parent):
        with pytest.raises(BadInput, match="lie within each other"):
            build(source, out, settings, lambda *_: None)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"full holds other things; name a folder that is new, empty or a dataset"):
        build(source, tmp_path / "full", settings, lambda *_: None)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]
    with pytest.raises(BadInput, match=r"thesis.txt is a file"):
        build(source, tmp_path / "full" / "thesis.txt", settings, lambda *_: None)


def test_two_at_once_do_not_mix(source: Path, tmp_path: Path):
    with locked(tmp_path / "out"), pytest.raises(StorageError, match="another process is writing"):
        build(source, tmp_path / "out", DatasetSettings(language="en"), lambda *_: None)


def test_what_is_no_dataset_is_not_read(out: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"is no dataset: there is no dataset.json"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_bytes((out / "dataset.json").read_bytes())
    (tmp_path / "clips.jsonl").write_bytes(b"")
    with pytest.raises(BadInput, match=r"clips.jsonl has 0 clips and not 4; build it again"):
        read_dataset(tmp_path)
    (tmp_path / "clips.jsonl").write_bytes(b"{")
    with pytest.raises(BadInput, match="cannot be read"):
        read_dataset(tmp_path)
    newer = (out / "dataset.json").read_text().replace('"version": 1', '"version": 2')
    (tmp_path / "dataset.json").write_text(newer)
    (tmp_path / "clips.jsonl").write_bytes(b"")
    with pytest.raises(BadInput, match="version 2; only 1 can be read"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"language": "Klingon"}, "language 'Klingon' is not known; allowed are ar, cs, de, en"),
        ({"pad_seconds": 3.0}, r"pad_seconds"),
        ({"workers": -1}, r"workers"),
        ({"preferred_seconds": 20.0}, "they must rise"),
    ],
)
def test_settings_that_do_not_fit_are_named(wrong: dict, said: str, source: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=said):
        made(source, tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_progress_tells_each_stage_from_beginning_to_end(source: Path, tmp_path: Path):
    heard: list[tuple[str, int, int]] = []
    build(source, tmp_path / "out", DatasetSettings(language="en"), lambda *told: heard.append(told))
    assert list(dict.fromkeys(stage for stage, _, _ in heard)) == ["reading", "checking", "writing"]
    for stage in ("reading", "checking", "writing"):
        steps = [(done, total) for name, done, total in heard if name == stage]
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]
