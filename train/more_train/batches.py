"""Which clips make which step, and what each is conditioned on: functions of the seed and the step alone.

So a run that goes on at step 120 sees what it would have seen, and processes agree without a word.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from more_server.xtts.conditioning import SHORTEST_CHUNK_SECONDS
from more_train import rates
from more_train.examples import Example, Recordings
from more_train.gpt_loss import Row

POOL = 32
"""Micro-batches whose rows are sorted by length together: less padding, and still in no order that repeats."""
FIXED = 2**32 - 1
"""Stands for the step where there is none: rows held out get the same references each time."""

Item = TypeVar("Item")


class Plan:
    """Rows of every step: shuffled anew in each epoch, rows of like length together."""

    def __init__(self, lengths: Sequence[int], rows: int, per_step: int, seed: int) -> None:
        """rows: of a micro-batch, over all processes; per_step: micro-batches behind one step of the weights."""
        self._lengths, self._rows, self._per_step, self._seed = np.asarray(lengths), rows, per_step, seed
        micro = -(-len(lengths) // rows)
        self.steps_per_epoch = -(-micro // per_step)
        self._epoch = -1
        self._order: list[list[int]] = []

    def step(self, number: int) -> list[list[int]]:
        """The micro-batches of a step, counted from 0; the last of an epoch may have fewer."""
        epoch, place = divmod(number, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self._arranged(epoch)
        return self._order[place * self._per_step : (place + 1) * self._per_step]

    def _arranged(self, epoch: int) -> list[list[int]]:
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._lengths))
        micro: list[list[int]] = []
        for start in range(0, len(order), POOL * self._rows):
            pool = order[start : start + POOL * self._rows]
            pool = pool[np.argsort(self._lengths[pool], kind="stable")]
            micro += [pool[place : place + self._rows].tolist() for place in range(0, len(pool), self._rows)]
        return [micro[place] for place in random.permutation(len(micro))]

    def longest(self) -> list[int]:
        """The rows that together take the most memory."""
        return np.argsort(-self._lengths, kind="stable")[: self._rows].tolist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Reference:
    """A stretch of audio that a row is conditioned on."""

    example: Example
    start: int
    """Sample at the rate of mels."""
    count: int


class References:
    """Chooses references: another clip of the same speaker, or, of a speaker with only one, a part of that one."""

    def __init__(self, pool: Sequence[Example], shares: tuple[float, float], chunk_seconds: float, seed: int) -> None:
        """pool: clips that references are taken from; shares: shortest and longest, in chunks."""
        self._by_speaker: dict[str, list[Example]] = defaultdict(list)
        for example in pool:
            self._by_speaker[example.speaker].append(example)
        self._shortest, self._longest = (share * chunk_seconds for share in sorted(shares))
        self._seed = seed

    def choose(self, rows: Sequence[Example], step: int, micro: int) -> list[Reference]:
        """For each row of a micro-batch; all of one length, so that none is filled up with silence."""
        random = np.random.default_rng((self._seed, step, micro))
        wanted = round(random.uniform(self._shortest, self._longest) * rates.MEL)
        sources = [self._source(row, random) for row in rows]
        room = [
            source.samples // 2 if source is row else source.samples for row, source in zip(rows, sources, strict=True)
        ]
        count = max(round(SHORTEST_CHUNK_SECONDS * rates.MEL), min(wanted, *room))
        return [Reference(source, int(random.integers(0, source.samples - count + 1)), count) for source in sources]

    def _source(self, row: Example, random: np.random.Generator) -> Example:
        same = self._by_speaker.get(row.speaker) or [row]
        place = int(random.integers(len(same)))
        return same[place] if same[place] is not row else same[(place + 1) % len(same)]


def heard(row: Example, reference: Reference, stride: int) -> tuple[int, int]:
    """Codes of a row, from and to, that its reference gives away."""
    if reference.example is not row:
        return 0, 0
    return reference.start // stride, min(len(row.codes), -(-(reference.start + reference.count) // stride))


def as_row(example: Example, reference: Reference, stride: int) -> Row:
    """What the loss needs of an example."""
    return Row(example.tokens, example.codes.tolist(), heard(example, reference, stride))


def reference_audio(references: Sequence[Reference], recordings: Recordings) -> Tensor:
    """Their samples (rows, n)."""
    pieces = [recordings.get(one.example)[one.start : one.start + one.count] for one in references]
    return torch.from_numpy(np.stack(pieces))


def ahead(makers: Iterable[Callable[[], Item]]) -> Iterator[Item]:
    """What each maker makes, in order; a thread makes the next one while this one is used."""
    waiting: Future[Item] | None = None
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        for maker in makers:
            made, waiting = waiting, pool.submit(maker)
            if made is not None:
                yield made.result()
        if waiting is not None:
            yield waiting.result()
