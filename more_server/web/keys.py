"""Keys and the audit log for administrators: `/v1/admin/keys` and `/v1/admin/audit`."""

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from more_server.audit import Actor, AuditLog, Entry
from more_server.errors import BadInput, KeyNotFound
from more_server.keys import SCOPES, Concurrency, Key, KeyRing, Rate, Scope, new_key
from more_server.web import wire
from more_server.web.access import ANY_KEY
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import described, said

MOST_ENTRIES = 1000
LIMIT = said(int, "Changes, the last ones.", ge=1, le=MOST_ENTRIES)


class KeyBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/admin/keys`; a misspelt limit must not make a key without one."""

    name: str
    """1 to 64 visible characters."""
    scopes: list[str]
    """What it may do: speech, voices, admin; admin includes the others."""
    rate_per_minute: Rate | None = None
    """Requests in any 60 seconds; null: no limit."""
    concurrency: Concurrency | None = None
    """Requests answered at the same time, streams to their end; null: no limit."""


class KeyItem(msgspec.Struct, kw_only=True):
    """A key as listed, without its secret, which nobody has but its owner."""

    id: str
    """Eight hexadecimal digits."""
    name: str
    """What its owner calls it."""
    scopes: tuple[Scope, ...]
    """What it may do."""
    rate_per_minute: int | None
    """Requests in any 60 seconds."""
    concurrency: int | None
    """Requests answered at the same time."""
    created: int
    """Unix seconds."""
    last_used: int | None
    """Unix seconds; null: never."""
    object: Literal["key"] = "key"


class OwnKey(msgspec.Struct, kw_only=True):
    """`GET /v1/key`."""

    id: str | None
    """Of the key that asks; null: there is none."""
    name: str | None
    """What its owner calls it."""
    scopes: tuple[Scope, ...]
    """What it may do; `admin` brings the others along."""
    object: Literal["key"] = "key"


class NewKey(KeyItem, kw_only=True):
    """The answer to its making, the only one with the secret."""

    key: str
    """What to send as `Authorization: Bearer …`."""


class KeyList(msgspec.Struct):
    """`GET /v1/admin/keys`."""

    data: list[KeyItem]
    object: Literal["list"] = "list"


class KeyDeleted(msgspec.Struct):
    """`DELETE /v1/admin/keys/{id}`."""

    id: str
    deleted: bool = True
    object: Literal["key"] = "key"


class AuditList(msgspec.Struct):
    """`GET /v1/admin/audit`, the latest change last."""

    data: list[Entry]
    object: Literal["list"] = "list"


# In threads of our own: Litestar's sync_to_thread wraps a handler anew for every application that it is given to, and
# the second wrap answers with a coroutine. Applications are built again whenever the routes of plugins change.


@get("/v1/admin/keys", opt=described(ADMIN, answer=KeyList))
async def list_keys(keys: NamedDependency[KeyRing]) -> Response[bytes]:
    """All keys, the oldest first."""
    used = await asyncio.to_thread(keys.last_used)
    return answer(KeyList([KeyItem(**key.shown(), last_used=used.get(key.id)) for key in keys.all()]))


@get("/v1/key", opt=described({"scope": ANY_KEY}, answer=OwnKey))
async def read_own_key(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What the key that asks may do; without keys, anybody who gets in may do everything."""
    key: Key | None = request.scope["state"]["key"]
    scopes = tuple(scope for scope in SCOPES if key is None or key.allows(scope))
    response = answer(OwnKey(id=key.id if key else None, name=key.name if key else None, scopes=scopes))
    response.headers["cache-control"] = "no-store"
    return response


@post("/v1/admin/keys", opt=described(ADMIN, body=KeyBody, answer=NewKey), status_code=200)
async def create_key(
    request: Request[Any, Any, Any], keys: NamedDependency[KeyRing], audit: NamedDependency[AuditLog]
) -> Response[bytes]:
    """A new key; its secret is in this answer and nowhere else. The first one needs the scope admin."""
    body = wire.decode(await request.body(), KeyBody)
    key, secret = new_key(body.name, body.scopes, body.rate_per_minute, body.concurrency)
    await asyncio.to_thread(_add, keys, audit, caller(request), key)
    response = answer(NewKey(**key.shown(), last_used=None, key=secret))
    response.headers["cache-control"] = "no-store"
    return response


@delete("/v1/admin/keys/{key_id:str}", opt=described(ADMIN, answer=KeyDeleted, errors=(KeyNotFound,)), status_code=200)
async def delete_key(
    request: Request[Any, Any, Any],
    keys: NamedDependency[KeyRing],
    audit: NamedDependency[AuditLog],
    key_id: FromPath[str],
) -> Response[bytes]:
    """Remove a key: what it started goes on, its next request is refused."""
    await asyncio.to_thread(_remove, keys, audit, caller(request), key_id)
    return answer(KeyDeleted(key_id))


@get("/v1/admin/audit", opt=described(ADMIN, answer=AuditList, query={"limit": LIMIT}))
async def read_audit(audit: NamedDependency[AuditLog], limit: FromQuery[int] = 100) -> Response[bytes]:
    """The last administrative changes, 100 unless `?limit=` says otherwise."""
    if not 1 <= limit <= MOST_ENTRIES:
        raise BadInput(f"limit is 1 to {MOST_ENTRIES}", param="limit")
    return answer(AuditList(await asyncio.to_thread(audit.tail, limit)))


def _add(keys: KeyRing, audit: AuditLog, actor: Actor, key: Key) -> None:
    """Keep a new key, on record."""
    with audit.change(actor, "keys.create", key.id, key.shown()):
        keys.add(key)


def _remove(keys: KeyRing, audit: AuditLog, actor: Actor, key_id: str) -> None:
    """Revoke a key, on record."""
    key = keys.find(key_id)
    with audit.change(actor, "keys.delete", key.id, {"name": key.name}):
        keys.revoke(key.id)
