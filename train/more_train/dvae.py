"""The codes of audio: coqui's DVAE, its encoder alone, on dvae.safetensors of a model folder.

What it makes of a clip is kept in one file by the clip's content, so that it is made once.
"""

import hashlib
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from more_server.errors import ModelError, StorageError
from more_server.speech import Samples
from more_server.xtts import torchaudio_shim
from more_server.xtts.config import XttsConfig
from more_train import rates
from more_train.inputs import DVAE_FILE, dvae_of

FRAMES_PER_CODE = 4
STRIDE = 2
"""Of each of the two convolutions that make one code of four frames."""
WAIT_SECONDS = 600.0
"""For another process to write its codes."""

Codes = NDArray[np.int32]


class Dvae:
    """From audio to codes."""

    def __init__(self, config: XttsConfig, tensors: dict[str, Tensor], mel_stats: Tensor, device: torch.device) -> None:
        self.device = device
        self._stride_samples = config.gpt.code_stride_len
        self._weights = {
            name: tensor.float().to(device) for name, tensor in tensors.items() if name.startswith("encoder.")
        }
        self._codebook = tensors["codebook.embed"].float().to(device)
        self._squares = self._codebook.square().sum(dim=0)
        self._mel_stats = mel_stats.float().to(device)
        self._mel = _mel_spectrogram(config).to(device)
        self._layers = sorted({int(name.split(".")[1]) for name in self._weights})

    @torch.inference_mode()
    def mel(self, audio: Tensor) -> Tensor:
        """Normalised log mel (1, mels, frames) of audio (n,) at 22,050 Hz, as the DVAE was trained on."""
        mel: Tensor = torch.log(self._mel(audio[None]).clamp(min=1e-5)) / self._mel_stats[:, None]
        return mel

    @torch.inference_mode()
    def encode(self, samples: Samples) -> Codes:
        """Codes of a clip at 22,050 Hz, one for each 1024 samples, the last for what is left."""
        hidden = self.mel(torch.from_numpy(samples).to(self.device))
        for layer in self._layers:
            hidden = self._apply(layer, hidden)
        vectors = hidden[0].t()
        # The nearest vector of the codebook; the square of the frame itself changes nothing in that.
        nearest = (2 * vectors @ self._codebook - self._squares).argmax(dim=1)
        count = -(-len(samples) // self._stride_samples)
        return nearest[:count].to(torch.int32).cpu().numpy()

    def _apply(self, layer: int, hidden: Tensor) -> Tensor:
        name = f"encoder.{layer}"
        if f"{name}.0.weight" in self._weights:
            return F.relu(self._conv(f"{name}.0", hidden, STRIDE))
        if f"{name}.weight" in self._weights:
            return self._conv(name, hidden)
        inner = F.relu(self._conv(f"{name}.net.0", hidden))
        inner = F.relu(self._conv(f"{name}.net.2", inner))
        return self._conv(f"{name}.net.4", inner) + hidden

    def _conv(self, name: str, hidden: Tensor, stride: int = 1) -> Tensor:
        weight = self._weights[f"{name}.weight"]
        padding = (weight.shape[-1] - 1) // 2
        return F.conv1d(hidden, weight, self._weights[f"{name}.bias"], stride=stride, padding=padding)


def _mel_spectrogram(config: XttsConfig) -> nn.Module:
    torchaudio_shim.install()
    from torchaudio.transforms import MelSpectrogram

    # coqui's TorchMelSpectrogram by its defaults: another window than the conditioning's in XTTS-v2.
    mel: nn.Module = MelSpectrogram(
        n_fft=1024,
        hop_length=256,
        win_length=1024,
        power=2,
        normalized=False,
        sample_rate=rates.MEL,
        f_min=0,
        f_max=8000,
        n_mels=config.conditioning.n_mels,
        norm="slaney",
    )
    return mel


def load_dvae(folder: Path, config: XttsConfig, mel_stats: Tensor, device: torch.device) -> Dvae:
    """The DVAE of a model folder. Raises ModelError saying what to do where there is none, or another model's."""
    path = dvae_of(folder)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    codes = config.gpt.num_audio_tokens - 2
    names = [name for name in tensors if re.fullmatch(r"encoder\.\d+\.0\.weight", name)]
    halvings = len([name for name in names if tensors[name].dim() == 3])
    codebook = tensors.get("codebook.embed")
    if codebook is None or codebook.dim() != 2 or codebook.shape[1] != codes or STRIDE**halvings != FRAMES_PER_CODE:
        raise ModelError(f"{path} is not the DVAE of a model with {codes} codes, one for {FRAMES_PER_CODE} mel frames")
    return Dvae(config, tensors, mel_stats, device)


class CodeCache:
    """Codes and lengths of clips by the hash of clip, DVAE and mel; several processes may use one file."""

    def __init__(self, path: Path, stamp: str) -> None:
        """stamp: another one whenever the same clip would give other codes. Raises StorageError."""
        self._path, self._stamp = path, stamp
        self._do("CREATE TABLE IF NOT EXISTS codes (key TEXT PRIMARY KEY, samples INTEGER, codes BLOB)")

    def key(self, content: bytes) -> str:
        """The key of a file's content."""
        return hashlib.sha256(self._stamp.encode() + content).hexdigest()

    def get(self, key: str) -> tuple[int, Codes] | None:
        """Samples and codes of a clip, where they are known."""
        rows = self._do("SELECT samples, codes FROM codes WHERE key = ?", key)
        return (rows[0][0], np.frombuffer(rows[0][1], np.int32)) if rows else None

    def put(self, key: str, samples: int, codes: Codes) -> None:
        """Keep them. Raises StorageError."""
        self._do("INSERT OR REPLACE INTO codes VALUES (?, ?, ?)", key, samples, codes.astype(np.int32).tobytes())

    def _do(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS)) as database, database:
                # What a power failure spoils is made again; waiting for the disk after each clip is not worth it.
                database.execute("PRAGMA synchronous = OFF")
                return database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be used: {error}; it can be deleted at any time") from error


def stamp(folder: Path) -> str:
    """What the codes of a clip depend on beside the clip: the DVAE and the statistics of the mel."""
    state = hashlib.sha256()
    for name in (DVAE_FILE, "config.json"):
        state.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return state.hexdigest()
