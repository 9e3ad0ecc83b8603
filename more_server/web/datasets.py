"""Datasets for administrators: `/v1/admin/datasets`. A job of the kind `dataset` makes them (`POST /v1/jobs`)."""

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Request, Response, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from more_server.audit import Actor, AuditLog
from more_server.errors import Conflict, DatasetNotFound
from more_server.jobs.jobs import Jobs
from more_server.jobs.records import ENDED
from more_server.lessons.datasets import Dataset, Datasets, Report
from more_server.lessons.train_kind import TrainKind
from more_server.speak import Speaker
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import described

PAGE = 100


class DatasetList(msgspec.Struct):
    """`GET /v1/admin/datasets`, by name."""

    data: list[Dataset]
    problems: list[str]
    """A sentence for each that cannot be read."""
    object: Literal["list"] = "list"


class DatasetItem(Dataset, frozen=True, kw_only=True):
    """`GET /v1/admin/datasets/{name}`."""

    report: Report
    """What was found when it was made."""


class DatasetRemoved(msgspec.Struct):
    """`DELETE /v1/admin/datasets/{name}`."""

    name: str
    deleted: bool = True


@get("/v1/admin/datasets", opt=described(ADMIN, answer=DatasetList))
async def list_all(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """Every dataset, and what keeps others from being used."""
    found, problems = await asyncio.to_thread(Datasets(speaker.settings).list_all)
    return answer(DatasetList(found, problems))


@get("/v1/admin/datasets/{name:str}", opt=described(ADMIN, answer=DatasetItem, errors=(DatasetNotFound,)))
async def get_one(speaker: NamedDependency[Speaker], name: FromPath[str]) -> Response[bytes]:
    """One dataset, and what was found when it was made."""
    datasets = Datasets(speaker.settings)
    found = await asyncio.to_thread(datasets.find, name)
    report = await asyncio.to_thread(datasets.report, name)
    return answer(DatasetItem(**msgspec.structs.asdict(found), report=report))


@delete(
    "/v1/admin/datasets/{name:str}",
    opt=described(ADMIN, answer=DatasetRemoved, errors=(DatasetNotFound, Conflict)),
    status_code=200,
)
async def remove(
    request: Request[Any, Any, Any],
    speaker: NamedDependency[Speaker],
    jobs: NamedDependency[Jobs],
    audit: NamedDependency[AuditLog],
    name: FromPath[str],
) -> Response[bytes]:
    """Remove a dataset and its recordings, unless a job uses it; models that were made of it stay."""
    datasets = Datasets(speaker.settings)
    await asyncio.to_thread(datasets.folder, name)  # what does not exist is not on record
    if user := await _user(jobs, name):
        raise Conflict(f"the job {user} uses the dataset {name}; cancel it, or wait for it", param="name")
    await asyncio.to_thread(_remove, datasets, audit, caller(request), name)
    return answer(DatasetRemoved(name))


HANDLERS = (list_all, get_one, remove)
"""All of them, for whoever describes or checks the routes."""


async def _user(jobs: Jobs, name: str) -> str:
    """A job that uses the dataset or waits for it; empty: none."""
    # In whatever state: one that went from one to another between two looks would be seen by neither.
    more, last = True, None
    while more:
        page, more = await jobs.list(kind=TrainKind.name, limit=PAGE, after=last)
        for job in page:
            if job.status not in ENDED and job.request.get("dataset") == name:
                return job.id
        last = page[-1].id if page else None
    return ""


def _remove(datasets: Datasets, audit: AuditLog, actor: Actor, name: str) -> None:
    with audit.change(actor, "datasets.delete", name):
        datasets.remove(name)
