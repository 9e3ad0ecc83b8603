"""How many slots fit: from the settings, from a budget, or from what the device has."""

import os
import resource
from pathlib import Path

import torch

from more_server.errors import SettingsError
from more_server.tables import EngineSettings

GIGABYTE = 10**9
CPU_SLOTS, GPU_SLOTS = 8, 64
"""Without a word in the settings. Two cores speak five to eight streams of XTTS-v2 together and gain nothing beyond."""
DEVICE_SHARE = 0.8
"""Of what is free on the device once the model is loaded: the rest is for windows of audio and graphs."""
WORKING_BYTES = 0.5 * GIGABYTE
"""Beside weights and slots, in a budget: activations, and windows of audio of XTTS-v2's decoder."""


def slot_count(settings: EngineSettings, device: torch.device, slot_bytes: int, model_bytes: int) -> int:
    """Slots for the settings. Raises SettingsError where the budget does not hold them."""
    if settings.memory_gb:
        room = settings.memory_gb * GIGABYTE - model_bytes - WORKING_BYTES
    else:
        room = DEVICE_SHARE * free_bytes(device)
    fitting = int(room // slot_bytes)
    if settings.slots and (fitting >= settings.slots or not settings.memory_gb):
        return settings.slots
    if fitting < max(1, settings.slots):
        budget = f"engine.memory_gb {settings.memory_gb:g}" if settings.memory_gb else "the free memory"
        raise SettingsError(
            f"{budget} holds {max(0, fitting)} slots, {max(1, settings.slots)} are asked for: the model takes "
            f"{model_bytes / GIGABYTE:.2f} GB, working memory {WORKING_BYTES / GIGABYTE:.1f} GB, a slot at its "
            f"longest {slot_bytes / GIGABYTE:.3f} GB"
        )
    return min(fitting, GPU_SLOTS if device.type == "cuda" else CPU_SLOTS)


def taken_bytes(device: torch.device) -> int:
    """Bytes that the process has taken there: by tensors on a GPU, all of its resident memory in the host."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_bytes(device: torch.device) -> int:
    """Bytes that are free on the device now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(free, _container_limit())


def _container_limit() -> int:
    """The memory limit of this container (cgroup 2), or no limit."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
    except OSError:
        return 2**62
    return int(limit) if limit.isdecimal() else 2**62
