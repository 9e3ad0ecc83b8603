"""`/metrics`, as Prometheus reads it: every door is counted, every outcome, each server for itself, in few series."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect
from wyoming.client import AsyncTcpClient
from wyoming.tts import Synthesize

from more_server.engine.runner import Runner
from more_server.errors import Busy, EngineFailure, MoreError, Unavailable, VoiceNotFound
from more_server.measures import MOST_PROFILES, OTHER, Growing, Measures
from more_server.report import STATUSES, Reports, status_of
from tests.web.conftest import Server, nano_settings, running

SPEECH = "/v1/audio/speech"
TEXT = "The door is open."
Labels = frozenset[tuple[str, str]]
Values = dict[str, dict[Labels, float]]


def read(text: str) -> Values:
    """Values by sample and labels, as Prometheus' own reader has them; nothing may stand twice."""
    found: Values = {}
    families: list[str] = []
    for family in text_string_to_metric_families(text):
        families.append(family.name)
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    assert len(set(families)) == len(families)
    return found


def scraped(server: Server) -> Values:
    return read(server.http().get("/metrics").text)


def value(values: Values, name: str, **labels: str) -> float:
    return values.get(name, {}).get(frozenset(labels.items()), 0.0)


def until(server: Server, reached: Callable[[Values], bool]) -> Values:
    """What is counted when an answer has ended is there a moment later."""
    last = time.monotonic() + 20
    while not reached(values := scraped(server)):
        assert time.monotonic() < last, values
        time.sleep(0.05)
    return values


def requests(values: Values) -> dict[tuple[str, str, str], float]:
    found = {}
    for labels, count in values.get("xtts_synthesis_total", {}).items():
        by = dict(labels)
        found[by["door"], by["quality_profile"], by["status"]] = count
    return found


@pytest.fixture(scope="module")
def wyoming() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, wyoming: int) -> Iterator[Server]:
    plugins: dict[str, dict[str, Any]] = {name: {"enabled": True} for name in ("more_marytts", "more_xtts_api")}
    plugins["more_wyoming"] = {"host": "127.0.0.1", "port": wyoming}
    settings = nano_settings(tmp_path_factory.mktemp("data"))
    with running(msgspec.structs.replace(settings, plugins=plugins)) as made:
        yield made


async def said_over_wyoming(port: int) -> None:
    async with AsyncTcpClient("127.0.0.1", port, 5, 20) as client:
        await client.write_event(Synthesize(TEXT).event())
        while (event := await client.read_event()) is not None and event.type != "audio-stop":
            pass


def said_over_websocket(server: Server) -> None:
    with connect(f"ws{server.url.removeprefix('http')}{SPEECH}/stream") as connection:
        for message in ({"type": "input.text", "text": TEXT}, {"type": "input.done"}, {"type": "session.close"}):
            connection.send(json.dumps(message))
        for _ in connection:
            pass


def test_every_door_is_counted(server: Server, wyoming: int) -> None:
    http = server.http()
    assert http.post(SPEECH, json={"input": TEXT, "quality": "fast"}).status_code == 200
    assert http.post(SPEECH, json={"input": TEXT, "voice": "nobody", "quality": "fast"}).status_code == 404
    assert http.post(SPEECH, json={"input": TEXT, "quality": "no-such-one"}).status_code == 400
    said_over_websocket(server)
    asyncio.run(said_over_wyoming(wyoming))
    assert http.post("/process", content=f"INPUT_TEXT={TEXT}&AUDIO=WAVE_FILE".encode()).status_code == 200
    asked = {"text": TEXT, "speaker_wav": "linden", "language": "en"}
    assert http.post("/tts_to_audio/", json=asked).status_code == 200
    expected = {("http", "fast", "ok"): 1, ("http", "", "refused"): 2}
    expected |= {(door, "balanced", "ok"): 1 for door in ("websocket", "wyoming", "marytts", "xtts_api")}
    values = until(server, lambda values: sum(requests(values).values()) >= sum(expected.values()))
    assert requests(values) == expected
    for door in ("http", "websocket", "wyoming", "marytts", "xtts_api"):
        by = {"door": door, "quality_profile": "fast" if door == "http" else "balanced"}
        for name in ("xtts_synthesis_duration_seconds", "xtts_real_time_factor"):
            assert value(values, f"{name}_count", **by) == 1, (door, name)
        # These are made whole before any of it is heard, so their first audio is nothing that anybody waits for.
        heard = door not in ("marytts", "xtts_api")
        assert value(values, "xtts_first_audio_seconds_count", **by) == heard, door
        assert value(values, "xtts_audio_seconds_total", door=door) > 0.3
    steps = values["xtts_engine_steps_total"]
    rows = sum(int(dict(labels)["rows"]) * count for labels, count in steps.items())
    assert value(values, "xtts_engine_rows_total") == rows > 5
    assert value(values, "more_http_requests_total", method="POST", route=SPEECH, status="404") == 1
    assert value(values, "more_http_requests_total", method="GET", route=f"{SPEECH}/stream", status="101") == 1
    named = ("process_resident_memory_bytes", "process_open_fds", "more_start_time_seconds", "xtts_ready")
    assert [name for name in named if not value(values, name)] == []
    assert value(values, "xtts_model_info", model="nano", device="cpu", precision="fp32") == 1


