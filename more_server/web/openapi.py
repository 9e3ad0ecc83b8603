"""`/openapi.json`: the OpenAPI 3.1 document of every route that answers, written from the routes themselves.

Litestar's own generator reads what handlers take and give from their signatures; ours read bodies as bytes, so that
errors name fields, and give bytes. What they say in their `opt` (web/described.py) stands in place of that.
"""

import asyncio
import inspect
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, get_args

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.handlers import WebsocketRouteHandler
from litestar.params import QueryParameter

from more_server.errors import (
    BadInput,
    Busy,
    MethodNotAllowed,
    MoreError,
    NotAllowed,
    NotAuthenticated,
    RequestTimeout,
    RouteNotFound,
    TooLarge,
    Unavailable,
)
from more_server.fields import field_lines
from more_server.web import wire
from more_server.web.access import DEFAULT_SCOPE
from more_server.web.described import Doc, FormBody, described, each, said

DISCOVERY = {"scope": "discovery"}
"""It holds no data, but tells which plugins there are: whoever closed the lists closes it, too."""
KEPT = "openapi"
"""Key of the application's state; another application is built when the routes of plugins change."""
REF = "#/components/schemas/{name}"
NEEDED = inspect.Parameter.empty
"""The default of a parameter that must be there."""
ABOUT = """Speech from your own machine, behind OpenAI's API.

Every answer has a header `x-request-id`; a request may bring its own. Every failure has the same body, whose `code`
is named where its status is described; with 429 and 503 comes `Retry-After`. Wherever GET is answered, HEAD is.
"""
EVENTS = "text/event-stream"
KEY = (
    "`Authorization: Bearer more_…`. What a key must be allowed stands in the brackets behind it. While the server "
    "has no key, none is asked for."
)


@get(
    "/openapi.json",
    opt=described(DISCOVERY, answer=said(dict[str, Any], "OpenAPI 3.1, https://spec.openapis.org/oas/v3.1.0")),
)
async def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """This API in OpenAPI's form, plugins' routes included, for generators of clients and tests."""
    if KEPT not in request.app.state:
        request.app.state[KEPT] = wire.encode(await asyncio.to_thread(document, request.app))
    return Response(request.app.state[KEPT], media_type="application/json")


def document(app: Litestar) -> dict[str, Any]:
    """The document of an application."""
    operations = sorted(_operations(app), key=lambda one: (one.path, one.method))
    schemas = Schemas([wire.ErrorBody, *itertools.chain.from_iterable(one.types() for one in operations)])
    failures: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation.written(schemas, failures)
    modules = {operation.tag: operation.module for operation in operations}
    return {
        "openapi": "3.1.0",
        "info": {"title": "MORE", "version": metadata.version("more-server"), "description": ABOUT},
        "tags": [{"name": tag, "description": _first_line(sys.modules[name])} for tag, name in sorted(modules.items())],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": dict(sorted(failures.items())),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": KEY}},
        },
    }


