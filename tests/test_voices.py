"""Voices of all stores: found under every name, mixed by name, added whole; stores that fail are told."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from more_server.audio.encode import encode_file
from more_server.errors import BadInput, PluginFailure, StorageError, TooLarge, VoiceNotFound
from more_server.hookspecs import Listing, VoiceStore
from more_server.registry import Registry
from more_server.settings import Settings
from more_server.speech import Voice, VoiceLatents
from more_server.tables import LimitSettings
from more_server.voiceprints import mixed
from more_server.voices import VoiceLibrary, mixed_voice, named_clips, read_clip, read_studio_voices

LIMITS = LimitSettings()

FAILING = """
import time
from more_server import Listing, Voice, VoiceStore, errors, hookimpl

class Store(VoiceStore):
    name = "failing"

    def list(self):
        BEHAVE

    def read(self, voice_id, reference):
        raise errors.StorageError("the disk is gone")

    def read_derived(self, key):
        raise OSError(28, "No space left on device")

    def write_derived(self, key, content):
        raise OSError(30, "Read-only file system")

    def write(self, voice, clips):
        raise errors.StorageError("voices cannot be written: No space left on device")

@hookimpl
def voice_stores(context):
    return [Store()]
"""


def tone(seconds: float, level: float = 0.3) -> bytes:
    at = np.arange(round(seconds * 24_000)) / 24_000
    return encode_file((level * np.sin(2 * np.pi * 200 * at)).astype(np.float32), 24_000, "wav")


CLIPS = {"reference-01.wav": tone(2)}


def ann(**fields: object) -> Voice:
    return Voice(**({"id": "ann", "name": "Ann", "references": tuple(CLIPS)} | fields))  # type: ignore[arg-type]


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    return opened(tmp_path)


def opened(folder: Path, **settings: object) -> VoiceLibrary:
    registry = Registry(Settings(data_dir=folder / "data", **settings))  # type: ignore[arg-type]
    registry.open(None)
    return VoiceLibrary(registry, 5.0)


def failing(folder: Path, behave: str, **settings: object) -> VoiceLibrary:
    (folder / "plugins").mkdir()
    (folder / "plugins" / "failing.py").write_text(FAILING.replace("BEHAVE", behave))
    return opened(folder, plugin_dir=str(folder / "plugins"), **settings)


def ids(library: VoiceLibrary) -> list[str]:
    return [voice.id for voice in library.view().voices]


# -- found


def test_found_under_every_name(library: VoiceLibrary) -> None:
    made = library.add(
        ann(name='Ann "A" Müller', languages=("de", "en"), aliases=("boss",), consent="said\nyes"), CLIPS
    )
    assert (made.store, made.languages, made.consent) == ("folder", ("de", "en"), "said\nyes")
    assert ids(library) == ["ann", "linden", "rowan"]
    for name in ("ann", "ANN", "Boss", 'ann "a" müller', " ann "):
        assert library.view().find(name) == made
    library.remove("ann")
    with pytest.raises(VoiceNotFound, match="linden, rowan"):
        library.view().find("ann")


def test_default_voices(library: VoiceLibrary, tmp_path: Path) -> None:
    def resolved(name: str | None, default: str) -> str:
        return mixed_voice(library.view().resolve(name, default)).id

    assert resolved(None, "") == "linden"
    assert resolved(None, "rowan") == "rowan"
    assert resolved("nova", "") == "rowan"
    with pytest.raises(VoiceNotFound):
        resolved("nobody", "")
    empty = opened(tmp_path, plugins={"more_voice_folder": {"enabled": False}})
    with pytest.raises(VoiceNotFound, match="voices add"):
        empty.view().resolve(None, "")


def test_an_own_voice_that_claims_one_of_openai_s_names_has_it(library: VoiceLibrary) -> None:
    library.add(ann(id="zoe", aliases=("alloy",)), CLIPS)
    assert library.view().find("alloy").id == "zoe"
    assert library.view().find("linden").id == "linden"


def test_long_names_are_not_echoed_whole(library: VoiceLibrary) -> None:
    with pytest.raises(VoiceNotFound) as refused:
        library.view().find("x" * 100_000)
    assert len(refused.value.message) < 300


def test_an_own_voice_hides_a_bundled_one_and_gives_it_back(library: VoiceLibrary) -> None:
    plugin, store = library.store("folder")
    assert plugin == "more_voice_folder"
    store.write(ann(id="linden"), CLIPS)
    assert library.find("linden").name == "Ann"
    library.remove("linden")
    assert library.find("linden").name == "Linden"


def test_studio_voices_of_a_model(library: VoiceLibrary, tmp_path: Path) -> None:
    save_file(
        {
            "Ana Florence/conditioning": np.ones((32, 8), np.float16),
            "Ana Florence/speaker_embedding": np.ones(512, np.float32),
        },
        tmp_path / "speakers.safetensors",
    )
    studio = read_studio_voices(tmp_path)
    assert studio["ana-florence"].conditioning.dtype == np.float32
    found = library.view(studio).find("Ana Florence")
    assert (found.id, found.fixed, found.store) == ("ana-florence", True, "")
    assert read_studio_voices(tmp_path / "none") == {}


# -- mixed


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("linden+rowan", {"linden": 0.5, "rowan": 0.5}),
        ("linden(3)+rowan(1)", {"linden": 0.75, "rowan": 0.25}),
        (" linden ( 0.5 ) + rowan ", {"linden": 1 / 3, "rowan": 2 / 3}),
        ("alloy+nova(3)", {"linden": 0.25, "rowan": 0.75}),
        ("linden+rowan+linden", {"linden": 2 / 3, "rowan": 1 / 3}),
        ("linden(0)+rowan", {"rowan": 1.0}),
    ],
)
def test_mixtures_as_kokoro_s_users_write_them(library: VoiceLibrary, name: str, shares: dict[str, float]) -> None:
    found = library.view().resolve(name, "")
    assert {voice.id: weight for weight, voice in found} == pytest.approx(shares)
    assert mixed_voice(found).id == "+".join(f"{one}({shares[one]:.3g})" for one in shares) or len(shares) == 1
    assert mixed_voice(found).languages == ("en",)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("linden+", "mixtures are written"),
        ("+", "mixtures are written"),
        ("linden(x)+rowan", "mixtures are written"),
        ("linden(-1)+rowan", "mixtures are written"),
        ("linden(1e9)+rowan", "mixtures are written"),
        ("linden(0)+rowan(0)", "weights of .* are all 0"),
        ("+".join(["linden"] * 9), "at most 8"),
        ("linden+nobody", "there is no voice 'nobody'"),
    ],
)
def test_mixtures_that_cannot_be(library: VoiceLibrary, name: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        library.view().resolve(name, "")
    assert refused.value.param == "voice"


def test_a_mixture_may_be_the_default_and_a_name_may_hold_a_plus(library: VoiceLibrary) -> None:
    assert len(library.view().resolve(None, "linden+rowan")) == 2
    assert len(library.view().resolve("fable", "rowan(2)+linden")) == 1  # linden claims it
    library.add(ann(name="Anna + Bob"), CLIPS)
    assert library.view().resolve("anna + bob", "")[0][1].id == "ann"
    with pytest.raises(VoiceNotFound):
        library.view().resolve(None, "nobody")


def test_a_mixture_speaks_what_its_heaviest_part_does(library: VoiceLibrary) -> None:
    anything, japanese = ann(id="any"), ann(id="ja", languages=("ja",))
    assert mixed_voice(((0.9, anything), (0.1, japanese))).languages == ()
    assert mixed_voice(((0.1, anything), (0.9, japanese))).languages == ("ja",)


@pytest.mark.parametrize("name", ["linden+" + " " * 900 + "(", "linden(" + "1" * 900, "+" * 900, "a" * 1001 + "+b"])
def test_long_mixtures_are_refused_at_once(library: VoiceLibrary, name: str) -> None:
    # A pattern that could be matched in more than one way would not come back.
    with pytest.raises(BadInput):
        library.view().resolve(name, "")


def test_mixed_latents_lie_between_and_keep_their_length() -> None:
    random = np.random.default_rng(5)
    ones = [
        VoiceLatents(
            random.normal(size=(4, 3)).astype(np.float32),
            (lambda e: e / np.linalg.norm(e))(random.normal(size=512)).astype(np.float32),
        )
        for _ in range(2)
    ]
    made = mixed([(3.0, ones[0]), (1.0, ones[1])])
    np.testing.assert_allclose(made.conditioning, 0.75 * ones[0].conditioning + 0.25 * ones[1].conditioning, atol=1e-6)
    assert np.linalg.norm(made.speaker_embedding) == pytest.approx(1, abs=1e-5)
    towards = [float(made.speaker_embedding @ one.speaker_embedding) for one in ones]
    assert towards[0] > towards[1] > 0
    assert mixed([(2.0, ones[0])]) is ones[0]
    same = mixed([(1.0, ones[0]), (5.0, ones[0])])
    np.testing.assert_allclose(same.speaker_embedding, ones[0].speaker_embedding, atol=1e-6)


# -- added, changed, removed


@pytest.mark.parametrize(
    "name", ["", "Ann", "../ann", "a/b", "a b", ".ann", "-ann", "a" * 65, "a\n", "a\u202eb", "nul\0", "a+b"]
)
def test_names_that_cannot_be(library: VoiceLibrary, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="lower-case letters"):
        library.add(ann(id=name), CLIPS)
    assert not (tmp_path / "data" / "voices").exists()


def test_taken_names_and_stores_that_cannot_be_written(library: VoiceLibrary) -> None:
    for taken in ("linden", "ann"):
        if taken == "ann":
            library.add(ann(), CLIPS)
        with pytest.raises(BadInput, match="exists already"):
            library.add(ann(id=taken), CLIPS)
    with pytest.raises(BadInput, match="there is no store 'attic'; there are: bundled, folder"):
        library.add(ann(id="bob"), CLIPS, "attic")
    with pytest.raises(BadInput, match="'bundled' cannot be written"):
        library.add(ann(id="bob"), CLIPS, "bundled")


def test_what_came_with_the_program_stays(library: VoiceLibrary) -> None:
    for change in (lambda: library.remove("linden"), lambda: library.update(library.find("rowan"))):
        with pytest.raises(BadInput, match="it stays"):
            change()
    with pytest.raises(VoiceNotFound, match="there is no voice 'nobody'"):
        library.remove("nobody")


@pytest.mark.parametrize(
    ("suffix", "content", "says"),
    [
        (".wav", tone(0.4), "at least 1 s"),
        (".wav", tone(3, level=0.0), "of sound"),
        (".wav", b"not audio at all", "audio"),
        (".txt", b"x", "cannot be a '.txt' file"),
        ("", b"x", "nameless"),
    ],
)
def test_clips_that_cannot_serve(suffix: str, content: bytes, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        named_clips([(suffix, content)], LIMITS)


def test_no_clips_and_too_many() -> None:
    with pytest.raises(BadInput, match="at least one"):
        named_clips([], LIMITS)
    with pytest.raises(BadInput, match="17 reference clips; at most 16"):
        named_clips([(".wav", b"")] * 17, LIMITS)
    assert list(named_clips([(".wav", tone(2)), (".flac", tone(2))], LIMITS)) == [
        "reference-01.wav",
        "reference-02.flac",
    ]


def test_clips_from_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_clip(tmp_path / "missing.wav", LIMITS)
    (tmp_path / "big.wav").write_bytes(b"x" * 2000)
    with pytest.raises(TooLarge):
        read_clip(tmp_path / "big.wav", LimitSettings(reference_bytes=1024))


# -- stores that fail


@pytest.mark.parametrize(
    ("behave", "says"),
    [
        ("raise RuntimeError('out of reach')", "RuntimeError: out of reach"),
        ("raise errors.StorageError('the bucket is gone')", "the bucket is gone"),
        ("return ['linden']", "no Listing"),
        ("time.sleep(60)", "no answer within"),
    ],
)
def test_a_store_that_fails_is_told_and_the_others_go_on(tmp_path: Path, behave: str, says: str) -> None:
    library = failing(tmp_path, behave)
    library.seconds = 0.3
    view = library.view()
    assert [voice.id for voice in view.voices] == ["linden", "rowan"]
    assert says in view.problems[0]


def test_one_that_hangs_is_asked_once_and_told_for_as_long_as_it_is_missing(tmp_path: Path) -> None:
    called = tmp_path / "called"  # making it a second time fails in other words
    library = failing(tmp_path, f"__import__('os').mkdir({str(called)!r}); time.sleep(60)")
    library.seconds = 0.3
    for begins in ("store failing: ", *["the voices of the plugin failing are missing: "] * 2):
        (problem,) = library.view().problems
        assert problem.startswith(begins)
        assert "no answer within 0.3 s" in problem
    assert called.is_dir()


def test_a_full_disk_is_an_error_where_it_matters_and_a_warning_where_not(tmp_path: Path) -> None:
    library = failing(
        tmp_path, "return Listing((Voice(id='far', name='Far', store='failing', references=('a.wav',)),))"
    )
    far = library.find("far")
    with pytest.raises(StorageError, match="No space left"):
        library.add(ann(), CLIPS, "failing")
    with pytest.raises(StorageError, match="the disk is gone"):
        library.clips(far)
    assert library.read_derived(far, "0" * 64) is None
    library.write_derived(far, "0" * 64, b"latents")


def test_one_that_hangs_is_kept_out_though_it_is_where_new_voices_go(tmp_path: Path) -> None:
    library = failing(tmp_path, "time.sleep(60)", voice_store="failing")
    library.seconds = 0.3
    library.view()
    assert "the voices of the plugin failing are missing" in library.view().problems[0]
    assert library.store()[1].name == "folder"


def test_the_store_that_the_settings_name_comes_first(tmp_path: Path) -> None:
    library = failing(tmp_path, "return Listing(())", voice_store="failing")
    assert library.store()[1].name == "failing"


class Memory(VoiceStore):
    """The least that a store has to do."""

    name = "memory"

    def list(self) -> Listing:
        return Listing(())

    def read(self, voice_id: str, reference: str) -> bytes:
        raise VoiceNotFound("none")

    def read_derived(self, key: str) -> bytes | None:
        return None

    def write_derived(self, key: str, content: bytes) -> None:
        raise PluginFailure("memory", "full")


def test_a_store_that_only_reads_refuses_the_rest() -> None:
    clips: Mapping[str, bytes] = CLIPS
    for change in (
        lambda: Memory().write(ann(), clips),
        lambda: Memory().update(ann()),
        lambda: Memory().delete("ann"),
    ):
        with pytest.raises(BadInput, match="can be neither changed nor removed"):
            change()