def test_addresses_make_no_series(server: Server) -> None:
    before = len(scraped(server)["more_http_requests_total"])
    for number in range(20):
        server.http().request("BREW", f"/nowhere/{number}?voice={number}")
        server.http().post(SPEECH, json={"input": TEXT, "voice": f"nobody-{number}", "quality": f"none-{number}"})
    values = until(server, lambda values: requests(values)["http", "", "refused"] >= 20)
    assert len(values["more_http_requests_total"]) <= before + 3
    assert {profile for _, profile, _ in requests(values)} <= {"", "fast", "balanced", "high_quality"}


def test_a_gpu_tells_its_memory(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "xtts_gpu_memory_bytes" not in scraped(server)
    assert server.http().get("/health/detail").json()["gpu"] == {"vram_free_gb": None, "vram_total_gb": None}
    for module in ("metrics", "health"):
        monkeypatch.setattr(f"more_server.web.{module}.gpu_memory", lambda device: (6 * 10**9, 8 * 10**9))
    values = scraped(server)
    assert value(values, "xtts_gpu_memory_bytes", device="cpu", kind="used") == 2e9
    assert value(values, "xtts_gpu_memory_bytes", device="cpu", kind="total") == 8e9
    assert server.http().get("/health/detail").json()["gpu"] == {"vram_free_gb": 6.0, "vram_total_gb": 8.0}


def test_servers_of_one_process_count_for_themselves(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = requests(scraped(server))
    with running(nano_settings(tmp_path)) as other:
        assert requests(scraped(other)) == {}

        def fail(self: Runner, sequences: object) -> object:
            raise RuntimeError("the device is gone")

        monkeypatch.setattr(Runner, "step", fail)
        assert other.http().post(SPEECH, json={"input": TEXT}).status_code == 500
        values = until(other, requests)  # type: ignore[arg-type]
        assert requests(values) == {("http", "balanced", "failed"): 1}
        assert "xtts_synthesis_duration_seconds_count" not in values
    assert requests(scraped(server)) == before


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "ok"),
        (VoiceNotFound("none"), "refused"),
        (Busy("later"), "busy"),
        (Unavailable("later"), "unavailable"),
        (EngineFailure("broken"), "failed"),
        (ZeroDivisionError(), "failed"),
        (asyncio.CancelledError(), "unfinished"),
        (GeneratorExit(), "unfinished"),
    ],
)
def test_what_becomes_of_a_request_has_few_names(error: BaseException | None, status: str) -> None:
    reports = Reports()
    reports.begin("id", "http").end(error)
    assert requests(read(reports.measures.text().decode())) == {("http", "", status): 1}


def test_every_error_has_a_status() -> None:
    kinds = [MoreError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    found = {status_of(kind.status) for kind in kinds}
    assert found == set(STATUSES) - {"ok", "unfinished"}


def test_what_plugins_call_things_is_bounded() -> None:
    measures = Measures()
    for number in range(500):
        measures.ended(f"door-{number}", f"profile-{number}", "ok", 1.0, 1.0, 0.5)
    found = requests(read(measures.text().decode()))
    assert sum(found.values()) == 500
    assert len(found) <= MOST_PROFILES + 1
    assert any(door == OTHER and profile == OTHER for door, profile, _ in found)


def test_steps_only_grow_although_models_come_and_go() -> None:
    growing = Growing()
    assert growing.grown({"a": {1: 10}}) == {1: 10}
    assert growing.grown({"a": {1: 12, 4: 1}, "b": {1: 5}}) == {1: 17, 4: 1}
    assert growing.grown({"b": {1: 6}}) == {1: 18, 4: 1}  # a was unloaded
    assert growing.grown({"b": {1: 2}}) == {1: 20, 4: 1}  # b has rested, and began anew
    assert growing.grown({"b": {1: 2}, "a": {2: 3}}) == {1: 20, 2: 3, 4: 1}
