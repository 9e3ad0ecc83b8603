"""coqui's .pth files read as data: a pickle that wants to run anything is refused, never obeyed."""

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from more_server.errors import ModelError


class Inert:
    """Stands in for coqui's configuration classes, which the original checkpoint carries beside its weights."""

    def __init__(self, *_args: object) -> None:
        pass

    def __setstate__(self, _state: object) -> None:
        pass


# Where these classes live today, and where they lived when XTTS-v2 was saved.
CONFIG_CLASSES = (
    "TTS.config.shared_configs.BaseAudioConfig",
    "TTS.config.shared_configs.BaseDatasetConfig",
    "TTS.tts.configs.xtts_config.XttsArgs",
    "TTS.tts.configs.xtts_config.XttsAudioConfig",
    "TTS.tts.configs.xtts_config.XttsConfig",
    "TTS.tts.models.xtts.XttsArgs",
    "TTS.tts.models.xtts.XttsAudioConfig",
)


def read_checkpoint(path: Path) -> Any:
    """Load a .pth: tensors, containers, numbers and text alone; tensors stay on disk until they are used.

    Raises ModelError naming the file, and the global that a pickle asked for beyond these.
    """
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [(Inert, name) for name in CONFIG_CLASSES]
    try:
        with torch.serialization.safe_globals(allowed):
            # The format before torch 1.6 is no zip archive and cannot be mapped.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {found[1]}, which is not data" if found else str(error).splitlines()[0]
        raise ModelError(f"{path} is refused: {reason}. Nothing of it was run") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a broken archive raises whatever its bytes lead to
        raise ModelError(f"{path} is not a checkpoint of torch.save: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, alone or under `model`. Raises ModelError."""
    content = read_checkpoint(path)
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} holds no weights")
    strangers = [name for name, value in content.items() if not (isinstance(name, str) and is_plain(value))]
    if strangers:
        raise ModelError(f"{path} holds {strangers[0]!r} among its weights, which is no plain tensor")
    return {name: tensor.detach() for name, tensor in content.items()}


def is_plain(value: object) -> bool:
    """A dense tensor in memory or in a mapped file, every value of it stored: none sparse, abstract or expanded."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.untyped_storage().nbytes() >= value.nbytes
    )


def fold_weight_norm(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Replace both spellings of torch's weight norm by the weight that they mean.

    `x.weight_g` and `x.weight_v`, or `x.parametrizations.weight.original0` and `original1`, become
    `x.weight` of the same type: one norm per slice of dimension 0, in transposed convolutions too.
    Raises ModelError naming `path` where one of the two is missing.
    """
    folded = dict(state)
    for size, direction in ((".weight_g", ".weight_v"), (".parametrizations.weight.original0", "1")):
        direction = direction if direction.startswith(".") else size[:-1] + direction
        for name in [name for name in state if name.endswith((size, direction))]:
            base = name.removesuffix(size).removesuffix(direction)
            g, v = folded.pop(base + size, None), folded.pop(base + direction, None)
            if g is None and v is None and base + ".weight" in folded:
                continue  # its other half came first
            if g is None or v is None or g.numel() != v.shape[0] or base + ".weight" in folded:
                raise ModelError(f"{path}: the weight norm of {base} is incomplete")
            folded[base + ".weight"] = _fold(g, v)
    return folded


def _fold(g: Tensor, v: Tensor) -> Tensor:
    """In fp32, whatever the weights are stored as."""
    direction = v.float()
    norm = direction.flatten(1).norm(dim=1).view(-1, *(1 for _ in v.shape[1:]))
    weight: Tensor = direction * (g.float().view_as(norm) / norm)
    return weight.to(v.dtype)
