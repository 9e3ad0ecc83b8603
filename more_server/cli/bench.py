"""`bench`: the measurements of the checkout, on this machine."""

import subprocess
import sys

from more_server.errors import SettingsError
from more_server.settings import bundled_dir


def bench(*, sentences: int = 20) -> None:
    """Measure start, memory, first audio and real-time factor of a server started for it; one JSON line at the end.

    Parameters
    ----------
    sentences
        Requests to measure.
    """
    script = bundled_dir() / "tests" / "bench" / "bench.py"
    if not script.is_file():
        raise SettingsError("the benchmark is part of the source checkout (tests/bench); clone it and run it there")
    sys.exit(subprocess.call([sys.executable, str(script), "--sentences", str(sentences)]))  # noqa: S603 - our own file
