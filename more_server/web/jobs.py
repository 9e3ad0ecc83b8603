"""Durable jobs: `/v1/jobs`. What a key may do with a job, its kind says."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec
from litestar import Request, Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from more_server.audit import AuditLog
from more_server.errors import (
    BadInput,
    Changed,
    Conflict,
    DatasetNotFound,
    DiskFull,
    JobNotFound,
    ModelNotFound,
    NoSuchRange,
    ResultNotFound,
    TooLarge,
    VoiceNotFound,
    allowed,
    shown,
)
from more_server.jobs.jobs import Jobs, unknown_job
from more_server.jobs.records import ENDED, Failure, Job, Progress, Result, Status
from more_server.jobs.webhooks import Webhooks
from more_server.keys import Key
from more_server.lessons.dataset_kind import DatasetKind
from more_server.lessons.train_kind import TrainKind
from more_server.narration.kind import SpeechKind
from more_server.tables import LimitSettings
from more_server.threads import in_threads
from more_server.web import wire
from more_server.web.access import ANY_KEY, check_scope
from more_server.web.admin import answer, caller
from more_server.web.described import described, said
from more_server.web.errors import handle_http_error, handle_more_error
from more_server.web.ranges import send_file

JOBS = {"scope": ANY_KEY}
ADMIN = "admin"
MOST_LISTED = 100
HEARTBEAT_SECONDS = 15.0
"""Between comments in a stream of events, which keep proxies from closing it; nginx does so after 60 s."""
RECORDED_BYTES = 4096
"""Of a request in the audit log; of a longer one the names of the fields."""

Asked = Request[Any, Any, Any]


class WebhookBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who is told of a job's end."""

    url: str
    """`https://…`, which is sent the job, signed as Standard Webhooks has it."""


class _Envelope(msgspec.Struct):
    kind: str | None = None
    webhook: WebhookBody | None = None


class ResultItem(msgspec.Struct, kw_only=True):
    """A file that came out of a job."""

    name: str
    media_type: str
    bytes: int
    title: str
    """What it is, for people; may be empty."""
    url: str
    """Its path on this server."""


class JobItem(msgspec.Struct, kw_only=True):
    """A job."""

    id: str
    kind: str
    status: Status
    created: int
    """Unix seconds, as the next two."""
    started: int | None
    """null: it waits."""
    ended: int | None
    """null: it waits or runs."""
    request: dict[str, Any]
    """What was asked for, without what is bulky."""
    owner: str
    """Id of the key that asked for it; empty: there was none."""
    webhook: WebhookBody | None
    progress: Progress | None
    """`stage`, `done` of `total`, `percent`, `estimated_end` in Unix seconds, and what else the kind tells."""
    error: Failure | None
    """Why it failed."""
    results: list[ResultItem]
    """The files there are, also while it runs."""
    object: Literal["job"] = "job"


class JobList(msgspec.Struct):
    """`GET /v1/jobs`, the latest first."""

    data: list[JobItem]
    has_more: bool
    """Whether another page begins after the last one of these."""
    first_id: str | None
    last_id: str | None
    """What to send as `after` for the next page."""
    object: Literal["list"] = "list"


def job_item(job: Job) -> JobItem:
    """A job as it is shown."""
    same = {name: getattr(job, name) for name in Job.__struct_fields__ if name not in ("webhook", "results")}
    webhook = WebhookBody(job.webhook) if job.webhook else None
    return JobItem(**same, webhook=webhook, results=[_result_item(job.id, one) for one in job.results])


def taking(handlers: Sequence[Any], limits: LimitSettings) -> Router:
    """Handlers that may be sent as much as a job may have: a book."""

    def too_large(request: Asked, error: HTTPException) -> Response[bytes]:
        if error.status_code != TooLarge.status:
            return handle_http_error(request, error)
        return handle_more_error(
            request, TooLarge(f"the body is larger than {limits.job_bytes} bytes (limits.job_bytes)")
        )

    return Router(
        path="/",
        route_handlers=list(handlers),
        request_max_body_size=limits.job_bytes,
        exception_handlers={HTTPException: too_large},
    )


def routes(limits: LimitSettings) -> list[Any]:
    """HANDLERS for an application; the one that takes jobs may be sent more than the others."""
    return [*OTHERS, taking(TAKING, limits)]


def parted(body: bytes) -> tuple[str, WebhookBody | None, bytes]:
    """An order's kind, empty where it names none, its webhook, and the fields of that kind. Raises BadInput."""
    fields = wire.decode(body, dict[str, msgspec.Raw])
    common = {name: fields.pop(name) for name in _Envelope.__struct_fields__ if name in fields}
    envelope = wire.decode(wire.encode(common), _Envelope)
    return envelope.kind or "", envelope.webhook, wire.encode(fields)


