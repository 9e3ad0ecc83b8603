"""What is judged: a model by its folder or its id, or the weights of a run, made a model for as long as it takes."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from more_server.errors import ModelError, ModelNotFound
from more_server.models import check_model, find_model
from more_server.settings import Settings
from more_train.export import export_model, trained_by
from more_train.run import RECIPE, read_run


class Subject(msgspec.Struct, frozen=True):
    """A model to be judged."""

    folder: Path
    step: int = 0
    """Of the run whose weights these are; 0: it is no run's."""


def is_run(name: str) -> bool:
    """Whether a training has written this folder."""
    return (Path(name) / RECIPE).is_file()


def dataset_of(run: Path) -> Path | None:
    """The dataset that a run was trained on, where it is still there."""
    given = read_run(run).inputs.get("dataset")
    return Path(given.path) if given and Path(given.path).is_dir() else None


@contextmanager
def subject(settings: Settings, name: str, scratch: Path | None = None) -> Iterator[Subject]:
    """A model by its folder, its id or its run. Raises ModelError or BadInput for what is none.

    scratch: folder for the model made of a run; None: the system's.
    """
    if is_run(name):
        trained = trained_by(Path(name))
        model_id = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).resolve().name).strip("-._")[:64] or "run"
        with TemporaryDirectory(prefix="more-evaluate-", dir=scratch) as directory:
            own = Settings(data_dir=Path(directory))
            # In fp16, as it will be exported.
            yield Subject(export_model(own, _free(model_id), trained).path, trained.origin.steps)
        return
    folder = Path(name).expanduser()
    try:
        found = folder.resolve() if folder.is_dir() else find_model(settings, name)
    except ModelNotFound as error:
        raise ModelError(f"{name} is neither a folder nor an id: {error.message}") from error
    check_model(found)
    yield Subject(found)


def _free(model_id: str) -> str:
    """An id that no bundled model has, as an export would be refused."""
    return f"run-{model_id}"[:64]
