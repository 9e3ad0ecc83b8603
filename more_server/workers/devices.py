"""Which device each worker has: a GPU of its own, or its share of the cores."""

import os
from pathlib import Path

import msgspec

from more_server.errors import SettingsError
from more_server.tables import EngineSettings

TOPOLOGY = Path("/sys/devices/system/cpu")


def engine_of(engine: EngineSettings, number: int, count: int, cores: int) -> EngineSettings:
    """The engine's settings for one of `count` workers on so many cores. Raises SettingsError."""
    threads = engine.threads or max(1, cores // count)
    return msgspec.structs.replace(engine, device=_device(engine, number, count), threads=threads)


def _device(engine: EngineSettings, number: int, count: int) -> str:
    """Raises SettingsError where there are fewer GPUs than workers, or one that several would fill."""
    import torch  # of a worker alone: the parent stays small

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if engine.device == "cuda" or (engine.device == "auto" and gpus):
        if count > gpus:
            raise SettingsError(
                f"server.workers is {count}, and there {'is 1 GPU' if gpus == 1 else f'are {gpus} GPUs'}: each worker "
                "has one of its own. Several on one are to be asked for by name, as with engine.device = 'cuda:0'"
            )
        return f"cuda:{number}"
    if engine.device.startswith("cuda") and not (engine.memory_gb or engine.slots):
        raise SettingsError(
            f"{count} workers on {engine.device} would each take most of its memory: set engine.memory_gb, which is "
            "of each, or engine.slots"
        )
    return engine.device


def usable_cores() -> list[int]:
    """Cores that this process may run on; those that share a socket, then those that share a core, side by side."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0), key=lambda core: (*_place(core), core))


def sockets(cores: list[int]) -> int:
    """How many sockets or memory nodes these cores belong to."""
    return len({_place(core)[0] for core in cores})


def share(cores: list[int], number: int, count: int) -> list[int]:
    """Of cores in order, those of one of `count` workers; with fewer cores than workers, some share one."""
    if count > len(cores):
        return [cores[number % len(cores)]]
    return cores[number * len(cores) // count : (number + 1) * len(cores) // count]


def _place(core: int) -> tuple[int, int]:
    """Memory node and physical core."""
    folder = TOPOLOGY / f"cpu{core}"
    nodes = [int(path.name.removeprefix("node")) for path in folder.glob("node[0-9]*")]
    return (nodes or [0])[0], _number(folder / "topology" / "core_id")


def _number(path: Path) -> int:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return 0
