"""From recordings to speech with a new model, over HTTP alone, by `more-server serve`, which is killed on the way."""

import base64
import io
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving import Server
from tests.train.dataset.recordings import SENTENCES, ljspeech

pytestmark = pytest.mark.slow

TUS = {"tus-resumable": "1.0.0"}
RECIPE = {"epochs": 4, "batch_size": 2, "effective_batch": 2, "learning_rate": 1e-4, "evaluate_epochs": 2}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data", JOBS__TRAINING_MEMORY="pause")
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


def test_recordings_become_a_voice_of_a_new_model(server: Server, tmp_path: Path) -> None:
    uploaded = upload(server.http, archive(tmp_path))
    made = server.asked(kind="dataset", name="reader", uploads=[uploaded], language="en")
    assert server.done(made)["progress"]["about"]["clips"] >= 8
    refused = server.http.post("/v1/jobs", json={"kind": "train", "dataset": "reader", "recipe": {"epoch": 1}})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "recipe.epoch")

    job = server.asked(kind="train", dataset="reader", recipe=RECIPE)
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
    samples = [name for name in named if name.endswith(".wav")]
    assert {name.rpartition("/")[0] for name in samples} == {"samples/before", "samples/best", "samples/latest"}
    assert frames(server.http.get(named["samples/latest/1.wav"]["url"]).content) > 2400
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
