"""Whole voices: what is told of them, mixtures, changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from more_server.audio.encode import encode_file
from more_server.errors import BadInput, MoreError, VoiceNotFound
from more_server.registry import Registry
from more_server.settings import Settings
from more_server.speech import MixPart, Voice, VoiceLatents
from more_server.tables import LimitSettings
from more_server.voicebank.archive import pack, unpack
from more_server.voicebank.details import (
    Details,
    changed,
    check_free,
    checked,
    exact,
    new_voice,
    put,
    review,
)
from more_server.voicebank.mixture import Share, mixed
from more_server.voices import VoiceLibrary

LIMITS = LimitSettings(reference_bytes=200_000, voice_references=4)


def tone(seconds: float = 1.2, hertz: float = 200, kind: str = "wav") -> bytes:
    at = np.arange(round(seconds * 24_000)) / 24_000
    return encode_file((0.3 * np.sin(2 * np.pi * hertz * at)).astype(np.float32), 24_000, kind)


TONE = tone()


def ann(**fields: Any) -> Voice:
    return Voice(**({"id": "ann", "name": "Ann", "references": ("a.wav",)} | fields))


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    registry = Registry(Settings(data_dir=tmp_path))
    registry.open(None)
    return VoiceLibrary(registry, 5.0)


# -- told


@pytest.mark.parametrize(
    ("told", "param", "says"),
    [
        ({"title": ""}, "title", "1 to 100"),
        ({"title": "x" * 101}, "title", "1 to 100"),
        ({"title": "a\u202eb"}, "title", "visible"),
        ({"title": "a\u200fb"}, "title", "visible"),
        ({"title": "a\nb"}, "title", "visible"),
        ({"languages": ["Klingon"]}, "languages", "there are: ar"),
        ({"aliases": ["x"] * 33}, "aliases", "at most 32"),
        ({"aliases": ["a+b"]}, "aliases", "mixtures"),
        ({"aliases": [" "]}, "aliases", "visible"),
        ({"aliases": ["x" * 65]}, "aliases", "1 to 64"),
        ({"licence": "x" * 4001}, "licence", "4001 characters"),
        ({"consent": "yes\0"}, "consent", "control"),
        ({"source": "\u2066x"}, "source", "control"),
    ],
)
def test_what_cannot_be_told(told: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        checked(Details(**told))
    assert refused.value.param == param
    assert len(refused.value.message) < 400


def test_what_is_told_is_made_even() -> None:
    told = Details(
        title="  Ann Müller ", languages=["English", "de-DE", "en"], aliases=["Boss", "boss"], consent=" said\r\nyes \t"
    )
    assert checked(told) == {
        "name": "Ann Müller",
        "languages": ("en", "de"),
        "aliases": ("boss",),
        "consent": "said\nyes",
    }
    assert checked(Details()) == {}
    assert new_voice("ann-b_c", {}, ()).name == "Ann B C"


@pytest.mark.parametrize(
    "name", ["", "..", "../ann", "a/b", "a\\b", "a\n", "a\u202eb", "a" * 65, "Ann", "a b", "import", "mix"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(BadInput) as refused:
        new_voice(name, {}, ())
    assert refused.value.param == "name"


def test_names_that_are_taken(library: VoiceLibrary) -> None:
    studio = {"ana": VoiceLatents(np.zeros((2, 2), np.float32), np.zeros(512, np.float32))}
    view = library.view(studio)
    for taken in ("linden", "ana"):
        with pytest.raises(BadInput, match="exists already"):
            check_free(view, ann(id=taken))
        with pytest.raises(BadInput, match="alias") as refused:
            check_free(view, ann(aliases=("boss", taken)))
        assert refused.value.param == "aliases"
    check_free(view, ann(aliases=("alloy", "ann")))


def test_only_ids_are_exact(library: VoiceLibrary) -> None:
    assert exact(library.view(), "linden").id == "linden"
    for name in ("alloy", "Linden", "nobody"):
        with pytest.raises(VoiceNotFound, match="linden, rowan"):
            exact(library.view(), name)


def test_a_review_names_the_clip_that_cannot_be_read() -> None:
    found = review({"a.wav": TONE}, LIMITS, ("en",), ("de",), "fr")
    assert found.not_spoken == ("en",)
    assert "spoken in de" in review({"a.wav": TONE}, LIMITS, (), ("de",), "fr").advice[-1]
    assert "spoken in fr" in review({"a.wav": TONE}, LIMITS, (), (), "fr").advice[-1]
    with pytest.raises(BadInput, match=r"^b\.wav: "):
        review({"a.wav": TONE, "b.wav": b"no audio"}, LIMITS, ("en",), ("en",), "en")


# -- mixtures


def keep(library: VoiceLibrary, voice_id: str, *hertz: float, **fields: Any) -> Voice:
    clips = {f"clip-{number}.wav": tone(hertz=one) for number, one in enumerate(hertz)}
    return library.add(new_voice(voice_id, fields, clips), clips)


def mix(library: VoiceLibrary, voice_id: str, *shares: tuple[str, float], limit: int = 16, **fields: Any) -> Voice:
    made, clips = mixed(
        library,
        library.view(),
        voice_id,
        [Share(*share) for share in shares],
        fields,
        LimitSettings(voice_references=limit),
    )
    return library.add(made, clips)


def test_a_mixture_needs_its_parts_no_more(library: VoiceLibrary) -> None:
    ann = keep(library, "ann", 200, 300, languages=("de",), licence="CC0-1.0", consent="she\nsaid yes")
    contents = library.clips(ann)
    made = mix(library, "duo", ("ann", 1), ("linden", 3))
    library.remove("ann")
    assert made.mix == (
        MixPart(3.0, ("linden-reference.wav",)),
        MixPart(1.0, ("ann-clip-0.wav", "ann-clip-1.wav")),
    )
    assert [library.clips(made)[f"ann-{name}"] for name in contents] == list(contents.values())
    assert (made.name, made.languages, made.aliases) == ("Duo", ("en", "de"), ())
    assert made.description == "A mixture of Linden (75%), Ann (25%)."
    assert made.licence == "linden: CC0-1.0\nann: CC0-1.0"
    assert "ann: she said yes" in made.consent.splitlines()
    assert made.source.splitlines()[1] == "ann: not stated"


def test_a_mixture_of_mixtures_is_flat(library: VoiceLibrary) -> None:
    mix(library, "duo", ("linden", 3), ("rowan", 1))
    made = mix(library, "trio", ("duo", 2), ("rowan", 2))
    assert made.mix == (
        MixPart(1.5, ("linden-reference.wav",)),
        MixPart(0.5, ("rowan-reference.wav",)),
        MixPart(2.0, ("rowan-reference-2.wav",)),
    )
    assert made.licence == "linden: CC0-1.0\nrowan: CC0-1.0"


def test_rights_of_the_parts_stay_whatever_is_told(library: VoiceLibrary) -> None:
    made = mix(library, "duo", ("linden", 1), ("alloy", 1), ("nova", 2), licence="for us alone", name="Both")
    assert made.licence == "for us alone\nlinden: CC0-1.0\nrowan: CC0-1.0"
    assert (made.name, [part.weight for part in made.mix]) == ("Both", [2.0, 2.0])


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ([("linden", 1)], "1 different voices; a mixture has 2 to 8"),
        ([("linden", 1), ("alloy", 1)], "1 different"),
        ([], "0 different"),
        ([("linden", 0), ("rowan", 1)], "above 0"),
        ([("linden", -1), ("rowan", 1)], "above 0"),
        ([("linden", float("nan")), ("rowan", 1)], "above 0"),
        ([("linden", float("inf")), ("rowan", 1)], "above 0"),
        ([("linden", 1), ("nobody", 1)], "there is no voice 'nobody'"),
        ([("linden", 1), ("five", 1)], "6 reference clips in all; at most 5"),
    ],
)
def test_mixtures_that_cannot_be(library: VoiceLibrary, shares: list[tuple[str, float]], says: str) -> None:
    keep(library, "five", 200, 210, 220, 230, 240)
    with pytest.raises(BadInput, match=says) as refused:
        mix(library, "duo", *shares, limit=5)
    assert refused.value.param == "parts"


def test_a_voice_of_the_model_cannot_be_kept_in_a_mixture(library: VoiceLibrary) -> None:
    studio = {"ana": VoiceLatents(np.zeros((2, 2), np.float32), np.zeros(512, np.float32))}
    with pytest.raises(BadInput, match="no recordings") as refused:
        mixed(library, library.view(studio), "duo", [Share("ana"), Share("linden")], {}, LIMITS)
    assert refused.value.param == "parts"


def test_a_mixture_goes_round_the_archive(library: VoiceLibrary) -> None:
    made = mix(library, "duo", ("linden", 3), ("rowan", 1))
    again, clips = unpack(pack(made, library.clips(made)), LimitSettings(), "again")
    assert (again.mix, clips, again.licence) == (made.mix, library.clips(made), made.licence)


# -- changes


def change(library: VoiceLibrary, voice_id: str, new_id: str = "", **fields: Any) -> Voice:
    return put(library, *changed(library.view(), voice_id, fields, new_id))


def test_a_voice_is_changed_and_renamed_at_once(library: VoiceLibrary) -> None:
    before = keep(library, "ann", 200, 300, mix=(MixPart(1.0, ("clip-0.wav",)), MixPart(2.0, ("clip-1.wav",))))
    clips = library.clips(before)
    made = change(library, "ann", "bea", licence="CC0-1.0", aliases=("boss",))
    assert (made.id, made.name, made.licence, made.aliases, made.mix) == (
        "bea",
        "Bea",
        "CC0-1.0",
        ("boss",),
        before.mix,
    )
    assert library.clips(made) == clips
    with pytest.raises(VoiceNotFound):
        library.find("ann")
    assert change(library, "bea", "cleo", name="Anna").name == "Anna"
    assert change(library, "cleo", "dora").name == "Anna"
    assert change(library, "dora", "dora", name="D").name == "D"


def test_changes_that_cannot_be(library: VoiceLibrary) -> None:
    keep(library, "ann", 200)
    for attempt, says, param in (
        (lambda: change(library, "linden", name="X"), "it stays", "voice"),
        (lambda: change(library, "linden", "other"), "it stays", "voice"),
        (lambda: change(library, "nobody", name="X"), "there is no voice", "voice"),
        (lambda: change(library, "ann", "rowan"), "exists already", "name"),
        (lambda: change(library, "ann", "../ann"), "lower-case", "name"),
        (lambda: change(library, "ann", aliases=("rowan",)), "alias", "aliases"),
    ):
        with pytest.raises(BadInput, match=says) as refused:
            attempt()
        assert refused.value.param == param
    assert [voice.id for voice in library.view().voices] == ["ann", "linden", "rowan"]


def test_a_voice_that_was_put_there_by_hand_can_be_renamed(library: VoiceLibrary, tmp_path: Path) -> None:
    (tmp_path / "voices" / "ann").mkdir(parents=True)
    (tmp_path / "voices" / "ann" / "Ann's (1).WAV").write_bytes(TONE)
    (tmp_path / "voices" / "ann" / "voice.toml").write_text("")
    made = change(library, "ann", "bea")
    assert (made.name, made.references) == ("Bea", ("Ann-s-1.wav",))


def test_a_rename_that_fails_leaves_the_voice(library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(library, "ann", 200)

    def full(*_: object) -> None:
        raise BadInput("no room")

    monkeypatch.setattr(library, "add", full)
    with pytest.raises(MoreError, match="no room"):
        change(library, "ann", "bea", name="B")
    assert library.find("ann").name == "Ann"
