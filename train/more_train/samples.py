"""Samples of a training: its weights become a model for a moment, and the server's own engine speaks with it."""

import asyncio
import gc
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from more_server.audio.encode import encode_file
from more_server.audio.read import resample, trim_silence
from more_server.engine.engine import Engine
from more_server.lessons.outcome import SENTENCES
from more_server.speech import Profile, Samples, Segment, Utterance, Voice
from more_server.tables import EngineSettings
from more_server.text import normalise, split
from more_train import rates

REFERENCE_SECONDS = 30.0
"""Of a speaker's clips: as much as the conditioning takes."""
PROFILE = Profile(name="sample", temperature=0.75, top_p=0.9)
"""The server's `balanced`, without post-processing, which would hide what the model does."""
SEED = 20


@dataclass(frozen=True)
class Sentence:
    """Something to say."""

    text: str
    language: str


def speak(
    base: Path,
    changed: Mapping[str, Tensor],
    sentences: Sequence[Sentence],
    references: Sequence[Samples],
    folder: Path,
    device: torch.device,
    check: Callable[[], None],
) -> list[Samples]:
    """Write 1.wav, 2.wav … into the folder; their samples at 24 kHz.

    changed: tensors by their names in model.safetensors, in place of the base's; references: at the rate of mels.
    """
    with tempfile.TemporaryDirectory(prefix=".model.partial-", dir=folder.parent) as place:
        model = Path(place) / "sample"
        write_model(base, changed, model)
        # As many threads as before: the number is the process's, and sums depend on it.
        settings = EngineSettings(device=str(device), threads=torch.get_num_threads(), slots=1)
        engine = Engine(model, settings)
        tf32 = torch.backends.cudnn.allow_tf32
        engine.start()
        try:
            spoken = asyncio.run(_speak(engine, sentences, references, check))
        finally:
            engine.stop()
            torch.backends.cudnn.allow_tf32 = tf32
            del engine
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    for number, samples in enumerate(spoken, start=1):
        (folder / f"{number}.wav").write_bytes(encode_file(samples, rates.STORED, "wav"))
    lines = [f"{number}.wav\t{sentence.text}\n" for number, sentence in enumerate(sentences, start=1)]
    (folder / SENTENCES).write_text("".join(lines), "utf-8")
    return spoken


def write_model(base: Path, changed: Mapping[str, Tensor], folder: Path) -> None:
    """A model folder like the base with other tensors, each in the base's type."""
    folder.mkdir()
    for name in ("config.json", "vocab.json"):
        shutil.copyfile(base / name, folder / name)
    with safe_open(base / "model.safetensors", framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    for name, tensor in changed.items():
        tensors[name] = tensor.detach().to("cpu", tensors[name].dtype).contiguous()
    save_file(tensors, folder / "model.safetensors")


async def _speak(
    engine: Engine, sentences: Sequence[Sentence], references: Sequence[Samples], check: Callable[[], None]
) -> list[Samples]:
    await engine.wait_ready()
    trimmed = [trim_silence(samples, rates.MEL) for samples in references]
    latents = await engine.condition([(one, resample(one, rates.MEL, rates.SPEAKER)) for one in trimmed])
    spoken = []
    for number, sentence in enumerate(sentences, start=1):
        check()
        utterance = Utterance(
            id=f"sample {number}",
            segments=_segments(engine, sentence),
            voice=Voice(id="sample", name="Sample"),
            latents=latents,
            language=sentence.language,
            profile=PROFILE,
            speed=1.0,
            seed=SEED,
        )
        pieces = [audio.samples async for audio in engine.generate(utterance)]
        spoken.append(np.concatenate([np.zeros(0, np.float32), *pieces]))
    return spoken


def _segments(engine: Engine, sentence: Sentence) -> tuple[Segment, ...]:
    """As speak.py makes them."""
    language, tokenizer = sentence.language, engine.tokenizer
    pieces = split(
        normalise(sentence.text, language),
        language,
        count_tokens=lambda piece: tokenizer.count(piece, language),
        max_tokens=engine.config.max_segment_tokens,
        first_max_tokens=PROFILE.first_segment_tokens,
    )
    return tuple(Segment(piece.text, tokenizer.encode(piece.text, language), piece.mark) for piece in pieces)