def order(
    name: str, request: type[msgspec.Struct], kind: str, default: Any = msgspec.NODEFAULT
) -> type[msgspec.Struct]:
    """What asks for a job of a kind, for the OpenAPI document; `parted` reads it."""
    common = [
        ("kind", said(Literal[kind], "What is asked for."), msgspec.field(default=default)),
        ("webhook", said(WebhookBody, "Who is told of its end.") | None, None),
    ]
    return msgspec.defstruct(name, common, bases=(request,), kw_only=True, namespace={"__doc__": request.__doc__})


ORDERS = tuple(
    order(f"{kind.name.title()}Order", kind.request, kind.name) for kind in (SpeechKind, DatasetKind, TrainKind)
)
PAGE = {
    "limit": said(int, "Jobs.", ge=1, le=MOST_LISTED),
    "after": said(str, "Id of a job; the page begins behind it."),
    "kind": said(str, "Only those of this kind."),
    "status": said(Status, "Only those in this state."),
}
RANGES = {
    "range": said(str, "`bytes=FIRST-LAST`: that part alone.") | None,
    "if-range": said(str, "An ETag; of another file than it has, no part is sent, but all of it.") | None,
    "if-match": said(str, "ETags; another file is refused.") | None,
    "if-none-match": said(str, "ETags of what is there already.") | None,
}
TAKEN = (VoiceNotFound, ModelNotFound, DatasetNotFound, Conflict, DiskFull)
MISSING = (JobNotFound,)


@post("/v1/jobs", opt=described(JOBS, body=ORDERS, answer=JobItem, errors=TAKEN))
async def create(
    request: Asked,
    jobs: NamedDependency[Jobs],
    webhooks: NamedDependency[Webhooks],
    audit: NamedDependency[AuditLog],
) -> Response[bytes]:
    """A new job: `kind`, the fields of that kind, and `webhook`: {"url": …}, if somebody is to be told of its end."""
    name, webhook, fields = await asyncio.to_thread(parted, await request.body())
    kind, key = jobs.kind(name), _key(request)
    check_scope(key, kind.scope)
    asked = await asyncio.to_thread(wire.decode, fields, kind.request)
    url = "" if webhook is None else webhook.url
    if webhook is not None:
        await webhooks.check(url)
    # A book is not put on record, and encoding one again would hold up everybody else.
    told = _told(asked) if kind.scope == ADMIN else {}
    async with _recorded(request, audit, kind.scope, "create", kind.name, told):
        job = await jobs.create(kind.name, asked, owner=key.id if key else "", webhook=url)
    response = answer(job_item(job))
    response.status_code = 201
    response.headers["location"] = f"/v1/jobs/{job.id}"
    return response


@get("/v1/jobs", opt=described(JOBS, answer=JobList, query=PAGE, errors=MISSING))
async def list_all(
    request: Asked,
    jobs: NamedDependency[Jobs],
    limit: FromQuery[int] = 20,
    after: FromQuery[str] = "",
    kind: FromQuery[str] = "",
    status: FromQuery[str] = "",
) -> Response[bytes]:
    """Jobs, the latest first: `?limit=` of them (20) behind the one of `?after=`, of a `?kind=`, in a `?status=`."""
    if not 1 <= limit <= MOST_LISTED:
        raise BadInput(f"limit is 1 to {MOST_LISTED}", param="limit")
    if status and status not in get_args(Status):
        raise BadInput(f"there is no status {shown(status)}; there are: {allowed(get_args(Status))}", param="status")
    key = _key(request)
    if kind:
        check_scope(key, jobs.kind(kind).scope)
    if after:
        await _find(request, jobs, after, param="after")
    owner = None if key is None or key.allows(ADMIN) else key.id
    wanted: Any = status or None
    page, more = await jobs.list(kind=kind or None, status=wanted, owner=owner, limit=limit, after=after or None)
    items = [job_item(job) for job in page]
    return answer(JobList(items, more, items[0].id if items else None, items[-1].id if items else None))


@get("/v1/jobs/{job_id:str}", opt=described(JOBS, answer=JobItem, errors=MISSING))
async def get_one(request: Asked, jobs: NamedDependency[Jobs], job_id: FromPath[str]) -> Response[bytes]:
    """A job as it is now."""
    return answer(job_item(await _find(request, jobs, job_id)))


@delete("/v1/jobs/{job_id:str}", opt=described(JOBS, errors=(*MISSING, Conflict)))
async def remove(
    request: Asked, jobs: NamedDependency[Jobs], audit: NamedDependency[AuditLog], job_id: FromPath[str]
) -> None:
    """Forget a job that has ended, and delete its results; one that runs must be cancelled first."""
    job = await _find(request, jobs, job_id)
    async with _recorded(request, audit, _scope(jobs, job), "delete", job.id, {"kind": job.kind}):
        await jobs.delete(job.id)


@post("/v1/jobs/{job_id:str}/cancel", opt=described(JOBS, answer=JobItem, errors=(*MISSING, Conflict)), status_code=200)
async def cancel(
    request: Asked, jobs: NamedDependency[Jobs], audit: NamedDependency[AuditLog], job_id: FromPath[str]
) -> Response[bytes]:
    """Stop a job that waits or runs; what it has done is kept, for it to be resumed."""
    job = await _find(request, jobs, job_id)
    async with _recorded(request, audit, _scope(jobs, job), "cancel", job.id, {"kind": job.kind}):
        return answer(job_item(await jobs.cancel(job.id)))


