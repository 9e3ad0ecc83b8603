"""Speech jobs of a real server: beside what its engine makes of the same passages in a batch, and beside a person.

The batch are plain requests to the same server, as many at a time as there are slots, with the passages of the job's
preview and its profile, so that both have the same model, the same slots and the same segments. Another engine in a
process of its own would have no HTTP to do, but other memory, and on a GPU other slots.
"""

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.bench.doors import first_audio, gauges
from tests.bench.options import Options
from tests.bench.served import BYTES_PER_SECOND, environment, server
from tests.bench.workload import milliseconds, percentile

PARAGRAPHS = (
    "The rain had stopped before the first of them came down to the harbour.",
    "Nobody had told her that the boat would leave so early in the year, or that it would leave without him.",
    "He put the lamp on the table, took off his coat, and waited for an answer.",
    "There was only the sound of the water, and far away a bell.",
    "It was the third letter this week. She read it twice, folded it, and put it with the others.",
    "In the morning the boats came back, one after the other, and nobody on them said a word about the storm.",
)
CHARACTERS_PER_SECOND = 15
BESIDE_SECONDS = 3600
"""Of a job that people are heard beside, and which is cancelled then."""
QUALITY = {"name": "bench-job", "base": "balanced", "first_segment_tokens": 1000}
"""Jobs have no short first segment; so has what is compared with them."""
PASSAGES = "passages"
"""In the job's folder, where each is kept as soon as it is spoken."""
LOOK_SECONDS = 0.02
MOST_PAUSE_SECONDS = 0.5
"""Between two sentences of a person, by chance: the next one may come anywhere in a turn of the engine."""


class Run(msgspec.Struct):
    """One job; times are Unix seconds."""

    asked: float
    began: float = 0.0
    """To speak, after it was queued and planned."""
    spoken: float = 0.0
    """The last passage."""
    written: float = 0.0
    """The file."""
    ended: float = 0.0
    audio_s: float = 0.0

    def speeds(self) -> tuple[float, float]:
        """Seconds of audio a second: of all that a client waits, and without the queue and the word of its end."""
        return self.audio_s / (self.ended - self.asked), self.audio_s / (self.written - self.began)


def measure(data_dir: Path, model: str, options: Options) -> dict[str, object]:
    """Throughput of a job and of a batch, in turns; first audio of a person alone and beside a job, in turns."""
    print("· jobs: a batch and a job in turns, a person alone and beside one", file=sys.stderr, flush=True)
    asked = environment(data_dir, model, options.engine["device"], options.engine["precision"])
    with server(asked | {"MORE_PLUGINS__MORE_WYOMING__ENABLED": "false"}) as (client, _, _):
        return asyncio.run(_measure(str(client.base_url), data_dir / "jobs", options))


async def _measure(url: str, folder: Path, options: Options) -> dict[str, object]:
    text, pairs = _text(options.jobs), options.runs(2)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None)) as http:
        (await http.post("/v1/admin/profiles", json=QUALITY)).raise_for_status()
        passages = await _passages(http, text)
        slots = round((await gauges(http))["xtts_slots"])
        # What is done once: sizes of tensors that come for the first time, the import of dbos.
        await _batch(http, passages[:slots], slots)
        await _job(http, folder, passages[0], 1)
        batches, jobs = [], []
        for _ in range(pairs):
            batches.append(await _batch(http, passages, slots))
            jobs.append(await _job(http, folder, text, len(passages)))
        alone, beside = await _beside(http, folder, pairs, options.repeats)
    return {
        "passages": len(passages),
        "slots": slots,
        "pairs": pairs,
        **_throughput(batches, jobs),
        **_growth(alone, beside),
    }


def _throughput(batches: list[tuple[float, float]], jobs: list[Run]) -> dict[str, object]:
    batch, all_in, at_work = (
        [audio / wall for audio, wall in batches],
        *(list(speeds) for speeds in zip(*(job.speeds() for job in jobs), strict=True)),
    )
    middle = statistics.median
    return {
        "batch_audio_s": round(middle(audio for audio, _ in batches), 1),
        "job_audio_s": round(middle(job.audio_s for job in jobs), 1),
        "batch_audio_s_per_s": round(middle(batch), 3),
        "job_audio_s_per_s": round(middle(all_in), 3),
        "job_at_work_audio_s_per_s": round(middle(at_work), 3),
        "ratio": round(middle(all_in) / middle(batch), 4),
        "ratio_at_work": round(middle(at_work) / middle(batch), 4),
        "ratio_of_each_pair": [round(job / other, 4) for job, other in zip(all_in, batch, strict=True)],
        "before_it_speaks_s": round(middle(job.began - job.asked for job in jobs), 3),
        "speaking_s": round(middle(job.spoken - job.began for job in jobs), 3),
        "encoding_s": round(middle(job.written - job.spoken for job in jobs), 3),
        "end_heard_s": round(middle(job.ended - job.written for job in jobs), 3),
    }


def _growth(alone: list[list[float]], beside: list[list[float]]) -> dict[str, object]:
    """Of blocks of first audio, in turns."""
    found: dict[str, object] = {}
    for name, blocks in (("alone", alone), ("beside", beside)):
        firsts = [first for block in blocks for first in block]
        found[f"first_audio_{name}_ms_p50"] = milliseconds(statistics.median(firsts))
        found[f"first_audio_{name}_ms_p95"] = milliseconds(percentile(firsts, 0.95))
    ratios = [statistics.median(two) / statistics.median(one) for one, two in zip(alone, beside, strict=True)]
    every = [statistics.median(first for block in blocks for first in block) for blocks in (beside, alone)]
    return found | {
        "heard": sum(map(len, alone)),
        "growth": round(every[0] / every[1], 4),
        "growth_of_each_pair": [round(ratio, 4) for ratio in ratios],
    }


