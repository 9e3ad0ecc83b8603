"""A trained model among the server's models: its id, whether it is there already, and in memory beside the others."""

import asyncio
import tomllib
from itertools import count
from pathlib import Path

import structlog

from more_server.engine.memory import free_bytes
from more_server.engine.runner import pick_device
from more_server.errors import BadInput, Conflict, ModelError, MoreError
from more_server.fleet import Fleet
from more_server.models import find_model
from more_server.models.ids import check_id
from more_server.settings import Settings

PROVENANCE = "provenance.toml"
ROOM = 4
"""Times the size of its files that a model may take while it is loaded: fp16 on disk, fp32 in memory, and slots."""
LONGEST_ID = 64

log = structlog.get_logger("more_server.lessons")


def check_new(settings: Settings, model: str) -> str:
    """An id that a new model can have. Raises BadInput, Conflict."""
    try:
        check_id(model)
    except ModelError as error:
        raise BadInput(f"name: {error.message}", param="name") from error
    if _is_taken(settings, model):
        raise Conflict(f"there is a model {model} already; choose another name, or remove that one", param="name")
    return model


def free_id(settings: Settings, wanted: str) -> str:
    """The id itself, or with a number behind it where it is taken."""
    for number in count(1):
        ending = f"-{number}" if number > 1 else ""
        model = wanted[: LONGEST_ID - len(ending)] + ending
        try:
            return check_new(settings, model)
        except (BadInput, Conflict):  # `auto` is no id, and may be a dataset's name
            continue
    raise AssertionError


def made_by(settings: Settings, job: str) -> str | None:
    """The model that a job has made, where it is there."""
    for path in sorted(settings.made_models_dir.glob(f"*/{PROVENANCE}")):
        if not path.parent.name.startswith(".") and _job_of(path) == job:
            return path.parent.name
    return None


async def load_beside(fleet: Fleet, model: str) -> str:
    """Load a model beside the one that serves, where there is room; why it was not, or nothing."""
    try:
        await asyncio.to_thread(_check_room, fleet.settings, model)
        await fleet.load(model)
    except (MoreError, MemoryError, RuntimeError) as error:  # torch's own of a device without room are RuntimeErrors
        reason = error.message if isinstance(error, MoreError) else f"{type(error).__name__}: {error}"
        log.warning("a new model is not loaded", model=model, reason=reason)
        return reason
    return ""


def _is_taken(settings: Settings, model: str) -> bool:
    return any((directory / model).exists() for directory in settings.model_dirs)


def _job_of(provenance: Path) -> str:
    try:
        return str(tomllib.loads(provenance.read_text("utf-8")).get("job", ""))
    except (OSError, ValueError):  # somebody else's model
        return ""


def _check_room(settings: Settings, model: str) -> None:
    folder = find_model(settings, model)
    needed = ROOM * sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    free = free_bytes(pick_device(settings.engine.device))
    if free < needed:
        raise ModelError(f"{free / 1e9:.1f} GB of memory are free; {needed / 1e9:.1f} GB may be needed to load it")
