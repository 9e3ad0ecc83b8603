"""What people really hand in: each bad recording or line is refused by name, and the good ones become a dataset."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from more_train.dataset.format import Clip, Refused
from more_train.dataset.sources import printable

from more_server.audio.encode import encode_file
from more_server.errors import BadInput
from tests.espeak import SAMPLE_RATE
from tests.train.dataset.recordings import SENTENCES, content, label, ljspeech, made, read_aloud, say, silence, write

GOOD = [f"{SENTENCES[number % 12]} {SENTENCES[(5 * number + 1 + number // 12) % 12]}" for number in range(21)]
ODD = "we%20ird 'name' <b>&amp; ünï"
FOREIGN = "Der Fluss war in der Nacht gestiegen, und niemand wusste davon."
LONG = " ".join(SENTENCES[:6])


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 21 good recordings and one of each bad kind."""
    folder = tmp_path_factory.mktemp("bad") / "source"
    wavs = folder / "wavs"
    texts = {}
    for number, text in enumerate(GOOD):
        write(wavs / f"good{number:02}.wav", read_aloud(text))
        texts[f"good{number:02}"] = text
    clean = read_aloud(SENTENCES[5])
    noise = np.random.default_rng(2).normal(size=len(clean)).astype(np.float32)
    sounds = {
        "mute": np.zeros(SAMPLE_RATE * 2, np.float32),
        "clipped": np.clip(6 * read_aloud(SENTENCES[1]), -0.9, 0.9),
        "noisy": clean + noise * np.float32(np.sqrt(np.square(clean).mean()) / 2),
        "short": say("Oh."),
        "long": read_aloud(LONG),
        "longer": np.concatenate([read_aloud(LONG), silence(4)]),
        "foreign": read_aloud(FOREIGN),
        "wrong": read_aloud(SENTENCES[2]),
        "copy": read_aloud(GOOD[3]),
        "twice-1": read_aloud(SENTENCES[7]),
        "two-texts": read_aloud(SENTENCES[8]),
        "no-text": read_aloud(SENTENCES[9]),
        "unnamed": read_aloud(SENTENCES[10]),
        ODD: read_aloud(SENTENCES[11]),
    }
    for name, sound in sounds.items():
        write(wavs / f"{name}.wav", sound)
        texts[name] = SENTENCES[0]
    texts |= {
        "long": LONG, "longer": LONG, "wrong": LONG, "foreign": FOREIGN,
        "copy": GOOD[3].upper(), "twice-1": SENTENCES[7], "two-texts": SENTENCES[8], "no-text": "  … ",
        "short": "Oh.", ODD: SENTENCES[11], "clipped": SENTENCES[1], "noisy": SENTENCES[5],
    }  # fmt: skip
    # The same recording in another encoding, and under another name with another text.
    write(wavs / "good-as-mp3.mp3", read_aloud(GOOD[4]), "mp3")
    texts["good-as-mp3"] = GOOD[4]
    write(wavs / "same-sound.wav", read_aloud(GOOD[5]))
    texts["same-sound"] = SENTENCES[0]
    (wavs / "empty.wav").touch()
    (wavs / "no-audio.wav").write_text("hello, I am a letter")
    (wavs / "cut-short.flac").write_bytes(encode_file(clean, SAMPLE_RATE, "flac")[:200])
    (wavs / "half.mp3").write_bytes(encode_file(read_aloud(LONG), SAMPLE_RATE, "mp3")[:24_000])
    (wavs / "old.wma").write_bytes(b"\x30\x26\xb2\x75")
    texts |= dict.fromkeys(("empty", "no-audio", "cut-short"), SENTENCES[0]) | {"half": LONG}
    del texts["unnamed"]
    (folder.parent / "secret.wav").write_bytes((wavs / "good00.wav").read_bytes())
    (wavs / "link.wav").symlink_to(folder.parent / "secret.wav")
    (wavs / "nowhere.wav").symlink_to(wavs / "nothing.wav")
    os.mkfifo(wavs / "pipe.wav")
    (folder / "elsewhere").symlink_to(folder.parent)
    (wavs / ".hidden.wav").touch()
    (wavs / b"\xff\xfe-bytes.wav".decode("utf-8", "surrogateescape")).write_bytes(b"")
    label(folder, texts)
    with (folder / "metadata.csv").open("a") as file:
        file.write(f"gone|{SENTENCES[0]}\n../secret.wav|{SENTENCES[0]}\n/etc/passwd|{SENTENCES[0]}\n")
        file.write(f"twice-1.wav|{SENTENCES[7]}\nwavs/two-texts.wav|{SENTENCES[3]}\nno line at all\n")
    return folder


