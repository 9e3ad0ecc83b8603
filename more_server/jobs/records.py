"""Jobs as everybody sees them."""

from typing import Any, Literal

import msgspec

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
SQLITE = "jobs.sqlite"
"""The database, beside the folders of the jobs, unless `database` names another one."""
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
"""A job that failed or was cancelled can be resumed."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job is."""

    stage: str
    """What it does at the moment, such as `speaking`."""
    done: float
    """In the job's own unit, of `total`."""
    total: float
    percent: float
    """0 to 100."""
    estimated_end: int | None = None
    """Unix seconds; None while it cannot be told."""
    about: dict[str, Any] = {}
    """Whatever else the kind tells, such as the losses of a training."""


class Failure(msgspec.Struct, frozen=True):
    """Why a job failed, as in the body of an error."""

    code: str
    message: str
    param: str | None = None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A file that came out of a job."""

    name: str
    """Path below the job's folder, such as `book.m4b`, with `/` between its parts."""
    media_type: str
    bytes: int
    title: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job, as it is now."""

    id: str
    kind: str
    status: Status
    created: int
    """Unix seconds."""
    started: int | None = None
    """Unix seconds; of its first run."""
    ended: int | None = None
    """Unix seconds."""
    request: dict[str, Any]
    """What was asked for, without what is bulky."""
    owner: str = ""
    """Id of the key that asked for it; empty: while there was no key. Others see it with `admin` alone."""
    webhook: str = ""
    """Address that is told when it has ended; empty: none."""
    progress: Progress | None = None
    """None before the first word of it."""
    error: Failure | None = None
    results: tuple[Result, ...] = ()
