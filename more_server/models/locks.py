"""One writer per model id, across processes; and what an id may look like."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager

from more_server.errors import ModelError
from more_server.settings import Settings

RESERVED = ("auto", "serving", "manifest.toml")
"""Names that the settings and the models folder give another meaning."""


def check_id(model: str) -> str:
    """The id itself. Raises ModelError where it could not be a folder of its own."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", model) or model in RESERVED:
        raise ModelError(
            f"{model!r} cannot be a model's name: letters, digits, dots, dashes and underscores, a letter or digit "
            f"first, at most 64, and none of {', '.join(RESERVED)}"
        )
    return model


@contextmanager
def locked(settings: Settings, model: str) -> Iterator[None]:
    """Hold the right to write a model; it ends with the process at the latest.

    Raises ModelError at once where another process holds it.
    """
    path = settings.model_dirs[0] / ".locks" / f"{model}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror or error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(
                f"another process is writing model {model} at the moment; wait for it, or end it, and try again"
            ) from error
        yield
