"""Who must not get in does not, and what must not get out stays: read from the source, and tried on real servers."""

import ast
import base64
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from more_server.web.headers import DOCUMENTS, OF_DOCUMENTS, add_security_headers
from tests import serving
from tests.test_layout import ROOT, SOURCES, sources
from tests.web.conftest import Server, nano_settings, running
from tests.web.voicedesk import TONE

# -- code that a file could bring along

UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
PICKLES_ARE_NAMED = {"more_server/xtts/checkpoint.py"}
"""Raises by pickle's own error, and reads by weights_only alone."""


def test_no_pickle_is_read() -> None:
    pickles, loads = [], []
    for source in sources(ROOT, *SOURCES):
        used = [(line, name) for line, name in source.imports() if name.split(".")[0] in UNSAFE]
        pickles += [f"{source.name}:{line} {name}" for line, name in used if source.name not in PICKLES_ARE_NAMED]
        loads += [(source.name, node) for node in ast.walk(source.tree) if _loads(node)]
    assert pickles == []
    by_torch = [(file, node) for file, node in loads if node.func.value.id == "torch"]
    assert [file for file, _ in by_torch] == ["more_server/xtts/checkpoint.py"], "models are safetensors at run time"
    for file, node in loads:
        options = {one.arg: ast.unparse(one.value) for one in node.keywords}
        assert "allow_pickle" not in options, f"{file}:{node.lineno}"
        assert options.get("weights_only") == "True" or (file, node) not in by_torch, f"{file}:{node.lineno}"


def _loads(node: Any) -> bool:
    """Whether it is torch.load(…) or numpy.load(…)."""
    is_load = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"
    return is_load and isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "np", "numpy")


# -- names that lead elsewhere

