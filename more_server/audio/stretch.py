"""Tempo without pitch: FFmpeg's `atempo` over chunks."""

from fractions import Fraction

import av
import av.filter
import numpy as np

from more_server.errors import BadInput
from more_server.speech import Samples

SLOWEST, FASTEST = 0.1, 10.0

FRAME_SECONDS = 0.01
"""2.2 ms of work per second of audio; frames of 20 ms take 1.6 ms and delay the output by 20 ms more."""

PADDING_SECONDS = 0.2
"""Silence behind the end, per unit of tempo above 1: more than the filters hold back at any tempo."""


class Stretcher:
    """Mono audio at another tempo, the pitch as it was; the same samples come out however the input was cut.

    `tempo` 2 speaks twice as fast. n samples become round(n / tempo), no matter the length. At tempo 1
    samples pass untouched and at once. Otherwise the output runs behind by this much of the input, measured at
    24 kHz: 70 ms at tempos 0.5 to 1.2, 90 ms at 2 and at 0.25, 250 ms at 4 (60 ms of listening).
    """

    def __init__(self, tempo: float, sample_rate: int) -> None:
        """BadInput naming `speed` where the tempo is no number from 0.1 to 10."""
        if not SLOWEST <= tempo <= FASTEST:
            raise BadInput(f"speed must be from {SLOWEST} to {FASTEST}, not {tempo}", param="speed")
        self._tempo = tempo
        self._rate = sample_rate
        self._graph = _graph(tempo, sample_rate) if tempo != 1 else None
        # atempo's output depends on how its input is cut (at 0.7, frames of 1, 480 and 777 samples
        # gave three different waveforms), so it only ever sees frames of this size.
        self._frame = round(FRAME_SECONDS * sample_rate)
        self._pending = np.zeros(0, np.float32)
        self._stretched = np.zeros(0, np.float32)
        self._taken = 0
        self._given = 0
        self._finished = False

    def process(self, samples: Samples) -> Samples:
        """Take `samples`, shape (n,), and give what is ready, shape (m,). Raises RuntimeError after finish."""
        if self._finished:
            raise RuntimeError("this stretcher is finished; make a new one for more audio")
        if self._graph is None:
            return samples
        self._taken += len(samples)
        self._push(samples)
        # Never ahead of the input's own length, so that finish has nothing to take back.
        return self._give(int(self._taken / self._tempo))

    def finish(self) -> Samples:
        """The rest, shape (m,): all outputs together are round(n / tempo) samples."""
        self._finished = True
        if self._graph is None or not self._taken:
            return np.zeros(0, np.float32)
        total = round(self._taken / self._tempo)
        # atempo's own flush loses up to 75 ms of the output's end (at 0.25) and all of an input shorter
        # than its 43 ms window; behind silence nothing of the speech is lost.
        self._push(np.zeros(round(PADDING_SECONDS * self._rate * max(1.0, self._tempo)), np.float32))
        rest = self._give(total)
        self._graph = None
        missing = total - self._given
        return np.concatenate([rest, np.zeros(missing, np.float32)]) if missing else rest

    def _push(self, samples: Samples) -> None:
        assert self._graph is not None
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // self._frame * self._frame
        outputs = [self._stretched]
        for start in range(0, whole, self._frame):
            values = np.ascontiguousarray(self._pending[np.newaxis, start : start + self._frame])
            frame = av.AudioFrame.from_ndarray(values, format="flt", layout="mono")
            frame.sample_rate = self._rate
            self._graph.push(frame)
            outputs += _pulled(self._graph)
        self._pending = self._pending[whole:]
        self._stretched = np.concatenate(outputs)

    def _give(self, up_to: int) -> Samples:
        ready = max(0, min(len(self._stretched), up_to - self._given))
        given, self._stretched = self._stretched[:ready], self._stretched[ready:]
        self._given += ready
        return given


def _graph(tempo: float, sample_rate: int) -> av.filter.Graph:
    graph = av.filter.Graph()
    # FFmpeg starts one for every core otherwise, for each graph: 0.7 ms instead of 0.1, and 100 threads for 50 streams.
    graph.threads = 1
    node = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono", time_base=Fraction(1, sample_rate))
    for factor in _factors(tempo):
        stretch = graph.add("atempo", repr(factor))
        node.link_to(stretch)
        node = stretch
    sink = graph.add("abuffersink")
    node.link_to(sink)
    graph.configure()
    return graph


def _factors(tempo: float) -> list[float]:
    """Equal factors from 0.5 to 2 whose product is `tempo`: atempo refuses less and skips samples beyond."""
    count = 1
    while not 0.5 <= tempo ** (1 / count) <= 2:
        count += 1
    return [tempo ** (1 / count)] * count


def _pulled(graph: av.filter.Graph) -> list[Samples]:
    outputs: list[Samples] = []
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return outputs
        assert isinstance(frame, av.AudioFrame)
        outputs.append(frame.to_ndarray()[0].astype(np.float32, copy=False))
