"""The shape of every failure, from every source of failure."""

from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import openai
import pytest

from more_server import errors
from tests.web.conftest import Server, nano_settings, running

SPEECH = "/v1/audio/speech"


def body_of(response: httpx.Response) -> dict[str, object]:
    """The error object, its shape and the response's headers checked."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert isinstance(body["error"]["message"], str)
    assert body["error"]["message"]
    return dict(body["error"])


BAD_BODIES: list[tuple[object, int, str | None, str]] = [
    ({}, 400, "input", "input is required"),
    ({"input": ""}, 400, "input", "empty"),
    ({"input": "  \n "}, 400, "input", "empty"),
    ({"input": "…!? 🙂"}, 400, "input", "nothing that can be spoken"),
    ({"input": 5}, 400, "input", "expected `str`"),
    ({"input": None}, 400, "input", "expected `str`"),
    ({"input": ["a"]}, 400, "input", "expected `str`"),
    ({"input": "x" * 5001}, 400, "input", "at most 5000"),
    ({"input": "a", "response_format": "wma"}, 400, "response_format", "aac, flac, mp3, opus, pcm, wav"),
    ({"input": "a", "response_format": 3}, 400, "response_format", "expected `str"),
    ({"input": "a", "speed": 0.2}, 400, "speed", "between 0.25 and 4"),
    ({"input": "a", "speed": 4.1}, 400, "speed", "between 0.25 and 4"),
    ({"input": "a", "speed": "fast"}, 400, "speed", "expected `float"),
    ({"input": "a", "stream_format": "ws"}, 400, "stream_format", "audio, sse"),
    ({"input": "a", "quality": "best"}, 400, "quality", "balanced, fast, high_quality"),
    ({"input": "a", "language": "tlh"}, 400, "language", "it speaks: en"),
    ({"input": "a", "seed": -1}, 400, "seed", "between 0 and"),
    ({"input": "a", "seed": 2**63}, 400, "seed", "between 0 and"),
    ({"input": "a", "seed": 1.5}, 400, "seed", "expected `int"),
    ({"input": "a", "voice": "nobody"}, 404, "voice", "linden, rowan"),
    ({"input": "a", "voice": "../linden"}, 404, "voice", "linden, rowan"),
    ({"input": "a", "voice": {"id": "nobody"}}, 404, "voice", "linden, rowan"),
    ({"input": "a", "voice": {"name": "linden"}}, 400, "voice", "required"),
    ({"input": "a", "voice": 7}, 400, "voice", "expected `"),
    ({"input": "a", "model": "eleven"}, 404, "model", "nano"),
    ([1, 2], 400, None, "JSON object"),
    ("text", 400, None, "JSON object"),
]


@pytest.mark.parametrize(("body", "status", "param", "says"), BAD_BODIES, ids=lambda value: str(value)[:40])
def test_bad_bodies(server: Server, body: object, status: int, param: str | None, says: str) -> None:
    response = server.http().post(SPEECH, json=body)
    assert response.status_code == status, response.text
    error = body_of(response)
    assert error["param"] == param
    assert says.lower() in str(error["message"]).lower()
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe{}", "not valid"),
        (b'{"input": "a\xff"}', "not valid"),
    ],
)
def test_bodies_that_are_no_json(server: Server, content: bytes, says: str) -> None:
    response = server.http().post(SPEECH, content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert says in str(body_of(response)["message"])


def test_a_body_nested_too_deeply(server: Server) -> None:
    response = server.http().post(SPEECH, content=b'{"input": "hi", "x": ' + b"[" * 30_000 + b"]" * 30_000 + b"}")
    assert response.status_code == 400
    assert "nested too deeply" in str(body_of(response)["message"])


def test_text_that_grows_beyond_bounds(server: Server) -> None:
    response = server.http().post(SPEECH, json={"input": "0123456789 " * 450})
    assert response.status_code == 400
    assert "written out" in str(body_of(response)["message"])


def test_long_values_are_not_echoed_whole(server: Server) -> None:
    for field in ("voice", "model", "quality", "language", "response_format", "stream_format"):
        response = server.http().post(SPEECH, json={"input": "hi", field: "x" * 20_000})
        assert 400 <= response.status_code < 500
        assert len(str(body_of(response)["message"])) < 600


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/v1/audio/models", "/metrics"])
def test_the_head_alone_may_be_asked_for(server: Server, path: str) -> None:
    head, whole = server.http().head(path), server.http().get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert head.headers["content-type"].count("charset") <= 1


@pytest.mark.parametrize(
    ("path", "param"), [("/v1/audio/voices?legacy=perhaps", "legacy"), ("/v1/audio/voice_consents?limit=x", "limit")]
)
def test_a_parameter_of_the_address_is_named(server: Server, path: str, param: str) -> None:
    assert body_of(server.http().get(path))["param"] == param


def test_content_type_does_not_matter(server: Server) -> None:
    for content_type in ("text/plain", "application/octet-stream", ""):
        headers = {"content-type": content_type} if content_type else {}
        assert server.http().post(SPEECH, content=b'{"input": "Hello."}', headers=headers).status_code == 200


def test_bodies_that_are_too_large(server: Server) -> None:
    def chunked() -> object:
        yield b'{"input": "'
        for _ in range(40):
            yield b"x" * 4096

    for content in (b"x" * 70_000, chunked()):
        response = server.http().post(SPEECH, content=content)  # type: ignore[arg-type]
        assert response.status_code == 413
        assert body_of(response)["code"] == "payload_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/readyz", 404),
        ("GET", "/v1/test", 404),
        ("GET", "/v1/models/eleven", 404),
        ("GET", "/v1/models/org%2Fname", 404),
        ("GET", SPEECH, 405),
        ("POST", "/", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
    ],
)
def test_unknown_paths_and_methods(server: Server, method: str, path: str, status: int) -> None:
    response = server.http().request(method, path)
    assert response.status_code == status
    assert body_of(response)["code"] in {"not_found", "method_not_allowed", "model_not_found"}


def test_the_sdk_raises_what_it_should(server: Server) -> None:
    speech = server.client().audio.speech
    with pytest.raises(openai.NotFoundError) as unknown:
        speech.create(model="tts-1", voice="nobody", input="Hi")
    assert unknown.value.code == "voice_not_found"
    assert unknown.value.param == "voice"
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError, match="speed must be between"):
        speech.create(model="tts-1", voice="alloy", input="Hi", speed=9)


def test_request_ids(server: Server) -> None:
    mine = server.http().get("/health", headers={"x-request-id": "abc-1"})
    assert mine.headers["x-request-id"] == "abc-1"
    unsafe = server.http().get("/health", headers={"x-request-id": "a b<script>"})
    assert unsafe.headers["x-request-id"].startswith("req_")
    assert server.client().models.with_raw_response.list().headers["x-request-id"].startswith("req_")


def test_every_error_class_has_its_status_and_code() -> None:
    """The tree in the docstring is the tree of classes."""
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if len(words) >= 3 and words[1].isdigit():
            drawn[words[0]] = (int(words[1]), words[2])
        elif words and "stops" in words:
            drawn[words[0]] = (500, "server_error")
    classes = {
        name: (kind.status, kind.code)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.MoreError)
    }
    assert drawn == classes


ORIGIN = "http://example.test"


def preflight(server: Server) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}
    return server.http().options(SPEECH, headers={"origin": ORIGIN} | asked)


def test_pages_of_other_sites_may_not_call(server: Server) -> None:
    for answer in (preflight(server), server.http().get("/v1/models", headers={"origin": ORIGIN})):
        assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_pages_that_are_named_may_call(tmp_path: Path) -> None:
    settings = nano_settings(tmp_path)
    named = msgspec.structs.replace(settings.server, cors_origins=(ORIGIN,))
    with running(msgspec.structs.replace(settings, server=named)) as server:
        asked = preflight(server)
        assert asked.status_code == 204
        granted = asked.headers["access-control-allow-headers"].lower()
        assert all(header in granted for header in ("authorization", "x-stainless-os"))
        answer = server.http().get("/v1/models", headers={"origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "x-request-id" in answer.headers["access-control-expose-headers"]
        other = server.http().get("/v1/models", headers={"origin": "http://other.test"})
        assert "access-control-allow-origin" not in other.headers


def test_no_redirects(server: Server) -> None:
    for path in ("/v1/models/", "/health/"):
        assert server.http().get(path).status_code in {200, 404}


def test_while_the_model_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port answers at once, says that it is not ready, and asks callers to come back."""
    import threading

    from more_server.engine import engine as engine_module

    release = threading.Event()
    original: Callable[..., object] = engine_module.load

    def slow(*arguments: object) -> object:
        release.wait(30)
        return original(*arguments)

    monkeypatch.setattr(engine_module, "load", slow)
    with running(nano_settings(tmp_path), wait=False) as server:
        http = server.http()
        assert http.get("/health").text == "OK"
        assert http.get("/health/live").status_code == 200
        ready = http.get("/health/ready")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert 1 <= int(ready.headers["retry-after"]) <= 60
        for response in (http.post(SPEECH, json={"input": "a"}), http.get("/v1/models"), http.get("/v1/audio/voices")):
            assert response.status_code == 503
            assert body_of(response)["code"] == "model_loading"
            assert 1 <= int(response.headers["retry-after"]) <= 60
        release.set()
        while http.get("/health/ready").status_code != 200:
            pass
        assert http.post(SPEECH, json={"input": "Hello."}).status_code == 200
