"""Files that a failing disk, or a hand, has damaged: the server starts, works without them, and says so."""

import json
import shutil
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from more_server import files
from more_server.app import create_speaker
from more_server.errors import ModelError, SettingsError, StorageError
from more_server.registry import Registry
from more_server.settings import bundled_dir
from tests.web.conftest import Server, nano_settings, running
from tests.web.voicedesk import TONE

SPEECH = {"input": "The bread is still warm.", "voice": "ann", "response_format": "pcm", "seed": 5}
DAMAGE = b"\0" * 64
"""What some file systems leave of a file when the power fails."""
LEFT = (
    "voices/.bea.partial-0123abcd/voice.toml",
    "voices/.bea.partial-removed/voice.toml",
    "voices/ann/.voice.toml.partial-0123abcd",
    "admin/.keys.json.partial-0123abcd",
    "admin/consents/.cons_0123.partial-0123abcd/consent.json",
    "admin/consents/cons_0123/.consent.json.partial-0123abcd",
    "models/.mine.partial-0123abcd/config.json",
    "models/.serving.partial-0123abcd",
    "datasets/.reader.partial-0123abcd/dataset.json",
    "cache/latents/.0123.bin.partial-0123abcd",
)


def speech(server: Server) -> bytes:
    return server.http().post("/v1/audio/speech", json=SPEECH).raise_for_status().content


def shelved(http: httpx.Client) -> list[str]:
    found: list[str] = http.get("/health/detail").raise_for_status().json()["set_aside"]
    return found


def lived(data_dir: Path) -> bytes:
    """Let a server decide and keep something of everything, and speak."""
    with running(nano_settings(data_dir)) as server:
        http = server.http()
        voice = {"name": "ann"}, [("audio_sample", ("clip.wav", TONE, "audio/wav"))]
        http.post("/v1/admin/voices", data=voice[0], files=voice[1]).raise_for_status()
        http.post("/v1/admin/profiles", json={"name": "calm", "base": "balanced", "speed": 0.9}).raise_for_status()
        http.post("/v1/admin/plugins/more_marytts/enable").raise_for_status()
        http.post("/v1/jobs", json={"kind": "speech", "input": "Warm.", "voice": "ann"}).raise_for_status()
        assert shelved(http) == []
        return speech(server)


def test_a_server_starts_without_what_is_damaged(tmp_path: Path) -> None:
    spoken = lived(tmp_path)
    (tmp_path / "models").mkdir()
    latents = list((tmp_path / "cache" / "latents").glob("*.bin"))
    (job,) = (tmp_path / "jobs").glob("job_*")
    names = ("admin/plugins.json", "admin/profiles.json", "models/serving", "jobs/jobs.sqlite")
    for path in (*latents, *(tmp_path / name for name in names)):
        path.write_bytes(DAMAGE)
    for name in LEFT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    with files.locked(tmp_path / "voices" / "carl"), running(nano_settings(tmp_path)) as server:
        http = server.http()
        assert http.get("/v1/jobs").json()["data"] == []
        shown = shelved(http)
        assert [Path(path).name.partition(".damaged-")[0] for path in shown] == [Path(name).name for name in names]
        assert {Path(path).read_bytes() for path in shown} == {DAMAGE}
        assert not [name for name in LEFT if (tmp_path / name).exists()]
        assert speech(server) == spoken
        assert [path for path in latents if path.read_bytes() != DAMAGE]
        qualities = [profile["name"] for profile in http.get("/v1/admin/profiles").json()["data"]]
        assert "calm" not in qualities
        assert not http.get("/v1/admin/plugins/more_marytts").json()["enabled"]
        # All of it works as on the first day.
        http.post("/v1/admin/profiles", json={"name": "calm", "base": "fast"}).raise_for_status()
        http.post("/v1/admin/plugins/more_marytts/enable").raise_for_status()
        asked = http.post("/v1/jobs", json={"kind": "speech", "input": "Warm.", "voice": "ann"}).json()
        assert [one["id"] for one in http.get("/v1/jobs").json()["data"]] == [asked["id"]]
    assert job.is_dir()
    assert json.loads((tmp_path / "admin" / "profiles.json").read_bytes())["calm"]["base"] == "fast"


@pytest.mark.parametrize("name", ["admin/plugins.json", "admin/profiles.json", "models/serving"])
def test_the_log_names_what_was_set_aside(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(b"\xff" * 5)
    with capture_logs() as logs:
        create_speaker(nano_settings(tmp_path))
    (kept,) = files.set_aside_in(path.parent)
    (line,) = [line for line in logs if line["log_level"] == "error"]
    assert (line["path"], line["kept"]) == (str(path), kept)
    assert line["why"]


def test_a_command_line_sets_nothing_aside(tmp_path: Path) -> None:
    """It may be run beside a server that is at work, and by somebody who only wants to look."""
    path = tmp_path / "admin" / "plugins.json"
    path.parent.mkdir()
    path.write_bytes(DAMAGE)
    with pytest.raises(SettingsError, match=r"plugins\.json cannot be used"):
        Registry(nano_settings(tmp_path)).open(None)
    assert path.read_bytes() == DAMAGE


def test_what_cannot_be_set_aside_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "admin" / "profiles.json"
    path.parent.mkdir()
    path.write_bytes(DAMAGE)

    def refuse(path: Path, target: Path) -> Path:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match=r"profiles\.json is damaged .* cannot be set aside: Read-only"):
        create_speaker(nano_settings(tmp_path))
    assert path.read_bytes() == DAMAGE


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    """A model that was chosen to serve."""
    folder = tmp_path / "models" / "mine"
    shutil.copytree(bundled_dir() / "models" / "nano", folder)
    (folder.parent / "serving").write_text("mine\n")
    return folder


async def test_a_damaged_model_that_was_chosen_stops_the_start(chosen: Path, tmp_path: Path) -> None:
    """Whoever chose it would not want to be spoken to by another one."""
    weights = chosen / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    speaker = create_speaker(nano_settings(tmp_path))
    speaker.engine.start()
    try:
        with pytest.raises(ModelError, match=r"model mine: .*model\.safetensors"):
            await speaker.open()
    finally:
        await speaker.fleet.stop()
    assert files.set_aside_in(chosen.parent) == []
