"""What installed plugins offer, found the way the server finds it, for the tests of what they all promise."""

from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from more_server import Context, PostProcessorKind, Server
from more_server.registry import Registry
from more_server.settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def plugins() -> dict[str, ModuleType]:
    """Every plugin by name, imported."""
    return {point.name: point.load() for point in sorted(entry_points(group="more_server.plugins"))}


def context(name: str, settings: Any) -> Context:
    """For a hook that asks nothing of the server."""
    return Context(
        plugin=name,
        settings=settings,
        data_dir=ROOT / "no such folder",
        bundled_dir=ROOT,
        server=cast(Server, None),
    )


def post_processors() -> dict[str, PostProcessorKind]:
    """Every kind by the id that profiles use, of all plugins that are on, at their default settings."""
    registry = Registry(Settings(data_dir=ROOT / "no such folder"))
    registry.open(None)
    return {name: link.kind for name, link in registry.snapshot.post_processors.items()}
