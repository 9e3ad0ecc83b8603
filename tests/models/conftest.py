"""One original folder for the whole run, copied by hard link for each test that changes it."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from more_server.settings import Settings
from tests.models.originals import TINY, coqui_model, write_original, write_studio_voices


@pytest.fixture(scope="session")
def coqui() -> Any:
    return coqui_model(**TINY)


@pytest.fixture(scope="session")
def pristine(coqui: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_original(tmp_path_factory.mktemp("original") / "xtts", coqui)
    write_studio_voices(folder, TINY["gpt_n_model_channels"])
    return folder


@pytest.fixture
def original(pristine: Path, tmp_path: Path) -> Path:
    """A test that changes a file replaces it; the links keep the pristine one whole."""
    return Path(shutil.copytree(pristine, tmp_path / "original", copy_function=os.link))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")
