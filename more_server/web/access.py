"""Who may do what: the one place that reads keys, around every request to the end of its stream.

A handler names what it needs with `opt={"scope": …}`:

public       everybody: health, and pages that hold no data
discovery    everybody, or any key where the setting server.open_discovery is off: lists of models and voices
speech       a key with this scope; so does a handler that names none
voices       a key with this scope
admin        a key with this scope
jobs         any key; what it may do with a job depends on the job, and the handler sees to that (web/jobs.py)

While there is no key, everything is open to whoever reaches the server, except that administration, jobs and
changes to voices are refused to what may be the page of another site in a browser on this machine.
"""

import asyncio
import ipaddress
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import structlog
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from more_server.audit import ANYBODY, LOCAL, Actor
from more_server.errors import (
    Busy,
    ForeignPage,
    KeysUnreadable,
    MoreError,
    NotAllowed,
    NotAuthenticated,
    StorageError,
    Unavailable,
    allowed,
    shown,
)
from more_server.keys import SCOPES, Key, KeyRing
from more_server.settings import Settings
from more_server.tables import LimitSettings
from more_server.web.errors import deny, handle_more_error, request_id

log = structlog.get_logger("more_server.web")

ANY_KEY = "jobs"
ROUTE_SCOPES = ("public", "discovery", ANY_KEY, *SCOPES)
DEFAULT_SCOPE = "speech"
OWN_PAGES = frozenset({"voices", "admin", ANY_KEY})
"""Scopes whose routes change what stays, or tell what is nobody else's business."""

WINDOW_SECONDS = 60.0
WRONG_KEYS = 10
"""Wrong keys that an address may show in a window before it is told to wait."""
ADDRESSES = 1024
"""Addresses whose wrong keys are counted; the one that was quiet longest is forgotten first."""
CONCURRENCY_RETRY_SECONDS = 2.0
UNREADABLE_RETRY_SECONDS = 30.0

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""A page cannot send headers with a WebSocket; OpenAI's own realtime API takes the key in this place then."""
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/]+)(:[0-9]+)?")


class Window:
    """At most so many events in any 60 seconds."""

    def __init__(self, limit: int) -> None:
        self._times: deque[float] = deque(maxlen=limit)

    def take(self, now: float) -> float:
        """Count an event, or give the seconds after which one may be counted; 0: it is counted."""
        if len(self._times) == self._times.maxlen and (wait := self._times[0] + WINDOW_SECONDS - now) > 0:
            return wait
        self._times.append(now)
        return 0.0

    def is_over(self, now: float) -> bool:
        """Whether nothing in it counts any more."""
        return not self._times or self._times[-1] + WINDOW_SECONDS <= now


class Room:
    """Requests at a time, in all and of each address that shows no key."""

    def __init__(self) -> None:
        self._requests = 0
        self._addresses: dict[str, int] = {}

    def enter(self, address: str | None, limits: LimitSettings) -> None:
        """Count a request, until `leave`; address None: it has a key. Raises Unavailable or Busy."""
        if self._requests >= limits.requests:
            raise Unavailable(
                f"{limits.requests} requests are at work, as many as the server takes (limits.requests)",
                retry_after=CONCURRENCY_RETRY_SECONDS,
            )
        if address is not None:
            running = self._addresses.get(address, 0)
            if running >= limits.address_requests:
                raise Busy(
                    f"your address may have {limits.address_requests} requests at a time without a key, and has them "
                    "(limits.address_requests)",
                    retry_after=CONCURRENCY_RETRY_SECONDS,
                )
            self._addresses[address] = running + 1
        self._requests += 1

    def leave(self, address: str | None) -> None:
        """The request is over, however it ended."""
        self._requests -= 1
        if address is not None:
            self._addresses[address] -= 1
            if not self._addresses[address]:
                del self._addresses[address]


class Limits:
    """What keys may do at a time, and in a minute."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}
        self._running: dict[str, int] = {}

    def enter(self, key: Key) -> None:
        """Count a request, until `leave`. Raises Busy where the key's limits leave no room for it."""
        running = self._running.get(key.id, 0)
        if key.concurrency is not None and running >= key.concurrency:
            raise Busy(
                f"the key {key.name} may have {key.concurrency} requests at a time, and has them",
                retry_after=CONCURRENCY_RETRY_SECONDS,
            )
        if key.rate_per_minute is not None and (wait := self._window(key, key.rate_per_minute).take(time.monotonic())):
            raise Busy(f"the key {key.name} may make {key.rate_per_minute} requests a minute", retry_after=wait)
        self._running[key.id] = running + 1

    def leave(self, key: Key) -> None:
        """The request is over, however it ended."""
        self._running[key.id] -= 1
        if not self._running[key.id]:
            del self._running[key.id]

    def _window(self, key: Key, limit: int) -> Window:
        if key.id not in self._windows:
            now = time.monotonic()  # those of keys that were revoked would stay for ever
            self._windows = {other: window for other, window in self._windows.items() if not window.is_over(now)}
            self._windows[key.id] = Window(limit)
        return self._windows[key.id]


