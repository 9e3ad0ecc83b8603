"""Webhooks: what arrives at a real receiver, checked by Standard Webhooks' own library, and where none may go."""

import asyncio
import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from more_server.errors import BadInput, SettingsError
from more_server.jobs.records import Job
from more_server.jobs.webhooks import Webhooks, _is_global
from more_server.tables import JobSettings
from more_server.web.jobs import job_item

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PAUSES = (0.01, 0.01, 0.01)


class Receiver:
    """Answers with the statuses that it is given, in order, and keeps what it was sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        """0: hang up."""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.came = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                receiver.came.set()
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                if status:
                    self.send_response(status)
                    self.send_header("location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                    self.end_headers()
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def job(url: str, **changes: Any) -> Job:
    made = {"id": "job_1", "kind": "toy", "status": "succeeded", "created": 1, "ended": 1_760_000_000, "request": {}}
    return Job(**(made | changes), webhook=url)  # type: ignore[arg-type]


def webhooks(*hosts: str, secret: str = SECRET) -> Webhooks:
    return Webhooks(JobSettings(webhook_secret=secret, webhook_hosts=hosts), job_item, PAUSES)


async def test_what_arrives_is_signed(receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.port}/hook?for=me"
    sender = webhooks("127.0.0.1")
    await sender.check(url)
    await sender.tell(job(url, request={"title": "Ödipus"}))
    ((path, headers, body),) = receiver.requests
    event = Webhook(SECRET).verify(body, headers)
    assert (path, headers["host"], headers["content-type"]) == (
        "/hook?for=me",
        f"127.0.0.1:{receiver.port}",
        "application/json",
    )
    assert (event["type"], event["timestamp"]) == ("job.succeeded", "2025-10-09T08:53:20Z")
    assert event["data"]["object"] == "job"
    assert event["data"]["request"] == {"title": "Ödipus"}
    for changed in ({"webhook-id": "msg_other"}, {"webhook-timestamp": "1760000001"}):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)


async def test_it_is_sent_until_it_is_taken_and_never_elsewhere(receiver: Receiver) -> None:
    receiver.statuses = [500, 0, 302, 200]
    await webhooks("127.0.0.1").tell(job(f"http://127.0.0.1:{receiver.port}/hook"))
    assert [path for path, _, _ in receiver.requests] == ["/hook"] * 4
    assert len({(headers["webhook-id"], body) for _, headers, body in receiver.requests}) == 1
    for _, headers, body in receiver.requests:
        Webhook(SECRET).verify(body, headers)


async def test_it_is_given_up_at_last(receiver: Receiver) -> None:
    url, sender = f"http://127.0.0.1:{receiver.port}/", webhooks("127.0.0.1")
    receiver.statuses = [503] * 10
    await sender.tell(job(url))
    assert len(receiver.requests) == 1 + len(PAUSES)
    receiver.statuses = [410]
    await sender.tell(job(url, status="failed", ended=1_760_000_009))  # resumed, and ended once more
    ids = [headers["webhook-id"] for _, headers, _ in receiver.requests]
    assert len(ids) == 2 + len(PAUSES)
    assert ids[0] != ids[-1]


async def test_a_restart_sends_the_same_message(receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.port}/"
    receiver.statuses = [500]
    slow = Webhooks(JobSettings(webhook_secret=SECRET, webhook_hosts=("127.0.0.1",)), job_item, (60.0,))
    telling = asyncio.create_task(slow.tell(job(url)))
    await asyncio.to_thread(receiver.came.wait, 10)
    telling.cancel()
    await asyncio.wait({telling})
    assert telling.cancelled()
    await webhooks("127.0.0.1").tell(job(url))
    (_, before, _), (_, after, _) = receiver.requests
    assert before["webhook-id"] == after["webhook-id"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.com/", "must be https"),
        ("ftp://example.com/", "is not https"),
        ("https://", "is not https"),
        ("hook", "is not https"),
        ("https://example.com:port/", "no address of a page"),
        ("https://user:pass@example.com/", "name and password"),
        ("https://example.com/" + "x" * 2048, "2048"),
        ("https://127.0.0.1/", "private network"),
        ("https://localhost:8000/", "private network"),
        ("https://[::1]/", "private network"),
        ("https://[::ffff:10.0.0.1]/", "private network"),
        ("https://169.254.169.254/latest/meta-data/", "private network"),
        ("https://0/", "private network"),
        ("https://2130706433/", "private network"),
        ("https://0x7f.1/", "private network"),
        (f"https://{'x' * 64}.example/", "is not found"),  # no resolver is asked for it,
    ],
)
async def test_where_no_webhook_goes(url: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refusal:
        await webhooks().check(url)
    assert refusal.value.param == "webhook.url"
    assert "pass" not in refusal.value.message or "password" in refusal.value.message


async def test_hosts_that_are_listed_are_the_only_ones(receiver: Receiver) -> None:
    listed = webhooks("LOCALHOST", "[::1]")
    await listed.check("http://localhost/")
    await listed.check("https://[::1]:8443/")
    for other in ("https://127.0.0.1/", "https://8.8.8.8/", "https://localhost.example.com/"):
        with pytest.raises(BadInput, match="localhost"):
            await listed.check(other)
    # The first of its addresses may be one where nobody listens: ::1, where 127.0.0.1 answers.
    await listed.tell(job(f"http://localhost:{receiver.port}/"))
    assert len(receiver.requests) == 1


async def test_without_a_secret_there_are_none(receiver: Receiver) -> None:
    silent = webhooks("127.0.0.1", secret="")
    with pytest.raises(BadInput, match=r"jobs\.webhook_secret"):
        await silent.check("http://127.0.0.1/")
    await silent.tell(job(f"http://127.0.0.1:{receiver.port}/"))
    assert receiver.requests == []


async def test_a_name_that_leads_elsewhere_by_now(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, leads_to = [], ["93.184.215.14"]

    async def resolve(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads_to[0], 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    url = f"https://rebound.example:{receiver.port}/"
    await webhooks().check(url)
    leads_to[0] = "127.0.0.1"
    await webhooks().tell(job(url))
    assert receiver.requests == []
    # Listed, it may be inside; and whoever connects does not ask for the name once more.
    asked.clear()
    await webhooks("rebound.example").tell(job(url.replace("https", "http")))
    ((_, headers, _),) = receiver.requests
    assert headers["host"] == f"rebound.example:{receiver.port}"
    assert asked == ["rebound.example"]


@pytest.mark.parametrize(
    "secret",
    [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + "A" * 88,
    ],
)
def test_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(SettingsError, match=r"jobs\.webhook_secret") as refusal:
        webhooks(secret=secret)
    assert secret.removeprefix("whsec_")[:8] not in refusal.value.message or secret == "whsec_"


@pytest.mark.parametrize("length", [24, 25, 26, 64])
def test_secrets_with_and_without_padding(length: int) -> None:
    encoded = base64.b64encode(bytes(length)).decode()
    assert {webhooks(secret=f"whsec_{text}")._key for text in (encoded, encoded.rstrip("="))} == {bytes(length)}


@pytest.mark.parametrize(
    ("address", "is_global"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::127.0.0.1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("fec0::1", False),
        ("fd00::1", False),
        ("fe80::1%1", False),
        ("ff02::1", False),
    ],
)
def test_addresses(address: str, is_global: bool) -> None:
    assert _is_global(ip_address(address)) is is_global


@given(st.ip_addresses(v=4))
def test_no_wrapping_hides_an_address(address: Any) -> None:
    wrapped = (f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}::")
    assert {_is_global(ip_address(one)) for one in wrapped} == {_is_global(address)}
