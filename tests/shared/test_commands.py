"""Commands on one machine, and what another one knows of them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shared.conftest import away

More = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def more(database: str, tmp_path: Path) -> More:
    """`more("one", "keys", "list")` on a machine by its name."""

    def run(machine: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        given = {"MORE_DATA_DIR": str(tmp_path / machine), "MORE_DATABASE": database} | settings
        return subprocess.run(
            [sys.executable, "-m", "more_server.cli", *arguments],
            env=os.environ | given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_keys_plugins_and_models(more: More):
    assert more("one", "keys", "add", "laptop", "--scope", "admin").returncode == 0
    listed = more("other", "keys", "list").stdout
    (key,) = re.findall(r"^([0-9a-f]{8}) +laptop", listed, re.MULTILINE)
    assert more("other", "keys", "remove", key).returncode == 0
    assert "There is no key" in more("one", "keys", "list").stdout
    assert more("one", "plugins", "disable", "more_silence").returncode == 0
    assert re.search(r"more_silence +disabled", more("other", "plugins", "list").stdout)
    assert more("other", "models", "use", "nano").returncode == 0
    assert re.search(r"→ +nano", more("one", "models", "list").stdout)


def test_check_tells_of_the_database(more: More, database: str):
    done = more("one", "check")
    assert done.returncode == 0, done.stdout
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("✓ database")]
    assert database.rpartition("@")[2] in told
    with away(database):
        done = more("one", "check")
    assert done.returncode == 1
    assert re.search(
        r"✗ database +the database that servers share cannot be used: .*\n  → see that it runs", done.stdout
    )


def test_a_node_has_the_model_before_it_joins(more: More):
    pytest.importorskip("ray", reason="pip install 'more-server[cluster]', which the extra dev brings")
    done = more("one", "cluster", "up", "--join", "127.0.0.1:1", MORE_MODEL="xtts-v2")
    assert done.returncode == 1
    assert "nobody has accepted its licence" in done.stderr  # and Ray was not begun
