"""How much a key may do, how many wrong ones an address may show, and that whatever ends makes room."""

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from more_server.errors import Busy, Unavailable
from more_server.keys import KeyRing
from more_server.tables import LimitSettings
from more_server.web.access import ADDRESSES, Limits, Room, Window, WrongKeys
from tests.web.guarded import Guarded, guarded, refused, streaming


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Guarded]:
    with guarded(tmp_path) as made:
        yield made


def test_many_wrong_keys(app: Guarded) -> None:
    secret = app.key("admin")
    tries = [app.get("/speech", f"more_00000000_{number:043}") for number in range(12)]
    assert [answer.status_code for answer in tries] == [401] * 10 + [429] * 2
    assert "wrong keys" in refused(tries[-1], 429, "rate_limit_exceeded")
    assert 1 <= int(tries[-1].headers["retry-after"]) <= 60
    assert app.status("/speech", secret) == 200
    assert app.status("/speech") == 401
    assert app.status("/discovery", "wrong") == 200


def test_wrong_keys_are_counted_in_bounded_memory() -> None:
    wrong = WrongKeys()
    for _ in range(10):
        wrong.count("192.0.2.1")
    with pytest.raises(Busy):
        wrong.count("192.0.2.1")
    for number in range(2 * ADDRESSES):
        wrong.count(f"2001:db8::{number:x}")
    assert len(wrong._windows) == ADDRESSES


def test_a_window_lets_so_many_through_in_any_minute() -> None:
    window = Window(2)
    assert [window.take(now) for now in (0.0, 10.0, 10.0, 59.5)] == [0, 0, 50, 0.5]
    assert [window.take(now) for now in (60.0, 60.0, 70.0)] == [0, 10, 0]
    assert not window.is_over(129.9)
    assert window.is_over(130.0)


def test_the_rate_of_a_key(app: Guarded) -> None:
    app.key("admin")
    slow, other = app.key("speech", rate_per_minute=3), app.key("speech", rate_per_minute=3)
    assert [app.status("/speech", slow) for _ in range(4)] == [200, 200, 200, 429]
    answer = app.get("/unnamed", slow)
    assert "3 requests a minute" in refused(answer, 429, "rate_limit_exceeded")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert 0 < int(answer.headers["retry-after-ms"]) <= 60_000
    assert app.status("/discovery", slow) == app.status("/speech", other) == 200


def test_limits_forget_keys_that_are_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    app, limits, now = Guarded(tmp_path), Limits(), [0.0]
    monkeypatch.setattr("more_server.web.access.time.monotonic", lambda: now[0])
    for _ in range(20):
        app.key("admin", rate_per_minute=1)
    for key in app.keys.all():
        limits.enter(key)
        limits.leave(key)
        now[0] += 30
    assert len(limits._windows) <= 3
    assert limits._running == {}
    app.http.close()


def test_requests_in_all_and_of_an_address() -> None:
    room, limits = Room(), LimitSettings(requests=3, address_requests=2)
    for _ in range(3):
        room.enter("192.0.2.1", limits)
        room.enter("192.0.2.1", limits)
        with pytest.raises(Busy, match=r"limits\.address_requests"):
            room.enter("192.0.2.1", limits)
        room.enter(None, limits)
        for address in (None, "192.0.2.2"):
            with pytest.raises(Unavailable, match=r"limits\.requests"):
                room.enter(address, limits)
        room.leave(None)
        room.leave("192.0.2.1")
        room.leave("192.0.2.1")
    assert (room._requests, room._addresses) == (0, {})


def test_requests_at_a_time(app: Guarded) -> None:
    app.key("admin")
    secret = app.key("speech", concurrency=2)
    with streaming(app, secret) as first, streaming(app, secret):
        answer = app.get("/speech", secret)
        assert "2 requests at a time" in refused(answer, 429, "rate_limit_exceeded")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        app.gate.set()
        assert b"." in first.read()
    assert app.status("/speech", secret) == 200


def test_a_client_that_leaves_makes_room(app: Guarded) -> None:
    app.key("admin")
    secret = app.key("speech", concurrency=1)
    for _ in range(3):
        with streaming(app, secret):
            assert app.status("/speech", secret) == 429
        until = time.monotonic() + 5
        while app.status("/speech", secret) != 200:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_failures_make_room(app: Guarded) -> None:
    app.key("admin")
    secret = app.key("speech", concurrency=1)
    for _ in range(3):
        refused(app.get("/failing", secret), 500, "server_error")
        with pytest.raises(httpx.RemoteProtocolError):
            app.get("/breaking", secret)
        assert app.status("/nowhere", secret) == 404
    assert app.status("/speech", secret) == 200


def test_a_key_that_is_revoked_in_the_middle_of_a_stream(app: Guarded) -> None:
    app.key("admin")
    secret = app.key("speech", concurrency=5)
    with streaming(app, secret) as response:
        pieces = response.iter_raw()
        assert next(pieces)
        KeyRing(app.settings).revoke(app.keys.all()[1].id)
        assert app.status("/speech", secret) == 401
        assert next(pieces)
        app.gate.set()
        assert set(b"".join(pieces)) <= {ord(".")}
