"""Voices for administrators: the routes over the real stores, behind the real gate; a stand-in for the model."""

import asyncio
import io
import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.testing import TestClient

from more_server.audio.encode import encode_file
from more_server.audit import AuditLog
from more_server.errors import BrokenVoice, ModelLoading, MoreError, NotAuthenticated
from more_server.keys import KeyRing, new_key
from more_server.registry import Registry
from more_server.settings import LimitSettings, Settings, bundled_dir
from more_server.speak import Speaker
from more_server.speech import Voice, VoiceLatents
from more_server.voices import VoiceLibrary
from more_server.web import voices
from more_server.web.access import Access, handle_not_authenticated
from more_server.web.errors import add_request_id, handle_bug, handle_http_error, handle_more_error
from tests.web.conftest import Server
from tests.web.guarded import refused

VOICES = "/v1/admin/voices"
LIMITS = LimitSettings(body_bytes=4096, reference_bytes=300_000, voice_references=3)
STUDIO = {"ana": VoiceLatents(np.zeros((2, 2), np.float32), np.zeros(512, np.float32))}


def tone(seconds: float = 1.2, kind: str = "wav") -> bytes:
    at = np.arange(round(seconds * 24_000)) / 24_000
    return encode_file((0.3 * np.sin(2 * np.pi * 200 * at)).astype(np.float32), 24_000, kind)


TONE = tone()


class StandIn(Speaker):
    """A speaker of real stores and no model."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = Registry(settings)
        self.registry.open(self)
        self.voices = VoiceLibrary(self.registry, settings.plugin_seconds)
        self.fleet = SimpleNamespace(serving=SimpleNamespace(studio=STUDIO))  # type: ignore[assignment]
        self.loading = False
        self.prepared: list[str] = []
        self.hold = threading.Event()
        self.failure: Exception | None = None

    @property
    def engine(self) -> Any:
        if self.loading:
            raise ModelLoading("the model is still loading")
        return SimpleNamespace(config=SimpleNamespace(languages=("en", "de")))

    async def prepare(self, voice: Voice) -> None:
        await asyncio.to_thread(self.hold.wait, 10)
        self.prepared.append(voice.id)
        if self.failure:
            raise self.failure


class Admin:
    """The application and what stands behind it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.settings = Settings(data_dir=folder, limits=LIMITS, **changes)
        self.speaker = StandIn(self.settings)
        self.speaker.hold.set()
        self.audit = AuditLog(self.settings.admin_dir)
        self.keys = KeyRing(self.settings)
        self.http = TestClient(self.app(), base_url="http://127.0.0.1")

    def app(self) -> Litestar:
        return Litestar(
            route_handlers=voices.routes(self.settings.limits),
            middleware=[Access(self.settings, self.keys)],
            dependencies={
                "speaker": Provide(lambda: self.speaker, sync_to_thread=False),
                "audit": Provide(lambda: self.audit, sync_to_thread=False),
            },
            exception_handlers={
                NotAuthenticated: handle_not_authenticated,
                MoreError: handle_more_error,
                HTTPException: handle_http_error,
                Exception: handle_bug,
            },
            before_send=[add_request_id],
            request_max_body_size=self.settings.limits.body_bytes,
            openapi_config=None,
            logging_config=None,
        )

    def upload(self, name: str = "ann", *samples: bytes, **fields: Any) -> httpx.Response:
        files = [("audio_sample", ("clip.wav", sample, "audio/wav")) for sample in samples or (TONE,)]
        return self.http.post(VOICES, data={"name": name} | fields, files=files)

    def get(self, path: str = "") -> Any:
        answer = self.http.get(f"{VOICES}{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ids(self) -> list[str]:
        return [voice["id"] for voice in self.get()["data"]]

    def actions(self) -> list[tuple[str, str, str]]:
        return [(entry.action, entry.target, entry.outcome) for entry in self.audit.tail(100)]


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    made = Admin(tmp_path)
    with made.http:
        yield made


def wrong(answer: httpx.Response, param: str | None, status: int = 400, code: str = "invalid_value") -> str:
    message = refused(answer, status, code)
    assert answer.json()["error"]["param"] == param, message
    return message


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
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''reference-01.wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for other in ("voice.toml", "reference-02.wav", "..%2Fvoice.toml", "%2e%2e", "reference-01.wav%00"):
        wrong(admin.http.get(f"{VOICES}/ann/references/{other}"), "reference", 404, "voice_not_found")
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
        (("nameless", TONE, "text/plain"), "nameless"),
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
        ({"licens": "x"}, "licens", "there is no field 'licens'"),
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


# -- archives and mixtures


def test_a_voice_travels(admin: Admin) -> None:
    admin.upload(title="Ann A", licence="CC0-1.0")
    exported = admin.http.get(f"{VOICES}/ann/export")
    assert exported.headers["content-type"] == "application/zip"
    assert exported.headers["content-disposition"] == "attachment; filename*=UTF-8''ann.zip"
    assert zipfile.ZipFile(io.BytesIO(exported.content)).namelist() == ["ann/voice.toml", "ann/reference-01.wav"]

    as_body = {"content": exported.content, "headers": {"content-type": "application/zip"}}
    assert "exists already" in wrong(admin.http.post(f"{VOICES}/import", **as_body), "name")
    admin.http.delete(f"{VOICES}/ann")
    again = admin.http.post(f"{VOICES}/import", **as_body)
    assert (again.status_code, again.json()["title"], again.json()["licence"]) == (200, "Ann A", "CC0-1.0")
    assert again.json()["report"]["clips"][0]["name"] == "reference-01.wav"

    as_form = {"files": {"file": ("ann.zip", exported.content)}, "params": {"name": "bea", "store": "folder"}}
    assert admin.http.post(f"{VOICES}/import", **as_form).json()["id"] == "bea"
    assert ("voices.import", "bea", "allowed") in admin.actions()


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"content": b""}, "file"),
        ({"content": b"garbage"}, "file"),
        ({"files": [("file", ("a.zip", b"x")), ("file", ("b.zip", b"y"))]}, "file"),
        ({"files": {"archive": ("a.zip", b"x")}}, "archive"),
        ({"content": b"garbage", "params": {"store": "attic"}}, "store"),
    ],
)
def test_archives_that_are_none(admin: Admin, sent: dict[str, Any], param: str) -> None:
    wrong(admin.http.post(f"{VOICES}/import", **sent), param)
    assert admin.actions() == []


