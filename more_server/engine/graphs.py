"""CUDA graphs: a step of hundreds of small kernels launched as one. On other devices the function itself runs."""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Step = Callable[[Tensor, Tensor], Tensor]
"""A function of whole numbers and of numbers, both tensors of a fixed shape, that gives a tensor of a fixed shape."""


class Graphs:
    """Steps by key: those that were captured are replayed, others run as they are. Not thread-safe."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._captured: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor, Tensor, Tensor]] = {}

    def capture(self, key: Hashable, step: Step, integers: Tensor, floats: Tensor) -> None:
        """Capture a step for later runs under this key; the inputs must be such that running it harms nothing."""
        if self._device.type != "cuda" or key in self._captured:
            return
        own_integers, own_floats = integers.to(self._device), floats.to(self._device)
        aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(aside):  # cuBLAS and the allocator set themselves up outside of the capture
            for _ in range(2):
                step(own_integers, own_floats)
        torch.cuda.current_stream(self._device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # One memory pool for all: only one graph runs at a time, and its result is read before the next one.
        pool = next(iter(self._captured.values()))[0].pool() if self._captured else None
        with torch.cuda.graph(graph, pool=pool):
            result = step(own_integers, own_floats)
        self._captured[key] = (graph, own_integers, own_floats, result)

    def run(self, key: Hashable, step: Step, integers: Tensor, floats: Tensor) -> Tensor:
        """The step's result for inputs in the host's memory; on the host, whatever the device."""
        if key not in self._captured:
            return step(integers.to(self._device), floats.to(self._device)).cpu()
        graph, own_integers, own_floats, result = self._captured[key]
        own_integers.copy_(integers, non_blocking=True)
        own_floats.copy_(floats, non_blocking=True)
        graph.replay()
        return result.cpu()
