"""A chain of filters: checked and measured once, then made for utterance after utterance."""

from typing import NoReturn

import numpy as np

from more_filters.graph import FRAME_SECONDS, Line, parse, samples_of
from more_server import PostProcessor, Samples, Stage
from more_server.errors import BadInput

USUAL_RATE = 24_000
"""Hertz: what XTTS speaks at, so that a chain is refused where it is set, not where it is first used."""
MOST_BEHIND_SECONDS = 1.0
"""A chain that runs further behind would keep listeners waiting; dynaudnorm as it is gives nothing for over 3 s."""
PROBE_LEVEL = 0.1
"""-20 dB of full scale, which is what speech has."""
LEAST_LIKENESS = 0.1
"""Of the probe and what becomes of it, as a correlation; chance alone gives 0.03."""


class Chain:
    """Filters of one name in the settings, and how far what they give runs behind what they get."""

    def __init__(self, name: str, text: str) -> None:
        """Raises BadInput naming the chain where it cannot be used."""
        self._where = f"chains.{name}"
        self._filters = parse(self._where, text)
        self._delays = {USUAL_RATE: self._delay(USUAL_RATE)}

    def make(self, stage: Stage) -> PostProcessor:
        """For one utterance. Takes 0.2 ms; 10 to 50 ms for the first one at a sample rate other than 24 kHz."""
        rate = stage.sample_rate
        if rate not in self._delays:
            self._delays[rate] = self._delay(rate)
        return Filtered(Line(self._where, self._filters, rate), self._delays[rate])

    def _delay(self, rate: int) -> int:
        """Samples by which the chain's output is late, from what it makes of noise. Raises BadInput.

        Neither time stamps nor the documentation tell it: afftdn is 25 ms late without a word, alimiter as late as
        its attack is long unless it is told otherwise, and both lose as much at the end.
        """
        line = Line(self._where, self._filters, rate)
        noise = PROBE_LEVEL * np.random.default_rng(0).standard_normal(rate // line.frame * line.frame)
        silence = np.zeros(2 * rate // line.frame * line.frame)
        result, held = self._probed(line, np.concatenate([noise, silence]).astype(np.float32), rate)
        size = 1 << (len(result) + len(noise)).bit_length()
        spectrum = np.fft.rfft(result, size) * np.conj(np.fft.rfft(noise, size))
        likeness = np.abs(np.fft.irfft(spectrum, size)[: len(silence)])
        delay = int(likeness.argmax())
        if likeness[delay] <= LEAST_LIKENESS * np.linalg.norm(noise) * np.linalg.norm(result):
            self._refuse("leaves too little of what goes through it")
        if (behind := (held + delay) / rate) > MOST_BEHIND_SECONDS:
            self._refuse(f"runs at least {behind:.1f} s behind; at most {MOST_BEHIND_SECONDS:g} s are allowed")
        return delay

    def _probed(self, line: Line, samples: Samples, rate: int) -> tuple[Samples, int]:
        """What becomes of the samples, as many, and how many of them the filters held at most."""
        frames, given, held = [], 0, 0
        for start in range(0, len(samples), line.frame):
            line.push(samples[start : start + line.frame])
            ready = line.pulled()
            given += sum(frame.samples for frame in ready)
            held = max(held, line.pushed - given)
            frames += ready
        line.end()
        frames += line.pulled()
        if any(frame.sample_rate != rate or frame.layout.name != "mono" for frame in frames):
            self._refuse("changes the sample rate or the number of channels")
        result = samples_of(frames)
        if len(result) != len(samples):
            self._refuse(f"makes {len(result)} samples of {len(samples)}; a chain must keep their number")
        if not np.isfinite(result).all():
            self._refuse("gives numbers that are no audio")
        return result, held

    def _refuse(self, why: str) -> NoReturn:
        raise BadInput(f"{self._where} cannot be used: it {why}", param=f"settings.{self._where}")


class Filtered(PostProcessor):
    """Audio through a chain, in its place and to its end; the same samples come out however the input was cut."""

    def __init__(self, line: Line, delay: int) -> None:
        """`delay`: samples by which the line's output is late."""
        self._line = line
        self._late = delay
        """Samples at the beginning of the output that are still to be left out."""
        self._pending = np.zeros(0, np.float32)
        self._ready = np.zeros(0, np.float32)
        self._taken = 0
        self._given = 0

    def process(self, samples: Samples) -> Samples:
        line = self._line
        self._taken += len(samples)
        self._pending = np.concatenate([self._pending, samples])
        whole = len(self._pending) // line.frame * line.frame
        self._push(line, self._pending[:whole])
        self._pending = self._pending[whole:]
        return self._give()

    def finish(self) -> Samples:
        line = self._line
        # Silence behind the end brings out what the filters hold; their own flush loses what they are late by.
        rest = [np.zeros(0, np.float32)]
        frame = np.zeros(line.frame, np.float32)
        frame[: len(self._pending)] = self._pending
        most = self._taken + 2 * line.frame + round(MOST_BEHIND_SECONDS / FRAME_SECONDS) * line.frame
        while self._given < self._taken:
            if line.pushed > most:
                raise RuntimeError(f"the filters kept {self._taken - self._given} samples")
            self._push(line, frame)
            rest.append(self._give())
            frame = np.zeros(line.frame, np.float32)
        return np.concatenate(rest)

    def _push(self, line: Line, samples: Samples) -> None:
        """Whole frames."""
        outputs = [self._ready]
        for start in range(0, len(samples), line.frame):
            line.push(samples[start : start + line.frame])
            outputs.append(samples_of(line.pulled()))
        ready = np.concatenate(outputs)
        late = min(self._late, len(ready))
        self._late -= late
        self._ready = ready[late:]

    def _give(self) -> Samples:
        """What is ready, but never more than went in."""
        count = min(len(self._ready), self._taken - self._given)
        given, self._ready = self._ready[:count], self._ready[count:]
        self._given += count
        return given