def test_voices_of_the_model_and_of_nobody_do_not_travel(admin: Admin) -> None:
    wrong(admin.http.get(f"{VOICES}/ana/export"), "voice")
    wrong(admin.http.get(f"{VOICES}/nobody/export"), "voice", 404, "voice_not_found")


def test_a_mixture_is_kept(admin: Admin) -> None:
    parts = [{"voice": "linden", "weight": 3}, {"voice": "nova"}]
    made = admin.http.post(f"{VOICES}/mix", json={"name": "duo", "parts": parts, "title": "Both", "aliases": ["Two"]})
    assert made.status_code == 200, made.text
    body = made.json()
    assert body["mix"] == [
        {"weight": 3.0, "references": ["linden-reference.wav"]},
        {"weight": 1.0, "references": ["rowan-reference.wav"]},
    ]
    assert (body["title"], body["aliases"], body["languages"]) == ("Both", ["two"], ["en"])
    assert "rowan: CC0-1.0" in body["licence"]
    assert admin.actions() == [("voices.mix", "duo", "allowed")]
    assert admin.ids() == ["ana", "duo", "linden", "rowan"]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"name": "duo"}, "parts", "required"),
        ({"parts": []}, "name", "required"),
        ({"name": "duo", "parts": [{"voice": "linden"}]}, "parts", "2 to 8"),
        ({"name": "duo", "parts": [{"voice": "linden"}, {"voice": "ana"}]}, "parts", "no recordings"),
        ({"name": "duo", "parts": [{"voice": "linden", "weight": 0}, {"voice": "rowan"}]}, "parts", "above 0"),
        ({"name": "duo", "parts": [{"voice": "linden", "wieght": 2}, {"voice": "rowan"}]}, "parts", "wieght"),
        ({"name": "duo", "parts": [{"voice": "linden"}, {"voice": "rowan"}], "mood": "glad"}, "mood", "no field"),
        ({"name": "rowan", "parts": [{"voice": "linden"}, {"voice": "rowan"}]}, "name", "exists already"),
    ],
)
def test_mixtures_that_cannot_be(admin: Admin, body: dict[str, Any], param: str, says: str) -> None:
    assert says in wrong(admin.http.post(f"{VOICES}/mix", json=body), param)
    assert admin.actions() == []


