"""The administrators' routes for keys, and the whole server behind its gate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from more_server.app import HANDLERS, create_app
from more_server.errors import KeysUnreadable
from more_server.keys import SCOPES, KeyRing, new_key
from tests.web.conftest import Server, nano_settings, running
from tests.web.guarded import Guarded, guarded, refused

KEYS = "/v1/admin/keys"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path) as made:
        yield made


def post(app: Guarded, body: object, secret: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    return app.http.post(f"{app.url}{KEYS}", content=json.dumps(body), headers=headers)


def delete(app: Guarded, key_id: str, secret: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"} if secret else {}
    return app.http.delete(f"{app.url}{KEYS}/{key_id}", headers=headers)


def test_the_life_of_keys(app: Guarded) -> None:
    nobody = {"id": None, "name": None, "scopes": list(SCOPES), "object": "key"}
    assert app.get("/v1/key").json() == nobody
    first = post(app, {"name": "admin", "scopes": ["admin"]})
    assert first.status_code == 200, first.text
    assert first.headers["cache-control"] == "no-store"
    admin = first.json()
    assert set(admin) == {
        "id", "object", "name", "scopes", "rate_per_minute", "concurrency", "created", "last_used", "key"
    }  # fmt: skip
    assert app.status(KEYS) == 401
    asked = {"name": "Home Assistant", "scopes": ["speech"], "rate_per_minute": 60, "concurrency": 2}
    second = post(app, asked, admin["key"]).json()
    assert {name: second[name] for name in asked} == asked
    assert app.get("/speech", second["key"]).text == f"key {second['id']} (Home Assistant)"
    assert app.status(KEYS, second["key"]) == 403
    assert app.status("/v1/key") == 401
    assert app.get("/v1/key", second["key"]).json() == {
        "id": second["id"], "name": "Home Assistant", "scopes": ["speech"], "object": "key"
    }  # fmt: skip
    assert app.get("/v1/key", admin["key"]).json()["scopes"] == list(SCOPES)

    listed = app.get(KEYS, admin["key"])
    assert "sha256" not in listed.text
    assert second["key"] not in listed.text
    assert [item["name"] for item in listed.json()["data"]] == ["admin", "Home Assistant"]
    assert all(item["last_used"] >= item["created"] for item in listed.json()["data"])

    gone = delete(app, second["id"], admin["key"])
    assert gone.json() == {"id": second["id"], "object": "key", "deleted": True}
    assert app.status("/speech", second["key"]) == 401
    refused(delete(app, second["id"], admin["key"]), 404, "key_not_found")
    assert delete(app, admin["id"], admin["key"]).status_code == 200
    assert app.get(KEYS).json() == {"data": [], "object": "list"}


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"scopes": ["admin"]}, "name", "required"),
        ({"name": "k"}, "scopes", "required"),
        ({"name": "k", "scopes": []}, "scopes", "admin, speech, voices"),
        ({"name": "k", "scopes": ["root"]}, "scopes", "admin, speech, voices"),
        ({"name": "k", "scopes": "admin"}, "scopes", "array"),
        ({"name": "k", "scopes": ["speech"]}, "scopes", "first key"),
        ({"name": "a\u202eb", "scopes": ["admin"]}, "name", "visible"),
        ({"name": "a\u0000b", "scopes": ["admin"]}, "name", "visible"),
        ({"name": "k", "scopes": ["admin"], "rate_per_minute": 0}, "rate_per_minute", ">= 1"),
        ({"name": "k", "scopes": ["admin"], "concurrency": 1.5}, "concurrency", "int"),
        ({"name": "k", "scopes": ["admin"], "rate": 5}, "rate", "no field rate"),
        ([], None, "JSON object"),
    ],
)
def test_keys_that_cannot_be_made(app: Guarded, body: object, param: str | None, says: str) -> None:
    answer = post(app, body)
    assert says in refused(answer, 400, "invalid_value")
    assert answer.json()["error"]["param"] == param
    assert not app.keys.any()


def test_administrators_cannot_lock_themselves_out(app: Guarded) -> None:
    admin = post(app, {"name": "admin", "scopes": ["admin"]}).json()
    post(app, {"name": "speech", "scopes": ["speech"]}, admin["key"])
    assert "last key with the scope admin" in refused(delete(app, admin["id"], admin["key"]), 400, "invalid_value")


def test_a_server_that_others_reach_keeps_its_last_key(tmp_path: Path) -> None:
    with guarded(tmp_path, host="0.0.0.0") as app:
        secret = app.key("admin")
        assert "allow_open" in refused(delete(app, app.keys.all()[0].id, secret), 400, "invalid_value")


def test_every_change_is_on_record(app: Guarded) -> None:
    admin = post(app, {"name": "admin", "scopes": ["admin"], "concurrency": 9}).json()
    second = post(app, {"name": "second", "scopes": ["voices"]}, admin["key"]).json()
    delete(app, second["id"], admin["key"])
    delete(app, "00000000", admin["key"])
    answer = app.get("/v1/admin/audit", admin["key"])
    entries = answer.json()["data"]
    assert [(entry["action"], entry["target"], entry["outcome"]) for entry in entries] == [
        ("keys.create", admin["id"], "allowed"),
        ("keys.create", second["id"], "allowed"),
        ("keys.delete", second["id"], "allowed"),
    ]
    assert [entry["actor"] for entry in entries] == [
        {"kind": "local"},
        {"kind": "key", "id": admin["id"], "name": "admin"},
        {"kind": "key", "id": admin["id"], "name": "admin"},
    ]
    assert entries[0]["changes"]["concurrency"] == 9
    assert not {admin["key"], second["key"], "sha256"} & set(answer.text.split('"'))
    assert len(app.get("/v1/admin/audit?limit=1", admin["key"]).json()["data"]) == 1
    for limit in ("0", "1001", "x"):
        assert app.status(f"/v1/admin/audit?limit={limit}", admin["key"]) == 400
    assert app.status("/v1/admin/audit") == 401


def test_nothing_is_done_that_cannot_be_recorded(app: Guarded, tmp_path: Path) -> None:
    (tmp_path / "admin" / "audit.jsonl").mkdir(parents=True)
    answer = post(app, {"name": "admin", "scopes": ["admin"]})
    assert "without a record" in refused(answer, 500, "storage_error")
    assert not app.keys.any()


# The whole server


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, dict[str, str]]]:
    """The whole server with a key of each scope, and their secrets."""
    settings, secrets = nano_settings(tmp_path_factory.mktemp("closed")), {}
    ring = KeyRing(settings)
    for scope in ("admin", "speech", "voices"):
        key, secrets[scope] = new_key(scope, [scope])
        ring.add(key)
    with running(settings) as server:
        yield server, secrets


def test_openai_clients_are_let_in_by_their_key(closed: tuple[Server, dict[str, str]]) -> None:
    server, secrets = closed
    asked: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": "Hello there.", "response_format": "wav"}

    def client(key: str) -> openai.OpenAI:
        return server.client().with_options(api_key=key)

    assert len(client(secrets["speech"]).audio.speech.create(**asked).content) > 10_000
    with pytest.raises(openai.AuthenticationError) as wrong:
        client("unused").audio.speech.create(**asked)
    assert wrong.value.code == "invalid_api_key"
    assert wrong.value.response.headers["www-authenticate"] == "Bearer"
    assert wrong.value.request_id
    with pytest.raises(openai.PermissionDeniedError) as short:
        client(secrets["voices"]).audio.speech.create(**asked)
    assert short.value.code == "insufficient_scope"
    assert client("unused").models.list().data


def test_what_needs_a_key_and_what_does_not(closed: tuple[Server, dict[str, str]]) -> None:
    server, secrets = closed
    http = server.http()
    for path in ("/health", "/health/live", "/health/ready", "/v1/models", "/v1/audio/models", "/v1/audio/voices"):
        assert http.get(path).status_code == 200, path
    for path in ("/metrics", "/health/detail", KEYS, "/v1/admin/audit", "/v1/admin/log"):
        refused(http.get(path), 401, "invalid_api_key")
        answers = [http.get(path, headers={"authorization": f"Bearer {secret}"}) for secret in secrets.values()]
        assert [answer.status_code for answer in answers] == [200, 403, 403], path


def test_no_route_is_open_by_accident() -> None:
    scopes = {path: handler.opt.get("scope", "speech") for handler in HANDLERS for path in handler.paths}
    administration = {path for path in scopes if path.startswith("/v1/admin")} | {"/metrics", "/health/detail"}
    assert {scopes[path] for path in administration} == {"admin"}
    assert {path for path, scope in scopes.items() if scope == "admin"} == administration
    assert [path for path, scope in scopes.items() if scope == "public" and not path.startswith("/health")] == []
    assert set(scopes.values()) <= {*SCOPES, "public", "discovery", "jobs"}


def test_a_damaged_file_of_keys_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "keys.json").write_text("{")
    with pytest.raises(KeysUnreadable, match="is damaged"):
        create_app(nano_settings(tmp_path))
