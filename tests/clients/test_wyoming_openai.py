"""wyoming_openai as a program of its own, between Wyoming's client and the server.

Version 0.8.0 was read to do this. It asks at its start alone, without a key: `/v1/readyz` (any 2xx: LocalAI, whose only
voice is the model's name), `/health` (exactly `OK`: Speaches), `/v1/test` (Kokoro-FastAPI); with none of them it offers
the names of OpenAI's voices. From Speaches it takes `voices[].name` of `/v1/models/{model}`, for each model it was
given, and ends where that fails. Then each plain text, and each sentence of a streamed one, is one `/v1/audio/speech`
with `response_format` wav, three at a time for a connection; the sentences are played in their order, and the header of
the first gives the format. What the server refuses, and a voice that is not on its list, is an `error` and the end of
the connection.
"""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStop, SynthesizeVoice

from tests.clients.front import Front, counted
from tests.clients.install import bridge
from tests.web.conftest import Server
from tests.wyoming_events import kinds, seconds

PYTHON = Path(__file__).with_name(".bridge") / "bin" / "python"
TEXT = "The weather is so nice today. We are going for a walk. Then we will all come home. So we hope."
WHOLE = ["audio-start", "audio-chunk", "audio-stop", "synthesize-stopped"]
ROWAN = SynthesizeVoice(name="rowan")
Ask = Callable[..., Any]

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="python tests/clients/install.py fetches it")


@pytest.fixture(scope="module")
def front(server: Server) -> Iterator[Front]:
    with counted(server.url) as front:
        yield front


@pytest.fixture(scope="module")
def port(front: Front, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    options = {
        "uri": f"tcp://127.0.0.1:{port}",
        "tts-openai-url": f"{front.url}/v1",
        "tts-streaming-models": "tts-1",
    }
    command = [PYTHON, "-m", "wyoming_openai", *(part for name in options for part in (f"--{name}", options[name]))]
    log = tmp_path_factory.mktemp("bridge") / "log"
    with log.open("wb") as writing, subprocess.Popen(command, stdout=writing, stderr=writing, env={}) as running:
        try:
            _wait(port, running, log)
            yield port
        finally:
            running.terminate()


def _wait(port: int, running: subprocess.Popen[bytes], log: Path) -> None:
    """Until it listens, which nothing but a connection tells."""
    last = time.monotonic() + 60
    while True:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < last, log.read_text()
        time.sleep(0.05)


@pytest.fixture
def ask(port: int) -> Ask:
    async def asked(*events: Event, last: str) -> list[Event]:
        """What comes on a connection of one's own, up to the first of this type or to the end of the connection."""
        answers: list[Event] = []
        async with asyncio.timeout(30):  # outside, as what it raises is an OSError, too
            with suppress(OSError):  # it closes on who is still writing, which may take its last words away
                await talk(port, events, last, answers)
        return answers

    return asked


async def talk(port: int, events: tuple[Event, ...], last: str, answers: list[Event]) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        for event in events:
            await client.write_event(event)
        while (answer := await client.read_event()) is not None:
            answers.append(answer)
            if answer.type == last:
                return


def streamed(*pieces: str, voice: SynthesizeVoice | None = None) -> list[Event]:
    """As Home Assistant sends it: the whole text comes once more before the stop."""
    chunks = [SynthesizeChunk(piece).event() for piece in pieces]
    whole = Synthesize("".join(pieces), voice).event()
    return [SynthesizeStart(voice=voice).event(), *chunks, whole, SynthesizeStop().event()]


def requests(front: Front, known: int = 0) -> list[str]:
    """Behind the first ones, which are known."""
    return [attempt.request for attempt in front.attempts[known:]]


async def test_it_lists_the_voices_of_the_model(server: Server, front: Front, ask: Ask) -> None:
    (answer,) = await ask(Describe().event(), last="info")
    (program,) = Info.from_event(answer).tts
    assert (program.name, program.supports_synthesize_streaming) == ("openai-streaming", True)
    listed = server.http().get("/v1/audio/voices").json()["voices"]
    assert [voice.name for voice in program.voices] == [voice["id"] for voice in listed]
    assert requests(front)[:3] == ["GET /v1/readyz", "GET /health", "GET /v1/models/tts-1"]
    assert front.statuses[:3] == [404, 200, 200]
    assert all("authorization" not in attempt.headers for attempt in front.attempts[:3])


async def test_a_plain_text_is_one_request(front: Front, ask: Ask) -> None:
    known = len(front.attempts)
    events = await ask(Synthesize(TEXT, ROWAN).event(), last="audio-stop")
    assert kinds(events) == ["audio-start", "audio-chunk", "audio-stop"]
    assert 3 < seconds(events) < 25
    assert requests(front, known) == ["POST /v1/audio/speech"]


async def test_a_stream_is_one_audio_of_a_request_for_each_sentence(front: Front, ask: Ask) -> None:
    known = len(front.attempts)
    events = await ask(*streamed(*(TEXT[at : at + 5] for at in range(0, len(TEXT), 5))), last="synthesize-stopped")
    assert kinds(events) == WHOLE
    assert 3 < seconds(events) < 25
    assert requests(front, known) == ["POST /v1/audio/speech"] * 4


async def test_several_at_once(ask: Ask) -> None:
    # Of a text in one piece three sentences are asked for at once.
    for events in await asyncio.gather(*(ask(*streamed(TEXT), last="synthesize-stopped") for _ in range(3))):
        assert kinds(events) == WHOLE
        assert 3 < seconds(events) < 25


@pytest.mark.parametrize(
    ("text", "voice", "asked"),
    [
        ("Hello there.", SynthesizeVoice(name="nobody"), 0),
        ("Hello there.", SynthesizeVoice(language="tlh"), 0),
        ("word " * 1100, ROWAN, 1),
    ],
)
async def test_what_cannot_be_spoken_ends(
    front: Front, ask: Ask, text: str, voice: SynthesizeVoice, asked: int
) -> None:
    known = len(front.attempts)
    plain = await ask(Synthesize(text, voice).event(), last="audio-stop")
    assert kinds(plain) == ["error"]  # and then it was closed
    events = await ask(*streamed(text, voice=voice), last="synthesize-stopped")
    assert kinds(events) in ([], ["error"], ["error", "synthesize-stopped"])
    assert front.statuses[known:] == [400] * 2 * asked


def test_a_machine_without_a_newer_python_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert "it needs Python 3.12 or newer" in bridge(tmp_path)
    assert not list(tmp_path.iterdir())
