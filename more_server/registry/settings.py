"""The settings that plugins declare: checked, shown without secrets, described as JSON Schema."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from more_server.errors import BadInput
from more_server.fields import field_lines, parted

MASK = "********"
"""Stands for a secret; sent back, it leaves the secret as it is."""


def convert(plugin: str, struct: type[msgspec.Struct] | None, values: dict[str, Any]) -> Any:
    """An instance of a plugin's `Settings`; None where it declares none. Raises BadInput naming the field."""
    if struct is None:
        if values:
            raise BadInput(f"the plugin {plugin} has no settings, so no {', '.join(values)}", param="settings")
        return None
    try:
        return msgspec.convert(values, struct, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        what, path = parted(str(error))
        field = path or (what.split("`")[1] if "unknown field" in what else "")
        allowed = f"; there are: {', '.join(struct.__struct_fields__)}" if "unknown field" in what else ""
        name = f"settings.{field}" if field else "settings"
        raise BadInput(f"plugin {plugin}, {name}: {what[0].lower()}{what[1:]}{allowed}", param=name) from error


def shown(settings: Any) -> dict[str, Any] | None:
    """Settings as JSON values, secrets masked; None for a plugin without."""
    if settings is None:
        return None
    values = msgspec.to_builtins(settings, enc_hook=str)
    return {name: MASK if value and name in secrets(type(settings)) else value for name, value in values.items()}


def without_password(address: str) -> str:
    """An address as it may be told, such as that of a database."""
    # Up to the last @: some programs take passwords with @ and / in them.
    shown = re.sub(r"(?s)(://[^:@]*:).*@", rf"\1{MASK}@", address)
    return re.sub(r"(?i)([?&][a-z]*(?:password|secret|token|key)=)[^&#]*", rf"\1{MASK}", shown)


def hide(changes: Mapping[str, Any], struct: type[msgspec.Struct] | None) -> dict[str, Any]:
    """Changes as they may be told. What no setting is called may be a secret whose name was misspelt."""
    open_ = set(struct.__struct_fields__) - secrets(struct) if struct else set()
    return {name: value if name in open_ or value is None else MASK for name, value in changes.items()}


def merged(struct: type[msgspec.Struct] | None, current: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What was changed before and now; null takes a change back, a masked secret stays."""
    hidden = secrets(struct) if struct else frozenset()
    kept = {name: value for name, value in current.items() if name not in changes or changes[name] is not None}
    return kept | {
        name: value for name, value in changes.items() if value is not None and not (name in hidden and value == MASK)
    }


def secrets(struct: type[msgspec.Struct]) -> frozenset[str]:
    """Fields marked `Meta(extra={"secret": True})`."""
    found = set()
    for name, kind in get_type_hints(struct, include_extras=True).items():
        for mark in getattr(kind, "__metadata__", ()):
            if isinstance(mark, msgspec.Meta) and (mark.extra or {}).get("secret"):
                found.add(name)
    return frozenset(found)


def schema(struct: type[msgspec.Struct] | None) -> dict[str, Any] | None:
    """JSON Schema of a plugin's settings, with what the lines under its fields say."""
    if struct is None:
        return None
    made = msgspec.json.schema(struct, schema_hook=_schema)
    fields = made["$defs"][struct.__name__]["properties"]
    for name, line in field_lines(struct).items():
        fields[name]["description"] = line
    return made


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def _schema(kind: type) -> dict[str, Any]:
    if issubclass(kind, Path):
        return {"type": "string"}
    raise NotImplementedError
