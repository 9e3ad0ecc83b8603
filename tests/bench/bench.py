"""What `more-server bench` runs: a real server started for it, measured from outside. Ends in one JSON line."""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

TEN_WORDS = "The train to the city leaves at seven every morning."
BYTES_PER_SECOND = 24_000 * 2


@contextmanager
def server(data_dir: str) -> Iterator[tuple[httpx.Client, float, int]]:
    """A `more-server serve` process: its client, seconds from start to ready, its process id."""
    environment = os.environ | {"MORE_DATA_DIR": data_dir, "MORE_LOG_LEVEL": "error"}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "more_server.cli", "serve", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = time.monotonic() - started
        address = re.search(r"http://[^/]+", line)
        if address is None:
            raise SystemExit(f"the server did not start: {line}")
        with httpx.Client(base_url=address.group(), timeout=120) as client:
            yield client, ready, process.pid
    finally:
        process.terminate()
        process.wait(30)


def speak(client: httpx.Client, text: str, **body: object) -> tuple[float, float, float]:
    """Seconds to the first audio byte, seconds in all, seconds of audio."""
    started, first, size = time.monotonic(), 0.0, 0
    asked = {"input": text, "response_format": "pcm"} | body
    with client.stream("POST", "/v1/audio/speech", json=asked) as response:
        response.raise_for_status()
        for chunk in response.iter_raw():
            first = first or time.monotonic() - started
            size += len(chunk)
    return first, time.monotonic() - started, size / BYTES_PER_SECOND


def resident_megabytes(pid: int, field: str) -> float:
    """`VmRSS` (now) or `VmHWM` (the most so far) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) / 1000  # type: ignore[union-attr]


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(sentences: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as data_dir:
        with server(data_dir):
            pass  # the first start fills the caches of the disk and of the voice's latents
        with server(data_dir) as (client, ready, pid):
            model = client.get("/health/ready").json()["model"]
            speak(client, TEN_WORDS, seed=0)
            runs = [speak(client, TEN_WORDS, seed=seed) for seed in range(sentences)]
            firsts = [first for first, _, _ in runs]
            factors = [total / audio for _, total, audio in runs]
            long_first, long_total, long_audio = speak(client, " ".join([TEN_WORDS] * 20), seed=1)
            return {
                "model": model,
                "cores": len(os.sched_getaffinity(0)),
                "start_to_ready_s": round(ready, 2),
                "first_audio_ms_p50": round(1000 * statistics.median(firsts), 1),
                "first_audio_ms_p95": round(1000 * percentile(firsts, 0.95), 1),
                "real_time_factor_p50": round(statistics.median(factors), 4),
                "long_text_first_audio_ms": round(1000 * long_first, 1),
                "long_text_real_time_factor": round(long_total / long_audio, 4),
                "resident_mb": round(resident_megabytes(pid, "VmRSS")),
                "resident_peak_mb": round(resident_megabytes(pid, "VmHWM")),
            }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sentences", type=int, default=20)
    result = measure(parser.parse_args().sentences)
    for name, value in result.items():
        print(f"{name.replace('_', ' '):<28}{value:>12}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
