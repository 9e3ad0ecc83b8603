"""What the README says is run: its curl lines, its Python, its two commands' names."""

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.audio import decoded
from tests.web.conftest import Server, nano_settings, running

README = Path("README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
CURLS = [text for kind, text in BLOCKS if kind == "sh" and text.startswith("curl")]
PYTHONS = [text for kind, text in BLOCKS if kind == "python"]
HERE = "127.0.0.1:8000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(nano_settings(tmp_path_factory.mktemp("data"))) as made:
        yield made


def test_there_are_curl_lines() -> None:
    assert len(CURLS) >= 5


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl: apt-get install curl")
@pytest.mark.parametrize("lines", CURLS)
def test_curl_lines(server: Server, tmp_path: Path, lines: str) -> None:
    script = lines.replace(HERE, server.url.removeprefix("http://")).replace("curl ", "curl --fail-with-body ")
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in re.findall(r"-o (\S+)", lines):
        data = (tmp_path / name).read_bytes()
        if name.endswith(".events"):
            assert data.startswith(b"data: ")
            assert b"speech.audio.done" in data
        elif name.endswith(".zip"):
            assert "voice.toml" in "".join(zipfile.ZipFile(tmp_path / name).namelist())
        else:
            assert len(decoded(data, name.rpartition(".")[2])[0]) > 6_000
    for name in re.findall(r"-D (\S+)", lines):
        assert "x-seed: 42" in (tmp_path / name).read_text()


def test_there_are_python_examples() -> None:
    assert len(PYTHONS) >= 2


@pytest.mark.parametrize("example", PYTHONS)
def test_python_examples(server: Server, tmp_path: Path, example: str) -> None:
    shutil.copy("voices/rowan/reference.wav", tmp_path / "interview.mp3")  # its name deceives nobody who decodes it
    code = example.replace(HERE, server.url.removeprefix("http://"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (name,) = re.findall(r'"(\w+\.wav)"', example)
    assert len(decoded((tmp_path / name).read_bytes(), "wav")[0]) > 12_000


def test_the_first_screen_holds_the_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:30])
    assert "pip install -e . && more-server serve" in first_screen
    assert "pip install -e '.[dev]' && pytest" in first_screen


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert Path(target).exists(), target