Found = tuple[dict[str, Clip], dict[str, Refused]]


@pytest.fixture(scope="module")
def found(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Found:
    before = content(everything)
    dataset, clips, refused = made(everything, tmp_path_factory.mktemp("out") / "dataset", most_hours=0.004)
    assert content(everything) == before
    assert dataset.clips == len(clips)
    return clips, {row.source: row for row in refused}


def test_the_good_ones_become_a_dataset(found: Found):
    good = {f"wavs/good{number:02}.wav" for number in range(21)} | {f"wavs/{ODD}.wav", "wavs/twice-1.wav"}
    # good04 is there twice, good05 with two texts, and the copy of good03 comes before it.
    clips = set(found[0]) - {"wavs/good-as-mp3.mp3", "wavs/good04.wav"}
    assert clips == good - {"wavs/good03.wav", "wavs/good04.wav", "wavs/good05.wav"} | {"wavs/copy.wav"}
    assert len({"wavs/good-as-mp3.mp3", "wavs/good04.wav"} & set(found[0])) == 1
    assert found[0][f"wavs/{ODD}.wav"].id.startswith("we-20ird-name-b-amp-uni-")


@pytest.mark.parametrize(
    ("name", "reason", "why"),
    [
        ("wavs/mute.wav", "no_speech", "there is no speech in its 2.0 s"),
        (
            "wavs/clipped.wav",
            "clipped",
            "samples are clipped; at most 0.10% are allowed: record at a lower",
        ),
        ("wavs/noisy.wav", "noise", "dB below the speech; 15 dB and more are allowed (least_signal_to_noise)"),
        ("wavs/short.wav", "short", "s long; 1 s and more are allowed (shortest_seconds)"),
        ("wavs/long.wav", "long", "s long; at most 12 s are allowed, and metadata.csv does not say where"),
        ("wavs/longer.wav", "large", "longer than the 14.4 s allowed"),
        ("wavs/foreign.wav", "language", "its text is in de; the dataset's language is en"),
        ("wavs/wrong.wav", "pace", "characters a second where source speaks some"),
        ("wavs/half.mp3", "pace", "the text is another one, or less is said than it tells"),
        ("wavs/good03.wav", "duplicate", "the same recording with the same text as wavs/copy.wav from 0."),
        ("wavs/same-sound.wav", "contradiction", "the same recording has different texts: wavs/good05.wav"),
        ("wavs/good05.wav", "contradiction", "the same recording has different texts"),
        ("wavs/two-texts.wav", "contradiction", "named more than once, with different texts or speakers: metadata.csv"),
        ("wavs/unnamed.wav", "unnamed", "metadata.csv does not name it"),
        ("wavs/empty.wav", "unreadable", "it is damaged or no audio; send wav, mp3"),
        ("wavs/no-audio.wav", "unreadable", "it is damaged or no audio"),
        ("wavs/cut-short.flac", "unreadable", "no"),
        ("wavs/old.wma", "foreign", "this kind of audio cannot be read; send wav, mp3"),
        ("wavs/link.wav", "outside", "the link leads out of the folder; copy the file into it"),
        ("wavs/nowhere.wav", "link", "it leads nowhere: No such file or directory"),
        ("wavs/pipe.wav", "link", "it is a device or a pipe, no file"),
        ("elsewhere", "link", "links to folders are not followed; copy the folder"),
        (r"wavs/\xff\xfe-bytes.wav", "unnamed", "does not name it"),
    ],
)
def test_a_bad_one_is_refused_by_name(found: Found, name: str, reason: str, why: str):
    assert reason in found[1][name].reasons
    assert why in found[1][name].why


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("no_text", "wavs/no-text.wav has no text"),
        ("missing", "there is no 'gone'"),
        ("outside", "'../secret.wav' leads out of the folder"),
        ("outside", "'/etc/passwd' leads out of the folder"),
        ("twice", "wavs/twice-1.wav was named before"),
        ("line", "'no line at all' is not `file|text`"),
    ],
)
def test_a_bad_line_is_refused_by_its_number(found: Found, reason: str, why: str):
    (row,) = (row for row in found[1].values() if row.reasons == (reason,) and why in row.why)
    assert row.source.startswith("metadata.csv, line ")