# -- what happens beside it


def eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_nobody_waits_for_the_preparation(admin: Admin) -> None:
    admin.speaker.hold.clear()
    assert admin.upload().status_code == 200
    assert admin.speaker.prepared == []
    admin.speaker.hold.set()
    eventually(lambda: admin.speaker.prepared == ["ann"])


@pytest.mark.parametrize("failure", [BrokenVoice("no numbers"), RuntimeError("a bug")])
def test_a_preparation_that_fails_is_told_in_the_log(
    admin: Admin, failure: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    admin.speaker.failure = failure
    assert admin.upload().status_code == 200
    eventually(lambda: admin.speaker.prepared == ["ann"])
    eventually(lambda: "cannot be prepared" in "".join(capfd.readouterr()))


def test_recordings_are_looked_at_while_the_model_loads(admin: Admin) -> None:
    admin.speaker.loading = True
    assert admin.upload(language="fr").json()["report"]["not_spoken"] == []


def test_what_cannot_be_recorded_is_not_done(admin: Admin) -> None:
    admin.upload()
    log = admin.settings.admin_dir / "audit.jsonl"
    log.unlink()
    log.mkdir()
    for answer in (
        admin.upload("bob"),
        admin.http.delete(f"{VOICES}/ann"),
        admin.http.patch(f"{VOICES}/ann", json={"name": "bea"}),
        admin.http.post(f"{VOICES}/mix", json={"name": "duo", "parts": [{"voice": "linden"}, {"voice": "rowan"}]}),
    ):
        refused(answer, 500, "storage_error")
    assert admin.ids() == ["ana", "ann", "linden", "rowan"]


def test_administrators_alone(admin: Admin) -> None:
    secrets = {}
    for scope in ("admin", "voices"):
        key, secrets[scope] = new_key(scope, [scope])
        KeyRing(admin.settings).add(key)
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/linden"), ("PATCH", "/linden"), ("DELETE", "/linden"),
                         ("GET", "/linden/export"), ("POST", "/import"), ("POST", "/mix"),
                         ("GET", "/linden/references/reference.wav")):  # fmt: skip
        asked = {"method": method, "url": f"{VOICES}{path}"}
        assert admin.http.request(**asked).status_code == 401
        assert admin.http.request(**asked, headers={"authorization": f"Bearer {secrets['voices']}"}).status_code == 403
    admin.http.headers["authorization"] = f"Bearer {secrets['admin']}"
    assert admin.upload().status_code == 200
    assert admin.audit.tail(1)[0].actor.name == "admin"


def test_an_application_can_be_built_again(admin: Admin) -> None:
    for _ in range(2):
        with TestClient(admin.app(), base_url="http://127.0.0.1") as again:
            assert again.get(VOICES).status_code == 200
            assert again.get(f"{VOICES}/linden/export").status_code == 200
            wrong(again.post(VOICES, content=b"x"), None)


# -- the whole server


def test_a_voice_speaks_as_soon_as_it_is_there(start: Callable[..., AbstractContextManager[Server]]) -> None:
    clip = (bundled_dir() / "voices" / "rowan" / "reference.wav").read_bytes()
    with start() as server:
        http = server.http()
        assert len(clip) > server.settings.limits.body_bytes
        made = http.post(VOICES, data={"name": "ann"}, files={"audio_sample": ("r.wav", clip, "audio/wav")})
        assert made.status_code == 200, made.text
        asked = {"input": "Hello there, it is me.", "voice": "ann", "response_format": "wav"}
        assert len(http.post("/v1/audio/speech", content=json.dumps(asked)).content) > 20_000
        mix = {"name": "duo", "parts": [{"voice": "ann", "weight": 1}, {"voice": "linden", "weight": 2}]}
        assert http.post(f"{VOICES}/mix", json=mix).status_code == 200
        assert http.delete(f"{VOICES}/ann").status_code == 200
        assert http.post("/v1/audio/speech", content=json.dumps(asked)).status_code == 404
        assert http.post("/v1/audio/speech", content=json.dumps(asked | {"voice": "duo"})).status_code == 200
        assert [one["id"] for one in http.get("/v1/audio/voices").json()["voices"]] == ["duo", "linden", "rowan"]
