"""The post-processors of one utterance, one behind the other, with the ends of segments where they belong."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np

from more_server.audio.stretch import Stretcher
from more_server.errors import MoreError, PluginFailure
from more_server.speech import EMPTY, PostProcessor, Samples, Stage, Utterance

Result = TypeVar("Result")
LOUDEST = 16.0
"""Full scale 1. A NaN would stay in a recursive filter for ever."""
Piece = tuple[Samples, bool]
"""Samples, and whether a segment ends with them."""


class Tempo(PostProcessor):
    """The utterance's speed, segment by segment, so that the end of each stays where it is in the text."""

    changes_length = True

    def __init__(self, tempo: float, sample_rate: int) -> None:
        self._make = partial(Stretcher, tempo, sample_rate)
        self._stretcher: Stretcher | None = None

    def process(self, samples: Samples) -> Samples:
        self._stretcher = self._stretcher or self._make()
        return self._stretcher.process(samples)

    def end_segment(self) -> Samples:
        rest, self._stretcher = self._stretcher.finish() if self._stretcher else EMPTY, None
        return rest


class Chain:
    """Blocks while it works. Raises PluginFailure naming the plugin at fault."""

    def __init__(self, utterance: Utterance, sample_rate: int) -> None:
        self._utterance = utterance
        self._sample_rate = sample_rate
        self._links: list[_Link] = []
        self.working = ""
        """The plugin that is being waited for; empty for none."""
        self.plugins = [one.plugin for one in utterance.post_processors]
        """Whose code this runs."""
        self.seconds = 0.0
        """Of audio that was taken."""

    def begin(self) -> list[Piece]:
        """Make the post-processors, before anything else."""
        if self._utterance.speed != 1:
            self._links.append(_Link("", Tempo(self._utterance.speed, self._sample_rate)))
        for one in self._utterance.post_processors:
            self.working = one.plugin
            stage, make = Stage(self._utterance, self._sample_rate, one.measured), one.kind.make
            made = _guarded(one.plugin, partial(make, stage))
            if not isinstance(made, PostProcessor):
                raise PluginFailure(one.plugin, f"make gave a {type(made).__name__}, which is no PostProcessor")
            self._links.append(_Link(one.plugin, made))
        return []

    def process(self, samples: Samples, ends_segment: bool) -> list[Piece]:
        """Take the next piece and give what is ready."""
        self.seconds += len(samples) / self._sample_rate
        return self._through([(samples, ends_segment)], self._links)

    def finish(self) -> list[Piece]:
        """The rest of everything."""
        out: list[Piece] = []
        for number, link in enumerate(self._links):
            self.working = link.plugin
            out += self._through(link.finish(), self._links[number + 1 :])
        return out

    def _through(self, pieces: list[Piece], links: "list[_Link]") -> list[Piece]:
        for link in links:
            self.working = link.plugin
            pieces = [out for samples, ends in pieces for out in link.process(samples, ends)]
        return [piece for piece in pieces if len(piece[0]) or piece[1]]


class _Link:
    """A post-processor, and where the segments end in what it gives."""

    def __init__(self, plugin: str, processor: PostProcessor) -> None:
        self.plugin = plugin
        self._processor = processor
        self._taken = 0
        self._given = 0
        self._ends: deque[int] = deque()
        """Sample counts of the output at which segments end that has not been given yet."""

    def process(self, samples: Samples, ends: bool) -> list[Piece]:
        self._taken += len(samples)
        samples = _finite(samples)
        out = self._call(lambda: self._processor.process(samples)) if len(samples) else EMPTY
        if ends:
            rest = self._call(self._processor.end_segment)
            out = np.concatenate([out, rest]) if len(rest) else out
            # One that holds samples back without changing their number gives the end of the segment later.
            at = self._given + len(out) if self._processor.changes_length else self._taken
            self._ends.append(at)
        return self._cut(out)

    def finish(self) -> list[Piece]:
        out = self._cut(self._call(self._processor.finish))
        if not self._processor.changes_length and self._given != self._taken:
            raise PluginFailure(self.plugin, f"it was given {self._taken} samples and gave {self._given}")
        return out

    def _cut(self, out: Samples) -> list[Piece]:
        pieces: list[Piece] = []
        while self._ends and self._ends[0] <= self._given + len(out):
            length = self._ends.popleft() - self._given
            pieces.append((out[:length], True))
            out, self._given = out[length:], self._given + length
        self._given += len(out)
        return [*pieces, (out, False)] if len(out) or not pieces else pieces

    def _call(self, work: Callable[[], Samples]) -> Samples:
        out = _guarded(self.plugin, work)
        if not isinstance(out, np.ndarray) or out.dtype != np.float32 or out.ndim != 1:
            what = f"{out.dtype}, shape {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
            raise PluginFailure(self.plugin, f"it gave no float32 samples of shape (n,) but {what}")
        return out


def _finite(samples: Samples) -> Samples:
    """The samples; where some are no audio, NaN becomes silence, and what is beyond 24 dB above full scale is cut."""
    if np.abs(samples).max(initial=0) <= LOUDEST:  # False for NaN, too
        return samples
    return np.clip(np.nan_to_num(samples, nan=0.0, posinf=LOUDEST, neginf=-LOUDEST), -LOUDEST, LOUDEST)


def _guarded(plugin: str, work: Callable[[], Result]) -> Result:
    try:
        return work()
    except MoreError as error:
        if not plugin or isinstance(error, PluginFailure):
            raise
        raise PluginFailure(plugin, error.message) from error
    except Exception as error:
        if not plugin:
            raise
        raise PluginFailure(plugin, f"{type(error).__name__}: {error}") from error
