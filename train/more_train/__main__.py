"""`python -m more_train`: a dataset, a training, its judgement, its export. Heavy modules load when they are used."""

import sys
from collections.abc import Sequence

from cyclopts import App

from more_server.errors import MoreError

__all__ = ("app", "main")

app = App(
    name="more-server train",
    help="Training for MORE: recordings in, a model for the server out.",
    version="0.1.0",
    help_format="plaintext",
)
app.command("more_train.dataset.command:dataset", help="Make a dataset of recordings.")
app.command("more_train.command:finetune", help="Teach a dataset's speakers to a model.")
app.command("more_train.command:resume", help="Go on with a training that was ended.")
app.command("more_train.evaluate.command:evaluate", help="Judge a model or a run by what it says.")
app.command("more_train.export:export", help="Make a run's best weights a model of the server.")
app.command("more_train.nano.command:nano", help="Train the bundled model from nothing.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; an error that a person can mend is one paragraph on standard error and status 1."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except MoreError as error:
        sys.stderr.write(f"more_train: {error.message}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
