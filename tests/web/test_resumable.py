"""Uploads by tus: a real client, real connections that break, a server that is killed, a disk that is full."""

import asyncio
import base64
import hashlib
import io
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tusclient.client import TusClient

from more_server.errors import BadInput
from more_server.lessons import uploads as uploads_module
from more_server.lessons.uploads import Uploads
from more_server.settings import Settings
from more_server.tables import LimitSettings
from more_server.web import datasets, resumable
from tests.web.resuming import BYTES, TUS, UPLOADS, Running, application, said

CONTENT = random.Random(3).randbytes(3_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("data"), users="busy")
    yield running
    running.close()


def checksum(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


def broken_off(server: Running, path: str, offset: int, content: bytes, **headers: str) -> socket.socket:
    """A connection that announces more than it has sent."""
    rest = str(len(CONTENT) - offset)
    told = BYTES | {"host": "localhost", "upload-offset": str(offset), "content-length": rest} | headers
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    connection.sendall(f"PATCH {path} HTTP/1.1\r\n{head}\r\n".encode() + content)
    return connection


@pytest.mark.parametrize("checked", [False, True])
def test_a_real_client_sends_a_part_and_later_the_rest(server: Running, checked: bool) -> None:
    client = TusClient(f"http://127.0.0.1:{server.port}{UPLOADS}")
    told = {"filename": "Stimme – 1.flac", "note": "Grüße"}

    def uploader(url: str | None = None):
        stream = io.BytesIO(CONTENT)
        return client.uploader(
            file_stream=stream,
            chunk_size=700_000,
            metadata=told,
            metadata_encoding="utf-8",
            url=url,
            upload_checksum=checked,
        )

    first = uploader()
    first.upload(stop_at=1_400_000)
    path = httpx.URL(first.url).path
    assert server.offset(path) == 1_400_000
    second = uploader(first.url)
    assert second.offset == 1_400_000
    second.upload()
    assert server.data(path).read_bytes() == CONTENT
    found = server.http.get(path).json()
    assert (found["filename"], found["offset"]) == ("Stimme – 1.flac", len(CONTENT))
    ends = server.data(path).stat().st_mtime + 3600 * LimitSettings().upload_hours
    assert found["expires"] == int(ends)
    assert resumable.metadata(server.http.head(path).headers["upload-metadata"]) == told
    assert found["id"] in [one["id"] for one in server.http.get(UPLOADS).json()["data"]]
    assert server.http.delete(path, headers=TUS).status_code == 204
    assert server.http.head(path).status_code == 404
    assert not server.data(path).parent.exists()


def test_what_the_protocol_asks_of_headers(server: Running) -> None:
    told = server.http.options(UPLOADS)
    assert told.status_code == 204
    assert told.headers["tus-version"] == told.headers["tus-resumable"] == "1.0.0"
    assert told.headers["tus-extension"] == "creation,creation-with-upload,expiration,checksum,termination"
    assert told.headers["tus-max-size"] == str(1 << 24)
    assert told.headers["tus-checksum-algorithm"] == "sha1,sha256"
    sent = BYTES | {"upload-length": "10", "upload-metadata": said(filename="a.wav")}
    made = server.http.post(UPLOADS, headers=sent, content=b"12345")
    assert (made.status_code, made.headers["upload-offset"]) == (201, "5")
    assert "upload-expires" in made.headers
    path = made.headers["location"]
    assert path == f"{UPLOADS}/{made.json()['id']}"
    asked = server.http.head(path, headers=TUS)
    wanted = {"tus-resumable": "1.0.0", "upload-offset": "5", "upload-length": "10", "cache-control": "no-store"}
    assert wanted.items() <= dict(asked.headers).items()
    ended = server.send(path, 5, b"67890")
    assert (ended.status_code, ended.headers["upload-offset"], ended.content) == (204, "10", b"")
    assert parsedate_to_datetime(ended.headers["upload-expires"]).timestamp() == server.http.get(path).json()["expires"]
    assert server.data(path).read_bytes() == b"1234567890"


def test_nobody_but_an_administrator() -> None:
    assert {handler.opt["scope"] for handler in (*resumable.HANDLERS, *datasets.HANDLERS)} == {"admin"}


@pytest.mark.parametrize(
    ("status", "headers", "param"),
    [
        (412, {"tus-resumable": "0.2.2"}, "tus-resumable"),
        (413, {"upload-length": str((1 << 24) + 1)}, None),
        (400, {"upload-length": "-1"}, "upload-length"),
        (400, {"upload-length": "1e3"}, "upload-length"),
        (400, {"upload-defer-length": "1"}, "upload-defer-length"),
        (400, {"upload-concat": "partial"}, "upload-concat"),
        (400, {"upload-metadata": ""}, "filename"),
        (400, {"upload-metadata": "filename !!"}, "upload-metadata"),
        (400, {"upload-metadata": said(filename="a.zip") + ",filename YQ=="}, "upload-metadata"),
        (400, {"upload-metadata": said(filename="../a.zip")}, "filename"),
        (400, {"upload-metadata": said(filename=".zip")}, "filename"),
        (400, {"upload-metadata": said(filename="a\n.zip")}, "filename"),
        (400, {"upload-metadata": said(filename="a.exe")}, "filename"),
        (400, {"upload-metadata": said(filename="a" * 200 + ".zip")}, "filename"),
        (400, {"upload-checksum": "md5 AAAA"}, "upload-checksum"),
        (400, {"upload-checksum": "sha1 ?"}, "upload-checksum"),
    ],
)
def test_what_cannot_begin(server: Running, status: int, headers: dict[str, str], param: str | None) -> None:
    sent = TUS | {"upload-length": "5", "upload-metadata": said(filename="a.zip")} | headers
    before = server.http.get(UPLOADS).json()
    response = server.http.post(UPLOADS, headers=sent)
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param
    assert response.headers["tus-resumable"] == "1.0.0"
    assert ("tus-version" in response.headers) == (status == 412)
    assert server.http.get(UPLOADS).json() == before


def test_what_cannot_go_on(server: Running) -> None:
    path = server.create(10)
    assert server.send(path, 0, b"1234").status_code == 204
    for status, response in (
        (409, server.send(path, 3, b"x")),
        (409, server.send(path, 5, b"x")),
        (400, server.send(path, -1, b"x")),
        (413, server.send(path, 4, b"1234567")),
        (415, server.send(path, 4, b"x", **{"content-type": "text/plain"})),
        (412, server.send(path, 4, b"x", **{"tus-resumable": "2.0.0"})),
        (412, server.http.delete(path)),
        (460, server.send(path, 4, b"567", **{"upload-checksum": checksum(b"568")})),
        (404, server.send(f"{UPLOADS}/{'0' * 32}", 0, b"x")),
        (404, server.send(f"{UPLOADS}/..%2F..%2Fadmin", 0, b"x")),
    ):
        assert response.status_code == status, response.text
        assert server.offset(path) == 4
    # Without a length that is announced, the excess shows when it comes.
    sent = BYTES | {"upload-offset": "4"}
    assert server.http.patch(path, headers=sent, content=iter([b"1234", b"5678"])).status_code == 413
    assert server.offset(path) == 4
    assert server.send(path, 4, b"567890", **{"upload-checksum": checksum(b"567890", "sha1")}).status_code == 204
    assert server.data(path).read_bytes() == b"1234567890"
    # Nor does the first request leave something that nobody knows the address of.
    before = server.http.get(UPLOADS).json()
    sent = BYTES | {"upload-length": "4", "upload-metadata": said(filename="a.wav")}
    assert server.http.post(UPLOADS, headers=sent, content=b"12345").status_code == 413
    assert server.http.get(UPLOADS).json() == before


def test_a_broken_connection_loses_nothing(server: Running) -> None:
    path = server.create(len(CONTENT))
    broken_off(server, path, 0, CONTENT[:1_234_567]).close()
    server.waits_for(path, 1_234_567)
    wait_until_free(server, path, 1_234_567)
    assert server.data(path).read_bytes() == CONTENT


def wait_until_free(server: Running, path: str, offset: int) -> None:
    """Send the rest; the broken request may still hold the upload."""
    last = time.monotonic() + 20
    while (response := server.send(path, offset, CONTENT[offset:])).status_code == 423:
        assert time.monotonic() < last
        time.sleep(0.05)
    assert response.status_code == 204, response.text


def test_a_broken_connection_leaves_nothing_unchecked(server: Running) -> None:
    path = server.create(len(CONTENT))
    connection = broken_off(server, path, 0, CONTENT[:1_500_000], **{"upload-checksum": checksum(CONTENT)})
    server.waits_for(path, 1 << 20)
    assert server.offset(path) == 0  # while it comes, too
    connection.close()
    wait_until_free(server, path, 0)
    assert server.data(path).read_bytes() == CONTENT


def test_one_at_a_time(server: Running) -> None:
    path = server.create(len(CONTENT))
    with broken_off(server, path, 0, CONTENT[:2_000_000]):
        server.waits_for(path, 1 << 20)
        there = server.offset(path)
        with ThreadPoolExecutor(4) as pool:
            others = list(pool.map(lambda _: server.send(path, there, b"other"), range(4)))
        assert {response.status_code for response in others} == {423}
        assert server.http.delete(path, headers=TUS).status_code == 423
    wait_until_free(server, path, 2_000_000)
    assert server.data(path).read_bytes() == CONTENT


@pytest.mark.parametrize("checked", [False, True])
def test_a_killed_server_goes_on_where_the_file_ends(tmp_path: Path, checked: bool) -> None:
    server = Running(tmp_path)
    path = server.create(len(CONTENT))
    assert server.send(path, 0, CONTENT[:1000]).status_code == 204
    headers = {"upload-checksum": checksum(CONTENT[1000:])} if checked else {}
    with broken_off(server, path, 1000, CONTENT[1000:2_500_000], **headers):
        server.waits_for(path, 1 << 20)
        server.kill()
    size = server.data(path).stat().st_size
    server = Running(tmp_path)
    try:
        assert server.offset(path) == (1000 if checked else size)
        assert server.send(path, 0, CONTENT).status_code == 409
        offset = server.offset(path)
        assert server.send(path, offset, CONTENT[offset:]).status_code == 204
        assert server.data(path).read_bytes() == CONTENT
    finally:
        server.close()


def test_a_full_disk_keeps_what_fitted(tmp_path: Path) -> None:
    server = Running(tmp_path, disk_bytes=1_500_000)
    path = server.create(len(CONTENT))
    response = server.send(path, 0, CONTENT)
    assert response.status_code == 507, response.text
    assert response.json()["error"]["code"] == "disk_full"
    assert server.offset(path) == 1_500_000
    # In the first request it is as if nothing had come.
    before = server.http.get(UPLOADS).json()
    sent = BYTES | {"upload-length": str(len(CONTENT)), "upload-metadata": said(filename="a.zip")}
    response = server.http.post(UPLOADS, headers=sent, content=CONTENT)
    assert response.status_code == 507
    told = "the disk is full: it had room for 1500000 of the upload's 3000000 bytes; try again once there is more"
    assert response.json()["error"]["message"] == told
    assert server.http.get(UPLOADS).json() == before
    server.close()
    server = Running(tmp_path)  # with room
    try:
        assert server.send(path, 1_500_000, CONTENT[1_500_000:]).status_code == 204
        assert server.data(path).read_bytes() == CONTENT
    finally:
        server.close()


async def asked(settings: Settings, path: str, content: bytes) -> None:
    """A PATCH of all of an upload, as a server hands it to the application."""
    told = BYTES | {"host": "localhost", "upload-offset": "0", "content-length": str(len(content))}
    scope = {
        "type": "http", "method": "PATCH", "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "scheme": "http", "http_version": "1.1", "asgi": {"version": "3.0"},
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        "headers": [(name.encode(), value.encode()) for name, value in told.items()],
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        pass

    await application(settings)(scope, receive, send)


@pytest.mark.parametrize("blocking", ["write", "fstat", "fsync"])
async def test_a_request_that_is_cancelled_writes_to_nothing_that_it_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocking: str
) -> None:
    """blocking: what its thread is in when that happens, as it writes, takes the upload's lock, or gives it back."""
    settings = Settings(data_dir=tmp_path)
    uploads = Uploads(settings)
    path = f"{UPLOADS}/{uploads.create('a.wav', 4).id}"
    (uploads.path(path.rpartition("/")[2]).parent / "unchecked").write_bytes(b"0")  # a server was killed
    inside, go_on, problems = threading.Event(), threading.Event(), []
    real = getattr(os, blocking)

    def blocked(descriptor: int, *given: Any) -> Any:
        inside.set()
        assert go_on.wait(20)
        try:
            return real(descriptor, *given)
        except OSError as error:
            problems.append(error)
            raise

    monkeypatch.setattr(uploads_module, "os", SimpleNamespace(**{**vars(os), blocking: blocked}))
    request = asyncio.create_task(asked(settings, path, b"RIFF"))
    assert await asyncio.to_thread(inside.wait, 20)
    request.cancel()
    await asyncio.wait({request}, timeout=0.2)
    assert not request.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert problems == []
    found = uploads.find(path.rpartition("/")[2])
    assert found.offset == (0 if blocking == "fstat" else 4)
    with uploads.opened(found.id, found.offset) as sink:  # nobody holds it
        sink.write(b"RIFF"[found.offset :])


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.text(), max_size=5))
def test_metadata_comes_back_as_it_was_sent(values: dict[str, str]) -> None:
    assert resumable.metadata(said(**values)) == values


@given(st.text(max_size=100))
def test_metadata_of_any_kind_is_read_or_refused(sent: str) -> None:
    with suppress(BadInput):
        assert all(resumable.metadata(sent))
