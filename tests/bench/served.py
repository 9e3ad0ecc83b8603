"""A real server started for it, measured from outside."""

import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

from tests.bench import doors
from tests.bench.machine import resident_megabytes
from tests.bench.workload import milliseconds, percentile

TEN_WORDS = "The train to the city leaves at seven every morning."
BYTES_PER_SECOND = 24_000 * 2
REQUESTS = 20
FEWEST_REQUESTS, ENOUGH_SECONDS = 5, 30.0
"""A slow model is asked less often."""


def measure(data_dir: Path, model: str, device: str, precision: str) -> dict[str, object]:
    """Start, first audio and real-time factor of a server with this model, found in the data directory or bundled."""
    asked = environment(data_dir, model, device, precision) | {
        "MORE_PLUGINS__MORE_WYOMING__PORT": str(port := free_port())
    }
    print("· server: start, short texts, a long one, its front doors", file=sys.stderr, flush=True)
    with server(asked):
        pass  # the first start fills the caches of the disk and of the voice's latents
    with server(asked) as (client, ready, pid):
        _speak(client, TEN_WORDS, seed=0)
        runs = list(_short_texts(client))
        firsts = [first for first, _, _ in runs]
        long_first, long_total, long_audio = _speak(client, " ".join([TEN_WORDS] * 20), seed=1)
        memory = {kind: resident_megabytes(pid, kind) for kind in ("VmRSS", "VmHWM")}
        return {
            "start_to_ready_s": round(ready, 2),
            "requests": len(runs),
            "first_audio_ms_p50": milliseconds(statistics.median(firsts)),
            "first_audio_ms_p95": milliseconds(percentile(firsts, 0.95)),
            "real_time_factor_p50": round(statistics.median(total / audio for _, total, audio in runs), 4),
            "long_text_first_audio_ms": milliseconds(long_first),
            "long_text_real_time_factor": round(long_total / long_audio, 4),
            "resident_mb": memory["VmRSS"],
            "resident_peak_mb": memory["VmHWM"],
            "doors": doors.measure(str(client.base_url), port),
        }


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def environment(data_dir: Path, model: str, device: str, precision: str) -> dict[str, str]:
    """Of a server that is measured."""
    return os.environ | {
        "MORE_DATA_DIR": str(data_dir),
        "MORE_MODEL": model,
        "MORE_ENGINE__DEVICE": device,
        "MORE_ENGINE__PRECISION": precision,
        "MORE_LOG_LEVEL": "error",
        # Else other voices are worked out while the first requests are measured.
        "MORE_PREPARE_VOICES": "false",
    }


@contextmanager
def server(environment: dict[str, str], errors: IO[bytes] | None = None) -> Iterator[tuple[httpx.Client, float, int]]:
    """A `more-server serve` process: its client, seconds from start to ready, its process id.

    errors: where its log goes; without it, to ours.
    """
    command = [sys.executable, "-m", "more_server.cli", "serve", "--port", "0"]
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = time.perf_counter() - started
        address = re.search(r"http://[^/]+", line)
        if address is None:
            raise RuntimeError(f"the server did not start: {line}")
        with httpx.Client(base_url=address.group(), timeout=600) as client:
            yield client, ready, process.pid
    finally:
        process.terminate()
        process.wait(30)


def _short_texts(client: httpx.Client) -> Iterator[tuple[float, float, float]]:
    started = time.perf_counter()
    for seed in range(REQUESTS):
        if seed >= FEWEST_REQUESTS and time.perf_counter() - started > ENOUGH_SECONDS:
            break
        yield _speak(client, TEN_WORDS, seed=seed)


def _speak(client: httpx.Client, text: str, seed: int) -> tuple[float, float, float]:
    """Seconds to the first audio byte, seconds in all, seconds of audio."""
    started, first, size = time.perf_counter(), 0.0, 0
    asked = {"input": text, "response_format": "pcm", "seed": seed}
    with client.stream("POST", "/v1/audio/speech", json=asked) as response:
        response.raise_for_status()
        for chunk in response.iter_raw():
            first = first or time.perf_counter() - started
            size += len(chunk)
    return first, time.perf_counter() - started, size / BYTES_PER_SECOND
