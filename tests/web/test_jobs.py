"""Jobs over HTTP, on a real server without keys: from the order to the file, with toys that do next to nothing."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from standardwebhooks import Webhook

from more_server.app import EXPOSED_HEADERS
from more_server.jobs.jobs import Jobs
from more_server.jobs.records import Job
from more_server.registry.settings import MASK, without_password
from more_server.speak import Speaker
from more_server.tables import JobSettings
from more_server.web import jobs as routes
from more_server.web.config import _told
from tests.jobs.test_webhooks import SECRET, Receiver
from tests.jobs.toys import OtherKind, ToyKind
from tests.web.conftest import Server, nano_settings, running

JOBS = "/v1/jobs"
JOB_BYTES = 200_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = nano_settings(tmp_path_factory.mktemp("data"))
    settings = msgspec.structs.replace(
        settings,
        limits=msgspec.structs.replace(settings.limits, job_bytes=JOB_BYTES),
        jobs=JobSettings(webhook_secret=SECRET, webhook_hosts=("127.0.0.1",)),
    )
    with running(settings, kinds=lambda _: (ToyKind(), OtherKind())) as made:
        yield made


@pytest.fixture
def http(server: Server) -> httpx.Client:
    return server.http()


def order(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = http.post(JOBS, json={"kind": "toy"} | fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{JOBS}/{made['id']}"
    return made


def events(http: httpx.Client, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    """All of a job's, to its end."""
    found, name = [], ""
    with http.stream("GET", f"{JOBS}/{job_id}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            name = value if field == "event" else name
            if field == "data":
                found.append((name, json.loads(value)))
    return found


def refused(answer: httpx.Response, status: int, param: str | None, *says: str) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    for words in says:
        assert words in error["message"]


def test_from_the_order_to_the_file(http: httpx.Client) -> None:
    made = order(http, text="Hello. " * 20_000, steps=2, seconds=0.2)  # more than limits.body_bytes
    assert (made["object"], made["kind"], made["owner"], made["webhook"]) == ("job", "toy", "", None)
    assert made["request"]["steps"] == 2
    assert made["request"]["text"] == ""
    told = events(http, made["id"])
    assert [name for name, _ in told[:-1]] == ["progress"] * (len(told) - 1)
    name, job = told[-1]
    assert (name, job["status"], job["error"]) == ("end", "succeeded", None)
    assert job["progress"]["percent"] == 100
    assert job["progress"]["about"] == {"last": 1}
    assert http.get(f"{JOBS}/{job['id']}").json() == job
    assert events(http, job["id"]) == [("end", job)]
    (result,) = job["results"]
    assert (result["name"], result["media_type"], result["title"]) == ("out.txt", "text/plain", "All of it")
    for url in (result["url"], f"{JOBS}/{job['id']}/result"):
        whole = http.get(url)
        assert whole.text == "Hello. " * 20_000 + "0;1;"
        assert whole.headers["content-disposition"].startswith('attachment; filename="out.txt"')
    head = http.head(result["url"], headers={"range": "bytes=1-2"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(result["bytes"])
    assert head.headers["etag"] == whole.headers["etag"]
    part = http.get(result["url"], headers={"range": "bytes=-4", "if-range": head.headers["etag"]})
    assert (part.status_code, part.text) == (206, "0;1;")
    refused(http.get(f"{JOBS}/{job['id']}/result/%2e%2e/jobs.sqlite"), 404, "name", "out.txt")
    other = http.get(f"{JOBS}/{job['id']}/result/diary.txt")
    refused(other, 404, "name", "out.txt")
    assert other.json()["error"]["code"] == "result_not_found"
    answer = http.delete(f"{JOBS}/{job['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "DELETE"):
        refused(http.request(method, f"{JOBS}/{job['id']}"), 404, "job_id", job["id"])


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"[]", None, "must be a JSON object"),
        (b"{", None, "not valid JSON"),
        (b"{}", "kind", "kind is one of: other, toy"),
        (b'{"kind": null}', "kind", "kind is one of: other, toy"),
        (b'{"kind": 5}', "kind", "kind: expected `str | null`"),
        (b'{"kind": "book"}', "kind", "'book'; kind is one of: other, toy"),
        (b'{"kind": "toy", "step": 1}', "step", "there are: dies, fails, "),
        (b'{"kind": "toy", "steps": "many"}', "steps", "steps: expected `int`"),
        (b'{"kind": "toy", "text": "no"}', "text", "text must not be no"),
        (b'{"kind": "toy", "webhook": "https://x/"}', "webhook", "webhook: expected `object | null`"),
        (b'{"kind": "toy", "webhook": {"uri": ""}}', "webhook", "webhook"),
        (b'{"kind": "toy", "webhook": {"url": "https://10.0.0.1/"}}', "webhook.url", "jobs.webhook_hosts"),
    ],
)
def test_an_order_that_cannot_be(server: Server, http: httpx.Client, body: bytes, param: str | None, says: str) -> None:
    before = http.get(JOBS).json()["data"], kept(server)
    refused(http.post(JOBS, content=body), 400, param, says)
    assert before == (http.get(JOBS).json()["data"], kept(server))


def kept(server: Server) -> set[Path]:
    return set(server.settings.jobs_dir.glob("job_*"))


def test_an_order_that_is_too_large(http: httpx.Client) -> None:
    refused(http.post(JOBS, json={"kind": "toy", "text": "x" * JOB_BYTES}), 413, None, "limits.job_bytes")
    refused(http.post(f"{JOBS}/job_1/cancel", content=b"x" * JOB_BYTES), 404, "job_id")


def test_cancel_resume_and_delete(http: httpx.Client) -> None:
    path = f"{JOBS}/{order(http, steps=2, seconds=1.5)['id']}"
    while http.get(path).json()["status"] == "queued":
        time.sleep(0.05)
    refused(http.delete(path), 409, None, "running")
    refused(http.post(f"{path}/resume"), 409, None)
    refused(http.get(f"{path}/result"), 404, "name", "no result yet")
    assert http.post(f"{path}/cancel").json()["status"] == "cancelled"
    refused(http.post(f"{path}/cancel"), 409, None)
    assert http.post(f"{path}/resume").json()["status"] in ("queued", "running")
    assert events(http, path.rpartition("/")[2])[-1][1]["status"] == "succeeded"


def test_pages(http: httpx.Client) -> None:
    for job in http.get(JOBS, params={"limit": 100}).json()["data"]:
        http.delete(f"{JOBS}/{job['id']}")
    assert http.get(JOBS).json() == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
        "object": "list",
    }
    made = [order(http, kind=kind, steps=0)["id"] for kind in ("toy", "other", "toy")][::-1]
    page = http.get(JOBS, params={"limit": 2}).json()
    assert [job["id"] for job in page["data"]] == made[:2] == [page["first_id"], page["last_id"]]
    assert page["has_more"]
    rest = http.get(JOBS, params={"limit": 2, "after": page["last_id"]}).json()
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == (made[2:], False)
    assert [job["id"] for job in http.get(JOBS, params={"kind": "other"}).json()["data"]] == [made[1]]
    for job_id in made:
        events(http, job_id)
    assert http.get(JOBS, params={"status": "running"}).json()["data"] == []
    assert len(http.get(JOBS, params={"status": "succeeded"}).json()["data"]) == 3


