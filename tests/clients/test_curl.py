"""curl against the whole server, as people and scripts type it."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.situations import LONG, SPEECH, paused
from tests.web.audio import decoded
from tests.web.conftest import Server
from tests.web.voicedesk import TONE

CURL = ("curl", "-q", "-sS", "--max-time", "60")
HELLO = '{"input": "Hello.", "seed": 3, "response_format": "wav"}'

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")


@dataclass
class Answer:
    """What curl printed with `-i`."""

    exit_status: int
    version: str
    """Of HTTP."""
    status: int
    headers: dict[str, str]
    body: bytes
    continued: bool
    """The server asked for the body first."""

    def error(self) -> dict[str, Any]:
        """OpenAI's error object, its shape checked."""
        assert self.headers["content-type"] == "application/json"
        body = json.loads(self.body)
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return dict(body["error"])


def curl(*arguments: str, sent: bytes = b"") -> Answer:
    done = subprocess.run([*CURL, "-i", *arguments], input=sent, capture_output=True, timeout=90)
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    continued = b" 100 " in head.partition(b"\r\n")[0]
    if continued:
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status = first.split(" ")[:2]
    pairs: Iterable[tuple[str, str, str]] = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return Answer(done.returncode, version, int(status), headers, body, continued)


# -- speech


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_n_shows_the_beginning_before_the_end_is_made(server: Server, stream_format: str) -> None:
    body = json.dumps({"input": LONG, "response_format": "pcm", "stream_format": stream_format})
    with paused() as heard, subprocess.Popen(
        [*CURL, "-N", f"{server.url}{SPEECH}", "-d", body], stdout=subprocess.PIPE
    ) as process:  # fmt: skip
        assert process.stdout is not None
        beginning = process.stdout.read(1000)
        assert len(beginning) == 1000
        heard.set()
        assert len(process.stdout.read()) > 100_000
    assert process.returncode == 0


def test_json_needs_no_content_type(server: Server) -> None:
    """`-d` alone says application/x-www-form-urlencoded."""
    said = curl(f"{server.url}{SPEECH}", "-d", HELLO)
    assert (said.status, said.headers["content-type"], said.version) == (200, "audio/wav", "HTTP/1.1")
    assert said.headers["transfer-encoding"] == "chunked"
    assert len(decoded(said.body, "wav")[0]) > 6_000


def test_http_1_0_gets_all_of_it_with_its_length(server: Server) -> None:
    said = curl("-0", f"{server.url}{SPEECH}", "-d", HELLO)
    assert (said.exit_status, said.status) == (0, 200)
    assert "transfer-encoding" not in said.headers
    assert int(said.headers["content-length"]) == len(said.body)
    assert int.from_bytes(said.body[4:8], "little") == len(said.body) - 8, "the length of the file in its own header"


def test_audio_is_not_compressed_again(server: Server) -> None:
    plain, compressed = (curl(*how, f"{server.url}{SPEECH}", "-d", HELLO) for how in ((), ("--compressed",)))
    assert "content-encoding" not in compressed.headers
    assert compressed.body == plain.body
    assert json.loads(curl("--compressed", f"{server.url}/v1/models").body)["object"] == "list"


@pytest.mark.parametrize(
    ("path", "body"), [(f"{SPEECH}/", ["-d", HELLO]), ("/v1/models/", []), ("/v1/audio/voices/", [])]
)
def test_a_slash_at_the_end_redirects_nobody(server: Server, path: str, body: list[str]) -> None:
    said = curl(f"{server.url}{path}", *body)
    assert said.status == 200
    assert "location" not in said.headers


def test_a_voice_is_uploaded(server: Server, tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(TONE)
    form = ("-F", "name=Dora", "-F", "consent=she said yes", "-F", f"audio_sample=@{tmp_path}/clip.wav")
    made = curl(f"{server.url}/v1/audio/voices", *form)
    assert made.status == 200, made.body
    assert json.loads(made.body)["id"] == "dora"
    assert curl(f"{server.url}{SPEECH}", "-d", '{"input": "Hi.", "voice": "dora"}').status == 200
    assert json.loads(curl("-X", "DELETE", f"{server.url}/v1/audio/voices/dora").body)["deleted"]


# -- what cannot be


def test_f_ends_with_22_and_shows_nothing(server: Server) -> None:
    done = subprocess.run([*CURL, "-f", f"{server.url}{SPEECH}", "-d", "{}"], capture_output=True, timeout=90)
    assert (done.returncode, done.stdout) == (22, b"")
    assert b"400" in done.stderr


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"{}", "input", "input is required"),
        (b"", None, "not valid JSON"),
        (b'{"input": "Hello.', None, "not valid JSON"),
        (b"input=Hello.", None, "not valid JSON"),
        (b'{"input": "caf\xe9"}', None, "not valid UTF-8"),
        (b"\xff\xfe{\x00}\x00", None, "not valid UTF-8"),
    ],
)
def test_bodies_that_are_refused(server: Server, body: bytes, param: str | None, says: str) -> None:
    said = curl(f"{server.url}{SPEECH}", "--data-binary", "@-", sent=body)
    assert (said.exit_status, said.status) == (0, 400)
    error = said.error()
    assert (error["param"], error["code"]) == (param, "invalid_value")
    assert says in error["message"]


def test_a_large_body_is_refused_before_it_is_sent(server: Server, tmp_path: Path) -> None:
    """curl asks first, and keeps the body where it is told no; without asking it is told the same."""
    (tmp_path / "body").write_bytes(b"a" * 1_500_000)
    for how in ("Expect: 100-continue", "Expect:", "Transfer-Encoding: chunked"):
        said = curl(f"{server.url}{SPEECH}", "-H", how, "--data-binary", f"@{tmp_path}/body")
        assert (said.exit_status, said.status) == (0, 413)
        assert said.error()["code"] == "payload_too_large"
        assert said.continued is False or "chunked" in how  # who does not say how much it is cannot be refused before


def test_a_body_that_is_expected_is_asked_for(server: Server) -> None:
    said = curl(f"{server.url}{SPEECH}", "-H", "Expect: 100-continue", "-d", HELLO)
    assert (said.continued, said.status) == (True, 200)


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/audio/speech/more", "/v1/readyz"])
def test_what_is_not_there(server: Server, path: str) -> None:
    said = curl(f"{server.url}{path}")
    assert (said.exit_status, said.status) == (0, 404)
    assert said.error()["code"] == "not_found"


@pytest.mark.parametrize(("method", "path"), [("GET", SPEECH), ("PUT", "/v1/models"), ("POST", "/health")])
def test_a_wrong_method(server: Server, method: str, path: str) -> None:
    said = curl("-X", method, f"{server.url}{path}")
    assert said.status == 405
    assert said.error()["code"] == "method_not_allowed"


@pytest.mark.parametrize(("path", "method"), [(SPEECH, "POST"), ("/v1/models", "GET")])
def test_a_wrong_method_is_told_the_right_ones(server: Server, path: str, method: str) -> None:
    assert method in curl("-X", "PATCH", f"{server.url}{path}").headers["allow"]


def test_the_head_of_health(server: Server) -> None:
    said = curl("-I", f"{server.url}/health")
    assert (said.status, said.body) == (200, b"")


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/nano", "/v1/audio/voices"])
def test_the_head_of_a_list(server: Server, path: str) -> None:
    said = curl("-I", f"{server.url}{path}")
    assert (said.status, said.body) == (200, b"")
