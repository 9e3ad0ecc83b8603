"""Voices on disk: whole or not there, found under every name, cached by content."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from more_server.audio.encode import encode_file
from more_server.errors import BadInput, TooLarge, VoiceNotFound
from more_server.settings import LimitSettings, bundled_dir
from more_server.speech import Voice, VoiceLatents
from more_server.voices import (
    BUNDLED_VOICES,
    LatentCache,
    VoiceLibrary,
    VoiceMetadata,
    metadata_toml,
    read_clip,
    read_studio_voices,
)

LIMITS = LimitSettings()


def tone(seconds: float, level: float = 0.3) -> bytes:
    time = np.arange(round(seconds * 24_000)) / 24_000
    return encode_file((level * np.sin(2 * np.pi * 200 * time)).astype(np.float32), 24_000, "wav")


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    return VoiceLibrary((tmp_path / "voices", bundled_dir() / "voices"))


def test_a_voice_is_added_whole(library: VoiceLibrary, tmp_path: Path) -> None:
    metadata = VoiceMetadata(name='Ann "A" Müller', languages=("de", "en"), aliases=("boss",), consent="spoken\nyes")
    voice = library.add("ann", [(".wav", tone(2)), (".wav", tone(3))], metadata, LIMITS)
    assert [clip.name for clip in voice.references] == ["reference-1.wav", "reference-2.wav"]
    assert (voice.name, voice.languages, voice.consent) == ('Ann "A" Müller', ("de", "en"), "spoken\nyes")
    assert [one.id for one in library.all()] == ["ann", "linden", "rowan"]
    for name in ("ann", "ANN", "boss", 'ann "a" müller'):
        assert library.find(name) == voice
    library.remove("ann")
    assert {path.name for path in (tmp_path / "voices").iterdir()} <= {".locks"}
    with pytest.raises(VoiceNotFound, match="linden, rowan"):
        library.find("ann")


@pytest.mark.parametrize(
    "name", ["", "Ann", "../ann", "a/b", "a b", ".ann", "-ann", "a" * 65, "a\n", "a\u202eb", "nul\0"]
)
def test_names_that_cannot_be_folders(library: VoiceLibrary, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="lower-case letters"):
        library.add(name, [(".wav", tone(2))], VoiceMetadata(), LIMITS)
    assert not (tmp_path / "voices").exists()


@pytest.mark.parametrize(
    ("suffix", "content", "says"),
    [
        (".wav", b"", "empty"),
        (".wav", b"garbage" * 100, "audio"),
        (".exe", tone(2), "allowed are"),
        ("", tone(2), "allowed are"),
        (".wav", tone(0.4), "at least 1 s"),
        (".wav", tone(3, level=0.0), "at least 1 s"),
        (".wav", tone(130), "120"),
    ],
)
def test_clips_that_cannot_serve(library: VoiceLibrary, tmp_path: Path, suffix: str, content: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        library.add("ann", [(".wav", tone(2)), (suffix, content)], VoiceMetadata(), LIMITS)
    assert not (tmp_path / "voices").exists()


def test_taken_names_and_no_clips(library: VoiceLibrary) -> None:
    with pytest.raises(BadInput, match="exists already"):
        library.add("linden", [(".wav", tone(2))], VoiceMetadata(), LIMITS)
    with pytest.raises(BadInput, match="at least one"):
        library.add("ann", [], VoiceMetadata(), LIMITS)


def test_bundled_voices_stay(library: VoiceLibrary) -> None:
    with pytest.raises(BadInput, match="it stays"):
        library.remove("linden")
    with pytest.raises(VoiceNotFound):
        library.remove("nobody")


def test_bundled_voices_stay_where_a_checkout_is_the_data_directory() -> None:
    """Both folders are one there: a voice that is tracked must not go for a slip of the hand."""
    checkout = VoiceLibrary((bundled_dir() / "voices",))
    assert {path.name for path in (bundled_dir() / "voices").iterdir() if path.is_dir()} >= set(BUNDLED_VOICES)
    for voice in BUNDLED_VOICES:
        with pytest.raises(BadInput, match="it stays"):
            checkout.remove(voice)
        assert checkout.find(voice).id == voice


def test_a_failed_write_leaves_nothing(library: VoiceLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(Exception, match="No space left"):
        library.add("ann", [(".wav", tone(2))], VoiceMetadata(), LIMITS)
    assert {path.name for path in (tmp_path / "voices").iterdir()} <= {".locks"}


def test_broken_folders_are_told_and_passed_over(library: VoiceLibrary, tmp_path: Path) -> None:
    for name, toml in (("no-toml", None), ("bad-toml", "name ="), ("typo", 'nmae = "x"'), ("no-clip", "")):
        (tmp_path / "voices" / name).mkdir(parents=True)
        if toml is not None:
            (tmp_path / "voices" / name / "voice.toml").write_text(toml)
    (tmp_path / "voices" / ".hidden").mkdir()
    (tmp_path / "voices" / "file.txt").write_text("x")
    assert [voice.id for voice in library.all()] == ["linden", "rowan"]
    problems = library.problems()
    assert len(problems) == 4
    assert any("nmae" in problem for problem in problems)


def test_aliases_in_any_case(library: VoiceLibrary) -> None:
    library.add("ann", [(".wav", tone(2))], VoiceMetadata(aliases=("Annie",)), LIMITS)
    assert library.find("annie").id == library.find("ANNIE").id == "ann"


def test_what_is_no_file_is_no_clip(library: VoiceLibrary, tmp_path: Path) -> None:
    folder = tmp_path / "voices" / "odd"
    (folder / "a.wav").mkdir(parents=True)
    (folder / "b.wav").symlink_to(tmp_path / "nowhere.wav")
    (folder / "voice.toml").write_text("")
    assert "no reference clip" in library.problems()[0]
    (folder / "c.wav").write_bytes(tone(2))
    (folder / "voice.toml").write_text('name = "Odd"')
    assert [clip.name for clip in library.find("odd").references] == ["c.wav"]


def test_what_a_killed_command_left_does_not_matter(library: VoiceLibrary, tmp_path: Path) -> None:
    home = tmp_path / "voices"
    for left in (".ann.partial-0123", ".ann.partial-removed"):
        (home / left).mkdir(parents=True)
        (home / left / "reference-1.wav").write_bytes(b"half")
    assert [voice.id for voice in library.all()] == ["linden", "rowan"]
    library.add("ann", [(".wav", tone(2))], VoiceMetadata(), LIMITS)
    library.remove("ann")
    assert {path.name for path in home.iterdir()} == {".locks"}


def test_long_names_are_not_echoed_whole(library: VoiceLibrary) -> None:
    with pytest.raises(VoiceNotFound) as refused:
        library.find("x" * 100_000)
    assert len(refused.value.message) < 300


def test_changes_by_hand_are_seen(library: VoiceLibrary, tmp_path: Path) -> None:
    library.add("ann", [(".wav", tone(2))], VoiceMetadata(name="Ann"), LIMITS)
    (tmp_path / "voices" / "ann" / "voice.toml").write_text('name = "Other name, longer"')
    assert library.find("ann").name == "Other name, longer"


def test_default_voices(library: VoiceLibrary, tmp_path: Path) -> None:
    assert library.resolve(None, "").id == "linden"
    assert library.resolve(None, "rowan").id == "rowan"
    assert library.resolve("nova", "").id == "rowan"
    shutil.copytree(bundled_dir() / "voices" / "linden", tmp_path / "plain")
    (tmp_path / "plain" / "voice.toml").write_text("")
    only = VoiceLibrary((tmp_path,))
    assert only.resolve("shimmer", "").id == "plain"
    with pytest.raises(VoiceNotFound):
        only.resolve("nobody", "")
    with pytest.raises(VoiceNotFound, match="voices add"):
        VoiceLibrary((tmp_path / "empty",)).resolve(None, "")


def test_an_own_voice_hides_a_bundled_one(library: VoiceLibrary, tmp_path: Path) -> None:
    shutil.copytree(bundled_dir() / "voices" / "rowan", tmp_path / "voices" / "linden")
    assert library.find("linden").name == "Rowan"
    library.remove("linden")
    assert library.find("linden").name == "Linden"


@given(st.builds(VoiceMetadata, name=st.text(), languages=st.lists(st.text()).map(tuple), consent=st.text()))
def test_metadata_survives_toml(metadata: VoiceMetadata) -> None:
    import tomllib

    import msgspec

    assert msgspec.convert(tomllib.loads(metadata_toml(metadata)), VoiceMetadata) == metadata


def test_studio_voices(tmp_path: Path) -> None:
    save_file(
        {
            "Ana Florence/conditioning": np.ones((32, 8), np.float16),
            "Ana Florence/speaker_embedding": np.ones(512, np.float32),
        },
        tmp_path / "speakers.safetensors",
    )
    library = VoiceLibrary((), read_studio_voices(tmp_path))
    assert library.find("ana-florence").name == "Ana Florence"
    assert library.studio["ana-florence"].conditioning.dtype == np.float32
    with pytest.raises(BadInput, match="it stays"):
        library.remove("ana-florence")
    assert read_studio_voices(tmp_path / "none") == {}


def test_latents_are_cached_by_content(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path / "cache")
    (tmp_path / "clip.wav").write_bytes(b"one")
    voice = Voice(id="a", name="A", references=(tmp_path / "clip.wav",))
    latents = VoiceLatents(np.ones((32, 4), np.float32), np.zeros(512, np.float32))
    key = cache.key(voice, "model 1")
    assert cache.read(key) is None
    cache.write(key, latents)
    found = cache.read(key)
    assert found is not None
    np.testing.assert_array_equal(found.conditioning, latents.conditioning)
    assert cache.key(voice, "model 2") != key
    (tmp_path / "clip.wav").write_bytes(b"two")
    assert cache.key(voice, "model 1") != key
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{key}.safetensors"]
    next((tmp_path / "cache").iterdir()).write_bytes(b"damaged")
    assert cache.read(key) is None


def test_clips_from_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_clip(tmp_path / "missing.wav", LIMITS)
    (tmp_path / "big.wav").write_bytes(b"x" * 2000)
    with pytest.raises(TooLarge):
        read_clip(tmp_path / "big.wav", LimitSettings(reference_bytes=1024))


def test_concurrent_writers_of_one_name(library: VoiceLibrary) -> None:
    async def add_many() -> list[object]:
        clip = [(".wav", tone(2))]
        adding = (asyncio.to_thread(library.add, "ann", clip, VoiceMetadata(), LIMITS) for _ in range(6))
        return await asyncio.gather(*adding, return_exceptions=True)

    results = asyncio.run(add_many())
    assert sum(isinstance(result, Voice) for result in results) == 1
    assert library.problems() == []
