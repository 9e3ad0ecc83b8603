"""Requests made from the OpenAPI document, right ones and wrong ones: no error of the server, nothing undocumented."""

import os
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import tomli_w

from more_server.tables import LimitSettings
from tests.web.conftest import Server, nano_settings, running

CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
NEVER = "stream_speech_stream"
"""A WebSocket, which has tests of its own; as a plain request it is always refused."""
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
SECONDS = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the plugins that have routes; a text is a few words, for each is spoken by the machine that tests."""
    settings = nano_settings(tmp_path_factory.mktemp("data"))
    plugins = settings.plugins | {name: {"enabled": True} for name in ("more_marytts", "more_xtts_api")}
    limits = LimitSettings(text_characters=100, body_bytes=65_536, job_bytes=65_536, upload_bytes=65_536)
    with running(msgspec.structs.replace(settings, plugins=plugins, limits=limits)) as made:
        yield made


def made(http: httpx.Client, path: str, **sent: Any) -> dict[str, Any]:
    answer = http.post(path, **sent)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def known(server: Server) -> tuple[str, dict[str, list[str]]]:
    """A key that may do everything, and names of what there is, by the parameters that ask for them."""
    key = made(server.http(), "/v1/admin/keys", json={"name": "tester", "scopes": ["admin"]})["key"]
    http = server.fresh()
    http.headers["authorization"] = f"Bearer {key}"
    spare = made(http, "/v1/admin/keys", json={"name": "spare", "scopes": ["speech"]})
    voice = {"name": "spare", "parts": [{"voice": "linden"}, {"voice": "rowan"}]}
    made(http, "/v1/admin/voices/mix", json=voice)
    made(http, "/v1/admin/profiles", json={"name": "spare", "base": "fast"})
    job = made(http, "/v1/jobs", json={"kind": "speech", "input": "Warm bread."})
    headers = {
        "tus-resumable": "1.0.0",
        "upload-length": "9",
        "upload-metadata": f"filename {b64encode(b'a.wav').decode()}",
    }
    upload = made(http, "/v1/admin/uploads", headers=headers)
    while http.get(f"/v1/jobs/{job['id']}").json()["status"] not in ("succeeded", "failed"):
        time.sleep(0.1)
    return key, {
        "key_id": [spare["id"]],
        "voice_id": ["spare", "linden"],
        "reference": ["linden.wav"],
        "job_id": [job["id"]],
        "upload_id": [upload["id"]],
        "name": ["spare", "more_silence"],
        "model": ["nano"],
        "model_id": ["nano", "tts-1"],
    }


def config(folder: Path, names: dict[str, list[str]]) -> Path:
    """Half of what a path names is there."""
    path = folder / "schemathesis.toml"
    told = {
        "dictionaries": {name: {"values": values} for name, values in names.items()},
        "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.5} for name in names},
        "phases": {"coverage": {"unexpected-methods": []}},
    }
    path.write_bytes(tomli_w.dumps(told).encode())
    return path


def test_whatever_is_asked_the_answer_is_a_documented_one(server: Server, tmp_path: Path) -> None:
    key, names = known(server)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config(tmp_path, names)), "run"]
    command += [f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {key}", "--no-color"]
    command += ["--checks", ",".join(CHECKS), "--exclude-operation-id", NEVER, "--continue-on-failure"]
    command += ["--phases", "coverage,fuzzing", "--max-examples", "3", "--seed", "5", "--generation-deterministic"]
    command += ["--no-shrink", "--warnings", "off", "--request-timeout", "60"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
    asked = {name: int(found) for name, found in re.findall(r"(Selected|Tested): (\d+)", done.stdout)}
    assert asked["Tested"] == asked["Selected"] > 70, done.stdout[-3000:]
    (generated,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(generated) > 1000
