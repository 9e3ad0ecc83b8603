"""What `--workers` gives on this machine: `python -m tests.bench.workers --workers 1 2 --streams 1 2 4 8`.

The servers of all counts run side by side and are asked in turn, so that what else the machine does meets all alike.
Figures are pairs: the median and the best of the runs.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from tests.bench.machine import resident_megabytes
from tests.bench.served import BYTES_PER_SECOND, TEN_WORDS, environment, server

FIRST_AUDIO_REQUESTS = 12
TEXT = " ".join([TEN_WORDS] * 3)


def main() -> None:
    asked = argparse.ArgumentParser(description="What several workers give.")
    asked.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    asked.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8])
    asked.add_argument("--repeats", type=int, default=5)
    asked.add_argument("--threads", type=int, default=0, help="of each engine; 0: its share of the cores")
    asked.add_argument("--model", default="nano")
    given = asked.parse_args()
    with ExitStack() as stack:
        clients: dict[int, httpx.Client] = {}
        told: dict[int, dict[str, object]] = {}
        for count in given.workers:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            settings = environment(folder, given.model, "cpu", "auto") | {
                "MORE_PLUGINS__MORE_WYOMING__ENABLED": "false",
                "MORE_SERVER__WORKERS": str(count),
                "MORE_ENGINE__THREADS": str(given.threads),
            }
            client, ready, pid = stack.enter_context(server(settings))
            pids = [pid, *_children(pid)]
            clients[count] = client
            told[count] = {"workers": count, "start_to_ready_s": round(ready, 2)}
            told[count]["resident_mb"] = [resident_megabytes(one, "VmRSS") for one in pids]
        for count, firsts in _first_audio(clients).items():
            told[count]["first_audio_ms"] = [round(1000 * one, 1) for one in (statistics.median(firsts), min(firsts))]
        for streams in given.streams:
            print(f"· {streams} streams", file=sys.stderr, flush=True)
            for count, runs in _throughput(clients, streams, given.repeats).items():
                told[count][f"streams_{streams}"] = {
                    "audio_seconds_per_second": [
                        round(statistics.median(rate for rate, _ in runs), 2),
                        round(max(rate for rate, _ in runs), 2),
                    ],
                    "first_audio_ms": [
                        round(1000 * statistics.median(first for _, first in runs)),
                        round(1000 * min(first for _, first in runs)),
                    ],
                }
            print(json.dumps(list(told.values())), file=sys.stderr, flush=True)
        print(json.dumps(list(told.values()), indent=1))


def _first_audio(clients: dict[int, httpx.Client]) -> dict[int, list[float]]:
    """Of one stream at a time, on a connection of its own, by workers."""
    found: dict[int, list[float]] = {count: [] for count in clients}
    for seed in range(FIRST_AUDIO_REQUESTS + 2):
        for count, client in clients.items():
            first, _ = _speak(str(client.base_url), TEN_WORDS, seed)
            if seed > 1:
                found[count].append(first)
    return found


def _throughput(clients: dict[int, httpx.Client], streams: int, repeats: int) -> dict[int, list[tuple[float, float]]]:
    """Audio-seconds per second and the median first audio of each run, by workers."""
    found: dict[int, list[tuple[float, float]]] = {count: [] for count in clients}
    with ThreadPoolExecutor(streams) as pool:
        for _ in range(repeats):
            for count, client in clients.items():
                address = str(client.base_url)
                started = time.perf_counter()
                done = list(pool.map(partial(_speak, address, TEXT), range(streams)))
                seconds = time.perf_counter() - started
                found[count].append((sum(audio for _, audio in done) / seconds, statistics.median(f for f, _ in done)))
    return found


def _speak(address: str, text: str, seed: int) -> tuple[float, float]:
    """Seconds to the first audio, seconds of audio."""
    first, size = 0.0, 0
    with httpx.Client(base_url=address, timeout=600) as client:
        started = time.perf_counter()
        asked = {"input": text, "response_format": "pcm", "seed": seed, "voice": "linden"}
        with client.stream("POST", "/v1/audio/speech", json=asked) as answer:
            answer.raise_for_status()
            for piece in answer.iter_raw():
                first = first or time.perf_counter() - started
                size += len(piece)
    return first, size / BYTES_PER_SECOND


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text("ascii").split()]


if __name__ == "__main__":
    main()
