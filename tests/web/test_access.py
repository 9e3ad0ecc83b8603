"""Who gets in, who does not, and how they are told: over real connections."""

import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from more_server.keys import KeyRing
from more_server.web.access import chosen_subprotocol
from tests.web.guarded import Guarded, guarded, refused

ROUTES = ("public", "discovery", "unnamed", "speech", "voices", "admin")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def open_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One without keys, for tests that make none."""
    with guarded(tmp_path_factory.mktemp("open")) as made:
        yield made


@pytest.fixture(scope="module")
def closed_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guarded, str]]:
    """One with a key, and its secret."""
    with guarded(tmp_path_factory.mktemp("closed")) as made:
        yield made, made.key("admin")


# Without keys


@pytest.mark.parametrize(
    "authorization", [None, "Bearer ", "Bearer undefined", "undefined", "Bearer sk-x", "Basic eA=="]
)
def test_without_keys_nobody_needs_one(open_app: Guarded, authorization: str | None) -> None:
    header = "" if authorization is None else f"authorization: {authorization}\r\n"
    request = "GET /{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{}\r\n"
    answers = [open_app.raw(request.format(route, header).encode()) for route in ROUTES]
    assert [answer.rpartition(b"\r\n")[2] for answer in answers] == [b"anybody", *[b"local"] * 5]


@pytest.mark.parametrize(
    ("headers", "open_"),
    [
        ({}, True),
        ({"host": "localhost:8000"}, True),
        ({"host": "LOCALHOST"}, True),
        ({"host": "[::1]:8000"}, True),
        ({"host": "192.168.1.7"}, True),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, True),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"host": "localhost:8000", "origin": "http://localhost:3000"}, False),
        ({"host": "localhost:8000", "origin": "http://127.0.0.1:8000"}, False),
        ({"host": "localhost", "origin": "https://evil.example"}, False),
        ({"host": "localhost", "origin": "http://localhost.evil.example"}, False),
        ({"host": "localhost", "origin": "http://localhost@evil.example"}, False),
        ({"host": "localhost", "origin": "null"}, False),
        ({"host": "localhost", "origin": ""}, False),
        ({"host": "localhost", "origin": "http://[::1"}, False),
        ({"host": "localhost", "sec-fetch-site": "cross-site"}, False),
        ({"host": "localhost:8000", "sec-fetch-site": "same-site"}, False),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example", "origin": "http://evil.example"}, False),
        ({"host": "localhost.evil.example"}, False),
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "more"}, False),
    ],
)
def test_without_keys_foreign_pages_change_nothing(open_app: Guarded, headers: dict[str, str], open_: bool) -> None:
    for route in ("admin", "voices"):
        answer = open_app.http.get(f"{open_app.url}/{route}", headers=headers)
        if open_:
            assert answer.text == "local"
        else:
            assert "keys add" in refused(answer, 403, "foreign_page")
    for route in ("speech", "discovery"):
        assert open_app.http.get(f"{open_app.url}/{route}", headers=headers).status_code == 200


def test_the_first_key_closes_the_server_and_the_last_one_opens_it(app: Guarded) -> None:
    assert app.status("/speech") == 200
    secret = app.key("admin")
    assert app.status("/speech") == 401
    assert app.get("/admin", secret, host="more.example", origin="https://pages.example").status_code == 200
    (key,) = app.keys.all()
    assert app.get("/admin", secret).text == f"key {key.id} (admin)"
    KeyRing(app.settings).revoke(key.id)
    assert app.status("/admin") == 200


def test_a_server_that_others_reach_is_never_without_keys(tmp_path: Path) -> None:
    with guarded(tmp_path, host="0.0.0.0") as app:
        message = refused(app.get("/speech"), 401, "invalid_api_key")
        assert "keys add" in message
        assert [app.status(f"/{route}") for route in ROUTES] == [200, *[401] * 5]
        secret = app.key("admin")
        assert app.status("/speech", secret) == 200
    with guarded(tmp_path / "open", host="0.0.0.0", allow_open=True) as app:
        assert app.status("/speech") == 200


# With keys


def test_who_may_do_what(app: Guarded) -> None:
    secrets = {scope: app.key(scope) for scope in ("admin", "speech", "voices")}
    opened = {"admin": set(ROUTES), "speech": {*ROUTES} - {"voices", "admin"}, "voices": set(ROUTES) - {"admin"}}
    opened["voices"] -= {"speech", "unnamed"}
    for (scope, secret), route in product(secrets.items(), ROUTES):
        answer = app.get(f"/{route}", secret)
        if route in opened[scope]:
            assert answer.status_code == 200, (scope, route)
            assert answer.text == "anybody" if route == "public" else f"({scope})" in answer.text
        else:
            assert f"may do: {scope}; this needs" in refused(answer, 403, "insufficient_scope")


def test_who_shows_no_key_is_told_how(app: Guarded) -> None:
    app.key("admin")
    assert app.get("/public").text == app.get("/discovery", "sk-unused").text == "anybody"
    for route in ("unnamed", "speech", "voices", "admin", "stream"):
        answer = app.get(f"/{route}")
        assert "Authorization: Bearer" in refused(answer, 401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "there is no such key" in refused(app.get("/speech", f"sk-{route}"), 401, "invalid_api_key")


def test_discovery_can_be_closed(tmp_path: Path) -> None:
    with guarded(tmp_path, open_discovery=False) as app:
        assert app.status("/discovery") == 200
        app.key("admin")
        assert app.status("/discovery") == 401
        assert app.status("/discovery", app.key("voices")) == 200


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER  {}"])
def test_forms_of_the_header(closed_app: tuple[Guarded, str], form: str) -> None:
    app, secret = closed_app
    assert app.http.get(f"{app.url}/speech", headers={"authorization": form.format(secret)}).is_success


@pytest.mark.parametrize("form", ["{}", "Token {}", "Bearer{}", "Bearer {} {}", "Bearer, {}", "Basic {}"])
def test_what_is_no_such_header(closed_app: tuple[Guarded, str], form: str) -> None:
    app, secret = closed_app
    sent = form.format(secret, secret)
    refused(app.http.get(f"{app.url}/speech", headers={"authorization": sent}), 401, "invalid_api_key")


def test_two_keys_in_one_request(closed_app: tuple[Guarded, str]) -> None:
    app, secret = closed_app
    headers = [("authorization", f"Bearer {secret}")] * 2
    refused(httpx.get(f"{app.url}/speech", headers=headers), 401, "invalid_api_key")


@pytest.mark.parametrize("value", [b"\x01", b"more_\x00", b"a\r b", b"\xff\xfe", "ключ".encode(), b"\x1b[31m"])
def test_keys_of_strange_bytes(closed_app: tuple[Guarded, str], value: bytes) -> None:
    app, secret = closed_app
    request = b"GET /speech HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer " + value + b"\r\n\r\n"
    assert app.raw(request).split(b" ")[1] in {b"400", b"401"}
    assert app.status("/speech", secret) == 200


def test_a_megabyte_of_key(closed_app: tuple[Guarded, str]) -> None:
    app, secret = closed_app
    request = b"GET /speech HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + b"a" * 1_000_000 + b"\r\n\r\n"
    try:
        answer = app.raw(request)
    except ConnectionError:  # refused while it was still being sent
        answer = b""
    assert answer == b"" or answer.split(b" ")[1] in {b"400", b"431"}
    assert app.status("/speech", secret) == 200


def test_browsers_ask_first_without_a_key_and_can_read_refusals(app: Guarded) -> None:
    app.key("admin")
    asking = {"origin": "https://pages.example", "access-control-request-method": "POST"}
    asked = app.http.options(
        f"{app.url}/speech", headers=asking | {"access-control-request-headers": "authorization, content-type"}
    )
    assert asked.status_code == 204
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert app.http.options(f"{app.url}/speech").status_code == 204
    answer = app.get("/speech", origin="https://pages.example")
    refused(answer, 401, "invalid_api_key")
    assert answer.headers["access-control-allow-origin"] == "*"


def test_a_route_with_a_misspelt_scope_is_closed(app: Guarded) -> None:
    assert "spech" in refused(app.get("/misspelt"), 500, "server_error")
    assert "spech" in refused(app.get("/misspelt", app.key("admin")), 500, "server_error")


def test_a_damaged_file_closes_the_running_server(app: Guarded, tmp_path: Path) -> None:
    secret = app.key("admin")
    assert app.status("/speech", secret) == 200
    file = tmp_path / "admin" / "keys.json"
    good = file.read_bytes()
    file.write_bytes(good[:-20])
    for route in ROUTES[1:]:
        answer = app.get(f"/{route}", secret)
        assert str(tmp_path) not in refused(answer, 503, "keys_unreadable")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert app.status("/public") == 200
    file.unlink()
    assert app.status("/speech") == 503
    file.write_bytes(good)
    assert app.status("/speech", secret) == 200


def test_the_last_use_reaches_the_disk(app: Guarded) -> None:
    secret = app.key("admin")
    assert app.status("/speech", secret) == 200
    until = time.monotonic() + 5
    while not KeyRing(app.settings).last_used():
        assert time.monotonic() < until
        time.sleep(0.02)


# WebSockets


def visit(app: Guarded, authorization: str | None = None, **options: Any) -> str:
    """Who the server takes the visitor for. Raises InvalidStatus where it is not let in."""
    headers = {} if authorization is None else {"authorization": authorization}
    url = f"ws{app.url.removeprefix('http')}/socket"
    with connect(url, additional_headers=headers, **options) as connection:
        who = str(connection.recv(timeout=10))
        connection.send("bye")
        return who


def turned_away(app: Guarded, authorization: str | None = None, **options: Any) -> tuple[int, str]:
    """Status and code of the refusal, which is that of any other request."""
    with pytest.raises(InvalidStatus) as refusal:
        visit(app, authorization, **options)
    response = refusal.value.response
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body)["error"]["code"]


def test_sockets_pass_the_same_gate(app: Guarded) -> None:
    assert visit(app) == "local"
    app.key("admin")
    speech, voices = app.key("speech", concurrency=1, rate_per_minute=2), app.key("voices")
    assert turned_away(app) == (401, "invalid_api_key")
    assert turned_away(app, f"Bearer {voices}") == (403, "insufficient_scope")
    for _ in range(2):
        assert "(speech)" in visit(app, f"bearer {speech}")
    assert turned_away(app, f"Bearer {speech}") == (429, "rate_limit_exceeded")
    told = [turned_away(app, f"Bearer {number}")[0] for number in range(11)]
    assert told == [401] * 10 + [429]


def test_a_page_names_its_key_among_the_subprotocols(app: Guarded) -> None:
    secret = app.key("admin")
    offered = ["more", f"openai-insecure-api-key.{secret}"]
    assert "(admin)" in visit(app, subprotocols=offered)
    assert turned_away(app, subprotocols=["more", "openai-insecure-api-key.wrong"]) == (401, "invalid_api_key")
    # Two keys are none, as with two headers.
    assert turned_away(app, f"Bearer {secret}", subprotocols=offered) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], None), (["a", "b"], "a"), (["openai-insecure-api-key.x", "a"], "a"), (["openai-insecure-api-key.x"],) * 2],
)
def test_a_subprotocol_is_chosen_that_is_no_key(offered: list[str], chosen: str | list[str] | None) -> None:
    scope: Any = {"headers": [(b"sec-websocket-protocol", ", ".join(offered).encode())] if offered else []}
    assert chosen_subprotocol(scope) == (chosen[0] if isinstance(chosen, list) else chosen)


def test_pages_of_other_sites_open_no_socket_unless_they_may(tmp_path: Path, open_app: Guarded) -> None:
    assert visit(open_app, origin=open_app.url) == "local"
    assert turned_away(open_app, origin="https://elsewhere.example") == (403, "foreign_page")
    with guarded(tmp_path / "all", cors_origins=("*",)) as app:
        assert visit(app, origin="https://elsewhere.example") == "local"
    with guarded(tmp_path, cors_origins=("https://chat.example",)) as app:
        assert visit(app, origin="https://chat.example") == "local"
        assert visit(app, origin=app.url) == "local"
        assert visit(app) == "local"
        assert turned_away(app, origin="https://elsewhere.example") == (403, "foreign_page")
        assert turned_away(app, origin="null") == (403, "foreign_page")
