"""Administration over HTTP, end to end: what is changed is heard in the next request, and is there after a restart."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyloudnorm
import pytest

from more_server.settings import Settings
from tests.web.conftest import Server, nano_settings, running

TEXT = "The weather is so nice today that we are going for a long walk in the park."
LONG = " ".join([TEXT] * 4)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For tests that leave it as they found it."""
    with running(nano_settings(tmp_path_factory.mktemp("data"), threads=1)) as made:
        yield made


def samples(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<i2").astype(np.float64) / 32768


def lufs(content: bytes) -> float:
    return float(pyloudnorm.Meter(24_000).integrated_loudness(samples(content)))


def say(http: httpx.Client, **fields: Any) -> bytes:
    asked = {"input": TEXT, "response_format": "pcm", "seed": 7, "stream": False} | fields
    answer = http.post("/v1/audio/speech", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.content


def rows(http: httpx.Client) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in http.get("/v1/admin/plugins").json()["data"]}


def test_the_whole_life_of_an_administrator(tmp_path: Path) -> None:
    settings = nano_settings(tmp_path, threads=1)
    with running(settings) as server:
        http = server.http()
        assert lufs(say(http)) == pytest.approx(-16, abs=0.2)

        # One is running with its chain while the plugin goes.
        heard: list[bytes] = []
        asked = {"input": LONG, "response_format": "pcm", "seed": 7}
        with server.fresh().stream("POST", "/v1/audio/speech", json=asked) as running_one:
            pieces = running_one.iter_bytes(1024)
            heard.append(next(pieces))
            answer = http.post("/v1/admin/plugins/more_loudness/disable")
            assert (answer.status_code, answer.json()["state"]) == (200, "disabled")
            quiet = lufs(say(http))
            heard.extend(pieces)
        assert quiet < -19  # nano's own level
        assert lufs(b"".join(heard)) == pytest.approx(-16, abs=2)  # by the voice's measured level

        assert http.post("/v1/admin/plugins/more_loudness/enable").json()["state"] == "active"
        assert lufs(say(http)) == pytest.approx(-16, abs=0.2)
        changed = http.patch("/v1/admin/plugins/more_loudness", json={"settings": {"target_lufs": -23}})
        assert changed.json()["settings"]["target_lufs"] == -23
        assert lufs(say(http)) == pytest.approx(-23, abs=0.2)

        slow = {"name": "slow", "base": "balanced", "speed": 0.5, "post_processors": []}
        assert http.post("/v1/admin/profiles", json=slow).json()["speed"] == 0.5
        longer = samples(say(http, quality="slow"))
        assert len(longer) > 1.7 * len(samples(say(http)))
        assert lufs(say(http, quality="slow")) == pytest.approx(quiet, abs=1)

    with running(settings) as server:
        http = server.http()
        assert lufs(say(http)) == pytest.approx(-23, abs=0.2)
        assert samples(say(http, quality="slow")).tolist() == longer.tolist()
        log = http.get("/v1/admin/audit").json()["data"]
        assert [(line["action"], line["target"]) for line in log] == [
            ("plugins.disable", "more_loudness"),
            ("plugins.enable", "more_loudness"),
            ("plugins.configure", "more_loudness"),
            ("profiles.create", "slow"),
        ]
        assert log[2]["changes"] == {"target_lufs": -23}
        assert http.delete("/v1/admin/profiles/slow").json()["deleted"]
        assert http.post("/v1/audio/speech", json={"input": "x", "quality": "slow"}).status_code == 400


def test_plugins_are_told_with_settings_and_schema(server: Server) -> None:
    found = rows(server.http())
    loudness = found["more_loudness"]
    assert set(loudness) >= {"name", "version", "enabled", "hooks", "state", "error", "settings", "schema"}
    assert (loudness["enabled"], loudness["state"], loudness["error"]) == (True, "active", None)
    assert loudness["hooks"] == ["post_processors"]
    assert "target_lufs" in json.dumps(loudness["schema"])
    assert found["more_voice_object_store"]["state"] == "disabled"
    assert server.http().get("/v1/admin/plugins/more_loudness").json() == loudness


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/v1/admin/plugins/nothing/enable", None, 404, "name"),
        ("PATCH", "/v1/admin/plugins/more_loudness", {"settings": {"target_lufs": 3}}, 400, "settings.target_lufs"),
        ("PATCH", "/v1/admin/plugins/more_loudness", {"settings": {"loud": 3}}, 400, "settings.loud"),
        ("PATCH", "/v1/admin/plugins/more_loudness", {"settings": {}, "loud": 1}, 400, "loud"),
        ("PATCH", "/v1/admin/plugins/more_loudness", {}, 400, "settings"),
        ("POST", "/v1/admin/plugins/more_profiles/disable", None, 400, "name"),
        ("POST", "/v1/admin/plugins/more_voice_object_store/enable", None, 400, None),
        ("POST", "/v1/admin/profiles", {"name": "a", "base": "fast", "speed": 9}, 400, "speed"),
        ("POST", "/v1/admin/profiles", {"base": "fast"}, 400, "name"),
        ("POST", "/v1/admin/profiles", {"name": "../a", "base": "fast"}, 400, "name"),
        ("PATCH", "/v1/admin/profiles/fast", {"speed": 1}, 400, "name"),
        ("DELETE", "/v1/admin/profiles/balanced", None, 400, "name"),
        ("POST", "/v1/admin/models/none/load", None, 404, "model"),
        ("POST", "/v1/admin/models/nano/unload", None, 400, "model"),
        ("POST", "/v1/admin/models/nano/switch", {"kep": True}, 400, "kep"),
    ],
)
def test_what_cannot_be_changed_is_refused_by_field(
    server: Server, method: str, path: str, body: Any, status: int, param: str | None
) -> None:
    before = rows(server.http())
    answer = server.http().request(method, path, json=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    if param:
        assert error["param"] == param
    if error["message"].startswith("there is no field"):
        assert "there are: " in error["message"]
    assert rows(server.http()) == before


def test_settings_are_told_with_their_source_and_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from more_server import settings as module

    file = tmp_path / "more.toml"
    environment = {"MORE_DATA_DIR": str(tmp_path), "MORE_PREPARE_VOICES": "false", "MORE_LOG_LEVEL": "error"}
    environment["MORE_ENGINE__THREADS"] = "1"
    file.write_text("default_quality = 'fast'\n[plugins.more_loudness]\ntarget_lufs = -20\n")
    with running(module.read(file, environment).settings, reread=lambda: module.read(file, environment)) as server:
        http = server.http()
        found = {one["path"]: one for one in http.get("/v1/admin/config").json()["data"]}
        assert (found["default_quality"]["value"], found["default_quality"]["source"]) == ("fast", str(file))
        assert found["data_dir"]["source"] == "MORE_DATA_DIR"
        assert (found["server.port"]["source"], found["server.port"]["reloadable"]) == ("default", False)
        target = found["plugins.more_loudness.target_lufs"]
        assert (target["value"], target["source"], target["reloadable"]) == (-20, str(file), True)
        assert found["plugins.more_loudness.enabled"]["source"] == "default"
        assert lufs(say(http)) == pytest.approx(-20, abs=0.2)

        file.write_text(
            "default_quality = 'balanced'\n[server]\nport = 99\n[plugins.more_loudness]\ntarget_lufs = -24\n"
        )
        assert http.post("/v1/admin/reload").json()["waiting"] == ["server.port"]
        assert lufs(say(http)) == pytest.approx(-24, abs=0.2)
        found = {one["path"]: one for one in http.get("/v1/admin/config").json()["data"]}
        assert found["default_quality"]["value"] == "balanced"

        file.write_text(
            "[limits]\nbody_bytes = 2000\ntext_characters = 40\n[plugins.more_loudness]\ntarget_lufs = -24\n"
        )
        http.post("/v1/admin/reload")
        answer = http.post("/v1/audio/speech", json={"input": "x" * 50})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")
        assert http.post("/v1/audio/speech", json={"input": "x" * 3000}).status_code == 413
        file.write_text("[plugins.more_loudness]\ntarget_lufs = -24\n")
        http.post("/v1/admin/reload")

        for wrong in ("default_quality = 'best'", "[plugins.more_loud]\nx = 1", "[sever]", "port = = 3"):
            file.write_text(wrong)
            answer = http.post("/v1/admin/reload")
            assert answer.status_code == 400, wrong
            assert answer.json()["error"]["message"]
        assert lufs(say(http)) == pytest.approx(-24, abs=0.2)

        http.patch("/v1/admin/plugins/more_loudness", json={"settings": {"target_lufs": -18}})
        http.post("/v1/admin/plugins/more_silence/disable")
        found = {one["path"]: one for one in http.get("/v1/admin/config").json()["data"]}
        decided = str(tmp_path / "admin" / "plugins.json")
        for name, value in (("more_loudness.target_lufs", -18), ("more_silence.enabled", False)):
            assert (found[f"plugins.{name}"]["value"], found[f"plugins.{name}"]["source"]) == (value, decided)


ROUTED = """
from litestar import get
from more_server import hookimpl

@get("/local/hello", opt={"scope": "public"}, sync_to_thread=True)
def hello() -> str:
    return "VALUE"

@get("/local/fall", opt={"scope": "public"}, sync_to_thread=False)
def fall() -> str:
    raise ValueError("over")

@hookimpl
def routes(context):
    return [hello, fall]
"""

SERVED = """
import pathlib
from more_server import Service, hookimpl

class Beacon(Service):
    def __init__(self, place): self.place = place
    async def start(self): self.place.write_text("lit")
    async def stop(self): self.place.write_text("out")

@hookimpl
def services(context):
    return [Beacon(context.data_dir / "beacon")]
"""


def local(folder: Path, **plugins: str) -> Settings:
    import msgspec

    (folder / "plugins").mkdir(exist_ok=True)
    for name, text in plugins.items():
        (folder / "plugins" / f"{name}.py").write_text(text)
    return msgspec.structs.replace(
        nano_settings(folder, threads=1), plugin_dir=str(folder / "plugins"), plugin_seconds=2.0, prepare_voices=False
    )


def test_routes_and_services_come_and_go_while_it_runs(tmp_path: Path) -> None:
    with running(local(tmp_path, routed=ROUTED, served=SERVED)) as server:
        http, beacon = server.http(), tmp_path / "beacon"
        assert (http.get("/local/hello").text, beacon.read_text()) == ("VALUE", "lit")
        answer = http.get("/local/fall")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "plugin_error")
        assert "routed" in answer.json()["error"]["message"]
        for name in ("routed", "served"):
            http.post(f"/v1/admin/plugins/{name}/disable")
        assert (http.get("/local/hello").status_code, beacon.read_text()) == (404, "out")
        for name in ("routed", "served"):
            http.post(f"/v1/admin/plugins/{name}/enable")
        assert (http.get("/local/hello").status_code, beacon.read_text()) == (200, "lit")
        (tmp_path / "plugins" / "routed.py").write_text(ROUTED.replace("VALUE", "CHANGED"))
        http.post("/v1/admin/reload")
        assert http.get("/local/hello").text == "CHANGED"
    assert beacon.read_text() == "out"


