"""Files over HTTP in parts, by RFC 9110: over a real socket, and the header's grammar by hypothesis."""

import email.utils
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, Response, get

from more_server.errors import MoreError, NoSuchRange
from more_server.web.errors import handle_more_error
from more_server.web.ranges import BLOCK_BYTES, asked_part, disposition, send_file

CONTENT = bytes(range(256)) * (BLOCK_BYTES // 100)  # some blocks and a bit
SIZE = len(CONTENT)


class Shelf:
    """A server with one file."""

    def __init__(self, folder: Path, url: str) -> None:
        self.path = folder / "a book.mp3"
        self.http = httpx.Client(base_url=url)

    def get(self, **headers: str) -> httpx.Response:
        return self.http.get("/", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("shelf")

    @get("/")
    async def book(request: Request[Any, Any, Any]) -> Response[Any]:
        return await send_file(request, folder / "a book.mp3", "audio/mpeg", "a book.mp3")

    app = Litestar([book], exception_handlers={MoreError: handle_more_error}, openapi_config=None, logging_config=None)
    listening = socket.create_server(("127.0.0.1", 0))
    runner = uvicorn.Server(uvicorn.Config(app, http="h11", loop="asyncio", log_config=None, access_log=False))
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    made = Shelf(folder, f"http://127.0.0.1:{listening.getsockname()[1]}")
    made.path.write_bytes(CONTENT)
    yield made
    made.http.close()
    runner.should_exit = True
    thread.join(20)
    listening.close()
    assert not thread.is_alive()


def test_the_whole_file(shelf: Shelf) -> None:
    answer = shelf.get()
    assert answer.status_code == 200
    assert answer.content == CONTENT
    told = answer.headers
    assert (told["content-length"], told["content-type"], told["accept-ranges"]) == (str(SIZE), "audio/mpeg", "bytes")
    assert told["content-disposition"] == "attachment; filename=\"a book.mp3\"; filename*=UTF-8''a%20book.mp3"
    changed = email.utils.parsedate_to_datetime(told["last-modified"])
    assert changed.timestamp() == int(shelf.path.stat().st_mtime)
    assert re.fullmatch(r'"[0-9a-f-]+"', told["etag"])


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-499", 0, 499),
        (f"bytes={BLOCK_BYTES - 1}-{BLOCK_BYTES}", BLOCK_BYTES - 1, BLOCK_BYTES),
        ("bytes=500-", 500, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        (f"bytes=-{SIZE + 5}", 0, SIZE - 1),
        ("bytes=9-" + "9" * 5000, 9, SIZE - 1),
        ("Bytes = , 1-2 ,", 1, 2),
    ],
)
def test_a_part(shelf: Shelf, header: str, first: int, last: int) -> None:
    answer = shelf.get(range=header)
    assert answer.status_code == 206
    assert answer.content == CONTENT[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "header", ["bytes=0-1,4-5", "bytes=2-1", "bytes=-", "bytes=", "seconds=0-1", "0-1", "bytes=x-1"]
)
def test_what_is_answered_whole(shelf: Shelf, header: str) -> None:
    answer = shelf.get(range=header)
    assert (answer.status_code, len(answer.content)) == (200, SIZE)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    "header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 1}", "bytes=-0", "bytes=" + "7" * 5000 + "-"]
)
def test_what_lies_behind_the_end(shelf: Shelf, header: str) -> None:
    answer = shelf.get(range=header)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.json()["error"]["code"] == "range_not_satisfiable"


