"""The tiny model and its dataset, made once; and runs over them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import torch
from more_train.finetune import finetune
from more_train.recipe import FineTune
from more_train.trainer import Outcome

from tests.train.finetune.material import tiny_trainable, write_dataset
from tests.train.finetune.nursery import Nursery, opened

Tune = Callable[..., Outcome]
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 2, "learning_rate": 2e-3, "average": 0.5, "speak": False}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums depend on the number of threads, and the machine is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_trainable(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def buzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips to train on and two held out, of two speakers."""
    return write_dataset(tmp_path_factory.mktemp("datasets") / "buzz")


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with opened(tmp_path_factory.mktemp("nursery")) as made:
        yield made


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Commands set up the log for a standard error that is gone with the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def tune(tiny: Path, buzz: Path, tmp_path: Path) -> Tune:
    """`tune(epochs=3, dataset=…, listen=…)`: a run in tmp_path / "run" on the CPU."""

    def run(*, model: Path = tiny, dataset: Path = buzz, out: Path | None = None, **given: Any) -> Outcome:
        told = {name: given.pop(name) for name in ("listen", "began", "report") if name in given}
        return finetune(model, dataset, out or tmp_path / "run", FineTune(**{**QUICK, **given}), device="cpu", **told)

    return run
