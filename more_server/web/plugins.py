"""Plugins for administrators: `/v1/admin/plugins` and `/v1/admin/reload`."""

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Request, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from more_server.administration import Administration
from more_server.errors import BadInput, PluginNotFound
from more_server.registry import Row
from more_server.web import wire
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import described


class PluginBody(msgspec.Struct, forbid_unknown_fields=True):
    """`PATCH /v1/admin/plugins/{name}`."""

    settings: dict[str, Any]
    """Settings to change; null takes a change back."""


class PluginList(msgspec.Struct):
    """`GET /v1/admin/plugins`."""

    data: list[Row]
    object: Literal["list"] = "list"


class Reloaded(msgspec.Struct):
    """`POST /v1/admin/reload`."""

    waiting: list[str]
    """Settings that have changed and wait for the next start."""
    data: list[Row]
    """Every plugin as it stands now."""


ONE = described(ADMIN, answer=Row, errors=(PluginNotFound,))


@get("/v1/admin/plugins", opt=described(ADMIN, answer=PluginList))
async def list_plugins(administration: NamedDependency[Administration]) -> Response[bytes]:
    """Every plugin: whether it is enabled, what it failed with, its hooks, its settings and their schema."""
    return answer(PluginList(await asyncio.to_thread(administration.speaker.registry.rows)))


@get("/v1/admin/plugins/{name:str}", opt=ONE)
async def get_plugin(administration: NamedDependency[Administration], name: FromPath[str]) -> Response[bytes]:
    """One plugin."""
    return answer(await asyncio.to_thread(administration.speaker.registry.row, name))


@post("/v1/admin/plugins/{name:str}/enable", opt=ONE, status_code=200)
async def enable_plugin(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], name: FromPath[str]
) -> Response[bytes]:
    """Let new requests use a plugin; one that failed is tried anew."""
    return answer(await administration.enable(caller(request), name))


@post("/v1/admin/plugins/{name:str}/disable", opt=ONE, status_code=200)
async def disable_plugin(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], name: FromPath[str]
) -> Response[bytes]:
    """Keep a plugin from new requests; those that run keep it to their end."""
    return answer(await administration.disable(caller(request), name))


@patch(
    "/v1/admin/plugins/{name:str}",
    opt=described(ADMIN, body=PluginBody, answer=Row, errors=(PluginNotFound,)),
)
async def change_plugin(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], name: FromPath[str]
) -> Response[bytes]:
    """Change settings of a plugin; new requests see them."""
    body = wire.decode(await request.body(), PluginBody)
    return answer(await administration.configure(caller(request), name, body.settings))


@post("/v1/admin/reload", opt=described(ADMIN, answer=Reloaded, errors=(BadInput,)), status_code=200)
async def reload(request: Request[Any, Any, Any], administration: NamedDependency[Administration]) -> Response[bytes]:
    """Read the settings anew and look for plugins that came, went or changed."""
    waiting = await administration.reload(caller(request), tell=True)
    return answer(Reloaded(waiting, await asyncio.to_thread(administration.speaker.registry.rows)))
