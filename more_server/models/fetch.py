"""The model that was chosen through another machine, fetched by its manifest once for all processes of this one."""

import time
from collections.abc import Callable

import structlog

from more_server.errors import ModelError
from more_server.files import locked
from more_server.models.catalogue import has_model, selected_model
from more_server.models.licences import is_accepted
from more_server.models.manifest import read_manifests
from more_server.models.pull import ACCEPT_FLAG, pull
from more_server.settings import Settings

FETCH_SECONDS = 4 * 3600.0
"""For another process of this machine to fetch it; 2 GB need as much at 1.1 Mbit/s."""
TELL_SECONDS = 10.0
"""Between two lines of the log on how far it is."""
log = structlog.get_logger("more_server.models")


def fetch_chosen(settings: Settings, check: Callable[[], None] = lambda: None) -> None:
    """Have the model that is to serve, where servers share a database and a manifest has it; else nothing.

    check: is called again and again, and ends it by what it raises; the next call goes on where this one ended. Raises
    that, ModelError, StorageError.
    """
    chosen = selected_model(settings)
    if not settings.database or has_model(settings, chosen):
        return
    entry = read_manifests(settings).models.get(chosen)
    if entry is None:  # what was trained or imported is in shared_dir, or is missed by whoever loads it
        return
    if not is_accepted(settings, chosen, entry):
        raise ModelError(
            f"the model {chosen} is chosen and not here, and nobody has accepted its licence: {entry.licence}. "
            f"Run `more-server models pull {chosen} {ACCEPT_FLAG}` on one of the machines"
        )
    with locked(settings.model_dirs[0] / ".fetching", seconds=FETCH_SECONDS):
        if has_model(settings, chosen):  # another process was quicker
            return
        began = time.monotonic()
        log.info("a model that was chosen is fetched", model=chosen, bytes=entry.size)
        pull(settings, chosen, accept_license=True, on_progress=_Telling(chosen, check))
        log.info("the model is here", model=chosen, seconds=round(time.monotonic() - began, 1))


class _Telling:
    """Progress, as lines of the log."""

    def __init__(self, model: str, check: Callable[[], None]) -> None:
        self._model, self._check = model, check
        self._next = time.monotonic() + TELL_SECONDS

    def __call__(self, what: str, done: int, total: int) -> None:
        self._check()
        if time.monotonic() > self._next:
            self._next = time.monotonic() + TELL_SECONDS
            log.info("a model is fetched", model=self._model, what=what, done=done, total=total)
