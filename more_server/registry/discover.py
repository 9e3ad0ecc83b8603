"""What plugins there are: entry points of installed packages, and the folder that the settings name."""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from more_server.errors import SettingsError

GROUP = "more_server.plugins"
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Found(msgspec.Struct, frozen=True):
    """A plugin that can be imported."""

    name: str
    version: str
    """Empty where nothing tells it."""
    origin: str
    """Where it comes from, for people."""
    stamp: str
    """Another one whenever its code has changed since it was found."""
    load: Callable[[], Any]
    """Imports it; raises whatever its code raises."""


def discover(folder: Path | None) -> list[Found]:
    """All plugins in order of name. Raises SettingsError for two of one name, or a folder that is none."""
    return distinct([*_installed(), *(in_folder(folder) if folder else ())])


def distinct(plugins: Iterable[Found]) -> list[Found]:
    """In order of name. Raises SettingsError for two of one name."""
    found: dict[str, Found] = {}
    for plugin in plugins:
        if other := found.get(plugin.name):
            raise SettingsError(
                f"two plugins are called {plugin.name}: {other.origin} and {plugin.origin}; remove or rename one"
            )
        found[plugin.name] = plugin
    return [found[name] for name in sorted(found)]


def _installed() -> Iterable[Found]:
    seen = set()
    for point in entry_points(group=GROUP):
        version = point.dist.version if point.dist else ""
        package = f"{point.dist.name} {version}" if point.dist else "an installed package"
        if (point.name, point.value, package) in seen:  # an editable installation can be listed twice
            continue
        seen.add((point.name, point.value, package))
        yield Found(point.name, version, package, f"{point.value} {version}", point.load)


def in_folder(folder: Path) -> Iterable[Found]:
    """Plugins in a folder: files and packages. Raises SettingsError for names that cannot be."""
    if not folder.is_dir():
        raise SettingsError(f"plugin_dir {folder} is not a folder")
    for path in sorted(folder.iterdir()):
        source = path / "__init__.py" if path.is_dir() else path
        if path.name.startswith((".", "_")) or source.suffix != ".py" or not source.is_file():
            continue
        if not NAME.fullmatch(path.stem):
            raise SettingsError(
                f"{path} cannot be a plugin: its name must be lower-case letters, digits and '_', a letter first"
            )
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        stamp = " ".join(f"{file.name}:{file.stat().st_mtime_ns}:{file.stat().st_size}" for file in files)
        yield Found(path.stem, "", str(path), stamp, partial(_import, path.stem, source))


def _import(name: str, source: Path) -> ModuleType:
    """A fresh module from a file, whatever was imported from there before."""
    folder = hashlib.sha256(str(source.parent).encode()).hexdigest()[:8]
    qualified = f"more_plugin_{folder}_{name}"
    for known in [known for known in sys.modules if known == qualified or known.startswith(qualified + ".")]:
        del sys.modules[known]
    inside = [str(source.parent)] if source.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(qualified, source, submodule_search_locations=inside)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[qualified] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[qualified]
        raise
    return module
