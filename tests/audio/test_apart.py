"""Uploads decoded in a process of their own, which is killed, starved, and told lies about."""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from more_server.audio import apart
from more_server.audio.encode import encode_file
from more_server.audio.read import decode
from more_server.errors import BadInput, MoreError, TooLarge
from more_server.speech import Audio
from more_server.voices import ADDED_AT_A_TIME
from tests.web.conftest import Server, nano_settings, running

from .signals import RATE, chirp, encode, sine
from .test_read import BAD, CONTAINERS

LIMITS = {"max_seconds": 20.0, "max_channels": 8}


@pytest.mark.parametrize("name", ["mp4 alac", "webm", "flac 24", "wav double"])
def test_what_is_decoded_apart_is_what_is_decoded_here(name: str) -> None:
    container, codec, sample_format, rate = CONTAINERS[name]
    data = encode(sine(440, 1.0, rate)[None], rate, container, codec, sample_format)
    there, here = apart.decode(data, **LIMITS), decode(data, **LIMITS)
    assert there.sample_rate == here.sample_rate == rate
    assert np.array_equal(there.samples, here.samples)


@pytest.mark.parametrize("name", ["video", "codec", "garbage"])
def test_what_is_refused_here_is_refused_apart(name: str) -> None:
    with pytest.raises(BadInput, match=BAD[name][1]) as refused:
        apart.decode(BAD[name][0], **LIMITS, param="recording")
    assert (refused.value.param, refused.value.status) == ("recording", 400)
    with pytest.raises(TooLarge, match=r"longer than the 0\.5 s allowed"):
        apart.decode(encode_file(chirp(RATE), RATE, "flac"), max_seconds=0.5, max_channels=1)


def test_the_process_has_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORE_JOBS__WEBHOOK_SECRET", "whsec_secret")
    with apart.started(20, 1) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.read(len(apart.READY)) == apart.READY
        place = Path("/proc") / str(process.pid)
        limits = dict(re.findall(r"^Max (.+?) {2,}(\S+ +\S+)", (place / "limits").read_text(), re.MULTILINE))
        bounds = {name: {int(value) for value in limits[name].split()} for name in limits if name in BOUNDS}
        environment = (place / "environ").read_bytes()
        process.stdin.close()
    assert bounds == {name: {value} for name, value in BOUNDS.items()}
    assert environment == b"OPENBLAS_NUM_THREADS=1\0"


BOUNDS = {
    "address space": apart.memory_bytes(20),
    "cpu time": apart.cpu_seconds(20),
    "file size": 0,
    "core file size": 0,
    "open files": 0,
    "processes": 0,
}


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """Two minutes of silence at 192 kHz, in 28 kB: it takes a second to decode."""
    second = encode(np.zeros((2, 192_000), np.float32), 192_000, "flac", "flac", "s16")
    head, frames = _split(second)
    return head + frames * 118


def _split(flac: bytes) -> tuple[bytes, bytes]:
    at, last = 4, False
    while not last:
        last, at = bool(flac[at] & 128), at + 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    return flac[:at], flac[at:]


@contextmanager
def killing(number: int) -> Iterator[list[int]]:
    """Kill the first process that decodes an upload; the block is given its id, once it is."""
    found: list[int] = []

    def kill() -> None:
        end = time.monotonic() + 60
        while not found and time.monotonic() < end:
            for pid in _decoding():
                # Past its start, where it waits for bytes or works on them.
                if _limited(pid):
                    os.kill(pid, number)
                    found.append(pid)
                    return
            time.sleep(0.005)

    thread = threading.Thread(target=kill)
    thread.start()
    yield found
    thread.join()


def _decoding() -> list[int]:
    """Children of this process that decode."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"more_server.audio.apart" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:  # it has ended
            continue
    return found


def _limited(pid: int) -> bool:
    try:
        return bool(re.search(r"^Max open files +0 ", (Path("/proc") / str(pid) / "limits").read_text(), re.MULTILINE))
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(nano_settings(tmp_path_factory.mktemp("data"))) as made:
        yield made


def uploaded(server: Server, content: bytes, name: str) -> httpx.Response:
    with httpx.Client(base_url=server.url, timeout=300) as client:
        files = {"audio_sample": ("clip.flac", content)}
        return client.post("/v1/audio/voices", data={"name": name, "consent": "she said yes"}, files=files)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL], ids=["a crash", "out of memory"])
def test_a_crash_is_the_end_of_the_upload_alone(server: Server, bomb: bytes, number: int) -> None:
    with killing(number) as killed:
        answer = uploaded(server, bomb, "ann")
    assert killed
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "audio_sample"
    assert "cannot be decoded within the memory and the time" in answer.json()["error"]["message"]
    assert uploaded(server, encode_file(chirp(2 * RATE), RATE, "flac"), "ann").status_code == 200
    assert server.http().delete("/v1/audio/voices/ann").is_success
    assert not _decoding()


def test_a_process_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch, bomb: bytes) -> None:
    monkeypatch.setattr(apart, "wall_seconds", lambda _: 0.02)  # it takes longer to start
    with pytest.raises(MoreError):
        apart.decode(bomb, max_seconds=120, max_channels=8)
    assert not _decoding()


def test_where_no_process_can_be_had_the_file_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("/nowhere/python", "/bin/false"):
        monkeypatch.setattr("sys.executable", executable)
        with pytest.raises(MoreError, match="the server's log says why") as refused:
            apart.decode(encode_file(chirp(RATE), RATE, "flac"), **LIMITS)
        assert refused.value.status == 500


@pytest.mark.parametrize(
    ("head", "samples"),
    [
        (apart.Head(rate=24_000, count=10), b"\0" * 36),
        (apart.Head(rate=24_000, count=10**12), b"\0" * 40),
        (apart.Head(rate=1, count=10), b"\0" * 40),
        (apart.Head(rate=24_000, count=1), np.float32("nan").tobytes()),
        (apart.Head(rate=24_000, count=1), np.float32("inf").tobytes()),
        (apart.Head(), b""),
    ],
)
def test_a_process_that_was_taken_over_is_not_believed(head: apart.Head, samples: bytes) -> None:
    with pytest.raises(BadInput, match="what came of it is no audio"):
        apart._audio(head, samples, 20.0, "audio_sample")


def test_uploads_that_wait_keep_nobody_from_being_spoken_to(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than asyncio has threads: those whose turn it is not hold none."""
    goes_on, at_work, many = threading.Event(), [], (os.cpu_count() or 1) + 6

    def held_up(data: bytes, **limits: Any) -> Audio:
        at_work.append(len(data))
        goes_on.wait(100)
        return decode(data, **limits)

    monkeypatch.setattr(apart, "decode", held_up)
    clip = encode_file(chirp(2 * RATE), RATE, "flac")
    with ThreadPoolExecutor(many) as pool:
        answers = [pool.submit(uploaded, server, clip, f"ann-{number}") for number in range(many)]
        try:
            end = time.monotonic() + 60
            while len(at_work) < ADDED_AT_A_TIME and time.monotonic() < end:
                time.sleep(0.01)
            spoken = server.http().post("/v1/audio/speech", json={"input": "Good morning.", "voice": "linden"})
            assert spoken.status_code == 200
            assert len(at_work) == ADDED_AT_A_TIME
        finally:
            goes_on.set()
    assert [answer.result().status_code for answer in answers] == [200] * many
    for number in range(many):
        server.http().delete(f"/v1/audio/voices/ann-{number}")
