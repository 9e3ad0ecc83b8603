"""Archives that strangers made, whoever reads them: what is sound comes out, and nothing else does any harm."""

import io
import re
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.archive import name_of, opened, pieces, problem
from more_server.errors import BadInput, TooLarge
from tests.zips import endless


def packed(files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", how) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return sink.getvalue()


def unpacked(content: bytes, most: int = 100) -> dict[str, bytes]:
    with opened(io.BytesIO(content), "it", most, "file") as archive:
        sound = [info for info in archive.infolist() if problem(info) is None]
        return {name_of(info): b"".join(pieces(archive, info)) for info in sound}


def test_what_is_packed_comes_out() -> None:
    files = {f"folder of some length/{number:010}.wav": b"\0" * number * 100_000 for number in range(30)}
    assert unpacked(packed(files), most=30) == files
    with pytest.raises(TooLarge, match="it holds 30 files; at most 29 are allowed") as refused:
        unpacked(packed(files), most=29)
    assert refused.value.param == "file"


@pytest.mark.parametrize("comment", [b"", b"PK" * 1000, b"x" * 65535])
@pytest.mark.parametrize("long", [False, True])
def test_an_endless_list_is_refused_before_it_is_read(
    comment: bytes, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(io.BytesIO(endless(1000, comment=comment, long=long))) as believed:
        assert len(believed.infolist()) == 1000
    monkeypatch.setattr(zipfile, "ZipInfo", None)
    with pytest.raises(TooLarge, match="the list of the files in it has 4700000 bytes; at most 12800 are") as refused:
        unpacked(endless(100_000, comment=comment, long=long))
    assert refused.value.param == "file"


def test_names_are_read_as_they_were_meant_and_lead_nowhere() -> None:
    unflagged = re.sub(rb"(PK\x03\x04..|PK\x01\x02....)\x00\x08", rb"\1\0\0", packed({"über.wav": b"u"}))
    assert unpacked(unflagged) == unpacked(packed({"über.wav": b"u"})) == {"über.wav": b"u"}
    elsewhere = ("../a", "a/../../b", "/a", "..\\a", "C:\\a", "c:/a", "a//b", "./a")
    assert unpacked(packed({**dict.fromkeys(elsewhere, b"x"), "Q: what?.wav": b"q"})) == {"Q: what?.wav": b"q"}


@pytest.mark.parametrize("flag", [0x01, 0x40])
def test_what_is_encrypted_is_told(flag: int) -> None:
    info = zipfile.ZipInfo("a.wav")
    info.flag_bits |= flag
    assert problem(info) == ("encrypted", "it is encrypted; make the archive without a password")


SMALL = packed({"a.wav": b"RIFF" + b"\0" * 4000, "folder/b.txt": bytes(range(256))})


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(SMALL)))
@settings(max_examples=300, deadline=None)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_whatever_was_bent_is_read_or_refused(changes: list[tuple[int, int]], length: int) -> None:
    bent = bytearray(SMALL)
    for at, value in changes:
        bent[at] = value
    with suppress(BadInput):
        unpacked(bytes(bent[:length] if length % 3 == 0 else bent))
