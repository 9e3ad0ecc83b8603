"""Two servers, each a process of its own, over one data directory: what one decides, the other takes up."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from more_server.following import Followed
from more_server.settings import bundled_dir
from tests.serving import Server

LOUDNESS = "/v1/admin/plugins/more_loudness"


def until(holds: Callable[[], bool], seconds: float = 20) -> None:
    last = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.02)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("following") / "data"
    shutil.copytree(bundled_dir() / "models" / "nano", folder / "models" / "second")
    return folder


@pytest.fixture(scope="module")
def servers(data_dir: Path) -> Iterator[tuple[Server, Server]]:
    made = Server(data_dir, LOG_FORMAT="json"), Server(data_dir, LOG_FORMAT="json")
    yield made
    for server in made:
        server.stop()


def told(server: Server, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def plugin(server: Server, name: str = LOUDNESS) -> dict[str, Any]:
    found: dict[str, Any] = server.http.get(name).raise_for_status().json()
    return found


def test_profiles(servers: tuple[Server, Server]) -> None:
    one, other = servers
    one.http.post("/v1/admin/profiles", json={"name": "slow", "base": "fast", "speed": 0.5}).raise_for_status()
    until(lambda: other.speak(quality="slow").is_success)
    made = other.http.post("/v1/admin/profiles", json={"name": "slower", "base": "slow", "speed": 0.4})
    assert made.is_success, made.text
    until(lambda: one.speak(quality="slower").is_success)
    other.http.delete("/v1/admin/profiles/slower").raise_for_status()
    until(lambda: "slower" not in one.http.get("/v1/admin/profiles").text)  # made of it
    one.http.delete("/v1/admin/profiles/slow").raise_for_status()
    until(lambda: other.speak(quality="slow").status_code == 400)


def test_plugins(servers: tuple[Server, Server]) -> None:
    one, other = servers
    one.http.patch(LOUDNESS, json={"settings": {"target_lufs": -18}}).raise_for_status()
    until(lambda: plugin(other)["settings"]["target_lufs"] == -18)
    other.http.post(f"{LOUDNESS}/disable").raise_for_status()
    until(lambda: plugin(one)["state"] == "disabled")
    assert plugin(one)["settings"]["target_lufs"] == -18
    one.http.post(f"{LOUDNESS}/enable").raise_for_status()
    until(lambda: plugin(other)["state"] == "active")
    one.http.patch(LOUDNESS, json={"settings": {"target_lufs": None}}).raise_for_status()
    until(lambda: plugin(other)["changed"] == [])
    assert other.speak(quality="balanced").is_success


def test_what_is_not_changed_is_left_alone(servers: tuple[Server, Server]) -> None:
    """A change of one plugin begins no other anew, and a server does not take up what it has decided itself."""
    one, other = servers
    before = {server: len(told(server, "a plugin was changed by another server")) for server in servers}
    one.http.patch(LOUDNESS, json={"settings": {"target_lufs": -20}}).raise_for_status()
    until(lambda: len(told(other, "a plugin was changed by another server")) > before[other])
    (line,) = told(other, "a plugin was changed by another server")[before[other] :]
    assert (line["plugin"], line["not_taken_up"]) == ("more_loudness", None)
    time.sleep(2.5)  # two looks
    assert len(told(one, "a plugin was changed by another server")) == before[one]
    assert len(told(other, "a plugin was changed by another server")) == before[other] + 1


def test_models(servers: tuple[Server, Server], data_dir: Path) -> None:
    one, other = servers

    def serving(server: Server) -> str:
        return str(server.http.get("/health/ready").json()["model"])

    one.http.post("/v1/admin/models/second/switch").raise_for_status()
    until(lambda: serving(other) == "second", 60)
    environment = os.environ | {"MORE_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "more_server.cli", "models", "use", "nano"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    for server in servers:
        until(lambda server=server: serving(server) == "nano", 60)  # type: ignore[misc]
        assert server.speak().is_success


def test_a_damaged_file_is_told_once_and_changes_nothing(servers: tuple[Server, Server], data_dir: Path) -> None:
    one, other = servers
    one.http.post("/v1/admin/profiles", json={"name": "kept", "base": "fast", "speed": 0.5}).raise_for_status()
    path = data_dir / "admin" / "profiles.json"
    content = path.read_bytes()
    until(lambda: other.speak(quality="kept").is_success)
    path.write_bytes(b"{")
    refused = "a change by another server cannot be taken up"
    until(lambda: bool(told(one, refused)) and bool(told(other, refused)))
    assert {line["file"] for server in servers for line in told(server, refused)} == {"profiles.json"}
    assert one.speak(quality="kept").is_success
    path.write_bytes(content)
    time.sleep(2.5)
    assert [len(told(server, refused)) for server in servers] == [1, 1]
    one.http.delete("/v1/admin/profiles/kept").raise_for_status()
    until(lambda: other.speak(quality="kept").status_code == 400)


def test_files_that_come_change_and_go(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    followed = Followed((one, other))
    assert followed.changed() == {one, other}
    assert followed.changed() == set()
    one.write_text("a", "utf-8")
    assert followed.changed() == {one}
    replaced = tmp_path / "new"
    replaced.write_text("b", "utf-8")
    replaced.replace(one)
    assert followed.changed() == {one}
    one.unlink()
    assert followed.changed() == {one}
    assert followed.changed() == set()