def test_conditions(shelf: Shelf) -> None:
    first = shelf.get()
    tag, changed = first.headers["etag"], first.headers["last-modified"]
    for headers in ({"if_none_match": tag}, {"if_none_match": f'"x", W/{tag}'}, {"if_none_match": "*"}):
        answer = shelf.get(**headers, if_modified_since="Thu, 01 Jan 1970 00:00:00 GMT")
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert shelf.get(if_modified_since=changed).status_code == 304
    assert shelf.get(if_modified_since=changed, if_none_match='"x"').status_code == 200
    assert shelf.get(if_modified_since="yesterday").status_code == 200
    assert shelf.get(if_range=tag, range="bytes=0-3").content == CONTENT[:4]
    for other in ('"x"', f"W/{tag}", changed):
        assert len(shelf.get(if_range=other, range="bytes=0-3").content) == SIZE
    assert shelf.get(if_match=tag).status_code == shelf.get(if_match="*").status_code == 200
    refused = shelf.get(if_match='"x"')
    assert (refused.status_code, refused.json()["error"]["code"]) == (412, "precondition_failed")
    assert shelf.get(if_unmodified_since="Thu, 01 Jan 1970 00:00:00 GMT").status_code == 412
    assert shelf.get(if_unmodified_since=changed).status_code == 200


def test_another_file_of_the_same_size_has_another_tag(shelf: Shelf) -> None:
    before, status = shelf.get().headers["etag"], shelf.path.stat()
    new = shelf.path.with_name("new")
    new.write_bytes(CONTENT[::-1])
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(shelf.path)
    answer = shelf.get(if_range=before, range="bytes=0-3")
    assert answer.status_code == 200
    assert answer.content == CONTENT[::-1]
    shelf.path.write_bytes(CONTENT)


def test_an_empty_file_has_no_parts(shelf: Shelf) -> None:
    shelf.path.write_bytes(b"")
    assert shelf.get(range="bytes=-5").status_code == shelf.get().status_code == 200
    assert shelf.get(range="bytes=0-").status_code == 416
    shelf.path.unlink()
    answer = shelf.get()
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "storage_error")
    shelf.path.write_bytes(CONTENT)


def test_a_client_that_leaves_closes_the_file(shelf: Shelf) -> None:
    with shelf.path.open("wb") as file:
        file.truncate(200_000_000)  # more than sockets hold, nothing on the disk
    for _ in range(3):
        with httpx.Client() as client, client.stream("GET", shelf.http.base_url) as answer:
            assert len(next(answer.iter_raw())) > 0
    until = time.monotonic() + 10
    while _is_open(shelf.path) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _is_open(shelf.path)
    shelf.path.write_bytes(CONTENT)


def _is_open(path: Path) -> bool:
    links = Path("/proc/self/fd").iterdir()
    return any(link.exists() and link.resolve() == path.resolve() for link in links)


NUMBERS = st.one_of(st.just(""), st.integers(0, 14).map(str))


@given(size=st.integers(0, 12), first=NUMBERS, last=NUMBERS)
def test_a_part_is_what_a_slice_gives(size: int, first: str, last: str) -> None:
    content = list(range(size))
    try:
        part = asked_part(f"bytes={first}-{last}", size)
    except NoSuchRange:
        assert int(first) >= size if first else int(last) == 0
        return
    if part is None:
        assert first + last == "" or (first and last and int(first) > int(last)) or (not first and size == 0)
        return
    expected = content[int(first) : int(last) + 1 if last else None] if first else content[-int(last) :]
    assert content[part.first : part.first + part.length] == expected
    assert part.length == len(expected) > 0


@given(header=st.text(alphabet="bytes=-,0123456789 \t\x00é"), size=st.integers(0, 2**50))
def test_no_header_gives_what_is_not_there(header: str, size: int) -> None:
    try:
        part = asked_part(header, size)
    except NoSuchRange:
        return
    assert part is None or (part.first >= 0 and part.length > 0 and part.first + part.length <= size)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Ödipus.m4b", "attachment; filename=\"_dipus.m4b\"; filename*=UTF-8''%C3%96dipus.m4b"),
        ('a"b\\c\r\nx: y', "attachment; filename=\"a_b_c__x: y\"; filename*=UTF-8''a%22b%5Cc%0D%0Ax%3A%20y"),
    ],
)
def test_names(name: str, header: str) -> None:
    assert disposition(name) == header