def test_hidden_files_are_nobodys_business(found: Found):
    assert not any(".hidden" in name for name in [*found[0], *found[1]])


def test_nothing_is_lost(everything: Path, found: Found):
    """Every recording is in the dataset or refused, and one in two encodings is there once."""
    names = {
        printable(path.relative_to(everything).as_posix())
        for path in everything.rglob("*")
        if path.suffix in (".wav", ".mp3", ".flac", ".wma") and path.name[0] != "."
    }
    assert names - set(found[0]) - set(found[1]) == {"wavs/no-text.wav"}  # told by its line


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda folder: None, "there is no recording in .*source; put wav, mp3, .* there$"),
        (lambda folder: (folder / "a.wma").touch(), r"there: a.wma: this kind of audio cannot be read"),
        (
            lambda folder: write(folder / "a.wav", silence(1)),
            "has no metadata.csv, so its texts are not known",
        ),
        (lambda folder: (folder / "metadata.csv").write_bytes(b"a|b\nc|\xe9t\xe9"), r"metadata.csv, line 2: .*UTF-8"),
        (
            lambda folder: (folder / "metadata.csv").write_text("a.wav,Hello\n"),
            r"no line has a \|, as in `wavs",
        ),
        (
            lambda folder: label(folder, {"a": "One.", "b": "Two."}),
            r"0 clips of .*source can be used, and a dataset needs 2. Refused: missing \(2\); metadata.csv, line 1: "
            r"there is no 'a'; .*report.html tells of each",
        ),
        (lambda folder: ljspeech(folder, SENTENCES[:1]), "1 clips of .* can be used, and a dataset needs 2"),
    ],
)
def test_where_there_is_nothing_to_use_the_message_says_what_would_be(
    prepare: Callable[[Path], None], said: str, tmp_path: Path
):
    (tmp_path / "source").mkdir()
    prepare(tmp_path / "source")
    with pytest.raises(BadInput, match=said):
        made(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_a_file_that_cannot_be_read_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = ljspeech(tmp_path / "source", SENTENCES[:3])
    real = Path.open

    def fail(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "0001.wav":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        dataset, _, (row,) = made(source, tmp_path / "out")
    assert (dataset.clips, row.source, row.reasons) == (2, "wavs/0001.wav", ("unread",))
    assert (row.why, row.text) == ("it cannot be read: Input/output error", SENTENCES[1])
    assert made(source, tmp_path / "out")[0].clips == 3


def test_a_text_without_end_is_not_read(tmp_path: Path):
    source = ljspeech(tmp_path / "source", SENTENCES[:3])
    label(source, {"0000": SENTENCES[0], "0001": SENTENCES[1], "0002": "la " * 100_000})
    _, _, (row,) = made(source, tmp_path / "out")
    assert (row.source, row.reasons) == ("metadata.csv, line 3", ("characters",))
    assert row.why == "the text of wavs/0002.wav has 299999 characters; at most 2000 are looked at"
    assert len(row.text) < 100


def test_a_source_that_is_none(tmp_path: Path):
    with pytest.raises(BadInput, match="does not exist; name a folder or a zip archive of recordings"):
        made(tmp_path / "nothing", tmp_path / "out")
    with pytest.raises(BadInput, match="neither a folder nor a zip archive; put recordings into a folder"):
        made(write(tmp_path / "a.wav", say("Hello.")), tmp_path / "out")


def test_more_files_and_larger_ones_than_allowed(tmp_path: Path):
    source = ljspeech(tmp_path / "source", SENTENCES[:3])
    with pytest.raises(BadInput, match="source holds more than the 3 files allowed"):
        made(source, tmp_path / "out", most_files=3)
    largest = max(path.stat().st_size for path in (source / "wavs").iterdir())
    _, _, (large,) = made(source, tmp_path / "out", most_file_bytes=largest - 1)
    assert large.reasons == ("large",)
    assert large.why == f"it has {largest} bytes; at most {largest - 1} are allowed (most_file_bytes)"