class WrongKeys:
    """Counts wrong keys by client address, in bounded memory."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def count(self, address: str) -> None:
        """One more from this address. Raises Busy where there were too many."""
        window = self._windows.setdefault(address, Window(WRONG_KEYS))
        self._windows.move_to_end(address)
        if len(self._windows) > ADDRESSES:
            self._windows.popitem(last=False)
        if wait := window.take(time.monotonic()):
            raise Busy("too many wrong keys from this address; wait, or show a right one", retry_after=wait)


class Access(ASGIMiddleware):
    """Lets requests in, and leaves in `scope["state"]` the Actor that makes them, `caller`, and its Key, `key`.

    One per application; its counts are of the event loop alone.
    """

    def __init__(self, settings: Settings, keys: KeyRing, limits: Callable[[], LimitSettings] | None = None) -> None:
        """limits: those of now, where a reload may change them."""
        self._keys = keys
        self._limits_of_now = limits or (lambda: settings.limits)
        self._may_be_open = keys.may_be_open
        self._open_discovery = settings.server.open_discovery
        self._cors_origins = settings.server.cors_origins
        self._limits, self._room = Limits(), Room()
        self._wrong = WrongKeys()
        self._told = ""
        self._flushing: asyncio.Future[None] | None = None

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Answer, or refuse; what is logged meanwhile carries the request's id."""
        with ExitStack() as counted:
            counted.enter_context(structlog.contextvars.bound_contextvars(request_id=request_id(scope)))
            try:
                caller, key = self._admit(scope)
                if _wanted(scope) != "public":  # a server that is full tells so at /health
                    self._count(counted, scope, key)
            except MoreError as error:
                if scope["type"] == ScopeType.HTTP:
                    raise
                await deny(scope, send, error)
                return
            scope["state"]["caller"] = caller
            scope["state"]["key"] = key
            self._flush_when_due()
            await next_app(scope, receive, send)

    def _count(self, counted: ExitStack, scope: Scope, key: Key | None) -> None:
        """A request, until the stack is closed. Raises Busy or Unavailable."""
        address = _address(scope) if key is None else None
        self._room.enter(address, self._limits_of_now())
        counted.callback(self._room.leave, address)
        if key is not None:
            self._limits.enter(key)
            counted.callback(self._limits.leave, key)

    def flush(self) -> None:
        """Write when keys were used last; for the end of the server, in a thread."""
        try:
            self._keys.flush()
        except (StorageError, KeysUnreadable) as error:
            log.warning("the last use of keys is not written", error=error.message)

    def _flush_when_due(self) -> None:
        if self._keys.flush_due():
            self._flushing = asyncio.get_running_loop().run_in_executor(None, self.flush)

    def _admit(self, scope: Scope) -> tuple[Actor, Key | None]:
        """Who asks, and the key whose limits count. Raises what the caller is told instead of an answer."""
        wanted = _wanted(scope)
        if scope["type"] == ScopeType.WEBSOCKET:
            self._check_origin(scope)
        if wanted == "public":
            return ANYBODY, None
        try:
            if not self._keys.any():
                return self._admit_without_keys(scope, wanted), None
            secret = _secret(scope)
            key = None if secret is None else self._keys.authenticate(secret)
        except KeysUnreadable as error:
            raise self._told_to_strangers(error) from error
        if wanted == "discovery" and self._open_discovery:
            return ANYBODY if key is None else _actor(key), None
        if key is None:
            raise self._not_authenticated(scope, secret)
        if wanted not in ("discovery", ANY_KEY):
            check_scope(key, wanted)
        return _actor(key), key

    def _check_origin(self, scope: Scope) -> None:
        """What CORS is to requests: browsers let any page open a WebSocket, and tell only where it came from."""
        hosts = _headers(scope, b"host")
        foreign = [origin for origin in _headers(scope, b"origin") if [_place(origin)] != hosts]
        if "*" not in self._cors_origins and any(origin not in self._cors_origins for origin in foreign):
            raise ForeignPage(f"pages of {shown(foreign[0])} may not call this server (server.cors_origins)")

    def _admit_without_keys(self, scope: Scope, wanted: str) -> Actor:
        if not self._may_be_open:
            # It did not start so: the last key was removed while it ran.
            raise NotAuthenticated(
                "this server has no key, and other machines reach it; on it, `more-server keys add NAME --scope admin` "
                "makes one"
            )
        if wanted in OWN_PAGES:
            check_own_page(scope)
        return LOCAL

    def _not_authenticated(self, scope: Scope, secret: str | None) -> MoreError:
        if secret is None:
            return NotAuthenticated("this server asks for a key: send it as `Authorization: Bearer more_…`")
        address = _address(scope)
        self._wrong.count(address)
        log.warning("wrong key", address=address, path=scope["path"])
        return NotAuthenticated("there is no such key; `more-server keys list` shows those that there are")

    def _told_to_strangers(self, error: KeysUnreadable) -> KeysUnreadable:
        """Without the details, which go to the log once."""
        if self._told != error.message:
            self._told = error.message
            log.error("keys are unreadable, so nobody is let in", error=error.message)
        return KeysUnreadable(
            "the server cannot read its keys, so it lets nobody in; its log says why",
            retry_after=UNREADABLE_RETRY_SECONDS,
        )