@pytest.mark.parametrize(
    ("query", "status", "param", "says"),
    [
        ("limit=0", 400, "limit", "1 to 100"),
        ("limit=101", 400, "limit", "1 to 100"),
        ("limit=x", 400, "limit", "limit"),
        ("status=done", 400, "status", "cancelled, failed, queued, running, succeeded"),
        ("kind=book", 400, "kind", "other, toy"),
        ("after=job_0", 404, "after", "job_0"),
    ],
)
def test_a_list_that_cannot_be(http: httpx.Client, query: str, status: int, param: str, says: str) -> None:
    refused(http.get(f"{JOBS}?{query}"), status, param, says)


def test_who_leaves_is_watched_for_no_more(server: Server, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended, watch = threading.Event(), threading.Event(), Jobs.watch

    async def watched(jobs: Jobs, job_id: str) -> AsyncGenerator[Job, None]:
        begun.set()
        try:
            async for job in watch(jobs, job_id):
                yield job
        finally:
            ended.set()

    monkeypatch.setattr(Jobs, "watch", watched)
    monkeypatch.setattr(routes, "HEARTBEAT_SECONDS", 0.1)
    job_id = order(http, steps=1, seconds=20)["id"]
    client = server.fresh()
    with client.stream("GET", f"{JOBS}/{job_id}/events") as answer:
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith(":")) == ": nothing new"
        assert begun.is_set()
        assert not ended.is_set()
    assert ended.wait(10)
    assert http.post(f"{JOBS}/{job_id}/cancel").json()["status"] == "cancelled"


