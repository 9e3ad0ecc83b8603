"""`train`: becomes the process of training, whose crash touches no speech."""

import importlib.util
import os
import sys
from typing import Annotated

from cyclopts import App, Parameter

from more_server.errors import SettingsError

app = App(name="train", help_flags=(), version_flags=())


@app.default
def train(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> None:
    """Prepare recordings, teach a model a voice, look at what came of it, and bring it into the server."""
    if importlib.util.find_spec("more_train") is None:
        raise SettingsError("training is not installed: pip install 'more-server[train]'")
    # In place of this process, so that signals reach it: it keeps a checkpoint before it ends.
    os.execv(sys.executable, [sys.executable, "-m", "more_train", *arguments])  # noqa: S606 - our own module
