"""Zip archives that a stranger made: what is sound in them is used, and nothing in them is trusted."""

import io
import re
import stat
import struct
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from more_train.dataset.format import Refused
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.sources import open_source

from more_server.errors import BadInput, TooLarge
from tests.espeak import SAMPLE_RATE
from tests.train.dataset.recordings import SENTENCES, encode_file, made, read_aloud

ZEROS = b"\0" * 60_000_000


def sound(number: int) -> bytes:
    return encode_file(read_aloud(SENTENCES[number]), SAMPLE_RATE, "flac")


def pack(path: Path, *more: tuple[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive of two good recordings in a folder, and more."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("Reader/wavs/a.flac", sound(0))
        made.writestr("Reader/wavs/b.flac", sound(1))
        texts = f"a|{SENTENCES[0]}\nb|{SENTENCES[1]}\n"
        made.writestr(
            "Reader/metadata.csv", texts + "".join(f"c|{SENTENCES[2]}\n" for n, _ in more if "c.flac" in str(n))
        )
        made.writestr("__MACOSX/Reader/wavs/._a.flac", b"")
        made.writestr("Reader/.DS_Store", b"")
        for name, content in more:
            made.writestr(name, content, compression)
    return path


def info(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, mode << 16
    return made


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Refused]]:
    """The folder of an archive of everything, and what was refused of it."""
    folder = tmp_path_factory.mktemp("hostile") / "in" / "here"
    folder.mkdir(parents=True)
    path = pack(
        folder / "upload.zip",
        ("../../slip.wav", sound(2)),
        ("/etc/slip.wav", sound(2)),
        ("..\\slip.wav", sound(2)),
        ("C:/windows.wav", sound(2)),
        ("secret.wav", sound(2)),
        (info("link.wav", stat.S_IFLNK | 0o777), b"/etc/passwd"),
        (info("pipe.wav", stat.S_IFIFO | 0o644), b""),
    )
    with zipfile.ZipFile(path, "a") as made_:
        made_.writestr("bomb.wav", ZEROS, zipfile.ZIP_DEFLATED)
        made_.writestr("old.wav", b"x" * 1000, zipfile.ZIP_BZIP2)
        with pytest.warns(UserWarning, match="Duplicate name"):
            made_.writestr("Reader/wavs/a.flac", sound(3))
    _encrypt(path, b"secret.wav")
    dataset, clips, refused = made(path, folder / "out")
    assert (dataset.clips, set(clips)) == (2, {"Reader/wavs/a.flac", "Reader/wavs/b.flac"})
    return folder, {row.source: row for row in refused}


def _encrypt(path: Path, name: bytes) -> None:
    """Set the flag that says so, in the directory."""
    content = bytearray(path.read_bytes())
    place = content.rfind(name) - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    content[place + 8] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "reason", "why"),
    [
        ("../../slip.wav", "outside", "names that lead elsewhere are not taken out of an archive"),
        ("/etc/slip.wav", "outside", "names that lead elsewhere"),
        ("../slip.wav", "outside", "names that lead elsewhere"),
        ("C:/windows.wav", "outside", "names that lead elsewhere"),
        ("secret.wav", "encrypted", "make the archive without a password"),
        ("link.wav", "link", "it is a link or a device, no file"),
        ("pipe.wav", "link", "it is a link or a device, no file"),
        ("bomb.wav", "large", "bytes that unpack to 60000000 are no recording"),
        ("old.wav", "foreign", "compressed in a way that is not read; use deflate or none"),
        ("Reader/wavs/a.flac", "twice", "the name stands in it twice; the first one is taken"),
    ],
)
def test_what_is_not_taken_is_told(hostile: tuple[Path, dict[str, Refused]], name: str, reason: str, why: str):
    row = hostile[1][name]
    assert row.reasons == (reason,)
    assert why in row.why