@post("/v1/jobs/{job_id:str}/resume", opt=described(JOBS, answer=JobItem, errors=(*MISSING, Conflict)), status_code=200)
async def resume(
    request: Asked, jobs: NamedDependency[Jobs], audit: NamedDependency[AuditLog], job_id: FromPath[str]
) -> Response[bytes]:
    """Go on with a job that failed or was cancelled; nothing that was finished is done again."""
    job = await _find(request, jobs, job_id)
    async with _recorded(request, audit, _scope(jobs, job), "resume", job.id, {"kind": job.kind}):
        return answer(job_item(await jobs.resume(job.id)))


@get("/v1/jobs/{job_id:str}/events", opt=described(JOBS, answer="text/event-stream", events=(JobItem,), errors=MISSING))
async def events(request: Asked, jobs: NamedDependency[Jobs], job_id: FromPath[str]) -> Stream:
    """The job as an event stream: `progress` at once and at each change, `end` when it has ended."""
    job = await _find(request, jobs, job_id)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return Stream(_events(jobs, job.id), media_type="text/event-stream", headers=headers)


@get(
    ["/v1/jobs/{job_id:str}/result", "/v1/jobs/{job_id:str}/result/{name:path}"],
    opt=described(
        JOBS,
        answer="*/*",
        also={206: "*/*", 304: None},
        headers=RANGES,
        errors=(*MISSING, ResultNotFound, Changed, NoSuchRange),
    ),
)
async def result(
    request: Asked, jobs: NamedDependency[Jobs], job_id: FromPath[str], name: FromPath[str] = ""
) -> Response[Any]:
    """A result, by its name or the first one, whole or in part (`Range`); also while the job goes on."""
    job = await _find(request, jobs, job_id)
    path, found = await jobs.result(job.id, name.removeprefix("/") or None)
    return await send_file(request, path, found.media_type, found.name.rpartition("/")[2])


TAKING = (list_all, create)
OTHERS = (get_one, remove, cancel, resume, events, result)
HANDLERS = (*TAKING, *OTHERS)
"""All of them, for whoever describes or checks the routes."""


def _key(request: Asked) -> Key | None:
    """The key that was shown; None: there are no keys."""
    found = request.scope["state"]["key"]
    assert found is None or isinstance(found, Key)
    return found


async def _find(request: Asked, jobs: Jobs, job_id: str, *, param: str = "job_id") -> Job:
    """A job that whoever asks may know of and act upon. Raises JobNotFound, which names `param`, and NotAllowed."""
    job, key = await jobs.get(job_id, param=param), _key(request)
    if key is not None and not key.allows(ADMIN) and key.id != job.owner:
        raise unknown_job(job_id, param)
    check_scope(key, _scope(jobs, job))
    return job


def _scope(jobs: Jobs, job: Job) -> str:
    """Of a kind that this server does not know, as another one's may be, nothing is known."""
    return jobs.kinds[job.kind].scope if job.kind in jobs.kinds else ADMIN


def _told(asked: msgspec.Struct) -> dict[str, Any]:
    """A request for the audit log."""
    values: dict[str, Any] = msgspec.to_builtins(asked)
    return values if len(wire.encode(values)) <= RECORDED_BYTES else {"fields": list(values)}


def _recorded(
    request: Asked, audit: AuditLog, scope: str, action: str, target: str, changes: Mapping[str, Any]
) -> AbstractAsyncContextManager[None]:
    """What is done in the block, on record where it is administration; the log is written off the event loop."""
    if scope != ADMIN:
        return nullcontext()
    return in_threads(audit.change(caller(request), f"jobs.{action}", target, changes))


async def _events(jobs: Jobs, job_id: str) -> AsyncGenerator[bytes, None]:
    """Closing it, as when the client leaves, ends the watch. Who reads slowly is not told what changed meanwhile."""
    async with aclosing(jobs.watch(job_id)) as changes:
        # A task: waiting for a change must not be cut off by the next heartbeat.
        coming = asyncio.ensure_future(anext(changes, None))
        try:
            while True:
                done, _ = await asyncio.wait({coming}, timeout=HEARTBEAT_SECONDS)
                if not done:
                    yield b": nothing new\n\n"
                elif (job := coming.result()) is None:
                    return
                else:
                    yield _event(job)
                    coming = asyncio.ensure_future(anext(changes, None))
        finally:
            coming.cancel()
            await asyncio.wait({coming})


def _event(job: Job) -> bytes:
    name = b"end" if job.status in ENDED else b"progress"
    return b"event: %b\ndata: %b\n\n" % (name, wire.encode(job_item(job)))


def _result_item(job_id: str, one: Result) -> ResultItem:
    url = f"/v1/jobs/{job_id}/result/{quote(one.name, safe='/')}"
    return ResultItem(**msgspec.structs.asdict(one), url=url)
