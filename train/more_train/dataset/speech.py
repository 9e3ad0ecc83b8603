"""Where speech is: silero's voice activity model through onnxruntime, and stretches of speech out of what it says.

silero_vad itself is never imported: doing so sets torch to one thread for the whole process. Its file for whole
sequences gives the figures of the one for single frames, four times as fast (1.9 ms per second of audio).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from more_server.errors import MoreError
from more_server.speech import Samples

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

RATE = 16_000
FRAME, CONTEXT = 512, 64
"""Samples that the model hears at a time, and those before them that it is shown again."""
FRAME_SECONDS = FRAME / RATE
MODEL = "silero_vad_16k_sequence.onnx"
STARTS, ENDS = 0.5, 0.35
"""Probabilities at which silero itself lets speech begin and end."""
SHORTEST_SPEECH, SHORTEST_PAUSE = 0.1, 0.1
"""Seconds; a blip below the first is no speech, a gap below the second is the closure of a `t` or `p`."""


class Stretch(msgspec.Struct, frozen=True):
    """Speech without a pause."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""

    @property
    def seconds(self) -> float:
        return self.end - self.start


class Silero:
    """The model; one serves all threads."""

    def __init__(self) -> None:
        """Raises MoreError where a package of the extra `train` is missing."""
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise MoreError("onnxruntime is missing: pip install 'more-server[train]'") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # recordings are what runs side by side
        options.log_severity_level = 3
        self.session: InferenceSession = onnxruntime.InferenceSession(
            str(model_file()), options, providers=["CPUExecutionProvider"]
        )


def model_file() -> Path:
    """silero's file, found without importing its package. Raises MoreError."""
    spec = find_spec("silero_vad")
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        if (path := Path(place) / "data" / MODEL).is_file():
            return path
    raise MoreError(f"silero-vad's {MODEL} is missing: pip install 'more-server[train]'")


class Listener:
    """One recording, heard piece by piece."""

    def __init__(self, silero: Silero) -> None:
        self._session = silero.session
        self._rest: Samples = np.zeros(0, np.float32)
        self._context: Samples = np.zeros(CONTEXT, np.float32)
        self._state = [np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)]
        self._heard: list[NDArray[np.float32]] = []

    def feed(self, samples: Samples) -> None:
        """More of it, shape (n,) at RATE hertz."""
        joined = np.concatenate([self._rest, samples])
        count = len(joined) // FRAME
        self._rest = joined[count * FRAME :]
        if count:
            self._hear(joined[: count * FRAME].reshape(count, FRAME))

    def finish(self) -> NDArray[np.float32]:
        """Probabilities of speech, one for each FRAME_SECONDS."""
        if len(self._rest):
            self.feed(np.zeros(FRAME - len(self._rest), np.float32))
        return np.concatenate(self._heard) if self._heard else np.zeros(0, np.float32)

    def _hear(self, frames: NDArray[np.float32]) -> None:
        contexts = np.concatenate([self._context[np.newaxis], frames[:-1, -CONTEXT:]])
        self._context = frames[-1, -CONTEXT:]
        shown = {"input": np.concatenate([contexts, frames], axis=1), "h": self._state[0], "c": self._state[1]}
        heard, *self._state = self._session.run(["speech_probs", "hn", "cn"], shown)
        self._heard.append(heard.reshape(-1))


def stretches(probabilities: NDArray[np.float32]) -> list[Stretch]:
    """Speech in order, parted wherever there is a pause."""
    found: list[list[int]] = []
    speaking = False
    for index, probability in enumerate(probabilities.tolist()):
        speaking = probability >= (ENDS if speaking else STARTS)
        if not speaking:
            continue
        if found and (index - found[-1][1]) * FRAME_SECONDS < SHORTEST_PAUSE:
            found[-1][1] = index + 1
        else:
            found.append([index, index + 1])
    return [
        Stretch(start * FRAME_SECONDS, end * FRAME_SECONDS)
        for start, end in found
        if (end - start) * FRAME_SECONDS >= SHORTEST_SPEECH
    ]
