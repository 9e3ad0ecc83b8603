"""The audit log: a line before every change, whole whatever happens, for its owner's eyes."""

import asyncio
import json
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from more_server.audit import ALLOWED, COMMAND_LINE, LOCAL, UNREADABLE, Actor, AuditLog
from more_server.errors import BadInput, StorageError
from more_server.threads import in_threads, to_its_end


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "admin" / "audit.jsonl"


@pytest.fixture
def audit(file: Path) -> AuditLog:
    return AuditLog(file.parent)


def test_a_change_is_one_line(audit: AuditLog, file: Path) -> None:
    with audit.change(Actor("key", "1a2b3c4d", "laptop"), "plugins.disable", "more_loudness", {"enabled": False}):
        assert len(file.read_bytes().splitlines()) == 1, "it is there before the change is made"
    line = json.loads(file.read_text())
    moment = datetime.fromisoformat(line.pop("time"))
    assert moment.tzinfo == UTC
    assert abs((datetime.now(UTC) - moment).total_seconds()) < 60
    assert line == {
        "actor": {"kind": "key", "id": "1a2b3c4d", "name": "laptop"},
        "action": "plugins.disable",
        "target": "more_loudness",
        "changes": {"enabled": False},
        "outcome": ALLOWED,
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_change_that_fails_has_a_second_line(audit: AuditLog) -> None:
    with pytest.raises(BadInput, match="no such thing"), audit.change(LOCAL, "plugins.enable", "x"):
        raise BadInput("no such thing")
    with pytest.raises(ZeroDivisionError), audit.change(COMMAND_LINE, "plugins.enable", "x"):
        _ = 1 // 0
    assert [(str(entry.actor), entry.outcome) for entry in audit.tail(10)] == [
        ("local", "allowed"),
        ("local", "failed: no such thing"),
        ("command line", "allowed"),
        ("command line", "failed: ZeroDivisionError"),
    ]


def test_actors_read_well() -> None:
    assert str(Actor("key", "1a2b3c4d", "command line")) == "key 1a2b3c4d (command line)"
    assert str(COMMAND_LINE) == "command line"


def test_names_cannot_forge_lines_or_steer_terminals(audit: AuditLog, file: Path) -> None:
    hostile = 'x"}\n{"time":"now"}\r\x1b[2J\u202eevil\u2028\x00\ud800'
    audit.record(Actor("key", "1", hostile), hostile, hostile, {hostile: hostile, "path": Path("/a"), "n": {1: 2}})
    content = file.read_bytes()
    assert content.isascii()
    assert content.count(b"\n") == 1
    assert not any(byte < 32 for byte in content[:-1])
    assert json.loads(content)["changes"]["path"] == "/a"
    assert len(audit.tail(10)) == 1


def test_nothing_is_changed_where_it_cannot_be_recorded(audit: AuditLog, file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(StorageError, match="nothing is changed without a record"), audit.change(LOCAL, "a", "b"):
        pytest.fail("the change was made")
    with pytest.raises(StorageError, match="cannot be read"):
        audit.tail(1)


def test_a_full_disk(audit: AuditLog, file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"), audit.change(LOCAL, "a", "b"):
        pytest.fail("the change was made")


def test_a_disk_that_fills_up_within_a_line(audit: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    audit.record(LOCAL, "first", "x")
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, line: write(file, line[:20]))
        with pytest.raises(StorageError, match="No space left"):
            audit.record(LOCAL, "cut", "x")
    audit.record(LOCAL, "last", "x")
    assert [entry.action for entry in audit.tail(10)] == ["first", "last"]


def test_a_change_whose_failure_cannot_be_recorded(audit: AuditLog, file: Path) -> None:
    def fail() -> None:
        with audit.change(LOCAL, "a", "b"):
            replace_by_folder(file)
            raise BadInput("no such thing")

    async def fail_later() -> None:
        async with in_threads(audit.change(LOCAL, "a", "b")):
            replace_by_folder(file)
            raise BadInput("no such thing")

    for failing in (fail, lambda: asyncio.run(fail_later())):
        with pytest.raises(BadInput, match="no such thing") as raised:
            failing()
        assert "audit.jsonl cannot be written" in raised.value.__notes__[0]
        file.rmdir()


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


async def test_a_change_of_the_event_loop_is_recorded_off_it(
    audit: AuditLog, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, record = set(), audit.record
    monkeypatch.setattr(audit, "record", lambda *line: (threads.add(threading.current_thread()), record(*line)))
    async with in_threads(audit.change(LOCAL, "a", "made")):
        assert len(audit.tail(10)) == 1, "it is there before the change is made"
    with pytest.raises(ZeroDivisionError):
        async with in_threads(audit.change(LOCAL, "a", "broken")):
            _ = 1 // 0
    assert [(entry.target, entry.outcome) for entry in audit.tail(10)] == [
        ("made", "allowed"),
        ("broken", "allowed"),
        ("broken", "failed: ZeroDivisionError"),
    ]
    assert threading.current_thread() not in threads
    replace_by_folder(file)
    with pytest.raises(StorageError, match="nothing is changed without a record"):
        async with in_threads(audit.change(LOCAL, "a", "b")):
            pytest.fail("the change was made")


async def test_what_runs_in_a_thread_is_waited_for_and_ended() -> None:
    begins, goes_on, done = threading.Event(), threading.Event(), []

    @contextmanager
    def slow() -> Iterator[None]:
        begins.set()
        goes_on.wait(10)
        done.append("begun")
        try:
            yield
        finally:
            done.append("ended")

    async def use() -> None:
        async with in_threads(slow()):
            pytest.fail("it was cancelled before")

    using = asyncio.create_task(use())
    await to_its_end(begins.wait, 10)
    using.cancel()
    await asyncio.sleep(0.05)
    assert done == []
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert done == ["begun", "ended"]


def test_the_tail(audit: AuditLog, file: Path) -> None:
    assert audit.tail(10) == []
    long = "y" * 30_000
    for number in range(12):
        audit.record(LOCAL, f"change {number}", "x", {"long": long})
    assert [entry.action for entry in audit.tail(3)] == ["change 9", "change 10", "change 11"]
    assert [entry.action for entry in audit.tail(12)] == [f"change {number}" for number in range(12)]
    assert len(audit.tail(1000)) == 12
    with file.open("ab") as opened:
        opened.write(b"\xff not a line\n{}\n" + b"[" * 5000)
    assert [entry.action for entry in audit.tail(4)] == ["change 11", UNREADABLE, UNREADABLE, UNREADABLE]


def test_writers_at_once_keep_their_lines_whole(audit: AuditLog, file: Path) -> None:
    def write(name: str) -> None:
        for number in range(20):
            AuditLog(file.parent).record(LOCAL, name, str(number), {"filling": "z" * 9000})

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = [(entry.action, entry.target) for entry in audit.tail(1000)]
    assert sorted(told) == sorted((name, str(number)) for name in "abcd" for number in range(20))
