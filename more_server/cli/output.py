"""What commands have in common: settings, a console, and sizes in words."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from more_server.settings import Settings, load

if TYPE_CHECKING:
    from more_server.registry import Registry
    from more_server.voices import VoiceLibrary

__all__ = ("console", "quiet", "registry", "settings", "size", "table", "voices")


def settings() -> Settings:
    """Settings of this command. Raises SettingsError."""
    return load()


def registry(loaded: Settings) -> "Registry":
    """The plugins, opened. Raises SettingsError."""
    from more_server.registry import Registry

    quiet(loaded)
    made = Registry(loaded)
    made.open(None)
    return made


def voices(loaded: Settings) -> "VoiceLibrary":
    """The voices of all stores. Raises SettingsError."""
    from more_server.voices import VoiceLibrary

    return VoiceLibrary(registry(loaded), loaded.plugin_seconds)


def quiet(loaded: Settings) -> None:
    """Warnings alone from the log, on standard error."""
    from more_server import logs

    logs.configure("warning", loaded.log_format)


def console(*, stderr: bool = False) -> Console:
    """Standard output, or error; where it is no terminal, plain text in lines wide enough for a pipe.

    Without markup: names and descriptions come from files, and their brackets are theirs.
    """
    made = Console(highlight=False, soft_wrap=True, markup=False, stderr=stderr)
    if made.is_terminal:
        return made
    return Console(highlight=False, soft_wrap=True, markup=False, stderr=stderr, width=200)


def table(*columns: str) -> Table:
    """A table without frames, that pipes well."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
