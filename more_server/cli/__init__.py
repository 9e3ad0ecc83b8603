"""The command line. Heavy modules are imported inside commands, so that `--help` answers at once."""

import sys
from collections.abc import Sequence

from cyclopts import App

from more_server.errors import MoreError

__all__ = ("app", "main")

app = App(
    name="more-server",
    help="MORE: speech from your own machine, behind OpenAI's API.\n\n"
    "Settings come from more.toml and MORE_* variables; the README lists them.",
    version="0.1.0",
    help_format="plaintext",
)
# Named here, loaded when asked for: their summaries stand beside the names so that the list needs none of them.
app.command("more_server.cli.speech:serve", help="Answer OpenAI's speech API over HTTP.")
app.command("more_server.cli.speech:say", help="Speak a text into a file, without a server.")
app.command("more_server.cli.models:app", name="models", help="List, fetch, import and choose models.")
app.command("more_server.cli.voices:app", name="voices", help="List, add, mix, change and remove voices.")
app.command("more_server.cli.keys:app", name="keys", help="List, make and remove keys.")
app.command("more_server.cli.plugins:app", name="plugins", help="List, enable, disable and set plugins.")
app.command("more_server.cli.train:app", name="train", help="Prepare data, fine-tune, evaluate and export models.")
app.command("more_server.cli.jobs:app", name="jobs", help="Long speech and training in a running server.")
app.command(
    "more_server.cli.cluster:app", name="cluster", help="Run on several machines: nodes, and the application on them."
)
app.command("more_server.cli.check:check", help="Show what is installed, and how to mend what is missing.")
app.command("more_server.cli.bench:bench", help="Measure speed and memory on this machine.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error that a person can mend is one paragraph on standard error and status 1."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except MoreError as error:
        sys.stderr.write(f"more-server: {error.message}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
