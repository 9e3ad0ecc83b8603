"""`check`: what is installed, what is missing, and the command that mends it."""

import os
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import msgspec
from rich.text import Text

from more_server.cli.output import console, quiet, registry, settings, voices
from more_server.settings import Settings


class Finding(msgspec.Struct):
    """One line of the check."""

    what: str
    value: str
    mend: str = ""
    """What to do about it; empty: all is well."""
    hint: bool = False
    """Neither good nor bad: something that could be had."""


def check() -> None:
    """Show what is installed, the device, the model and the voices, and how to mend what is missing."""
    out = console()
    findings = list(_findings(settings()))
    for finding in findings:
        mark, style = ("✗", "red") if finding.mend else ("·", "dim") if finding.hint else ("✓", "green")
        out.print(Text.assemble((mark, style), f" {finding.what:<10} {finding.value}"))
        if finding.mend:
            out.print(f"  → {finding.mend}")
    if any(finding.mend for finding in findings):
        sys.exit(1)


def _findings(loaded: Settings) -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield _device(loaded)
    yield _kernel()
    yield _data(loaded)
    if loaded.database:
        yield (database := _database(loaded))
        if database.mend:  # what it knows of models, plugins and voices is not known
            return
    yield _jobs(loaded)
    yield from _model(loaded)
    yield from _plugins(loaded)
    yield from _voices(loaded)


def _packages() -> Iterator[Finding]:
    needed = ["torch", "torchaudio", "coqui-tts", "litestar", "av"]
    for package in needed:
        try:
            yield Finding(package, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding(package, "is not installed", "pip install -e . in the checkout, or build the container anew")


def _device(loaded: Settings) -> Finding:
    from more_server.engine.engine import usable_cores
    from more_server.engine.runner import pick_device
    from more_server.errors import SettingsError

    try:
        device = pick_device(loaded.engine.device)
    except SettingsError as error:
        return Finding("device", error.message, "set engine.device to auto, cpu or a device that exists")
    return Finding("device", f"{device}, {usable_cores()} CPU cores")


def _kernel() -> Finding:
    from more_server.xtts import kernel

    lack = kernel.lack()
    if not lack:
        return Finding("int8", "compiled layers")
    mend = ""
    if "compiler" in lack:
        mend = "; install one (apt-get install gcc) and install MORE again, and large models speak faster on the CPU"
    return Finding("int8", f"torch's own layers: {lack}{mend}", hint=True)


def _data(loaded: Settings) -> Finding:
    folder = loaded.data_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        return Finding("data", f"{existing} is a file", "set MORE_DATA_DIR to a folder that you own")
    if not os.access(existing, os.W_OK):
        return Finding("data", f"{folder} cannot be written", "set MORE_DATA_DIR to a folder that you own")
    return Finding("data", str(folder))


def _database(loaded: Settings) -> Finding:
    from more_server.decisions import take_up_decisions
    from more_server.errors import MoreError
    from more_server.registry.settings import without_password

    quiet(loaded)
    try:
        take_up_decisions(loaded)
    except MoreError as error:
        return Finding("database", error.message, "see that it runs, and that `database` names it")
    return Finding("database", f"{without_password(loaded.database)}; shared folder {loaded.jobs_dir.parent}")


def _jobs(loaded: Settings) -> Finding:
    from more_server.errors import SettingsError
    from more_server.jobs.webhooks import check_secret
    from more_server.registry.settings import without_password

    try:
        check_secret(loaded.jobs.webhook_secret)
    except SettingsError as error:
        return Finding("jobs", "webhooks cannot be signed", error.message)
    where = without_password(loaded.database) or f"a file of SQLite in {loaded.jobs_dir}"
    return Finding("jobs", f"{where}; {'signed webhooks' if loaded.jobs.webhook_secret else 'no webhooks'}")


def _model(loaded: Settings) -> Iterator[Finding]:
    from more_server.errors import MoreError
    from more_server.models import check_model, serving_model

    try:
        folder = serving_model(loaded)
        config = check_model(folder)
    except MoreError as error:
        yield Finding("model", error.message, "more-server models list, then more-server models use ID")
        return
    remark = f"; {config.warning}" if config.warning else ""
    yield Finding("model", f"{folder.name} ({' '.join(config.languages)}), {config.licence}{remark}")
    if not _installed_xtts(loaded):
        out = "XTTS-v2 is not here: 17 languages, real cloning, a licence for non-commercial use only"
        yield Finding("", f"{out}; fetch it with: more-server models pull xtts-v2", hint=True)


def _installed_xtts(loaded: Settings) -> bool:
    return any((Path(folder) / "xtts-v2").is_dir() for folder in loaded.model_dirs)


def _plugins(loaded: Settings) -> Iterator[Finding]:
    rows = registry(loaded).rows()
    for row in rows:
        if row.state == "failed":
            yield Finding("plugin", f"{row.name}: {row.error}", f"mend it, or more-server plugins disable {row.name}")
    active = [row.name for row in rows if row.state == "active"]
    yield Finding("plugins", " ".join(active) or "none", "" if active else "more-server plugins enable NAME")


def _voices(loaded: Settings) -> Iterator[Finding]:
    view = voices(loaded).view()
    names = [voice.id for voice in view.voices]
    if names:
        yield Finding("voices", " ".join(names))
    else:
        yield Finding("voices", "none", "more-server voices add NAME CLIP")
    for problem in view.problems:
        yield Finding("voices", problem, "mend or delete that folder")