def handle_not_authenticated(request: Request[Any, Any, Any], error: NotAuthenticated) -> Response[bytes]:
    """Response for 401, with the header that HTTP asks for there."""
    response = handle_more_error(request, error)
    response.headers["www-authenticate"] = "Bearer"
    return response


def check_scope(key: Key | None, wanted: str) -> None:
    """Refuse what a key may not do; None: there are no keys. Raises NotAllowed."""
    if key is not None and not key.allows(wanted):
        raise NotAllowed(f"the key {key.name} may do: {allowed(key.scopes)}; this needs the scope {wanted}")


def check_own_page(scope: Scope) -> None:
    """Refuse what may be the page of another site, in a browser that happens to reach this server.

    Such a page sends an Origin that is not this server's; or, with a name of its own that it lets point here (DNS
    rebinding), a Host that is a name. Programs send no Origin. Raises ForeignPage.
    """
    hosts = [host.lower() for host in _headers(scope, b"host")]
    name = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if name is None or not (name[1] == "localhost" or _is_address(name[1].strip("[]"))):
        raise ForeignPage(
            "while there is no key, administration, jobs and changes to voices answer at localhost or a bare address "
            "alone, for any other name could be a page's trick; `more-server keys add NAME --scope admin` makes a key"
        )
    foreign = [origin for origin in _headers(scope, b"origin") if _place(origin) != hosts[0]]
    if foreign or set(_headers(scope, b"sec-fetch-site")) & {"cross-site", "same-site"}:
        where = shown(foreign[0]) if foreign else "another site"
        raise ForeignPage(
            f"while there is no key, administration, jobs and changes to voices do not answer pages of {where}; "
            "`more-server keys add NAME --scope admin` makes a key"
        )


def _wanted(scope: Scope) -> str:
    handler = scope["route_handler"]
    if scope.get("method") == "OPTIONS" and "scope" not in handler.opt:
        return "public"  # Litestar's own handler, which lists methods; browsers ask it without a key
    wanted = str(handler.opt.get("scope", DEFAULT_SCOPE))
    if wanted not in ROUTE_SCOPES:
        raise MoreError(f"the route {shown(scope['path'])} asks for a scope that does not exist: {shown(wanted)}")
    return wanted


def _actor(key: Key) -> Actor:
    return Actor("key", key.id, key.name)


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for found, value in scope["headers"] if found == name]


def _secret(scope: Scope) -> str | None:
    """What the request shows as its key; None where it shows none, or several."""
    sent = _headers(scope, b"authorization")
    keys = [name for name in _subprotocols(scope) if name.startswith(KEY_SUBPROTOCOL)]
    sent += [f"Bearer {name.removeprefix(KEY_SUBPROTOCOL)}" for name in keys]
    scheme, _, secret = sent[0].strip().partition(" ") if len(sent) == 1 else ("", "", "")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def chosen_subprotocol(scope: Scope) -> str | None:
    """The first that a WebSocket's client offers and that is no key; browsers fail where none is chosen of theirs."""
    offered = _subprotocols(scope)
    return next((name for name in offered if not name.startswith(KEY_SUBPROTOCOL)), next(iter(offered), None))


def _subprotocols(scope: Scope) -> list[str]:
    return [name.strip() for line in _headers(scope, b"sec-websocket-protocol") for name in line.split(",")]


def _address(scope: Scope) -> str:
    """Who the client is, for counting: an IPv6 network as a whole, for one customer has all its addresses."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _place(origin: str) -> str:
    """Host and port of an origin; empty for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
