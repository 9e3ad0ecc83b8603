"""`more-server serve --workers 2`: two engines behind one port, as one server to whoever asks."""

import json
import os
import shutil
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from more_server.settings import bundled_dir
from tests.serving import Server

SENTENCE = "The bread is still warm, and the kitchen smells of coffee. "
LONG = SENTENCE * 4
VERY_LONG = SENTENCE * 30
LIMIT = "[limits]\ntext_characters = {}\n"
SPEECH = "/v1/audio/speech"
BUSY = {"ENGINE__AHEAD_SECONDS": "1", "LOG_FORMAT": "json", "SERVER__SHUTDOWN_SECONDS": "60"}
"""Whoever takes nothing keeps an engine at work."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    last = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.02)


def asked(text: str = SENTENCE, **more: Any) -> dict[str, Any]:
    return {"input": text, "voice": "linden", "response_format": "pcm", "seed": 5, "quality": "fast"} | more


def lines(server: Server, event: str = "speech") -> list[dict[str, Any]]:
    told = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    return [line for line in told if line["event"] == event]


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sorted(int(child) for task in tasks for child in (task / "children").read_text("ascii").split())


class Workers(Server):
    """Two of them, and connections to each."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        super().__init__(data_dir, "--workers", "2", **BUSY | settings)
        self._clients: list[httpx.Client] = []

    def fresh(self) -> httpx.Client:
        """A connection of its own."""
        self._clients.append(httpx.Client(base_url=self.http.base_url, timeout=60))
        return self._clients[-1]

    def each(self) -> dict[int, httpx.Client]:
        """A connection to each worker: one that is open counts, so that the next goes to the other."""
        found: dict[int, httpx.Client] = {}
        last = time.monotonic() + 60
        while len(found) < 2:
            assert time.monotonic() < last
            client = self.fresh()
            found.setdefault(client.get("/health/detail").json()["worker"], client)
        return found

    def detail(self) -> dict[str, Any]:
        with httpx.Client(base_url=self.http.base_url, timeout=60) as client:
            found: dict[str, Any] = client.get("/health/detail").json()
        return found

    def answering(self) -> int:
        return sum(one["answers"] and one["health"]["status"] == "ok" for one in self.detail()["workers"])

    def speaking(self) -> list[int]:
        """How many each speaks to."""
        return [one["health"]["queue"]["speaking"] for one in self.detail()["workers"] if one["answers"]]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def stop(self) -> None:
        self.close()
        super().stop()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "more.toml"
    path.write_text(LIMIT.format(5000), "utf-8")
    return path


@pytest.fixture(scope="module")
def wyoming() -> int:
    return free_port()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, config: Path, wyoming: int) -> Iterator[Workers]:
    """One for all tests that leave it as they found it."""
    settings = {"ENABLED": "true", "PORT": str(wyoming)}
    plugin = {f"PLUGINS__MORE_WYOMING__{name}": value for name, value in settings.items()}
    server = Workers(tmp_path_factory.mktemp("shared") / "data", CONFIG=str(config), **plugin)
    yield server
    server.stop()


@pytest.fixture
def workers(shared: Workers) -> Iterator[Workers]:
    yield shared
    shared.close()
    until(lambda: shared.speaking() == [0, 0])
    shared.close()


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    """One that a test ends or breaks."""
    server = Workers(tmp_path / "data", **getattr(request, "param", {}))
    yield server
    server.stop()


# -- as one server


def test_both_speak_and_the_same(workers: Workers) -> None:
    clients = [workers.fresh() for _ in range(6)]
    before = len(lines(workers))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda client: client.post(SPEECH, json=asked(LONG)), clients))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    until(lambda: len(lines(workers)) == before + 6)
    assert {line["worker"] for line in lines(workers)[before:]} == {0, 1}


def test_the_idle_one_is_asked(workers: Workers) -> None:
    with workers.fresh().stream("POST", SPEECH, json=asked(VERY_LONG)) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        until(lambda: sorted(workers.speaking()) == [0, 1])
        before = len(lines(workers))
        for _ in range(4):
            assert workers.fresh().post(SPEECH, json=asked()).status_code == 200
        until(lambda: len(lines(workers)) == before + 4)
        quick = {line["worker"] for line in lines(workers)[before:]}
        answer.close()
        until(lambda: len(lines(workers)) == before + 5)
    assert quick == {1 - lines(workers)[-1]["worker"]}


def test_a_talk_stays_with_one(workers: Workers) -> None:
    """A WebSocket that is silent between its words, while others come and go."""
    address = str(workers.http.base_url).replace("http", "ws", 1)
    with connect(f"{address}/v1/audio/speech/stream") as talk:
        for word in SENTENCE.split(" "):
            talk.send(json.dumps({"type": "input.text", "text": f"{word} "}))
            assert workers.fresh().get("/health/ready").status_code == 200
        assert workers.fresh().post(SPEECH, json=asked()).status_code == 200
        talk.send(json.dumps({"type": "input.done"}))
        audio, done = 0, False
        while not done:
            message = talk.recv(timeout=60)
            audio += len(message) if isinstance(message, bytes) else 0
            done = not isinstance(message, bytes) and json.loads(message)["type"] == "session.done"
    assert audio > 48_000


