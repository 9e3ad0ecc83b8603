"""`jobs`: long speech and training in a server that runs."""

import base64
import json
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlencode

from cyclopts import App, Parameter

from more_server.cli.asking import SECONDS, Away, Server
from more_server.cli.output import bars, console, size, table
from more_server.errors import BadInput, MoreError, StorageError

JOBS = "/v1/jobs"
RETRIES, RETRY_SECONDS = 60, 2.0
"""While the server starts anew, which a large model makes long, whoever watches tries again."""
ORDER_SECONDS = 600.0
"""For an order to be taken: a training's inputs are read through first. Whoever asked again would have two jobs."""
HERE = Server()

app = App(name="jobs", help="Long speech and training in a running server.", help_format="plaintext")


@app.command(name="list")
def list_jobs(
    *,
    kind: str = "",
    status: Literal["", "queued", "running", "succeeded", "failed", "cancelled"] = "",
    limit: int = 20,
    server: Server = HERE,
) -> None:
    """Show the jobs, the latest first.

    Parameters
    ----------
    kind
        Those of one kind, such as speech.
    status
        Those in one state.
    limit
        How many, 1 to 100.
    server
        Where it is, and who asks.
    """
    asked = {"limit": limit, "kind": kind, "status": status}
    found = server.ask("GET", f"{JOBS}?{urlencode(asked)}")
    made = table("job", "kind", "status", "at", "asked for", "results")
    for job in found["data"]:
        progress, results = job["progress"], [one["name"] for one in job["results"]]
        # Of a job that has succeeded it would be the last stage, as if that still went on.
        at = f"{progress['stage']} {progress['percent']:.0f} %" if progress and job["status"] != "succeeded" else ""
        shown = " ".join(results[:3]) + (f" and {len(results) - 3} more" if len(results) > 3 else "")
        made.add_row(job["id"], job["kind"], job["status"], at, _when(job["created"]), shown)
    console().print(made)
    if found["has_more"]:
        console().print(f"There are more; --limit shows up to 100, and {JOBS}?after= all of them.")


@app.command
def show(job: str, /, *, server: Server = HERE) -> None:
    """Show all that is known of a job, as JSON.

    Parameters
    ----------
    job
        An id of `more-server jobs list`.
    server
        Where it is, and who asks.
    """
    sys.stdout.write(json.dumps(server.ask("GET", _path(job)), indent=2, ensure_ascii=False) + "\n")


@app.command
def start(
    kind: str,
    /,
    *fields: str,
    document: Annotated[str, Parameter(allow_leading_hyphen=True)] = "",
    webhook: str = "",
    watch: bool = False,
    server: Server = HERE,
) -> None:
    """Ask for a job, such as `jobs start speech voice=linden --document book.epub --watch`.

    Parameters
    ----------
    kind
        What kind of job, such as speech.
    fields
        Its fields, each field=value. What is JSON is taken as such: numbers, true, ["a", "b"], "a text of digits".
    document
        A file to send as the field `document`, such as a book; "-" is standard input.
    webhook
        Address that is told when the job has ended.
    watch
        Show how it goes until it has ended.
    server
        Where it is, and who asks.
    """
    import httpx

    asked = dict(_field(one) for one in fields)
    if document:
        content = _content(document)
        if not content:
            raise BadInput(f"the document {document} is empty")
        asked["document"] = base64.b64encode(content).decode()
    asked["kind"] = kind
    if webhook:
        asked["webhook"] = {"url": webhook}
    made = server.ask("POST", JOBS, json=asked, timeout=httpx.Timeout(SECONDS, read=ORDER_SECONDS))
    if watch:
        _watch(server, made["id"])
    else:
        console().print(made["id"])


@app.command(name="watch")
def watch_job(job: str, /, *, server: Server = HERE) -> None:
    """Show how a job goes until it has ended; Ctrl-C leaves it running.

    Parameters
    ----------
    job
        An id of `more-server jobs list`.
    server
        Where it is, and who asks.
    """
    _watch(server, job)


@app.command
def cancel(job: str, /, *, server: Server = HERE) -> None:
    """Stop a job; what it has done is kept.

    Parameters
    ----------
    job
        An id of `more-server jobs list`.
    server
        Where it is, and who asks.
    """
    made = server.ask("POST", f"{_path(job)}/cancel")
    console().print(f"{job} is {made['status']}; it goes on with: more-server jobs resume {job}")


@app.command
def resume(job: str, /, *, watch: bool = False, server: Server = HERE) -> None:
    """Go on with a job that failed or was cancelled.

    Parameters
    ----------
    job
        An id of `more-server jobs list`.
    watch
        Show how it goes until it has ended.
    server
        Where it is, and who asks.
    """
    made = server.ask("POST", f"{_path(job)}/resume")
    if watch:
        _watch(server, job)
    else:
        console().print(f"{job} is {made['status']}")


