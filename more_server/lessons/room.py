"""Room for a training beside the models that speak, as the setting jobs.training_memory has it.

async with Room(fleet, device_named("auto")) as room:
    await room.make()           # speech is paused, or lowered; where that takes until others have been heard, later
    await attend(…, [f"--threads={room.threads}", …])
"""

from contextlib import AsyncExitStack
from types import TracebackType

import torch

from more_server.engine.engine import usable_cores
from more_server.engine.runner import pick_device
from more_server.errors import BadInput, Conflict, shown
from more_server.fleet import Fleet
from more_server.settings import Settings

DEVICES = ("cpu", "cuda")


class Room:
    """Made once at most, by whoever needs it first; given back at the end of the block, whatever ends it."""

    def __init__(self, fleet: Fleet, device: torch.device) -> None:
        self._fleet = fleet
        self._policy = fleet.settings.jobs.training_memory
        self._shared = on_one_device(fleet.settings, device)
        self._made = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Room":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def make(self) -> None:
        """Wait until there is room. Raises Conflict where the setting refuses it."""
        check_allowed(self._fleet.settings, shared=self._shared)
        if self._made or not self._shared:
            return
        self._made = True
        if self._policy == "pause":
            await self._stack.enter_async_context(self._fleet.resting())
        else:
            self._stack.enter_context(self._fleet.lowered())

    @property
    def threads(self) -> int:
        """CPU threads that a training may have: those that speech leaves, half of the cores where it takes all."""
        cores = usable_cores()
        if self._policy == "pause" and self._shared:
            return cores
        return max(1, cores - (self._fleet.settings.engine.threads or cores // 2))


def device_named(name: str) -> torch.device:
    """Where a training runs; `auto` takes a GPU where one answers. Raises BadInput naming what there is."""
    if name == "auto":
        return pick_device(name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICES or (device.type == "cuda" and (device.index or 0) >= gpus):
        there = ", ".join(["auto", "cpu", *(f"cuda:{number}" for number in range(gpus))])
        raise BadInput(f"device: {shown(name)} is none of this server's; there are: {there}", param="device")
    return device


def on_one_device(settings: Settings, device: torch.device) -> bool:
    """Whether a training there takes memory that speech may need."""
    speaks = pick_device(settings.engine.device)
    return (speaks.type, speaks.index or 0) == (device.type, device.index or 0)


def check_allowed(settings: Settings, *, shared: bool) -> None:
    """Raises Conflict where trainings are refused beside speech."""
    if shared and settings.jobs.training_memory == "refuse":
        raise Conflict(
            f"this server speaks on the device that the training is for, {pick_device(settings.engine.device)}, and "
            "jobs.training_memory is 'refuse': set it to 'pause' or 'share', or name another device",
            param="device",
        )
