"""What a fine-tuning begins with, looked at before anything heavy is loaded.

checked = check_inputs(model, dataset, FineTune())   # BadInput naming the field: model, dataset or recipe.batch_size
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from more_server.errors import BadInput, ModelError
from more_server.models import check_model
from more_server.text import LANGUAGES, normalise, split
from more_server.xtts.config import XttsConfig
from more_server.xtts.layout import expected_shapes
from more_server.xtts.tokenizer import Tokenizer
from more_train import rates
from more_train.dataset.format import read_dataset
from more_train.recipe import FineTune

GPT = "gpt."
"""Names of what fine-tuning changes, the conditioning included; the decoder and the speaker encoder stay frozen."""
DVAE_FILE = "dvae.safetensors"
CHECKPOINT_BYTES = 16
"""Of each value that is trained: itself, its average, and the two that AdamW keeps."""
CHECKPOINTS = 4
"""On disk at a time: the last two, the best, and the one that is being written."""


@dataclass(frozen=True)
class Limits:
    """Of clips, by the recipe and by the model."""

    shortest_seconds: float
    longest_seconds: float
    most_codes: int
    """Of one segment of the model."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a training has to do with, as far as that is known without audio and weights."""

    clips: int
    """To train on."""
    held_out: int
    seconds: float
    """Of the clips to train on."""
    disk_bytes: int
    """That checkpoints and the finished model take at most."""


def check_inputs(model: Path, dataset: Path, recipe: FineTune) -> Checked:
    """Raises BadInput naming the field that keeps it from training."""
    try:
        config = trainable(model)
    except ModelError as error:
        raise BadInput(error.message, param="model") from error
    try:
        _, clips = read_dataset(dataset)
        limits, tokenizer = limits_of(recipe, config), Tokenizer(model / "vocab.json")
        found = [(clip, learnable(clip, config, limits, tokenizer)) for clip in clips]
        fit = [clip for clip, tokens in found if not isinstance(tokens, str)]
        train = [clip for clip in fit if clip.split == "train"]
        left_out = Counter(reason for _, reason in found if isinstance(reason, str))
        check_enough(len(train), len(fit) - len(train), left_out, recipe, dataset)
    except BadInput as error:
        raise BadInput(error.message, param=error.param or "dataset") from error
    return Checked(
        clips=len(train),
        held_out=len(fit) - len(train),
        seconds=round(sum(clip.seconds for clip in train), 1),
        disk_bytes=_disk_bytes(model, config),
    )


def trainable(model: Path) -> XttsConfig:
    """The config of a model that can be trained. Raises ModelError."""
    config = check_model(model)
    found = (config.output_sample_rate, config.sample_rate, config.speaker_encoder.sample_rate)
    if found != (rates.STORED, rates.MEL, rates.SPEAKER):
        raise ModelError(
            f"model {model.name} has the sample rates {found}; training knows {rates.STORED}, {rates.MEL} and "
            f"{rates.SPEAKER} Hz"
        )
    dvae_of(model)
    return config


def dvae_of(model: Path) -> Path:
    """The file of a model's DVAE. Raises ModelError saying what to do where there is none."""
    path = model / DVAE_FILE
    if not path.is_file():
        raise ModelError(
            f"model {model.name} cannot be trained: it has no {DVAE_FILE}, which makes codes of audio. "
            "Put coqui's dvae.pth beside the original model.pth and import it again with `more-server models import`, "
            "or fetch the whole model with `more-server models pull xtts-v2`"
        )
    return path


def limits_of(recipe: FineTune, config: XttsConfig) -> Limits:
    """What clips may be."""
    return Limits(recipe.shortest_seconds, recipe.longest_seconds, config.gpt.max_mel_tokens - 3)


def learnable(clip: Any, config: XttsConfig, limits: Limits, tokenizer: Tokenizer) -> tuple[int, ...] | str:
    """The tokens of a clip's text, or why it cannot be learnt, as far as that is known without its audio."""
    if clip.seconds < limits.shortest_seconds:
        return f"shorter than {limits.shortest_seconds:g} s"
    longest = min(limits.longest_seconds, limits.most_codes * config.seconds_per_code)
    if clip.seconds > longest:
        return f"longer than {longest:.1f} s"
    if clip.language not in config.languages or clip.language not in LANGUAGES:
        return f"language {clip.language} is not the model's"
    tokens = tokens_of(clip.text, clip.language, config, tokenizer)
    if tokens is None or len(tokens) < 2 or len(tokens) > config.gpt.max_text_tokens:
        return "text too long for one segment, or nothing to speak"
    return tokens


def tokens_of(text: str, language: str, config: XttsConfig, tokenizer: Tokenizer) -> tuple[int, ...] | None:
    """Tokens of a text as serving makes them (speak.py); None where it is not spoken in one breath."""
    spoken = normalise(text, language)
    pieces = split(
        spoken,
        language,
        count_tokens=lambda piece: tokenizer.count(piece, language),
        max_tokens=config.max_segment_tokens,
    )
    return tokenizer.encode(pieces[0].text, language) if len(pieces) == 1 else None


def check_enough(train: int, held_out: int, left_out: Mapping[str, int], recipe: FineTune, dataset: Path) -> None:
    """Raises BadInput where there is too little to learn from, or nothing to judge by."""
    told = "; ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    why, name = f" Left out: {told}." if told else "", dataset.absolute().name
    if train < recipe.batch_size:
        raise BadInput(
            f"{name} has {train} clips to train on, batch_size is {recipe.batch_size}.{why} "
            "Record more, or lower batch_size; a voice takes ten minutes at least"
        )
    if not held_out:
        raise BadInput(
            f"{name} has no clip held out, so that nobody would know when to stop.{why} "
            "Build it anew from more recordings"
        )


def _disk_bytes(model: Path, config: XttsConfig) -> int:
    trained = sum(math.prod(shape) for name, shape in expected_shapes(config).items() if name.startswith(GPT))
    files = sum(path.stat().st_size for path in model.iterdir() if path.is_file())
    return CHECKPOINTS * CHECKPOINT_BYTES * trained + 2 * files  # a model for samples, then the finished one
