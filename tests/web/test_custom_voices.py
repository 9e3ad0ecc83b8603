"""Voices made and removed by OpenAI's own client, over the real server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from more_server.audit import AuditLog
from more_server.keys import KeyRing, new_key
from more_server.tables import LimitSettings
from tests.web.conftest import Server, nano_settings, running
from tests.web.guarded import refused
from tests.web.voicedesk import TONE, tone, wrong

VOICES = "/v1/audio/voices"
LIMITS = LimitSettings(body_bytes=65_536, reference_bytes=300_000, voice_references=3)
CLIP = ("clip.wav", TONE, "audio/wav")


def settings(folder: Path) -> Any:
    return msgspec.structs.replace(nano_settings(folder, threads=1), limits=LIMITS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that remove the voices which they make."""
    with running(settings(tmp_path_factory.mktemp("data"))) as made:
        yield made


@pytest.fixture
def client(server: Server) -> openai.OpenAI:
    return server.client()


def make(client: openai.OpenAI, name: str = "ann", **fields: Any) -> Any:
    return client.audio.voices.create(**{"name": name, "audio_sample": CLIP, "consent": "she said yes"} | fields)


def listed(server: Server) -> list[str]:
    return [voice["id"] for voice in server.http().get(VOICES).json()["data"]]


def actions(server: Server, last: int) -> list[tuple[str, str, str]]:
    return [(one.action, one.target, one.outcome) for one in AuditLog(server.settings.admin_dir).tail(last)]


# -- the life of a voice


def test_the_life_of_a_voice(server: Server, client: openai.OpenAI) -> None:
    made = make(client, type="audio_sample")
    assert made.to_dict() == {
        "id": "ann",
        "object": "audio.voice",
        "created_at": made.created_at,
        "name": "ann",
        "type": "audio_sample",
    }
    assert made.created_at > 1_700_000_000
    asked: Any = {"model": "tts-1", "input": "Hello there.", "response_format": "pcm", "extra_body": {"seed": 5}}
    spoken = client.audio.speech.create(voice=made.id, **asked).content
    assert len(spoken) > 10_000
    assert client.audio.speech.create(voice={"id": made.id}, **asked).content == spoken
    assert listed(server) == ["ann", "linden", "rowan"]
    entry = server.http().get("/v1/admin/voices/ann").json()
    assert (entry["consent"], entry["references"], entry["store"]) == ("she said yes", ["reference-01.wav"], "folder")

    gone = client.audio.voices.delete(made.id)
    assert gone.to_dict() == {"id": "ann", "object": "audio.voice.deleted", "deleted": True}
    with pytest.raises(openai.NotFoundError) as twice:
        client.audio.voices.delete(made.id)
    assert (twice.value.code, twice.value.param) == ("voice_not_found", "voice")
    with pytest.raises(openai.NotFoundError) as unheard:
        client.audio.speech.create(voice=made.id, **asked)
    assert unheard.value.code == "voice_not_found"
    assert actions(server, 2) == [("voices.create", "ann", "allowed"), ("voices.delete", "ann", "allowed")]


async def test_the_same_asynchronously(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a clip.flac").write_bytes(tone(kind="flac"))
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        # From a path, whose file the client opens itself.
        sample = tmp_path / "a clip.flac"
        made = await client.audio.voices.create(name="Bea", audio_sample=sample, consent="Bea herself")
        assert (made.id, made.name) == ("bea", "Bea")
        assert (await client.audio.voices.delete("bea")).deleted


def test_several_recordings(server: Server) -> None:
    told = {"name": "duo", "consent": "both said yes"}
    files = [("audio_sample", CLIP), ("audio_sample", ("clip.mp3", tone(2, "mp3"), "audio/mpeg"))]
    answer = server.http().post(VOICES, data=told, files=files)
    assert answer.status_code == 200, answer.text
    entry = server.http().get("/v1/admin/voices/duo").json()
    assert entry["references"] == ["reference-01.wav", "reference-02.mp3"]
    wrong(server.http().post(VOICES, data=told, files=files * 2), "audio_sample")
    assert server.http().delete(f"{VOICES}/duo").json()["deleted"]


@pytest.mark.parametrize(
    ("kind", "suffix"), [("wav", "wav"), ("mp3", "mp3"), ("flac", "flac"), ("opus", "ogg"), ("aac", "aac")]
)
def test_bytes_without_a_name_are_known_by_how_they_begin(
    server: Server, client: openai.OpenAI, kind: str, suffix: str
) -> None:
    made = make(client, audio_sample=tone(2, kind))
    entry = server.http().get(f"/v1/admin/voices/{made.id}").json()
    assert entry["references"] == [f"reference-01.{suffix}"]
    client.audio.voices.delete(made.id)


@pytest.mark.parametrize(
    ("name", "voice_id"),
    [
        ("Ann", "ann"),
        (" My  own Voice ", "my-own-voice"),
        ("nova", "nova"),
        ("Ann Müller", None),
        ("声音", None),
        ("linden", None),
        ("mix", None),
        ("-", None),
        ("a" * 65, None),
    ],
)
def test_names_become_ids_where_they_can(client: openai.OpenAI, name: str, voice_id: str | None) -> None:
    made = make(client, name)
    try:
        assert made.name == name.strip()
        assert made.id == voice_id if voice_id else re.fullmatch("voice_[0-9a-f]{16}", made.id)
    finally:
        client.audio.voices.delete(made.id)


def test_who_goes_by_a_name_keeps_it(server: Server, client: openai.OpenAI) -> None:
    made = [make(client, "Ann"), make(client, "Ann")]
    assert made[0].id == "ann"
    assert made[1].id.startswith("voice_")
    assert server.http().patch("/v1/admin/voices/ann", json={"aliases": ["boss"]}).status_code == 200
    made.append(make(client, "Boss"))
    assert made[2].id.startswith("voice_")
    for voice in made:
        client.audio.voices.delete(voice.id)


# -- what cannot be


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"name": " "}, "name", "1 to 100"),
        ({"name": "x" * 101}, "name", "1 to 100"),
        ({"name": "a\u202eb"}, "name", "visible"),
        ({"consent": " "}, "consent", "consent is missing"),
        ({"consent": "x" * 4001}, "consent", "at most 4000"),
        ({"consent": "cons_1234"}, "consent", "there is no consent 'cons_1234'"),
        ({"consent": "cons_" + "0" * 24}, "consent", "there is no consent"),
        ({"consent": "cons_../../keys.json"}, "consent", "there is no consent"),
        ({"audio_sample": ("clip.wav", b"no audio", "audio/wav")}, "audio_sample", "damaged or no audio"),
        ({"audio_sample": ("clip.wav", tone(0.3), "audio/wav")}, "audio_sample", "at least 1 s"),
        ({"audio_sample": ("run.exe", TONE, "application/x-msdownload")}, "audio_sample", "cannot be a '.exe' file"),
        ({"type": "video"}, "type", "allowed is audio_sample"),
        ({"type": "prompt"}, "type", "not of a prompt"),
        ({"prompt": "an old sailor"}, "prompt", "goes with a prompt"),
        ({"extra_body": {"mood": "glad"}}, "mood", "there is no field 'mood'"),
    ],
)
def test_what_does_not_fit(
    server: Server, client: openai.OpenAI, fields: dict[str, Any], param: str, says: str
) -> None:
    before = actions(server, 100)
    with pytest.raises(openai.BadRequestError) as error:
        make(client, **{"name": "ann"} | fields)
    assert (error.value.param, error.value.code, error.value.type) == (param, "invalid_value", "invalid_request_error")
    assert says in error.value.message
    assert listed(server) == ["linden", "rowan"]
    assert actions(server, 100) == before


