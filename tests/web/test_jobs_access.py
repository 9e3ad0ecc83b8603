"""Whose jobs a key sees, what it may ask for, and what of it is on record: on a real server with keys."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from more_server.audit import AuditLog
from more_server.keys import KeyRing, Scope, new_key
from tests.jobs.toys import Toy, ToyKind
from tests.web.conftest import Server, nano_settings, running

JOBS = "/v1/jobs"
KEYS = {"admin": ("admin",), "ann": ("speech",), "bob": ("speech",), "curator": ("voices",)}


class ChoreKind(ToyKind):
    """Something for administrators."""

    name = "chore"
    scope: ClassVar[Scope] = "admin"  # type: ignore[assignment]

    async def accept(self, asked: Toy, folder: Path) -> Toy:
        """Breaks where the text is `break`."""
        if asked.text == "break":
            raise RuntimeError("broken")
        return await super().accept(asked, folder)


class Who:
    """A client with a key."""

    def __init__(self, server: Server, name: str) -> None:
        key, secret = new_key(name, KEYS[name])
        KeyRing(server.settings).add(key)
        self.id = key.id
        self.headers = {"authorization": f"Bearer {secret}"}
        self._http = server.http()

    def ask(self, method: str, path: str = "", **more: Any) -> httpx.Response:
        return self._http.request(method, JOBS + path, headers=self.headers, **more)

    def order(self, **fields: Any) -> str:
        answer = self.ask("POST", json={"kind": "toy", "steps": 0} | fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def ended(self, job_id: str) -> str:
        until = time.monotonic() + 30
        while (status := self.ask("GET", f"/{job_id}").json()["status"]) in ("queued", "running"):
            assert time.monotonic() < until
            time.sleep(0.1)
        return str(status)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(nano_settings(tmp_path_factory.mktemp("data")), kinds=lambda _: (ToyKind(), ChoreKind())) as made:
        yield made


@pytest.fixture(scope="module")
def who(server: Server) -> dict[str, Who]:
    return {name: Who(server, name) for name in KEYS}


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_without_a_key_there_are_no_jobs(server: Server, who: dict[str, Who]) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/job_1/events"), ("DELETE", "/job_1")):
        assert code(server.http().request(method, JOBS + path)) == (401, "invalid_api_key")


def test_a_key_sees_its_own_jobs(who: dict[str, Who]) -> None:
    ann, bob, admin = who["ann"], who["bob"], who["admin"]
    job_id = ann.order()
    assert ann.ended(job_id) == "succeeded"
    assert ann.ask("GET", f"/{job_id}").json()["owner"] == ann.id
    unknown = bob.ask("GET", "/job_0").json()["error"]["message"]
    others = [("GET", ""), ("GET", "/events"), ("GET", "/result"), ("POST", "/cancel"), ("POST", "/resume")]
    for method, path in [*others, ("DELETE", "")]:
        answer = bob.ask(method, f"/{job_id}{path}")
        assert code(answer) == (404, "job_not_found")
        assert answer.json()["error"]["message"] == unknown.replace("job_0", job_id)
    assert code(bob.ask("GET", f"?after={job_id}")) == (404, "job_not_found")
    ids = {name: [job["id"] for job in who[name].ask("GET").json()["data"]] for name in KEYS}
    assert ids == {"admin": [job_id], "ann": [job_id], "bob": [], "curator": []}
    assert admin.ask("GET", f"/{job_id}/result").text == ""
    assert admin.ask("DELETE", f"/{job_id}").status_code == 204
    assert code(ann.ask("GET", f"/{job_id}")) == (404, "job_not_found")


def test_a_kind_asks_for_its_scope(server: Server, who: dict[str, Who]) -> None:
    for name, kind in (("ann", "chore"), ("curator", "chore"), ("curator", "toy")):
        assert code(who[name].ask("POST", json={"kind": kind})) == (403, "insufficient_scope")
        assert code(who[name].ask("GET", f"?kind={kind}")) == (403, "insufficient_scope")
    assert who["admin"].ask("GET", "?kind=chore").json()["data"] == []


def test_administration_is_on_record(server: Server, who: dict[str, Who]) -> None:
    admin, log = who["admin"], AuditLog(server.settings.admin_dir)
    before = len(log.tail(1000))
    assert admin.ended(admin.order()) == "succeeded"  # speech is none
    job_id = admin.order(kind="chore", steps=1, seconds=20, text="x" * 5000)
    admin.ask("DELETE", f"/{job_id}")
    for what in ("cancel", "resume", "cancel"):
        assert admin.ask("POST", f"/{job_id}/{what}").status_code == 200
    assert admin.ask("DELETE", f"/{job_id}").status_code == 204
    assert code(admin.ask("POST", json={"kind": "chore", "text": "no"})) == (400, "invalid_value")
    assert code(admin.ask("POST", json={"kind": "chore", "text": "break"})) == (500, "server_error")
    lines = log.tail(1000)[before:]
    assert {line.actor.id for line in lines} == {admin.id}
    assert [(line.action, line.target, line.outcome.partition(":")[0]) for line in lines] == [
        ("jobs.create", "chore", "allowed"),
        ("jobs.delete", job_id, "allowed"),
        ("jobs.delete", job_id, "failed"),
        ("jobs.cancel", job_id, "allowed"),
        ("jobs.resume", job_id, "allowed"),
        ("jobs.cancel", job_id, "allowed"),
        ("jobs.delete", job_id, "allowed"),
        *[("jobs.create", "chore", "allowed"), ("jobs.create", "chore", "failed")] * 2,
    ]
    assert "steps" in lines[0].changes["fields"]  # a request of 5 kB: its fields' names
    assert (lines[-1].changes["text"], lines[-1].outcome) == ("break", "failed: RuntimeError")


def test_what_is_not_on_record_is_not_done(server: Server, who: dict[str, Who]) -> None:
    log = server.settings.admin_dir / "audit.jsonl"
    kept = log.rename(log.with_name("kept.jsonl"))
    log.mkdir()
    try:
        assert code(who["admin"].ask("POST", json={"kind": "chore"})) == (500, "storage_error")
    finally:
        log.rmdir()
        kept.rename(log)
    assert who["admin"].ask("GET", "?kind=chore").json()["data"] == []
