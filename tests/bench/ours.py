"""This project's engine, in a process of its own: streams started together, each with a listener that takes all."""

import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from more_server import logs
from more_server.speech import Utterance, VoiceLatents
from more_server.tables import EngineSettings
from more_server.xtts.config import XttsConfig
from tests.bench.machine import memory_used
from tests.bench.options import Options
from tests.bench.workload import (
    Heard,
    check_lengths,
    codes_in,
    forced_bounds,
    forced_utterance,
    listening,
    milliseconds,
    random_latents,
)

if TYPE_CHECKING:
    from more_server.engine.engine import Engine  # it imports torch, whose place is in the process that measures

WARM_CODES = 33
BYTES_PER_WEIGHT = {"int8": 1, "bf16": 2, "fp16": 2, "fp32": 4}


def write_random(folder: Path, sizes: str, codes: int, tokens: int) -> None:
    """A model of random weights that never stops by itself. Raises ValueError for lengths that it has no room for."""
    from more_server.testing import tiny_config, tiny_xtts, xtts_v2_config

    config = tiny_config() if sizes == "tiny" else xtts_v2_config()
    check_lengths(config, codes, tokens)
    tiny_xtts(folder, config=config, talkative=True)


def measure(folder: Path, options: Options) -> dict[str, object]:
    """Times of every number of streams, what one code takes, memory."""
    logs.configure("error", "text")
    return asyncio.run(_measure(folder, options))


async def _measure(folder: Path, options: Options) -> dict[str, object]:
    from more_server.engine.engine import Engine

    started = time.perf_counter()
    engine = Engine(folder, msgspec.convert(options.engine, EngineSettings), forced_bounds)
    engine.start()
    try:
        await engine.wait_ready()
        found: dict[str, object] = {"load_s": round(time.perf_counter() - started, 2)}
        found["loaded_mb"] = memory_used()["resident_mb"]
        found["precision"] = precision = engine.state().precision
        latents = random_latents(engine.config)
        rows = [await _streams(engine, options, count, latents) for count in options.streams]
        found |= _one_stream(rows[0], engine.config, precision)
        return found | memory_used() | {"streams": rows}
    finally:
        await asyncio.to_thread(engine.stop)


async def _streams(engine: "Engine", options: Options, count: int, latents: VoiceLatents) -> dict[str, Any]:
    """Several runs of so many streams started together, after a short one for what is done once."""
    runs = options.runs(count)
    print(f"· engine: {count} × {options.codes} codes, {runs} times", file=sys.stderr, flush=True)
    await _together(engine, min(WARM_CODES, options.codes), options.tokens, count, latents)
    walls, all_heard = [], []
    for run in range(runs):
        wall, heard = await _together(engine, options.codes, options.tokens, count, latents, run * count)
        walls.append(wall)
        all_heard.append(heard)
    made = [sum(heard.audio for heard in run) for run in all_heard]
    speeds = [audio / wall for audio, wall in zip(made, walls, strict=True)]
    codes = [codes_in(engine.config, heard.audio) for run in all_heard for heard in run]
    return {
        "streams": count,
        "runs": runs,
        "codes": round(statistics.median(codes)),
        "audio_s": round(statistics.median(made), 3),
        "wall_s": round(statistics.median(walls), 4),
        "audio_s_per_s": round(statistics.median(speeds), 4),
        "audio_s_per_s_best": round(max(speeds), 4),
        **listening([heard for run in all_heard for heard in run]),
    }


async def _together(
    engine: "Engine", codes: int, tokens: int, count: int, latents: VoiceLatents, first_seed: int = 0
) -> tuple[float, list[Heard]]:
    """Seconds until the last of the streams has ended, and what each listener had."""
    seeds = range(first_seed, first_seed + count)
    utterances = [forced_utterance(engine.config, codes, tokens, seed, latents) for seed in seeds]
    started = time.perf_counter()
    heard = await asyncio.gather(*(_listen(engine, utterance, started) for utterance in utterances))
    return time.perf_counter() - started, list(heard)


async def _listen(engine: "Engine", utterance: Utterance, started: float) -> Heard:
    heard = Heard(started)
    async for audio in engine.generate(utterance):
        heard.chunk(audio.seconds)
    return heard


def _one_stream(row: dict[str, Any], config: XttsConfig, precision: str) -> dict[str, object]:
    """What speech takes when nobody else speaks, the decoder's work included, and the bytes that every code reads."""
    # Query, key, value and output: 4; the transformation to four times the width and back: 8.
    weights = config.gpt.layers * 12 * config.gpt.model_dim**2 * BYTES_PER_WEIGHT[precision]
    factor = 1 / row["audio_s_per_s"]
    return {
        "real_time_factor": round(factor, 4),
        "real_time_factor_best": round(1 / row["audio_s_per_s_best"], 4),
        "ms_per_code": milliseconds(factor * config.seconds_per_code),
        "block_weights_bytes": weights,
    }