class Schemas:
    """JSON Schemas of types, with what stands under the fields of structs."""

    def __init__(self, types: Iterable[Any]) -> None:
        self._types = list(types)  # kept: they are known by their identity, for not all can be hashed
        made, self.components = msgspec.json.schema_components(self._types, ref_template=REF)
        self._made = {id(kind): schema for kind, schema in zip(self._types, made, strict=True)}
        for struct in structs(self._types):
            properties = self.components[struct.__name__]["properties"]
            for field, line in field_lines(struct).items():
                properties[field]["description"] = line

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type that is among them."""
        return dict(self._made[id(kind)])


class Operation:
    """A method of a path."""

    def __init__(self, path: str, method: str, number: int, handler: Any) -> None:
        self.path, self.method = path, method
        self._handler = handler
        self._doc: Doc = handler.opt.get("doc") or Doc()
        self._scope = str(handler.opt.get("scope", DEFAULT_SCOPE))
        self._plugin: str | None = handler.opt.get("plugin")
        self.module = handler.fn.__module__
        self.tag = self._plugin or self.module.rpartition(".")[2]
        self._id = "_".join([self.tag, handler.fn.__name__, *([str(number)] if number else [])])
        self._parameters = [*self._from_signature(), *self._from_headers()]

    def types(self) -> Iterator[Any]:
        """What is wanted of Schemas."""
        yield from (kind for _, _, kind, _ in self._parameters)
        told = [*each(self._doc.answer), *each(self._doc.body), *itertools.chain(*map(each, self._doc.also.values()))]
        yield from (kind for kind in told if not isinstance(kind, str | FormBody))
        yield from self._doc.events
        if messages := self._doc.messages:
            yield from (*messages.from_client, *messages.from_server)

    def written(self, schemas: Schemas, failures: dict[str, Any]) -> dict[str, Any]:
        """As it stands in the document; what it may fail with is put into failures, which all operations share."""
        summary, _, more = inspect.cleandoc(self._handler.fn.__doc__ or self._handler.fn.__name__).partition("\n")
        made: dict[str, Any] = {"operationId": self._id, "summary": summary, "tags": [self.tag]}
        if more.strip():
            made["description"] = more.strip()
        if self._parameters:
            made["parameters"] = [_parameter(*told, schemas) for told in self._parameters]
        if self._doc.body is not None:
            made["requestBody"] = {"required": self._doc.body_needed, "content": _content(self._doc.body, schemas)}
        if self._plugin and "doc" not in self._handler.opt:
            made["responses"] = {"default": {"description": f"What the plugin {self._plugin} answers."}}
        else:
            made["responses"] = self._responses(schemas, failures)
        if messages := self._doc.messages:
            sides = {"client": messages.from_client, "server": messages.from_server}
            made["x-websocket-messages"] = {
                side: {"oneOf": [schemas.of(kind) for kind in kinds]} for side, kinds in sides.items()
            }
        made["security"] = _security(self._scope)
        return made

    def _from_signature(self) -> Iterator[tuple[str, str, Any, Any]]:
        """Place, name, type and default of each parameter."""
        for name in re.findall(r"{(\w+)}", self.path):
            slashes = any(f"{{{name}:path}}" in path for path in self._handler.paths)
            yield "path", name, said(str, "It may hold slashes." if slashes else "", min_length=1), NEEDED
        for name, field in self._handler.parsed_fn_signature.parameters.items():
            if isinstance(field.kwarg_definition, QueryParameter):
                default = field.default if field.has_default else NEEDED
                yield "query", name, self._doc.query.get(name, _without_none(field.annotation)), default

    def _from_headers(self) -> Iterator[tuple[str, str, Any, Any]]:
        for name, kind in self._doc.headers.items():
            optional = type(None) in get_args(kind)
            yield "header", name, _without_none(kind), None if optional else NEEDED

    def _responses(self, schemas: Schemas, failures: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        own = 101 if isinstance(self._handler, WebsocketRouteHandler) else self._handler.status_code
        for status, answer in {own: self._doc.answer, **self._doc.also}.items():
            made[str(status)] = {"description": PHRASES.get(status, f"Status {status}.")}
            if answer is not None:
                made[str(status)]["content"] = _content(answer, schemas, self._doc.events)
        by_status: dict[int, list[type[MoreError]]] = {}
        for error in dict.fromkeys(self._errors()):
            by_status.setdefault(error.status, []).append(error)
        for status, errors in sorted(by_status.items()):
            if str(status) in made:  # it is both, and then the answer says which
                made[str(status)]["content"] |= {"application/json": {"schema": {}}}
                continue
            name = "-".join(sorted({error.code for error in errors}))
            failures[name] = _failure(errors, schemas)
            made[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return made

    def _errors(self) -> Iterator[type[MoreError]]:
        yield MoreError
        if self._scope != "public":
            yield from (NotAuthenticated, Busy, Unavailable)
        if self._scope not in ("public", "discovery"):
            yield NotAllowed
        if isinstance(self._handler, WebsocketRouteHandler):
            yield MethodNotAllowed
        if self._parameters or self._doc.body is not None:
            yield BadInput
        if self._doc.body is not None:
            yield from (TooLarge, RequestTimeout)
        if "{" in self.path:
            yield RouteNotFound
        yield from self._doc.errors


PHRASES: Mapping[int, str] = {
    101: "The WebSocket is open; its messages stand under `x-websocket-messages`.",
    200: "Done.",
    201: "Made.",
    204: "Done; there is no body.",
    206: "The part that was asked for.",
    304: "It has not changed.",
    503: "Not now.",
}


def _operations(app: Litestar) -> Iterator[Operation]:
    """Of every route but Litestar's own for OPTIONS."""
    numbers: dict[Any, int] = {}
    for route in sorted(app.routes, key=lambda one: one.path_format):
        for handler in getattr(route, "route_handlers", None) or [getattr(route, "route_handler", None)]:
            if handler is None or getattr(handler, "include_in_schema", True) is False:
                continue
            for method in sorted(getattr(handler, "http_methods", ["GET"])):
                number = numbers[handler.fn] = numbers.get(handler.fn, -1) + 1
                yield Operation(route.path_format or "/", method.lower(), number, handler)


