"""Models for administrators: `/v1/admin/models`."""

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from more_server.administration import Administration
from more_server.errors import ModelNotFound
from more_server.fleet import LoadedModel
from more_server.models import ModelInfo, list_models
from more_server.web import wire
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import described


class ModelItem(msgspec.Struct, kw_only=True):
    """A model on disk, and whether it is in memory."""

    id: str
    serving: bool
    """Requests that name no model are spoken by it."""
    loaded: bool
    """In memory; requests may name it."""
    ready: bool
    """It takes work."""
    bundled: bool
    """It came with the server and cannot be removed."""
    size_bytes: int
    """On disk."""
    parameters: int
    """Values in its weights."""
    languages: tuple[str, ...]
    licence: str
    remark: str
    """What is wrong with it, or what it warns of."""
    device: str = ""
    """Where it is loaded."""
    precision: str = ""
    speaking: int = 0
    """Requests being spoken by it."""
    waiting: int = 0
    """Requests that wait for it."""


class ModelItems(msgspec.Struct):
    """`GET /v1/admin/models`."""

    data: list[ModelItem]
    object: Literal["list"] = "list"


class SwitchBody(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /v1/admin/models/{id}/switch`; the body may be absent."""

    keep: bool = False
    """Leave the model that served loaded."""


ONE = described(ADMIN, answer=ModelItems, errors=(ModelNotFound,))


@get("/v1/admin/models", opt=described(ADMIN, answer=ModelItems))
async def list_all(administration: NamedDependency[Administration]) -> Response[bytes]:
    """Every model on disk, which are loaded, and which one serves."""
    return answer(await _items(administration))


@post("/v1/admin/models/{model:str}/load", opt=ONE, status_code=200)
async def load(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], model: FromPath[str]
) -> Response[bytes]:
    """Load a model beside the one that serves; requests may name it then."""
    await administration.load_model(caller(request), model)
    return answer(await _items(administration))


@post(
    "/v1/admin/models/{model:str}/switch",
    opt=described(ADMIN, body=SwitchBody, body_needed=False, answer=ModelItems, errors=(ModelNotFound,)),
    status_code=200,
)
async def switch(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], model: FromPath[str]
) -> Response[bytes]:
    """Let a model serve, now and after a restart; requests that run end on the old one."""
    content = await request.body()
    body = wire.decode(content, SwitchBody) if content else SwitchBody()
    await administration.switch_model(caller(request), model, keep=body.keep)
    return answer(await _items(administration))


@post("/v1/admin/models/{model:str}/unload", opt=ONE, status_code=200)
async def unload(
    request: Request[Any, Any, Any], administration: NamedDependency[Administration], model: FromPath[str]
) -> Response[bytes]:
    """Free the memory of a model that does not serve, once its requests have ended."""
    await administration.unload_model(caller(request), model)
    return answer(await _items(administration))


async def _items(administration: Administration) -> ModelItems:
    fleet = administration.speaker.fleet
    loaded = {model.id: model for model in fleet.loaded()}
    infos = await asyncio.to_thread(list_models, fleet.settings)
    return ModelItems([_item(info, loaded.get(info.id), info.id == fleet.serving.id) for info in infos])


def _item(info: ModelInfo, model: LoadedModel | None, serving: bool) -> ModelItem:
    state = model.engine.state() if model else None
    return ModelItem(
        id=info.id,
        serving=serving,
        loaded=model is not None,
        ready=bool(state and state.loaded),
        bundled=info.bundled,
        size_bytes=info.size_bytes,
        parameters=info.parameters,
        languages=info.languages,
        licence=info.licence,
        remark=info.problem or (state.failure if state else "") or info.warning,
        device=state.device if state else "",
        precision=state.precision if state else "",
        speaking=state.speaking if state else 0,
        waiting=state.waiting if state else 0,
    )