def test_nothing_is_written_beside_the_dataset(hostile: tuple[Path, dict[str, Refused]]):
    here = hostile[0]
    assert {path.name for path in here.iterdir()} == {"upload.zip", "out", ".locks"}
    assert [path.name for path in here.parent.iterdir()] == ["here"]
    assert [path.name for path in here.parent.parent.iterdir()] == ["in"]
    assert not Path("/etc/slip.wav").exists()
    assert not any("slip" in path.name for path in (here / "out").rglob("*"))


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path):
    path = pack(tmp_path / "a.zip", ("Reader/c.wav", ZEROS[:5_000_000]), compression=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    place = content.rfind(b"Reader/c.wav") - 46
    content[place + 24 : place + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with (
        closing(open_source(path, DatasetSettings(language="en"))) as source,
        pytest.raises(BadInput, match=r"cannot be unpacked: Bad CRC-32"),
    ):
        source.open(source.entries["Reader/c.wav"], tmp_path)
    assert sum(1 for _ in tmp_path.iterdir()) == 1  # what was unpacked so far is gone


def test_a_damaged_entry_does_not_stop_the_others(tmp_path: Path):
    path = pack(tmp_path / "a.zip", ("Reader/wavs/c.flac", sound(2)))
    content = path.read_bytes()
    place = content.index(sound(2)) + 20_000
    path.write_bytes(content[:place] + b"\0" * 100 + content[place + 100 :])
    dataset, _, (row,) = made(path, tmp_path / "out")
    assert (dataset.clips, row.source, row.reasons) == (2, "Reader/wavs/c.flac", ("unreadable",))
    assert row.why.startswith("it cannot be unpacked: Bad CRC-32")


def test_a_bomb_of_many_recordings_is_refused_as_a_whole(tmp_path: Path):
    path = pack(tmp_path / "a.zip", *((f"{number}.wav", ZEROS[:1_000_000]) for number in range(10)))
    with pytest.raises(TooLarge, match=r"a.zip says that it unpacks to \d+ bytes; at most 9000000 are allowed"):
        made(path, tmp_path / "out", most_bytes=9_000_000)


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(200):
            packed.writestr(f"{number}.wav", b"")
    with pytest.raises(TooLarge, match=r"a.zip holds 200 files; at most 199 are allowed") as refused:
        open_source(path, DatasetSettings(language="en", most_files=199))
    assert refused.value.param == "source"
    with closing(open_source(path, DatasetSettings(language="en", most_files=200))) as source:
        assert len(source.entries) == 200


@pytest.mark.parametrize(
    "spoil", [lambda b: b[:-300], lambda b: b[:100] + b[-22:], lambda b: b"PK\x05\x06" + b"\xff" * 18]
)
def test_a_cut_archive_says_so(spoil, tmp_path: Path):
    path = tmp_path / "a.zip"
    path.write_bytes(spoil(pack(path).read_bytes()))
    with pytest.raises(
        BadInput, match=r"a.zip (cannot be read|is neither a folder nor a zip)|the list of the files in|there is no"
    ):
        made(path, tmp_path / "out")


def test_names_that_macos_wrote_are_read(tmp_path: Path):
    """Its archiver writes UTF-8, its accents apart from their letters, and does not set the flag that says so."""
    path = tmp_path / "a.zip"
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as packed:
        for index, name in enumerate(("u\u0308ber.flac", "b.flac")):
            packed.writestr(name, sound(index))
        packed.writestr("metadata.csv", f"über|{SENTENCES[0]}\nb.flac|{SENTENCES[1]}\n")
    flagged = rb"(PK\x03\x04\x14\x00|PK\x01\x02\x14\x03\x14\x00)\x00\x08"
    path.write_bytes(re.sub(flagged, lambda found: found[1] + b"\0\0", sink.getvalue()))
    with zipfile.ZipFile(path) as packed:
        assert not packed.infolist()[0].flag_bits & 0x800
    dataset, clips, _ = made(path, tmp_path / "out")
    assert dataset.clips == 2
    assert "u\u0308ber.flac" in clips
