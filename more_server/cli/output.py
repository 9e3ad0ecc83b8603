"""What commands have in common: settings, a console, and sizes in words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from more_server.settings import Settings, load

if TYPE_CHECKING:
    from more_server.registry import Registry
    from more_server.voices import VoiceLibrary

__all__ = ("bars", "console", "decided", "quiet", "registry", "settings", "size", "table", "voices")


def settings() -> Settings:
    """Settings of this command. Raises SettingsError."""
    return load()


def decided() -> Settings:
    """Settings of this command; what was decided while servers ran is here as it is now.

    Raises SettingsError, StorageError.
    """
    from more_server.decisions import take_up_decisions

    loaded = load()
    if loaded.database:
        quiet(loaded)
        take_up_decisions(loaded)
    return loaded


def registry(loaded: Settings) -> "Registry":
    """The plugins, opened, as was decided while servers ran. Raises SettingsError, StorageError."""
    from more_server.decisions import take_up_decisions
    from more_server.registry import Registry

    quiet(loaded)
    take_up_decisions(loaded)
    made = Registry(loaded)
    made.open(None)
    return made


def voices(loaded: Settings) -> "VoiceLibrary":
    """The voices of all stores. Raises SettingsError, StorageError."""
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


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """Shows `done` of `total` bytes or steps of whatever is named; each has a bar of its own."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    tasks: dict[str, TaskID] = {}
    name = TextColumn("{task.description}", markup=False)
    with Progress(name, BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console()) as progress:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield show


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
