"""`train`: hands everything to training, which is a process of its own, so that its crash touches no speech."""

import importlib.util
import subprocess
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
    sys.exit(subprocess.call([sys.executable, "-m", "more_train", *arguments]))  # noqa: S603 - our own module
