"""Clips of a dataset as examples: text as tokens, audio as codes, and which were left out for what reason."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from more_server.audio.read import read
from more_server.errors import BadInput
from more_server.speech import Samples
from more_server.xtts.config import XttsConfig
from more_server.xtts.tokenizer import Tokenizer
from more_train import rates
from more_train.dvae import CodeCache, Codes, Dvae
from more_train.inputs import Limits, learnable
from more_train.processes import Processes

MOST_BYTES, MOST_SECONDS = 100 * 1024 * 1024, 600.0
"""Of one clip's file; whatever is longer is no clip."""
MOST_KEPT_BYTES = 1_000_000_000
"""Audio kept in memory once it was read, three hours of it; the rest is read again whenever it is a reference."""

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is, and of how much."""


@dataclass(frozen=True)
class Example:
    """A clip that can be learnt."""

    id: str
    file: Path
    speaker: str
    language: str
    text: str
    """As it is written."""
    tokens: tuple[int, ...]
    codes: Codes
    samples: int
    """Length at the rate of mels."""

    @property
    def positions(self) -> int:
        """What it takes of memory: about its place in a batch."""
        return len(self.tokens) + len(self.codes)


@dataclass(frozen=True)
class Examples:
    """All that can be learnt, and what was left out."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    left_out: dict[str, int]
    """Clips by the reason."""

    @property
    def seconds(self) -> float:
        """Of speech to train on."""
        return sum(example.samples for example in self.train) / rates.MEL


def read_clip(path: Path, content: bytes | None = None) -> Samples:
    """A clip at the rate of mels. Raises BadInput naming the file."""
    try:
        content = path.read_bytes() if content is None else content
        audio = read(
            content, sample_rate=rates.MEL, max_bytes=MOST_BYTES, max_seconds=MOST_SECONDS, max_channels=1, param="clip"
        )
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except BadInput as error:
        raise BadInput(f"{path}: {error.message}") from error
    return audio.samples


class Preparer:
    """Makes examples of clips, with the tokenizer and the DVAE of a model."""

    def __init__(
        self, folder: Path, config: XttsConfig, tokenizer: Tokenizer, dvae: Dvae, cache: CodeCache, limits: Limits
    ) -> None:
        """folder: of the dataset."""
        self._folder, self._config, self._tokenizer = folder, config, tokenizer
        self._dvae, self._cache, self._limits = dvae, cache, limits

    def prepare(self, clips: Sequence[Any], group: Processes, report: Report) -> Examples:
        """Examples of the dataset's clips; each process makes the codes of its share first."""
        found = [(clip, learnable(clip, self._config, self._limits, self._tokenizer)) for clip in clips]
        mine = found[group.rank :: group.size]
        for done, (clip, tokens) in enumerate(mine):
            report("making codes of the audio", done, len(mine))
            if not isinstance(tokens, str):
                self._coded(self._folder / clip.file)
        group.wait()
        made: dict[str, list[Example]] = {"train": [], "held_out": []}
        left_out: Counter[str] = Counter()
        for clip, tokens in found:
            example = tokens if isinstance(tokens, str) else self._example(clip, tokens)
            if isinstance(example, str):
                left_out[example] += 1
            else:
                made[clip.split].append(example)
        report("making codes of the audio", len(mine), len(mine))
        return Examples(tuple(made["train"]), tuple(made["held_out"]), dict(left_out))

    def _example(self, clip: Any, tokens: tuple[int, ...]) -> Example | str:
        """Or why it cannot be learnt."""
        path = self._folder / clip.file
        samples, codes = self._coded(path)
        if len(codes) > self._limits.most_codes:
            return f"more than {self._limits.most_codes} codes"
        return Example(clip.id, path, clip.speaker, clip.language, clip.text, tokens, codes, samples)

    def _coded(self, path: Path) -> tuple[int, Codes]:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}; build the dataset again") from error
        key = self._cache.key(content)
        if (known := self._cache.get(key)) is not None:
            return known
        samples = read_clip(path, content)
        codes = self._dvae.encode(samples)
        self._cache.put(key, len(samples), codes)
        return len(samples), codes


class Recordings:
    """Audio of examples at the rate of mels; what was read is kept while there is room for it."""

    def __init__(self) -> None:
        self._kept: dict[Path, Samples] = {}
        self._bytes = 0

    def get(self, example: Example) -> Samples:
        """Samples of an example, shape (n,)."""
        if (known := self._kept.get(example.file)) is not None:
            return known
        samples = read_clip(example.file)
        if self._bytes + samples.nbytes <= MOST_KEPT_BYTES:
            self._kept[example.file] = samples
            self._bytes += samples.nbytes
        return np.ascontiguousarray(samples)
