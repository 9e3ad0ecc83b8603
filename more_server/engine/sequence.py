"""What the engine keeps while it speaks: a Stream per utterance, a Sequence per segment. Knows no tensors."""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from more_server.engine.guards import RUN_ON_SECONDS, Bounds, Tail, loop_length, stop_bias
from more_server.speech import Samples, Segment, Utterance

WORD = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


class Listener(Protocol):
    """Where a stream's audio goes; called on the engine's thread, must not block."""

    def audio(self, samples: Samples, guards: tuple[str, ...], ends_segment: bool) -> None: ...
    def end(self, error: BaseException | None) -> None: ...


def mixed(state: int) -> int:
    """SplitMix64's output function (Steele, Lea, Flood 2014): 64 bits in, 64 well-mixed bits out."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB & WORD
    return state ^ (state >> 31)


class Sequence:
    """One segment being spoken."""

    def __init__(self, stream: "Stream", number: int, segment: Segment, bounds: Bounds) -> None:
        self.stream = stream
        self.number = number
        """Which of the utterance's segments this is, from 0."""
        self.segment = segment
        self.bounds = bounds
        self.held = bounds.short or stream.utterance.profile.self_check
        """Nothing of it is handed over before all of it is there and was found good."""
        self.attempt = 0
        """Seeds tried before."""
        self.slot: int | None = None
        self.stepped_at = 0.0
        """Scheduler's clock at its last turn, seconds."""
        self.guards: list[str] = []
        """What guards did, in all attempts."""
        self._guards_before = 0
        """Of those, what they did in earlier attempts."""
        self._guards_given = 0
        """Of those, how many were handed over; an attempt that is begun anew does not tell them again."""
        self._given = 0
        """Samples handed over, of whichever attempt."""
        self.begin()

    def begin(self) -> None:
        """As if nothing had been drawn; what its slot holds is void."""
        state = mixed(self.stream.utterance.seed + GOLDEN & WORD)
        for part in (self.number, self.attempt):
            state = mixed((state ^ part) + GOLDEN & WORD)
        self._random_state = state
        self.prompt_length = 0
        """Positions of its slot that the prompt holds; 0: not prefilled yet."""
        self.codes: list[int] = []
        """Codes drawn, the stop not among them."""
        self.latents = 0
        """Latents in its slot, one per draw, the stop's included."""
        self.pieces: list[int] = []
        """Decoder frames of the pieces of audio made, in order."""
        self.latents_out = 0
        """Latents that were known at the last of them."""
        self.decoder_state: Any = None
        """What a decoder that goes on from piece to piece keeps."""
        self.ended = False
        """No further code will be drawn."""
        self.whole = False
        """All audio of it has been made."""
        self._tail = Tail(self.stream.sample_rate)
        self._made: list[Samples] = []
        del self.guards[self._guards_before :]
        self._again = self._given
        """Samples to be made that were handed over before it was begun anew: they are the same ones."""

    @property
    def frames_out(self) -> int:
        """Decoder frames that audio was made from."""
        return sum(self.pieces)

    # -- drawing codes

    @property
    def noise_key(self) -> int:
        """64 bits for the next draw: of seed, segment, attempt and position alone, so no neighbour moves it."""
        return mixed(self._random_state + GOLDEN * (self.latents + 1) & WORD)

    @property
    def position(self) -> int:
        """Of its slot, where the last drawn code goes."""
        return self.prompt_length + len(self.codes) - 1

    @property
    def may_retry(self) -> bool:
        """Whether it may be spoken again on another seed. No matter of who heard what when: that would make the
        same seed another audio in other company."""
        return self.attempt < self.stream.utterance.profile.retries and (self.held or not self.pieces)

    def stop_bias(self) -> float:
        """What is added to the stop code's logit at the next draw."""
        if len(self.codes) < self.bounds.floor and not self.may_retry:
            return -np.inf
        return stop_bias(self.bounds, len(self.codes))

    def take(self, code: int, stop: int) -> None:
        """A code was drawn. Ends the sequence, or begins it anew, where a guard says so."""
        self.latents += 1
        if code == stop:
            self.ended = True
            if len(self.codes) < self.bounds.floor:
                self._fault("premature")
            elif len(self.codes) > self.bounds.expected:
                self.guards.append("shaped")
            return
        self.codes.append(code)
        if repeated := loop_length(self.codes):
            self.ended = True
            self.latents = max(self.latents - repeated, self.latents_out)
            self._fault("loop")
        elif self.latents >= self.bounds.limit:
            self.ended = True
            self._fault("limit")

    def _fault(self, guard: str) -> None:
        """A guard found this attempt to be bad: another seed where that is still possible."""
        self.guards.append(guard)
        if self.may_retry:
            self.guards.append("retry")
            self.attempt += 1
            self._guards_before = len(self.guards)
            self.begin()

    # -- audio

    def hear(self, samples: Samples, *, last: bool) -> None:
        """Audio of it was made, the next in order; last: there will be no more."""
        self._made.append(self._tail.process(samples))
        if last:
            rest, trimmed = self._tail.finish()
            self._made.append(rest)
            self.whole = True
            if trimmed:
                self.guards.append("trimmed")
            if self.held and not self._tail.heard:
                self._fault("silent")
        elif self._tail.silent_seconds >= RUN_ON_SECONDS and len(self.codes) >= self.bounds.floor and not self.ended:
            self.ended = True
            self.guards.append("silence")

    def hand_over(self) -> tuple[Samples, tuple[str, ...]] | None:
        """Audio that the listener may have now, and what guards did; None while there is nothing to tell."""
        if self.held and not self.whole:
            return None
        made = np.concatenate([np.zeros(0, np.float32), *self._made])
        samples, self._again = made[self._again :], max(0, self._again - len(made))
        self._given += len(samples)
        guards, self._made = tuple(self.guards[self._guards_given :]), []
        self._guards_given = max(self._guards_given, len(self.guards))
        return (samples, guards) if len(samples) or guards or self.whole else None


