"""A server under mixed clients that come and go: nobody is lost, no slot stays taken, memory stays flat.

What a client came for counts as one request, a voice from its upload to its removal and a job to its deletion, too.
"""

import asyncio
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
from scipy.stats import theilslopes

from more_server.settings import bundled_dir
from tests.bench import callers, visitors
from tests.bench.doors import gauges
from tests.bench.served import environment, free_port, server
from tests.bench.visitors import SEEDED, Repeats, Visit
from tests.bench.visits import PATIENCE_SECONDS, SILENCE_SECONDS, Outcome, Place

VISITORS = 8
"""Who come and go at the same time, each with a pause of up to a second between two visits."""
MOST_PAUSE_SECONDS = 1.0
QUEUE = 8
"""Of the server, so that bursts are refused without hundreds of requests."""
SETTLE_SECONDS = 10.0
"""Time for slots to be free, and for sockets to be closed, after the last client has left."""
MOST_GROWTH_MB_PER_MINUTE = 1.0
"""A server that grows so takes 1.4 GB more in a day."""
JUDGED_MINUTES = 5.0
"""Shorter soaks tell the slope without judging it: caches and allocators are still filling."""
MOST_MORE_DESCRIPTORS, MOST_MORE_THREADS = 16, 16
"""Beyond those after each kind of visit was paid once; pools of threads grow as they are needed, by no more."""
MOST_REASONS = 20
OUTCOMES = ("whole", "told", "refused", "left", "lost")
MIX: dict[Visit, int] = {
    visitors.sdk_streams: 4,
    visitors.sdk_whole: 3,
    visitors.speaks: 4,
    visitors.reads_slowly: 1,
    visitors.reads_nothing_more: 1,
    visitors.leaves_within_its_body: 2,
    visitors.says_nothing: 1,
    visitors.leaves_before_audio: 2,
    visitors.leaves_within_its_stream: 3,
    visitors.asks_badly: 6,
    visitors.looks_around: 3,
    visitors.brings_a_voice: 1,
    visitors.has_a_job: 1,
    visitors.cancels_a_job: 1,
    visitors.burst: 1,
    callers.writes: 3,
    callers.interrupts: 1,
    callers.hangs_up: 2,
    callers.writes_badly: 1,
    callers.assists: 3,
    callers.pulls_the_plug: 1,
    callers.frames_badly: 1,
}
"""How often each is paid, of all that are."""


