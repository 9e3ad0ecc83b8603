"""model.safetensors of a model folder, read part by part: never more than one part of it in memory beside the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from more_server.errors import ModelError

Shape = tuple[int, ...]
Naming = Callable[[str], str]
"""From a module's own name of a parameter to the file's."""


class Weights:
    """The tensors of a folder's file. Every method raises ModelError with the file and the reason."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "model.safetensors"
        with self._open() as file:
            self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Copies of tensors: a view would keep the whole file mapped, 1.9 GB of resident pages for XTTS-v2."""
        with self._open() as file:
            return {name: file.get_tensor(name).clone() for name in names}

    def misfits(self, own: Mapping[str, Shape], naming: Naming, prefix: str = "") -> list[str]:
        """Where a module's shapes and the file's do not fit, in words; what begins with prefix is its alone."""
        theirs = {naming(name): name for name in own}
        problems = [f"{name} is missing" for file_name, name in theirs.items() if file_name not in self.shapes]
        if prefix:
            there = [name for name in self.shapes if name.startswith(prefix)]
            problems += [f"{name.removeprefix(prefix)} does not belong there" for name in there if name not in theirs]
        return problems + [
            f"{name} has shape {self.shapes[file_name]}, config.json means {own[name]}"
            for file_name, name in theirs.items()
            if file_name in self.shapes and self.shapes[file_name] != own[name]
        ]

    def refuse(self, part: str, problems: list[str]) -> None:
        """Raise ModelError for a part with problems, the first three of them named."""
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise ModelError(
                f"model {self.folder.name}: {part} of model.safetensors does not fit: " + "; ".join(problems[:3]) + more
            )

    def finite(self, part: str, tensors: Mapping[str, Tensor]) -> None:
        """Refuse a part that holds values that are no numbers."""
        broken = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not _is_finite(tensor)]
        self.refuse(part, [f"{name} holds values that are not finite" for name in broken])

    def fill(self, module: nn.Module, prefix: str) -> None:
        """Fill a module that keeps the file's names behind a prefix."""
        part = prefix.rstrip(".")
        shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        self.refuse(part, self.misfits(shapes, lambda name: prefix + name, prefix))
        tensors = self.read(prefix + name for name in module.state_dict())
        own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        self.finite(part, own)
        module.load_state_dict(own)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with safe_open(self._path, framework="pt") as file:
                yield file
        except FileNotFoundError as error:
            raise ModelError(f"model {self.folder.name}: {self._path} is missing") from error
        except (OSError, SafetensorError) as error:
            raise ModelError(f"model {self.folder.name}: {self._path} cannot be read: {error}") from error


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
