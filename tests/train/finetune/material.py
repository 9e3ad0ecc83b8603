"""What these tests train on: a tiny model with a DVAE, and clips of a buzz that says nothing."""

import hashlib
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import torch
from more_train.dataset.format import VERSION, Dataset
from more_train.dataset.settings import DatasetSettings
from safetensors.torch import save_file

from more_server.testing import tiny_config, tiny_xtts
from more_server.xtts import torchaudio_shim
from more_server.xtts.config import XttsConfig

TEXTS = (
    "The train to the city leaves at seven.",
    "A cat sat on the wall and looked at me.",
    "Where did you put my green umbrella?",
    "It rains, so we stay at home today.",
    "Nobody knows the way to the old mill.",
    "Bring two apples and a loaf of bread.",
)


def coqui_dvae(codes: int, *, hidden: int = 16, width: int = 16, blocks: int = 1) -> Any:
    """Coqui's own class; XTTS-v2's has 1024 codes, hidden and width 512, three blocks."""
    torchaudio_shim.install()
    from TTS.tts.layers.xtts.dvae import DiscreteVAE

    return DiscreteVAE(
        channels=80,
        normalization=None,
        positional_dims=1,
        num_tokens=codes,
        codebook_dim=width,
        hidden_dim=hidden,
        num_resnet_blocks=blocks,
        kernel_size=3,
        num_layers=2,
        use_transposed_convs=False,
    ).eval()


def tiny_trainable(folder: Path, config: XttsConfig | None = None) -> Path:
    """The tiny model with random weights, and a random DVAE whose codes all occur."""
    config = config or tiny_config()
    tiny_xtts(folder, config=config)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(5)
        dvae = coqui_dvae(config.gpt.num_audio_tokens - 2)
        frames = dvae.encoder(torch.randn(1, 80, 4 * dvae.codebook.embed.shape[1]))[0]
        dvae.codebook.embed.copy_(frames)
    save_file({name: tensor.contiguous() for name, tensor in dvae.state_dict().items()}, folder / "dvae.safetensors")
    return folder


def write_clip(path: Path, seconds: float, pitch: float, seed: int = 0) -> None:
    """A buzz with noise in it as FLAC of 24 kHz."""
    random = np.random.default_rng(seed)
    time = np.arange(round(24_000 * seconds)) / 24_000
    wave = np.sign(np.sin(2 * np.pi * pitch * time)) * (0.5 + 0.5 * np.sin(2 * np.pi * 2.5 * time))
    samples = (8000 * wave + 300 * random.normal(size=time.size)).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=24_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 24_000
        for piece in (frame, None):
            container.mux(stream.encode(piece))


def write_dataset(
    folder: Path, clips: int = 12, *, held_out: int = 2, seconds: float = 2.0, speakers: int = 2, **changes: Any
) -> Path:
    """A dataset in the format of more_train.dataset: dataset.json, clips.jsonl, and the clips."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(clips):
        length = seconds * (0.8 + 0.4 * number / max(1, clips - 1))
        speaker = number % speakers
        file = f"clips/{number:03}.flac"
        write_clip(folder / file, length, 110 * (1 + speaker), number)
        lines.append(
            {
                "id": f"{number:03}",
                "file": file,
                "speaker": f"speaker-{speaker}",
                "language": "en",
                "text": TEXTS[number % len(TEXTS)],
                "seconds": round(length, 3),
                "split": "held_out" if number < held_out else "train",
                "source": "buzz.wav",
                "start": 0.0,
                "end": round(length, 3),
            }
            | changes
        )
    described = Dataset(
        version=VERSION,
        name="buzz",
        language="en",
        speakers=tuple(f"speaker-{number}" for number in range(speakers)),
        clips=clips,
        seconds=sum(line["seconds"] for line in lines),
        held_out=held_out,
        source="buzz.wav",
        settings=DatasetSettings(language="en"),
    )
    (folder / "dataset.json").write_bytes(msgspec.json.encode(described))
    (folder / "clips.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return folder


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """One hash of names and bits."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        state.update(name.encode() + tensors[name].contiguous().numpy().tobytes())
    return state.hexdigest()
