"""Models and voices, as each client reads them."""

import shutil
from pathlib import Path

from tests.web.conftest import Server, nano_settings, running


def test_models_through_the_sdk(server: Server) -> None:
    client = server.client()
    ids = [model.id for model in client.models.list()]
    assert ids == ["nano", "tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"]
    model = client.models.retrieve("nano")
    assert (model.object, model.owned_by) == ("model", "more-server")
    assert model.created > 1_600_000_000
    extra = model.model_extra or {}
    assert extra["language"] == ["en"]
    assert extra["sample_rate"] == 24_000
    # wyoming_openai takes the voices from the retrieved model.
    assert [voice["name"] for voice in extra["voices"]] == ["linden", "rowan"]


def test_open_webui(server: Server) -> None:
    assert server.http().get("/v1/audio/models").json()["models"][0]["id"] == "nano"
    voices = server.http().get("/v1/audio/voices").json()["voices"]
    assert all(voice["id"] and voice["name"] for voice in voices)


def test_one_body_for_all_voice_listings(server: Server) -> None:
    body = server.http().get("/v1/audio/voices").json()
    assert body["object"] == "list"
    assert body["data"] == body["voices"]
    first = body["voices"][0]
    assert (first["id"], first["name"], first["value"], first["label"]) == ("linden", "Linden", "linden", "Linden")
    assert first["language"] == "en"
    for model in ("nano", "tts-1", "org/name", "org%2Fname"):
        assert server.http().get(f"/v1/audio/voices/{model}").json() == body
    assert server.http().get("/v1/audio/voices?legacy=true").json() == {"voices": ["linden", "rowan"]}


def test_health(server: Server) -> None:
    health = server.http().get("/health")
    assert (health.status_code, health.text) == (200, "OK")
    assert health.headers["content-type"].startswith("text/plain")
    assert server.http().get("/health/ready").json() == {"ready": True, "model": "nano", "reason": ""}


def test_a_voice_added_by_hand_is_there_at_once(tmp_path: Path) -> None:
    with running(nano_settings(tmp_path)) as server:
        folder = tmp_path / "voices" / "mine"
        folder.mkdir(parents=True)
        shutil.copy(Path("voices/rowan/reference.wav"), folder / "clip.wav")
        (folder / "voice.toml").write_text('name = "My own"\n')
        voices = server.http().get("/v1/audio/voices").json()["voices"]
        assert [voice["id"] for voice in voices] == ["linden", "mine", "rowan"]
        spoken = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": "mine"})
        assert spoken.status_code == 200
        shutil.rmtree(folder)
        gone = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": "mine"})
        assert gone.status_code == 404
        # Nothing but the cache of latents was written.
        assert {path.name for path in tmp_path.iterdir()} == {"cache", "voices"}


def test_a_reference_that_cannot_be_read_is_the_callers_error(tmp_path: Path) -> None:
    with running(nano_settings(tmp_path)) as server:
        folder = tmp_path / "voices" / "broken"
        folder.mkdir(parents=True)
        (folder / "clip.wav").write_bytes(b"not audio at all")
        (folder / "voice.toml").write_text("")
        response = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": "broken"})
        assert response.status_code == 400
        assert response.json()["error"]["param"]
