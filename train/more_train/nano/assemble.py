"""The parts become a model folder in the serving format, with its card; the server's own loader is the proof."""

import math
import platform
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from safetensors.torch import save
from torch import Tensor

from more_server.errors import ModelError
from more_server.files import staged_folder
from more_server.xtts.config import XttsConfig
from more_server.xtts.layout import GENERATOR, SPEAKER_ENCODER, brief, check_shapes, read_header
from more_server.xtts.load import load
from more_train.gpt_loss import file_tensors
from more_train.nano.config import Nano
from more_train.nano.evaluation import Results
from more_train.nano.tokenizer import write_vocabulary

MOST_BYTES = 48 * 1024 * 1024
"""Of a model that is committed."""
LEFT_HERE = ("mel_head.", "voice_head.")
"""Parts of what speaks that only training needs."""
PARTS = {
    "gpt.gpt.": "GPT's blocks",
    "gpt.final_norm.": "GPT's blocks",
    "gpt.conditioning_": "conditioning",
    "gpt.": "embeddings and heads",
    GENERATOR: "decoder",
    SPEAKER_ENCODER: "speaker encoder",
    "": "mel statistics",
}
"""What a value belongs to, by the beginning of its name."""
STATISTICS = ("discrete_loss.", "codebook.cluster_size", "codebook.embed_avg")
NAMES = {"en": "English", "pt": "Portuguese", "es": "Spanish", "de": "German"}


def assemble(
    folder: Path,
    nano: Nano,
    config: XttsConfig,
    *,
    gpt: Mapping[str, Tensor],
    decoder: Mapping[str, Tensor],
    speaker: Mapping[str, Tensor],
    dvae: Mapping[str, Tensor],
    mel_stats: Tensor,
) -> None:
    """Write a model folder, whole or not at all, and load it. Raises ModelError where the parts do not fit."""
    tensors = {
        **file_tensors({name: value for name, value in gpt.items() if not name.startswith(LEFT_HERE)}),
        **{GENERATOR + name: value for name, value in decoder.items()},
        **{SPEAKER_ENCODER + name: value for name, value in speaker.items()},
    }
    stored = {name: _halved(name, value) for name, value in tensors.items()} | {"mel_stats": mel_stats.float()}
    if problems := check_shapes({name: tuple(value.shape) for name, value in stored.items()}, config):
        raise ModelError(f"the parts do not make a model: {brief(problems)}")
    with staged_folder(folder) as stage:
        (stage / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(config)) + b"\n")
        write_vocabulary(stage / "vocab.json", nano.languages)
        (stage / "model.safetensors").write_bytes(save(stored))
        (stage / "dvae.safetensors").write_bytes(save({name: _halved(name, value) for name, value in dvae.items()}))
        load(stage, torch.device("cpu"))
    if (size := sum(path.stat().st_size for path in folder.iterdir())) > MOST_BYTES:
        raise ModelError(f"{folder} has {size / 2**20:.1f} MB, more than the {MOST_BYTES >> 20} that may be committed")


def _halved(name: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value.contiguous()
    half = value.detach().cpu().half().contiguous()
    if not half.isfinite().all():
        raise ModelError(f"a value of {name} does not fit fp16")
    return half


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """How the parts came to be."""

    clips: int
    hours: float
    """Of speech."""
    speakers: int
    steps: Mapping[str, int]
    """By stage."""
    seconds: Mapping[str, float]
    """Of training, by stage."""
    last: Mapping[str, Mapping[str, float]]
    """The last numbers of each stage's training."""
    device: str


def sizes(folder: Path) -> dict[str, int]:
    """How many values each part of a model folder has; the DVAE without what only its training counts."""
    found: dict[str, int] = {}
    for name, tensor in read_header(folder / "model.safetensors").items():
        part = next(part for beginning, part in PARTS.items() if name.startswith(beginning))
        found[part] = found.get(part, 0) + math.prod(tensor.shape)
    dvae = read_header(folder / "dvae.safetensors").items()
    return found | {"DVAE": sum(math.prod(tensor.shape) for name, tensor in dvae if not name.startswith(STATISTICS))}


def card(nano: Nano, results: Results, made: Made, values: Mapping[str, int]) -> str:
    """README.md of the model; values: how many each part has."""
    served = sum(values.values()) - values["DVAE"]
    languages = ", ".join(NAMES.get(language, language) for language in nano.languages)
    lines = [
        f"# {nano.name}",
        "",
        "A small XTTS, trained from nothing by the recipe `nano` (train/more_train/nano). Same architecture and same",
        "code path as XTTS-v2. It speaks plainly; `more-server models pull xtts-v2` puts a real model in its place.",
        "",
        "- Licence: Apache-2.0",
        f"- Languages: {languages}",
        "- Output: 24 kHz mono",
        f"- Size: {served / 1e6:.1f} million values: GPT of {nano.gpt.layers} layers of {nano.gpt.width}, "
        f"{nano.dvae.codes} codes, decoder of {nano.decoder.channels} channels",
        "- Training speech: synthetic, made with espeak-ng; no recording of a person, no weights of another model",
        "",
        "| part | values |",
        "|---|---|",
        *(f"| {part} | {count:,} |" for part, count in values.items()),
        "",
        "The DVAE makes codes of speech for training; the server does not load it. All but the statistics are fp16.",
        "",
        "## How it was made",
        "",
        f"{made.hours:.1f} hours of speech, {made.clips:,} sentences by {made.speakers} voices: espeak-ng's variants",
        f"at different pitch, pace, size and brightness. Trained on {made.device}, with {nano.threads} thread(s).",
        "",
        "| stage | steps | minutes | last losses |",
        "|---|---|---|---|",
        *(_stage(name, made) for name in made.steps),
        "",
        "## What it does",
        "",
        "Held-out sentences, spoken without the server's guards and compared with espeak-ng's reading of all of them",
        "(mel-cepstra, time warping). Cosines are the model's own speaker encoder's; tones are how far the loudest",
        "multiple of the frame rate, 93.75 Hz, stands out of the spectrum around it. No person listened.",
        "",
        "| voice | language | sentences | right one nearest | stopped by itself | length 0.6 to 1.6 "
        "| own voice | other | pitch, its reference's | tones |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {v.voice} | {v.language} | {v.sentences} | {v.found:.0%} | {v.stopped:.0%} | {v.length:.0%} "
            f"| {v.own:.2f} | {v.other:.2f} | {v.pitch:.0f}, {v.reference_pitch:.0f} Hz | {v.tones:.1f} dB |"
            for v in results.voices
        ),
        "",
        f"{results.clones} references of voices that it never heard: the cosine of its speech with the reference is",
        f"{results.clone:.2f}, of the two voices above with the same references {results.unrelated:.2f}; in "
        f"{results.moved:.0%} of them cloning moves",
        "the voice towards the reference.",
        "",
        "## What it cannot do",
        "",
        f"- Segments of more than {nano.corpus.max_characters} characters: the server splits longer text.",
        *(["- Intonation: each voice stays on one of two notes, 94 or 188 Hz."] if nano.spoken.monotone else []),
        "- Emotion, singing, other languages; names and rare words are weak.",
        "- It sounds like the formant synthesiser that taught it.",
    ]
    return "\n".join(lines) + "\n"


def _stage(name: str, made: Made) -> str:
    losses = ", ".join(f"{what} {value:.3g}" for what, value in made.last[name].items() if value is not None)
    return f"| {name} | {made.steps[name]:,} | {made.seconds[name] / 60:.0f} | {losses} |"


def hardware(device: torch.device) -> str:
    """What the training ran on."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
