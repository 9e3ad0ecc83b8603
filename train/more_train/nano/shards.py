"""Speech on disk: files of some hundred clips each, every one of them always the same.

    plans = Plans(nano, tokenizer)
    wanted = {folder / name(number): partial(plans.training, number) for number in range(3)}
    make(wanted, plans, stop=..., told=...)   # what is there is left alone
    shard = Shard(folder / name(0))
    shard.samples(5), shard.lines[5], shard.words[5]

Raw samples, since every stage but the last is bound by what it computes, not by the disk.
"""

import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import numpy as np
from safetensors import safe_open

from more_server.errors import MoreError
from more_server.speech import Samples
from more_server.xtts.tokenizer import Tokenizer
from more_train.nano.config import Nano
from more_train.nano.corpus import Corpus
from more_train.nano.recording import Line, speak
from more_train.nano.speech import CODE_SAMPLES, HOUSE, SAMPLE_RATE, Word, speakers

POLL_SECONDS = 0.05

Stop = Callable[[], bool]


class NoSpeech(MoreError):
    """A process that made speech failed."""


class Plans:
    """What each shard is to hold."""

    def __init__(self, nano: Nano, tokenizer: Tokenizer) -> None:
        self.nano = nano
        self.speakers = speakers(nano.voices, nano.seed)
        self.corpora = {language: Corpus(language, nano.corpus, tokenizer) for language in nano.languages}

    def training(self, number: int) -> list[Line]:
        """Groups of clips of one voice in one language."""
        nano, lines = self.nano, list[Line]()
        random = Random(f"{nano.seed}/shard {number}")  # noqa: S311 - no secret
        weights = nano.language_weights or [1.0] * len(nano.languages)
        for _ in range(nano.speech.groups):
            language = random.choices(nano.languages, weights)[0]
            speaker = self._speaker(random, {line.speaker for line in lines})
            corpus = self.corpora[language]
            lines += [
                Line(text=corpus.sentence(random), language=language, speaker=speaker) for _ in range(nano.speech.clips)
            ]
        return lines

    def _speaker(self, random: Random, taken: set[int]) -> int:
        """A house voice for its share; another than the shard's other groups have, while there are any."""
        if random.random() < self.nano.voices.house_share:
            return random.randrange(len(HOUSE))
        free = [number for number in range(len(self.speakers)) if number not in taken]
        return random.choice(free or range(len(self.speakers)))

    def held_out(self) -> list[Line]:
        """Held-out sentences in turn by every voice in every language, `speech.clips` for a group, for measuring."""
        nano, lines = self.nano, list[Line]()
        for number, language in enumerate(nano.languages):
            texts = self.corpora[language].held_out_sentences(nano.speech.clips * nano.speech.groups, nano.seed)
            for group in range(nano.speech.groups):
                mine = texts[group * nano.speech.clips : (group + 1) * nano.speech.clips]
                speaker = (group + number * nano.speech.groups) % len(self.speakers)
                lines += [Line(text=text, language=language, speaker=speaker) for text in mine]
        return lines


def name(number: int) -> str:
    """File of a shard."""
    return f"{number:05d}.safetensors"


def make(
    wanted: Mapping[Path, Callable[[], list[Line]]], plans: Plans, *, stop: Stop, told: Callable[[int], None]
) -> bool:
    """Make the shards that are not there, several at once; False where `stop` ended it. Raises NoSpeech.

    Each is made by a process of its own: espeak-ng's output depends on everything that it said before.
    """
    todo = [path for path in wanted if not path.exists()]
    running: dict[Path, Any] = {}
    context = get_context("spawn")
    told(len(wanted) - len(todo))
    try:
        while (todo or running) and not stop():
            while todo and len(running) < plans.nano.speech.workers:
                path = todo.pop(0)
                work = (path, wanted[path](), plans.speakers, plans.nano.gpt.max_codes)
                running[path] = context.Process(target=speak, args=work, daemon=True)
                running[path].start()
            time.sleep(POLL_SECONDS)
            for path in [path for path, process in running.items() if process.exitcode is not None]:
                if not path.exists():
                    raise NoSpeech(f"the process that makes {path} ended with {running[path].exitcode}")
                running.pop(path).close()
                told(len(wanted) - len(todo) - len(running))
        return not (todo or running)
    finally:
        for process in running.values():
            process.terminate()


class Shard:
    """A file of clips; their samples stay on disk until they are asked for."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="numpy") as file:
            self.lines = msgspec.json.decode(file.metadata()["lines"], type=list[Line])
            self._ends = file.get_tensor("sample_ends")
            words = np.split(file.get_tensor("words"), file.get_tensor("word_ends")[:-1])
        self.path = path
        self.words = [[Word(*map(int, row)) for row in rows] for rows in words]

    def __len__(self) -> int:
        return len(self.lines)

    def length(self, clip: int) -> int:
        """How many codes a clip is long."""
        return int(self._ends[clip] - self._start(clip)) // CODE_SAMPLES

    @property
    def seconds(self) -> float:
        """Of all clips."""
        return int(self._ends[-1]) / SAMPLE_RATE

    def _start(self, clip: int) -> int:
        return int(self._ends[clip - 1]) if clip else 0

    def samples(self, clip: int) -> Samples:
        """A clip at 22,050 Hz, full scale ±1."""
        with safe_open(self.path, framework="numpy") as file:
            piece = file.get_slice("samples")[self._start(clip) : int(self._ends[clip])]
        return np.asarray(piece, dtype=np.float32) / np.float32(32768)

    def groups(self) -> dict[tuple[int, str], list[int]]:
        """Clips by voice and language, shortest first."""
        found: dict[tuple[int, str], list[int]] = {}
        for clip in sorted(range(len(self.lines)), key=self.length):
            line = self.lines[clip]
            found.setdefault((line.speaker, line.language), []).append(clip)
        return found
