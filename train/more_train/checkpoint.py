"""A checkpoint on disk: tensors in safetensors, the rest in JSON, a checksum for each file; there whole or not at all.

write(folder / "step-00000120", Checkpoint(120, {"weights": {...}, "ema": {...}}, {"epoch": 3}, score=2.31))
checkpoint = read(folder / "step-00000120")
weights = read_part(folder / "step-00000120", "ema")
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from more_server.errors import MoreError
from more_server.files import staged_folder

FORMAT = 1
SUMMARY = "checkpoint.json"
NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
BLOCK_BYTES = 4 * 1024 * 1024

Part = Mapping[str, Tensor]


class Damaged(MoreError):
    """A checkpoint that is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on."""

    step: int
    parts: Mapping[str, Part]
    """Tensors by name, in files of their own, so that one can be read without the others."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What is no tensor; must be JSON."""
    score: float | None = None
    """Held-out loss, less is better; None: not evaluated at this step."""


class Summary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """checkpoint.json."""

    format: int
    step: int
    state: dict[str, Any]
    score: float | None
    sha256: dict[str, str]
    """Of each part's file."""


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write it, synced to disk, whole or not at all. Raises StorageError, from the system's own error."""
    with staged_folder(folder) as stage, ThreadPoolExecutor(max_workers=4) as pool:
        # A thread for each part: hashing and writing leave Python's lock alone.
        files = {name: pool.submit(_write_part, _file(stage, name), part) for name, part in checkpoint.parts.items()}
        summary = Summary(
            format=FORMAT,
            step=checkpoint.step,
            state=dict(checkpoint.state),
            score=checkpoint.score,
            sha256={name: written.result() for name, written in files.items()},
        )
        (stage / SUMMARY).write_bytes(msgspec.json.format(msgspec.json.encode(summary)))


def read_summary(folder: Path) -> Summary:
    """What is said of a checkpoint, its tensors unread. Raises Damaged."""
    try:
        summary = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=Summary)
    except (OSError, msgspec.DecodeError) as error:
        raise Damaged(f"{folder / SUMMARY} cannot be read: {error}") from error
    if summary.format != FORMAT:
        raise Damaged(f"{folder} has the format {summary.format}, this version reads {FORMAT}")
    return summary


def read(folder: Path) -> Checkpoint:
    """A checkpoint, every checksum compared. Raises Damaged with the file and the reason."""
    summary = read_summary(folder)
    with ThreadPoolExecutor(max_workers=4) as pool:
        parts = dict(zip(summary.sha256, pool.map(lambda name: read_part(folder, name), summary.sha256), strict=True))
    return Checkpoint(summary.step, parts, summary.state, summary.score)


def read_part(folder: Path, name: str) -> dict[str, Tensor]:
    """One part of a checkpoint, its checksum compared. Raises Damaged."""
    path, meant = _file(folder, name), read_summary(folder).sha256.get(name)
    if meant is None:
        raise Damaged(f"{folder} has no part {name}")
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != meant:
            raise Damaged(f"{path} is not what was written: its checksum differs")
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{path} cannot be read: {error}") from error


def _file(folder: Path, part: str) -> Path:
    return folder / f"{part}.safetensors"


def _write_part(path: Path, part: Part) -> str:
    """Write tensors one after the other; the file's checksum.

    safetensors' own writer keeps a copy of everything in memory, 7 GB for XTTS-v2, and hides which error it met.
    """
    header, end = {}, 0
    for name, tensor in part.items():
        begin, end = end, end + tensor.nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (struct.pack("<Q", len(encoded)), encoded):
            digest.update(piece)
            file.write(piece)
        for tensor in part.values():
            content: NDArray[np.uint8] = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            for start in range(0, len(content), BLOCK_BYTES):
                block = content[start : start + BLOCK_BYTES].data
                digest.update(block)
                file.write(block)
    return digest.hexdigest()
