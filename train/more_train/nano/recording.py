"""A shard is spoken: what the processes that make speech run. Without torch they start in a third of a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import save

from more_server.files import write_file
from more_train.nano.phrases import GRAMMARS
from more_train.nano.speech import Espeak, Speaker

LEAST_CODES = 4
"""Of a clip; a shorter one says nothing."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence, and who says it."""

    text: str
    language: str
    speaker: int
    """Its place among `speakers`."""


def speak(path: Path, lines: Sequence[Line], voices: Sequence[Speaker], max_codes: int) -> None:
    """Write one shard; a clip that would be longer than `max_codes` is left out."""
    espeak, kept, pieces, words = Espeak(), list[Line](), list[Any](), list[Any]()
    for line in lines:
        clip = espeak.say(line.text, GRAMMARS[line.language].voice, voices[line.speaker])
        if LEAST_CODES <= clip.codes <= max_codes - 4 and clip.words:
            kept.append(line)
            pieces.append(clip.samples)
            words.append(np.array(clip.words, dtype=np.int32))
    tensors = {
        "samples": np.concatenate(pieces),
        "sample_ends": np.cumsum([len(piece) for piece in pieces]),
        "words": np.concatenate(words),
        "word_ends": np.cumsum([len(piece) for piece in words]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, save(tensors, {"lines": msgspec.json.encode(kept).decode()}))
