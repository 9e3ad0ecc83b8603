"""`kill -9` under load: what was acknowledged is there after the next start, and nothing else is left lying about."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.serving import Server
from tests.web.voicedesk import TONE

ROUNDS = 2
CONTENT = random.Random(8).randbytes(1 << 24)
"""More than is uploaded in all rounds."""
PIECE = 60_000
UPLOADS = "/v1/admin/uploads"
TUS = {"tus-resumable": "1.0.0"}
MOST_JOBS = 6
"""All of them are spoken in the end."""


class Load:
    """Clients that work a server until it dies. What it acknowledged is remembered."""

    def __init__(self) -> None:
        self.number, self.offset, self.upload = 0, 0, ""
        self.voices: list[str] = []
        self.profiles: list[str] = []
        self.consents: list[str] = []
        self.jobs: list[str] = []
        self.errors: list[Exception] = []

    def work(self, server: Server, seconds: float) -> None:
        """Kill the server so many seconds after each of its clients has been served."""
        doing = (self.listen, self.make_voice, self.make_profile, self.consent, self.send_bytes, self.ask_for_jobs)
        served = [threading.Event() for _ in doing]
        threads = [
            threading.Thread(target=self._until_it_dies, args=(server, work, one))
            for work, one in zip(doing, served, strict=True)
        ]
        for thread in threads:
            thread.start()
        assert all(one.wait(120) for one in served), self.errors
        time.sleep(seconds)
        server.kill()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        assert not self.errors, self.errors

    def _until_it_dies(self, server: Server, work: Callable[[httpx.Client], object], served: threading.Event) -> None:
        # Not the server's own client, which is closed before it is killed.
        with httpx.Client(base_url=server.http.base_url, timeout=60) as http, suppress(httpx.TransportError):
            while not self.errors:
                try:
                    work(http)
                    served.set()
                except (httpx.HTTPStatusError, AssertionError) as error:
                    self.errors.append(error)

    def listen(self, http: httpx.Client) -> None:
        asked = {"input": "The bread is still warm.", "voice": "rowan", "response_format": "pcm"}
        with http.stream("POST", "/v1/audio/speech", json=asked) as answer:
            answer.raise_for_status()
            assert len(b"".join(answer.iter_raw())) > 10_000

    def make_voice(self, http: httpx.Client) -> None:
        fields = {"name": self._name("voice", 0.5), "consent": "It is a tone's own."}
        answer = http.post("/v1/audio/voices", data=fields, files={"audio_sample": ("tone.wav", TONE, "audio/wav")})
        self.voices.append(answer.raise_for_status().json()["id"])

    def make_profile(self, http: httpx.Client) -> None:
        name = self._name("profile", 0.1)
        http.post("/v1/admin/profiles", json={"name": name, "base": "fast", "speed": 0.9}).raise_for_status()
        self.profiles.append(name)

    def consent(self, http: httpx.Client) -> None:
        time.sleep(0.5)
        files = {"recording": ("yes.wav", TONE, "audio/wav")}
        answer = http.post("/v1/audio/voice_consents", data={"name": "Ann", "language": "en"}, files=files)
        self.consents.append(answer.raise_for_status().json()["id"])

    def send_bytes(self, http: httpx.Client) -> None:
        """One more piece of the upload, from where the server says that it is; it comes in parts."""
        offset = self.offset_told(http)
        assert offset + PIECE <= len(CONTENT)

        def parts() -> Iterator[bytes]:
            for at in range(offset, offset + PIECE, PIECE // 4):
                yield CONTENT[at : at + PIECE // 4]
                time.sleep(0.01)

        headers = TUS | {"content-type": "application/offset+octet-stream", "upload-offset": str(offset)}
        answer = http.patch(self.upload, content=parts(), headers=headers).raise_for_status()
        self.offset = int(answer.headers["upload-offset"])
        assert self.offset == offset + PIECE

    def offset_told(self, http: httpx.Client) -> int:
        """How far the upload has come; it is begun where it was not yet."""
        if not self.upload:
            headers = TUS | {"upload-length": str(len(CONTENT)), "upload-metadata": "filename YS53YXY="}
            self.upload = http.post(UPLOADS, headers=headers).raise_for_status().headers["location"]
        told = int(http.head(self.upload, headers=TUS).raise_for_status().headers["upload-offset"])
        assert told >= self.offset
        return told

    def ask_for_jobs(self, http: httpx.Client) -> None:
        if len(self.jobs) >= MOST_JOBS:
            http.get("/v1/jobs").raise_for_status()
        else:
            body = {"kind": "speech", "input": "It is warm. It is late.", "voice": "linden"}
            self.jobs.append(http.post("/v1/jobs", json=body).raise_for_status().json()["id"])
        time.sleep(0.3)

    def _name(self, kind: str, pause: float) -> str:
        # Each but once, whether the server came to it or not; and not so many that all of them cannot be spoken with.
        time.sleep(pause)
        self.number += 1
        return f"{kind}-{self.number}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.stop()


def test_killed_under_load(server: Server, tmp_path: Path) -> None:
    pauses, load = random.Random(8), Load()
    spoken = server.speak().raise_for_status().content
    for _ in range(ROUNDS):
        load.work(server, pauses.uniform(0.5, 2))
        server.start()
        assert server.speak().content == spoken

    assert server.http.get("/health/detail").raise_for_status().json()["set_aside"] == []
    voices = [one["id"] for one in server.http.get("/v1/audio/voices").json()["data"]]
    assert set(load.voices) <= set(voices)
    for voice in voices:
        assert server.speak(input="Yes.", voice=voice).is_success, voice
    profiles = server.http.get("/v1/admin/profiles").json()["data"]
    assert set(load.profiles) <= {one["name"] for one in profiles if "problem" not in one}
    for consent in load.consents:
        assert server.http.get(f"/v1/audio/voice_consents/{consent}").is_success
    told = load.offset_told(server.http)
    (data,) = (tmp_path / "data" / "datasets" / "uploads").glob("*/data")
    assert data.read_bytes() == CONTENT[:told]
    for job in load.jobs:
        assert server.results(server.done(job))
    assert left_in(tmp_path / "data") == []


def left_in(data_dir: Path) -> list[Path]:
    """What was half written; jobs and uploads have files of their own for that, which go with them."""
    mine = [path for path in data_dir.iterdir() if path.name != "jobs"]
    found = [path for folder in mine for path in folder.rglob(".*.partial-*")]
    return [path for path in found if path.relative_to(data_dir).parts[:2] != ("datasets", "uploads")]