PARAMETER = re.compile(r"\{(.*?)\}")
CANARY = "canary-of-the-disk"
NAMES = (
    *("..%2fx", "%2e%2e", "../x", "..%5cx", "%252e%252e%252fx", "%2fetc%2fpasswd"),
    *("a%00.wav", "a%0ab", "a" * 4000, "CON", "%ff%fe", "~root"),
)
ANY_NAME = ("get", "/v1/audio/voices/")
"""Lists of voices are the same for every model, and the name is not looked at (web/listings.py)."""
SEVERAL = {"/v1/admin/voices/{voice_id}/references/{reference}", "/v1/jobs/{job_id}/result/{name}"}
"""Addresses of more than one name."""
IN_BODIES = ("../x", "..", "/etc/passwd", "a\0.wav", "a\nb", "a" * 4000, "..\\x", "CON", "\ud800", "~root/x")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Beside its data lies what nobody may read or change."""
    outside = tmp_path_factory.mktemp("outside")
    for name in ("x", "x/voice.toml", "secret.wav"):
        (outside / name).mkdir() if name == "x" else (outside / name).write_text(CANARY)
    with running(nano_settings(outside / "data")) as made:
        yield made


@pytest.fixture(scope="module")
def known(server: Server) -> dict[str, str]:
    """Of what is there, by the name of the parameter: behind a wrong one of these no other would be looked at."""
    body, headers = form(name="known")
    assert asked(server, "POST", "/v1/admin/voices", body, **headers)[0] == 200
    job = server.http().post("/v1/jobs", json={"kind": "speech", "input": "Hello."}).raise_for_status().json()["id"]
    with server.http().stream("GET", f"/v1/jobs/{job}/events") as events:
        events.read()
    result = server.http().get(f"/v1/jobs/{job}").json()["results"][0]["name"]
    found = {"voice_id": "known", "reference": "reference-01.wav", "job_id": job, "name": result}
    for path in SEVERAL:
        assert asked(server, "GET", filled(path, found))[0] == 200, path
    return found


def outside(server: Server) -> dict[str, tuple[int, int]]:
    top = server.settings.data_dir.parent
    found = [path for path in top.rglob("*") if not path.is_relative_to(server.settings.data_dir)]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def asked(server: Server, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer to this very target, which no client has put right."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=30)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def check_refused(status: int, content: bytes, what: str) -> None:
    assert 400 <= status < 500, (what, status, content[:300])
    assert CANARY.encode() not in content, what
    assert set(json.loads(content)["error"]) == {"message", "type", "param", "code"}, what


def filled(path: str, names: dict[str, str]) -> str:
    return PARAMETER.sub(lambda one: names[one[1]], path)


def hostile(path: str, known: dict[str, str]) -> Iterator[str]:
    """The address with one name that leads elsewhere, the others being of what is there."""
    parameters = PARAMETER.findall(path)
    assert len(parameters) == 1 or path in SEVERAL, path
    for wrong in parameters:
        for name in NAMES:
            given = {other: known[other] for other in parameters if other != wrong} | {wrong: name}
            yield filled(path, given)


def test_no_address_leads_out_of_the_data_directory(server: Server, known: dict[str, str]) -> None:
    before = outside(server)
    paths = server.http().get("/openapi.json").json()["paths"]
    tried = [(method, path) for path in paths if "{" in path and path.startswith("/v1/") for method in paths[path]]
    assert len(tried) > 25
    for method, path in tried:
        for target in hostile(path, known):
            # tus asks for a version before it looks at anything else.
            status, content = asked(server, method.upper(), target, tus_resumable="1.0.0")
            if (method, path.partition("{")[0]) == ANY_NAME:
                assert CANARY.encode() not in content
            elif method not in ("options", "head"):
                check_refused(status, content, f"{method} {target}")
    assert outside(server) == before
    assert asked(server, "GET", f"/v1/admin/voices/{known['voice_id']}")[0] == 200


def form(**fields: str) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--b\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode("utf-8", "surrogatepass")
        for field, value in fields.items()
    ]
    clip = b'--b\r\ncontent-disposition: form-data; name="audio_sample"; filename="../../x.wav"\r\n\r\n' + TONE
    return b"".join([*parts, clip, b"\r\n--b--\r\n"]), {"content_type": "multipart/form-data; boundary=b"}


def bodies(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Addresses and bodies in each of which this name is all that is wrong, or the first thing that is looked at."""
    parts = [{"voice": "linden"}, {"voice": "rowan"}]
    dataset = {"kind": "dataset", "name": "ok", "uploads": ["0" * 32], "language": "en"}
    yield "/v1/audio/speech", {"input": "Hello.", "voice": name}
    yield "/v1/audio/speech", {"input": "Hello.", "model": f"x{name}", "voice": "nobody"}
    yield "/v1/audio/speech", {"input": "Hello.", "quality": name}
    yield "/v1/admin/voices/mix", {"name": name, "parts": parts}
    yield "/v1/admin/voices/mix", {"name": "ok", "store": name, "parts": parts}
    yield "/v1/admin/profiles", {"name": name, "base": "fast"}
    yield "/v1/jobs", {"kind": "speech", "voice": name, "input": "Hello."}
    yield "/v1/jobs", dataset | {"name": name}
    yield "/v1/jobs", dataset | {"uploads": [name]}
    yield "/v1/jobs", dataset | {"whisper": name}
    yield "/v1/jobs", {"kind": "train", "dataset": name, "name": "ok"}
    yield "/v1/jobs", {"kind": name}


def test_no_name_in_a_body_leads_out_of_the_data_directory(server: Server) -> None:
    before = outside(server)
    for name in IN_BODIES:
        for path, wanted in bodies(name):
            status, content = asked(server, "POST", path, json.dumps(wanted).encode())
            check_refused(status, content, f"{path} {wanted}")
            if name.isascii():  # or else it is no JSON
                (field,) = (key for key, value in wanted.items() if name in (value if key == "uploads" else str(value)))
                assert json.loads(content)["error"]["param"] == field, (path, wanted, content)
        body, headers = form(name=name)
        check_refused(*asked(server, "POST", "/v1/admin/voices", body, **headers), f"a voice {name!r}")
        told = "filename " + base64.b64encode(name.encode("utf-8", "surrogatepass")).decode()
        tus = {"tus_resumable": "1.0.0", "upload_length": "9", "upload_metadata": told}
        check_refused(*asked(server, "POST", "/v1/admin/uploads", b"", **tus), f"an upload {name!r}")
    assert outside(server) == before


