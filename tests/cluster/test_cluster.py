"""Two nodes and two replicas: spread, killed, drained, and what they share. The tests build on each other, in order."""

import json
import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from more_server.cluster.node import token_file
from tests.cluster.network import loopback_alone
from tests.cluster.running import BASE_URL, FIRST, PORT, SECOND, SECONDS, Cluster, Stream, job_of, on_both, speak
from tests.jobs.postgres import make_database, running
from tests.web.voicedesk import TONE

pytest.importorskip("ray", reason="pip install 'more-server[cluster]', which the extra dev brings")
pytestmark = pytest.mark.cluster

SOCKET = f"ws://127.0.0.1:{PORT}/v1/audio/speech/stream"
CHARACTERS = 5000
"""That a text may have, by the file of settings in the folder of each node."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes with one replica each."""
    try:
        with loopback_alone(), running() as postgres:
            made = Cluster(tmp_path_factory.mktemp("cluster"), make_database(postgres, "cluster"))
            try:
                for host in (FIRST, SECOND):
                    made.up(host, f"[limits]\ntext_characters = {CHARACTERS}\n")
                began = time.monotonic()
                made.run("deploy", "--least", "2", "--cpus", "1", "--drain", "300")
                made.seconds["deploy"] = time.monotonic() - began
                yield made
            finally:
                made.stop()
            print(made.seconds)
    except PermissionError as error:
        pytest.skip(f"a network of its own cannot be made here ({error}): run it as root")


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    """WebSockets that are closed in the end."""
    with ExitStack() as stack:
        yield stack


