"""Models and voices, as each client reads them."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import pytest

from more_server.engine.runner import Runner
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


def test_the_default_voice_is_listed_first(tmp_path: Path) -> None:
    with running(msgspec.structs.replace(nano_settings(tmp_path), default_voice="rowan")) as server:
        for path in ("/v1/audio/voices", "/v1/audio/voices?legacy=true"):
            voices = server.http().get(path).json()["voices"]
            assert [voice if isinstance(voice, str) else voice["id"] for voice in voices] == ["rowan", "linden"]
        assert server.http().get("/v1/models/nano").json()["voices"][0]["name"] == "rowan"


def test_a_broken_reference_is_one_voices_trouble(tmp_path: Path) -> None:
    """The first voice in order of name is also the default one: the server starts all the same and names the file."""
    folder = tmp_path / "voices" / "aaa"
    folder.mkdir(parents=True)
    (folder / "clip.wav").write_bytes(b"not audio at all")
    (folder / "voice.toml").write_text("")
    with running(nano_settings(tmp_path)) as server:
        response = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": "aaa"})
        assert response.status_code == 500
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("broken_voice", "voice")
        assert "voice aaa" in error["message"]
        assert "clip.wav" in error["message"]
        good = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": "linden"})
        assert good.status_code == 200
        # Mended by hand, it speaks.
        shutil.copy(Path("voices/rowan/reference.wav"), folder / "clip.wav")
        mended = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": "aaa"})
        assert mended.status_code == 200


def test_many_first_requests_for_a_voice_compute_its_latents_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = Runner.condition

    def count(self: Runner, clips: object) -> object:
        calls.append(clips)
        return original(self, clips)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "condition", count)
    with running(nano_settings(tmp_path)) as server:
        calls.clear()

        def ask(_index: int) -> int:
            body = {"input": "Hello there.", "voice": "rowan"}
            return httpx.post(f"{server.url}/v1/audio/speech", json=body, timeout=60).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(8))) == {200}
        assert len(calls) == 1


def test_a_model_folder_that_disappears_does_not_silence_the_server(tmp_path: Path) -> None:
    shutil.copytree("models/nano", tmp_path / "models" / "mine")
    settings = msgspec.structs.replace(nano_settings(tmp_path), model="mine")
    with running(settings) as server:
        shutil.rmtree(tmp_path / "models" / "mine")
        assert server.http().get("/v1/models").json()["data"][0]["id"] == "mine"
        for voice in ("linden", "rowan"):
            spoken = server.http().post("/v1/audio/speech", json={"input": "Hello.", "voice": voice})
            assert spoken.status_code == 200
