"""A voice as an archive: there and back unchanged, and whatever a stranger makes of one refused in words."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from more_server.audio import apart, read
from more_server.audio.encode import encode_file
from more_server.errors import BadInput, TooLarge
from more_server.registry import Registry
from more_server.settings import Settings
from more_server.speech import REFERENCE_NAME, MixPart, Voice
from more_server.tables import LimitSettings
from more_server.text import LANGUAGES
from more_server.voicebank.archive import pack, unpack
from more_server.voicebank.details import (
    Details,
    checked,
    fitted,
    new_voice,
)
from more_server.voices import VoiceLibrary

LIMITS = LimitSettings(reference_bytes=200_000, voice_references=4)


@pytest.fixture(scope="module", autouse=True)
def decoded_here() -> Iterator[None]:
    """A process for each of a thousand clips would take minutes; tests/audio/test_apart.py has the process."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(apart, "decode", read.decode)
        yield


def tone(seconds: float = 1.2, hertz: float = 200, kind: str = "wav") -> bytes:
    at = np.arange(round(seconds * 24_000)) / 24_000
    return encode_file((0.3 * np.sin(2 * np.pi * hertz * at)).astype(np.float32), 24_000, kind)


TONE, FLAC = tone(), tone(kind="flac")
TOML = b'name = "Ann"\nlanguages = ["en"]\n'


def ann(**fields: Any) -> Voice:
    return Voice(**({"id": "ann", "name": "Ann", "references": ("a.wav",)} | fields))


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    registry = Registry(Settings(data_dir=tmp_path))
    registry.open(None)
    return VoiceLibrary(registry, 5.0)


def archive(
    files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] = lambda info: None, **how: Any
) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as made:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.filename = info.orig_filename = name  # as it is said, not as this system would have it
            info.compress_type = how.get("compress_type", zipfile.ZIP_DEFLATED)
            change(info)
            made.writestr(info, content)
    return sink.getvalue()


VISIBLE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(
    title=VISIBLE,
    languages=st.lists(st.sampled_from(LANGUAGES), unique=True).map(tuple),
    aliases=st.lists(st.from_regex(r"[a-z0-9 é-]{1,10}", fullmatch=True).map(str.strip).filter(bool), unique=True),
    texts=st.fixed_dictionaries({f: st.text(st.characters(exclude_categories=("C",))) for f in ("licence", "consent")}),
    weights=st.none() | st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)),
)
@settings(max_examples=40, deadline=None)
def test_voices_survive_the_archive(
    title: str,
    languages: tuple[str, ...],
    aliases: list[str],
    texts: dict[str, str],
    weights: tuple[float, float] | None,
) -> None:
    told = Details(title=title, languages=list(languages), aliases=aliases, **texts)
    mix = (MixPart(weights[0], ("one.wav",)), MixPart(weights[1], ("Two b.flac",))) if weights else ()
    clips = {"Two b.flac": FLAC, "one.wav": TONE}
    voice = new_voice("ann", {**checked(told), "mix": mix}, clips)
    packed = pack(voice, clips)
    assert pack(voice, clips) == packed
    assert unpack(packed, LIMITS) == (voice, clips)
    assert unpack(packed, LIMITS, "bob")[0].id == "bob"


def test_an_archive_is_a_folder_of_voices(library: VoiceLibrary, tmp_path: Path) -> None:
    voice = new_voice("ann", {"mix": (MixPart(2.0, ("a.wav",)),), "consent": 'said\n"yes"'}, ("a.wav",))
    with zipfile.ZipFile(io.BytesIO(pack(voice, {"a.wav": TONE}))) as packed:
        packed.extractall(tmp_path / "voices")
    found = library.find("ann")
    assert (found.name, found.mix, found.consent, library.clips(found)) == (
        voice.name,
        voice.mix,
        voice.consent,
        {"a.wav": TONE},
    )


def test_the_bundled_voices_go_round(library: VoiceLibrary) -> None:
    for voice in library.view().voices:
        made, clips = unpack(pack(voice, library.clips(voice)), LimitSettings(), f"{voice.id}-2")
        kept = library.add(made, clips)
        assert (kept.name, kept.aliases, kept.licence) == (voice.name, voice.aliases, voice.licence)
        assert library.clips(kept) == library.clips(voice)


def test_a_voice_without_recordings_has_no_archive() -> None:
    with pytest.raises(BadInput, match="no recordings"):
        pack(ann(references=()), {})


