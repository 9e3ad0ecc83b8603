"""A small application with the routes of uploads and datasets alone, in a process of its own, which may be killed."""

import base64
import multiprocessing
import resource
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import HTTPException

from more_server.app import _head_as_get
from more_server.audit import AuditLog
from more_server.errors import MoreError
from more_server.jobs.jobs import Jobs
from more_server.jobs.records import Job
from more_server.keys import KeyRing
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.tables import LimitSettings
from more_server.web import datasets, resumable
from more_server.web.access import Access
from more_server.web.errors import handle_bug, handle_http_error, handle_more_error

UPLOADS = "/v1/admin/uploads"
TUS = {"tus-resumable": "1.0.0"}
BYTES = TUS | {"content-type": "application/offset+octet-stream"}


class Users(Jobs):
    """Jobs that run and use datasets."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    async def list(self, **_: Any) -> tuple[list[Job], bool]:
        ended = Job(id="job-ended", kind="train", status="succeeded", created=0, request={"dataset": "free"})
        using = [
            Job(id=f"job-{name}", kind="train", status="running", created=0, request={"dataset": name})
            for name in self._names
        ]
        return [ended, *using], False


def application(settings: Settings, users: Sequence[str] = ()) -> Any:
    """users: datasets that jobs use."""
    speaker = object.__new__(Speaker)  # whose settings are all that these routes look at
    speaker.settings = settings
    given = {"speaker": speaker, "jobs": Users(users), "audit": AuditLog(settings.admin_dir)}
    made = Litestar(
        route_handlers=[*resumable.routes(settings.limits), *datasets.HANDLERS],
        dependencies={name: Provide(_always(one), sync_to_thread=False) for name, one in given.items()},
        middleware=[Access(settings, KeyRing(settings))],
        exception_handlers={
            MoreError: handle_more_error,
            HTTPException: handle_http_error,
            Exception: handle_bug,
        },
        request_max_body_size=1024,
        openapi_config=None,
        logging_config=None,
    )

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await made(_head_as_get(scope), receive, send)

    return answer


def _always(one: Any) -> Any:
    return lambda: one


class Running:
    """The application on a port that the system chose."""

    def __init__(self, data_dir: Path, *, upload_bytes: int = 1 << 24, disk_bytes: int = 0, users: str = "") -> None:
        self.data_dir = data_dir
        # Forked from a process that has imported all of this, which takes seconds.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.web.resuming"])
        mine, theirs = context.Pipe()
        settings = Settings(data_dir=data_dir, limits=LimitSettings(upload_bytes=upload_bytes))
        self._process = context.Process(target=_serve, args=(settings, disk_bytes, users.split(), theirs), daemon=True)
        self._process.start()
        self.port = mine.recv()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def create(self, length: int, name: str = "a.zip", **headers: str) -> str:
        """The path of a new upload."""
        sent = TUS | {"upload-length": str(length), "upload-metadata": said(filename=name)} | headers
        response = self.http.post(UPLOADS, headers=sent)
        assert response.status_code == 201, response.text
        return str(response.headers["location"])

    def send(self, path: str, offset: int, content: bytes, **headers: str) -> httpx.Response:
        return self.http.patch(path, headers=BYTES | {"upload-offset": str(offset)} | headers, content=content)

    def offset(self, path: str) -> int:
        response = self.http.head(path, headers=TUS)
        assert response.status_code == 200
        return int(response.headers["upload-offset"])

    def data(self, path: str) -> Path:
        return self.data_dir / "datasets" / "uploads" / path.rpartition("/")[2] / "data"

    def waits_for(self, path: str, size: int) -> None:
        """Until so many bytes are on the disk."""
        last = time.monotonic() + 20
        while self.data(path).stat().st_size < size:
            assert time.monotonic() < last
            time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        self.http.close()
        self._process.terminate()
        self._process.join(20)
        assert self._process.exitcode is not None


def said(**values: str) -> str:
    """Upload-Metadata."""
    return ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in values.items())


def _serve(settings: Settings, disk_bytes: int, users: Sequence[str], told: Connection) -> None:
    if disk_bytes:  # of a file: a disk that is full for it beyond
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk_bytes, disk_bytes))
    listening = socket.create_server(("127.0.0.1", 0))
    told.send(listening.getsockname()[1])
    config = uvicorn.Config(
        application(settings, users), http="h11", loop="asyncio", log_level="warning", timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run(sockets=[listening])
