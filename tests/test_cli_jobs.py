"""`more-server jobs` against a server that runs: orders, progress, files, and what it says where something is wrong."""

import asyncio
import base64
import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import msgspec
import pytest
import structlog

from more_server import logs
from more_server.cli import main
from more_server.jobs.kinds import Kind, Work
from more_server.keys import KeyRing, new_key
from more_server.settings import load
from tests.web.conftest import Server, nano_settings, running

BYTES = 3_000_000


class Book(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked for."""

    document: str
    chapters: int = 2
    title: str = ""
    seconds: float = 0.0
    """For each chapter."""
    taken_after: float = 0.0
    """Seconds."""
    fails: bool = False


class BookKind(Kind[Book]):
    """Writes chapters."""

    name, scope, request = "book", "speech", Book

    async def accept(self, asked: Book, folder: Path) -> Book:
        await asyncio.sleep(asked.taken_after)
        (folder / "document").write_bytes(base64.b64decode(asked.document))
        return msgspec.structs.replace(asked, document="")

    async def run(self, asked: Book, work: Work) -> None:
        content = (work.folder / "document").read_bytes()
        (work.folder / "chapters").mkdir(exist_ok=True)
        for number in range(asked.chapters):
            await asyncio.sleep(asked.seconds)
            path = work.folder / "chapters" / f"{number}.txt"
            path.write_bytes(content * (number + 1))
            await work.add(path, "text/plain", asked.title)
            await work.tell("writing", number + 1, asked.chapters)
        if asked.fails:
            raise ValueError("no ink")


class Shell:
    """Runs commands with the address and the key of a server in the environment, each in this process."""

    def __init__(self, server: Server, key: str, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.variables = {"MORE_URL": server.url, "MORE_API_KEY": key}

    def __call__(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Status, output, errors."""
        output, errors, status = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
            patch.chdir(self.folder)
            for name, value in (self.variables | variables).items():
                patch.setenv(name, value)
            try:
                main(["jobs", *arguments])
            except SystemExit as end:
                status = int(end.code or 0)
        return status, output.getvalue(), errors.getvalue()

    def ok(self, *arguments: str) -> str:
        status, output, errors = self(*arguments)
        assert status == 0, output + errors
        return output

    def process(self, *arguments: str, **streams: int) -> "subprocess.Popen[str]":
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MORE_")}
        made: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "more_server.cli", "jobs", *arguments],
            env=environment | self.variables | {"TERM": "xterm", "COLUMNS": "100"},
            cwd=self.folder,
            text=True,
            # Where this runs in the background, Ctrl-C is ignored, and so it would be there.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **streams,  # type: ignore[call-overload]
        )
        return made


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    settings = nano_settings(tmp_path_factory.mktemp("data"))
    key, secret = new_key("me", ["admin"])
    KeyRing(settings).add(key)
    logs.configure("critical", "text")  # its lines would stand among those of the commands
    try:
        with running(settings, kinds=lambda _: (BookKind(),)) as server:
            yield server, secret
    finally:
        structlog.reset_defaults()


