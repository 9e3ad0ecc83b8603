"""Voices for administrators: archives and mixtures, what happens beside a change, and the whole server."""

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from more_server.errors import BrokenVoice
from more_server.keys import KeyRing, new_key
from more_server.settings import bundled_dir
from tests.web.conftest import Server
from tests.web.guarded import refused
from tests.web.voicedesk import VOICES, Admin, wrong


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    made = Admin(tmp_path)
    with made.http:
        yield made


# -- archives and mixtures


def test_a_voice_travels(admin: Admin) -> None:
    admin.upload(title="Ann A", licence="CC0-1.0")
    exported = admin.http.get(f"{VOICES}/ann/export")
    assert exported.headers["content-type"] == "application/zip"
    assert exported.headers["content-disposition"] == ("attachment; filename=\"ann.zip\"; filename*=UTF-8''ann.zip")
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
    answer = admin.http.post(f"{VOICES}/mix", json=body)
    assert says in refused(answer, 400, "invalid_value")
    assert answer.json()["error"]["param"].partition("[")[0] == param
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
