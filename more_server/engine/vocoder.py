"""Which audio of a segment can be made now: windows of frames, the first small, later ones growing."""

import torch
from torch import Tensor

from more_server.engine.sequence import Sequence
from more_server.speech import Samples
from more_server.xtts.decoder import Decoder

FIRST_WINDOW_FRAMES = 16
"""170 ms at 93.75 frames a second, for the first two windows: the second is there before the first is heard out."""
WINDOW_GROWTH = 1.5
"""At XTTS-v2's size on two cores (factor 0.5) doubling from the first window on left gaps of 30 to 60 ms after it."""
LARGEST_WINDOW_FRAMES = 192
"""2 s: beyond this the context that each window decodes again costs less than 15 %."""


class Vocoder:
    """Windows of audio out of a sequence's latents."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def ready(self, sequence: Sequence) -> int:
        """Frames that can be decoded now; 0 while the next window is not complete."""
        count = len(sequence.latents)
        if sequence.ended:
            return self._decoder.frame_count(count) - sequence.frames_out
        settled = self._decoder.settled_frames(count) - self._decoder.context_frames
        growth = WINDOW_GROWTH ** max(0, sequence.windows_out - 1)
        window = min(round(FIRST_WINDOW_FRAMES * growth), LARGEST_WINDOW_FRAMES)
        return settled - sequence.frames_out if settled - sequence.frames_out >= window else 0

    def decode(self, sequence: Sequence, speaker_embedding: Tensor, frames: int) -> Samples:
        """Audio of the next frames; mono float32 on the CPU."""
        start = sequence.frames_out
        audio = self._decoder.decode(torch.stack(sequence.latents), speaker_embedding, start, start + frames)
        sequence.frames_out += frames
        sequence.windows_out += 1
        samples: Samples = audio.float().cpu().numpy()
        return samples