@pytest.fixture
def shell(keyed: tuple[Server, str], tmp_path: Path) -> Shell:
    (tmp_path / "book.epub").write_bytes(os.urandom(1000) * (BYTES // 1000))
    return Shell(*keyed, tmp_path)


def test_from_the_order_to_the_files(shell: Shell) -> None:
    asked = ("start", "book", "--watch", "title=1 Chance", "seconds=1.2", "--document", "book.epub")
    lines = shell.ok(*asked).splitlines()
    job_id = lines[-1].rpartition(" ")[2]
    assert any(line.startswith("writing 50 %") for line in lines)
    assert lines[-2:] == [
        f"{job_id} has succeeded: chapters/0.txt chapters/1.txt",
        f"Get what it made with: more-server jobs fetch {job_id}",
    ]
    assert json.loads(shell.ok("show", job_id))["request"]["title"] == "1 Chance"
    row = shell.ok("list", "--kind", "book", "--status", "succeeded", "--limit", "1").splitlines()[1]
    assert row.split()[:3] == [job_id, "book", "succeeded"]
    assert "writing" not in row
    assert "chapters/1.txt" in row
    content = (shell.folder / "book.epub").read_bytes()
    assert shell.ok("fetch", job_id, "chapters/1.txt", "-o", "one").splitlines()[-1] == "one/chapters/1.txt: 6 MB"
    assert (shell.folder / "one/chapters/1.txt").read_bytes() == content * 2
    assert [path.name for path in (shell.folder / "one/chapters").iterdir()] == ["1.txt"]
    assert not (shell.folder / "one/chapters/0.txt").exists()
    assert "one/chapters/1.txt is here already" in shell.ok("fetch", job_id, "-o", "one")
    assert (shell.folder / "one/chapters/0.txt").read_bytes() == content
    (shell.folder / "chapters").mkdir()
    (shell.folder / "chapters/0.txt").write_text("mine")
    status, _, errors = shell("fetch", job_id)
    assert (status, "is another file" in errors) == (1, True)
    assert (shell.folder / "chapters/0.txt").read_text() == "mine"
    assert shell.ok("delete", job_id) == f"{job_id} is gone\n"
    assert "there is no job" in shell("show", job_id)[2]


def test_a_download_goes_on_where_it_broke_off(shell: Shell) -> None:
    job_id = shell.ok("start", "book", "chapters=1", "--document", "book.epub").strip()
    shell.ok("watch", job_id)
    with Door(shell.server, cut_after=1_000_000) as door:
        shell.variables["MORE_URL"] = door.url
        shell.ok("fetch", job_id)
    assert (shell.folder / "chapters/0.txt").read_bytes() == (shell.folder / "book.epub").read_bytes()
    ranges = [line for request in door.requests for line in request.split("\r\n") if line.lower().startswith("range")]
    (asked,) = ranges
    assert 0 < int(asked.partition("=")[2].rstrip("-")) < BYTES


def test_whoever_watches_comes_back_to_a_server_that_was_away(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("more_server.cli.jobs.RETRY_SECONDS", 0.1)
    job_id = shell.ok("start", "book", "seconds=1", "--document", "book.epub").strip()
    with Door(shell.server, cut_after=400) as door:  # behind the first event
        shell.variables["MORE_URL"] = door.url
        assert f"{job_id} has succeeded" in shell.ok("watch", job_id)
    assert len([request for request in door.requests if "/events" in request]) == 2


class Door:
    """A way to the server that is cut once, in the middle of an answer."""

    def __init__(self, server: Server, cut_after: int) -> None:
        self._port = int(server.url.rpartition(":")[2])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.requests: list[str] = []
        self._left = cut_after

    def __enter__(self) -> "Door":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            inner = socket.create_connection(("127.0.0.1", self._port))
            threading.Thread(target=self._ask, args=(client, inner), daemon=True).start()
            threading.Thread(target=self._answer, args=(client, inner), daemon=True).start()

    def _ask(self, client: socket.socket, inner: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                self.requests.append(data.decode("latin-1"))
                inner.sendall(data)
            inner.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was cut

    def _answer(self, client: socket.socket, inner: socket.socket) -> None:
        with client, inner:
            while data := inner.recv(65_536):
                client.sendall(data)
                if self._left > 0 and (left := self._left - len(data)) <= 0:
                    self._left = left
                    client.shutdown(socket.SHUT_RDWR)
                    return
                self._left -= len(data)


def test_cancel_and_resume(shell: Shell) -> None:
    job_id = shell.ok("start", "book", "seconds=1", "--document", "book.epub").strip()
    while json.loads(shell.ok("show", job_id))["progress"] is None:
        time.sleep(0.1)
    assert f"{job_id} is cancelled" in shell.ok("cancel", job_id)
    assert f"{job_id}  book  cancelled  writing 50 %" in shell.ok("list")
    status, _, errors = shell("watch", job_id)
    assert (status, errors) == (
        1,
        f"more-server: {job_id} was cancelled; it can go on, with: more-server jobs resume {job_id}\n",
    )
    assert "has succeeded" in shell.ok("resume", job_id, "--watch")


def test_an_order_may_take_long_to_be_taken(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("more_server.cli.asking.SECONDS", 0.5)
    job_id = shell.ok("start", "book", "taken_after=1.5", "chapters=0", "--document", "book.epub").strip()
    assert job_id.startswith("job_")


def test_a_document_from_standard_input(shell: Shell) -> None:
    with subprocess.Popen(["echo", "Hello."], stdout=subprocess.PIPE) as said:
        assert said.stdout
        asked = ("start", "book", "--document", "-", "chapters=1", "--watch")
        starting = shell.process(*asked, stdin=said.stdout.fileno(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        told, _ = starting.communicate(timeout=60)
    assert "has succeeded: chapters/0.txt" in told


def test_a_failure_is_told(shell: Shell) -> None:
    asked = ("start", "book", "fails=true", "chapters=0", "--document", "book.epub", "--watch")
    status, _, errors = shell(*asked)
    assert status == 1
    assert "has failed: the job failed: ValueError: no ink; it can go on" in errors


def test_a_bar_on_a_terminal_and_ctrl_c(shell: Shell) -> None:
    job_id = shell.ok("start", "book", "seconds=2", "chapters=20", "--document", "book.epub").strip()
    master, slave = pty.openpty()
    watching = shell.process("watch", job_id, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    seen = read_until(master, "writing")
    assert "━" in seen
    assert " 5%" in seen
    for _ in range(3):  # as a person would: Python drops one that comes while it runs a destructor
        watching.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            watching.wait(10)
            break
    assert watching.wait(0) == 130
    rest = read_until(master, job_id)
    os.close(master)
    assert "The job goes on" in rest
    assert json.loads(shell.ok("show", job_id))["status"] == "running"
    shell.ok("cancel", job_id)


def read_until(master: int, words: str) -> str:
    seen, until = "", time.monotonic() + 60
    while words not in seen:
        assert time.monotonic() < until, seen
        seen += os.read(master, 65_536).decode("utf-8", "replace")
    return seen


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("start", "poem"), "there is no kind 'poem'; kind is one of: book"),
        (("start", "book", "title"), "'title' is no field=value"),
        (("start", "book", "document=x", "pages=3"), "there is no field pages; there are: chapters, "),
        (("start", "book", "document=x", "title=3"), "title: expected `str`"),
        (("start", "book", "--document", "no.epub"), "no.epub cannot be read"),
        (("start", "book", "--document", os.devnull), "the document /dev/null is empty"),
        (("watch", "job_0"), "there is no job 'job_0'"),
        (("fetch", "../keys"), "there is no '/v1/jobs/../keys'"),
        (("list", "--limit", "0"), "limit is 1 to 100"),
        (("list", "--key", "more_00000000_wrong"), "there is no such key"),
        (("list", "--key", ""), "given with --key or MORE_API_KEY"),
        (("list", "--url", "http://127.0.0.1:9"), "there is no server at http://127.0.0.1:9"),
        (("list", "--url", "127.0.0.1:8000"), "there is no server at 127.0.0.1:8000"),
        (("watch", "job_0", "--url", "http://127.0.0.1:9"), "start one with `more-server serve`"),
    ],
)
def test_what_is_wrong_is_one_sentence(shell: Shell, arguments: tuple[str, ...], says: str) -> None:
    status, output, errors = shell(*arguments)
    assert (status, output) == (1, "")
    assert says in errors
    assert errors.count("\n") == 1
    assert "Traceback" not in errors


def test_what_answers_is_no_server_of_ours(shell: Shell) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>")

    threading.Thread(target=answer, daemon=True).start()
    status, _, errors = shell("list", MORE_URL=f"http://127.0.0.1:{listening.getsockname()[1]}")
    listening.close()
    assert (status, "is no MORE server" in errors) == (1, True)


def test_the_clients_variables_are_no_settings(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text("")
    clients = {"MORE_URL": "http://127.0.0.1:9", "MORE_API_KEY": "more_x"}
    assert load(tmp_path / "more.toml", clients) == load(tmp_path / "more.toml", {})
    assert load(tmp_path / "more.toml", {"MORE_JOBS__WEBHOOK_HOSTS": " , a,"}).jobs.webhook_hosts == ("a",)