@pytest.mark.parametrize(
    "files",
    [
        {"voice.toml": b"", "a.wav": TONE},
        {"ann/voice.toml": TOML, "ann/a.wav": TONE},
        {"ann/": b"", "ann/voice.toml": TOML, "ann/a.wav": TONE},
        {
            "__MACOSX/": b"",
            "__MACOSX/ann/._a.wav": b"x",
            "ann/voice.toml": TOML,
            "ann/a.wav": TONE,
            "ann/.DS_Store": b"",
        },
        {"ann/voice.toml": TOML, "ann/a.wav": TONE, "ann/Thumbs.db": b"x", "ann/desktop.ini": b"x"},
    ],
)
def test_archives_as_people_make_them(files: dict[str, bytes]) -> None:
    voice, clips = unpack(archive(files), LIMITS, "ann")
    assert (voice.id, voice.name, clips) == ("ann", "Ann", {"a.wav": TONE})


def test_names_of_clips_are_made_to_fit() -> None:
    files = {"Ann's clip (1).WAV": TONE, "…​.wav": TONE, "reference.wav": TONE}
    toml = '[[mix]]\nweight = 1\nreferences = ["…​.wav", "Ann\'s clip (1).WAV", "reference.wav"]\n'
    voice, clips = unpack(archive({"voice.toml": toml.encode(), **files}), LIMITS, "ann")
    assert set(clips) == {"Ann-s-clip-1.wav", "reference.wav", "reference-2.wav"} == set(voice.references)
    assert voice.mix[0].references[1] == "Ann-s-clip-1.wav"
    assert set(voice.mix[0].references) == set(clips)


@pytest.mark.parametrize("names", [("a.wav", "A.wav"), ("x" * 100 + ".wav", "X" * 100 + ".wav"), ("é.wav", "è.wav")])
def test_fitted_names_differ_in_more_than_case(names: tuple[str, ...]) -> None:
    voice, clips = fitted(ann(references=names), dict.fromkeys(names, b""))
    assert len({name.lower() for name in voice.references}) == 2
    assert tuple(clips) == voice.references
    assert all(REFERENCE_NAME.fullmatch(name) for name in clips)


