"""The machine: what it is, how fast its memory is, and processes whose memory is theirs alone."""

import math
import multiprocessing
import os
import platform
import re
import resource
import time
import traceback
import warnings
from collections.abc import Callable
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

BUFFER_BYTES = 512 * 1024 * 1024
"""Beyond any cache: the largest of a server's CPU hold a few hundred MB, of which a guest gets a part."""
SECONDS_OF_TRIES = 1.5


class PartFailed(Exception):
    """A process of the benchmark ended without a result; the text is its traceback or its status."""


def in_a_process(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work` returns in a fresh interpreter, which then ends: no thread pool and no page is left behind."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        result, failure = receiver.recv()
    except EOFError:
        process.join()
        raise PartFailed(f"its process ended with status {process.exitcode}; -9 is often a lack of memory") from None
    finally:
        process.kill()
        process.join()
    if failure:
        raise PartFailed(failure)
    return result


def _work(sender: Connection, work: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    warnings.simplefilter("ignore")
    try:
        sender.send((work(*arguments), ""))
    except ValueError as error:
        sender.send((None, str(error)))
    except Exception:  # noqa: BLE001 - told to the process that waits for it
        sender.send((None, traceback.format_exc()))


class OtherWork:
    """How many cores other processes kept busy since it was made, for reading times of a shared machine."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.perf_counter(), _busy_seconds(), _own_seconds()

    def cores(self) -> float:
        """On the cores that this process may use; children count as its own once they have ended."""
        busy, own = _busy_seconds() - self._busy, _own_seconds() - self._own
        return round(max(0.0, busy - own) / (time.perf_counter() - self._began), 2)


def _busy_seconds() -> float:
    """Of the usable cores, by any process."""
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.split()[0] in names]
    # user, nice, system, idle, iowait, irq, softirq, steal: what another guest of the host took is lost as well.
    ticks = sum(int(line[column]) for line in lines for column in (1, 2, 3, 6, 7, 8))
    return ticks / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def describe(device_name: str, threads: int) -> dict[str, object]:
    """The CPU, the device and its memory's speed. Run in a process of its own."""
    import torch

    from more_server.engine.runner import pick_device

    device = pick_device(device_name)
    torch.set_num_threads(threads)
    on_gpu = device.type == "cuda"
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "threads": threads,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if on_gpu else cpu_name(),
        "read_gb_per_s": round((_copied if on_gpu else _read)(device) / 1e9, 2),
    }


def _read(device: Any) -> float:
    """Bytes a second that a sum over much memory reads, the best of several."""
    import torch

    buffer = torch.ones(BUFFER_BYTES // 4, device=device)
    return BUFFER_BYTES / _least(buffer.sum)


def _copied(device: Any) -> float:
    """Bytes a second that a copy on the device reads and writes together, the best of several."""
    import torch

    source = torch.ones(BUFFER_BYTES // 4, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize(device)

    return 2 * BUFFER_BYTES / _least(copy)


def _least(work: Callable[[], object]) -> float:
    """Seconds of its fastest run."""
    least, end = math.inf, time.perf_counter() + SECONDS_OF_TRIES
    while time.perf_counter() < end:
        started = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - started)
    return least


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return named.group(1).strip() if named else platform.processor() or platform.machine()


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    names = ("more-server", "torch", "coqui-tts", "transformers", "numpy")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def resident_megabytes(pid: int | str, field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (the most so far) of a process; `self` is this one."""
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) / 1000)  # type: ignore[union-attr]


def memory_used() -> dict[str, int]:
    """Of this process, in MB; on a GPU the most that torch held there."""
    import torch

    used = {"resident_mb": resident_megabytes("self", "VmRSS"), "resident_peak_mb": resident_megabytes("self", "VmHWM")}
    if torch.cuda.is_available():
        used["gpu_peak_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    return used