def test_prompts_are_refused_in_words(server: Server, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.voices.create(name="old", prompt="an old sailor", type="prompt", model="auto", script_hint="Ahoy")
    assert error.value.param == "type"
    assert "send a form" in error.value.message
    as_json = server.http().post(VOICES, json={"type": "prompt", "name": "old", "prompt": "an old sailor"})
    assert "not of a prompt" in wrong(as_json, "type")


def test_what_is_missing(server: Server) -> None:
    told = {"name": "ann", "consent": "yes"}
    sample = {"audio_sample": CLIP}
    assert "at least one" in wrong(
        server.http().post(VOICES, files={k: (None, v) for k, v in told.items()}), "audio_sample"
    )
    assert "must be a file" in wrong(
        server.http().post(VOICES, data={"audio_sample": "x"}, files=sample), "audio_sample"
    )
    for field in told:
        left = {other: value for other, value in told.items() if other != field}
        wrong(server.http().post(VOICES, data=left, files=sample), field)
    assert "2 times" in wrong(server.http().post(VOICES, data=told | {"consent": ["a", "b"]}, files=sample), "consent")
    assert "multipart/form-data" in wrong(server.http().post(VOICES, data=told), None)


def test_what_is_too_large(client: openai.OpenAI) -> None:
    for size, param, says in ((300_001, "audio_sample", "300000 bytes"), (4_000_000, None, "3 recordings of")):
        with pytest.raises(openai.APIStatusError) as error:
            make(client, audio_sample=("clip.wav", b"\0" * size, "audio/wav"))
        assert (error.value.status_code, error.value.param, error.value.code) == (413, param, "payload_too_large")
        assert says in error.value.message


def test_voices_that_stay(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.audio.voices.delete("linden")
    assert error.value.param == "voice"
    for name in ("Linden", "alloy", "../linden", "a/b", "%"):
        with pytest.raises(openai.NotFoundError):
            client.audio.voices.delete(name)


# -- who may


def test_pages_of_others_change_nothing_while_there_is_no_key(server: Server) -> None:
    told, sample = {"name": "ann", "consent": "yes"}, {"audio_sample": CLIP}
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}, {"sec-fetch-site": "cross-site"}):
        http = server.http()
        refused(http.post(VOICES, data=told, files=sample, headers=headers), 403, "foreign_page")
        refused(http.delete(f"{VOICES}/linden", headers=headers), 403, "foreign_page")
        refused(http.get("/v1/audio/voice_consents", headers=headers), 403, "foreign_page")
        assert http.get(VOICES, headers=headers).status_code == 200
        assert http.options(VOICES, headers=headers).status_code == 204


def test_keys_and_their_scopes(tmp_path: Path) -> None:
    made = settings(tmp_path)
    secrets = {}
    for scope in ("admin", "voices", "speech"):
        key, secrets[scope] = new_key(scope, [scope])
        KeyRing(made).add(key)
    with running(made) as server:
        clients = {scope: server.client().with_options(api_key=secret) for scope, secret in secrets.items()}
        for scope in ("admin", "voices"):
            assert clients[scope].audio.voices.delete(make(clients[scope]).id).deleted
        (entry,) = AuditLog(made.admin_dir).tail(1)
        assert entry.actor.name == "voices"
        for change in (make, lambda one: one.audio.voices.delete("ann"), lambda one: one.audio.voice_consents.list()):
            with pytest.raises(openai.PermissionDeniedError) as short:
                change(clients["speech"])
            assert short.value.code == "insufficient_scope"
            with pytest.raises(openai.AuthenticationError):
                change(server.client())
        with pytest.raises(openai.PermissionDeniedError):
            clients["voices"].audio.speech.create(model="tts-1", voice="ann", input="Hello.")
        assert server.http().get(VOICES).status_code == 200
