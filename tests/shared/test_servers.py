"""Two servers, each with a data directory of its own: what one is told counts on the other, within seconds."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import tomli_w

from more_server.decisions import take_up_decisions
from more_server.keys import KeyRing, new_key
from more_server.models import pull, use
from more_server.settings import Settings
from more_server.voicebank.consents import Consents, FolderShelf, new_consent
from tests.jobs.postgres import make_database
from tests.models.server import Site, serve
from tests.models.test_pull import FILES, NANO, manifest
from tests.serving import Server
from tests.shared.conftest import away
from tests.web.voicedesk import TONE

SECONDS = 60.0
"""For whatever is waited for, on cores that others use too."""


class Pair:
    """The two, and how long the other one took to follow."""

    def __init__(self, folder: Path, database: str, model_manifest: Path) -> None:
        self.folder, self.database = folder, database
        self.seconds: dict[str, float] = {}
        shared = {
            "DATABASE": database,
            "SHARED_DIR": str(folder / "shared"),
            "MODEL_MANIFEST": str(model_manifest),
            "VOICE_STORE": "objects",
            "PLUGINS__MORE_VOICE_OBJECT_STORE__ENABLED": "true",
            "PLUGINS__MORE_VOICE_OBJECT_STORE__URL": f"file://{folder / 'bucket'}",
            "PLUGINS__MORE_VOICE_OBJECT_STORE__REFRESH_SECONDS": "2",
            "LOG_FORMAT": "json",
        }
        (folder / "bucket").mkdir()
        self.folders = [folder / name / "data" for name in ("one", "other")]
        for data_dir in self.folders:
            data_dir.mkdir(parents=True)
        self.one, self.other = (Server(data_dir, **shared) for data_dir in self.folders)

    def follows(self, what: str, holds: Callable[[], object]) -> None:
        """Wait until it is so on the other server."""
        began = time.monotonic()
        while not holds():
            assert time.monotonic() < began + SECONDS, what + self.other.log()[-3000:]
            time.sleep(0.05)
        self.seconds[what] = round(time.monotonic() - began, 2)

    def settings(self, machine: int) -> Settings:
        """Of a command on a machine."""
        return Settings(
            data_dir=self.folders[machine],
            database=self.database,
            shared_dir=str(self.folder / "shared"),
            model_manifest=str(self.folder / "manifest.toml"),
        )

    def authorize(self, secret: str) -> None:
        for server in (self.one, self.other):
            server.http.headers["authorization"] = f"Bearer {secret}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serve() as site:
        site.files = {f"/r1/{file}": (NANO / file).read_bytes() for file in FILES}
        yield site


@pytest.fixture(scope="module")
def pair(postgres: str, site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    file = folder / "manifest.toml"
    free, strict = (manifest(site, must_accept=each).models["test"] for each in (False, True))
    models = {"test": msgspec.to_builtins(free), "strict": msgspec.to_builtins(strict)}
    file.write_bytes(tomli_w.dumps({"models": models}).encode())
    made = Pair(folder, make_database(postgres, "pair"), file)
    yield made
    for server in (made.one, made.other):
        server.stop()
    print(made.seconds)


def listed(server: Server, path: str) -> dict[str, dict[str, Any]]:
    found = server.http.get(path).raise_for_status().json()["data"]
    return {one.get("name") or one["id"]: one for one in found}


def ok(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def test_a_profile(pair: Pair):
    ok(pair.one.http.post("/v1/admin/profiles", json={"name": "slow", "base": "fast", "speed": 0.5}))
    pair.follows("a profile", lambda: pair.other.speak(quality="slow").is_success)
    ok(pair.other.http.patch("/v1/admin/profiles/slow", json={"speed": 0.8}))
    pair.follows("its change", lambda: listed(pair.one, "/v1/admin/profiles")["slow"]["speed"] == 0.8)


def test_a_plugin_and_its_settings(pair: Pair):
    path = "/v1/admin/plugins/more_loudness"
    ok(pair.one.http.patch(path, json={"settings": {"target_lufs": -21}}))
    pair.follows("a plugin's setting", lambda: ok(pair.other.http.get(path))["settings"]["target_lufs"] == -21)
    ok(pair.one.http.post(f"{path}/disable"))
    pair.follows("a plugin", lambda: ok(pair.other.http.get(path))["state"] == "disabled")
    ok(pair.other.http.post(f"{path}/enable"))


def test_a_voice_and_a_consent(pair: Pair):
    files = {"recording": ("yes.wav", TONE, "audio/wav")}
    consent = ok(pair.one.http.post("/v1/audio/voice_consents", data={"name": "Ann", "language": "en"}, files=files))
    assert ok(pair.other.http.get(f"/v1/audio/voice_consents/{consent['id']}"))["name"] == "Ann"
    form = {"name": "Ann", "consent": consent["id"]}
    made = ok(pair.other.http.post("/v1/audio/voices", data=form, files={"audio_sample": ("a.wav", TONE, "audio/wav")}))
    began = time.monotonic()
    while not pair.one.speak(voice=made["id"]).is_success:
        assert time.monotonic() < began + SECONDS
    pair.seconds["a voice"] = round(time.monotonic() - began, 2)
    ok(pair.one.http.delete(f"/v1/audio/voices/{made['id']}"))
    pair.follows("a voice that is removed", lambda: not pair.other.speak(voice=made["id"]).is_success)
    ok(pair.other.http.delete(f"/v1/audio/voice_consents/{consent['id']}"))
    assert pair.one.http.get(f"/v1/audio/voice_consents/{consent['id']}").status_code == 404
    actions = [entry["action"] for entry in ok(pair.one.http.get("/v1/admin/audit"))["data"]]
    assert actions[-4:] == ["consents.create", "voices.create", "voices.delete", "consents.delete"]


def test_a_model_is_fetched_by_whoever_lacks_it(pair: Pair, site: Site):
    site.requests.clear()
    here = pair.settings(0)  # as a command on one machine does it: fetched there, chosen for all
    pull(here, "test")
    fetched = len(site.requests)
    use(here, "test")
    pair.follows("a model, with its 16 MB", lambda: serving(pair.other) == "test")
    assert len(site.requests) == 2 * fetched
    assert (pair.folders[1] / "models" / "test" / "model.safetensors").is_file()
    use(here, "nano")
    pair.follows("a model that is here", lambda: serving(pair.other) == "nano")


def test_a_licence_is_accepted_where_it_is_missed(pair: Pair, site: Site):
    here = pair.settings(0)
    shutil.copytree(pair.folders[0] / "models" / "test", pair.folders[0] / "models" / "strict")
    use(here, "strict")
    pair.follows("a licence that is missed", lambda: "nobody has accepted its licence" in pair.other.log())
    assert serving(pair.other) == "nano"
    assert pair.other.speak().is_success
    pull(pair.settings(1), "strict", accept_license=True)
    pair.follows("a model that was fetched by hand", lambda: serving(pair.other) == "strict")
    use(here, "nano")
    pair.follows("the model before", lambda: serving(pair.other) == "nano")


def serving(server: Server) -> str:
    return str(ok(server.http.get("/health/ready"))["model"])


def test_results_of_a_job_are_the_other_ones_too(pair: Pair):
    job = pair.one.done(pair.other.asked(kind="speech", input="The bread is warm.", voice="linden"))
    results = [server.results(job) for server in (pair.one, pair.other)]
    assert results[0] == results[1]
    assert all(results[0].values())


def test_a_key_and_its_end(pair: Pair):
    root = ok(pair.one.http.post("/v1/admin/keys", json={"name": "root", "scopes": ["admin"]}))
    pair.follows("the first key", lambda: pair.other.speak().status_code == 401)
    pair.authorize(root["key"])
    made = ok(pair.one.http.post("/v1/admin/keys", json={"name": "laptop", "scopes": ["speech"]}))
    laptop = {"authorization": f"Bearer {made['key']}"}

    def spoken() -> int:
        return pair.other.http.post(
            "/v1/audio/speech", json={"input": "Hi.", "voice": "linden"}, headers=laptop
        ).status_code

    # By the list: who tries a key that is wrong again and again is kept waiting for a minute.
    pair.follows("a key", lambda: "laptop" in listed(pair.other, "/v1/admin/keys"))
    assert spoken() == 200
    ok(pair.one.http.delete(f"/v1/admin/keys/{made['id']}"))
    pair.follows("a key that is revoked", lambda: "laptop" not in listed(pair.other, "/v1/admin/keys"))
    assert spoken() == 401


def test_the_database_is_away_for_a_while(pair: Pair):
    with away(pair.database):
        assert pair.one.speak().is_success  # with the key, which is known here
        refused = pair.one.http.post("/v1/admin/profiles", json={"name": "late", "base": "fast"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5"), refused.text
        assert refused.json()["error"]["code"] == "database_away"
        assert "the database that servers share cannot be used" in refused.json()["error"]["message"]
        pair.follows("silence", lambda: "is not known" in pair.other.log())
        assert ok(pair.other.http.get("/health/detail"))["shared"]["seconds_behind"] > 0
        told = [json.loads(line) for line in pair.other.log().splitlines()]
    ok(pair.one.http.post("/v1/admin/profiles", json={"name": "late", "base": "fast"}))
    pair.follows("a profile after that", lambda: "late" in listed(pair.other, "/v1/admin/profiles"))
    assert ok(pair.other.http.get("/health/detail"))["shared"]["seconds_behind"] < SECONDS
    assert [line for line in told if line.get("level") == "error"] == []


def refused_start(data_dir: Path, **settings: str) -> str:
    """What a server that does not start says last."""
    given = {"MORE_DATA_DIR": str(data_dir)} | {f"MORE_{name}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "more_server.cli", "serve", "--port", "0"],
        env=os.environ | given,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_a_server_does_not_start_without_knowing_the_keys(pair: Pair, tmp_path: Path):
    with away(pair.database):
        said = refused_start(tmp_path, DATABASE=pair.database)
    assert said.startswith("more-server: the database that servers share cannot be used")


def test_a_server_with_another_folder_of_jobs_does_not_start(pair: Pair, tmp_path: Path):
    said = refused_start(tmp_path, DATABASE=pair.database, PLUGINS__MORE_WYOMING__ENABLED="false")
    assert "set shared_dir to one that all machines see" in said


def test_workers_of_one_machine_bring_what_it_has(postgres: str, tmp_path: Path):
    """Both start at once, over one data directory that was there before the database."""
    database = make_database(postgres, "workers")
    alone = Settings(data_dir=tmp_path / "data")
    key, secret = new_key("root", ["admin"])
    KeyRing(alone).add(key)
    consents = [new_consent(f"Ann {number}", "en", ".wav") for number in range(10)]
    for consent in consents:
        Consents(FolderShelf(alone.admin_dir)).add(consent, TONE)
    server = Server(alone.data_dir, "--workers", "2", DATABASE=database)
    server.http.headers["authorization"] = f"Bearer {secret}"
    try:
        assert server.speak().is_success
        found = ok(server.http.get("/v1/audio/voice_consents"))["data"]
        assert {one["id"] for one in found} == {consent.id for consent in consents}
        told = ok(server.http.get("/health/detail"))
        assert [one["answers"] for one in told["workers"]] == [True, True]
    finally:
        server.stop()
    other = Settings(data_dir=tmp_path / "other", database=database)
    take_up_decisions(other)
    assert KeyRing(other).authenticate(secret) == key
