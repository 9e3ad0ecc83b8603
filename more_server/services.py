"""The services of plugins: started when their plugin is enabled, stopped when it is disabled or the server ends."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from more_server.errors import MoreError
from more_server.hookspecs import Service
from more_server.registry import Registry, Snapshot

log = structlog.get_logger("more_server.services")


class Services:
    """Keeps what runs in step with a snapshot. One change at a time."""

    def __init__(self, registry: Registry, seconds: float, *, is_first: bool = True) -> None:
        """is_first: of all workers of the server, this process runs what runs in one alone."""
        self._registry = registry
        self._is_first = is_first
        self.seconds = seconds
        """How long each may take to start and to stop."""
        self._known: list[tuple[str, Service, bool]] = []
        """Plugin, service, and whether it runs: one that failed to start is not tried again by every change."""
        self._changing = asyncio.Lock()

    async def follow(self, snapshot: Snapshot) -> None:
        """Stop what is gone from it, then start what is new; a failure is told on the plugin's row."""
        async with self._changing:
            here = [(plugin, one) for plugin, one in snapshot.services if self._is_first or not one.alone]
            wanted = [service for _, service in here]
            for plugin, service, runs in [one for one in self._known if one[1] not in wanted]:
                self._known.remove((plugin, service, runs))
                if runs:
                    await self._guarded(plugin, "stop", service.stop)
            known = [service for _, service, _ in self._known]
            for plugin, service in here:
                if service not in known:
                    runs = await self._guarded(plugin, "start", service.start)
                    if not runs:  # what it began with is not to be left behind
                        await self._guarded(plugin, "stop", service.stop)
                    self._known.append((plugin, service, runs))

    async def stop(self) -> None:
        """Stop all of them."""
        await self.follow(Snapshot())

    async def _guarded(self, plugin: str, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        try:
            await asyncio.wait_for(work(), self.seconds)
        except TimeoutError:
            await self._report(plugin, f"{what} of its service: no end within {self.seconds:g} s (plugin_seconds)")
        except MoreError as error:  # it is written for whoever can mend it, and is no fault of the code
            await self._report(plugin, error.message, told=True)
        except Exception as error:  # noqa: BLE001 - a stranger's code; told on its row, and the others go on
            await self._report(plugin, f"{what} of its service: {type(error).__name__}: {error}", error)
        else:
            return True
        return False

    async def _report(self, plugin: str, reason: str, error: Exception | None = None, *, told: bool = False) -> None:
        # Off the event loop: the registry may be waiting for another plugin at the moment.
        await asyncio.to_thread(self._registry.report, plugin, reason, error, told=told)