def link(info: zipfile.ZipInfo) -> None:
    if info.filename.endswith(".wav"):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "cannot be read"),
        (b"PK\x05\x06" + b"\0" * 18, "no voice.toml"),
        (b"garbage" * 1000, "cannot be read"),
        (archive({"../ann/voice.toml": TOML}), "lead elsewhere"),
        (archive({"/etc/voice.toml": TOML}), "lead elsewhere"),
        (archive({"voice.toml": TOML, "ann/../../a.wav": TONE}), "lead elsewhere"),
        (archive({"voice.toml": TOML, "..\\a.wav": TONE}), r"no name has \\"),
        (archive({"voice.toml": TOML, "C:a.wav": TONE}), "no name has .*:"),
        (archive({"voice.toml": TOML, "a\u202evaw.exe": TONE}), "what is not seen"),
        (archive({"voice.toml": TOML, "__MACOSX/../a.wav": TONE}), "lead elsewhere"),
        (archive({"voice.toml": TOML, "a//b.wav": TONE}), "lead elsewhere"),
        (archive({"voice.toml": TOML, "a.wav": TONE}, link), "a link"),
        (archive({"x/y/voice.toml": TOML, "x/y/a.wav": TONE}), "folders within folders"),
        (archive({"ann/voice.toml": TOML, "bob/a.wav": TONE}), "'ann', 'bob'"),
        (archive({"voice.toml": TOML, "a.wav": TONE, "A.WAV": TONE}), "twice"),
        (archive({"a.wav": TONE}), "no voice.toml"),
        (archive({"voice.toml": TOML}), "0 reference clips"),
        (archive({"voice.toml": TOML, **{f"{i}.wav": TONE for i in range(5)}}), "5 reference clips .* 1 to 4"),
        (archive({"voice.toml": TOML, "a.wav": TONE, "run.sh": b"x"}), "'run.sh', which is neither"),
        (archive({"voice.toml": TOML, "a.wav": b"no audio"}), r"^a\.wav: "),
        (archive({"voice.toml": TOML, "a.wav": tone(0.2)}), r"^a\.wav: .* at least 1 s"),
        (archive({"voice.toml": TOML, "a.wav": TONE}, compress_type=zipfile.ZIP_BZIP2), "use deflate"),
        (archive({"voice.toml": b"name =", "a.wav": TONE}), r"^voice\.toml: "),
        (archive({"voice.toml": b"\xff", "a.wav": TONE}), r"^voice\.toml: "),
        (archive({"voice.toml": b"nmae = 'x'", "a.wav": TONE}), r"^voice\.toml: .*nmae"),
        (archive({"voice.toml": b"name = 3", "a.wav": TONE}), r"^voice\.toml: .*name"),
        (archive({"voice.toml": b"name = 'a\\u202eb'".replace(b"'", b'"'), "a.wav": TONE}), r"^voice\.toml: title"),
        (archive({"voice.toml": b"languages = ['tlh']", "a.wav": TONE}), r"^voice\.toml: there is no language"),
        (archive({"voice.toml": b"x = " + b"[" * 20_000, "a.wav": TONE}), r"^voice\.toml: "),
        (archive({"voice.toml": b"a." * 30_000 + b"a = 1", "a.wav": TONE}), "more than 1000 dots"),
        (
            archive({"voice.toml": b"[[mix]]\nweight = 1\nreferences = ['b.wav']", "a.wav": TONE}),
            "'b.wav', which is no reference clip",
        ),
        (archive({"voice.toml": b"[[mix]]\nweight = nan\nreferences = ['a.wav']", "a.wav": TONE}), "above 0"),
        (archive({"voice.toml": b"[[mix]]\nweight = 1\nreferences = []", "a.wav": TONE}), "no references"),
        (archive({"voice.toml": b"[[mix]]\nwieght = 1\nreferences = []", "a.wav": TONE}), r"^voice\.toml: .*wieght"),
    ],
)
def test_archives_that_are_refused(content: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        unpack(content, LIMITS, "ann")
    assert refused.value.param == "file"
    assert len(refused.value.message) < 400


def test_archives_that_do_not_say_the_name_or_a_wrong_one() -> None:
    for files, says in (
        ({"voice.toml": TOML, "a.wav": TONE}, "does not say"),
        ({"Ann B/voice.toml": TOML, "Ann B/a.wav": TONE}, "lower-case"),
        ({"mix/voice.toml": TOML, "mix/a.wav": TONE}, "address"),
    ):
        with pytest.raises(BadInput, match=says) as refused:
            unpack(archive(files), LIMITS)
        assert refused.value.param == "name"
        assert unpack(archive(files), LIMITS, "ann")[0].id == "ann"


def test_bombs() -> None:
    zeros = archive({"voice.toml": TOML, "a.wav": b"\0" * 100_000_000})
    assert len(zeros) < 150_000
    with pytest.raises(TooLarge, match=r"'a\.wav' has 100000000 bytes"):
        unpack(zeros, LIMITS, "ann")
    with pytest.raises(TooLarge, match=r"voice\.toml"):
        unpack(archive({"voice.toml": b"#" * 100_000, "a.wav": TONE}), LIMITS, "ann")
    with pytest.raises(TooLarge, match="holds 201 files; at most 200"):
        unpack(archive({f"{i}.wav": b"" for i in range(201)}), LIMITS, "ann")
    with pytest.raises(TooLarge, match="archive is larger"):
        unpack(b"\0" * 2_000_000, LIMITS, "ann")


def test_a_bomb_that_lies_about_its_size() -> None:
    """Declared as small, in both places; the entry is cut where it says and does not have its checksum then."""
    bomb = archive({"voice.toml": TOML, "a.wav": b"\0" * 100_000_000})
    lying = bomb.replace(struct.pack("<I", 100_000_000), struct.pack("<I", 1000))
    assert lying != bomb
    with pytest.raises(BadInput, match=r"'a\.wav': it cannot be unpacked: Bad CRC-32"):
        unpack(lying, LIMITS, "ann")


def test_an_encrypted_archive() -> None:
    plain = bytearray(archive({"voice.toml": TOML, "a.wav": TONE}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = plain.find(signature)
        while at >= 0:
            plain[at + flags] |= 1
            at = plain.find(signature, at + 1)
    with pytest.raises(BadInput, match="encrypted; make the archive without a password"):
        unpack(bytes(plain), LIMITS, "ann")


SMALL = archive({"ann/voice.toml": TOML, "ann/a.wav": b"RIFF" + b"\0" * 40})


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), max_size=8), st.integers(0, len(SMALL)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bent_archives_are_refused_in_words(changes: list[tuple[int, int]], length: int) -> None:
    bent = bytearray(SMALL)
    for at, value in changes:
        bent[at] = value
    with pytest.raises(BadInput):
        unpack(bytes(bent[:length] if length % 3 == 0 else bent), LIMITS)