def _text(seconds: int) -> str:
    """Paragraphs that take about so long to say."""
    chosen, characters = [], 0
    for paragraph in cycle(PARAGRAPHS):
        chosen.append(paragraph)
        characters += len(paragraph)
        if characters >= CHARACTERS_PER_SECOND * seconds:
            return "\n\n".join(chosen)
    raise AssertionError  # a cycle has no end


def _asked(text: str) -> dict[str, Any]:
    """A job without silence of its own, which would count as speech."""
    pauses = {"paragraph_pause_seconds": 0, "chapter_pause_seconds": 0}
    return {
        "kind": "speech",
        "input": text,
        "quality": QUALITY["name"],
        "seed": 1,
        "response_format": "wav",
        **pauses,
    }


async def _passages(http: httpx.AsyncClient, text: str) -> list[str]:
    answer = await http.post("/v1/jobs/preview", params={"limit": 1000}, json=_asked(text))
    found = answer.raise_for_status().json()
    if not found["complete"]:
        raise RuntimeError("the preview does not show all passages")
    return [passage["text"] for chapter in found["chapters"] for passage in chapter["passages"]]


async def _batch(http: httpx.AsyncClient, passages: list[str], at_a_time: int) -> tuple[float, float]:
    """Seconds of audio and of wall."""
    sizes: list[int] = []

    async def speak_on(waiting: Iterator[tuple[int, str]]) -> None:
        for seed, text in waiting:
            asked = {"input": text, "quality": QUALITY["name"], "seed": seed, "response_format": "pcm"}
            answer = await http.post("/v1/audio/speech", json=asked)
            sizes.append(len(answer.raise_for_status().content))

    waiting, began = iter(enumerate(passages)), time.perf_counter()
    await asyncio.gather(*(speak_on(waiting) for _ in range(at_a_time)))
    return sum(sizes) / BYTES_PER_SECOND, time.perf_counter() - began


async def _job(http: httpx.AsyncClient, folder: Path, text: str, passages: int) -> Run:
    """One job from the question to the word of its end, which comes as an event."""
    run = Run(time.time())
    answer = (await http.post("/v1/jobs", json=_asked(text))).raise_for_status().json()
    watching = asyncio.create_task(_watch(folder / answer["id"], passages, run))
    job = await _ended(http, answer["id"])
    run.ended = time.time()
    watching.cancel()
    if job["status"] != "succeeded" or not run.began:
        raise RuntimeError(f"the job was not seen at work, or failed: {job}")
    (result,) = job["results"]
    run.audio_s = result["bytes"] / BYTES_PER_SECOND
    run.written = (folder / job["id"] / result["name"]).stat().st_mtime
    # Of a short one the file may be made between two looks.
    run.spoken = min(run.spoken or run.written, run.written)
    (await http.delete(f"/v1/jobs/{job['id']}")).raise_for_status()
    return run


async def _watch(job: Path, passages: int, run: Run) -> None:
    """On the disk: what the server tells of progress is half a second old."""
    await _until((job / PASSAGES).exists)
    run.began = time.time()
    await _until_spoken(job, passages)
    run.spoken = time.time()


async def _until_spoken(job: Path, passages: int) -> None:
    await _until(lambda: _spoken(job) >= passages)


def _spoken(job: Path) -> int:
    try:
        return sum(file.suffix == ".pcm" for file in (job / PASSAGES).iterdir())
    except FileNotFoundError:  # it is made when speaking begins, and goes once the files are made
        return 0


async def _until(reached: Callable[[], bool]) -> None:
    while True:
        if reached():
            return
        await asyncio.sleep(LOOK_SECONDS)


async def _ended(http: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    event = ""
    async with http.stream("GET", f"/v1/jobs/{job_id}/events") as response:
        async for line in response.raise_for_status().aiter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                event = value
            elif name == "data" and event == "end":
                found: dict[str, Any] = json.loads(value)
                return found
    raise RuntimeError("the events of the job broke off")


async def _beside(
    http: httpx.AsyncClient, folder: Path, pairs: int, requests: int
) -> tuple[list[list[float]], list[list[float]]]:
    """Seconds to the first audio, in blocks: without a job, and while one speaks."""
    chance, alone, beside = random.Random(3), [], []
    for _ in range(pairs):
        alone.append(await _person(http, requests, chance))
        async with _speaking(http, folder):
            beside.append(await _person(http, requests, chance))
    return alone, beside


async def _person(http: httpx.AsyncClient, requests: int, chance: random.Random) -> list[float]:
    firsts = []
    for seed in range(requests):
        await asyncio.sleep(chance.uniform(0.0, MOST_PAUSE_SECONDS))
        firsts.append(await first_audio(http, seed))
    return firsts


@asynccontextmanager
async def _speaking(http: httpx.AsyncClient, folder: Path) -> AsyncIterator[None]:
    """A job that speaks, from its first passages on."""
    job_id = (await http.post("/v1/jobs", json=_asked(_text(BESIDE_SECONDS)))).raise_for_status().json()["id"]
    await asyncio.wait_for(_until_spoken(folder / job_id, 1), 600)
    yield
    job = (await http.post(f"/v1/jobs/{job_id}/cancel")).raise_for_status().json()
    if job["status"] != "cancelled":
        raise RuntimeError(f"the job had ended while it was to speak: {job}")
    (await http.delete(f"/v1/jobs/{job_id}")).raise_for_status()
