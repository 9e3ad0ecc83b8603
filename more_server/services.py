"""The services of plugins: started when their plugin is enabled, stopped when it is disabled or the server ends."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from more_server.hookspecs import Service
from more_server.registry import Registry, Snapshot

log = structlog.get_logger("more_server.services")


class Services:
    """Keeps what runs in step with a snapshot. One change at a time."""

    def __init__(self, registry: Registry, seconds: float) -> None:
        self._registry = registry
        self._seconds = seconds
        self._running: list[tuple[str, Service]] = []
        self._changing = asyncio.Lock()

    async def follow(self, snapshot: Snapshot) -> None:
        """Stop what is gone from it, then start what is new; a failure is told on the plugin's row."""
        async with self._changing:
            wanted = [service for _, service in snapshot.services]
            for plugin, service in list(self._running):
                if service not in wanted:
                    self._running.remove((plugin, service))
                    await self._guarded(plugin, "stop", service.stop())
            known = [service for _, service in self._running]
            for plugin, service in snapshot.services:
                if service not in known and await self._guarded(plugin, "start", service.start()):
                    self._running.append((plugin, service))

    async def stop(self) -> None:
        """Stop all of them."""
        await self.follow(Snapshot())

    async def _guarded(self, plugin: str, what: str, work: Coroutine[Any, Any, None]) -> bool:
        try:
            await asyncio.wait_for(work, self._seconds)
        except TimeoutError:
            await self._report(plugin, f"{what} of its service: no end within {self._seconds:g} s (plugin_seconds)")
        except Exception as error:  # noqa: BLE001 - a stranger's code; told on its row, and the others go on
            await self._report(plugin, f"{what} of its service: {type(error).__name__}: {error}", error)
        else:
            return True
        return False

    async def _report(self, plugin: str, reason: str, error: Exception | None = None) -> None:
        # Off the event loop: the registry may be waiting for another plugin at the moment.
        await asyncio.to_thread(self._registry.report, plugin, reason, error)
