"""`pytest tests/fuzz --fuzz-examples 100000` looks for long, at other examples each time.

Without the option each test looks at the same few in a few seconds. hypothesis is all that this needs: what parses is
Python and FFmpeg, and a fuzzer that is led by coverage, such as atheris, sees into neither without building both anew.
"""

import pytest
from hypothesis import HealthCheck, settings

FEW = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-examples", type=int, default=None, help="examples of each test in tests/fuzz")


def pytest_configure(config: pytest.Config) -> None:
    # Unknown to a run of the whole suite, which begins above this folder.
    many = config.getoption("--fuzz-examples", default=None)
    settings.register_profile(
        "fuzz",
        max_examples=many or FEW,
        derandomize=many is None,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
