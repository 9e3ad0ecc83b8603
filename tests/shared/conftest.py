"""Machines that share a database and nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from more_server.decisions import take_up_decisions
from more_server.keys import Key, KeyRing, new_key
from more_server.registry import Registry, Snapshot
from more_server.settings import Settings
from tests.jobs.postgres import make_database, postgres

__all__ = ("postgres",)


@pytest.fixture
def database(postgres: str, tmp_path: Path) -> str:
    """Address of a new database."""
    return make_database(postgres, tmp_path.name)


@pytest.fixture
def machine(database: str, tmp_path: Path) -> Callable[[str], Settings]:
    """Settings of a machine by its name, as a command or a server on it has them."""

    def made(name: str) -> Settings:
        settings = Settings(data_dir=tmp_path / name, database=database)
        take_up_decisions(settings)
        return settings

    return made


@contextmanager
def away(address: str) -> Iterator[None]:
    """The database lets nobody in while the block runs, and has thrown everybody out."""
    server, _, name = address.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


def added(settings: Settings, name: str = "laptop", *scopes: str) -> tuple[Key, str]:
    key, secret = new_key(name, scopes or ("admin",))
    KeyRing(settings).add(key)
    return key, secret


def snapshot_of(settings: Settings) -> Snapshot:
    registry = Registry(settings)
    registry.open(None)
    return registry.snapshot
