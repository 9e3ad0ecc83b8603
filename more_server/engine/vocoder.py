"""Which audio of a segment can be made now: small pieces first, so that it is heard soon, then larger ones.

How a segment is cut depends on itself alone: the same frames are rounded in another way in another piece, and a
neighbour must not change what is heard.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence as Many

from torch import Tensor

from more_server.engine.sequence import Sequence
from more_server.speech import Samples
from more_server.xtts.decoder import Decoder, Window
from more_server.xtts.streaming import Streamed

FIRST_FRAMES = 16
"""170 ms at 93.75 frames a second, for the first two pieces: the second is there before the first is heard out."""


class Vocoder(ABC):
    """Audio out of sequences' latents."""

    together: bool
    """Whether it gains from being asked for several sequences at once."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def ready(self, sequence: Sequence) -> int:
        """Frames of the next piece; 0 while it is not complete."""
        if sequence.ended:
            return self._decoder.frame_count(sequence.latents) - sequence.frames_out
        known = self._decoder.settled_frames(sequence.latents) - sequence.frames_out
        wanted = self._wanted(sequence)
        return wanted if known >= wanted + self._context(sequence) else 0

    def decode(self, sequences: Many[Sequence], latents: Many[Tensor], voices: Many[Tensor]) -> list[Samples]:
        """The next piece of each sequence, mono float32.

        latents: of each, (its latents, width); voices: of each, the speaker embedding. When it raises, nothing of
        the sequences has changed.
        """
        frames = [self.ready(sequence) for sequence in sequences]
        audio = self._decoded(sequences, latents, voices, frames)
        samples: list[Samples] = [piece.float().cpu().numpy() for piece in audio]
        for sequence, count in zip(sequences, frames, strict=True):
            sequence.pieces.append(count)
            sequence.latents_out = sequence.latents
        return samples

    @abstractmethod
    def _wanted(self, sequence: Sequence) -> int:
        """Frames of the next piece, unless the segment ends before."""

    @abstractmethod
    def _context(self, sequence: Sequence) -> int:
        """Further frames that must be known for it."""

    @abstractmethod
    def _decoded(
        self, sequences: Many[Sequence], latents: Many[Tensor], voices: Many[Tensor], frames: Many[int]
    ) -> list[Tensor]:
        """Audio of so many frames of each sequence."""


class PieceVocoder(Vocoder):
    """For a CPU, which is busy with one piece: the decoder's state is kept, so that no frame is decoded twice."""

    together = False
    PIECES = (FIRST_FRAMES, FIRST_FRAMES, 16, 24, 24, 32, 32, 48, 48, 64)
    """Frames of the first pieces and of all that follow. Each is made while those before it are heard, also where three
    streams of XTTS-v2 share two cores (0.83 s of work a second each): 16, 16, 24, 32, 48, 64 left gaps of 114 ms there,
    16, 16, 32, 64 of 140 with two. Larger ones than 0.7 s cost as much per frame, and others wait for them."""

    def _wanted(self, sequence: Sequence) -> int:
        if sequence.held or sequence.number:  # not heard before it is whole, or behind what gave a lead
            return self.PIECES[-1]
        frames = self.PIECES[min(len(sequence.pieces), len(self.PIECES) - 1)]
        # What the first frames depend on is given with them.
        return frames if sequence.pieces else frames + self._decoder.context_frames

    def _context(self, sequence: Sequence) -> int:
        return 0

    def _decoded(
        self, sequences: Many[Sequence], latents: Many[Tensor], voices: Many[Tensor], frames: Many[int]
    ) -> list[Tensor]:
        (sequence,), (known,), (voice,), (count,) = sequences, latents, voices, frames
        state: Streamed = sequence.decoder_state or self._begun(sequence, known, voice)
        sequence.decoder_state = None  # void if what follows fails
        start = sequence.frames_out
        # As it is handed out: once the state has moved on, nothing may fail any more.
        audio = state.process(self._decoder.upsample(known, start, start + count), last=sequence.ended).float().cpu()
        sequence.decoder_state = state
        return [audio]

    def _begun(self, sequence: Sequence, latents: Tensor, voice: Tensor) -> Streamed:
        """A fresh decoder, brought to where the sequence is: further than its beginning only after a failure."""
        state, start = self._decoder.begin(voice), 0
        for count in sequence.pieces:
            state.process(self._decoder.upsample(latents, start, start + count), last=False)
            start += count
        return state


class WindowVocoder(Vocoder):
    """For a GPU, which has room to decode the context of many windows again: equally long ones go together."""

    together = True
    LARGEST = 192
    """2 s: beyond this the context that each window decodes again costs less than 15 %."""
    GROWTH = 1.5

    def _wanted(self, sequence: Sequence) -> int:
        if sequence.held:
            return self.LARGEST
        first = 4 * FIRST_FRAMES if sequence.number else FIRST_FRAMES
        return min(round(first * self.GROWTH ** max(0, len(sequence.pieces) - 1)), self.LARGEST)

    def _context(self, sequence: Sequence) -> int:
        return self._decoder.context_frames

    def _decoded(
        self, sequences: Many[Sequence], latents: Many[Tensor], voices: Many[Tensor], frames: Many[int]
    ) -> list[Tensor]:
        return self._decoder.decode_all(
            [
                Window(known, voice, sequence.frames_out, sequence.frames_out + count)
                for sequence, known, voice, count in zip(sequences, latents, voices, frames, strict=True)
            ]
        )