def test_a_route_that_is_taken_is_told_on_its_row(tmp_path: Path) -> None:
    with running(local(tmp_path, routed=ROUTED.replace("/local/hello", "/health"))) as server:
        assert server.http().get("/health").text == "OK"
        assert "its routes" in rows(server.http())["routed"]["error"]


CHAINED = """
import time
from more_server import PostProcessor, PostProcessorKind, hookimpl

class Step(PostProcessor):
    count = 0

    def process(self, samples):
        self.count += 1
        if self.count == AT:
            DOES
        return samples

@hookimpl
def post_processors(context):
    return [PostProcessorKind(lambda stage: Step())]
"""


@pytest.mark.parametrize("does", ["raise ValueError('over')", "time.sleep(30)", "raise SystemExit(3)"])
def test_a_plugin_that_fails_at_the_first_piece_is_a_500_with_its_name(tmp_path: Path, does: str) -> None:
    with running(local(tmp_path, odd=CHAINED.replace("AT", "1").replace("DOES", does))) as server:
        http = server.http()
        http.post("/v1/admin/profiles", json={"name": "odd", "base": "fast", "post_processors": ["odd"]})
        answer = http.post("/v1/audio/speech", json={"input": TEXT, "quality": "odd"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "plugin_error")
        assert "the plugin odd failed" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        row = rows(http)["odd"]
        assert row["state"] == ("failed" if "sleep" in does else "active")
        assert row["error"]
        assert len(say(http)) > 10_000


@pytest.mark.parametrize("does", ["raise ValueError('over')", "time.sleep(30)"])
def test_one_that_fails_in_the_middle_of_a_stream_cuts_it(tmp_path: Path, does: str) -> None:
    with running(local(tmp_path, odd=CHAINED.replace("AT", "3").replace("DOES", does))) as server:
        http = server.http()
        http.post("/v1/admin/profiles", json={"name": "odd", "base": "fast", "post_processors": ["odd"]})
        asked = {"input": LONG, "quality": "odd", "response_format": "pcm"}
        with server.fresh().stream("POST", "/v1/audio/speech", json=asked) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                list(answer.iter_bytes())
        assert rows(http)["odd"]["error"]
        assert len(say(http)) > 10_000
        # Whoever mends it enables it again, and it is tried anew.
        (tmp_path / "plugins" / "odd.py").write_text(CHAINED.replace("AT", "0").replace("DOES", "pass"))
        http.post("/v1/admin/reload")
        http.post("/v1/admin/plugins/odd/enable")
        assert len(say(http, quality="odd")) > 10_000


def test_models_are_loaded_switched_and_unloaded_while_requests_run(tmp_path: Path) -> None:
    import shutil

    from more_server.settings import bundled_dir

    shutil.copytree(bundled_dir() / "models" / "nano", tmp_path / "models" / "other")
    settings = nano_settings(tmp_path, threads=1)
    with running(settings) as server:
        http = server.http()
        other = {"model": "other", "input": TEXT}
        assert http.post("/v1/audio/speech", json=other).status_code == 404
        loaded = {one["id"]: one for one in http.post("/v1/admin/models/other/load").json()["data"]}
        assert (loaded["other"]["loaded"], loaded["other"]["serving"], loaded["nano"]["serving"]) == (True, False, True)
        assert http.post("/v1/audio/speech", json=other).status_code == 200
        assert "other" in [one["id"] for one in http.get("/v1/models").json()["data"]]

        finished: list[bytes] = []
        asked = {"input": LONG, "response_format": "pcm", "seed": 3, "stream_format": "sse"}
        with server.fresh().stream("POST", "/v1/audio/speech", json=asked) as stream:
            pieces = stream.iter_bytes(1024)
            finished.append(next(pieces))
            switched = {one["id"]: one for one in http.post("/v1/admin/models/other/switch").json()["data"]}
            assert switched["other"]["serving"]
            finished.extend(pieces)
        assert len(b"".join(finished)) > 24_000 * 2 * 9
        assert b"speech.audio.done" in b"".join(finished)[-200:]
        nano = _until_unloaded(http, "nano")
        assert not nano["loaded"]
        assert say(http, model="other") == say(http)
    with running(settings) as server:
        found = {one["id"]: one for one in server.http().get("/v1/admin/models").json()["data"]}
        assert found["other"]["serving"]


def test_a_switch_that_would_leave_the_server_without_its_default_voice_is_refused(tmp_path: Path) -> None:
    import msgspec

    from more_server.testing import tiny_xtts

    tiny_xtts(tmp_path / "models" / "tiny")
    settings = msgspec.structs.replace(nano_settings(tmp_path, threads=1), default_voice="linden+rowan")
    with running(settings) as server:
        http = server.http()
        answer = http.post("/v1/admin/plugins/more_voice_folder/disable")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")
        assert len(say(http)) > 10_000
        assert http.post("/v1/admin/models/tiny/switch").status_code == 200
    with running(msgspec.structs.replace(settings, model="nano")) as server:
        answer = server.http().post("/v1/admin/models/tiny/switch")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
        found = {one["id"]: one for one in server.http().get("/v1/admin/models").json()["data"]}
        assert (found["tiny"]["loaded"], found["nano"]["serving"]) == (False, True)


def _until_unloaded(http: httpx.Client, model: str) -> dict[str, Any]:
    done = threading.Event()
    for _ in range(100):
        found = {one["id"]: one for one in http.get("/v1/admin/models").json()["data"]}
        if not found[model]["loaded"]:
            break
        done.wait(0.1)
    return dict(found[model])


def test_mixtures_speak_and_lie_between(server: Server) -> None:
    http = server.http()
    ones = [say(http, voice=voice) for voice in ("linden", "rowan", "linden(0.7)+rowan(0.3)", "linden+rowan")]
    assert len({*ones}) == 4
    assert say(http, voice="linden(7)+rowan(3)") == ones[2]
    assert say(http, voice={"id": "linden+rowan"}) == ones[3]
    answer = http.post("/v1/audio/speech", json={"input": TEXT, "voice": "linden+nobody"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "voice")