def test_the_name_of_an_uploaded_file_is_no_path(server: Server) -> None:
    before = outside(server)
    body, headers = form(name="uploaded")
    status, content = asked(server, "POST", "/v1/admin/voices", body, **headers)
    assert status == 200, content
    assert json.loads(content)["references"] == ["reference-01.wav"]
    assert outside(server) == before
    assert server.http().delete("/v1/admin/voices/uploaded").is_success


# -- headers


def test_every_answer_tells_browsers_what_it_is_not(server: Server) -> None:
    speech = server.http().post("/v1/audio/speech", json={"input": "Hello.", "response_format": "wav"})
    answers = [speech, *map(server.http().get, ("/v1/models", "/health", "/nowhere", "/metrics", "/openapi.json"))]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert len(answer.headers.get_list("x-content-type-options")) == 1


async def test_pages_run_no_script_unless_they_say_so() -> None:
    async def told(*headers: tuple[bytes, bytes]) -> list[bytes]:
        message = {"type": "http.response.start", "status": 200, "headers": headers}
        await add_security_headers(message, {})  # type: ignore[arg-type]
        return [value for name, value in message["headers"] if name.lower() == b"content-security-policy"]  # type: ignore[attr-defined]

    for kind in DOCUMENTS:
        typed = (b"content-type", kind.title() + b"; charset=utf-8")
        assert await told(typed) == [OF_DOCUMENTS]
        assert await told(typed, (b"Content-Security-Policy", b"default-src 'self'")) == [b"default-src 'self'"]


# -- secrets

SECRETS = {
    "hook": "whsec_" + base64.b64encode(b"this is the secret of all hooks!").decode(),
    "store": "c3RvcmVzLXNlY3JldA-store",
    "changed": "YW5vdGhlci1zZWNyZXQ-changed",
    "endpoint": "password-of-the-endpoint",
    "address": "T0KEN-in-the-address",
}


def test_secrets_are_neither_logged_nor_shown(tmp_path: Path) -> None:
    settings = {
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        "JOBS__WEBHOOK_SECRET": SECRETS["hook"],
        "JOBS__WEBHOOK_HOSTS": "127.0.0.1",
        "TELEMETRY__OTLP_ENDPOINT": f"http://more:{SECRETS['endpoint']}@127.0.0.1:9",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__ENABLED": "true",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__URL": "s3://bucket/voices",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__ENDPOINT": "http://127.0.0.1:9",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__ALLOW_HTTP": "true",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__TIMEOUT_SECONDS": "0.5",
        "PLUGINS__MORE_VOICE_OBJECT_STORE__SECRET_ACCESS_KEY": SECRETS["store"],
    }
    server = serving.Server(tmp_path / "data", **settings)
    try:
        key = server.http.post("/v1/admin/keys", json={"name": "me", "scopes": ["admin"]}).json()["key"]
        wrong = f"more_deadbeef_{'A' * 43}"
        shown = [_misused(server, key, wrong)]
        server.http.headers["authorization"] = f"Bearer {key}"
        shown += _used(server)
    finally:
        server.stop()
    everything = "\n".join([*shown, server.log(), *map(_text, (tmp_path / "data" / "admin").rglob("*.jsonl"))])
    assert all(json.loads(line)["event"] for line in server.log().splitlines() if line.startswith("{"))
    assert '"wrong key"' in server.log()
    for name, secret in {**SECRETS, "key": key, "wrong": wrong}.items():
        assert secret not in everything, name


def _misused(server: serving.Server, key: str, wrong: str) -> str:
    """Keys in every place where somebody may put one; what the answers say, which their senders alone see."""
    url = str(server.http.base_url).rstrip("/")
    answers = [
        server.http.get("/v1/admin/config", headers={"authorization": f"Bearer {wrong}"}),
        server.http.get("/v1/admin/config", headers={"authorization": f"Basic {key}", "x-api-key": key}),
        server.http.get("/v1/admin/config", params={"api_key": key, "key": wrong}, headers={"cookie": f"key={key}"}),
        server.http.post("/v1/audio/speech", headers={"authorization": f"Bearer {wrong}"}, json={"input": "Hello."}),
    ]
    assert [answer.status_code for answer in answers] == [401] * 4
    _connected(url, key)
    with pytest.raises(InvalidStatus):
        _connected(url, wrong)
    return "\n".join(answer.text for answer in answers)


