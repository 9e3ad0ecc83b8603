"""Webhooks of jobs that ended, as Standard Webhooks 1.0 has them: signed, sent until they arrive, never inward."""

import asyncio
import base64
import binascii
import hmac
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from more_server.errors import BadInput, SettingsError, allowed, shown
from more_server.jobs.records import Job
from more_server.tables import JobSettings

if TYPE_CHECKING:
    import httpx

FIELD = "webhook.url"
SECRET_PREFIX = "whsec_"  # noqa: S105 - of every secret
SECRET_BYTES = range(24, 65)
PAUSES = (5.0, 60.0, 600.0, 3600.0, 14_400.0)
"""Seconds between tries: a restart of the receiver is bridged at once, a night without it nearly."""
TRY_SECONDS = 20.0
"""For one try, from the name's resolution to the status; Standard Webhooks asks for 15 to 30."""
RESOLVE_SECONDS = 10.0
CONNECT_SECONDS = 5.0
"""For each address of the host."""
URL_CHARACTERS = 2048
GONE = 410
"""The receiver wants nothing more."""
NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are an IPv4 address."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
log = structlog.get_logger("more_server.jobs")


class _Refused(Exception):
    """Nothing is sent to this address at the moment; the text says why."""


class Webhooks:
    """Tells the address that came with a job when the job has ended."""

    def __init__(
        self, settings: JobSettings, item: Callable[[Job], msgspec.Struct], pauses: Sequence[float] = PAUSES
    ) -> None:
        """item: a job as it is shown to whoever asks for it. Raises SettingsError for a secret that is none."""
        self._key = check_secret(settings.webhook_secret)
        self._hosts = frozenset(host.lower().strip("[]") for host in settings.webhook_hosts)
        self._item = item
        self._pauses = pauses

    async def check(self, url: str) -> None:
        """Raises BadInput where nothing would be sent to this address."""
        if not self._key:
            raise BadInput(
                "this server signs no webhooks, so it sends none; the setting jobs.webhook_secret lets it", param=FIELD
            )
        try:
            await self._addresses(self._parsed(url))
        except _Refused as error:
            raise BadInput(f"webhook.url: {error}", param=FIELD) from error

    async def tell(self, job: Job) -> None:
        """Send the end of a job until it is taken, or given up; then the log says so.

        It is cancelled with the server; called again after the restart, the message has the same id.
        """
        body = msgspec.json.encode(
            {
                "type": f"job.{job.status}",
                "timestamp": datetime.fromtimestamp(job.ended or 0, UTC).isoformat().replace("+00:00", "Z"),
                "data": self._item(job),
            }
        )
        # A job that was resumed ends again, which is another message.
        message = f"msg_{job.id}_{job.ended}"
        reason = ""
        for pause in (0.0, *self._pauses):
            await asyncio.sleep(pause)
            status, reason = await self._tried(job.webhook, message, body)
            if 200 <= status < 300:
                log.info("webhook sent", job_id=job.id, message_id=message)
                return
            log.info("a webhook was not taken", job_id=job.id, message_id=message, reason=reason)
            if status == GONE:
                break
        log.warning("a webhook is given up", job_id=job.id, message_id=message, reason=reason)

    async def _tried(self, url: str, message: str, body: bytes) -> tuple[int, str]:
        """Status, 0 where there was none, and what there is to say of it."""
        import httpx

        try:
            async with asyncio.timeout(TRY_SECONDS):
                status = await self._sent(self._parsed(url), message, body)
        except _Refused as error:
            return 0, str(error)
        except (httpx.HTTPError, TimeoutError) as error:
            return 0, f"{type(error).__name__}: {error}".rstrip(": ")
        return status, f"it was answered {status}"

    async def _sent(self, url: "httpx.URL", message: str, body: bytes) -> int:
        """One try. To the address that was looked at, not to the name, which may lead elsewhere by now."""
        import httpx

        if not self._key:
            raise _Refused("this server signs no webhooks (jobs.webhook_secret)")
        headers = {"host": url.netloc.decode("ascii"), "content-type": "application/json", "user-agent": "more-server"}
        headers |= _signed(self._key, message, int(time.time()), body)
        reach = {"sni_hostname": url.raw_host.decode("ascii")}
        *others, last = await self._addresses(url)
        # No proxy: it would resolve the name itself.
        limit = httpx.Timeout(TRY_SECONDS, connect=CONNECT_SECONDS)
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=limit) as client:
            for address in (*others, last):
                target = url.copy_with(host=str(address))
                try:
                    # Its body may be endless, and is not looked at.
                    async with client.stream(
                        "POST", target, content=body, headers=headers, extensions=reach
                    ) as response:
                        return response.status_code
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if address is last:
                        raise
        raise AssertionError

    def _parsed(self, url: str) -> "httpx.URL":
        """By the parser of whoever connects, so that both see one host. Raises _Refused."""
        import httpx

        try:
            parsed = httpx.URL(url if len(url) <= URL_CHARACTERS else "")
        except httpx.InvalidURL as error:
            raise _Refused(f"{shown(url)} is no address of a page: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise _Refused(f"{shown(url)} is not https://host/…, of up to {URL_CHARACTERS} characters")
        if parsed.userinfo:
            raise _Refused("a name and password in an address would be seen by whoever sees the job; leave them out")
        listed = parsed.host.strip("[]") in self._hosts
        if self._hosts and not listed:
            raise _Refused(f"webhooks may go to: {allowed(self._hosts)} (jobs.webhook_hosts)")
        if parsed.scheme != "https" and not listed:
            raise _Refused("it must be https; http is for hosts that are listed in jobs.webhook_hosts")
        return parsed

    async def _addresses(self, url: "httpx.URL") -> list[Address]:
        """What the host's name leads to now. Raises _Refused where one of them is none that webhooks may go to."""
        host = url.raw_host.decode("ascii").strip("[]")
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # TimeoutError is an OSError
            raise _Refused(f"the host {shown(host)} is not found") from error
        addresses = [ipaddress.ip_address(one[4][0]) for one in found]
        if not self._hosts and not all(map(_is_global, addresses)):
            raise _Refused(
                f"the host {shown(host)} is on this machine or in a private network; jobs.webhook_hosts can allow it"
            )
        return addresses


def _signed(key: bytes, message: str, now: int, body: bytes) -> dict[str, str]:
    """The three headers."""
    digest = hmac.digest(key, f"{message}.{now}.".encode() + body, "sha256")
    return {
        "webhook-id": message,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def check_secret(secret: str) -> bytes:
    """The key that a secret stands for; empty for an empty one. Raises SettingsError, which does not tell it."""
    if not secret:
        return b""
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise SettingsError(
            "jobs.webhook_secret must be whsec_ and the base64 of 24 to 64 random bytes; "
            "`echo whsec_$(openssl rand -base64 32)` makes one"
        )
    return key


def _is_global(address: Address) -> bool:
    """Whether an address is somebody's on the internet; one that wraps an IPv4 address, whether that one is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_global(inner)
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
