"""The table of clients names every client that is tested, once; the installer tells what it could not do."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.clients import install
from tests.clients.versions import CLIENTS

HERE = Path(__file__)


def test_every_file_of_tests_is_about_one_client() -> None:
    files = {path.name for path in HERE.parent.glob("test_*.py")} - {HERE.name}
    assert Counter(client.test for client in CLIENTS) == Counter(files)


def test_every_row_is_filled() -> None:
    for client in CLIENTS:
        assert client.version, client.name
        assert all(client.settings), client.name


def test_what_cannot_be_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert install.main(tmp_path, [install.openai_node]) == 0
    assert "npm is not installed" in capsys.readouterr().out


def test_what_fails_to_install_fails_the_installer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(folder: Path) -> str:
        raise OSError(f"no room in {folder}")

    assert install.main(tmp_path, [broken, lambda folder: f"fetched into {folder}"]) == 1
    said = capsys.readouterr()
    assert said.err == f"broken failed: no room in {tmp_path}\n"
    assert said.out == f"fetched into {tmp_path}\n"
