"""From recordings to speech with a new model, over HTTP alone, by `more-server serve`, which is killed on the way."""

import base64
import io
import os
import re
import subprocess
import sys
import time
import wave
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.train.dataset.recordings import SENTENCES, ljspeech

pytestmark = pytest.mark.slow

TUS = {"tus-resumable": "1.0.0"}
RECIPE = {"epochs": 4, "batch_size": 2, "effective_batch": 2, "learning_rate": 1e-4, "evaluate_epochs": 2}
JOB_SECONDS = 900.0
ENDED = ("succeeded", "failed", "cancelled")


class Server:
    """A server of the command line over one data directory, started again after each death."""

    def __init__(self, data_dir: Path) -> None:
        self._environment = os.environ | {
            "MORE_DATA_DIR": str(data_dir),
            "MORE_ENGINE__DEVICE": "cpu",
            "MORE_ENGINE__THREADS": "1",
            "MORE_PREPARE_VOICES": "false",
            "MORE_PLUGINS__MORE_WYOMING__ENABLED": "false",
            "MORE_JOBS__TRAINING_MEMORY": "pause",
            "OMP_NUM_THREADS": "1",
        }
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "more_server.cli", "serve", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        address = re.search(r"MORE is ready: (http://127\.0\.0\.1:\d+)/", line)
        assert address is not None, line
        self.http = httpx.Client(base_url=address.group(1), timeout=60)

    def kill(self) -> None:
        self.http.close()
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        self.http.close()
        self._process.terminate()
        self._process.communicate(timeout=60)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()

    def until(self, job_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        last = time.monotonic() + JOB_SECONDS
        while not reached(job := self.job(job_id)):
            assert job["status"] not in ENDED, job
            assert time.monotonic() < last, job
            time.sleep(0.2)
        return job

    def done(self, job_id: str) -> dict[str, Any]:
        job = self.until(job_id, lambda job: job["status"] in ENDED)
        assert job["status"] == "succeeded", job
        return job

    def speak(self, **asked: Any) -> httpx.Response:
        body = {"input": "The bread is still warm.", "voice": "linden", "response_format": "wav", "seed": 5} | asked
        return self.http.post("/v1/audio/speech", json=body)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.stop()


def archive(folder: Path) -> bytes:
    written = io.BytesIO()
    source = ljspeech(folder / "reader", SENTENCES)
    with zipfile.ZipFile(written, "w") as zipped:
        for path in sorted(source.rglob("*.*")):
            zipped.write(path, path.relative_to(source))
    return written.getvalue()


def upload(http: httpx.Client, content: bytes) -> str:
    """By tus, in two pieces."""
    told = {"upload-length": str(len(content)), "upload-metadata": f"filename {base64.b64encode(b'a.zip').decode()}"}
    made = http.post("/v1/admin/uploads", headers=TUS | told).raise_for_status()
    path, half = httpx.URL(made.headers["location"]).path, len(content) // 2
    for offset, piece in ((0, content[:half]), (half, content[half:])):
        headers = TUS | {"upload-offset": str(offset), "content-type": "application/offset+octet-stream"}
        http.patch(path, headers=headers, content=piece).raise_for_status()
    return path.rpartition("/")[2]


def frames(content: bytes) -> int:
    with wave.open(io.BytesIO(content)) as file:
        return file.getnframes()


def asked(http: httpx.Client, **body: Any) -> str:
    answer = http.post("/v1/jobs", json=body)
    assert answer.is_success, answer.text
    return str(answer.json()["id"])


def test_recordings_become_a_voice_of_a_new_model(server: Server, tmp_path: Path) -> None:
    uploaded = upload(server.http, archive(tmp_path))
    made = asked(server.http, kind="dataset", name="reader", uploads=[uploaded], language="en")
    assert server.done(made)["progress"]["about"]["clips"] >= 8
    refused = server.http.post("/v1/jobs", json={"kind": "train", "dataset": "reader", "recipe": {"epoch": 1}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "recipe.epoch")

    job = asked(server.http, kind="train", dataset="reader", recipe=RECIPE)
    server.until(job, lambda job: bool(job["progress"]) and job["progress"]["stage"] == "preparing")
    assert (server.speak().status_code, server.speak().json()["error"]["code"]) == (503, "speech_paused")
    assert server.http.get("/health/ready").status_code == 503
    step = RECIPE["evaluate_epochs"] * 4 + 1  # behind a checkpoint
    server.until(job, lambda job: job["progress"]["about"].get("step", 0) >= step)
    server.kill()
    server.start()
    job_now = server.done(job)
    about = job_now["progress"]["about"]
    assert (about["end"], about["model"], about["loaded"]) == ("finished", "reader", True)

    named = {result["name"]: result for result in job_now["results"]}
    assert {"run/curves.svg", "run/curves.csv"} <= named.keys()
    samples = [result["url"] for name, result in named.items() if name.endswith(".wav")]
    assert len(samples) >= 4
    assert frames(server.http.get(samples[-1]).content) > 2400
    curve = server.http.get(named["run/curves.csv"]["url"]).text.splitlines()
    taken = [line.partition(",")[0] for line in curve[1:] if line.split(",")[1]]
    assert taken == [str(number) for number in range(1, len(taken) + 1)], "each step once, whoever was killed"

    listed = {one["id"]: one for one in server.http.get("/v1/admin/models").json()["data"]}
    assert (listed["reader"]["loaded"], listed["reader"]["serving"]) == (True, False)
    before, tried = server.speak(), server.speak(model="reader")
    assert (before.status_code, tried.status_code) == (200, 200)
    assert frames(tried.content) > 2400
    assert tried.content != before.content
    switched = server.http.post("/v1/admin/models/reader/switch")
    assert switched.status_code == 200, switched.text
    assert server.speak().content == tried.content