def test_metrics_of_both(workers: Workers) -> None:
    each = workers.each()
    for client in each.values():
        assert client.post(SPEECH, json=asked()).status_code == 200
    told = [metrics(client) for client in each.values()]
    spoken = [("xtts_synthesis_total", str(number)) for number in each]
    assert [told[0][one] for one in spoken] == [told[1][one] for one in spoken]
    assert all(told[0][one] >= 1 for one in spoken)
    assert {told[0]["more_worker_up", str(number)] for number in each} == {1.0}
    assert told[0]["xtts_slots", "0"] == told[1]["xtts_slots", "1"] == 8.0


def metrics(client: httpx.Client) -> dict[tuple[str, str], float]:
    """Sums of samples, by name and worker."""
    found: defaultdict[tuple[str, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(client.get("/metrics").raise_for_status().text):
        for sample in family.samples:
            found[sample.name, sample.labels.get("worker", "")] += sample.value
    return found


def test_health_of_both(workers: Workers) -> None:
    for number, client in workers.each().items():
        told = client.get("/health/detail").json()
        assert (told["worker"], told["status"]) == (number, "ok")
        assert [(one["worker"], one["answers"]) for one in told["workers"]] == [(0, True), (1, True)]
        assert {one["health"]["xtts"]["model"] for one in told["workers"]} == {"nano"}


def test_one_log(workers: Workers) -> None:
    each = workers.each()
    ids = {client.post(SPEECH, json=asked()).headers["x-request-id"] for client in each.values()}

    def told(client: httpx.Client) -> list[tuple[int, str]]:
        found = client.get("/v1/admin/log?limit=1000").json()["data"]
        return [(line["number"], str(line["fields"].get("request_id"))) for line in found]

    for client in each.values():
        until(lambda client=client: ids <= {one for _, one in told(client)})  # type: ignore[misc]
    assert told(each[0]) == told(each[1])
    assert [number for number, _ in told(each[0])] == sorted({number for number, _ in told(each[0])})


def test_a_port_is_bound_once(workers: Workers, wyoming: int) -> None:
    for client in workers.each().values():
        row = client.get("/v1/admin/plugins/more_wyoming").json()
        assert (row["state"], row["error"]) == ("active", None)
    with socket.create_connection(("127.0.0.1", wyoming), timeout=10) as connection:
        connection.sendall(b'{"type": "describe"}\n')
        assert b'"info"' in connection.recv(65_536)


# -- what is changed through one


def test_a_change_through_one_is_seen_by_the_other(workers: Workers) -> None:
    one, other = workers.each().values()
    made = one.post("/v1/admin/profiles", json={"name": "slow", "base": "fast", "speed": 0.5})
    assert made.is_success, made.text
    until(lambda: other.post(SPEECH, json=asked(quality="slow")).status_code == 200, 5)
    one.post("/v1/admin/plugins/more_loudness/disable").raise_for_status()
    until(lambda: other.get("/v1/admin/plugins/more_loudness").json()["state"] == "disabled", 5)
    one.post("/v1/admin/plugins/more_loudness/enable").raise_for_status()
    changed = one.patch("/v1/admin/plugins/more_loudness", json={"settings": {"target_lufs": -18}})
    assert changed.is_success, changed.text
    until(lambda: other.get("/v1/admin/plugins/more_loudness").json()["settings"]["target_lufs"] == -18, 5)
    assert other.get("/v1/admin/plugins/more_loudness").json()["state"] == "active"
    one.delete("/v1/admin/profiles/slow").raise_for_status()
    until(lambda: other.post(SPEECH, json=asked(quality="slow")).status_code == 400, 5)


def test_a_voice_made_through_one_speaks_by_the_other(workers: Workers) -> None:
    one, other = workers.each().values()
    clip = one.post(SPEECH, json=asked(LONG, response_format="wav")).content
    form = {"name": "Ann", "consent": "Ann agreed"}
    made = one.post("/v1/audio/voices", data=form, files={"audio_sample": ("ann.wav", clip, "audio/wav")})
    assert made.is_success, made.text
    until(lambda: other.post(SPEECH, json=asked(voice="ann")).status_code == 200, 5)


def test_settings_are_reloaded_by_both(workers: Workers, config: Path) -> None:
    one, other = workers.each().values()
    config.write_text(LIMIT.format(10), "utf-8")
    assert one.post("/v1/admin/reload").json()["waiting"] == []
    assert one.post(SPEECH, json=asked()).status_code == 400
    until(lambda: other.post(SPEECH, json=asked()).status_code == 400, 5)
    config.write_text(LIMIT.format(5000), "utf-8")
    workers.signal(signal.SIGHUP)
    for client in (one, other):
        until(lambda client=client: client.post(SPEECH, json=asked()).status_code == 200, 5)  # type: ignore[misc]


def test_models_are_the_same_in_both(own: Workers, tmp_path: Path) -> None:
    shutil.copytree(bundled_dir() / "models" / "nano", tmp_path / "data" / "models" / "second")
    one, other = own.each().values()

    def loaded(client: httpx.Client) -> dict[str, bool]:
        data = client.get("/v1/admin/models").json()["data"]
        return {item["id"]: item["serving"] for item in data if item["loaded"]}

    one.post("/v1/admin/models/second/load").raise_for_status()
    until(lambda: loaded(other) == {"nano": False, "second": False} | {"nano": True})
    os.kill(children(own.pid)[0], signal.SIGKILL)
    until(lambda: own.answering() == 2)
    own.close()
    one, other = own.each().values()
    until(lambda: loaded(one) == loaded(other) == {"nano": True, "second": False})
    one.post("/v1/admin/models/second/switch").raise_for_status()
    until(lambda: loaded(other) == {"second": True})


# -- lives and deaths


@contextmanager
def two_listeners(own: Workers) -> Iterator[tuple[list[bytes], list[Iterator[bytes]]]]:
    """Each is spoken to by a worker of its own: what they have heard so far, and what gives the rest."""
    with ExitStack() as streams:
        answers = [streams.enter_context(own.fresh().stream("POST", SPEECH, json=asked(LONG))) for _ in range(2)]
        pieces = [answer.iter_raw() for answer in answers]
        heard = [next(one) for one in pieces]
        until(lambda: own.speaking() == [1, 1])
        yield heard, pieces


def test_the_others_go_on_when_one_is_killed(own: Workers) -> None:
    undisturbed = own.fresh().post(SPEECH, json=asked(LONG)).content
    with two_listeners(own) as (heard, pieces):
        os.kill(children(own.pid)[0], signal.SIGKILL)
        for _ in range(5):
            assert own.fresh().post(SPEECH, json=asked()).status_code == 200
        broken = 0
        for number, one in enumerate(pieces):
            try:
                heard[number] += b"".join(one)
            except httpx.TransportError:
                broken += 1
    assert broken == 1
    assert [one for one in heard if one == undisturbed] == [undisturbed]
    assert "more_worker_up" in own.fresh().get("/metrics").text
    until(lambda: own.answering() == 2)
    (told,) = lines(own, "a worker has ended, and is started anew")
    assert told["ended_with"] == "SIGKILL"
    assert len(children(own.pid)) == 2
    assert {client.post(SPEECH, json=asked(LONG)).content for client in own.each().values()} == {undisturbed}


def test_one_that_is_dead_is_told(own: Workers) -> None:
    (number, client), (other, _) = own.each().items()
    os.kill(children(own.pid)[other], signal.SIGKILL)  # they were started in the order of their numbers
    told = client.get("/health/detail").json()["workers"]
    assert {one["worker"]: one["answers"] for one in told} == {number: True, other: False}
    assert metrics(client)["more_worker_up", str(other)] == 0.0
    assert metrics(client)["more_worker_up", str(number)] == 1.0


@pytest.mark.parametrize("own", [{"ENGINE__HUNG_SECONDS": "15"}], indirect=True)
def test_what_a_worker_has_not_taken_is_taken_by_another(own: Workers) -> None:
    """One that stands still is killed for that, with connections on their way to it."""
    stopped = children(own.pid)[0]
    os.kill(stopped, signal.SIGSTOP)
    clients = [own.fresh() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(client.post, SPEECH, json=asked()) for client in clients]
        until(lambda: sum(answer.done() for answer in answers) >= 1)
        assert not all(answer.done() for answer in answers)
        assert not lines(own, "a worker is killed")
        assert [answer.result().status_code for answer in answers] == [200] * 4
    (told,) = lines(own, "a worker is killed")
    assert (told["pid"], "engine.hung_seconds" in told["reason"]) == (stopped, True)


def test_what_is_spoken_ends_before_the_workers(own: Workers) -> None:
    undisturbed = own.fresh().post(SPEECH, json=asked(LONG)).content
    answers: list[httpx.Response] = []

    def refuses() -> bool:
        answers.append(own.fresh().post(SPEECH, json=asked()))
        return answers[-1].status_code == 503  # one worker hears of the end before the other

    with two_listeners(own) as (heard, pieces):
        own.signal(signal.SIGTERM)
        until(lambda: own.fresh().get("/health/ready").status_code == 503)
        until(refuses)
        assert answers[-1].headers["retry-after"] == "5"
        for number, one in enumerate(pieces):
            heard[number] += b"".join(one)
    assert heard == [undisturbed] * 2
    assert own.ended() in (0, -signal.SIGTERM)
    assert '"level": "error"' not in own.log()


def test_workers_end_with_their_parent(own: Workers) -> None:
    pids = children(own.pid)
    os.kill(own.pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() and is_alive(pid) for pid in pids))


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("ascii")
    return False