def _parameter(place: str, name: str, kind: Any, default: Any, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of(kind)
    made: dict[str, Any] = {"name": name, "in": place, "required": default is NEEDED}
    if description := schema.pop("description", ""):
        made["description"] = description
    if isinstance(default, bool | int | float) or (isinstance(default, str) and default):  # empty: as if absent
        schema["default"] = default
    return made | {"schema": schema}


def _content(told: Any, schemas: Schemas, events: Sequence[type] = ()) -> dict[str, Any]:
    """Bodies by their media types."""
    made: dict[str, Any] = {}
    shapes = []
    for one in each(told):
        if isinstance(one, FormBody):
            made["multipart/form-data"] = {"schema": _form(one)}
        elif one == EVENTS:  # of which OpenAPI 3.1 can tell nothing
            made[one] = {"x-events": {"anyOf": [schemas.of(kind) for kind in events]}}
        elif isinstance(one, str):
            made[one] = {"schema": {"type": "string"}} if one.startswith("text/") else {}
        else:
            shapes.append(schemas.of(one))
    if shapes:
        made["application/json"] = {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}}
    return made


def _form(form: FormBody) -> dict[str, Any]:
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    texts = {name: {"type": "string"} for name in form.texts}
    files = {name: {"type": "array", "items": file} for name in form.files}
    needed = {"required": list(form.needed)} if form.needed else {}
    return {"type": "object", "properties": texts | files, **needed, "additionalProperties": False}


def _failure(errors: list[type[MoreError]], schemas: Schemas) -> dict[str, Any]:
    lines = {error.code: " ".join((error.__doc__ or "").split()) for error in reversed(errors)}
    lines = {
        code: "The server failed; its log says how." if code == MoreError.code else line for code, line in lines.items()
    }
    made: dict[str, Any] = {
        "description": "\n\n".join(f"`{code}`: {line}" for code, line in sorted(lines.items())),
        "content": {"application/json": {"schema": schemas.of(wire.ErrorBody)}},
    }
    if errors[0].status in (Busy.status, Unavailable.status):
        after = {"schema": {"type": "integer"}, "description": "Seconds after which a new attempt makes sense."}
        made["headers"] = {"Retry-After": after}
    return made


def _security(scope: str) -> list[dict[str, list[str]]]:
    if scope == "public":
        return []
    return [{}, {"key": []}] if scope == "discovery" else [{"key": [] if scope == "jobs" else [scope]}]


def _without_none(kind: Any) -> Any:
    """The type of what may be left out, where it is there."""
    others = [one for one in get_args(kind) if one is not type(None)]
    return others[0] if len(others) == 1 and type(None) in get_args(kind) else kind


def structs(types: Iterable[Any]) -> Iterator[type[msgspec.Struct]]:
    """Every struct in types, each once."""
    found: set[type] = set()
    todo: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while todo:
        shape = todo.pop()
        if isinstance(shape, msgspec.inspect.StructType):
            if shape.cls in found:
                continue
            found.add(shape.cls)
            yield shape.cls
        parts = (getattr(shape, name) for name in shape.__struct_fields__)
        inner = itertools.chain.from_iterable(part if isinstance(part, tuple) else (part,) for part in parts)
        todo += [one for one in inner if isinstance(one, msgspec.inspect.Type | msgspec.inspect.Field)]


def _first_line(module: Any) -> str:
    return re.split(r"\n|(?<=\.) ", (module.__doc__ or module.__name__).strip())[0]


HANDLERS = (openapi,)
