"""`nano`: the bundled model from nothing, with its progress on the terminal."""

import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from more_server.cli.output import console, quiet
from more_server.settings import load

INTERRUPTED, TERMINATED = 130, 143


def nano(
    out: Path,
    /,
    *,
    config: Path | None = None,
    preset: str | None = None,
    device: str | None = None,
) -> None:
    """Train the bundled model from nothing: speech, codes, GPT, decoder. Ended anyhow, the same command goes on.

    Parameters
    ----------
    out
        Folder of everything that is made; the finished model is OUT/model.
    config
        TOML with changes to a preset (train/more_train/nano/config.py has every setting with its reason).
    preset
        smoke (a minute, it speaks noise), small (one thread of a CPU, three hours) or full (a GPU).
    device
        auto, cpu or cuda, instead of the setting.
    """
    from msgspec.structs import replace

    from more_train.nano.presets import choose, read
    from more_train.nano.stages import make_model
    from more_train.nano.workshop import Stopped
    from more_train.run import stop_signals

    settings = read(config, preset) if config else choose(preset or "small")
    settings = replace(settings, device=device) if device else settings
    quiet(load())
    told = console(stderr=True)
    with stop_signals() as stop, _Screen(told) as screen:
        try:
            folder = make_model(settings, out, stopped=lambda: bool(stop.asked), told=screen.tell)
        except Stopped as stopped:
            told.print(stopped.message)
            sys.exit(INTERRUPTED if stop.asked == "SIGINT" else TERMINATED)
    told.print(f"The model is in {folder}. Try it: more-server models import {folder}")


class _Screen:
    """A bar for each stage on a terminal; elsewhere a line now and then."""

    def __init__(self, told: Console) -> None:
        self._told = told
        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=told,
            disable=not told.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "_Screen":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def tell(self, stage: str, done: int, total: int, values: Mapping[str, float | None]) -> None:
        """What a stage did."""
        text = " ".join(f"{name} {value:.3g}" for name, value in values.items() if value is not None)
        if not self._told.is_terminal:
            self._told.print(f"{stage} {done}/{total} {text}".rstrip(), soft_wrap=True)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, values="")
        self._bars.update(self._tasks[stage], completed=done, total=total, values=text)
