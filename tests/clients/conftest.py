"""The server that every client is pointed at."""

from collections.abc import Iterator

import msgspec
import pytest

from tests.web.conftest import Server, nano_settings, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the bundled nano for all clients that leave it as they found it."""
    settings = nano_settings(tmp_path_factory.mktemp("clients"), threads=1)
    pages = msgspec.structs.replace(settings.server, cors_origins=("*",))  # SillyTavern's call from its own origin
    with running(msgspec.structs.replace(settings, server=pages)) as made:
        yield made
