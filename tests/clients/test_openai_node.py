"""OpenAI's client for Node against the whole server, one process for each thing that it is asked to do."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.front import counted
from tests.clients.situations import LONG, SPEECH, TEXT, busy, failing, keyed, loading, narrow, paused
from tests.clients.versions import about
from tests.web.conftest import Server
from tests.web.voicedesk import TONE

FOLDER = Path(__file__).with_name("openai_node")
NODE = shutil.which("node")
ASKED = {"model": "tts-1", "voice": "alloy", "input": TEXT, "response_format": "pcm", "seed": 3}
ALL_OF_IT = ASKED | {"input": LONG}
EARLY_SECONDS = 0.001
"""Node's timers may fire so much before their time."""

pytestmark = pytest.mark.skipif(
    NODE is None or not (FOLDER / "node_modules" / "openai").is_dir(),
    reason="needs OpenAI's client for Node (apt-get install nodejs npm): python tests/clients/install.py fetches it",
)


def started(url: str, scenario: str, **given: Any) -> subprocess.Popen[str]:
    told = json.dumps({"baseURL": f"{url}/v1", "apiKey": "unused", **given})
    return subprocess.Popen(
        [str(NODE), "client.mjs", scenario, told],
        cwd=FOLDER, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says in the end."""
    with process:
        said, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    return dict(json.loads(said.splitlines()[-1]))


def asked(url: str, scenario: str, **given: Any) -> Any:
    """The result of a scenario."""
    said = ended(started(url, scenario, **given))
    assert "result" in said, said
    return said["result"]


def raised(url: str, scenario: str, **given: Any) -> dict[str, Any]:
    """The error that a scenario ends with; `message` is what a person sees, `body` the object of the answer."""
    said = ended(started(url, scenario, **given))
    assert "raised" in said, said
    return said


@pytest.fixture(scope="module")
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with narrow(tmp_path_factory.mktemp("narrow")) as made:
        yield made


@pytest.fixture(scope="module")
def audio(server: Server) -> bytes:
    """What is heard when the text is asked for without a client."""
    return server.http().post(SPEECH, json=ASKED).content


def test_the_environment_is_enough_to_point_it_here(server: Server) -> None:
    told = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "unused"}
    command = (str(NODE), "client.mjs", "model", '{"id": "nano"}')
    done = subprocess.run(command, cwd=FOLDER, env=os.environ | told, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["result"]["id"] == "nano"


# -- speech


def test_speech_into_a_buffer(server: Server, audio: bytes) -> None:
    """As it is asked for by the version that is told."""
    with counted(server.url) as front:
        heard = asked(front.url, "speech", **ASKED, instructions="Speak like a pirate.", speed=1)
    assert heard == {"type": "audio/pcm", "audio": base64.b64encode(audio).decode()}
    assert front.attempts[0].headers["user-agent"] == f"OpenAI/JS {about('test_openai_node.py').version}"


def test_the_beginning_is_heard_before_the_end_is_made(server: Server) -> None:
    with paused() as heard:
        process = started(server.url, "stream", **ALL_OF_IT)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["heard"] > 0
        heard.set()
        said = ended(process)["result"]
    assert said["chunks"] > 3
    assert base64.b64decode(said["audio"]) == server.http().post(SPEECH, json=ALL_OF_IT).content


def check_events(events: list[Any], audio: bytes) -> None:
    *deltas, done = events
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == audio
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"] > 0


def test_events_as_text(server: Server, audio: bytes) -> None:
    said = asked(server.url, "lines", **ASKED)
    assert said["type"].startswith("text/event-stream")
    blocks = said["text"].split("\n\n")
    assert blocks.pop() == ""
    check_events([json.loads(block.removeprefix("data: ")) for block in blocks], audio)


def test_events_as_objects(server: Server, audio: bytes) -> None:
    check_events(asked(server.url, "events", **ASKED), audio)


# -- models, voices and consents


def test_models(server: Server) -> None:
    said = asked(server.url, "models", id="nano")
    models = {model["id"]: model for model in said["listed"]}
    assert {"nano", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"} <= set(models)
    assert said["retrieved"] == models["nano"]
    assert said["request_id"] == said["same_id"]
    assert said["request_id"].startswith("req_")


def test_voices_and_their_consents(server: Server, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(TONE)
    said = asked(server.url, "voices", clip=str(clip), speech=ASKED)
    assert {(one["object"], one["name"], one["language"]) for one in said["made"]} == {
        ("audio.voice_consent", "Cleo", "en-US")
    }
    made = [one["id"] for one in said["made"]]
    assert [one["id"] for one in said["listed"]] == sorted(made, reverse=True)
    assert (said["renamed"]["id"], said["renamed"]["name"]) == (made[0], "Cleo M.")
    assert (said["voice"]["id"], said["voice"]["object"]) == ("cleo", "audio.voice")
    assert said["spoken"][0] == said["spoken"][1] != ""
    assert [one["id"] for one in said["deleted"] if one["deleted"]] == ["cleo", *made]
    assert said["left"] == []


# -- what is raised


@pytest.mark.parametrize(
    ("scenario", "change", "kind", "status", "code", "param"),
    [
        ("speech", {"input": " "}, "BadRequestError", 400, "invalid_value", "input"),
        ("stream", {"response_format": "wma"}, "BadRequestError", 400, "invalid_value", "response_format"),
        ("events", {"voice": "nobody"}, "NotFoundError", 404, "voice_not_found", "voice"),
        ("model", {"id": "org/name"}, "NotFoundError", 404, "model_not_found", "model"),
        ("speech", {"input": "x" * 70_000}, "APIError", 413, "payload_too_large", None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_raised_in_words_and_asked_once(
    server: Server, scenario: str, change: dict[str, Any], kind: str, status: int, code: str, param: str | None
) -> None:
    with counted(server.url) as front:
        error = raised(front.url, scenario, **ASKED | change)
    assert (error["raised"], error["status"], error["code"], error["param"]) == (kind, status, code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"] == f"{status} {error['body']['message']}"
    assert error["requestID"] == front.attempts[0].answer["x-request-id"]
    assert front.statuses == [status]


def test_keys(one_at_a_time: Server) -> None:
    with keyed(one_at_a_time) as secret:
        error = raised(one_at_a_time.url, "speech", **ASKED)
        assert (error["raised"], error["status"], error["code"]) == ("AuthenticationError", 401, "invalid_api_key")
        assert asked(one_at_a_time.url, "speech", apiKey=secret, **ASKED)["audio"]


# -- how often it asks


def third(work: Callable[[], None]) -> Callable[[int], None]:
    return lambda number: work() if number == 3 else None


def test_a_busy_server_is_asked_again_when_it_said(one_at_a_time: Server) -> None:
    with busy(one_at_a_time) as leave, counted(one_at_a_time.url, third(leave)) as front:
        error = raised(front.url, "speech", maxRetries=0, **ASKED)
        assert (error["raised"], error["code"]) == ("RateLimitError", "rate_limit_exceeded")
        assert asked(front.url, "speech", **ASKED)["audio"]
    assert front.statuses == [429, 429, 200]
    assert front.waited(1) >= int(front.attempts[1].answer["retry-after-ms"]) / 1000 - EARLY_SECONDS


def test_a_server_that_loads_is_asked_until_it_is_ready(tmp_path: Path) -> None:
    with loading(tmp_path) as (server, finish), counted(server.url, third(finish)) as front:
        error = raised(front.url, "models", id="nano", maxRetries=0)
        assert (error["raised"], error["status"], error["code"]) == ("InternalServerError", 503, "model_loading")
        assert asked(front.url, "speech", **ASKED)["audio"]
    assert front.statuses == [503, 503, 200]
    assert front.waited(1) >= int(front.attempts[1].answer["retry-after"]) - EARLY_SECONDS


def test_a_failure_that_would_come_again_is_asked_once(one_at_a_time: Server) -> None:
    with failing(), counted(one_at_a_time.url) as front:
        error = raised(front.url, "speech", **ASKED)
    assert (error["raised"], error["code"]) == ("InternalServerError", "server_error")
    assert "the device is gone" in error["message"]
    assert front.statuses == [500]


@pytest.mark.parametrize(("scenario", "kind"), [("stream", "TypeError"), ("events", "APIError")])
def test_speech_that_is_cut_is_raised_and_not_asked_again(one_at_a_time: Server, scenario: str, kind: str) -> None:
    with failing(after=60), counted(one_at_a_time.url) as front:
        error = raised(front.url, scenario, **ALL_OF_IT)
    assert error["raised"] == kind
    if scenario == "events":
        assert "the device is gone" in error["message"]
        assert error["code"] == "server_error"
    assert front.statuses == [200]
