"""The processes of one training: one, or as many as `torchrun` started, each with its device.

with joined(device) as group:
    mine = rows[group.rank :: group.size]
    group.add_gradients(module)         # each holds the sum of all
    if group.any(stop.asked != ""): ...
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

PATIENCE = timedelta(hours=2)
"""One may speak samples or write a checkpoint while the others wait."""
BUCKET_BYTES = 64 * 1024 * 1024
"""Gradients are added up in pieces of this size: a message for each would be slow, one for all takes memory."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int
    size: int
    device: torch.device
    control: Any = None
    """Their own way on the CPU, for what is no tensor of the model."""

    @property
    def first(self) -> bool:
        """It alone writes files and speaks."""
        return self.rank == 0

    def add_gradients(self, module: nn.Module) -> None:
        """Put the sum over all processes in place of each gradient; one that has none adds nothing."""
        if self.size == 1:
            return
        gradients = []
        for value in module.parameters():
            if value.requires_grad:
                value.grad = torch.zeros_like(value) if value.grad is None else value.grad
                gradients.append(value.grad)
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def sums(self, values: Tensor) -> Tensor:
        """Sums over all processes of values (n,) in float64."""
        values = values.detach().double().cpu()
        if self.size > 1:
            dist.all_reduce(values, group=self.control)
        return values

    def any(self, mine: bool) -> bool:
        """Whether it is so in any process; all of them must ask."""
        return bool(self.sums(torch.tensor([float(mine)]))[0])

    def same(self, values: Iterable[Tensor]) -> None:
        """Make tensors what they are in the first process."""
        if self.size > 1:
            for value in values:
                # NCCL knows no tensors of the host, gloo few types of numbers.
                dist.broadcast(value.data, 0, group=None if value.device == self.device else self.control)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier(group=self.control)


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(one.nbytes for one in bucket) + tensor.nbytes > BUCKET_BYTES:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that `torchrun` started, or this one alone; each GPU of a machine goes to one of them."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield Processes(0, 1, device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", dist.get_node_local_rank(0))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
        yield Processes(dist.get_rank(), dist.get_world_size(), device, control)
    finally:
        dist.destroy_process_group()