@app.command
def delete(job: str, /, *, server: Server = HERE) -> None:
    """Forget a job that has ended, and delete its results.

    Parameters
    ----------
    job
        An id of `more-server jobs list`.
    server
        Where it is, and who asks.
    """
    server.ask("DELETE", _path(job))
    console().print(f"{job} is gone")


@app.command
def fetch(
    job: str,
    name: str = "",
    /,
    *,
    into: Annotated[Path, Parameter(name=["--into", "-o"])] = Path(),
    server: Server = HERE,
) -> None:
    """Download the results of a job, also while it runs; what was broken off goes on where it stopped.

    Parameters
    ----------
    job
        An id of `more-server jobs list`.
    name
        One of the results; without it, all of them.
    into
        Folder for them; without it, the working directory.
    server
        Where it is, and who asks.
    """
    results = [one for one in server.ask("GET", _path(job))["results"] if name in ("", one["name"])]
    if not results:
        raise BadInput(f"{job} has no result {name}".rstrip() + f"; `more-server jobs show {job}` lists them")
    for one in results:
        _fetch(server, one, into)


def _fetch(server: Server, result: dict[str, Any], into: Path) -> None:
    from more_server.models.download import Download

    path = into / _inside(result["name"])
    if path.exists():
        if path.stat().st_size != result["bytes"]:
            raise BadInput(f"{path} exists and is another file; move it away, or choose a folder with --into")
        console().print(f"{path} is here already")
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path.parent} cannot be made: {error.strerror or error}") from error
    address = server.url.rstrip("/") + result["url"]
    with server.client() as client, bars() as show:
        download = Download(client, address, path, size=result["bytes"], on_progress=show)
        got = download.fetch()
        download.tidy()
    console().print(f"{path}: {size(got.size)}")


def _inside(name: str) -> PurePosixPath:
    """A result's name as a path that stays in the folder, whatever the server says."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.name or "\0" in name:
        raise MoreError(f"the server calls a result {name!r}, which is no name for a file here")
    return path


def _watch(server: Server, job_id: str) -> None:
    """Show how a job goes until it has ended. Raises MoreError where it has not succeeded."""
    job: dict[str, Any] = {}
    try:
        with _Shown() as shown:
            for job in _changes(server, job_id):
                shown(job)
    except KeyboardInterrupt:
        console(stderr=True).print(f"The job goes on. Come back to it with: more-server jobs watch {job_id}")
        raise
    if job["status"] != "succeeded":
        what = "was cancelled" if job["status"] == "cancelled" else f"has failed: {job['error']['message']}"
        raise MoreError(f"{job_id} {what}; it can go on, with: more-server jobs resume {job_id}")
    names = " ".join(one["name"] for one in job["results"])
    console().print(f"{job_id} has succeeded: {names or 'it made no files'}")
    if names:
        console().print(f"Get what it made with: more-server jobs fetch {job_id}")


def _changes(server: Server, job_id: str) -> Iterator[dict[str, Any]]:
    """The job at each change to its end, also where the server starts anew meanwhile. Raises MoreError."""
    tries, found = 0, False
    while True:
        try:
            for name, job in server.events(f"{_path(job_id)}/events"):
                tries, found = 0, True
                yield job
                if name == "end":
                    return
        except Away:
            if not found or tries == RETRIES:
                raise
        tries += 1
        time.sleep(RETRY_SECONDS)


class _Shown:
    """A job as it goes: a bar on a terminal, else a line at each whole percent."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        stage, ends = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[ends]}")
        bar = Progress(stage, BarColumn(), TaskProgressColumn(), ends, console=console())
        self._bar = bar if console().is_terminal else None
        self._said = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=100, ends="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, job: dict[str, Any]) -> None:
        progress = job["progress"] or {"stage": "", "percent": 0, "estimated_end": None}
        stage = progress["stage"] if job["status"] == "running" and progress["stage"] else job["status"]
        end = progress["estimated_end"] if job["status"] == "running" else None
        ends = f"ends {_when(end)}" if end else ""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], description=stage, completed=progress["percent"], ends=ends)
            return
        told = f"{stage} {int(progress['percent'])} %"
        if told != self._said:
            console().print(f"{told}, {ends}" if ends else told)
            self._said = told


def _path(job_id: str) -> str:
    return f"{JOBS}/{quote(job_id, safe='')}"


def _field(text: str) -> tuple[str, Any]:
    name, is_given, value = text.partition("=")
    if not (name and is_given):
        raise BadInput(f"{text!r} is no field=value, such as voice=linden")
    try:
        return name, json.loads(value)
    except ValueError:  # a text as it is
        return name, value


def _content(document: str) -> bytes:
    if document == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(document).read_bytes()
    except OSError as error:
        raise BadInput(f"{document} cannot be read: {error.strerror or error}") from error


def _when(seconds: int) -> str:
    """Local time; the day too where it is another one."""
    then = datetime.fromtimestamp(seconds).astimezone()
    return then.strftime("%H:%M" if then.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")