class Ledger:
    """How every request ended."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.reasons: list[str] = []
        """Of the first that were lost."""

    async def keep(self, name: str, visit: Awaitable[Outcome]) -> str:
        """Note how a visit ends; what raises, or never ends, is lost."""
        outcome: str = "lost"
        try:
            outcome = await asyncio.wait_for(visit, PATIENCE_SECONDS)
        except Exception as error:  # noqa: BLE001 - counted, told, and what the soak fails for
            if len(self.reasons) < MOST_REASONS:
                self.reasons.append(f"{name}: {type(error).__name__}: {error}")
        self.counts.setdefault(name, Counter())[outcome] += 1
        return outcome

    def total(self, outcome: str) -> int:
        return sum(one[outcome] for one in self.counts.values())

    def told(self) -> dict[str, Any]:
        sums = {outcome: self.total(outcome) for outcome in OUTCOMES}
        kinds = {name: dict(sorted(one.items())) for name, one in sorted(self.counts.items())}
        return {"sent": sum(sums.values()), **sums, "by_kind": kinds, "reasons": self.reasons}


class Size(msgspec.Struct, frozen=True):
    """What a process holds."""

    resident_mb: float
    descriptors: int
    threads: int


def size(pid: int) -> Size:
    status = Path(f"/proc/{pid}/status").read_text()
    values = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", status, re.MULTILINE))
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Size(int(values["VmRSS"]) / 1000, descriptors, int(values["Threads"]))


def measure(data_dir: Path, model: str, device: str, precision: str, minutes: float) -> dict[str, Any]:
    """So many minutes of clients after each has come once; `failures` says in words what must not be."""
    print(f"· soak: {minutes:g} minutes of clients that come and go", file=sys.stderr, flush=True)
    port, log = free_port(), data_dir / "soak.log"
    asked = environment(data_dir, model, device, precision) | {
        "MORE_PLUGINS__MORE_WYOMING__PORT": str(port),
        "MORE_ENGINE__QUEUE": str(QUEUE),
        # Small, so that slow readers are waited for, and cut off where they take nothing.
        "MORE_ENGINE__AHEAD_SECONDS": "5",
        "MORE_ENGINE__STALLED_SECONDS": "5",
        "MORE_LOG_FORMAT": "json",
    }
    with log.open("wb") as errors, server(asked, errors) as (client, _, pid):
        found = asyncio.run(_soak(str(client.base_url), port, pid, minutes))
    lines = log.read_text("utf-8", "replace").splitlines()
    found["errors_logged"], found["first_errors"] = len(lines), lines[:MOST_REASONS]
    found["files_left"] = left_over(data_dir)
    return {**found, "failures": failures(found)}


async def _soak(url: str, port: int, pid: int, minutes: float) -> dict[str, Any]:
    ledger, repeated = Ledger(), Repeats()
    async with httpx.AsyncClient(base_url=url, timeout=SILENCE_SECONDS) as http:
        slots = round((await gauges(http))["xtts_slots"])
    clip = (bundled_dir() / "voices" / "linden" / "reference.wav").read_bytes()
    place = Place(url, port, clip, slots + QUEUE)
    await _seeded(ledger, repeated, place)
    await _each_once(ledger, place)
    await _settled(url)
    begin, stop = size(pid), asyncio.Event()
    sizes: list[Size] = []
    sampling = asyncio.create_task(_sample(pid, sizes, stop))
    end = time.monotonic() + 60 * minutes
    await asyncio.gather(*(_come_and_go(ledger, repeated, place, end, seed) for seed in range(VISITORS)))
    stop.set()
    await sampling
    busy, free_after = await _settled(url)
    last = size(pid)
    await _seeded(ledger, repeated, place)
    return {
        "minutes": minutes,
        "visitors": VISITORS,
        "requests": ledger.told(),
        "same_seed": repeated.asked,
        "slots": {"there_are": slots, "in_use_at_end": busy, "free_after_s": free_after},
        "memory": _memory(begin, sizes, last),
        "descriptors": {"begin": begin.descriptors, "end": last.descriptors},
        "threads": {"begin": begin.threads, "end": last.threads},
    }


async def _seeded(ledger: Ledger, repeated: Repeats, place: Place) -> None:
    for number in range(len(SEEDED)):
        await ledger.keep("repeats", repeated.ask(place, number))


async def _each_once(ledger: Ledger, place: Place) -> None:
    """What comes for the first time takes memory, threads and files that stay."""
    waiting = iter(enumerate(MIX))

    async def pay() -> None:
        for number, visit in waiting:
            await _pay(ledger, visit, place, random.Random(number))

    await asyncio.gather(*(pay() for _ in range(VISITORS)))


async def _come_and_go(ledger: Ledger, repeated: Repeats, place: Place, end: float, seed: int) -> None:
    """Every kind in turn, in an order of its own."""
    chance = random.Random(seed)
    deck = [*(visit for visit, share in MIX.items() for _ in range(share)), repeated.visit, repeated.visit]
    while time.monotonic() < end:
        chance.shuffle(deck)
        for visit in deck:
            if time.monotonic() >= end:
                return
            await _pay(ledger, visit, place, chance)
            await asyncio.sleep(chance.uniform(0, MOST_PAUSE_SECONDS))


async def _pay(ledger: Ledger, visit: Visit, place: Place, chance: random.Random) -> None:
    # More than the server takes, so that some are refused.
    many = 2 * place.at_a_time if visit is visitors.burst else 1
    name = "repeats" if visit.__name__ == "visit" else visit.__name__
    await asyncio.gather(*(ledger.keep(name, visit(place, chance)) for _ in range(many)))


async def _sample(pid: int, sizes: list[Size], stop: asyncio.Event) -> None:
    while not stop.is_set():
        sizes.append(size(pid))
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)


async def _settled(url: str) -> tuple[int, float]:
    """Slots and requests that are still at work, 0 as soon as there are none, and seconds until then."""
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=SILENCE_SECONDS) as http:
        while True:
            now = await gauges(http)
            busy = round(now["xtts_slots_in_use"] + now["xtts_speaking"] + now["xtts_queue_depth"])
            after = time.monotonic() - began
            if not busy or after > SETTLE_SECONDS:
                return busy, round(after, 2)
            await asyncio.sleep(0.1)


def _memory(begin: Size, sizes: Sequence[Size], last: Size) -> dict[str, Any]:
    """Of samples a second apart."""
    megabytes = [one.resident_mb for one in sizes]
    return {
        "begin_mb": round(begin.resident_mb, 1),
        "half_mb": round(megabytes[len(megabytes) // 2], 1),
        "end_mb": round(last.resident_mb, 1),
        "peak_mb": round(max(megabytes), 1),
        "samples": len(megabytes),
        "each_minute_mb": [round(one, 1) for one in megabytes[::60]],
        "slope_mb_per_min": round(slope(megabytes[len(megabytes) // 2 :]), 3),
        "bound_mb_per_min": MOST_GROWTH_MB_PER_MINUTE,
    }


def slope(megabytes: Sequence[float]) -> float:
    """By Theil and Sen, a minute: the median over all pairs of samples, which single peaks do not move."""
    step = max(1, len(megabytes) // 1000)  # pairs grow with the square
    taken = megabytes[::step]
    return 60 / step * float(theilslopes(taken).slope) if len(taken) > 1 else 0.0


def left_over(data_dir: Path) -> list[str]:
    """Files of voices and jobs, all of which were removed again, and of writers that were broken off."""
    files = [path.relative_to(data_dir) for path in data_dir.rglob("*") if path.is_file()]
    # Locks are empty, one for each name that there ever was.
    left = [path for path in files if path.parts[0] == "voices" and path.parts[1] != ".locks"]
    left += [path for path in files if path.parts[0] == "jobs" and path.parts[1].startswith("job_")]
    left += [path for path in files if ".partial-" in path.name or path.suffix == ".tmp"]
    return sorted(map(str, left))


def failures(found: dict[str, Any]) -> list[str]:
    """What must not be, in words."""
    requests, memory, slots = found["requests"], found["memory"], found["slots"]
    growth = {kind: found[kind]["end"] - found[kind]["begin"] for kind in ("descriptors", "threads")}
    bound = memory["bound_mb_per_min"]
    told = {
        f"{requests['lost']} of {requests['sent']} requests were lost: {requests['reasons'][:3]}": requests["lost"],
        f"{slots['in_use_at_end']} slots and requests are stuck {SETTLE_SECONDS:g} s after the last client": slots[
            "in_use_at_end"
        ],
        f"memory grows by {memory['slope_mb_per_min']} MB a minute, {bound:g} is the most": (
            found["minutes"] >= JUDGED_MINUTES and memory["slope_mb_per_min"] > bound
        ),
        f"{growth['descriptors']} file descriptors more": growth["descriptors"] > MOST_MORE_DESCRIPTORS,
        f"{growth['threads']} threads more": growth["threads"] > MOST_MORE_THREADS,
        f"{found['errors_logged']} errors in the log: {found['first_errors'][:1]}": found["errors_logged"],
        f"files are left: {found['files_left'][:3]}": found["files_left"],
    }
    return [text for text, failed in told.items() if failed]