def _connected(url: str, secret: str) -> None:
    """As a page does, which cannot send headers."""
    offered: Any = ["realtime", f"openai-insecure-api-key.{secret}"]
    with connect(f"{url.replace('http', 'ws')}/v1/audio/speech/stream", subprotocols=offered) as socket:
        socket.send(json.dumps({"type": "nonsense"}))
        socket.recv(timeout=30)


def _used(server: serving.Server) -> list[str]:
    """What an administrator sees of secrets that are in use."""
    hook = f"http://127.0.0.1:9/{SECRETS['address']}?token={SECRETS['address']}"
    job = server.asked(kind="speech", input="Hello.", webhook={"url": hook})
    server.done(job)
    changed = {"settings": {"secret_access_key": SECRETS["changed"]}}
    server.http.patch("/v1/admin/plugins/more_voice_object_store", json=changed).raise_for_status()
    places = ("config", "audit", "plugins", "keys", "voices")
    return [
        *(server.http.get(f"/v1/admin/{place}").raise_for_status().text for place in places),
        server.http.get("/metrics").text,
        server.http.get("/health/detail").text,
    ]


def _text(path: Path) -> str:
    return path.read_text("utf-8")


# -- what is written

SERVE = """
import os, sys
def written(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        told(arguments[0])
    elif event in ("os.mkdir", "os.remove", "os.rmdir", "sqlite3.connect"):
        told(arguments[0])
    elif event in ("os.rename", "os.symlink", "os.link"):
        told(arguments[1])
def told(path):
    if not isinstance(path, int):
        sys.stderr.write(f"WROTE {os.path.abspath(os.fsdecode(path))}\\n")
sys.addaudithook(written)
from more_server.cli import main
sys.argv = ["more-server", "serve", "--port", "0"]
main()
"""


def test_a_server_writes_into_its_data_directory_and_the_temporary_one_alone(tmp_path: Path) -> None:
    """So that all else may be read-only, as in a container with `--read-only --tmpfs /tmp --volume more:/data`."""
    data, home, temporary = tmp_path / "data", tmp_path / "home", tmp_path / "tmp"
    for folder in (home, temporary):
        folder.mkdir()
    places = {"MORE_DATA_DIR": str(data), "HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}
    # As the Containerfile has it.
    places |= {"MPLCONFIGDIR": str(temporary / "matplotlib"), "NUMBA_CACHE_DIR": str(temporary / "numba")}
    settings = {"MORE_PLUGINS__MORE_WYOMING__ENABLED": "false", "MORE_PREPARE_VOICES": "false"}
    told = tmp_path / "told"
    with told.open("wb") as log:
        command = [sys.executable, "-c", SERVE]
        # torch leaves the place of its cache to all processes that this one starts.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TORCH")}
        environment = {**inherited, **places, **settings}
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=home)
    with server:
        try:
            assert server.stdout is not None
            ready = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
            assert ready, told.read_text("utf-8")
            with httpx.Client(base_url=ready[0], timeout=60) as client:
                files = {"audio_sample": ("clip.wav", TONE)}
                client.post("/v1/admin/voices", data={"name": "ann"}, files=files).raise_for_status()
                client.post("/v1/audio/speech", json={"input": "Hello.", "voice": "ann"}).raise_for_status()
                client.post("/v1/jobs", json={"kind": "speech", "input": "Hello."}).raise_for_status()
        finally:
            server.terminate()
    wrote = {Path(line.removeprefix("WROTE ")) for line in told.read_text("utf-8").splitlines() if line[:6] == "WROTE "}
    assert any(path.is_relative_to(data / "voices") for path in wrote)
    allowed = (data, temporary, Path(os.devnull))
    assert {path for path in wrote if not any(path.is_relative_to(place) for place in allowed)} == set()
    assert list(home.iterdir()) == []
