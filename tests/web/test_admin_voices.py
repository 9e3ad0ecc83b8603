"""Voices for administrators: uploaded, listed, heard, changed, removed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.voicedesk import TONE, VOICES, Admin, tone, wrong


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    made = Admin(tmp_path)
    with made.http:
        yield made


# -- the life of a voice


def test_the_life_of_a_voice(admin: Admin) -> None:
    told = {
        "title": "Ann Müller",
        "language": ["German, english", "de"],
        "aliases": "boss,Chief",
        "description": "loud\r\nand clear",
        "licence": "CC0-1.0",
        "consent": "she said yes",
        "source": "a telephone",
    }
    made = admin.upload("ann", TONE, tone(2), **told)
    assert made.status_code == 200, made.text
    body = made.json()
    assert {field: body[field] for field in ("id", "title", "languages", "aliases", "description", "store")} == {
        "id": "ann",
        "title": "Ann Müller",
        "languages": ["de", "en"],
        "aliases": ["boss", "chief"],
        "description": "loud\nand clear",
        "store": "folder",
    }
    assert body["references"] == ["reference-01.wav", "reference-02.wav"]
    assert body["report"]["seconds"] == 3.2
    assert [clip["name"] for clip in body["report"]["clips"]] == body["references"]
    assert any("6 to 30 s are good" in sentence for sentence in body["report"]["advice"])
    assert admin.get("/ann") == body

    changed = admin.http.patch(
        f"{VOICES}/ann", json={"name": "bea", "title": "Bea", "languages": ["fr"], "licence": ""}
    )
    assert changed.status_code == 200, changed.text
    assert (changed.json()["id"], changed.json()["title"], changed.json()["licence"]) == ("bea", "Bea", "")
    assert admin.get("/bea")["report"]["not_spoken"] == ["fr"]
    assert admin.ids() == ["ana", "bea", "linden", "rowan"]

    gone = admin.http.request("DELETE", f"{VOICES}/bea", headers={"content-type": "application/json"})
    assert gone.json() == {"id": "bea", "object": "voice", "deleted": True}
    wrong(admin.http.delete(f"{VOICES}/bea"), "voice", 404, "voice_not_found")
    assert admin.actions() == [
        ("voices.create", "ann", "allowed"),
        ("voices.change", "ann", "allowed"),
        ("voices.delete", "bea", "allowed"),
    ]
    create, change, _ = admin.audit.tail(3)
    assert create.changes["references"] == {"reference-01.wav": len(TONE), "reference-02.wav": len(tone(2))}
    assert create.changes["consent"] == "she said yes"
    assert change.changes == {"name": "bea", "title": "Bea", "languages": ["fr"], "licence": ""}
    assert admin.audit.tail(1)[0].actor.kind == "local"


def test_what_is_listed(admin: Admin) -> None:
    (admin.settings.data_dir / "voices" / "odd").mkdir(parents=True)
    listed = admin.get()
    assert {store["name"]: store["writable"] for store in listed["stores"]} == {"bundled": False, "folder": True}
    assert "voice odd: there is no voice.toml" in listed["problems"][0]
    by_id = {voice["id"]: voice for voice in listed["data"]}
    one = admin.get("/linden")
    assert one == by_id["linden"] | {"report": one["report"], "problem": ""}
    assert (by_id["linden"]["fixed"], by_id["linden"]["store"]) == (True, "bundled")
    assert (by_id["ana"]["fixed"], by_id["ana"]["store"], by_id["ana"]["references"]) == (True, "", [])
    assert admin.get("/linden")["report"]["advice"] == []
    assert admin.get("/ana")["report"] is None
    wrong(admin.http.get(f"{VOICES}/alloy"), "voice", 404, "voice_not_found")


def test_a_broken_recording_is_told_and_not_a_failure(admin: Admin) -> None:
    admin.upload()
    (admin.settings.data_dir / "voices" / "ann" / "reference-01.wav").write_bytes(b"no audio any more")
    found = admin.get("/ann")
    assert found["report"] is None
    assert "reference-01.wav: " in found["problem"]


def test_recordings_can_be_heard(admin: Admin) -> None:
    admin.upload()
    answer = admin.http.get(f"{VOICES}/ann/references/reference-01.wav")
    assert answer.content == TONE
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["content-disposition"] == (
        "inline; filename=\"reference-01.wav\"; filename*=UTF-8''reference-01.wav"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    for other in ("voice.toml", "reference-02.wav", "%2e%2e%5cann", "reference-01.wav%00"):
        wrong(admin.http.get(f"{VOICES}/ann/references/{other}"), "reference", 404, "voice_not_found")
    for path in ("..%2Fvoice.toml", "%2e%2e/voice.toml", "../ann/reference-01.wav"):
        assert admin.http.get(f"{VOICES}/ann/references/{path}").status_code == 404
    wrong(admin.http.get(f"{VOICES}/nobody/references/reference-01.wav"), "voice", 404, "voice_not_found")


# -- upload


@pytest.mark.parametrize(
    "name",
    ["", "..", "../ann", "a/b", "a\\b", "a\nb", "a\u202eb", "a\u200f", "a" * 65, "Ann", "a b", ".", "mix", "import"],
)
def test_names_that_cannot_be(admin: Admin, name: str) -> None:
    wrong(admin.upload(name), "name")
    wrong(admin.http.post(f"{VOICES}/mix", json={"name": name, "parts": []}), "name")
    if name:
        exported = admin.http.get(f"{VOICES}/linden/export").content
        wrong(admin.http.post(f"{VOICES}/import", params={"name": name}, content=exported), "name")
        admin.upload("ann")
        wrong(admin.http.patch(f"{VOICES}/ann", json={"name": name}), "name")
    assert not [path for path in admin.settings.data_dir.iterdir() if path.name not in ("voices", "admin", "cache")]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"name": "linden"}, "name", "exists already"),
        ({"name": "ana"}, "name", "exists already"),
        ({"name": ["ann", "bob"]}, "name", "2 times"),
        ({"language": "Klingon"}, "language", "there is no language 'Klingon'"),
        ({"aliases": "boss, rowan"}, "aliases", "voice of its own"),
        ({"title": "x" * 101}, "title", "1 to 100"),
        ({"licence": "x" * 4001}, "licence", "at most 4000"),
        ({"store": "attic"}, "store", "there are: bundled, folder"),
        ({"store": "bundled"}, "store", "cannot be written"),
        ({"license": "CC0"}, "license", "there is no field 'license'; there are: aliases, audio_sample"),
        ({"audio_sample": "text"}, "audio_sample", "must be a file"),
    ],
)
def test_fields_that_do_not_fit(admin: Admin, fields: dict[str, Any], param: str, says: str) -> None:
    assert says in wrong(admin.upload(**({"name": "ann"} | fields)), param)
    assert "ann" not in admin.ids()


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (("clip.wav", b"no audio", "audio/wav"), "damaged or no audio"),
        (("clip.wav", b"", "audio/wav"), "empty"),
        (("clip.wav", tone(0.3), "audio/wav"), "at least 1 s"),
        (("run.exe", TONE, "application/x-msdownload"), "cannot be a '.exe' file"),
        (("nameless", b"a letter to a friend", "text/plain"), "nameless"),
    ],
)
def test_recordings_that_cannot_serve(admin: Admin, file: tuple[str, bytes, str], says: str) -> None:
    answer = admin.http.post(VOICES, data={"name": "ann"}, files=[("audio_sample", file)])
    assert says in wrong(answer, "audio_sample")
    assert admin.actions() == []


def test_as_many_recordings_as_are_allowed(admin: Admin) -> None:
    blank = {"name": (None, "ann"), "title": (None, "")}
    assert "at least one" in wrong(admin.http.post(VOICES, files=blank), "audio_sample")
    assert "4 reference clips; at most 3" in wrong(admin.upload("ann", *[TONE] * 4), "audio_sample")
    assert admin.upload("ann", *[TONE] * 3).status_code == 200


@pytest.mark.parametrize(
    ("kind", "suffix"), [("audio/x-wav", ".wav"), ("audio/flac; x=y", ".flac"), ("audio/mpeg", ".mp3")]
)
def test_the_media_type_counts_where_a_name_says_nothing(admin: Admin, kind: str, suffix: str) -> None:
    content = tone(kind=suffix[1:])
    answer = admin.http.post(VOICES, data={"name": "ann"}, files=[("audio_sample", ("upload", content, kind))])
    assert answer.json()["references"] == [f"reference-01{suffix}"]


def test_what_is_too_large(admin: Admin) -> None:
    large = b"\0" * 300_001
    wrong(admin.upload("ann", large), "audio_sample", 413, "payload_too_large")
    message = wrong(admin.upload("ann", *[large] * 7), None, 413, "payload_too_large")
    assert "3 recordings of 300000 bytes" in message
    wrong(admin.http.post(f"{VOICES}/import", content=b"\0" * 2_000_000), None, 413, "payload_too_large")
    wrong(admin.http.patch(f"{VOICES}/ann", content=b" " * 5000), None, 413, "payload_too_large")
    wrong(admin.http.post(f"{VOICES}/mix", content=b" " * 5000), None, 413, "payload_too_large")


def test_a_body_that_is_no_form(admin: Admin) -> None:
    assert "multipart/form-data" in wrong(admin.http.post(VOICES, json={"name": "ann"}), None)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="x"'):
        wrong(admin.http.post(VOICES, content=b"--x\r\ngarbage", headers={"content-type": kind}), None)
    head = b'--x\r\ncontent-disposition: form-data; name="name"\r\ncontent-type: text/plain; charset='
    body = head + b"no-such\r\n\r\na\r\n--x--\r\n"
    for sent in (body, body.replace(b"no-such", b"ascii").replace(b"\na\r", b"\n\xff\r")):
        answer = admin.http.post(VOICES, content=sent, headers={"content-type": "multipart/form-data; boundary=x"})
        assert "cannot be read" in wrong(answer, None)


PIECES = st.lists(
    st.sampled_from(
        [
            b"--x",
            b"--x--",
            b"\r\n",
            b"\r\n\r\n",
            b'content-disposition: form-data; name="name"',
            b'content-disposition: form-data; name="audio_sample"; filename="a.wav"',
            b"content-type: audio/wav; charset=utf-7",
            b"content-length: -1",
            b"ann",
            b"\xff\0",
        ]
    ),
    max_size=20,
).map(b"".join)


@given(PIECES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_form_is_a_bug(admin: Admin, body: bytes) -> None:
    answer = admin.http.post(VOICES, content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 400, answer.text


# -- change and remove


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"licens": "x"}, "licens", "there is no field"),
        ({"id": "bob"}, "id", "there is no field"),
        ({"title": 3}, "title", "expected"),
        ({"title": None}, "title", "expected"),
        ({"languages": "en"}, "languages", "expected"),
        ({"languages": ["tlh"]}, "languages", "no language"),
        ({"aliases": ["linden"]}, "aliases", "voice of its own"),
        ({"name": "rowan"}, "name", "exists already"),
        ([], None, "JSON object"),
    ],
)
def test_changes_that_cannot_be(admin: Admin, body: Any, param: str | None, says: str) -> None:
    admin.upload()
    assert says in wrong(admin.http.patch(f"{VOICES}/ann", json=body), param)
    assert len(admin.actions()) == 1


def test_what_stays(admin: Admin) -> None:
    for voice in ("linden", "ana"):
        assert "it stays" in wrong(admin.http.patch(f"{VOICES}/{voice}", json={"title": "X"}), "voice")
        assert "it stays" in wrong(admin.http.delete(f"{VOICES}/{voice}"), "voice")
    wrong(admin.http.delete(f"{VOICES}/alloy"), "voice", 404, "voice_not_found")
    assert admin.actions() == []


def test_the_default_voice_stays(tmp_path: Path) -> None:
    admin = Admin(tmp_path, default_voice="boss")
    with admin.http:
        admin.upload(aliases="boss")
        assert "default_voice" in wrong(admin.http.delete(f"{VOICES}/ann"), "voice")
        assert "default_voice" in wrong(admin.http.patch(f"{VOICES}/ann", json={"name": "bea"}), "voice")
        assert admin.http.patch(f"{VOICES}/ann", json={"title": "A"}).status_code == 200