def test_a_failure_is_told(server: Server, http: httpx.Client) -> None:
    server.settings.jobs_dir.mkdir(parents=True, exist_ok=True)
    (server.settings.jobs_dir / "broken").write_text("bug")
    job = events(http, order(http, fails={"run": "broken"})["id"])[-1][1]
    assert job["status"] == "failed"
    assert job["error"] == {"code": "server_error", "message": "the job failed: RuntimeError: broken", "param": None}


def test_whoever_asked_for_it_is_told_of_the_end(http: httpx.Client) -> None:
    receiver = Receiver()
    try:
        url = f"http://127.0.0.1:{receiver.port}/done"
        made = order(http, steps=0, webhook={"url": url})
        assert made["webhook"] == {"url": url}
        assert receiver.came.wait(20)
        ((path, headers, body),) = receiver.requests
    finally:
        receiver.close()
    event = Webhook(SECRET).verify(body, headers)
    assert (path, event["type"]) == ("/done", "job.succeeded")
    assert event["data"] == http.get(f"{JOBS}/{made['id']}").json()


def test_jobs_are_counted(http: httpx.Client) -> None:
    line = 'more_jobs{kind="other",status="succeeded"} '
    before = float(http.get("/metrics").text.partition(line)[2].partition("\n")[0] or 0)
    events(http, order(http, kind="other", steps=0)["id"])
    assert f"{line}{before + 1}\n" in http.get("/metrics").text  # as they are now


def test_foreign_pages_are_refused(http: httpx.Client) -> None:
    for method, path in (("POST", JOBS), ("GET", JOBS), ("POST", f"{JOBS}/job_1/cancel"), ("DELETE", f"{JOBS}/job_1")):
        answer = http.request(method, path, headers={"origin": "https://evil.example"})
        refused(answer, 403, None, "pages of")
        assert "access-control-expose-headers" not in answer.headers
    assert {"content-range", "etag", "location"} <= set(EXPOSED_HEADERS)  # for pages that are let in


def test_secrets_are_not_told(http: httpx.Client) -> None:
    text = http.get("/v1/admin/config").text
    assert SECRET not in text
    found = {one["path"]: one["value"] for one in json.loads(text)["data"]}
    assert found["jobs.webhook_secret"] == MASK
    assert found["jobs.webhook_hosts"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("postgresql://host/jobs", "postgresql://host/jobs"),
        ("postgresql://me@host/jobs", "postgresql://me@host/jobs"),
        ("postgresql://me:pass@host:5432/jobs", f"postgresql://me:{MASK}@host:5432/jobs"),
        ("postgresql://me:p@s/s@host/jobs", f"postgresql://me:{MASK}@host/jobs"),
        ("postgresql://host/jobs?user=me&password=pass&x=1", f"postgresql://host/jobs?user=me&password={MASK}&x=1"),
    ],
)
def test_passwords_in_addresses(address: str, shown: str) -> None:
    assert without_password(address) == shown
    assert _told("whatever.setting", address) == shown


def test_no_job_begins_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(_: Speaker) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(Speaker, "start", start)
    with running(nano_settings(tmp_path), wait=False, kinds=lambda _: (ToyKind(),)) as made:
        for answer in (made.http().get(JOBS), made.http().post(JOBS, json={"kind": "toy"})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_loading")
            assert answer.headers["retry-after"]
        assert made.http().get("/metrics").status_code == 200
    assert not (tmp_path / "jobs").exists()
