import resource
from pathlib import Path

import av
import numpy as np
import pytest

from more_server.audio.book import BOOK_FORMATS, ISO_639_2, BookFormat, Mark, Tags, write_book
from more_server.text import LANGUAGES

from .signals import RATE, chirp

COUNT = 3 * RATE + 1234
TAGS = Tags(title="Größe; =#1", author="Ann Other", album="All of it", language="zh-cn", track=2, tracks=3)
MARKS = (Mark("Eins", 0, RATE + 7), Mark("Zwei – 二", RATE + 7, 5 * RATE // 2), Mark("3", 5 * RATE // 2, COUNT))
FORMATS = pytest.mark.parametrize("format_", BOOK_FORMATS.values(), ids=BOOK_FORMATS.keys())


def pieces():
    whole = np.rint(chirp(COUNT) * 32767).astype(np.int16)
    return [whole[:7], whole[7:7], whole[7:RATE], whole[RATE:]]


def decoded(container):
    frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    return np.concatenate([frame[0] for frame in frames])


@FORMATS
def test_a_recording_is_read_back_with_its_tags_and_chapters(tmp_path: Path, format_: BookFormat):
    file = tmp_path / f"book{format_.suffix}"
    write_book(file, format_, pieces(), RATE, TAGS, MARKS)
    with av.open(file) as read:
        stream = read.streams.audio[0]
        tags = {name.lower(): value for name, value in (dict(read.metadata) | dict(stream.metadata)).items()}
        heard = [
            (chapter["metadata"]["title"], float(chapter["start"] * chapter["time_base"]))
            for chapter in read.chapters()
        ]
        samples = decoded(read) if format_.codec.name != "libopus" else decoded(read)[::2]  # which decodes to 48 kHz
        seconds = float(stream.duration * stream.time_base)
    assert (tags["title"], tags["artist"], tags["album"]) == (TAGS.title, TAGS.author, TAGS.album)
    assert (tags["language"], tags["track"]) == ("zho", "2/3")
    if format_.marks != "none":
        exact = 1 / RATE if format_.name == "m4b" else 0.001
        assert [title for title, _ in heard] == [mark.title for mark in MARKS]
        assert [start for _, start in heard] == pytest.approx([mark.start / RATE for mark in MARKS], abs=exact)
    else:
        assert heard == []
    assert COUNT <= len(samples) <= COUNT + (1023 if format_.name == "m4b" else 0)
    assert seconds == pytest.approx(COUNT / RATE, abs=0.012)  # Ogg counts what Opus puts before the first sample, too
    if samples.dtype == np.int16:
        assert np.array_equal(samples, np.concatenate(pieces()))
    else:
        assert np.corrcoef(samples[:COUNT], np.concatenate(pieces()))[0, 1] > 0.98  # nothing is late


@FORMATS
def test_the_same_audio_is_the_same_file(tmp_path: Path, format_: BookFormat):
    for name in ("one", "other"):
        write_book(tmp_path / name, format_, pieces(), RATE, TAGS, MARKS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@FORMATS
def test_little_to_say_about_it_and_little_in_it(tmp_path: Path, format_: BookFormat):
    write_book(tmp_path / "book", format_, [np.zeros(24, np.int16)], RATE, Tags(title="Silence"))
    with av.open(tmp_path / "book") as read:
        assert read.chapters() == []
        assert sum(frame.samples for frame in read.decode(audio=0)) >= 24


@FORMATS
def test_a_disk_that_is_full_is_told(tmp_path: Path, format_: BookFormat):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(3).integers(-9000, 9000, 20 * RATE, np.int16)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_book(tmp_path / "book", format_, [noise], RATE, TAGS, MARKS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_index_of_an_m4b_comes_first(tmp_path: Path):
    write_book(tmp_path / "book.m4b", BOOK_FORMATS["m4b"], pieces(), RATE, TAGS, MARKS)
    data = (tmp_path / "book.m4b").read_bytes()
    assert data[4:12] == b"ftypM4B "
    assert data.index(b"moov") < data.index(b"mdat")


def test_what_the_pieces_raise_comes_out(tmp_path: Path):
    def broken():
        yield np.zeros(RATE, np.int16)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_book(tmp_path / "book.mp3", BOOK_FORMATS["mp3"], broken(), RATE, TAGS)


def test_every_language_has_three_letters():
    assert {language.partition("-")[0] for language in LANGUAGES} == set(ISO_639_2)