class Stream:
    """One utterance in the engine, from admission until its listener has been told the end."""

    def __init__(
        self, utterance: Utterance, listener: Listener, bounds: Callable[[Segment], Bounds], sample_rate: int
    ) -> None:
        self.utterance = utterance
        self.listener = listener
        self.sample_rate = sample_rate
        """Hertz of its audio."""
        self._bounds = bounds
        self._begun = 0
        self.sequences: deque[Sequence] = deque()
        """Segments begun whose audio has not all been handed over, in order; the first one is being heard."""
        self.arrived_at = 0.0
        """Scheduler's clock, seconds, as the other times here."""
        self.admitted_at: float | None = None
        self.first_audio_at: float | None = None
        self.ahead_since: float | None = None
        """Since when it waits for its listener, who has taken nothing meanwhile."""
        self.heard_when_ahead = 0
        """Samples the listener had taken then."""
        self.voice_state: Any = None
        """Device tensors of the voice, put here by the runner."""
        self.samples_made = 0
        """Samples handed over."""
        self.samples_heard = 0
        """Samples the listener has taken."""
        self.aborted = False

    def begin_segment(self) -> Sequence:
        """Begin the next segment; there must be one."""
        segment = self.utterance.segments[self._begun]
        sequence = Sequence(self, self._begun, segment, self._bounds(segment))
        self._begun += 1
        self.sequences.append(sequence)
        return sequence

    def let_go(self) -> None:
        """It is over: a listener who has not read it all keeps nothing of the model in memory."""
        self.sequences.clear()
        self.voice_state = None

    @property
    def all_begun(self) -> bool:
        return self._begun == len(self.utterance.segments)

    def handed_over(self, samples: int, now: float) -> None:
        """Its listener was given so many samples at `now` of the scheduler's clock."""
        self.samples_made += samples
        if samples and self.first_audio_at is None:
            self.first_audio_at = now

    def seconds(self, samples: int) -> float:
        """How long a listener plays so many samples, at the tempo that he asked for."""
        return samples / self.sample_rate / self.utterance.speed

    def lead_seconds(self, now: float) -> float:
        """Seconds until a listener who plays from the first audio on runs dry; 0 before any audio."""
        if self.first_audio_at is None:
            return 0.0
        return self.seconds(self.samples_made) - (now - self.first_audio_at)
