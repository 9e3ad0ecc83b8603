"""The configuration for administrators: `/v1/admin/config`."""

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from more_server.administration import Administration
from more_server.registry import Row
from more_server.registry.settings import MASK, secrets, without_password
from more_server.settings import PLUGINS, effective, source_of
from more_server.tables import JobSettings
from more_server.web.admin import ADMIN, answer
from more_server.web.described import described

SECRETS = frozenset(f"jobs.{name}" for name in secrets(JobSettings))


class Setting(msgspec.Struct):
    """A setting in force."""

    path: str
    """As in more.toml, such as `server.port` or `plugins.more_loudness.target_lufs`."""
    value: Any
    """Secrets are masked, and passwords in addresses."""
    source: str
    """`default`, `command line`, a file, or the variable that it was read from."""
    reloadable: bool
    """A reload takes a change up; else it waits for the next start."""


class Configuration(msgspec.Struct):
    """`GET /v1/admin/config`."""

    data: list[Setting]
    object: Literal["list"] = "list"


@get("/v1/admin/config", opt=described(ADMIN, answer=Configuration))
async def read_config(administration: NamedDependency[Administration]) -> Response[bytes]:
    """Every setting with its value, where it comes from, and whether a reload takes it up."""
    plain = [
        Setting(path, _told(path, value), source, again)
        for path, value, source, again in effective(administration.loaded)
    ]
    rows = await asyncio.to_thread(administration.speaker.registry.rows)
    return answer(Configuration([*plain, *(setting for row in rows for setting in _of_plugin(administration, row))]))


def _told(path: str, value: Any) -> Any:
    if value and path in SECRETS:
        return MASK
    return without_password(value) if isinstance(value, str) else msgspec.to_builtins(value, enc_hook=str)


def _of_plugin(administration: Administration, row: Row) -> Iterator[Setting]:
    """Whether it is enabled, and its own settings; what was decided while the server ran has its file as the source."""
    decided = str(administration.speaker.registry.choices_path)
    values = {"enabled": row.enabled, **(row.settings or {})}
    for name, value in values.items():
        path = f"{PLUGINS}.{row.name}.{name}"
        is_decided = row.switched if name == "enabled" else name in row.changed
        yield Setting(path, value, decided if is_decided else source_of(administration.loaded, path), reloadable=True)
