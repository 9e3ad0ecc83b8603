"""The model that was chosen through another machine, fetched by its manifest once for all processes of this one."""

import time
from collections.abc import Callable

import structlog

from more_server.errors import InUse, ModelError
from more_server.models.catalogue import has_model, selected_model
from more_server.models.licences import is_accepted
from more_server.models.manifest import ManifestModel, read_manifests
from more_server.models.pull import ACCEPT_FLAG, pull
from more_server.settings import Settings

LOOK_SECONDS = 1.0
"""Between two looks at what another process of this machine fetches, as long as it takes."""
TELL_SECONDS = 10.0
"""Between two lines of the log on how far it is."""
log = structlog.get_logger("more_server.models")


class _OtherChoice(Exception):
    """While a model was fetched, another one was chosen."""


def fetch_chosen(settings: Settings, check: Callable[[], None] = lambda: None) -> None:
    """Have the model that is to serve, where servers share a database and a manifest has it; else nothing.

    check: is called again and again, and ends it by what it raises; the next call goes on where this one ended. Raises
    that, ModelError, StorageError.
    """
    if not settings.database:
        return
    while not has_model(settings, chosen := selected_model(settings)):
        entry = read_manifests(settings).models.get(chosen)
        if entry is None:  # what was trained or imported is in shared_dir, or is missed by whoever loads it
            return
        check()
        try:
            _fetch(settings, chosen, entry, check)
        except InUse:  # another process fetches it, or a command
            time.sleep(LOOK_SECONDS)
        except _OtherChoice:
            continue
        except ModelError:
            if not has_model(settings, chosen):  # else somebody was quicker
                raise


def _fetch(settings: Settings, chosen: str, entry: ManifestModel, check: Callable[[], None]) -> None:
    if not is_accepted(settings, chosen, entry):
        raise ModelError(
            f"the model {chosen} is chosen and not here, and nobody has accepted its licence: {entry.licence}. "
            f"Run `more-server models pull {chosen} {ACCEPT_FLAG}` on one of the machines"
        )
    began = time.monotonic()
    tell = began

    def told(what: str, done: int, total: int) -> None:
        nonlocal tell
        check()
        if selected_model(settings) != chosen:
            raise _OtherChoice
        if time.monotonic() >= tell:
            tell = time.monotonic() + TELL_SECONDS
            log.info("a model that was chosen is fetched", model=chosen, what=what, done=done, total=total)

    pull(settings, chosen, accept_license=True, on_progress=told)
    log.info("the model is here", model=chosen, seconds=round(time.monotonic() - began, 1))
