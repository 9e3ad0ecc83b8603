"""Locks of folders: one writer at a time, and nothing left of those whose folder is gone."""

import threading
import time
from pathlib import Path

import pytest

from more_server.errors import StorageError
from more_server.files import locked, remove_folder


def test_one_writer_at_a_time_while_folders_come_and_go(tmp_path: Path) -> None:
    """Each removal removes the lock, too; who waits for it must not hold a file that nobody else will find."""
    folder, inside, most = tmp_path / "ann", [0], [0]

    def write() -> None:
        for _ in range(40):
            with locked(folder, seconds=60):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                if folder.exists():
                    remove_folder(folder)
                else:
                    folder.mkdir()
                inside[0] -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]
    assert not folder.exists()
    assert list((tmp_path / ".locks").iterdir()) == []


def test_the_lock_of_what_is_there_stays(tmp_path: Path) -> None:
    folder = tmp_path / "ann"
    with locked(folder):
        folder.mkdir()
        with pytest.raises(StorageError, match="another process is writing"), locked(folder):
            pass
    assert [path.name for path in (tmp_path / ".locks").iterdir()] == ["ann.lock"]
    with locked(folder):
        pass
