"""`plugins`: what there is around the core, switched on and off and set."""

import tomllib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cyclopts import App

from more_server.cli.output import console, quiet, settings, table
from more_server.errors import BadInput

if TYPE_CHECKING:
    from more_server.registry import Registry, Row

app = App(name="plugins", help="List, enable, disable and set plugins.", help_format="plaintext")

TAKEN_UP = "A server that runs takes it up with: curl -X POST http://127.0.0.1:8000/v1/admin/reload"


@app.command(name="list")
def list_plugins() -> None:
    """Show the plugins, what they do, and what they failed with."""
    made = table("", "plugin", "version", "hooks", "from")
    registry = _registry()
    for row in registry.rows():
        mark = {"active": "✓", "disabled": "·", "failed": "✗"}[row.state]
        made.add_row(mark, row.name, row.version, " ".join(row.hooks), row.origin)
    console().print(made)
    for row in registry.rows():
        if row.error:
            console().print(f"✗ {row.name}: {row.error}", style="red")


@app.command
def show(name: str, /) -> None:
    """Show a plugin's settings, and what each may be.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    """
    row = _registry().row(name)
    console().print(f"{row.name} {row.version}, {row.state}, from {row.origin}")
    if row.error:
        console().print(row.error, style="red")
    made = table("setting", "value", "changed", "allowed", "")
    for field, value in (row.settings or {}).items():
        described = _field(row, field)
        mark = "yes" if field in row.changed else ""
        made.add_row(field, str(value), mark, _allowed(described), str(described.get("description", "")))
    console().print(made)


@app.command
def enable(name: str, /) -> None:
    """Let requests use a plugin, from the next start or reload on.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    """
    registry = _registry()
    _change("plugins.enable", name, {}, registry, lambda: registry.enable(name))
    console().print(f"{name} is enabled. {TAKEN_UP}")


@app.command
def disable(name: str, /) -> None:
    """Keep a plugin out, from the next start or reload on.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    """
    registry = _registry()
    _change("plugins.disable", name, {}, registry, lambda: registry.disable(name))
    console().print(f"{name} is disabled. {TAKEN_UP}")


@app.command(name="set")
def set_(name: str, /, *values: str) -> None:
    """Change settings of a plugin, from the next start or reload on.

    Parameters
    ----------
    name
        A name of `more-server plugins list`.
    values
        Each as setting=value, such as target_lufs=-18; setting= alone takes a change back.
    """
    registry, changes = _registry(), dict(map(_parsed, values))
    if not changes:
        raise BadInput(f"say what to change, as setting=value; `more-server plugins show {name}` shows what there is")
    told = registry.told(name, changes)
    _change("plugins.configure", name, told, registry, lambda: registry.configure(name, changes))
    console().print(f"{name} is set. {TAKEN_UP}")


def _registry() -> "Registry":
    from more_server.registry import Registry

    loaded = settings()
    quiet(loaded)
    registry = Registry(loaded)
    registry.open(None)
    return registry


def _change(action: str, name: str, changes: dict[str, Any], registry: "Registry", work: Callable[[], None]) -> None:
    from more_server.audit import COMMAND_LINE, AuditLog

    registry.row(name)  # what does not exist is not on record
    with AuditLog(settings().admin_dir).change(COMMAND_LINE, action, name, changes):
        work()


def _parsed(pair: str) -> tuple[str, Any]:
    """`setting=value`; the value as TOML reads it, else as text."""
    field, found, value = pair.partition("=")
    if not found or not field:
        raise BadInput(f"{pair!r} is no setting=value")
    if not value:
        return field, None
    try:
        return field, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return field, value


def _field(row: "Row", field: str) -> dict[str, Any]:
    """A setting's part of the schema."""
    schema = row.schema or {}
    named = schema.get("$defs", {}).get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    return dict(named.get("properties", {}).get(field, {}))


def _allowed(described: dict[str, Any]) -> str:
    """What a setting may be, in a few words."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    words = [f"{sign} {described[name]:g}" for name, sign in signs.items() if name in described]
    return " ".join([str(described.get("type", "")), *words]).strip()
