"""How fast recordings become a dataset: `python -m tests.bench.dataset [--minutes 30] [--workers 0]`.

Synthetic speech by espeak-ng, as LJSpeech has it and as one long recording; without transcription. Ends in one JSON
line. CPU seconds tell what a busy machine hides: audio per second on idle cores is at most the cores over them.
"""

import argparse
import json
import os
import random
import resource
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from more_train.dataset.build import build
from more_train.dataset.cutting import Cutter, Task
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.sources import open_source

from tests.espeak import SAMPLE_RATE, espeak

WORDS = (
    *(
        "the",
        "river",
        "old",
        "garden",
        "morning",
        "was",
        "slowly",
        "rising",
        "behind",
        "every",
        "house",
        "and",
        "nobody",
    ),
    *("in", "town", "had", "seen", "such", "a", "bright", "winter", "light", "before", "so", "they", "stood", "still"),
    *("for", "while", "looked", "at", "each", "other", "went", "home", "without", "another", "word"),
)


def sentence(chance: random.Random) -> str:
    words = [chance.choice(WORDS) for _ in range(chance.randint(14, 26))]
    return " ".join(words).capitalize() + "."


def write(path: Path, pieces: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        for piece in pieces:
            file.writeframesraw((32767 * piece).astype("<i2").tobytes())


def recordings(folder: Path, minutes: float) -> float:
    """Labelled clips in `folder`/clips, the same as one recording in `folder`/long; seconds of either."""
    chance, quiet, total = random.Random(3), np.zeros(SAMPLE_RATE // 2, np.float32), 0.0
    noise = np.random.default_rng(3).normal(size=10 * SAMPLE_RATE).astype(np.float32) * 5e-4
    lines, pieces = [], []
    while total < 60 * minutes:
        text = sentence(chance)
        said = np.concatenate([quiet, espeak().say(text), quiet])
        said += noise[: len(said)]
        name = f"{len(lines):05}"
        write(folder / "clips" / "wavs" / f"{name}.wav", [said])
        lines.append(f"{name}|{text}\n")
        pieces.append(said)
        total += len(said) / SAMPLE_RATE
    (folder / "clips" / "metadata.csv").write_text("".join(lines))
    write(folder / "long" / "long.wav", pieces)
    return total


def timed(work: Callable[[], object], seconds: float) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    work()
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    return {
        "seconds": round(wall, 2),
        "audio_s_per_s": round(seconds / wall, 1),
        "cpu_ms_per_s": round(1000 * used / seconds, 2),
    }


def cut(folder: Path, scratch: Path, settings: DatasetSettings) -> int:
    """Clips of the one long recording; a whole dataset of it would need Whisper."""
    source = open_source(folder, settings)
    tasks = [Task(entry, is_clip=False) for entry in source.entries.values()]
    found = list(Cutter(source, scratch, scratch, settings).run(tasks, lambda _: None))
    return sum(len(outcome.pieces) for outcome in found)


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--minutes", type=float, default=30)
    reader.add_argument("--workers", type=int, default=0)
    options = reader.parse_args()
    settings = DatasetSettings(language="en", workers=options.workers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = recordings(folder, options.minutes)
        clips, out, scratch = folder / "clips", folder / "out", folder / "scratch"
        scratch.mkdir()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = {
            "first": timed(lambda: build(clips, out, settings, lambda *_: None), seconds),
            "again": timed(lambda: build(clips, out, settings, lambda *_: None), seconds),
            "long": timed(lambda: cut(folder / "long", scratch, settings), seconds),
        }
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000
    cores = len(os.sched_getaffinity(0))
    print(f"{seconds / 60:.0f} minutes of speech on {cores} cores, load {os.getloadavg()[0]:.1f}:")
    for name, what in (("first", "a folder of clips"), ("again", "  once more"), ("long", "one recording, cut")):
        speed, cpu = found[name]["audio_s_per_s"], found[name]["cpu_ms_per_s"]
        print(f"{what:20} {speed:9.1f} s of audio per second, {cpu:6.2f} ms of CPU for each")
    print(f"memory above what it began with: {memory} MB")
    print(json.dumps({"audio_s": round(seconds), "cores": cores, "memory_mb": memory} | found))


if __name__ == "__main__":
    main()