def test_requests_are_spread_over_both_nodes(cluster: Cluster):
    replicas = cluster.replicas()
    assert {one.node_ip for one in replicas.values()} == {FIRST, SECOND}
    answers = [speak() for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1  # the same seed, wherever it is spoken
    assert {answer.headers["x-replica"] for answer in answers} == set(replicas)
    told = cluster.run("status")
    assert all(name in told for name in replicas)


def test_only_who_has_the_token_may_ask_ray(cluster: Cluster):
    path = token_file(cluster.settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert httpx.get(f"http://{FIRST}:8265/api/serve/applications/").status_code == 401


def test_no_usage_is_told(cluster: Cluster):
    log = cluster.settings.data_dir / "cluster" / f"node-{FIRST}.log"
    assert "Usage stats collection is disabled." in log.read_text()


def test_it_answers_as_a_single_server_does(cluster: Cluster):
    refused = speak(input="a" * (CHARACTERS + 1))  # by the settings in the node's own folder
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input"
    assert refused.headers.get_list("x-request-id") == [refused.headers["x-request-id"]]
    mine = httpx.get(f"{BASE_URL}/health/ready", headers={"x-request-id": "mine"})
    assert (mine.status_code, mine.headers.get_list("x-request-id")) == (200, ["mine"])
    assert httpx.head(f"{BASE_URL}/health").content == b""
    assert httpx.get(f"{BASE_URL}/nowhere").json()["error"]["code"] == "not_found"
    rows = {row["name"]: row for row in httpx.get(f"{BASE_URL}/v1/admin/plugins").json()["data"]}
    assert rows["more_wyoming"]["error"] is None  # its port is nobody's here


def test_audio_comes_as_it_is_made(cluster: Cluster):
    with httpx.stream(
        "POST", f"{BASE_URL}/v1/audio/speech", json={"input": "One two three. " * 40, "response_format": "pcm"}
    ) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        metrics = [httpx.get(f"{BASE_URL}/metrics").text for _ in range(6)]  # of either replica
        assert any(re.search(r'\nxtts_speaking\{worker="\w+"\} 1\.0\n', one) for one in metrics), metrics[0]
        assert sum(map(len, pieces)) > 0


def test_a_websocket_stays_on_its_replica(cluster: Cluster, sockets: ExitStack):
    opened = [sockets.enter_context(connect(SOCKET)) for _ in range(4)]
    assert {named(socket) for socket in opened} <= set(cluster.replicas())
    assert all(said(socket, "Good morning.") for _ in range(2) for socket in opened)


def named(socket: ClientConnection) -> str:
    """Whose socket it is."""
    assert socket.response
    return str(socket.response.headers["x-replica"])


def said(socket: ClientConnection, text: str) -> int:
    """Bytes of audio of a text that is sent in two pieces."""
    socket.send(json.dumps({"type": "session.config", "voice": "linden", "response_format": "pcm"}))
    for piece in (text, " How are you?"):
        socket.send(json.dumps({"type": "input.text", "text": piece}))
    socket.send(json.dumps({"type": "input.done"}))
    heard = 0
    while True:
        message = socket.recv(SECONDS)
        if isinstance(message, bytes):
            heard += len(message)
        elif (event := json.loads(message))["type"] == "session.done":
            return heard
        else:
            assert event["type"] != "error", event


def test_a_voice_of_one_node_speaks_on_the_other(cluster: Cluster):
    files = {"audio_sample": ("tone.wav", TONE, "audio/wav")}
    made = httpx.post(f"{BASE_URL}/v1/admin/voices", data={"name": "tone"}, files=files, timeout=SECONDS)
    assert made.status_code == 200, made.text
    voice, replica = made.json()["id"], made.headers["x-replica"]
    spoken_by: set[str] = set()

    def spoken_by_both() -> bool:
        answer = speak(voice=voice)
        assert answer.status_code == 200 or answer.headers["x-replica"] != replica
        if answer.status_code == 200:
            spoken_by.add(answer.headers["x-replica"])
        return len(spoken_by) == 2

    began = time.monotonic()
    cluster.until(spoken_by_both)
    cluster.seconds["a voice through the other node"] = time.monotonic() - began


def test_a_plugin_of_one_node_is_set_on_the_other(cluster: Cluster):
    path = f"{BASE_URL}/v1/admin/plugins/more_loudness"
    changed = httpx.patch(path, json={"settings": {"target_lufs": -21}}, timeout=SECONDS)
    assert changed.status_code == 200, changed.text
    seen: dict[str, float] = {}

    def seen_by_both() -> bool:
        found = httpx.get(path)
        seen[found.headers["x-replica"]] = found.json()["settings"]["target_lufs"]
        return list(seen.values()) == [-21, -21]

    began = time.monotonic()
    cluster.until(seen_by_both)
    cluster.seconds["a setting through the other node"] = time.monotonic() - began


def test_whoever_is_asked_tells_of_all_replicas(cluster: Cluster):
    names = set(cluster.replicas())
    cluster.until(lambda: {row["worker"] for row in httpx.get(f"{BASE_URL}/health/detail").json()["workers"]} == names)
    told = httpx.get(f"{BASE_URL}/metrics").text
    assert set(re.findall(r'more_worker_up\{worker="(\w+)"\} 1\.0', told)) == names
    assert set(re.findall(r'xtts_ready\{worker="(\w+)"\} 1\.0', told)) == names


def test_a_job_survives_its_worker(cluster: Cluster):
    text = "".join(f"# Chapter {number}\n\nThe bread is warm. The river runs slowly.\n\n" for number in range(30))
    asked = {"kind": "speech", "input": text, "voice": "linden", "response_format": "mp3", "seed": 3}
    job = httpx.post(f"{BASE_URL}/v1/jobs", json=asked).raise_for_status().json()["id"]

    def workers() -> list[int]:
        found = ((pid, line) for pid, log in cluster.logs().items() for line in log.splitlines())
        return [pid for pid, line in found if job_of(line) == job]

    def progress() -> dict:
        found: dict = httpx.get(f"{BASE_URL}/v1/jobs/{job}").raise_for_status().json()
        assert found["status"] in ("queued", "running", "succeeded"), found
        return found

    cluster.until(lambda: (progress()["progress"] or {"done": 0})["done"] > 5)
    (worker,) = workers()
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    cluster.until(lambda: progress()["status"] == "running" and len(workers()) == 2)
    cluster.seconds["job taken over"] = time.monotonic() - began
    assert workers()[0] != workers()[1]
    cluster.until(lambda: progress()["status"] == "succeeded")
    cluster.replaced(worker)


def test_a_killed_replica_takes_its_own_streams_along_and_no_others(cluster: Cluster):
    replicas = cluster.replicas()
    streams = on_both(replicas)
    doomed = next(iter(replicas))
    pid = replicas[doomed].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    began = time.monotonic()
    assert [speak().status_code for _ in range(20)] == [200] * 20
    cluster.replaced(pid)
    cluster.seconds["replacement, under streams"] = time.monotonic() - began
    for one in streams:
        one.ended()
        assert (one.error is not None) == (one.replica == doomed), (one.replica, one.error)
    assert {type(one.error) for one in streams if one.error} == {httpx.RemoteProtocolError}  # never a polite end
    whole = {one.bytes for one in streams if not one.error}
    assert len(whole) == 1
    assert max(one.bytes for one in streams if one.error) < whole.pop()


def test_a_replica_that_leaves_loses_nothing(cluster: Cluster, sockets: ExitStack):
    replicas = cluster.replicas()
    assert len(replicas) == 2
    silent: dict[str, ClientConnection] = {}
    while len(silent) < len(replicas):  # as many connections as it takes: they cost nothing
        socket = sockets.enter_context(connect(SOCKET))
        silent[named(socket)] = socket
    streams = on_both(replicas)
    began = time.monotonic()
    cluster.run("deploy", "--least", "1", "--cpus", "1", "--drain", "300")
    assert [speak().status_code for _ in range(10)] == [200] * 10
    assert [one.ended().error for one in streams] == [None] * len(streams)
    assert len({one.bytes for one in streams}) == 1
    cluster.until(lambda: len(cluster.front.status().replicas) == 1)
    cluster.seconds["drain of a replica with streams"] = time.monotonic() - began
    (left,) = cluster.replicas()
    (gone,) = set(replicas) - {left}
    with pytest.raises(ConnectionClosed) as closed:
        silent[gone].recv(SECONDS)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1012
    assert said(silent[left], "Still here.")


def test_more_requests_than_places_start_a_replica(cluster: Cluster):
    cluster.run("deploy", "--least", "1", "--most", "2", "--slots", "1", "--cpus", "1", "--drain", "300")
    assert len(cluster.replicas()) == 1
    began = time.monotonic()
    streams: list[Stream] = []

    def spoken_by_both() -> bool:
        while sum(one.is_alive() for one in streams) < 3:
            streams.append(Stream())
        return len(cluster.replicas()) == 2

    cluster.until(spoken_by_both)
    cluster.seconds["a second replica for three streams at a time"] = time.monotonic() - began
    assert [one.ended().error for one in streams] == [None] * len(streams)


def test_a_node_that_ends_lets_its_streams_end(cluster: Cluster):
    streams = on_both(cluster.replicas())
    began = time.monotonic()
    assert cluster.end(SECOND) == 0
    cluster.seconds["end of a node with streams"] = time.monotonic() - began
    assert [one.ended().error for one in streams] == [None] * len(streams)
    assert [speak().status_code for _ in range(10)] == [200] * 10
    assert {one.node_ip for one in cluster.replicas().values()} == {FIRST}


def test_down_ends_what_is_spoken_first(cluster: Cluster):
    stream = Stream()
    assert stream.begun.wait(SECONDS)
    cluster.run("down")
    assert stream.ended().error is None
    with pytest.raises(httpx.TransportError):
        speak()
    assert "without the application" in cluster.run("status")


def test_without_a_key_it_is_not_opened_to_other_machines(cluster: Cluster):
    refused = cluster.run("deploy", "--host", "0.0.0.0", "--cpus", "1", status=1)
    assert "there is no key" in refused.splitlines()[-1]
    cluster.run("down")


def test_nothing_is_left_of_a_node_that_has_ended(cluster: Cluster):
    assert cluster.end(FIRST) == 0
    assert "no node answers" in cluster.run("status", status=1)
    assert left_over(cluster.temp_dir) == []


def left_over(folder: Path) -> list[str]:
    """Processes that still know the folder of a cluster."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if bytes(folder) in command:
            found.append(command.decode().replace("\0", " "))
    return found
