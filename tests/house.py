"""A folder of plugins for tests, and the registry that reads it."""

import textwrap
from pathlib import Path
from typing import Any

import pytest

from more_server.registry import Registry
from more_server.registry.discover import distinct, in_folder
from more_server.settings import Settings

PROFILE = """
import msgspec
from typing import Annotated
from more_server import Profile, hookimpl

class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    temperature: Annotated[float, msgspec.Meta(gt=0, le=2)] = 0.5
    token: Annotated[str, msgspec.Meta(extra={"secret": True})] = ""

@hookimpl
def profiles(context):
    return [Profile(name="NAME", temperature=context.settings.temperature, top_p=0.9)]
"""
EMPTY = "from more_server import hookimpl\n"


class House:
    """A folder of plugins and the registry that reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "plugins"
        self.folder.mkdir()
        self.data_dir = folder / "data"

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.py").write_text(textwrap.dedent(text).replace("NAME", name))

    def settings(self, **settings: Any) -> Settings:
        return Settings(
            **({"data_dir": self.data_dir, "plugin_dir": str(self.folder), "plugin_seconds": 5.0} | settings)  # type: ignore[arg-type]
        )

    def open(self, **settings: Any) -> Registry:
        registry = Registry(self.settings(**settings), lambda _: distinct(in_folder(self.folder)))
        registry.open(None)
        return registry


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def states(registry: Registry) -> dict[str, str]:
    return {row.name: row.state for row in registry.rows()}
