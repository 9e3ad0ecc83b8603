"""Services of plugins: started once, stopped once, and told where they fail."""

import asyncio
from pathlib import Path

from more_server.hookspecs import Service
from more_server.registry import Registry, Snapshot
from more_server.services import Services
from more_server.settings import Settings


class Noting(Service):
    """Notes what is done to it."""

    def __init__(self, start: Exception | float | None = None) -> None:
        self._start = start
        self.done: list[str] = []

    async def start(self) -> None:
        self.done.append("start")
        if isinstance(self._start, Exception):
            raise self._start
        if self._start is not None:
            await asyncio.sleep(self._start)

    async def stop(self) -> None:
        self.done.append("stop")


def opened(tmp_path: Path) -> tuple[Registry, Services]:
    registry = Registry(Settings(data_dir=tmp_path))
    registry.open(None)
    return registry, Services(registry, 0.2)


async def test_started_once_and_stopped_once(tmp_path: Path) -> None:
    _, services = opened(tmp_path)
    one, two = Noting(), Noting()
    await services.follow(Snapshot(services=(("a", one), ("b", two))))
    await services.follow(Snapshot(services=(("a", one),)))
    assert (one.done, two.done) == (["start"], ["start", "stop"])
    await services.stop()
    assert one.done == ["start", "stop"]


async def test_one_that_fails_is_told_cleared_away_and_not_tried_again(tmp_path: Path) -> None:
    registry, services = opened(tmp_path)
    for failing, says in (
        (Noting(OSError("port taken")), "OSError: port taken"),
        (Noting(60.0), "no end within 0.2 s"),
    ):
        for _ in range(3):
            await services.follow(Snapshot(services=(("more_silence", failing),)))
        assert failing.done == ["start", "stop"]
        assert says in str(registry.row("more_silence").error)
    await services.stop()
