"""The last lines of the log over HTTP: what is new, never a word of the text, and no more than there is room for."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
import structlog

from more_server import logs
from more_server.errors import EngineFailure
from more_server.logs import FIELDS_BYTES, KEPT_LINES, RecentLines
from tests import serving
from tests.web.conftest import Server, nano_settings, running

LOG = "/v1/admin/log"
SECRET = "Crocodile"
TEXT = f"The {SECRET} is asleep, and nobody is going to wake it up."
ROOM = FIELDS_BYTES + 2000
"""Fields with their names, and the last of them."""
Configured = Callable[[str], RecentLines]

logger = structlog.get_logger("somebody")


@pytest.fixture
def configured() -> Iterator[Configured]:
    """Begins a log that writes in a style, and gives what it keeps."""

    def begin(style: str) -> RecentLines:
        recent = RecentLines()
        with redirect_stderr(io.StringIO()):
            logs.configure("info", style, recent)
        return recent

    yield begin
    structlog.reset_defaults()


@pytest.fixture(params=["json", "text"])
def recent(configured: Configured, request: pytest.FixtureRequest) -> RecentLines:
    """What is kept, in whichever style the log is written."""
    return configured(str(request.param))


@pytest.fixture
def server(configured: Configured, tmp_path: Path) -> Iterator[Server]:
    with running(nano_settings(tmp_path), recent_lines=configured("json")) as made:
        yield made


def told(server: Server, **asked: int) -> list[dict[str, Any]]:
    answer = server.http().get(LOG, params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert SECRET not in answer.text
    found = answer.json()
    assert found.keys() == {"object", "data", "started"}
    assert found["object"] == "list"
    lines: list[dict[str, Any]] = found["data"]
    assert all(line.keys() == {"number", "timestamp", "level", "event", "fields"} for line in lines)
    return lines


def fields(recent: RecentLines) -> dict[str, Any]:
    """Of the last line."""
    (line,) = recent.tail(1)
    found: dict[str, Any] = json.loads(bytes(line.fields))
    return found


# -- over HTTP


def test_lines_can_be_polled(server: Server) -> None:
    http = server.http()
    http.post("/v1/audio/speech", json={"input": TEXT, "seed": 5}, headers={"x-request-id": "mine"})
    logging.getLogger("uvicorn.error").warning("seen by %s", "uvicorn")
    lines = told(server)
    assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["event"] == "seen by uvicorn"
    assert (lines[-1]["level"], lines[-1]["fields"]) == ("warning", {})
    assert lines[-1]["timestamp"].endswith("Z")
    (spoken,) = [line["fields"] for line in lines if line["event"] == "speech"]
    assert (spoken["request_id"], spoken["outcome"], spoken["seed"]) == ("mine", "ok", 5)
    assert spoken["text_length"] == len(TEXT)
    assert not spoken.keys() & {"timestamp", "level", "event"}

    last = lines[-1]["number"]
    assert told(server, after=last) == []
    http.post("/v1/audio/speech", json={"input": TEXT, "voice": "nobody"})
    (new,) = told(server, after=last)
    assert (new["number"], new["fields"]["outcome"]) == (last + 1, "voice_not_found")
    assert told(server, limit=1) == told(server, limit=1, after=last) == [new]
    assert told(server, after=10**30) == []


@pytest.mark.parametrize(
    ("asked", "param"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("after=-1", "after"), ("after=x", "after")],
)
def test_what_cannot_be_asked_for(server: Server, asked: str, param: str) -> None:
    answer = server.http().get(f"{LOG}?{asked}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_lines_of_a_served_server(tmp_path: Path) -> None:
    """By the command, which makes the log and the application one after the other."""
    server = serving.Server(tmp_path / "data", LOG_LEVEL="info")
    try:
        server.speak(input=TEXT).raise_for_status()
        lines = server.http.get(LOG).json()["data"]
    finally:
        server.stop()
    assert "speech" in [line["event"] for line in lines]
    written = [json.loads(line) for line in server.log().splitlines()]
    for line in lines:
        assert {**line.pop("fields"), **line} in [{**one, "number": line["number"]} for one in written]


# -- what is kept


def test_failures_are_kept_without_local_variables(recent: RecentLines) -> None:
    def fail(text: str) -> None:
        raise RuntimeError("the device is gone")

    try:
        fail(TEXT)
    except RuntimeError as error:
        logger.exception("of structlog")
        logging.getLogger("dbos").error("of the standard library", exc_info=error)
    logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=EngineFailure("told elsewhere"))
    lines = recent.tail(9)
    assert [line.event for line in lines] == ["of structlog", "of the standard library"]
    for line in lines:
        assert SECRET.encode() not in bytes(line.fields)
        (failure,) = json.loads(bytes(line.fields))["exception"]
        assert (failure["exc_type"], failure["exc_value"]) == ("RuntimeError", "the device is gone")
        assert [frame["name"] for frame in failure["frames"]][-1] == "fail"


def test_the_level_is_the_logs_own(recent: RecentLines) -> None:
    logger.debug("unheard")
    logging.getLogger("somebody").debug("unheard")
    logger.info("heard")
    assert [(line.number, line.event) for line in recent.tail(9)] == [(1, "heard")]


def test_what_json_does_not_know(configured: Configured) -> None:
    """Nor does the log in that style, so that only its text has such lines."""
    recent = configured("text")
    circle: list[Any] = []
    circle.append(circle)
    logger.info("odd", path=Path("/x"), nan=float("nan"), circle=circle, half="\ud800", keys={(1, 2): 3}, big=2**70)
    assert fields(recent) == {
        "path": repr(Path("/x")),
        "nan": "nan",
        "circle": "[[...]]",
        "half": "\ud800",
        "keys": "{(1, 2): 3}",
        "big": 2**70,
    }
    logger.info("half \ud800")
    assert recent.tail(1)[0].event == "half \\ud800"


@pytest.mark.parametrize(
    "huge", ["x" * 10**6, '"\\' * 10**6, "\N{CROCODILE}" * 10**6, [[]] * 10**6], ids=["plain", "quoted", "wide", "list"]
)
def test_a_huge_line_is_cut_and_says_so(recent: RecentLines, huge: Any) -> None:
    logger.info("e" * 10**6, small=1, huge=huge, after=2)
    (line,) = recent.tail(1)
    assert line.event.endswith("… (1000000 characters, cut)")
    assert len(line.event) < 3000
    assert len(bytes(line.fields)) < ROOM
    found = fields(recent)
    assert (found["small"], found["after"]) == (1, 2)
    assert len(found["huge"]) > 600
    assert found["huge"].endswith(" characters, cut)")


def test_many_fields_are_cut_and_counted(recent: RecentLines) -> None:
    logger.info("many", **{f"{number}-{'n' * 10**4}": "v" * 500 for number in range(100)})
    assert len(bytes(recent.tail(1)[0].fields)) < ROOM
    found = fields(recent)
    assert 20 < len(found) < 40
    assert found.pop("…") == f"{100 - len(found)} more fields"


def test_what_cannot_be_kept_is_written() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    recent = RecentLines()
    entry = {"event": "mute", "one": Mute()}
    assert recent.keep(None, "info", entry) is entry
    assert recent.tail(1) == []


def test_threads_are_counted_one_after_the_other() -> None:
    recent = RecentLines()
    begin = threading.Barrier(8)

    def tell() -> None:
        begin.wait()
        for _ in range(500):
            recent.keep(None, "info", {"event": "told", "level": "info", "timestamp": "now"})
            numbers = [line.number for line in recent.tail(20)]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        done.append(True)

    done: list[bool] = []
    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 8
    assert [line.number for line in recent.tail(5000)] == list(range(4000 - KEPT_LINES + 1, 4001))
    assert [line.number for line in recent.tail(5, after=3990)] == list(range(3996, 4001))
    assert [line.number for line in recent.tail(50, after=3998)] == [3999, 4000]
