"""Uploads on disk: whose time is over, who holds them, and what killed servers leave."""

import os
import time
from collections import namedtuple
from pathlib import Path

import msgspec
import pytest

from more_server.errors import DiskFull, StorageError, UploadLocked, UploadNotFound
from more_server.lessons import uploads as module
from more_server.lessons.uploads import Uploads
from more_server.settings import Settings
from more_server.tables import LimitSettings


@pytest.fixture
def uploads(settings: Settings) -> Uploads:
    return Uploads(msgspec.structs.replace(settings, limits=LimitSettings(upload_hours=1.0)))


def sent(uploads: Uploads, content: bytes, length: int) -> str:
    """An upload of which so much has come."""
    made = uploads.create("a.wav", length)
    with uploads.opened(made.id, 0) as sink:
        sink.write(content)
    return made.id


def aged(path: Path) -> None:
    before = time.time() - 2 * 3600
    os.utime(path, (before, before))


def test_time_ends_for_what_nobody_goes_on_with_or_uses(uploads: Uploads) -> None:
    left, finished, begun, fresh = (sent(uploads, b"12", length) for length in (3, 2, 3, 2))
    ends = uploads.path(fresh).stat().st_mtime + 3600
    assert uploads.find(fresh).expires == int(ends)
    for upload_id in (left, finished):
        aged(uploads.path(upload_id))
    assert {upload.id for upload in uploads.list_all()} == {begun, fresh}
    for upload_id in (left, finished):
        with pytest.raises(UploadNotFound, match="its time is over"), uploads.opened(upload_id, 2):
            pass
    folder = uploads.path(left).parent.parent
    killed = folder / ".0123.partial-0123"  # by whom it was begun, or removed
    killed.mkdir()
    uploads.sweep()
    assert {path.name for path in folder.iterdir()} == {begun, fresh, killed.name}
    aged(killed)
    uploads.sweep()
    assert {path.name for path in folder.iterdir()} == {begun, fresh}


def test_what_is_being_sent_is_not_swept(uploads: Uploads) -> None:
    upload_id = sent(uploads, b"12", 3)
    with uploads.opened(upload_id, 2) as sink:
        with pytest.raises(UploadLocked):
            uploads.remove(upload_id)
        aged(uploads.path(upload_id))
        uploads.sweep()
        sink.write(b"3")
    assert uploads.find(upload_id).is_finished


def test_no_room_is_told_before_anything_comes(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage(99))
    with pytest.raises(DiskFull, match="100 bytes are more than the 99 that are free"):
        uploads.create("a.wav", 100)
    assert uploads.list_all() == []
    assert uploads.create("a.wav", 99).length == 99


def test_a_damaged_upload_is_told_and_hides_no_other(uploads: Uploads) -> None:
    damaged, whole = sent(uploads, b"1", 2), sent(uploads, b"1", 2)
    (uploads.path(damaged).parent / "about.json").write_bytes(b"{")
    assert [upload.id for upload in uploads.list_all()] == [whole]
    uploads.sweep()
    with pytest.raises(StorageError, match=damaged):
        uploads.find(damaged)
