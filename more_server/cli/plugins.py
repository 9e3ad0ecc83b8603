"""`plugins`: what there is around the core, switched on and off and set."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from cyclopts import App

from more_server.cli.output import console, settings, table
from more_server.cli.output import registry as opened
from more_server.errors import BadInput
from more_server.settings import Settings

if TYPE_CHECKING:
    from more_server.registry import Registry, Row

TAKEN_UP = "A server that runs takes it up within seconds."
app = App(name="plugins", help="List, enable, disable and set plugins.", help_format="plaintext")

KINDS = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "text",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}
"""Kinds of a JSON Schema in words."""


@app.command(name="list")
def list_plugins() -> None:
    """Show the plugins, whether they are enabled, what they offer, and what they failed with."""
    registry = opened(settings())
    made = table("plugin", "state", "version", "offers", "from")
    for row in registry.rows():
        made.add_row(row.name, row.state, row.version, " ".join(row.hooks), row.origin)
    console().print(made)
    for row in registry.rows():
        _print_error(row)


@app.command
def show(name: str, /) -> None:
    """Show a plugin's settings: what they are now, what each may be, and what it is for.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    """
    row = opened(settings()).row(name)
    out = console()
    offers = f"; it offers {', '.join(row.hooks)}" if row.hooks else ""
    out.print(f"{f'{row.name} {row.version}'.strip()}: {row.state}, from {row.origin}{offers}")
    _print_error(row)
    for field in described(row.schema):
        # None: it failed before they could be read.
        value = "" if row.settings is None else f" = {as_toml(row.settings[field.name])}"
        changed = ", changed with `plugins set` or over HTTP" if field.name in row.changed else ""
        out.print(f"\n{field.name}{value}\n    {field.allowed}{changed}")
        if field.line:
            out.print(f"    {field.line}")
    if row.schema is None and not row.error:
        out.print("It has no settings.")


@app.command
def enable(name: str, /) -> None:
    """Let requests use a plugin; a server that runs takes it up within seconds.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    """
    loaded = settings()
    registry = opened(loaded)
    with _recorded(loaded, registry, "plugins.enable", name, {}):
        registry.enable(name)
    console().print(f"{name} is enabled. {TAKEN_UP}")


@app.command
def disable(name: str, /) -> None:
    """Keep a plugin out; a server that runs takes it up within seconds.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    """
    loaded = settings()
    registry = opened(loaded)
    with _recorded(loaded, registry, "plugins.disable", name, {}):
        registry.disable(name)
    console().print(f"{name} is disabled. {TAKEN_UP}")


@app.command(name="set")
def set_(name: str, /, *values: str) -> None:
    """Change settings of a plugin; a server that runs takes it up within seconds.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    values
        Each as setting=value, such as target_lufs=-18; setting= alone takes a change back.
    """
    loaded = settings()
    registry = opened(loaded)
    fields = {field.name: field for field in described(registry.row(name).schema)}
    changes = dict(_parsed(pair, fields) for pair in values)
    if not changes:
        raise BadInput(f"say what to change, as setting=value; `more-server plugins show {name}` shows what there is")
    with _recorded(loaded, registry, "plugins.configure", name, changes):
        registry.configure(name, changes)
    row = registry.row(name)
    now = ", ".join(f"{field} = {as_toml((row.settings or {})[field])}" for field in changes)
    console().print(f"{name} has {now}. {TAKEN_UP}")


class Field(msgspec.Struct, frozen=True):
    """A setting of a plugin, for people."""

    name: str
    allowed: str
    """What it may be, in a few words."""
    line: str
    """What it is for; empty where its author does not say."""


def described(schema: Mapping[str, Any] | None) -> list[Field]:
    """The settings of a plugin by their JSON Schema; none where it has none."""
    if schema is None:
        return []
    definitions = schema.get("$defs", {})
    properties = _looked_up(schema, definitions).get("properties", {})
    return [
        Field(name, _allowed(field, definitions), " ".join(str(field.get("description", "")).split()))
        for name, field in properties.items()
    ]


def _looked_up(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2], {})
    return {**found, **schema}


def _allowed(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    schema = _looked_up(schema, definitions)
    if "enum" in schema:
        return " or ".join(as_toml(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_allowed(one, definitions) for one in schema["anyOf"])
    words = [KINDS.get(str(schema.get("type", "")), "anything")]
    if "items" in schema:
        words.append(f"of {_allowed(schema['items'], definitions).removeprefix('a ')}")
    if "minimum" in schema and "maximum" in schema:
        words.append(f"from {schema['minimum']} to {schema['maximum']}")
    else:
        signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
        words += [f"{sign} {schema[name]}" for name, sign in signs.items() if name in schema]
    return " ".join(words)


def as_toml(value: Any) -> str:
    """As it stands in more.toml, and as `plugins set` takes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {as_toml(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _parsed(pair: str, fields: Mapping[str, Field]) -> tuple[str, Any]:
    """`setting=value`; the value as TOML has it, else, and where the setting is a text, as it stands."""
    name, found, value = pair.partition("=")
    if not found or not name:
        raise BadInput(f"{pair!r} is no setting=value")
    if not value:
        return name, None
    try:
        read = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return name, value
    is_text = name in fields and fields[name].allowed == KINDS["string"]
    if set(read) != {"value"} or (is_text and not isinstance(read["value"], str)):
        return name, value
    return name, read["value"]


@contextmanager
def _recorded(
    loaded: Settings, registry: "Registry", action: str, name: str, changes: Mapping[str, Any]
) -> Iterator[None]:
    """A change with its line in the audit log. Raises PluginNotFound: what does not exist is not on record."""
    from more_server.audit import COMMAND_LINE, AuditLog

    told = registry.told(name, changes)
    with AuditLog(loaded.admin_dir, loaded.database).change(COMMAND_LINE, action, name, told):
        yield


def _print_error(row: "Row") -> None:
    if row.error:
        reason = row.error.removeprefix(f"the plugin {row.name} failed: ")
        console().print(f"✗ {row.name}: {reason}", style="red")
