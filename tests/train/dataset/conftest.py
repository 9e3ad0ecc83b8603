"""One language model for all datasets of the tests: it takes as long to load as three clips to cut."""

from collections.abc import Iterator

import pytest
from more_train.dataset import build

from more_server.text import LANGUAGES, LanguageDetector


@pytest.fixture(scope="session")
def detector() -> LanguageDetector:
    return LanguageDetector(LANGUAGES)


@pytest.fixture(autouse=True, scope="session")
def _one_detector(detector: LanguageDetector) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "LanguageDetector", lambda languages: detector)
        yield
