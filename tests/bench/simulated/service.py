"""How fast one replica speaks, by how many it speaks to at once: measured, or assumed and called so."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One replica, as `more-server bench` finds it."""

    name: str
    source: str
    """Where the figures come from, for whoever reads the table."""
    streams: tuple[int, ...]
    """Spoken together, ascending, 1 first."""
    speech: tuple[float, ...]
    """Seconds of audio that all of them together make in a second."""
    first: tuple[float, ...]
    """Seconds until the first audio of streams that were started together, median."""
    load_seconds: float
    """From the start of the process to ready."""
    price: float
    """Of an hour of the machine, assumed; in whatever currency."""

    @property
    def slots(self) -> int:
        """What `engine.slots` = 0 gives: the most that was measured, 8 on a CPU and 64 on a GPU at most."""
        return self.streams[-1]

    def speeds(self, most: int) -> list[float]:
        """Seconds of audio a second that each of n streams gets, for n of 0 to `most`; the first is 0."""
        totals = self._between(self.speech, most)
        return [0.0, *(total / (place + 1) for place, total in enumerate(totals))]

    def firsts(self, most: int) -> list[float]:
        """Seconds to the first audio of the n-th of n streams, for n of 0 to `most`; the first is 0."""
        return [0.0, *self._between(self.first, most)]

    def _between(self, values: Sequence[float], most: int) -> list[float]:
        """Straight lines between what was measured. Raises ValueError beyond that."""
        if not 1 <= most <= self.slots:
            raise ValueError(f"{most} streams at once: {self.name} was measured with 1 to {self.slots}")
        return [float(value) for value in np.interp(np.arange(1, most + 1), self.streams, values)]


def services() -> dict[str, Service]:
    """The figures of tests/bench/LOG.md, and a guess at a GPU, by name."""
    known = (
        Service(
            name="xtts-cpu",
            source="measured: XTTS-v2's sizes in int8 on two cores of an AMD EPYC (Zen 4) at 55 to 59 GB/s "
            "(2026-11-24)",
            # The entry's last figures; what they leave out is of its table (4 streams) or lies between (3 make 3.36,
            # where another run had 3.6).
            streams=(1, 2, 3, 4, 8),
            speech=(2.60, 3.23, 3.36, 3.49, 3.90),
            first=(0.187, 0.307, 0.414, 0.667, 0.997),
            load_seconds=6.5,
            price=0.10,
        ),
        Service(
            name="nano",
            source="measured: nano in fp32 on two cores of an AMD EPYC (2026-11-24); first audio with 4 and 8 by the "
            "ratios of 2026-11-26",
            streams=(1, 2, 4, 8),
            speech=(9.5, 10.0, 10.0, 11.0),
            first=(0.044, 0.082, 0.158, 0.260),
            load_seconds=3.2,
            price=0.10,
        ),
        Service(
            name="xtts-gpu",
            source="**assumed**, no GPU was measured: XTTS-v2 in bf16 on a GPU of 4.3 TB/s; a step takes 3 ms and "
            "0.05 ms for each stream, where reading the weights takes 0.18, and the decoder makes 1,500 s/s",
            streams=(1, 8, 16, 32, 64),
            speech=(15.0, 102.0, 173.0, 265.0, 362.0),
            first=(0.04, 0.06, 0.08, 0.12, 0.20),
            load_seconds=15.0,
            price=3.00,
        ),
    )
    return {service.name: service for service in known}


def from_bench(line: str, price: float) -> Service:
    """What the JSON line of `more-server bench` says of the machine that it ran on. Raises ValueError."""
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
        rows = sorted(found["engine"]["streams"], key=lambda row: row["streams"])
        machine, engine = found["machine"], found["engine"]
        return Service(
            name=found["model"],
            source=f"measured: {found['model']} in {engine['precision']} on {machine['device']}, "
            f"{machine['cpu']}, {machine['cores']} cores, {found['date'][:10]}",
            streams=tuple(row["streams"] for row in rows),
            speech=tuple(row["audio_s_per_s"] for row in rows),
            first=tuple(row["first_audio_ms_p50"] / 1000 for row in rows),
            load_seconds=engine["load_s"],
            price=price,
        )
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ValueError(f"this is not the JSON line that `more-server bench` ends with: {error!r}") from error
